//! Which segments are gone: not there, though something that counts names them. It is found out before the log is read, so
//! that each is told of in its place, and by whoever reads that part.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Report;
use super::scope::Scope;
use crate::error::{Damage, Error, Place, Result};
use crate::format::hints;
use crate::format::record::Head;
use crate::format::segment::file_name;
use crate::id::{CommitId, Location, SegmentId, StoreId};
use crate::progress::Stop;
use crate::segment::Walk;
use crate::store::log::piece::refusal;
use crate::store::log::{LogPosition, LogSink, Survey, Transaction, read_log};
use crate::store::proof::Proof;
use crate::store::recover::missing_commit;
use crate::store::state::State;
use crate::store::working::Working;
use crate::vfs::ReadVfs;

/// Finds them, besides those that are `named` already, by the chain of COMMITs which was read when the state was loaded: the
/// newest index lists its segments, and without one the hints of the last commit do. Cost: small, but where the list is damaged,
/// or the log had gaps when the index was made: then the heads of the whole log are read for its chain, by each part and at every
/// level.
///
/// # Errors
/// Failures of reading, `Cancelled`; damage is told elsewhere.
pub(super) fn gone(
    vfs: &Arc<dyn ReadVfs>,
    store: StoreId,
    state: &State,
    mut named: BTreeSet<SegmentId>,
    stop: &Stop,
) -> Result<BTreeSet<SegmentId>> {
    match state.newest_index() {
        Some(newest) => {
            let listed: Vec<_> = newest.segments().collect();
            let is_damaged = listed.iter().any(std::result::Result::is_err);
            named.extend(listed.into_iter().flatten().map(|(id, _)| id));
            if is_damaged || newest.gaps() > 0 {
                let mut all = LogPosition::default();
                named.extend(read_log(&state.segments, &mut all, Skim(stop), &mut Skim(stop))?.absent);
                // Nothing follows that would name the last one.
                let last = state.position.link;
                named.extend((last.id == newest.covered().commit).then_some(last.at.segment));
            }
        }
        None => named.extend(listed_by_hints(vfs, store, state)),
    }
    // A compaction that was cut off after its COMMIT has left the index that lists what it emptied.
    named.retain(|id| state.segments.ids().binary_search(id).is_err() && !state.dead.contains(id));
    Ok(named)
}

/// Where the log goes on behind the commit of the hints, they say nothing that its COMMITs do not.
fn listed_by_hints(vfs: &Arc<dyn ReadVfs>, store: StoreId, state: &State) -> Vec<SegmentId> {
    let commit = state.position.link.id;
    let read = vfs.read(&hints::file_name(commit), hints::HINTS_MAX_BYTES);
    // What cannot be read proves nothing.
    let decoded = read.ok().flatten().and_then(|bytes| hints::decode(&bytes, store, commit).ok());
    let listed = decoded.iter().flat_map(|hints| {
        hints.segments.keys().filter(|id| !hints.dead.contains(id)).map(|id| SegmentId(*id))
    });
    listed.collect()
}

/// Tells that the log ends too early, if something beside it proves that: where it ended, or which segment is gone with it.
pub(super) fn end_of_log(
    proof: Option<&Proof>,
    state: &State,
    scope: &Scope,
    report: &mut Report<'_>,
) -> Result<()> {
    let Some(proof) = proof.filter(|proof| scope.has(proof.link.at.segment, report.summary.cursor)) else {
        return Ok(());
    };
    let last = proof.link.at.segment;
    let is_there = state.segments.ids().binary_search(&last).is_ok();
    let place = if is_there { proof.place() } else { Place::whole(file_name(last)) };
    report.damage(place, proof.damage())
}

/// Tells that the COMMIT that the index was written behind is not there, where the log is not read.
pub(super) fn covered(working: &Working, scope: &Scope, report: &mut Report<'_>) -> Result<()> {
    let cursor = report.summary.cursor;
    let covered = missing_commit(working)?.filter(|covered| scope.has(covered.at.segment, cursor));
    let Some(covered) = covered else { return Ok(()) };
    let place = Place::at(file_name(covered.at.segment), covered.at.offset.into());
    report.damage(place, Damage::CommitLost { commit: covered.commit })
}

/// Reads the log for its chain alone: whoever reads a segment tells what is wrong with it.
struct Skim<'s>(&'s Stop);

impl Survey for Skim<'_> {
    type Notes = Vec<()>;

    fn record(&self, _: &mut Walk<'_>, _: Location, _: &Head, _: &mut Vec<()>) -> Result<()> {
        self.0.check()
    }
}

impl LogSink<Vec<()>> for Skim<'_> {
    fn committed(&mut self, _: Vec<()>) -> Result<()> {
        Ok(())
    }

    fn transaction(&mut self, _: &Transaction<'_>) -> Result<()> {
        Ok(())
    }

    fn damage(&mut self, _: Location, _: u32, _: Damage) -> Result<()> {
        Ok(())
    }

    fn tail(&mut self, _: Location, _: u32, _: CommitId) -> Result<()> {
        Ok(())
    }

    fn refused(&mut self, error: Error) -> Result<Damage> {
        refusal(error)
    }
}
