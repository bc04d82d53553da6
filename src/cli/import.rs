//! `store import`: a backup tree goes in.

use std::time::Instant;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::import::{
    Bundles, FileOutcome, FileReport, ImportOptions, ImportSink, ImportSummary, Mirror, Source, begin, import,
};
use crate::progress::{Progress, Stop};
use crate::store::{Store, Writer};
use crate::vfs::Kind;
use crate::vfs::tree::kind_at;

use super::args::{ImportArgs, MirrorArg};
use super::context::Context;
use super::exit::Exit;
use super::progress::{Meter, rate};
use super::text::{Text, show_path, show_size, show_span};
use super::{files, init, timings};

/// A `file` unit: one entry of a backup tree and what became of it.
#[derive(Serialize)]
pub(crate) struct FileUnit<'a> {
    pub(crate) path: Vec<Text<'a>>,
    pub(crate) outcome: &'a str,
    pub(crate) bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) txn: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ReasonUnit<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(crate) warnings: &'a [String],
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) dry_run: bool,
}

/// Why an entry was rejected or ignored.
#[derive(Serialize)]
pub(crate) struct ReasonUnit<'a> {
    pub(crate) code: &'a str,
    pub(crate) msg: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Runs the command.
///
/// # Errors
/// Those of the store, of reading the tree, and of the output. Bad files are noted, not errors.
pub(crate) fn run(context: &Context, args: &ImportArgs) -> Result<()> {
    let stop = context.stop()?;
    let (store, source) = open(context, args, source(args)?, &stop)?;
    let fields = serde_json::json!({
        "commit": store.view().commit().0,
        "source": Text(args.source.as_os_str().as_encoded_bytes()),
        "dry_run": args.dry_run,
    });
    context.out.begin(Some(store.id()), &fields)?;
    context.warn_of(&store);
    let opening = Instant::now();
    let mut writer = store.writer(context.writer_options())?;
    let (opened, waited) = (opening.elapsed(), writer.lock_wait());
    let options = ImportOptions {
        jobs: args.jobs,
        mirror: match args.mirror {
            MirrorArg::No => Mirror::Keep,
            MirrorArg::Yes => Mirror::Tombstone,
            MirrorArg::Force => Mirror::Force,
        },
        dry_run: args.dry_run,
        force_read: args.force_read,
        memory: args.memory,
        timings: args.timings,
    };
    let meter = context.meter("import", "files");
    let mut sink = Sink { context, meter, dry_run: args.dry_run };
    let result = import(source, &mut writer, &options, &mut sink, &stop);
    sink.meter.finish();
    // What is committed is durable either way; closing only spares the next open the replay. After
    // another failure the writer may not be usable any more.
    let closing = Instant::now();
    match &result {
        _ if args.dry_run => drop(writer),
        Ok(_) => writer.close()?,
        Err(Error::Cancelled) => abandon(context, writer)?,
        Err(_) if context.out.lost().is_some() => abandon(context, writer)?,
        Err(_) => {}
    }
    if matches!(result, Err(Error::Cancelled)) {
        context.console.note("what is reported as done is durable; the same command goes on from there");
    }
    let summary = result?;
    if let Some(timings) = &summary.timings {
        timings::tell(context, timings, waited, opened.saturating_sub(waited), closing.elapsed())?;
    }
    conclude(context, args, &sink.meter, &summary)
}

fn abandon(context: &Context, mut writer: Writer) -> Result<()> {
    context.console.note("stopping; closing the store");
    writer.rollback()?;
    writer.close()
}

/// Tells what there is to import. What does not exist is a tree that does not exist.
fn source(args: &ImportArgs) -> Result<Source> {
    let path = args.source.clone();
    let is_file = path.as_os_str() == "-" || matches!(kind_at(&path)?, Some(Kind::File | Kind::Other));
    Ok(match (&args.run, is_file) {
        (Some(run), _) => Source::Bundles {
            path: if is_file { Bundles::One(path) } else { Bundles::Folder(path) },
            run: run.name.clone(),
            at: run.at,
        },
        (None, true) => Source::Archive(path),
        (None, false) => Source::Tree(path),
    })
}

/// Opens the store, or creates it once it is known that there is something to import: a mistyped tree leaves nothing behind. A
/// dry run that finds none works on one in memory. Returns the source too, of which the beginning may be read.
fn open(context: &Context, args: &ImportArgs, source: Source, stop: &Stop) -> Result<(Store, Source)> {
    let opened = if args.dry_run { Store::open_draft(&context.store) } else { Store::open(&context.store) };
    match opened {
        Err(Error::NoStore { .. }) => {}
        Ok(store) => {
            if init::is_given(&args.create) {
                context.console.warn("the store exists already; what it is like is fixed");
            }
            return Ok((store, source));
        }
        Err(error) => return Err(error),
    }
    let source = begin(source, stop)?;
    let options = init::options(&args.create);
    let store = if args.dry_run {
        Store::create_on(files::memory(), &options)
    } else {
        Store::create(&context.store, &options)
    };
    Ok((store?, source))
}

fn conclude(context: &Context, args: &ImportArgs, meter: &Meter, summary: &ImportSummary) -> Result<()> {
    if summary.rejected > 0 {
        context.note(Exit::Partial);
    }
    for (name, count) in [
        ("runs", summary.runs),
        ("added", summary.added),
        ("updated", summary.updated),
        ("unchanged", summary.unchanged),
        ("removed", summary.removed),
        ("rejected", summary.rejected),
        ("ignored", summary.ignored),
        ("unopened", summary.unopened),
        ("bytes", summary.bytes),
        ("commit", summary.commit.0),
    ] {
        context.out.count(name, count);
    }
    let mode = if args.dry_run { "dry run: " } else { "" };
    context.say(&format!(
        "{mode}added {}, updated {}, unchanged {}, removed {}, rejected {}, ignored {}",
        summary.added, summary.updated, summary.unchanged, summary.removed, summary.rejected, summary.ignored
    ))?;
    let elapsed = meter.elapsed();
    context.say(&format!(
        "{} runs, {} read in {} ({}/s); last commit {}",
        summary.runs,
        show_size(summary.bytes),
        show_span(elapsed),
        show_size(rate(summary.bytes, elapsed)),
        summary.commit.0
    ))
}

struct Sink<'a> {
    context: &'a Context,
    meter: Meter,
    dry_run: bool,
}

impl ImportSink for Sink<'_> {
    fn file(&mut self, report: &FileReport) -> Result<()> {
        if report.outcome == FileOutcome::Rejected {
            self.context.note(Exit::Partial);
        }
        if !self.context.out.is_json() {
            self.tell(report);
            return Ok(());
        }
        let unit = FileUnit {
            path: report.path.iter().map(|part| Text(part)).collect(),
            outcome: name(report.outcome),
            bytes: report.bytes,
            txn: report.commit.map(|commit| commit.0),
            error: report.reason.as_ref().map(|(code, msg)| ReasonUnit { code, msg }),
            warnings: &report.warnings,
            dry_run: self.dry_run,
        };
        self.context.out.unit("file", &unit)
    }

    fn progress(&mut self, progress: &Progress) {
        self.meter.update(progress);
    }
}

impl Sink<'_> {
    fn tell(&self, report: &FileReport) {
        let console = &self.context.console;
        // Not for each of a million files of which nothing is said.
        let path = || show_path(report.path.iter().map(Vec::as_slice));
        let (code, text) = report.reason.as_ref().map_or(("", ""), |(code, text)| (*code, text.as_str()));
        match report.outcome {
            FileOutcome::Rejected => console.error(&format!("rejected {}: {code}: {text}", path())),
            FileOutcome::Ignored => console.note(&format!("ignored {}: {code}: {text}", path())),
            FileOutcome::Added | FileOutcome::Updated | FileOutcome::Unchanged | FileOutcome::Removed => {
                if console.is_verbose() {
                    console.note(&format!("{} {}", name(report.outcome), path()));
                }
            }
        }
        for warning in &report.warnings {
            console.warn(&format!("{}: {warning}", path()));
        }
    }
}

/// Returns an outcome's name in machine output.
pub(crate) fn name(outcome: FileOutcome) -> &'static str {
    match outcome {
        FileOutcome::Added => "added",
        FileOutcome::Updated => "updated",
        FileOutcome::Unchanged => "unchanged",
        FileOutcome::Removed => "removed",
        FileOutcome::Rejected => "rejected",
        FileOutcome::Ignored => "ignored",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_unit_leaves_out_what_it_has_not() {
        let unit = FileUnit {
            path: vec![Text(b"20240115T140000Z"), Text(b"x\xff.json")],
            outcome: name(FileOutcome::Added),
            bytes: 7,
            txn: Some(3),
            error: None,
            warnings: &[],
            dry_run: false,
        };
        assert_eq!(
            serde_json::to_string(&unit).unwrap(),
            r#"{"path":["20240115T140000Z",{"b64":"eP8uanNvbg=="}],"outcome":"added","bytes":7,"txn":3}"#
        );
        let reason = ReasonUnit { code: "empty", msg: "no bytes" };
        let unit = FileUnit { txn: None, error: Some(reason), dry_run: true, ..unit };
        assert!(
            serde_json::to_string(&unit)
                .unwrap()
                .ends_with(r#""error":{"code":"empty","msg":"no bytes"},"dry_run":true}"#)
        );
    }
}
