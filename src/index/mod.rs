//! Floor 2: the persisted hash index: object key -> its snapshots, and run -> its snapshots.
//!
//! It is a cache of the log, always rebuildable by replay, and knows nothing of files: it works over
//! any `AsRef<[u8]>`. Records are identified by the key they carry; the index asks for it through
//! [`RecordKeys`].
//!
//! The state of a store is a base [`Index`], up to some deltas, and an [`Overlay`] of what was committed
//! since. Each of these layers answers the same questions ([`at`](Index::at), [`floor`](Index::floor),
//! [`ceil`](Index::ceil), [`all`](Index::all)) for itself, tombstones included. Of several layers that know
//! an object in a run the newest is right; so the newest snapshot of an object is the largest run among the
//! layers' answers, the newest layer's on a tie, and if that is a tombstone, the same again below that run.
//! A run's own row is right in the newest layer that has one. [`RunMerge`] lists a run's entries over all
//! layers, [`merge()`] makes one layer of several.
//!
//! What this does not do: no writes in place, no deletes but by tombstone, no removal of entries of
//! segments that are gone (a checkpoint filters [`Merged`] for that), no locks, no caching of records.

use crate::error::Result;
use crate::id::{Key, Location};

pub mod build;
pub mod entry;
mod lookup;
pub mod merge;
mod names;
pub mod overlay;
pub mod pack;
mod pages;
mod plan;
mod probe;
mod verify;
pub mod view;
mod write;

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, clippy::as_conversions, reason = "tests use small numbers")]
mod tests;

pub use crate::format::index::{Counts, Covered, FileKind, Totals};
pub use build::{IndexBuilder, IndexMeta, Layer};
pub use entry::{Entry, EntryFlags, Found, RunRow, hash_key};
pub use lookup::Likely;
pub use merge::{Merged, RunMerge, merge};
pub use names::{Names, Within};
pub use overlay::{Below, Overlay, OverlayEntry};
pub use pack::Packed;
pub use verify::Places;
pub use view::{Entries, Index};

/// Answers which key the record at a location carries. The record's key decides, never the index.
pub trait RecordKeys {
    /// Returns the key in the record's header, whose checksum must hold; `None` if the header is damaged
    /// or the segment is missing.
    ///
    /// # Errors
    /// Only failures of the operating system.
    fn key_at(&self, at: Location) -> Result<Option<Key>>;
}
