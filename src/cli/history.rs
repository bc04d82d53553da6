//! `store history`: all snapshots of an id, oldest first.

use crate::error::Result;

use super::args::HistoryArgs;
use super::context::Context;
use super::lookup::{self, RunNames, SnapshotUnit};
use super::table::{Field, Rows};
use super::text::show;

/// Runs the command.
///
/// # Errors
/// `NoStore`, failures of reading and of the output. A damaged snapshot is reported, and the rest shown.
pub(crate) fn run(context: &Context, args: &HistoryArgs) -> Result<()> {
    let id = args.id.as_encoded_bytes();
    let store = context.open_read()?;
    let view = store.view();
    let history = view.history(id)?;
    if history.is_empty() {
        return context.not_found(&format!("no snapshot of {}", show(id)));
    }
    let mut names = RunNames::default();
    let mut rows = Rows::new(&context.out, &["RUN", "LOCATION", "SIZE"]);
    for snapshot in history {
        let snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            Err(error) => {
                context.report(&error, None)?;
                continue;
            }
        };
        let run = names.of(Some(&view), snapshot.run());
        context.out.count("snapshots", 1);
        if context.out.is_json() {
            let path = lookup::path(run, &snapshot.name());
            context.out.unit("snapshot", &SnapshotUnit::of(&snapshot, id, &path))?;
        } else {
            let name = Field::Name(run.as_bytes().to_vec());
            rows.row(&[name, Field::At(snapshot.location()), Field::Bytes(snapshot.len())])?;
        }
    }
    if context.out.is_json() { Ok(()) } else { rows.finish() }
}
