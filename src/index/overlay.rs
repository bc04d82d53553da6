//! The newest layer: what was committed after the newest index file, in memory.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::Bound;

use crate::format::index::Totals;
use crate::id::{Key, Location, ObjectKey, RunKey};

use super::entry::{Entry, EntryFlags, Found, RunRow, hash_key};

/// The newest record of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverlayEntry {
    /// Where it lies.
    pub at: Location,
    /// What it is. `replaces` is set by the overlay.
    pub flags: EntryFlags,
    /// Bytes of the record in the log.
    pub stored_len: u32,
    /// Bytes of the file; 0 for a DELETE or an alias.
    pub file_len: u64,
}

/// What the index files below an overlay hold under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Below {
    /// What the record is.
    pub flags: EntryFlags,
    /// Bytes of its file; 0 for a DELETE or an alias.
    pub file_len: u64,
}

/// What was committed after the newest index file: the newest record of each key touched, and rows and
/// figures that count the layers below too. Small (a checkpoint empties it), so it is a pair of ordered
/// maps; it is meant to be held in an `Arc` and changed through `Arc::make_mut`, which clones it only while
/// a reader holds the older state.
#[derive(Clone, Debug)]
pub struct Overlay {
    seed: u64,
    entries: BTreeMap<Key, OverlayEntry>,
    /// The same in the order of an index file.
    order: BTreeSet<(RunKey, u64, Location, ObjectKey)>,
    rows: BTreeMap<RunKey, RunRow>,
    totals: Totals,
}

impl Overlay {
    /// Starts an overlay above layers whose newest has these totals; `Totals::default()` if there is none.
    pub fn new(seed: u64, below: Totals) -> Overlay {
        Overlay {
            seed,
            entries: BTreeMap::new(),
            order: BTreeSet::new(),
            rows: BTreeMap::new(),
            totals: below,
        }
    }

    /// Returns the seed of the hash.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the number of keys in it; run records are not counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether nothing was committed since the newest index file.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.rows.is_empty()
    }

    /// Returns the figures of the store: this overlay and all layers below it.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Sets the number of distinct ids with a live snapshot. The overlay keeps the other figures itself;
    /// this one depends on the other runs of an id, in layers that it does not see.
    pub fn set_ids(&mut self, ids: u64) {
        self.totals.ids = ids;
    }

    /// Takes over the row of a run from the layers below. To be called before the first change of a run
    /// that they know; without effect once the overlay has a row for it.
    pub fn seed_run(&mut self, row: RunRow) {
        self.rows.entry(row.run).or_insert(row);
    }

    /// Enters a run's own record: its PUT, or the DELETE of the run. Where the layers below know the run,
    /// [`seed_run`](Overlay::seed_run) comes first.
    pub fn put_run(&mut self, run: RunKey, at: Location, deleted: bool) {
        let row = Overlay::row_of(&mut self.rows, &mut self.totals, run);
        match (row.deleted, deleted) {
            (false, true) => self.totals.runs = self.totals.runs.saturating_sub(1),
            (true, false) => self.totals.runs = self.totals.runs.saturating_add(1),
            _ => {}
        }
        (row.at, row.deleted) = (Some(at), deleted);
    }

    /// Enters the newest record of a key and returns the one it supersedes in this overlay. `below` is what
    /// the layers below hold under the key; it is looked at only if the overlay does not have the key
    /// ([`get`](Overlay::get)). Where they know the run, [`seed_run`](Overlay::seed_run) comes first. The
    /// key of a run's own record goes to [`put_run`](Overlay::put_run). O(log n).
    pub fn put(&mut self, key: Key, new: OverlayEntry, below: Option<Below>) -> Option<OverlayEntry> {
        if key.is_run() {
            self.put_run(key.run, new.at, new.flags.tombstone);
            return None;
        }
        let hash = hash_key(&key.object, self.seed);
        let entry = |replaces| OverlayEntry { flags: EntryFlags { replaces, ..new.flags }, ..new };
        let (old, entry) = match self.entries.entry(key) {
            btree_map::Entry::Occupied(mut place) => {
                let entry = entry(place.get().flags.replaces);
                (Some(place.insert(entry)), entry)
            }
            btree_map::Entry::Vacant(place) => (None, *place.insert(entry(below.is_some()))),
        };
        if let Some(old) = old {
            self.order.remove(&(key.run, hash, old.at, key.object));
        }
        self.order.insert((key.run, hash, new.at, key.object));
        let before = old.map(|old| Below { flags: old.flags, file_len: old.file_len }).or(below);
        self.count(key.run, before, &entry);
        old
    }

    fn count(&mut self, run: RunKey, before: Option<Below>, new: &OverlayEntry) {
        let row = Overlay::row_of(&mut self.rows, &mut self.totals, run);
        let totals = &mut self.totals;
        match before {
            Some(old) if old.flags.tombstone => totals.tombstones = totals.tombstones.saturating_sub(1),
            Some(old) if old.flags.alias => totals.aliases = totals.aliases.saturating_sub(1),
            Some(old) => {
                totals.snapshots = totals.snapshots.saturating_sub(1);
                totals.bytes = totals.bytes.saturating_sub(old.file_len);
                row.snapshots = row.snapshots.saturating_sub(1);
                row.bytes = row.bytes.saturating_sub(old.file_len);
            }
            None => {}
        }
        if new.flags.tombstone {
            totals.tombstones = totals.tombstones.saturating_add(1);
        } else if new.flags.alias {
            totals.aliases = totals.aliases.saturating_add(1);
        } else {
            totals.snapshots = totals.snapshots.saturating_add(1);
            totals.bytes = totals.bytes.saturating_add(new.file_len);
            row.snapshots = row.snapshots.saturating_add(1);
            row.bytes = row.bytes.saturating_add(new.file_len);
        }
    }

    fn row_of<'r>(
        rows: &'r mut BTreeMap<RunKey, RunRow>,
        totals: &mut Totals,
        run: RunKey,
    ) -> &'r mut RunRow {
        match rows.entry(run) {
            btree_map::Entry::Occupied(row) => row.into_mut(),
            btree_map::Entry::Vacant(place) => {
                totals.runs = totals.runs.saturating_add(1);
                place.insert(RunRow::new(run))
            }
        }
    }

    /// Returns the newest record of exactly that key.
    pub fn get(&self, key: &Key) -> Option<&OverlayEntry> {
        self.entries.get(key)
    }

    /// Returns the entry of an object in exactly that run, a tombstone too.
    pub fn at(&self, object: &ObjectKey, run: RunKey) -> Option<Found> {
        let key = Key::new(*object, run);
        self.entries.get(&key).map(|entry| found(&key, entry))
    }

    /// Returns the entry of the object's largest run that is at most `max_run`, a tombstone too.
    pub fn floor(&self, object: &ObjectKey, max_run: RunKey) -> Option<Found> {
        let range = Key::new(*object, RunKey(0))..=Key::new(*object, max_run);
        self.entries.range(range).next_back().map(|(key, entry)| found(key, entry))
    }

    /// Returns the entry of the object's smallest run that is at least `min_run`, a tombstone too.
    pub fn ceil(&self, object: &ObjectKey, min_run: RunKey) -> Option<Found> {
        let range = Key::new(*object, min_run)..=Key::new(*object, RunKey::MAX);
        self.entries.range(range).next().map(|(key, entry)| found(key, entry))
    }

    /// Returns all entries of an object, ascending by run, tombstones too.
    pub fn all(&self, object: &ObjectKey) -> Vec<Found> {
        let range = Key::new(*object, RunKey(0))..=Key::new(*object, RunKey::MAX);
        self.entries.range(range).map(|(key, entry)| found(key, entry)).collect()
    }

    /// Returns the row of a run that was touched.
    pub fn run(&self, run: RunKey) -> Option<&RunRow> {
        self.rows.get(&run)
    }

    /// Returns the rows of the runs that were touched, ascending.
    pub fn runs(&self) -> impl Iterator<Item = &RunRow> + '_ {
        self.rows.values()
    }

    /// Returns the rows of the runs from `first` to `last` that were touched, ascending.
    pub fn runs_in(&self, first: RunKey, last: RunKey) -> impl Iterator<Item = &RunRow> + '_ {
        self.rows.range(first..=last).map(|(_, row)| row)
    }

    /// Returns all keys with their newest records, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &OverlayEntry)> + '_ {
        self.entries.iter()
    }

    /// Returns the entries of a run whose hash is at least `hash`, with their objects, in the order of an
    /// index: by hash, then location.
    pub fn entries_of_from(&self, run: RunKey, hash: u64) -> impl Iterator<Item = (Entry, ObjectKey)> + '_ {
        let start = Bound::Included((run, hash, Location::default(), ObjectKey::default()));
        let end = match run.next() {
            Some(next) => Bound::Excluded((next, 0, Location::default(), ObjectKey::default())),
            None => Bound::Unbounded,
        };
        self.order.range((start, end)).filter_map(|(run, hash, at, object)| {
            let entry = self.entries.get(&Key::new(*object, *run))?;
            Some((Entry { hash: *hash, run: *run, at: *at, flags: entry.flags }, *object))
        })
    }
}

fn found(key: &Key, entry: &OverlayEntry) -> Found {
    Found { run: key.run, at: entry.at, flags: Some(entry.flags) }
}
