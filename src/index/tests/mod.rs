//! Drivers over small indexes. Under [`TEST_SEED`] a key's first eight bytes are its hash, so collisions of
//! tags, buckets and whole hashes are made at will.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::entry::TEST_SEED;
use super::*;
use crate::error::Error;
use crate::id::{CommitId, Key, Location, ObjectKey, RunKey, SegmentId, StoreId};

mod damage;
mod layers;
mod single;

pub(super) const STORE: StoreId = StoreId([0xa5; 16]);

/// The records of a log, as far as an index asks for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) keys: BTreeMap<Location, Key>,
    /// Records whose headers do not hold.
    pub(super) damaged: BTreeSet<Location>,
    pub(super) reads: Cell<usize>,
}

impl RecordKeys for Log {
    fn key_at(&self, at: Location) -> Result<Option<Key>> {
        self.reads.set(self.reads.get() + 1);
        if self.damaged.contains(&at) { Ok(None) } else { Ok(self.keys.get(&at).copied()) }
    }
}

impl Log {
    /// Appends a record: a few in each segment, segment numbers with gaps.
    pub(super) fn append(&mut self, key: Key) -> Location {
        let number = u32::try_from(self.keys.len()).expect("small");
        let at = Location { segment: SegmentId(3 + number / 5 * 2), offset: 96 + number % 5 * 100 };
        self.keys.insert(at, key);
        at
    }
}

/// A key with a given hash; `number` tells apart those of one hash.
pub(super) fn object(hash: u64, number: u8) -> ObjectKey {
    let mut key = [number; 24];
    key[..8].copy_from_slice(&hash.to_le_bytes());
    ObjectKey(key)
}

pub(super) fn covered(commit: u64) -> Covered {
    Covered { commit: CommitId(commit), ..Covered::default() }
}

pub(super) fn base_meta(commit: u64) -> IndexMeta {
    IndexMeta { store: STORE, seed: TEST_SEED, covered: covered(commit), gaps: 0, layer: Layer::Base }
}

pub(super) fn snapshot_entry(key: Key, at: Location) -> Entry {
    Entry { hash: hash_key(&key.object, TEST_SEED), run: key.run, at, flags: EntryFlags::default() }
}

/// Builds a base of live snapshots under those keys.
pub(super) fn base_of(keys: &[Key]) -> (Vec<u8>, Log) {
    let mut log = Log::default();
    let mut builder = IndexBuilder::new(base_meta(1));
    let mut rows: BTreeMap<RunKey, RunRow> = BTreeMap::new();
    for key in keys {
        let at = log.append(*key);
        builder.entry(snapshot_entry(*key, at));
        let row = rows.entry(key.run).or_insert(RunRow::new(key.run));
        row.snapshots += 1;
        row.bytes += 10;
    }
    for row in rows.into_values() {
        builder.run(row);
    }
    (builder.build().expect("valid"), log)
}

/// The content of layers, in memory.
pub(super) fn collected<B: AsRef<[u8]>>(merged: &Merged<'_, B, Log>) -> (Vec<RunRow>, Vec<Entry>) {
    let entries: Vec<Entry> = merged.entries().collect::<Result<_>>().expect("intact");
    assert!(entries.len() as u64 <= merged.len_max());
    (merged.rows().to_vec(), entries)
}

/// An index of entries that are in order. However few are sorted at a time, its bytes are the same.
pub(super) fn built(meta: IndexMeta, rows: &[RunRow], entries: &[Entry]) -> Vec<u8> {
    let mut builder = IndexBuilder::new(meta);
    for row in rows {
        builder.run(*row);
    }
    let mut bytes = Vec::new();
    let packed = builder.clone().pack(entries.iter().copied().map(Ok), &mut |more| {
        bytes.extend_from_slice(more);
        Ok(())
    });
    let packed = packed.expect("valid");
    for entry in entries {
        builder.entry(*entry);
    }
    let whole = builder.build().expect("valid");
    for part in [1, 2, 7] {
        let mut file = Vec::new();
        let written = packed.write(&bytes, part, &mut |more| {
            file.extend_from_slice(more);
            Ok(())
        });
        written.expect("valid");
        assert!(file == whole, "{part} at a time");
    }
    whole
}

pub(super) fn open(bytes: &[u8]) -> Result<Index<&[u8]>> {
    Index::open(bytes, "index.1", STORE)
}

pub(super) fn problems<B: AsRef<[u8]>>(index: &Index<B>) -> Vec<Error> {
    let mut all = Vec::new();
    index
        .verify(Places::Searched, &mut |error| {
            all.push(error);
            Ok(())
        })
        .expect("the report does not fail");
    all
}

/// The answers about one object, straight from the keys.
pub(super) fn expected(log: &Log, object: &ObjectKey) -> BTreeMap<RunKey, Location> {
    let own = log.keys.iter().filter(|(_, key)| key.object == *object);
    own.map(|(at, key)| (key.run, *at)).collect()
}

pub(super) fn place(found: Option<Found>) -> Option<(RunKey, Location)> {
    found.map(|found| (found.run, found.at))
}
