//! `store delete`: one snapshot of an id or all of them, in one transaction.

use crate::error::{Error, Result};
use crate::id::RunKey;
use crate::import::{FileOutcome, settle_aliases};
use crate::store::{PutKind, View, Writer};

use super::args::DeleteArgs;
use super::context::Context;
use super::exit::Exit;
use super::import::{FileUnit, name as outcome_name};
use super::lookup::{self, RunNames};
use super::text::{Text, show, show_path};
use super::values;

/// Runs the command.
///
/// # Errors
/// `BadInput` for an id that is only an alias; `NoStore`, `Locked`, failures of the store.
pub(crate) fn run(context: &Context, args: &DeleteArgs) -> Result<()> {
    let id = values::file_stem(&args.id)?;
    let store = context.open_write()?;
    let mut writer = store.writer(context.writer_options())?;
    let view = writer.view()?;
    let runs = match &args.run {
        None => all(context, &view, id)?,
        Some(run) => match lookup::run(&view, run)? {
            None => return context.not_found(&format!("no run {}", run.name)),
            Some(run) => vec![run.key],
        },
    };
    let mut gone = Vec::new();
    for run in runs {
        if remove(&mut writer, &view, id, run)? {
            gone.push(run);
        }
    }
    if gone.is_empty() {
        writer.close()?;
        if context.noted() != Exit::Done {
            // There are snapshots, but none that could be deleted: that was told.
            return Ok(());
        }
        let within = args.run.as_ref().map(|run| format!(" in run {}", run.name)).unwrap_or_default();
        return context.not_found(&format!("no snapshot of {}{within}", show(id)));
    }
    let commit = writer.commit()?;
    let mut names = RunNames::default();
    for run in gone {
        let path = lookup::path(names.of(Some(&view), run), id);
        tell(context, &path, commit.0)?;
    }
    writer.close()
}

/// The runs that hold a file of this name. Damaged snapshots are reported; their runs have to be named.
fn all(context: &Context, view: &View, id: &[u8]) -> Result<Vec<RunKey>> {
    let mut runs = Vec::new();
    for snapshot in view.history(id)? {
        match snapshot {
            Ok(snapshot) if *snapshot.name() == *id => runs.push(snapshot.run()),
            Ok(snapshot) => return Err(only_alias(id, &snapshot.name())),
            Err(error) => {
                context.report(&error, None)?;
                context.console.hint("--run RUN deletes a damaged snapshot too");
            }
        }
    }
    Ok(runs)
}

fn remove(writer: &mut Writer, view: &View, id: &[u8], run: RunKey) -> Result<bool> {
    match view.record(id, run) {
        Ok(None) => return Ok(false),
        Ok(Some(record)) if record.kind() == PutKind::Alias => return Err(only_alias(id, &record.body()?)),
        Ok(Some(_)) => {}
        // It is to go anyway.
        Err(error) if error.is_damage() => {}
        Err(error) => return Err(error),
    }
    let is_gone = writer.delete(id, run)?;
    if is_gone {
        // Whatever other files of the run hold of it is found there from now on.
        settle_aliases(writer, run)?;
    }
    Ok(is_gone)
}

/// Deleting by an alias would take the other objects of the file along.
fn only_alias(id: &[u8], name: &[u8]) -> Error {
    let reason =
        format!("is found in the file {}; delete that name, with all that the file holds", show(name));
    Error::BadInput { what: show(id), reason }
}

fn tell(context: &Context, path: &[Vec<u8>; 2], commit: u64) -> Result<()> {
    let outcome = outcome_name(FileOutcome::Removed);
    context.out.count(outcome, 1);
    if !context.out.is_json() {
        let shown = show_path(path.iter().map(Vec::as_slice));
        return context.say(&format!("{outcome} {shown} in commit {commit}"));
    }
    let path = path.iter().map(|part| Text(part)).collect();
    let txn = Some(commit);
    let unit = FileUnit { path, outcome, bytes: 0, txn, error: None, warnings: &[], dry_run: false };
    context.out.unit("file", &unit)
}
