//! What the index has at a place of the log: whose records went with bytes that cannot be read.
//!
//! The index is in the order of hashes. To go through a part of it in the order of the log takes a pass over all of it,
//! which keeps the first so many entries behind a place, of whatever segments; another pass is needed when these are used up.
//! So memory is bounded, and so is the number of passes: by that of the entries, however many segments are damaged.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::finding::RecordKind;
use crate::error::{Error, Result};
use crate::id::{Location, RunKey, SegmentId};
use crate::store::state::State;

/// Entries that one pass keeps: 16 MiB. A segment of 64 MiB has some fifty thousand.
const KEPT_MAX: usize = if cfg!(test) { 5 } else { 1 << 19 };

/// A record that the index has as the newest of its key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::store) struct Claim {
    pub(in crate::store) at: Location,
    pub(in crate::store) run: RunKey,
    pub(in crate::store) kind: RecordKind,
    /// Its object's hash in the index; 0 for a run's own record.
    pub(in crate::store) hash: u64,
    /// It is a run's own record.
    pub(in crate::store) is_run: bool,
}

/// How many records the index has in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Claimed {
    pub(super) entries: u64,
    pub(super) runs: u64,
}

impl Claimed {
    /// Counts one more.
    pub(super) fn add(&mut self, kind: RecordKind) {
        let count = if kind == RecordKind::Run { &mut self.runs } else { &mut self.entries };
        *count = count.saturating_add(1);
    }
}

/// Answers what the index has in ranges of the log, asked in ascending order.
pub(in crate::store) struct Claims<'c> {
    state: &'c State,
    /// Only what is in these segments.
    only: Option<&'c BTreeSet<SegmentId>>,
    /// Ascending.
    kept: Vec<Claim>,
    /// A page of the index is damaged: what it has is not known.
    blind: bool,
    /// What is kept is all that there is in this range.
    from: Location,
    until: Location,
    /// How many there are in each segment, once that was asked.
    counts: Option<BTreeMap<SegmentId, Claimed>>,
}

impl<'c> Claims<'c> {
    pub(super) fn new(state: &'c State) -> Claims<'c> {
        let (from, until) = (Location::default(), Location::default());
        Claims { state, only: None, kept: Vec::new(), blind: false, from, until, counts: None }
    }

    /// Of these segments only; and what says that a run was deleted is among it, which nothing is lost with.
    pub(in crate::store) fn within(state: &'c State, only: &'c BTreeSet<SegmentId>) -> Claims<'c> {
        Claims { only: Some(only), ..Claims::new(state) }
    }

    /// Returns the next claim in `from..until`, which lie in one segment; none where damage in the index hides it.
    pub(super) fn next(&mut self, from: Location, until: Location) -> Result<Option<Claim>> {
        if self.blind {
            return Ok(None);
        }
        match self.search(from, until) {
            // The page was told of when the index was verified.
            Err(Error::Damaged { .. }) => {
                self.blind = true;
                Ok(None)
            }
            found => found,
        }
    }

    /// The same, where damage in the index is an error.
    pub(in crate::store) fn search(&mut self, mut from: Location, until: Location) -> Result<Option<Claim>> {
        while from < until {
            if !(self.from <= from && from < self.until) {
                self.refill(from)?;
                continue;
            }
            let first = self.kept.partition_point(|claim| claim.at < from);
            match self.kept.get(first) {
                Some(claim) => return Ok(Some(*claim).filter(|claim| claim.at < until)),
                None => from = self.until,
            }
        }
        Ok(None)
    }

    /// Returns all claims of a place that [`next`](Claims::next) has just returned one of: they are more where the index has
    /// entries too many.
    pub(in crate::store) fn here(&self, at: Location) -> Vec<Claim> {
        let first = self.kept.partition_point(|claim| claim.at < at);
        self.kept.iter().skip(first).take_while(|claim| claim.at == at).copied().collect()
    }

    /// Returns how many claims there are in a segment. The first answer takes a pass over the index, and a few bytes for each
    /// segment from then on. `None` if damage in the index hides it.
    pub(super) fn in_segment(&mut self, segment: SegmentId) -> Result<Option<Claimed>> {
        if self.counts.is_none() && !self.blind {
            let mut counts: BTreeMap<SegmentId, Claimed> = BTreeMap::new();
            let counted = self.each(&mut |claim| {
                counts.entry(claim.at.segment).or_default().add(claim.kind);
                Ok(())
            });
            match counted {
                // The page was told of when the index was verified.
                Err(Error::Damaged { .. }) => self.blind = true,
                counted => counted.map(|()| self.counts = Some(counts))?,
            }
        }
        Ok(self.counts.as_ref().map(|counts| counts.get(&segment).copied().unwrap_or_default()))
    }

    /// Returns how many there are in all; cost and answer as of [`in_segment`](Claims::in_segment).
    pub(super) fn all(&mut self) -> Result<Option<Claimed>> {
        self.in_segment(SegmentId(0))?;
        let sum = |sum: Claimed, one: &Claimed| Claimed {
            entries: sum.entries.saturating_add(one.entries),
            runs: sum.runs.saturating_add(one.runs),
        };
        Ok(self.counts.as_ref().map(|counts| counts.values().fold(Claimed::default(), sum)))
    }

    /// Keeps the first claims from `from` on.
    fn refill(&mut self, from: Location) -> Result<()> {
        let mut first: BinaryHeap<Claim> = BinaryHeap::new();
        let mut bound = Location { segment: SegmentId(u32::MAX), offset: u32::MAX };
        self.each(&mut |claim| {
            if claim.at >= from && claim.at < bound {
                first.push(claim);
                if first.len() > KEPT_MAX
                    && let Some(last) = first.pop()
                {
                    bound = last.at;
                }
            }
            Ok(())
        })?;
        self.kept = first.into_sorted_vec();
        (self.from, self.until) = (from, bound);
        if self.kept.first().is_some_and(|claim| claim.at == bound) {
            // More claims of one place than are kept: the others are left out.
            self.until = Location { offset: bound.offset.saturating_add(1), ..bound };
        } else {
            // Of the last place not all may have been kept.
            self.kept.retain(|claim| claim.at < bound);
        }
        Ok(())
    }

    /// Hands out all claims, in the order of the index.
    pub(super) fn each(&self, each: &mut dyn FnMut(Claim) -> Result<()>) -> Result<()> {
        let state = self.state;
        state.each_entry(&mut |row, entry| {
            let claim = match entry {
                Some(entry) => {
                    let kind = match entry.flags {
                        flags if flags.tombstone => RecordKind::Delete,
                        flags if flags.alias => RecordKind::Alias,
                        _ => RecordKind::Snapshot,
                    };
                    Claim { at: entry.at, run: row.run, kind, hash: entry.hash, is_run: false }
                }
                None => match row.at.filter(|_| !row.deleted || self.only.is_some()) {
                    Some(at) => {
                        let kind = if row.deleted { RecordKind::Delete } else { RecordKind::Run };
                        Claim { at, run: row.run, kind, hash: 0, is_run: true }
                    }
                    None => return Ok(()),
                },
            };
            let is_wanted = self.only.is_none_or(|only| only.contains(&claim.at.segment));
            // A repair or compaction left that segment out; the next index does not name it any more.
            if is_wanted && !state.dead.contains(&claim.at.segment) { each(claim) } else { Ok(()) }
        })
    }
}
