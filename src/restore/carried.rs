//! What `once` remembers: the objects that a bundle holds although their run is still to come.
//!
//! Keys and places only, some 100 bytes for each. Entries go when their run is passed, for from then on the store itself tells
//! that the id was emitted; those of runs that the restore does not reach stay. Where a filter leaves out what a run holds the
//! store does not tell, and all ids stay.

use std::collections::BTreeMap;

use super::keys::{Id, KeyMap, KeySet};
use super::lookup::Target;
use crate::id::{Location, ObjectKey, RunKey};

/// Everything carried ahead at a time.
#[derive(Debug, Default)]
pub(super) struct Carried {
    keeps: bool,
    ids: KeySet<ObjectKey>,
    runs: BTreeMap<RunKey, CarriedRun>,
}

/// What was carried ahead out of one run.
#[derive(Debug, Default)]
pub(super) struct CarriedRun {
    /// Objects of files that may have others.
    objects: KeySet<(ObjectKey, u32)>,
    /// Files that have no other object and are named like it: nothing of them is left to be read.
    whole: KeyMap<Location, ObjectKey>,
    /// What else led to these objects.
    ids: Vec<ObjectKey>,
}

impl Carried {
    /// Begins. `keeps`: ids stay when their run is passed.
    pub(super) fn new(keeps: bool) -> Carried {
        Carried { keeps, ..Carried::default() }
    }

    /// Remembers one object of a file, under the id that led to it and under its own.
    pub(super) fn add(&mut self, reference: &Id, target: &Target) {
        let entry = self.runs.entry(target.run).or_default();
        if target.is_whole && !self.keeps && self.ids.insert(target.name.key) {
            entry.whole.insert(target.at, target.name.key);
            return;
        }
        entry.objects.insert((target.name.key, target.object));
        for id in [reference.key, target.id.key] {
            if self.ids.insert(id) {
                entry.ids.push(id);
            }
        }
    }

    /// Remembers an id of which a run holds a snapshot that is restored with it.
    pub(super) fn note(&mut self, id: ObjectKey) {
        self.ids.insert(id);
    }

    /// Tells whether a snapshot of an id was carried ahead.
    pub(super) fn holds(&self, id: &Id) -> bool {
        self.ids.contains(&id.key)
    }

    /// Forgets a run, whose turn it is now, and returns what was carried ahead out of it.
    pub(super) fn pass(&mut self, run: RunKey) -> CarriedRun {
        let passed = self.runs.remove(&run).unwrap_or_default();
        if !self.keeps {
            for id in passed.ids.iter().chain(passed.whole.values()) {
                self.ids.remove(id);
            }
        }
        passed
    }
}

impl CarriedRun {
    /// Tells whether an object of a file that is read was carried ahead.
    pub(super) fn holds(&self, file: &Id, object: u32) -> bool {
        !self.objects.is_empty() && self.objects.contains(&(file.key, object))
    }

    /// Tells whether all that the file at a place holds was carried ahead: it need not be read.
    pub(super) fn is_whole(&self, at: Location) -> bool {
        !self.whole.is_empty() && self.whole.contains_key(&at)
    }

    /// The names of these files.
    pub(super) fn whole(&self) -> impl Iterator<Item = ObjectKey> {
        self.whole.values().copied()
    }
}
