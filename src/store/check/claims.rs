//! What the index has at a place of the log: whose records went with bytes that cannot be read.
//!
//! The index is in the order of hashes. To go through a part of it in the order of the log takes a pass over all of it,
//! which keeps the first so many entries behind a place; another pass is needed when these are used up. So memory is
//! bounded, and each damaged segment costs at least one pass over the index.

use std::collections::BinaryHeap;

use crate::error::{Error, Result};
use crate::id::{Location, RunKey};
use crate::store::state::State;

/// Entries that one pass keeps. A segment of 64 MiB has some fifty thousand.
const KEPT_MAX: usize = 1 << 16;

/// A record that the index has as the newest of its key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Claim {
    pub(super) at: Location,
    pub(super) run: RunKey,
    pub(super) kind: ClaimKind,
}

/// What the index says that it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum ClaimKind {
    Run,
    Snapshot,
    Alias,
    Delete,
}

impl ClaimKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            ClaimKind::Run => "the record",
            ClaimKind::Snapshot => "a snapshot",
            ClaimKind::Alias => "an alias",
            ClaimKind::Delete => "a deletion",
        }
    }
}

/// Answers what the index has in ranges of the log, asked in ascending order.
pub(super) struct Claims<'c> {
    state: &'c State,
    /// Ascending.
    kept: Vec<Claim>,
    /// A page of the index is damaged: what it has is not known.
    blind: bool,
    /// What is kept is all that there is in this range.
    from: Location,
    until: Location,
}

impl<'c> Claims<'c> {
    pub(super) fn new(state: &'c State) -> Claims<'c> {
        let (from, until) = (Location::default(), Location::default());
        Claims { state, kept: Vec::new(), blind: false, from, until }
    }

    /// Returns the next claim in `from..until`, which lie in one segment.
    pub(super) fn next(&mut self, mut from: Location, until: Location) -> Result<Option<Claim>> {
        while from < until && !self.blind {
            if !(self.from <= from && from < self.until) {
                match self.refill(from) {
                    // The page was told of when the index was verified.
                    Err(Error::Damaged { .. }) => self.blind = true,
                    refilled => refilled?,
                }
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

    /// Tells whether damage in the index hides what it has.
    pub(super) fn is_blind(&self) -> bool {
        self.blind
    }

    /// Keeps the first claims from `from` on, of its segment only.
    fn refill(&mut self, from: Location) -> Result<()> {
        let mut first: BinaryHeap<Claim> = BinaryHeap::new();
        let mut bound = Location { segment: from.segment, offset: u32::MAX };
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
        (self.kept, self.from, self.until) = (first.into_sorted_vec(), from, bound);
        Ok(())
    }

    /// Hands out all claims, in the order of the index.
    pub(super) fn each(&self, each: &mut dyn FnMut(Claim) -> Result<()>) -> Result<()> {
        let state = self.state;
        state.each_entry(&mut |row, entry| {
            let claim = match entry {
                Some(entry) => {
                    let kind = match entry.flags {
                        flags if flags.tombstone => ClaimKind::Delete,
                        flags if flags.alias => ClaimKind::Alias,
                        _ => ClaimKind::Snapshot,
                    };
                    Claim { at: entry.at, run: row.run, kind }
                }
                None => match row.at.filter(|_| !row.deleted) {
                    Some(at) => Claim { at, run: row.run, kind: ClaimKind::Run },
                    None => return Ok(()),
                },
            };
            // A repair or compaction left that segment out; the next index does not name it any more.
            if state.dead.contains(&claim.at.segment) { Ok(()) } else { each(claim) }
        })
    }
}
