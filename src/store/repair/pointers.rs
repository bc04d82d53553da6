//! What the index has on damaged segments: in the order of the log, a bounded part at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::Result;
use crate::id::{Key, Location, RunKey, SegmentId};
use crate::index::{EntryFlags, hash_key};
use crate::store::check::{Claim, Claims, RecordKind};
use crate::store::state::State;

/// What the index says about a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointer {
    pub(super) run: RunKey,
    /// Its object's hash; `None` for a run's own record.
    pub(super) hash: Option<u64>,
    pub(super) flags: EntryFlags,
    /// Its key, where it is known beside the record.
    pub(super) key: Option<Key>,
}

impl Pointer {
    /// Tells whether it is about a record of this key.
    pub(super) fn is_of(&self, key: &Key, seed: u64) -> bool {
        let is_object = self.hash.map_or(key.is_run(), |hash| hash_key(&key.object, seed) == hash);
        is_object && key.run == self.run
    }
}

/// Answers what was known to be live in segments. Best asked in ascending order: see [`Claims`]. Memory: what it has on one
/// segment, besides.
pub(super) struct Pointers<'p> {
    wanted: &'p BTreeSet<SegmentId>,
    claims: Claims<'p>,
    /// Keys of what no index file has.
    keys: HashMap<Location, Key>,
}

impl<'p> Pointers<'p> {
    /// Prepares to answer about these segments; of all others nothing is known.
    pub(super) fn new(state: &'p State, wanted: &'p BTreeSet<SegmentId>) -> Pointers<'p> {
        let known = state.overlay.iter().filter(|(_, entry)| wanted.contains(&entry.at.segment));
        let keys = known.map(|(key, entry)| (entry.at, *key)).collect();
        Pointers { wanted, claims: Claims::within(state, wanted), keys }
    }

    /// Tells whether there is anything at or behind an offset of a segment.
    ///
    /// # Errors
    /// Failures of reading, damage in the index.
    pub(super) fn has(&mut self, id: SegmentId, from: u32) -> Result<bool> {
        let from = Location { segment: id, offset: from };
        Ok(self.wanted.contains(&id) && self.claims.search(from, end_of(id))?.is_some())
    }

    /// Gathers all that there is in a segment, by offset.
    ///
    /// # Errors
    /// Failures of reading, damage in the index.
    pub(super) fn of(&mut self, id: SegmentId) -> Result<BTreeMap<u32, Pointer>> {
        let mut all = BTreeMap::new();
        let mut from = Location { segment: id, offset: 0 };
        while self.wanted.contains(&id)
            && let Some(claim) = self.claims.search(from, end_of(id))?
        {
            // An index may have several entries for one place.
            let claim = self.claims.here(claim.at).last().copied().unwrap_or(claim);
            all.insert(claim.at.offset, self.pointer(&claim));
            from = Location { offset: claim.at.offset.saturating_add(1), ..claim.at };
        }
        Ok(all)
    }

    fn pointer(&self, claim: &Claim) -> Pointer {
        let Claim { at, run, kind, hash, is_run } = *claim;
        let flags = EntryFlags {
            tombstone: kind == RecordKind::Delete,
            alias: kind == RecordKind::Alias,
            ..EntryFlags::default()
        };
        let key = if is_run { Some(Key::of_run(run)) } else { self.keys.get(&at).copied() };
        Pointer { run, hash: (!is_run).then_some(hash), flags, key }
    }
}

fn end_of(id: SegmentId) -> Location {
    Location { segment: id, offset: u32::MAX }
}
