//! Finding runs and objects, and the unit that a snapshot is in the stream.

use std::collections::HashMap;

use serde::Serialize;

use crate::error::{Damage, Error, Place, Result};
use crate::id::{Location, RunKey};
use crate::snapshot::Meta;
use crate::store::{RunInfo, Snapshot, View};

use super::text::Text;
use super::values::RunArg;

/// Finds the run that an argument means: the directory of that name, else the only one of that instant.
///
/// # Errors
/// `BadInput` if several directories have the instant and none the name.
pub(crate) fn run(view: &View, wanted: &RunArg) -> Result<Option<RunInfo>> {
    if let Some(run) = view.run_named(wanted.at, &wanted.name)? {
        return Ok(Some(run));
    }
    let mut same: Vec<RunInfo> =
        view.runs()?.into_iter().filter(|run| run.key.instant() == wanted.at).collect();
    if same.len() > 1 {
        let names: Vec<String> = same.into_iter().map(|run| run.name).collect();
        let reason = format!("means one instant with {}; give one of these names", names.join(", "));
        return Err(Error::BadInput { what: format!("run {}", wanted.name), reason });
    }
    Ok(same.pop())
}

/// Names of runs, each looked up once.
#[derive(Default)]
pub(crate) struct RunNames(HashMap<RunKey, String>);

impl RunNames {
    /// Returns the directory name of a run; where the store does not tell, the name its instant has.
    pub(crate) fn of(&mut self, view: Option<&View>, run: RunKey) -> &str {
        self.0.entry(run).or_insert_with(|| {
            let known = view.and_then(|view| view.run(run).ok().flatten());
            known.map_or_else(|| run.instant().canonical_name(), |info| info.name)
        })
    }
}

/// Says where a record lies, for an error.
pub(crate) fn place(location: Location) -> Place {
    Place::at(format!("data/{}.seg", location.segment), u64::from(location.offset))
}

fn bad_meta(snapshot: &Snapshot<'_>, reason: String) -> Error {
    Error::damaged(place(snapshot.location()), Damage::Content { what: "meta", reason })
}

/// Decodes a snapshot's meta.
///
/// # Errors
/// `Damaged` if it does not decode.
pub(crate) fn meta(snapshot: &Snapshot<'_>) -> Result<Meta> {
    Meta::decode(snapshot.meta(), snapshot.object_range()).map_err(|reason| bad_meta(snapshot, reason))
}

/// Cuts the object with `id` out of a snapshot's file; its first object, if none has that id: then the
/// file was found by its name.
///
/// # Errors
/// `Damaged` if the recorded positions lie outside the file.
pub(crate) fn object<'b>(snapshot: &Snapshot<'_>, id: &[u8], body: &'b [u8]) -> Result<&'b [u8]> {
    let range = match meta(snapshot)?.object_named(id, &snapshot.name()) {
        Some(object) => object.range.clone(),
        None => snapshot.object_range(),
    };
    let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
    bounds
        .and_then(|(start, end)| body.get(start..end))
        .ok_or_else(|| bad_meta(snapshot, format!("object at {range:?} of {} bytes", body.len())))
}

/// The parts of a snapshot's path in a backup tree: run directory and file name.
pub(crate) fn path(run: &str, name: &[u8]) -> [Vec<u8>; 2] {
    [run.as_bytes().to_vec(), [name, b".json"].concat()]
}

/// A `snapshot` unit, without content.
#[derive(Serialize)]
pub(crate) struct SnapshotUnit<'a> {
    pub(crate) id: Text<'a>,
    pub(crate) path: Vec<Text<'a>>,
    pub(crate) seg: u32,
    pub(crate) off: u32,
    pub(crate) len: u64,
    pub(crate) bytes: u64,
    pub(crate) txn: u64,
}

impl<'a> SnapshotUnit<'a> {
    /// Describes a snapshot that was asked for as `id`.
    pub(crate) fn of(snapshot: &Snapshot<'_>, id: &'a [u8], path: &'a [Vec<u8>; 2]) -> SnapshotUnit<'a> {
        let location = snapshot.location();
        SnapshotUnit {
            id: Text(id),
            path: path.iter().map(|part| Text(part)).collect(),
            seg: location.segment.0,
            off: location.offset,
            len: snapshot.stored_len(),
            bytes: snapshot.len(),
            txn: snapshot.first_commit().0,
        }
    }
}
