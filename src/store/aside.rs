//! What memory shall not hold of a log that is replayed: it is set aside as layers of an index, in files without a name, and
//! stands for the overlay that it was until one is published. So a replay of any length takes the memory of a short one, a
//! crash leaves the index that was there, and nobody beside sees anything of it.
//!
//! A segment that a compaction or repair has left out may still be there. Without an index its records must not get into a
//! layer, as others that belong to them may be gone, and which segments these are is known for certain only behind the last
//! COMMIT: so one that comes as a surprise begins it again (`open.rs`).

use std::collections::BTreeSet;

use super::checkpoint::Plan;
use super::index_file::IndexFiles;
use super::open::seed_of;
use super::working::Working;
use crate::error::{Error, Result};
use crate::id::{CommitId, SegmentId};
use crate::index::Covered;

/// Layers tell by the number of a commit which one follows which. Those that are set aside cover none, as the transaction at
/// hand may not even have its COMMIT yet: they count from here, where no store has come to.
const ASIDE_FIRST: u64 = 1 << 63;

/// Sets aside what was replayed.
pub(super) struct Aside<'v> {
    files: IndexFiles<'v>,
    /// Segments that are left out.
    dead: &'v BTreeSet<SegmentId>,
    /// Records that are held in memory.
    records_max: usize,
}

impl<'v> Aside<'v> {
    /// Sets aside what is more than so many records.
    pub(super) fn new(files: IndexFiles<'v>, dead: &'v BTreeSet<SegmentId>, records_max: usize) -> Aside<'v> {
        Aside { files, dead, records_max }
    }

    /// Tells whether a segment is known to be left out.
    pub(super) fn is_dead(&self, id: SegmentId) -> bool {
        self.dead.contains(&id)
    }

    /// Makes a layer of the overlay once that is full. Where there is no room for that, memory holds it.
    pub(super) fn relieve(&mut self, working: &mut Working) -> Result<()> {
        let state = &mut working.state;
        if state.overlay.len() < self.records_max {
            return Ok(());
        }
        // What is published stays.
        let merged = state.small_deltas().min(state.aside);
        let plan = if state.layers.is_empty() { Plan::Base } else { Plan::Delta(merged) };
        let before = state.layers.first().filter(|_| state.aside > 0).map(|newest| newest.covered().commit.0);
        let commit = CommitId(before.map_or(ASIDE_FIRST, |before| before.saturating_add(1)));
        let covered = Covered { commit, ..Covered::default() };
        match self.files.set_aside(state, plan, covered) {
            Ok(index) => state.put_aside(index, plan, seed_of(self.files.config)),
            Err(error @ Error::Io { .. }) => {
                tracing::warn!("{error}; what was read of the log is held in memory");
                self.records_max = usize::MAX;
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }
}
