//! What a writer makes sure of before it builds on the state that it finds. Nothing is truncated or removed, and no space
//! is needed: an uncommitted tail is left alone, and the writer goes on in a new segment.

use std::sync::Arc;

use super::inner::DATA_DIR;
use super::open::{Loaded, UseIndex, load};
use super::working::Working;
use crate::error::{Damage, Error, Place, Result};
use crate::format::segment::file_name;
use crate::index::Covered;
use crate::seeded::{self, Bug};
use crate::segment::Segments;
use crate::vfs::{ReadVfs, Vfs};

/// Loads the state for a writer, which holds the lock.
///
/// # Errors
/// `ReadOnly` when the index proves that an acknowledged commit is gone from the log; failures of the file system.
pub(super) fn recover(read: &Arc<dyn ReadVfs>, vfs: &dyn Vfs) -> Result<Loaded> {
    let loaded = load(read, UseIndex::Newest, true)?;
    refuse_loss(read, &loaded.working)?;
    make_durable(vfs, &loaded.working)?;
    Ok(loaded)
}

/// Tells why nothing may be written, as far as a reader can see at once: the log ends before the commit that the index covers.
/// Cost: one positioned read.
pub(super) fn proven_loss(working: &Working) -> Result<Option<String>> {
    if let Some(proof) = &working.proof {
        return Ok(Some(refusal(&proof.place(), &proof.damage())));
    }
    let Some(covered) = missing_commit(working)? else { return Ok(None) };
    let segment = working.state.segments.get(covered.at.segment)?;
    let len = segment.map(|segment| segment.file().len()).transpose()?.unwrap_or(0);
    Ok((len < covered.end.into()).then(|| lost(&covered)))
}

/// Returns what the newest index covers if the log does not hold that COMMIT.
pub(super) fn missing_commit(working: &Working) -> Result<Option<Covered>> {
    let Some(newest) = working.state.newest_index() else { return Ok(None) };
    let covered = newest.covered();
    // A later compaction may have moved on from the segment in which it lay.
    let is_left_out = working.state.dead.contains(&covered.at.segment);
    let held = covered.commit.0 == 0 || is_left_out || is_held(&working.state.segments, &covered)?;
    Ok((!held).then_some(covered))
}

fn lost(covered: &Covered) -> String {
    let place = Place::at(file_name(covered.at.segment), covered.at.offset.into());
    refusal(&place, &Damage::CommitLost { commit: covered.commit })
}

fn refusal(place: &Place, damage: &Damage) -> String {
    format!("{place}: {damage}; run `store check`")
}

/// Refuses to build on a log that lacks a commit which the index covers.
fn refuse_loss(read: &Arc<dyn ReadVfs>, working: &Working) -> Result<()> {
    if let Some(proof) = &working.proof {
        return Err(Error::ReadOnly { reason: refusal(&proof.place(), &proof.damage()) });
    }
    let Some(covered) = missing_commit(working)? else { return Ok(()) };
    // Its COMMIT may be damaged and yet follow from its records: then nothing is lost.
    let replayed = load(read, UseIndex::Never, false)?;
    if replayed.working.state.position.link.id >= covered.commit {
        return Ok(());
    }
    Err(Error::ReadOnly { reason: lost(&covered) })
}

/// Tells whether the COMMIT that an index covers stands where it says.
fn is_held(segments: &Segments, covered: &Covered) -> Result<bool> {
    let Some(segment) = segments.get(covered.at.segment)? else { return Ok(false) };
    match segment.record(covered.at.offset) {
        Ok(record) => Ok(record.head.data_crc == covered.data_crc),
        Err(Error::Damaged { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Makes durable what the state rests on and nobody has acknowledged: a process that was killed may have left a COMMIT, or
/// a new store, that only the system's cache holds. Whatever is built on it now, be it the answer that a put changes
/// nothing, would be lost with it. Where the index covers the last commit, all of this was durable before the index.
pub(super) fn make_durable(vfs: &dyn Vfs, working: &Working) -> Result<()> {
    let state = &working.state;
    // Who has lost that directory has nothing left in it, and yet can begin again.
    if state.segments.ids().is_empty() && vfs.list(DATA_DIR)?.is_none() {
        vfs.create_dir(DATA_DIR)?;
        vfs.sync_dir("")?;
    }
    if !state.published().is_empty() && !working.is_dirty() || seeded::has(Bug::FoundUnsynced) {
        return Ok(());
    }
    let last = state.position.link.at.segment;
    if state.segments.get(last)?.is_some() {
        vfs.sync_file(&file_name(last))?;
        vfs.sync_dir(DATA_DIR)?;
    }
    vfs.sync_dir("")
}
