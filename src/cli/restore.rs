//! `store restore`: out again, as a tree, as bundles, or as a plan only.

use std::cell::RefCell;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::progress::Stop;
use crate::restore::{
    self, MissingState, PlanUnit, Resolve, RestoreEvent, RestoreOptions, RestoreSummary, Why,
};
use crate::store::View;
use crate::vfs::tree;

use super::args::{ResolveArg, RestoreArgs};
use super::context::Context;
use super::exit::Exit;
use super::output::{Lines, Plain};
use super::progress::Meter;
use super::text::{Text, show, show_size, show_span};

/// Bytes held back before a bundle file is written to.
const FILE_BUFFER_BYTES: usize = 1 << 20;

/// The units of a plan (DESIGN, section 7).
#[derive(Serialize)]
struct ObjectUnit<'a> {
    run: &'a str,
    id: Text<'a>,
    from: &'a str,
    why: &'static str,
}

/// A reference that stays open.
#[derive(Serialize)]
struct MissingUnit<'a> {
    run: &'a str,
    r#ref: Text<'a>,
    state: &'static str,
}

/// Runs the command.
///
/// # Errors
/// `NoStore`, `Cancelled`, failures of reading, of the target and of the output. Damaged snapshots are
/// noted, and the rest is restored.
pub(crate) fn run(context: &Context, args: &RestoreArgs) -> Result<()> {
    let stop = context.stop()?;
    let store = context.open_read()?;
    let view = store.view();
    let options = options(args);
    let teller = Teller::new(context);
    let summary = match (&args.tree, &args.bundles) {
        (Some(target), _) => restore::tree(&view, &options, target, &mut |event| teller.event(event), &stop),
        (_, Some(file)) if file.as_os_str() == "-" => to_stdout(context, &teller, &view, &options, &stop),
        (_, Some(file)) => to_file(file, &teller, &view, &options, &stop),
        (None, None) => plan(context, &teller, &view, &options, &stop),
    };
    teller.meter.borrow_mut().finish();
    conclude(context, args, &teller, &summary?)
}

fn options(args: &RestoreArgs) -> RestoreOptions {
    RestoreOptions {
        resolve: match args.resolve {
            ResolveArg::Once => Resolve::Once,
            ResolveArg::Closure => Resolve::Closure,
            ResolveArg::None => Resolve::None,
        },
        after: args.after.as_ref().map(|run| run.at),
        until: args.until.as_ref().map(|run| run.at),
        include_earlier: args.include_earlier,
        extension_refs: args.extension_refs,
        max_bundle_bytes: args.max_bundle_bytes,
    }
}

fn plan(
    context: &Context,
    teller: &Teller<'_>,
    view: &View,
    options: &RestoreOptions,
    stop: &Stop,
) -> Result<RestoreSummary> {
    let mut unit = |unit: &PlanUnit| plan_unit(context, unit);
    restore::plan(view, options, &mut unit, &mut |event| teller.event(event), stop)
}

fn plan_unit(context: &Context, unit: &PlanUnit) -> Result<()> {
    match unit {
        PlanUnit::Object { run, id, from, why } => {
            let why = match why {
                Why::Own => "own",
                Why::Resolved => "resolved",
            };
            if context.out.is_json() {
                return context.out.unit("object", &ObjectUnit { run, id: Text(id), from, why });
            }
            context.out.line(&format!(
                "{}\t{why}\t{}\t{}",
                show(run.as_bytes()),
                show(id),
                show(from.as_bytes())
            ))
        }
        PlanUnit::Missing { run, reference, state } => {
            let state = match state {
                MissingState::Earlier => "earlier",
                MissingState::Absent => "absent",
            };
            if context.out.is_json() {
                return context.out.unit("missing", &MissingUnit { run, r#ref: Text(reference), state });
            }
            context.out.line(&format!("{}\tmissing\t{}\t{state}", show(run.as_bytes()), show(reference)))
        }
    }
}

fn to_stdout(
    context: &Context,
    teller: &Teller<'_>,
    view: &View,
    options: &RestoreOptions,
    stop: &Stop,
) -> Result<RestoreSummary> {
    let mut event = |event: RestoreEvent<'_>| teller.event(event);
    if !context.out.is_json() {
        return restore::bundles(view, options, &mut Plain(&context.out), &mut event, stop);
    }
    let mut lines = Lines::new(|line: &[u8]| {
        let run = teller.run.borrow();
        context.out.splice("bundle", &[("run", run.as_bytes()), ("bundle", line)])
    });
    let summary = restore::bundles(view, options, &mut lines, &mut event, stop)?;
    lines.finish()?;
    Ok(summary)
}

fn to_file(
    path: &Path,
    teller: &Teller<'_>,
    view: &View,
    options: &RestoreOptions,
    stop: &Stop,
) -> Result<RestoreSummary> {
    let mut file = BufWriter::with_capacity(FILE_BUFFER_BYTES, tree::create_file(path)?);
    let summary = restore::bundles(view, options, &mut file, &mut |event| teller.event(event), stop)?;
    let failed = |error| Error::io("write", path, error);
    file.flush().map_err(failed)?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.finish()?;
    Ok(summary)
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
        ("bundles", summary.bundles),
        ("bytes", summary.bytes),
        ("damaged", summary.damaged),
        ("skipped", summary.skipped),
    ] {
        context.out.count(name, count);
    }
    let what = if args.tree.is_some() {
        format!("{} files", summary.own)
    } else {
        format!(
            "{} own objects, {} resolved, {} open references",
            summary.own, summary.resolved, summary.missing
        )
    };
    let product =
        if args.bundles.is_some() { format!(", {} bundles", summary.bundles) } else { String::new() };
    let size = if args.plan { String::new() } else { format!(", {}", show_size(summary.bytes)) };
    let text = format!(
        "{} runs: {what}{product}{size} in {}; {} damaged, {} skipped",
        summary.runs,
        show_span(teller.meter.borrow().elapsed()),
        summary.damaged,
        summary.skipped
    );
    // Where the product itself goes to standard output, nothing may follow it there.
    if args.tree.is_some() || args.bundles.as_ref().is_some_and(|file| file.as_os_str() != "-") {
        return context.say(&text);
    }
    if !context.out.is_json() {
        context.console.note(&text);
    }
    Ok(())
}

/// Tells what happens besides the product.
struct Teller<'a> {
    context: &'a Context,
    meter: RefCell<Meter>,
    /// The name of the run being restored, as JSON.
    run: RefCell<String>,
}

impl<'a> Teller<'a> {
    fn new(context: &'a Context) -> Teller<'a> {
        let meter = RefCell::new(context.meter("restore", "snapshots"));
        Teller { context, meter, run: RefCell::new("null".to_owned()) }
    }

    fn event(&self, event: RestoreEvent<'_>) {
        let told = match event {
            RestoreEvent::Progress(progress) => {
                self.meter.borrow_mut().update(progress);
                Ok(())
            }
            RestoreEvent::Run { name } => {
                *self.run.borrow_mut() = serde_json::Value::from(name).to_string();
                Ok(())
            }
            RestoreEvent::Damaged { run, error } => self.context.report(error, Some(run)),
            RestoreEvent::Skipped { run, name, reason } => {
                let text = format!("skipped {}/{}: {reason}", show(run.as_bytes()), show(name));
                self.context.skipped(run, "skipped", &text)
            }
        };
        // What failed is the output. It is remembered there, and decides the exit code.
        told.ok();
    }
}
