//! `store ls`: the snapshots of one run, by name.

use crate::error::Result;

use super::args::LsArgs;
use super::context::Context;
use super::lookup::{self, SnapshotUnit};
use super::table::{Field, Rows};

/// Runs the command. Holds one run's names in memory, to sort them.
///
/// # Errors
/// `NoStore`, failures of reading and of the output. A damaged snapshot is reported, and the rest shown.
pub(crate) fn run(context: &Context, args: &LsArgs) -> Result<()> {
    let store = context.open_read()?;
    let view = store.view();
    let Some(run) = lookup::run(&view, &args.run)? else {
        return context.not_found(&format!("no run {}", args.run.name));
    };
    if let Some(error) = run.error() {
        context.report(&error, Some(&run.name))?;
    }
    let mut found = Vec::new();
    for snapshot in view.iter_run(run.key)? {
        match snapshot {
            Ok(snapshot) => found.push(snapshot),
            Err(error) => context.report(&error, Some(&run.name))?,
        }
    }
    found.sort_by(|a, b| a.name().cmp(&b.name()));
    let mut rows = Rows::new(&context.out, &["NAME", "SIZE", "LOCATION"]);
    for snapshot in &found {
        context.out.count("snapshots", 1);
        context.out.count("bytes", snapshot.len());
        let name = snapshot.name();
        if context.out.is_json() {
            let path = lookup::path(&run.name, &name);
            context.out.unit("snapshot", &SnapshotUnit::of(snapshot, &name, &path))?;
        } else {
            let name = Field::Name(name.into_owned());
            rows.row(&[name, Field::Bytes(snapshot.len()), Field::At(snapshot.location())])?;
        }
    }
    if context.out.is_json() { Ok(()) } else { rows.finish() }
}
