//! Floor 4: from the store back to trees and bundles: resolve, order, emit.
//!
//! Runs are restored ascending by key. For each, `resolve` decides what its bundle holds (`own`: of the run itself;
//! `walk`: of other runs), knowing ids and positions only; `arrange` puts it in line (`order`: by references); `plan`
//! tells it, `bundles` reads the bodies again and writes them. `tree` resolves nothing. `lookup` is what all of them
//! see of the store, `stored` how a store shows it, `known` what it need not ask for again.
//!
//! The rules of resolution are those of the restore-files connector of OpenCTI (connectors pull request
//! 5719): a reference that its run does not hold is taken from the closest strictly later run, recursively,
//! each id once. "Later" compares instants; two directory names of one instant are not later than each other.

mod arrange;
mod bundles;
mod carried;
mod cursor;
mod diff;
mod directory;
mod emit;
mod explain;
mod keys;
mod known;
mod lookup;
mod opened;
mod options;
mod order;
mod own;
mod plan;
mod report;
mod resolve;
mod stored;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

pub use self::bundles::bundles;
pub use self::cursor::Cursor;
pub use self::diff::{Change, Difference, EachDifference, diff_runs, diff_states};
pub use self::directory::{DirectoryBundles, Sender};
pub use self::explain::{Explanation, Role, explain};
pub use self::options::{Filter, Order, Resolve, RestoreOptions};
pub use self::plan::plan;
pub use self::tree::tree;

use std::collections::BTreeMap;

use crate::error::Error;
use crate::id::RunKey;
use crate::progress::Progress;

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
    /// An attachment of an object of the bundle, whose bytes the backup does not have.
    Attachment {
        /// The run being restored.
        run: String,
        /// The object.
        id: Vec<u8>,
        /// The attachment's name.
        name: String,
    },
}

/// Something to tell besides the restore's product. An error of the receiver ends the restore.
#[derive(Debug)]
pub enum RestoreEvent<'a> {
    /// How far it is; often.
    Progress(&'a Progress),
    /// A run begins.
    Run {
        /// Its directory name.
        name: &'a str,
    },
    /// A reference of the run's bundle that leads to an object which stands behind it: they refer to each other in a
    /// circle. The object itself stays as it is.
    Broken {
        /// The run being restored.
        run: &'a str,
        /// The object that refers.
        id: &'a [u8],
        /// The object referred to.
        reference: &'a [u8],
    },
    /// It is decided what the run's bundle holds; writing begins.
    Decided {
        /// The run being restored.
        run: &'a str,
    },
    /// All of a run was written and flushed. With [`RestoreOptions::durable`] a tree is durable up to here.
    Done(&'a RunReport),
    /// A snapshot that cannot be read, of the run itself or referred to by it. The restore goes on
    /// without it. A snapshot that several runs need is told of in each. Also the run's own record: then its name is made up.
    Damaged {
        /// The run being restored.
        run: &'a str,
        /// What is wrong.
        error: &'a Error,
    },
    /// A snapshot that cannot be written where it belongs, such as a name that is no file name; or all of a run.
    Skipped {
        /// The run being restored.
        run: &'a str,
        /// The snapshot's name; empty: it is the run that has no place.
        name: &'a [u8],
        /// Why.
        reason: String,
    },
}

/// Counts of one run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunReport {
    /// Its directory name.
    pub name: String,
    /// Its key.
    pub key: RunKey,
    /// Tells whether no other run of its instant is still to come: a cursor may move here.
    pub settles: bool,
    /// Own objects (files, for a tree).
    pub own: u64,
    /// Objects resolved from other runs.
    pub resolved: u64,
    /// Where these come from: names of runs, and how many objects each.
    pub from: BTreeMap<String, u64>,
    /// Open references that only runs not later hold.
    pub earlier: u64,
    /// Open references to what the store does not hold.
    pub absent: u64,
    /// Groups of objects that refer to each other in a circle.
    pub cycles: u64,
    /// References that lead ahead because of that.
    pub broken: u64,
    /// Attachments without bytes; counted by a plan only.
    pub attachments: u64,
    /// Bundles written.
    pub bundles: u64,
    /// Bytes written.
    pub bytes: u64,
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
    /// Those of them that lead to what the store does not hold.
    pub absent: u64,
    /// Groups of objects that refer to each other in a circle, counted per run.
    pub cycles: u64,
    /// References that lead ahead because of that.
    pub broken: u64,
    /// Attachments without bytes; counted by a plan only.
    pub attachments: u64,
    /// Bundles written.
    pub bundles: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Snapshots that could not be read, counted per run that needs them, and runs whose own record could not.
    pub damaged: u64,
    /// Snapshots that could not be written.
    pub skipped: u64,
}
