//! What to restore, and how.

use std::collections::BTreeSet;

use crate::id::{CommitId, Instant, RunKey};

/// How references that a run does not hold are followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Resolve {
    /// A reference is followed only if no snapshot of its id was emitted yet, and own snapshots already
    /// emitted are left out: each snapshot is emitted at most once, so the restore is linear in what it
    /// emits. Open references are those that neither this restore emits nor a later run holds.
    #[default]
    Once,
    /// Each run's bundle holds all that its objects need from later runs, as restore-files sends it.
    Closure,
    /// Own snapshots only; no reference is followed. Open references are those to ids that the store does
    /// not hold in any run.
    None,
}

/// In which order objects stand in the bundles of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// Every object after the objects that it refers to, ties by id. Where references run in a circle some of
    /// them cannot be kept: these are told of as broken. References in `x_` keys count too. Bundles are only
    /// split where no reference leads ahead, unless a circle alone is larger than the limits.
    #[default]
    Dependency,
    /// What is resolved from other runs first, what was found last at its head, then the run's own files by
    /// name. Bundles are split at any object.
    Name,
}

/// What to restore, and how. The default restores everything, each snapshot once.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// How to resolve references.
    pub resolve: Resolve,
    /// How to order the objects of a run.
    pub order: Order,
    /// Only this run.
    pub run: Option<RunKey>,
    /// Only runs strictly later than this instant.
    pub after: Option<Instant>,
    /// Only runs at or before this instant.
    pub until: Option<Instant>,
    /// Which snapshots of these runs.
    pub filter: Filter,
    /// Take a missing reference from the closest run that is not later, if no later one has it.
    pub include_earlier: bool,
    /// Follow references in extensions too.
    pub extension_refs: bool,
    /// Split bundles larger than this, in bytes, the line break at the end not counted; 0: never. A single
    /// larger object stands alone.
    pub max_bundle_bytes: u64,
    /// Split bundles of more objects than this; 0: never.
    pub max_bundle_objects: u64,
    /// Make what a tree holds of a run durable before the run is said to be done. Costs one sync of the target's
    /// file system for each run.
    pub durable: bool,
}

impl RestoreOptions {
    /// Tells whether a run is restored.
    pub fn covers(&self, run: RunKey) -> bool {
        let at = run.instant();
        self.run.is_none_or(|only| run == only)
            && self.after.is_none_or(|after| at > after)
            && self.until.is_none_or(|until| at <= until)
    }
}

/// Which snapshots of the selected runs are restored for their own sake. What they refer to is resolved as ever, and in
/// their own run first: what the filter leaves out of it is not there otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Only objects of these types: what stands before `--` in their ids. Empty: of all types.
    pub types: BTreeSet<Vec<u8>>,
    /// Only objects with these ids, and the first object of files with these names.
    pub ids: Option<BTreeSet<Vec<u8>>>,
    /// Only snapshots that a later transaction than this one brought, in whichever run: new ones and changed ones.
    pub changed_since: Option<CommitId>,
}

impl Filter {
    /// Tells whether it leaves out anything at all.
    pub fn is_active(&self) -> bool {
        !self.types.is_empty() || self.ids.is_some() || self.changed_since.is_some()
    }

    /// Tells whether a transaction's snapshots are selected.
    pub fn takes_commit(&self, first: CommitId) -> bool {
        self.changed_since.is_none_or(|since| first > since)
    }

    /// Tells whether the object `number` of a file is selected, as far as id and name tell.
    pub fn takes_object(&self, id: &[u8], file: &[u8], number: u32) -> bool {
        let named = |ids: &BTreeSet<Vec<u8>>| ids.contains(id) || (number == 0 && ids.contains(file));
        self.takes_type(id) && self.ids.as_ref().is_none_or(named)
    }

    fn takes_type(&self, id: &[u8]) -> bool {
        self.types.is_empty() || type_of(id).is_some_and(|kind| self.types.contains(kind))
    }
}

/// The type that an id names.
fn type_of(id: &[u8]) -> Option<&[u8]> {
    memchr::memmem::find(id, b"--").and_then(|at| id.get(..at))
}
