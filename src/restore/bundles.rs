//! Writes STIX bundles, one JSON object a line.

use std::io::Write;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::id::RunKey;
use crate::progress::Stop;
use crate::store::View;

use super::lookup::{Source, Stored};
use super::report::{Report, add, selected};
use super::resolve::Resolver;
use super::{RestoreEvent, RestoreOptions, RestoreSummary};

/// The namespace of bundle ids: a random UUID that never changes, so that a bundle keeps its id.
const BUNDLE_NAMESPACE: Uuid = Uuid::from_u128(0x3c1d_6a0e_2f7b_4d58_9a41_c0e6_75b8_12f3);

/// What stands behind the last object of a bundle, besides the line break.
const TAIL: &[u8] = b"]}";

/// Writes STIX bundles, one JSON object a line, one or more per run; a run with nothing to emit has none.
///
/// Each bundle names its run (`x_run`), and from the second one of a run on its number (`x_part`). Its id
/// follows from the two. It holds what is resolved from other runs, then the run's own objects by file name,
/// each id once. Objects are the bytes of their files, with line breaks between tokens replaced by spaces.
/// The same store gives the same bytes.
///
/// Cost: each body is decoded once to find references and once to be written. Memory: ids and positions of
/// one run, one object's bytes. Asked to stop, it ends between two bundles: whole lines are all that was
/// written.
///
/// # Errors
/// `Io` when `out` fails; `Cancelled` when stopped; whatever the store says except damage, which is an event.
pub fn bundles(
    view: &View,
    options: &RestoreOptions,
    out: &mut dyn Write,
    event: &mut dyn FnMut(RestoreEvent<'_>),
    stop: &Stop,
) -> Result<RestoreSummary> {
    bundles_from(&Stored::new(&view.without_maps(), options.extension_refs)?, options, out, event, stop)
}

pub(super) fn bundles_from<S: Source>(
    source: &S,
    options: &RestoreOptions,
    out: &mut dyn Write,
    event: &mut dyn FnMut(RestoreEvent<'_>),
    stop: &Stop,
) -> Result<RestoreSummary> {
    let runs = selected(source.runs(), options);
    let mut report = Report::new(runs.clone(), event, stop);
    let mut resolver = Resolver::new(options);
    let mut writer = BundleWriter::new(out, options.max_bundle_bytes, stop);
    for info in runs {
        report.check()?;
        report.run(info)?;
        let plan = resolver.run(source, info.key, &mut report)?;
        writer.begin(&info.name);
        for found in plan.resolved.iter().filter(|found| !found.repeated) {
            let wanted = |number| number == found.object;
            let count = emit(source, &found.name, found.run, &wanted, &mut writer, &mut report)?;
            add(&mut report.summary.resolved, count);
        }
        for file in &plan.own {
            if file.emitted() > 0 {
                let wanted = |number| file.emits(number);
                let count = emit(source, &file.name, info.key, &wanted, &mut writer, &mut report)?;
                add(&mut report.summary.own, count);
            }
            report.done(1, file.len);
        }
        writer.close()?;
        add(&mut report.summary.missing, u64::try_from(plan.missing.len()).unwrap_or(u64::MAX));
    }
    writer.flush()?;
    report.summary.bundles = writer.bundles;
    report.summary.bytes = writer.bytes;
    Ok(report.summary)
}

/// Reads a file again and writes the wanted ones of its objects; returns how many.
fn emit<S: Source>(
    source: &S,
    name: &[u8],
    run: RunKey,
    wanted: &dyn Fn(u32) -> bool,
    writer: &mut BundleWriter<'_>,
    report: &mut Report<'_>,
) -> Result<u64> {
    let mut count = 0;
    let read = source.texts(name, run, &mut |number, text| {
        if wanted(number) {
            writer.object(text)?;
            add(&mut count, 1);
        }
        Ok(())
    });
    if let Err(error) = read {
        // It was readable a moment ago, so the medium is failing; but it is still one snapshot's loss.
        report.damaged(error)?;
    }
    Ok(count)
}

/// Puts objects into bundles.
struct BundleWriter<'a> {
    out: &'a mut dyn Write,
    max: u64,
    stop: &'a Stop,
    run: String,
    part: u64,
    /// Bytes of the bundle being written; 0: there is none.
    open: u64,
    line: Vec<u8>,
    bundles: u64,
    bytes: u64,
}

impl<'a> BundleWriter<'a> {
    fn new(out: &'a mut dyn Write, max: u64, stop: &'a Stop) -> BundleWriter<'a> {
        BundleWriter {
            out,
            max,
            stop,
            run: String::new(),
            part: 0,
            open: 0,
            line: Vec::new(),
            bundles: 0,
            bytes: 0,
        }
    }

    /// The objects to come belong to this run.
    fn begin(&mut self, run: &str) {
        self.run.clear();
        self.run.push_str(run);
        self.part = 0;
    }

    /// Adds an object to the bundle, or to the next one if it would grow too large.
    fn object(&mut self, text: &[u8]) -> Result<()> {
        let more = len(text).saturating_add(1).saturating_add(len(TAIL));
        if self.open > 0 && self.max > 0 && self.open.saturating_add(more) > self.max {
            self.close()?;
        }
        if self.open == 0 {
            self.stop.check()?;
            self.part = self.part.saturating_add(1);
            let head = head(&self.run, self.part);
            self.write(head.as_bytes())?;
            add(&mut self.bundles, 1);
        } else {
            self.write(b",")?;
        }
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        // In valid JSON a raw line break cannot be inside a string, only between tokens.
        line.extend(text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        let written = self.write(&line);
        self.line = line;
        written
    }

    /// Ends the bundle, if one is open.
    fn close(&mut self) -> Result<()> {
        if self.open > 0 {
            self.write(TAIL)?;
            self.write(b"\n")?;
            self.open = 0;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|source| Error::io("write", "bundles", source))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|source| Error::io("write", "bundles", source))?;
        add(&mut self.open, len(bytes));
        add(&mut self.bytes, len(bytes));
        Ok(())
    }
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Everything before a bundle's first object.
fn head(run: &str, part: u64) -> String {
    let id = Uuid::new_v5(&BUNDLE_NAMESPACE, format!("{run}/{part}").as_bytes());
    let run = serde_json::Value::from(run);
    let part = if part > 1 { format!(r#","x_part":{part}"#) } else { String::new() };
    format!(r#"{{"type":"bundle","id":"bundle--{id}","x_run":{run}{part},"objects":["#)
}
