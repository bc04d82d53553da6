//! `store diff`: what changed between two states, or in one object from snapshot to snapshot.

use std::ffi::OsString;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::id::CommitId;
use crate::restore::{self, Change, Difference};
use crate::snapshot::difference::{Edit, edits};
use crate::store::View;

use super::args::DiffArgs;
use super::context::Context;
use super::lookup::{self, RunNames};
use super::text::{Text, show};
use super::values::RunArg;

#[derive(Serialize)]
struct DifferenceUnit<'a> {
    id: Text<'a>,
    change: &'static str,
    from: Option<&'a str>,
    to: Option<&'a str>,
}

#[derive(Serialize)]
struct EditUnit<'a> {
    id: Text<'a>,
    from: &'a str,
    to: &'a str,
    at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Box<RawValue>>,
}

/// A state that is compared.
enum State {
    Run(RunArg),
    Commit(CommitId),
}

/// Runs the command.
///
/// # Errors
/// `NoStore`; `BadInput` for what is no state, or for two of different kinds; `CompactedAway`; failures of reading and of
/// the output. Damaged snapshots are reported, and the rest is compared.
pub(crate) fn run(context: &Context, args: &DiffArgs) -> Result<()> {
    let states = match args.what.as_slice() {
        [first, second] => Some((state(first)?, state(second)?)),
        _ => None,
    };
    let stop = context.stop()?;
    let store = context.open_read()?;
    let view = store.view();
    let mut names = RunNames::default();
    let mut each = |found: Result<Difference>| match found {
        Ok(found) => tell(context, &view, &mut names, &found),
        Err(error) => context.report(&error, None),
    };
    match states {
        Some((State::Commit(from), State::Commit(to))) => {
            restore::diff_states(&view.as_of(from)?, &view.as_of(to)?, &mut each, &stop)
        }
        Some((State::Run(from), State::Run(to))) => {
            restore::diff_runs(&view, (from.at, to.at), &mut each, &stop)
        }
        Some(_) => Err(Error::BadInput {
            what: "a run and a commit".to_owned(),
            reason: "are no two states of one kind; give two runs or two commits".to_owned(),
        }),
        None => args.what.first().map_or(Ok(()), |id| snapshots(context, &view, id.as_encoded_bytes())),
    }
}

fn state(text: &OsString) -> Result<State> {
    let text = text.to_string_lossy();
    if let Ok(commit) = text.parse() {
        return Ok(State::Commit(CommitId(commit)));
    }
    let reason =
        || "neither the name of a run directory, such as 20240115T140000Z, nor the number of a commit";
    text.parse().map(State::Run).map_err(|_: String| Error::BadInput {
        what: format!("state {:?}", show(text.as_bytes())),
        reason: reason().to_owned(),
    })
}

fn tell(context: &Context, view: &View, names: &mut RunNames, found: &Difference) -> Result<()> {
    let (change, count) = match found.change {
        Change::Added => ("added", "added"),
        Change::Removed => ("removed", "removed"),
        Change::Changed => ("changed", "changed"),
    };
    context.out.count(count, 1);
    let from = found.from.map(|run| names.of(Some(view), run).to_owned());
    let to = found.to.map(|run| names.of(Some(view), run).to_owned());
    let (from, to) = (from.as_deref(), to.as_deref());
    if context.out.is_json() {
        return context.out.unit("difference", &DifferenceUnit { id: Text(&found.name), change, from, to });
    }
    let field = |run: Option<&str>| run.map_or_else(|| "-".to_owned(), |run| show(run.as_bytes()));
    context.out.line(&format!("{change}\t{}\t{}\t{}", field(from), field(to), show(&found.name)))
}

/// Tells what each snapshot of an id changed of the one before.
fn snapshots(context: &Context, view: &View, id: &[u8]) -> Result<()> {
    let history = view.history(id)?;
    if history.is_empty() {
        return context.not_found(&format!("no snapshot of {}", show(id)));
    }
    let mut names = RunNames::default();
    let mut last: Option<(String, Vec<u8>)> = None;
    for snapshot in history {
        let read = snapshot.and_then(|snapshot| {
            let body = snapshot.body()?;
            Ok((snapshot.run(), lookup::object(&snapshot, id, &body)?.to_vec()))
        });
        let (run, text) = match read {
            Ok(read) => read,
            Err(error) => {
                context.report(&error, None)?;
                continue;
            }
        };
        context.out.count("snapshots", 1);
        let run = names.of(Some(view), run).to_owned();
        if let Some((before, old)) = &last {
            compare(context, id, (before, old), (&run, &text))?;
        }
        last = Some((run, text));
    }
    Ok(())
}

fn compare(context: &Context, id: &[u8], old: (&str, &[u8]), new: (&str, &[u8])) -> Result<()> {
    let bad = |reason| Error::BadInput { what: format!("the snapshots of {}", show(id)), reason };
    let found = edits(old.1, new.1).map_err(bad)?;
    context.out.count("edits", u64::try_from(found.len()).unwrap_or(u64::MAX));
    if !context.out.is_json() {
        let same = if found.is_empty() { ": no change" } else { "" };
        context.out.line(&format!("{} -> {}{same}", show(old.0.as_bytes()), show(new.0.as_bytes())))?;
    }
    for Edit { at, before, after } in found {
        if context.out.is_json() {
            let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
            let (before, after) = (raw(before), raw(after));
            let unit = EditUnit { id: Text(id), from: old.0, to: new.0, at: &at, before, after };
            context.out.unit("edit", &unit)?;
            continue;
        }
        let at = show(at.as_bytes());
        let text = match (before, after) {
            (Some(before), Some(after)) => {
                format!("  ~ {at}: {} -> {}", show(before.as_bytes()), show(after.as_bytes()))
            }
            (None, Some(after)) => format!("  + {at}: {}", show(after.as_bytes())),
            (Some(before), None) => format!("  - {at}: {}", show(before.as_bytes())),
            (None, None) => continue,
        };
        context.out.line(&text)?;
    }
    Ok(())
}
