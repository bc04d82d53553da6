//! A crash-safe, append-only, log-structured snapshot store for OpenCTI backups.
#![doc = include_str!("ARCHITECTURE.md")]

pub mod error;
pub mod format;
pub mod id;
pub mod import;
pub mod index;
pub mod limits;
pub mod progress;
pub mod restore;
pub mod segment;
pub mod snapshot;
pub mod store;
pub mod vfs;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use error::{Damage, Error, Place, Result};
pub use id::{CommitId, Instant, Key, Location, ObjectKey, RunKey, SegmentId, StoreId};
pub use store::{
    Body, Compression, CreateOptions, Outcome, Put, RunInfo, Snapshot, Store, View, Writer, WriterOptions,
};
