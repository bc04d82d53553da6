//! A committed state that can be moved on: the one place where a change is applied, for the writer and
//! for replay alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::inner::Inner;
use super::log::LogPosition;
use super::proof::Proof;
use super::stage::{Before, Change};
use super::state::State;
use crate::error::Result;
use crate::format::hints::{Hints, SegmentHints};
use crate::format::index::Totals;
use crate::format::put::{self, PutKind};
use crate::format::record::{HEAD_LEN, Tag};
use crate::format::segment::{self, CommitLink};
use crate::id::{CommitId, Location, ObjectKey, RunKey, SegmentId};
use crate::index::{Below, EntryFlags, Overlay, OverlayEntry, RunRow};
use crate::segment::Segments;

/// More segments than writers abandon between two commits. A power cut may leave their headers torn.
const ABANDONED_MAX: u32 = 1 << 16;

/// A state, and what a writer needs besides.
#[derive(Clone, Debug)]
pub(crate) struct Working {
    /// The state. Immutable parts are shared with views; changing them copies what a view still holds.
    pub(crate) state: State,
    /// Figures per segment; `None` for readers.
    pub(crate) hints: Option<Hints>,
    /// The number of the next segment to be created.
    pub(crate) next_segment: SegmentId,
    /// What proves that the log had more than it has.
    pub(crate) proof: Option<Proof>,
    /// Segments that are not there, though the part of the log that was replayed names them.
    pub(crate) absent: BTreeSet<SegmentId>,
    /// Segments that no COMMIT leaves out: an index that may be right has them.
    pub(crate) kept: BTreeSet<SegmentId>,
    /// Which segments are left out by COMMITs that were read, and in which segment each of those lies.
    left_out_in: BTreeMap<SegmentId, SegmentId>,
    /// A COMMIT lists segments that one before it had left out, and leaves out the segment of that one: so that is of another
    /// history, and does not count.
    pub(crate) is_disputed: bool,
    /// Records since the newest index file.
    pub(crate) tail_records: u64,
    /// Their bytes.
    pub(crate) tail_bytes: u64,
}

impl Working {
    /// Starts from a state.
    pub(crate) fn new(state: State, hints: Option<Hints>) -> Working {
        let next_segment = state.position.next_segment.max(above_all(&state));
        Working {
            state,
            hints,
            next_segment,
            proof: None,
            absent: BTreeSet::new(),
            kept: BTreeSet::new(),
            left_out_in: BTreeMap::new(),
            is_disputed: false,
            tail_records: 0,
            tail_bytes: 0,
        }
    }

    /// Takes over what was known of numbers that were given before, now that the state was loaded again.
    pub(crate) fn goes_on_from(&mut self, before: &Working) {
        self.next_segment = self.next_segment.max(before.next_segment);
        self.proof = self.proof.take().or_else(|| before.proof.clone());
    }

    /// Notes what proves that the log had more than it has. Of numbers that were given then none is given again.
    pub(crate) fn knows(&mut self, proof: Option<Proof>) {
        // No more are abandoned than that, so a number above it was never given.
        let max = SegmentId(self.next_segment.0.saturating_add(ABANDONED_MAX));
        let next = proof.as_ref().map_or(SegmentId(0), |proof| proof.next_segment.min(max));
        (self.proof, self.next_segment) = (proof, self.next_segment.max(next));
    }

    /// Returns the number of the next transaction.
    pub(crate) fn next_commit(&self) -> CommitId {
        let last = self.state.position.link.id.0;
        let given = self.proof.as_ref().map_or(0, |proof| proof.link.id.0);
        // As many as a COMMIT can say were lost: more were never given.
        let given = given.min(last.saturating_add(u32::MAX.into()));
        CommitId(last.max(given).saturating_add(1))
    }

    /// Tells whether the index files do not say everything.
    pub(crate) fn is_dirty(&self) -> bool {
        let covered = self.state.newest_index().map(|newest| newest.covered().commit);
        let commit = self.state.position.link.id;
        commit.0 > 0 && covered != Some(commit)
    }

    /// Describes the record that an index entry points to, from its first bytes. What is damaged counts as
    /// nothing: its segment tells how long it is once it is repaired.
    pub(crate) fn before(&self, at: Location) -> Result<Before> {
        let nothing = Before { at, stored_len: 0, file_len: 0, kind: Some(PutKind::Snapshot) };
        let Some(segment) = self.state.segments.get(at.segment)? else { return Ok(nothing) };
        // As a replay reads it: one wrong bit hides nothing.
        let head = match segment.head(at.offset)? {
            Ok(head) => head,
            Err(_) => match segment.mended_head(at.offset)? {
                Some(head) => head,
                None => return Ok(nothing),
            },
        };
        let stored_len = head.size;
        if head.tag != Tag::Put {
            return Ok(Before { at, stored_len, file_len: 0, kind: None });
        }
        let mut first = [0u8; put::PEEK_BYTES];
        let got = segment.file().read_at(&mut first, u64::from(at.offset).saturating_add(HEAD_LEN.into()))?;
        let peeked = put::peek(first.get(..got).unwrap_or_default());
        let (kind, file_len) = peeked.unwrap_or((PutKind::Snapshot, 0));
        Ok(Before { at, stored_len, file_len, kind: Some(kind) })
    }

    /// Returns the state of a run as all layers know it.
    pub(crate) fn run_row(&self, run: RunKey) -> Result<Option<RunRow>> {
        self.state.run_row(run)
    }

    /// Returns how many live snapshots and aliases a run has.
    pub(crate) fn live_in(&self, run: RunKey) -> Result<u64> {
        let entries = self.state.entries_of(run)?;
        Ok(u64::try_from(entries.iter().filter(|entry| !entry.flags.tombstone).count()).unwrap_or(u64::MAX))
    }

    /// Makes sure that the set of segments has `segment`, as the one that grows.
    pub(crate) fn see_segment(&mut self, inner: &Inner, segment: Option<SegmentId>) {
        let Some(segment) = segment else { return };
        let known = &self.state.segments;
        if known.active() == Some(segment) {
            return;
        }
        let mut ids = known.ids().to_vec();
        if let Err(at) = ids.binary_search(&segment) {
            ids.insert(at, segment);
        }
        let set = Segments::new(inner.read.clone(), inner.config.store, ids, Some((segment, 0)), Some(known));
        self.state.segments = Arc::new(set);
    }

    /// Declares that no segment grows any more, so that all may be mapped.
    pub(crate) fn seal_all(&mut self, inner: &Inner) {
        let known = &self.state.segments;
        let set =
            Segments::new(inner.read.clone(), inner.config.store, known.ids().to_vec(), None, Some(known));
        self.state.segments = Arc::new(set);
    }

    /// Applies one committed change.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<()> {
        // An earlier change of the same transaction had no place yet when this one was staged.
        let before = match self.state.overlay.get(&change.key) {
            Some(entry) => Some(Before {
                at: entry.at,
                stored_len: entry.stored_len,
                file_len: u32::try_from(entry.file_len).unwrap_or(u32::MAX),
                kind: kind_of(entry.flags),
            }),
            None => change.before,
        };
        self.count_bytes(change, before);
        let run = change.key.run;
        if self.state.overlay.run(run).is_none()
            && let Some(row) = self.run_row(run)?
        {
            Arc::make_mut(&mut self.state.overlay).seed_run(row);
        }
        if change.key.is_run() {
            Arc::make_mut(&mut self.state.overlay).put_run(run, change.at, change.kind.is_none());
            return Ok(());
        }
        let ids = self.ids_after(change, before)?;
        let entry = OverlayEntry {
            at: change.at,
            flags: flags_of(change.kind),
            stored_len: change.stored_len,
            file_len: if change.kind == Some(PutKind::Snapshot) { change.file_len.into() } else { 0 },
        };
        let below = before.map(|before| Below {
            flags: flags_of(before.kind),
            file_len: if before.kind == Some(PutKind::Snapshot) { before.file_len.into() } else { 0 },
        });
        let overlay = Arc::make_mut(&mut self.state.overlay);
        overlay.put(change.key, entry, below);
        overlay.set_ids(ids);
        Ok(())
    }

    /// Counts the ids with a live snapshot as they will be after a change.
    fn ids_after(&self, change: &Change, before: Option<Before>) -> Result<u64> {
        let ids = self.state.overlay.totals().ids;
        let was_live = before.and_then(|before| before.kind) == Some(PutKind::Snapshot);
        let is_live = change.kind == Some(PutKind::Snapshot);
        if was_live == is_live || self.has_live(&change.key.object, change.key.run)? {
            return Ok(ids);
        }
        Ok(if is_live { ids.saturating_add(1) } else { ids.saturating_sub(1) })
    }

    /// Tells whether an object has a live snapshot in another run.
    fn has_live(&self, object: &ObjectKey, run: RunKey) -> Result<bool> {
        for found in self.state.all(object)? {
            if found.run == run {
                continue;
            }
            let live = match found.flags {
                Some(flags) => !flags.tombstone && !flags.alias,
                None => self.before(found.at)?.kind == Some(PutKind::Snapshot),
            };
            if live {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn count_bytes(&mut self, change: &Change, before: Option<Before>) {
        let Some(hints) = &mut self.hints else { return };
        if let Some(before) = before {
            let segment = hints.segments.entry(before.at.segment.0).or_default();
            let bytes = u64::from(before.stored_len);
            segment.garbage = segment.garbage.saturating_add(bytes);
            match before.kind {
                Some(_) => {
                    segment.live = segment.live.saturating_sub(bytes);
                    segment.live_records = segment.live_records.saturating_sub(1);
                }
                None if segment.tombstones >= bytes => {
                    segment.tombstones = segment.tombstones.saturating_sub(bytes);
                }
                // A lost key's: see below.
                None => segment.live = segment.live.saturating_sub(bytes),
            }
        }
        let segment = hints.segments.entry(change.at.segment.0).or_default();
        let bytes = u64::from(change.stored_len);
        match change.kind {
            Some(_) => {
                segment.live = segment.live.saturating_add(bytes);
                segment.live_records = segment.live_records.saturating_add(1);
            }
            // It is no garbage even in the oldest segment, where nothing is left for a DELETE to hide.
            None if change.lost => segment.live = segment.live.saturating_add(bytes),
            None => segment.tombstones = segment.tombstones.saturating_add(bytes),
        }
        hints.lost = hints.lost.saturating_add(change.lost.into());
    }

    /// Notes that a transaction is committed.
    pub(crate) fn committed(&mut self, position: LogPosition, changes: u64, bytes: u64) {
        self.state.position = position;
        self.next_segment = self.next_segment.max(position.next_segment);
        self.tail_records = self.tail_records.saturating_add(changes);
        self.tail_bytes = self.tail_bytes.saturating_add(bytes);
        if let Some(hints) = &mut self.hints {
            let segment: &mut SegmentHints = hints.segments.entry(position.link.at.segment.0).or_default();
            segment.len = segment.len.max(position.end.into());
        }
    }

    /// Forgets the segments that a compaction or repair, whose COMMIT lies in `own`, left out.
    pub(crate) fn keep_segments(&mut self, live: &[(SegmentId, SegmentId)], own: SegmentId) {
        let kept = std::mem::take(&mut self.kept);
        let is_live = |id: SegmentId| {
            id >= own || kept.contains(&id) || live.iter().any(|(first, last)| (*first..=*last).contains(&id))
        };
        let known = self.state.segments.ids().iter().copied();
        // What the index points to may be missing: then a repair has left it out.
        let indexed = self.state.newest_index().into_iter().flat_map(|newest| newest.segments().flatten());
        let gone = known.chain(indexed.map(|(id, _)| id)).filter(|id| !is_live(*id));
        let mut dead: BTreeSet<SegmentId> = gone.chain(self.state.dead.iter().copied()).collect();
        // What was left out stays so, unless by a COMMIT that is left out itself.
        let is_other = |of: &SegmentId| self.left_out_in.get(of).is_some_and(|of| !is_live(*of));
        let back: BTreeSet<SegmentId> =
            dead.iter().copied().filter(|id| is_live(*id) && is_other(id)).collect();
        dead.retain(|id| !back.contains(id));
        self.left_out_in.retain(|id, _| !back.contains(id));
        self.is_disputed |= !back.is_empty();
        for id in &dead {
            self.left_out_in.entry(*id).or_insert(own);
        }
        self.state.segments = Arc::new(self.state.segments.without(&dead));
        self.state.dead = Arc::new(dead);
        if let Some(hints) = &mut self.hints {
            hints.segments.retain(|id, _| is_live(SegmentId(*id)));
            hints.dead = self.state.dead.iter().map(|id| id.0).collect();
        }
        let old = &self.state.overlay;
        // What an index has in dead segments, and what comes behind an index, is left out when the next one is written. Until
        // then rows and totals count it, so it stays.
        if !self.state.layers.is_empty() || old.iter().all(|(_, entry)| is_live(entry.at.segment)) {
            self.kept = kept;
            return;
        }
        // Only a replay without an index comes here: what it read of dead segments and was not moved is gone.
        let mut left = Overlay::new(old.seed(), Totals::default());
        for row in old.runs().filter(|row| row.at.is_some_and(|at| is_live(at.segment))) {
            left.put_run(row.run, row.at.unwrap_or_default(), row.deleted);
        }
        for (key, entry) in old.iter().filter(|(_, entry)| is_live(entry.at.segment)) {
            left.put(*key, *entry, None);
        }
        left.set_ids(old.totals().ids);
        self.state.overlay = Arc::new(left);
        self.kept = kept;
    }

    /// Takes a file out of the set of segments, if it is one.
    pub(crate) fn forget_file(&mut self, file: &str) {
        let Some(id) = file.strip_prefix("data/").and_then(segment::parse_file_name) else { return };
        self.state.segments = Arc::new(self.state.segments.without(&BTreeSet::from([id])));
        Arc::make_mut(&mut self.state.dead).remove(&id);
    }

    /// Counts segments as left out, whatever the COMMITs say that were read.
    pub(crate) fn leave_out(&mut self, hidden: &BTreeSet<SegmentId>) {
        if hidden.is_empty() {
            return;
        }
        Arc::make_mut(&mut self.state.dead).extend(hidden);
        if let Some(hints) = &mut self.hints {
            hints.dead.extend(hidden.iter().map(|id| id.0));
        }
    }

    /// Returns where the log stands after a commit of this writer.
    pub(crate) fn position_after(&self, link: CommitLink, end: u32) -> LogPosition {
        LogPosition { link, end, next_segment: self.next_segment }
    }
}

/// Returns a number above those of all segments. A file far above what the COMMITs know that does not begin as a segment
/// of this store was never one, so it takes no number: one named as the last would leave none to any writer.
fn above_all(state: &State) -> SegmentId {
    let near = state.position.next_segment.0.saturating_add(ABANDONED_MAX);
    // What cannot be read may be one.
    let is_bad = |id| matches!(state.segments.get(id), Ok(Some(segment)) if segment.header().is_err());
    let is_stray = |id: SegmentId| id.0 >= near && is_bad(id);
    let last = state.segments.ids().iter().rev().find(|id| !is_stray(**id));
    last.map_or(SegmentId(1), |last| SegmentId(last.0.saturating_add(1)))
}

fn kind_of(flags: EntryFlags) -> Option<PutKind> {
    match (flags.tombstone, flags.alias) {
        (true, _) => None,
        (false, true) => Some(PutKind::Alias),
        (false, false) => Some(PutKind::Snapshot),
    }
}

fn flags_of(kind: Option<PutKind>) -> EntryFlags {
    EntryFlags { tombstone: kind.is_none(), alias: kind == Some(PutKind::Alias), replaces: false }
}
