//! What the index says of records and runs.

use crate::format::index::{ALIAS, Packed, REPLACES, TOMBSTONE};
use crate::id::{Location, ObjectKey, RunKey};

/// What the index knows of a record beside its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EntryFlags {
    /// The record is a DELETE.
    pub tombstone: bool,
    /// The record is an alias PUT.
    pub alias: bool,
    /// An older layer holds an entry of the same object and run, which this one supersedes.
    pub replaces: bool,
}

impl EntryFlags {
    /// Tells whether the record is a live snapshot: neither DELETE nor alias.
    pub fn is_snapshot(self) -> bool {
        !self.tombstone && !self.alias
    }

    /// Returns the bits that stand for the flags in a file.
    pub(super) fn to_bits(self) -> u64 {
        let mut bits = 0;
        for (flag, bit) in [(self.tombstone, TOMBSTONE), (self.alias, ALIAS), (self.replaces, REPLACES)] {
            if flag {
                bits |= bit;
            }
        }
        bits
    }

    pub(super) fn from_bits(at: Packed) -> EntryFlags {
        let has = |bit| at.flags() & bit != 0;
        EntryFlags { tombstone: has(TOMBSTONE), alias: has(ALIAS), replaces: has(REPLACES) }
    }
}

/// One (object, run) of the index: the newest record of that key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Seeded hash of the object key.
    pub hash: u64,
    /// The run.
    pub run: RunKey,
    /// Where the record lies.
    pub at: Location,
    /// What it is.
    pub flags: EntryFlags,
}

impl Entry {
    /// The order of entries in an index: by run, hash, location.
    pub(super) fn order(&self) -> (RunKey, u64, Location) {
        (self.run, self.hash, self.at)
    }
}

/// What the index knows of a run. Absolute: it counts all layers up to its own, so of several layers the
/// row of the newest that has one is the state of the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunRow {
    /// The run.
    pub run: RunKey,
    /// Where the run's own record lies: its PUT, or the DELETE of a deleted run. `None`: it has none.
    pub at: Option<Location>,
    /// The run was deleted.
    pub deleted: bool,
    /// Its live snapshots, aliases not counted.
    pub snapshots: u32,
    /// Bytes of their files.
    pub bytes: u64,
}

impl RunRow {
    /// The row of a run of which nothing is known yet.
    pub fn new(run: RunKey) -> RunRow {
        RunRow { run, ..RunRow::default() }
    }

    /// Tells whether the run is one to be listed: not deleted, and known by its own record, or by its snapshots where
    /// that record is lost.
    pub fn is_live(&self) -> bool {
        !self.deleted && (self.at.is_some() || self.snapshots > 0)
    }
}

/// The answer of a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// The run of the record.
    pub run: RunKey,
    /// Where the record lies.
    pub at: Location,
    /// What it is, where the lookup came by it: always in an overlay, for an object with several entries,
    /// and for a record whose header is damaged. `None` for an object with a single entry, because one more
    /// page would have to be touched for it; the record's own tag and kind tell.
    pub flags: Option<EntryFlags>,
}

/// Hashes an object key with the store's seed: XXH3-64 of the 24 bytes.
#[inline]
pub fn hash_key(key: &ObjectKey, seed: u64) -> u64 {
    #[cfg(test)]
    if seed == TEST_SEED {
        return key.0.first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
    }
    xxhash_rust::xxh3::xxh3_64_with_seed(&key.0, seed)
}

/// Under test, the seed with which a key's first eight bytes are its hash, so that collisions can be made.
#[cfg(test)]
pub(super) const TEST_SEED: u64 = 0x5eed_0000_7e57_0001;
