//! Makes an index of the whole log, in memory that does not grow with the records: what was replayed is set aside as a
//! layer again and again, in files without a name, and these are joined in the end. So a crash leaves the index that was
//! there, and readers beside see nothing of it.
//!
//! A segment that a compaction or repair has left out may still be there. Its records must not get into a layer, and which
//! segments these are is known for certain only behind the last COMMIT: so one that comes as a surprise begins it again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::checkpoint::Plan;
use super::index_file::IndexFiles;
use super::log::{LogPosition, read_log};
use super::open::{files_of, list_segments, seed_of};
use super::proof::Proof;
use super::replay::{Look, Replay};
use super::state::State;
use super::working::Working;
use crate::error::Result;
use crate::format::hints::Hints;
use crate::id::{CommitId, SegmentId};
use crate::index::{Covered, Overlay};
use crate::segment::Segments;

/// Sets aside what was replayed.
pub(super) struct Aside<'v> {
    pub(super) files: IndexFiles<'v>,
    /// Segments that are left out.
    pub(super) dead: &'v BTreeSet<SegmentId>,
    /// Records that are held in memory.
    pub(super) records_max: usize,
    /// Layers written so far.
    count: u64,
}

impl Aside<'_> {
    /// Makes a layer of the overlay once that is full.
    pub(super) fn relieve(&mut self, working: &mut Working) -> Result<()> {
        let state = &mut working.state;
        if state.overlay.len() < self.records_max {
            return Ok(());
        }
        let plan = if state.layers.is_empty() { Plan::Base } else { Plan::Delta(state.small_deltas()) };
        // Layers tell by it which one follows which; the transaction at hand may not even have its COMMIT yet.
        self.count = self.count.saturating_add(1);
        let covered = Covered { commit: CommitId(self.count), ..Covered::default() };
        let index = self.files.set_aside(state, plan, covered)?;
        state.put_layer(index, plan, seed_of(self.files.config));
        Ok(())
    }
}

/// Reads the whole log. `dead` are segments known to be left out. The layers of the state that it returns are not
/// published: a checkpoint makes a base of them.
///
/// # Errors
/// Failures of the file system; damage is met as in an open without an index.
pub(super) fn rebuild(
    files: IndexFiles<'_>,
    dead: &BTreeSet<SegmentId>,
    records_max: usize,
) -> Result<Working> {
    let none = BTreeSet::new();
    let working = read_all(files, dead, &none, records_max)?;
    let said = working.state.dead.clone();
    let is_disputed = working.is_disputed;
    if said.is_subset(dead) && !is_disputed {
        return Ok(working);
    }
    drop(working);
    // It depends on the COMMITs only, so by now all are known; and one in a segment that is left out does not count.
    if is_disputed {
        return read_all(files, &said, &said, records_max);
    }
    read_all(files, &said.union(dead).copied().collect(), &none, records_max)
}

fn read_all(
    files: IndexFiles<'_>,
    dead: &BTreeSet<SegmentId>,
    hidden: &BTreeSet<SegmentId>,
    records_max: usize,
) -> Result<Working> {
    let IndexFiles { read, config, .. } = files;
    let beside = read.list("")?.unwrap_or_default();
    let names = files_of(&beside).map(|entry| entry.name.as_str());
    let proof = Proof::find(&**read, config.store, names, CommitId(0));
    let mut ids = list_segments(&**read)?;
    ids.retain(|id| !hidden.contains(id));
    let active = ids.last().map(|id| (*id, 0));
    let segments = Arc::new(Segments::new(read.clone(), config.store, ids, active, None));
    let mut position = LogPosition::default();
    let state = State {
        position,
        layers: Vec::new(),
        overlay: Arc::new(Overlay::new(seed_of(config), crate::index::Totals::default())),
        segments: segments.clone(),
        dead: Arc::new(hidden.clone()),
        gaps: 0,
    };
    let mut working = Working::new(state, Some(Hints::default()));
    let aside = Aside { files, dead, records_max, count: 0 };
    let mut replay = Replay::new(&mut working, Some(aside));
    let end = read_log(&segments, &mut position, Look, &mut replay)?;
    replay.finish(position);
    working.leave_out(hidden);
    working.state.gaps = end.gaps;
    working.knows(proof.and_then(|proof| proof.held_against(&position.link)));
    Ok(working)
}
