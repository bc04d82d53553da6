//! `store restore`: out again, as a tree, as bundles, or as a plan only.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant as Clock;

use crate::error::{Error, Result};
use crate::id::{CommitId, Instant};
use crate::progress::Stop;
use crate::restore::{self, Cursor, DirectoryBundles, RestoreEvent, RestoreOptions, RestoreSummary};
use crate::store::{Store, View};
use crate::vfs::{Kind, tree};

use super::args::RestoreArgs;
use super::context::Context;
use super::exit::Exit;
use super::files;
use super::output::{self, LongUnits, Plain};
use super::text::{show_size, show_span};

mod select;
mod teller;

use teller::Teller;

/// Bytes held back before a bundle file is written to.
const FILE_BUFFER_BYTES: usize = 1 << 20;

/// Runs the command.
///
/// # Errors
/// `NoStore`, `Cancelled`, `BadInput` for a selection or a cursor that makes no sense, failures of reading, of the target
/// and of the output. Damaged snapshots are noted, and the rest is restored.
pub(crate) fn run(context: &Context, args: &RestoreArgs) -> Result<()> {
    let outputs = [&args.tree, &args.bundles, &args.directory_bundles, &args.cursor];
    for path in outputs.into_iter().flatten().filter(|path| path.as_os_str() != "-") {
        files::outside(path, &context.store)?;
    }
    let mut cursor = args.cursor.as_deref().map(|path| load_cursor(path, args)).transpose()?;
    let stop = context.stop()?;
    let begin = Clock::now();
    let store = context.open_read()?;
    let view = store.view();
    cursor.as_mut().map_or(Ok(()), |cursor| cursor.bind(store.id(), view.commit()))?;
    let options = select::options(context, args, &view, cursor.as_ref())?;
    let teller = Teller::new(context, begin.elapsed(), args.plan);
    let mut work = Work { context, options, teller, mover: Mover::new(cursor, &view), view: &view, stop };
    work.tell_cursor()?;
    let summary = match (&args.tree, &args.bundles, &args.directory_bundles) {
        (Some(target), ..) => work.tree(target),
        (_, Some(file), _) if file.as_os_str() == "-" => work.stream(),
        (_, Some(file), _) => work.file(file),
        (.., Some(target)) => work.directory(target, args, &store),
        (None, None, None) => work.plan(),
    };
    work.teller.finish();
    let summary = summary?;
    // Of a part of what changed nobody can say that it is all.
    let is_all = args.until.is_none() && args.types.is_empty() && args.ids.is_empty();
    if !args.plan && work.options.filter.changed_since.is_some() && is_all {
        work.mover.catch_up()?;
    }
    if work.mover.held && work.mover.cursor.is_some() {
        context.console.warn("the cursor stays before the first run of which something was left out");
    }
    let is_selection = !args.types.is_empty() || !args.ids.is_empty();
    if is_selection && !args.plan && summary.own == 0 && summary.damaged == 0 {
        context.console.warn("nothing was restored: no object of these runs is selected");
    }
    conclude(context, args, &work.teller, &summary)
}

fn load_cursor(path: &Path, args: &RestoreArgs) -> Result<Cursor> {
    let is_stdout = |path: &Path| path.as_os_str() == "-";
    // Of a pipe or a device nobody knows either.
    let is_pipe = |path: &Path| is_stdout(path) || matches!(tree::kind_at(path), Ok(Some(Kind::Other)));
    let reason = if is_stdout(path) {
        "a cursor must be a file"
    } else if args.bundles.as_deref().is_some_and(is_pipe) {
        "moves once what was written is on disk, which nobody knows of standard output; the reader keeps the run of \
         each `done` unit, and goes on with --after"
    } else {
        if !args.plan {
            tree::sweep_beside(path);
        }
        return Cursor::load(path);
    };
    Err(Error::BadInput { what: format!("cursor {}", path.display()), reason: reason.to_owned() })
}

/// A restore with what it works with.
struct Work<'a> {
    context: &'a Context,
    options: RestoreOptions,
    teller: Teller<'a>,
    mover: Mover,
    view: &'a View,
    stop: Stop,
}

impl Work<'_> {
    /// Says where the cursor stands and what it passes over.
    fn tell_cursor(&self) -> Result<()> {
        let Some(cursor) = self.mover.cursor.as_ref().filter(|_| self.options.filter.changed_since.is_none())
        else {
            return Ok(());
        };
        let Some(at) = cursor.at() else { return Ok(()) };
        let skipped = self.view.runs()?.iter().filter(|run| run.key.instant() <= at).count();
        self.teller.skipped.set(u64::try_from(skipped).unwrap_or(u64::MAX));
        let Some(commit) = cursor.commit() else { return Ok(()) };
        let changed = self.view.without_maps().count_since(commit, at, &self.stop)?;
        self.teller.changed.set(changed);
        if changed > 0 {
            self.context.console.warn(&format!(
                "{changed} snapshots behind the cursor came or changed since: \
                 --changed-since {commit} with the same cursor restores them"
            ));
        }
        Ok(())
    }

    fn tree(&mut self, target: &Path) -> Result<RestoreSummary> {
        let Work { options, teller, mover, view, stop, .. } = self;
        options.durable = mover.cursor.is_some();
        let mut event = |event: RestoreEvent<'_>| {
            mover.note(&event);
            mover.release()?;
            teller.event(event)
        };
        restore::tree(view, options, target, &mut event, stop)
    }

    fn plan(&mut self) -> Result<RestoreSummary> {
        let Work { options, teller, view, stop, .. } = self;
        let mut unit = |unit: &restore::PlanUnit| teller.plan_unit(unit);
        restore::plan(view, options, &mut unit, &mut |event| teller.event(event), stop)
    }

    fn stream(&mut self) -> Result<RestoreSummary> {
        let Work { context, options, teller, view, stop, .. } = self;
        let mut event = |event: RestoreEvent<'_>| teller.event(event);
        if !context.out.is_json() {
            return restore::bundles(view, options, &mut Plain(&context.out), &mut event, stop);
        }
        let mut units = LongUnits::new(&context.out, "bundle", &teller.run);
        restore::bundles(view, options, &mut units, &mut event, stop)
    }

    fn file(&mut self, path: &Path) -> Result<RestoreSummary> {
        let Work { context, options, teller, mover, view, stop } = self;
        tree::sweep_beside(path);
        let mut file = BufWriter::with_capacity(FILE_BUFFER_BYTES, tree::create_file(path)?);
        let mut event = |event: RestoreEvent<'_>| {
            mover.note(&event);
            teller.event(event)
        };
        let summary = restore::bundles(view, options, &mut file, &mut event, stop)?;
        let failed = |error| Error::io("write", path, error);
        file.flush().map_err(failed)?;
        // What an earlier restore with this cursor wrote may not have been fetched yet.
        if summary.bundles == 0 && mover.cursor.is_some() && tree::kind_at(path)? == Some(Kind::File) {
            drop(file);
            context
                .console
                .warn(&format!("nothing to restore behind the cursor: {} stays as it is", path.display()));
            mover.release()?;
            return Ok(summary);
        }
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.finish()?;
        mover.release()?;
        Ok(summary)
    }

    fn directory(&mut self, target: &Path, args: &RestoreArgs, store: &Store) -> Result<RestoreSummary> {
        let Work { options, teller, mover, view, stop, .. } = self;
        let mut clock = output::unix_time;
        let mut directory = DirectoryBundles::create(target, &select::sender(args, store), &mut clock)?;
        let mut event = |event: RestoreEvent<'_>| {
            mover.note(&event);
            mover.release()?;
            teller.event(event)
        };
        restore::bundles(view, options, &mut directory, &mut event, stop)
    }
}

/// Moves a cursor, if there is one.
struct Mover {
    cursor: Option<Cursor>,
    commit: CommitId,
    /// The last run that is done, not yet written down.
    done: Option<(String, Instant)>,
    /// Something was left out: the cursor stays before it, so that it comes as soon as it can.
    held: bool,
}

impl Mover {
    fn new(cursor: Option<Cursor>, view: &View) -> Mover {
        Mover { cursor, commit: view.commit(), done: None, held: false }
    }

    /// Notes that a run is done, once all of its instant are.
    fn note(&mut self, event: &RestoreEvent<'_>) {
        self.held |= matches!(event, RestoreEvent::Damaged { .. } | RestoreEvent::Skipped { .. });
        if let RestoreEvent::Done(run) = event
            && run.settles
            && self.cursor.is_some()
            && !self.held
        {
            self.done = Some((run.name.clone(), run.key.instant()));
        }
    }

    /// Moves the cursor to the last run noted: what was written of it is durable.
    fn release(&mut self) -> Result<()> {
        let (Some(cursor), Some((name, at))) = (&mut self.cursor, self.done.take()) else { return Ok(()) };
        cursor.move_to(&name, at, self.commit)
    }

    fn catch_up(&mut self) -> Result<()> {
        if self.held {
            return Ok(());
        }
        let commit = self.commit;
        self.cursor.as_mut().map_or(Ok(()), |cursor| cursor.catch_up(commit))
    }
}

fn conclude(
    context: &Context,
    args: &RestoreArgs,
    teller: &Teller<'_>,
    summary: &RestoreSummary,
) -> Result<()> {
    if summary.damaged > 0 {
        context.note(Exit::Damage);
    }
    if summary.skipped > 0 {
        context.note(Exit::Partial);
    }
    for (name, count) in [
        ("runs", summary.runs),
        ("own", summary.own),
        ("resolved", summary.resolved),
        ("missing", summary.missing),
        ("cycles", summary.cycles),
        ("broken", summary.broken),
        ("attachments", summary.attachments),
        ("bundles", summary.bundles),
        ("bytes", summary.bytes),
        ("damaged", summary.damaged),
        ("skipped", summary.skipped),
    ] {
        context.out.count(name, count);
    }
    if args.plan {
        return teller.conclude_plan(summary);
    }
    let what = if args.tree.is_some() {
        format!("{} files", summary.own)
    } else {
        let broken = if summary.broken == 0 {
            String::new()
        } else {
            format!(", {} references ahead in {} circles", summary.broken, summary.cycles)
        };
        format!(
            "{} own objects, {} resolved, {} open references{broken}, {} bundles",
            summary.own, summary.resolved, summary.missing, summary.bundles
        )
    };
    let text = format!(
        "{} runs: {what}, {} in {}; {} damaged, {} skipped",
        summary.runs,
        show_size(summary.bytes),
        show_span(teller.elapsed()),
        summary.damaged,
        summary.skipped
    );
    // Where the product itself goes to standard output, nothing may follow it there.
    if args.bundles.as_ref().is_none_or(|file| file.as_os_str() != "-") {
        return context.say(&text);
    }
    if !context.out.is_json() {
        context.console.note(&text);
    }
    Ok(())
}
