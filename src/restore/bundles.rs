//! Writes STIX bundles, one JSON object a line.

use std::io::Write;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::progress::Stop;
use crate::store::View;

use super::arrange::{At, Slot, arrange};
use super::emit::each_text;
use super::lookup::{Detail, Source};
use super::options::RestoreOptions;
use super::report::{Event, Report, add, selected};
use super::resolve::Resolver;
use super::stored::Stored;
use super::{RestoreEvent, RestoreSummary};

/// The namespace of bundle ids: a random UUID that never changes, so that a bundle keeps its id.
const BUNDLE_NAMESPACE: Uuid = Uuid::from_u128(0x3c1d_6a0e_2f7b_4d58_9a41_c0e6_75b8_12f3);

/// What stands behind the last object of a bundle, besides the line break.
const TAIL: &[u8] = b"]}";

/// Bytes of an object that are written at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes of texts that are kept of a run from the first reading of its objects to their writing. Most runs are smaller.
const KEPT_BYTES: u64 = 16 << 20;

/// Writes STIX bundles, one JSON object a line, one or more per run; a run with nothing to emit has none.
///
/// Each bundle names its run (`x_run`), and from the second one of a run on its number (`x_part`). Its id
/// follows from the two. It holds what is resolved from other runs and the run's own objects, each id once, as
/// [`Order`](super::Order) says. Objects are the bytes of their files, with line breaks between tokens replaced by
/// spaces: references that no order can keep are told of, never taken out. The same store gives the same bytes.
///
/// Cost: each file is decoded once to find references; of a run of more than 16 MiB once more to be written, and one of
/// several objects once for each 16 MiB in which they stand. What runs refer to is decoded once for all of them while it is among
/// the last 16 to 32 MiB of such objects (of a record above 4 KiB the text is read again). A file of which all was carried ahead is
/// not read when its run comes, so what has become unreadable of it since is not told of. Memory: ids, positions and references of
/// one run, these 32 MiB, as many of what is known of long files, 32 MiB of texts, and the longest file. Asked to stop, it ends between two bundles: whole lines are all that was written.
///
/// # Errors
/// `Io` when `out` fails; `Cancelled` when stopped; those of `event`; whatever the store says except damage, which is
/// an event.
pub fn bundles(
    view: &View,
    options: &RestoreOptions,
    out: &mut dyn Write,
    event: &mut dyn FnMut(RestoreEvent<'_>) -> Result<()>,
    stop: &Stop,
) -> Result<RestoreSummary> {
    let detail = Detail { texts: KEPT_BYTES, ..Detail::of(options) };
    bundles_from(&Stored::new(&view.without_maps(), detail)?, options, out, event, stop)
}

pub(super) fn bundles_from<S: Source>(
    source: &S,
    options: &RestoreOptions,
    out: &mut dyn Write,
    event: &mut Event<'_>,
    stop: &Stop,
) -> Result<RestoreSummary> {
    let runs = selected(source.runs(), options);
    let mut report = Report::new(runs.clone(), event, stop);
    let mut resolver = Resolver::new(options);
    let mut writer = BundleWriter::new(out, options, stop);
    for info in runs {
        report.check()?;
        report.begin(info)?;
        let plan = resolver.run(source, info.key, &mut report)?;
        let arranged = arrange(&plan, options.order);
        report.decided(source.runs(), &plan, &arranged)?;
        writer.begin(&info.name);
        let mut groups = arranged.groups.iter().peekable();
        each_text(source, (&plan, info.key), &arranged.slots, &mut |number, text| {
            while let Some(group) = groups.next_if(|group| group.start <= number) {
                writer.make_room(arranged.slots.get(group.clone()).unwrap_or_default())?;
            }
            let slot = arranged.slots.get(number);
            match (text, slot.map(|slot| slot.at)) {
                (Ok(text), Some(At::Own(..))) => {
                    writer.object(text)?;
                    add(&mut report.run.own, 1);
                    report.done(1, len(text))
                }
                (Ok(text), _) => {
                    writer.object(text)?;
                    add(&mut report.run.resolved, 1);
                    Ok(())
                }
                // It was readable a moment ago, so the medium is failing; but it is still one file's loss.
                (Err(error), _) => report.damaged(error),
            }
        })?;
        writer.close()?;
        (report.run.bundles, report.run.bytes) = writer.take_counts();
        writer.flush()?;
        report.end(info)?;
    }
    writer.flush()?;
    Ok(report.summary)
}

/// Puts objects into bundles.
struct BundleWriter<'a> {
    out: &'a mut dyn Write,
    max_bytes: u64,
    max_objects: u64,
    stop: &'a Stop,
    run: String,
    part: u64,
    /// Bytes of the bundle being written; 0: there is none.
    open: u64,
    /// Objects of the bundle being written.
    objects: u64,
    piece: Vec<u8>,
    bundles: u64,
    bytes: u64,
}

impl<'a> BundleWriter<'a> {
    fn new(out: &'a mut dyn Write, options: &RestoreOptions, stop: &'a Stop) -> BundleWriter<'a> {
        BundleWriter {
            out,
            max_bytes: options.max_bundle_bytes,
            max_objects: options.max_bundle_objects,
            stop,
            run: String::new(),
            part: 0,
            open: 0,
            objects: 0,
            piece: Vec::new(),
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

    /// Ends the bundle if objects that belong together would not fit into it. Those that fit into none are split.
    fn make_room(&mut self, slots: &[Slot]) -> Result<()> {
        let bytes = slots.iter().fold(0u64, |sum, slot| sum.saturating_add(slot.len).saturating_add(1));
        let count = u64::try_from(slots.len()).unwrap_or(u64::MAX);
        if self.fits(bytes, count) { Ok(()) } else { self.close() }
    }

    fn fits(&self, bytes: u64, objects: u64) -> bool {
        let len = self.open.saturating_add(bytes).saturating_add(len(TAIL));
        (self.max_bytes == 0 || len <= self.max_bytes)
            && (self.max_objects == 0 || self.objects.saturating_add(objects) <= self.max_objects)
    }

    /// Adds an object to the bundle, or to the next one if this one would grow too large.
    fn object(&mut self, text: &[u8]) -> Result<()> {
        if !self.fits(len(text).saturating_add(1), 1) {
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
        add(&mut self.objects, 1);
        let mut piece = std::mem::take(&mut self.piece);
        let written = text.chunks(PIECE_BYTES).try_for_each(|bytes| {
            piece.clear();
            // In valid JSON a raw line break cannot be inside a string, only between tokens.
            piece.extend(bytes.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
            self.write(&piece)
        });
        self.piece = piece;
        written
    }

    /// Ends the bundle, if one is open.
    fn close(&mut self) -> Result<()> {
        if self.open > 0 {
            self.write(TAIL)?;
            self.write(b"\n")?;
            (self.open, self.objects) = (0, 0);
        }
        Ok(())
    }

    /// Bundles and bytes since the last call.
    fn take_counts(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.bundles), std::mem::take(&mut self.bytes))
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
