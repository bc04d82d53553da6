//! What `once` remembers: the objects that a bundle holds although their run is still to come.
//!
//! 24 bytes per id and a little more per object. Entries go when their run is passed, for from then on the
//! store itself tells that the id was emitted; those of runs that the restore does not reach stay. Where a filter
//! leaves out what a run holds the store does not tell, and all ids stay.

use std::collections::{BTreeMap, HashSet};

use crate::id::{ObjectKey, RunKey};

/// Everything carried ahead at a time.
#[derive(Debug, Default)]
pub(super) struct Carried {
    keeps: bool,
    ids: HashSet<ObjectKey>,
    runs: BTreeMap<RunKey, CarriedRun>,
}

/// What was carried ahead out of one run.
#[derive(Debug, Default)]
pub(super) struct CarriedRun {
    objects: HashSet<(ObjectKey, u32)>,
    ids: Vec<ObjectKey>,
}

impl Carried {
    /// Begins. `keeps`: ids stay when their run is passed.
    pub(super) fn new(keeps: bool) -> Carried {
        Carried { keeps, ..Carried::default() }
    }

    /// Remembers one object of a file, under the id that led to it and under its own.
    pub(super) fn add(&mut self, run: RunKey, file: ObjectKey, object: u32, ids: [&Vec<u8>; 2]) {
        let entry = self.runs.entry(run).or_default();
        entry.objects.insert((file, object));
        for id in ids.map(|id| ObjectKey::of(id)) {
            if self.ids.insert(id) {
                entry.ids.push(id);
            }
        }
    }

    /// Remembers an id of which a run holds a snapshot that is restored with it.
    pub(super) fn note(&mut self, id: &[u8]) {
        self.ids.insert(ObjectKey::of(id));
    }

    /// Tells whether a snapshot of an id was carried ahead.
    pub(super) fn holds(&self, id: &[u8]) -> bool {
        !self.ids.is_empty() && self.ids.contains(&ObjectKey::of(id))
    }

    /// Forgets a run, whose turn it is now, and returns what was carried ahead out of it.
    pub(super) fn pass(&mut self, run: RunKey) -> CarriedRun {
        let passed = self.runs.remove(&run).unwrap_or_default();
        if !self.keeps {
            for id in &passed.ids {
                self.ids.remove(id);
            }
        }
        passed
    }
}

impl CarriedRun {
    /// Tells whether an object of a file was carried ahead.
    pub(super) fn holds(&self, file: &[u8], object: u32) -> bool {
        !self.objects.is_empty() && self.objects.contains(&(ObjectKey::of(file), object))
    }
}
