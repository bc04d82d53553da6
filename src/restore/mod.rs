//! Floor 4: from the store back to trees and bundles: resolve, order, emit.
//!
//! Runs are restored ascending by key. For each, `resolve` decides what its bundle holds, knowing ids and
//! positions only; `plan` tells it, `bundles` reads the bodies again and writes them. `tree` resolves
//! nothing. `lookup` is what all of them see of the store.
//!
//! The rules of resolution are those of the restore-files connector of OpenCTI (connectors pull request
//! 5719): a reference that its run does not hold is taken from the closest strictly later run, recursively,
//! each id once. "Later" compares instants; two directory names of one instant are not later than each other.

mod bundles;
mod carried;
mod lookup;
mod plan;
mod report;
mod resolve;
#[cfg(test)]
mod tests;
mod tree;

pub use self::bundles::bundles;
pub use self::plan::plan;
pub use self::tree::tree;

use crate::id::Instant;
use crate::progress::Progress;

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

/// What to restore, and how.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// How to resolve references.
    pub resolve: Resolve,
    /// Only runs strictly later than this instant.
    pub after: Option<Instant>,
    /// Only runs at or before this instant.
    pub until: Option<Instant>,
    /// Take a missing reference from the closest run that is not later, if no later one has it.
    pub include_earlier: bool,
    /// Follow references in extensions too.
    pub extension_refs: bool,
    /// Split bundles larger than this, in bytes, the line break at the end not counted; 0: never. A single
    /// larger object stands alone.
    pub max_bundle_bytes: u64,
}

/// Why an object is in a run's bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is a snapshot of the run.
    Own,
    /// An object of the bundle refers to it.
    Resolved,
}

/// Why a reference is not in the bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingState {
    /// The store holds it, but in no strictly later run.
    Earlier,
    /// The store does not hold it.
    Absent,
}

/// One line of a restore plan, in the order of the restore.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlanUnit {
    /// An object of a run's bundle.
    Object {
        /// The run being restored.
        run: String,
        /// For an own one the name of its file, which may hold several objects; for a resolved one the
        /// id referred to.
        id: Vec<u8>,
        /// The run its snapshot comes from.
        from: String,
        /// Why it is there.
        why: Why,
    },
    /// A reference that stays open.
    Missing {
        /// The run being restored.
        run: String,
        /// The id referred to.
        reference: Vec<u8>,
        /// What is known of it.
        state: MissingState,
    },
}

/// Something to tell besides the restore's product.
#[derive(Debug)]
pub enum RestoreEvent<'a> {
    /// How far it is; often.
    Progress(&'a Progress),
    /// A run begins.
    Run {
        /// Its directory name.
        name: &'a str,
    },
    /// A snapshot that cannot be read, of the run itself or referred to by it. The restore goes on
    /// without it. A snapshot that several runs need is told of in each. Also the run's own record: then its name is made up.
    Damaged {
        /// The run being restored.
        run: &'a str,
        /// What is wrong.
        error: &'a crate::error::Error,
    },
    /// A snapshot that cannot be written where it belongs, such as a name that is no file name.
    Skipped {
        /// The run being restored.
        run: &'a str,
        /// The name.
        name: &'a [u8],
        /// Why.
        reason: String,
    },
}

/// Counts of a restore.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RestoreSummary {
    /// Runs restored.
    pub runs: u64,
    /// Own objects restored (files, for a tree).
    pub own: u64,
    /// Objects restored that were resolved from other runs.
    pub resolved: u64,
    /// References left open, counted per run.
    pub missing: u64,
    /// Bundles written.
    pub bundles: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Snapshots that could not be read, counted per run that needs them, and runs whose own record could not.
    pub damaged: u64,
    /// Snapshots that could not be written.
    pub skipped: u64,
}
