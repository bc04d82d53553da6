//! `store runs`: all runs, oldest first.

use serde::Serialize;

use crate::error::Result;

use super::context::Context;
use super::table::{Field, Rows};

#[derive(Serialize)]
struct RunUnit<'a> {
    run: &'a str,
    snapshots: u64,
    bytes: u64,
}

/// Runs the command.
///
/// # Errors
/// `NoStore`, failures of reading and of the output. A run whose own record is damaged is reported, and shown with the name
/// that it has until it is repaired.
pub(crate) fn run(context: &Context) -> Result<()> {
    let store = context.open_read()?;
    let mut rows = Rows::new(&context.out, &["RUN", "SNAPSHOTS", "BYTES"]);
    for run in store.view().runs()? {
        if let Some(error) = run.error() {
            context.report(&error, Some(&run.name))?;
        }
        context.out.count("runs", 1);
        context.out.count("snapshots", run.snapshots);
        context.out.count("bytes", run.bytes);
        if context.out.is_json() {
            let unit = RunUnit { run: &run.name, snapshots: run.snapshots, bytes: run.bytes };
            context.out.unit("run", &unit)?;
        } else {
            let name = Field::Name(run.name.into_bytes());
            rows.row(&[name, Field::Count(run.snapshots), Field::Bytes(run.bytes)])?;
        }
    }
    if context.out.is_json() { Ok(()) } else { rows.finish() }
}
