//! A crash-safe, append-only, log-structured snapshot store for OpenCTI backups.
//!
//! ```
//! use stix_store::{Body, CreateOptions, Put, PutKind, Store, WriterOptions};
//! use stix_store::snapshot::run;
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("opencti.store");
//! let store = Store::create(&path, &CreateOptions::default())?;
//!
//! let mut writer = store.writer(&WriterOptions::default())?;
//! let at = run::parse("20240115T140000Z").ok_or("no run")?;
//! let (run, _) = writer.put_run(at, "20240115T140000Z", &[])?;
//! writer.put(&Put {
//!     name: b"malware--00112233-4455-4677-8899-aabbccddeeff",
//!     run,
//!     kind: PutKind::Snapshot,
//!     meta: &[],
//!     object: 0..2,
//!     body: Body::Raw(b"{}"),
//! })?;
//! writer.commit()?; // on return it is on disk
//! writer.close()?;
//!
//! let view = store.view();
//! let newest = view.latest("malware--00112233-4455-4677-8899-aabbccddeeff")?.ok_or("absent")?;
//! assert_eq!(newest.body()?, &b"{}"[..]);
//! assert_eq!(newest.run(), run);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![doc = include_str!("ARCHITECTURE.md")]
#![doc = include_str!("FAST.md")]

pub mod error;
pub mod format;
pub mod id;
pub mod import;
pub mod index;
pub mod limits;
pub mod progress;
pub mod restore;
mod seeded;
pub mod segment;
pub mod snapshot;
pub mod store;
pub mod vfs;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

/// The examples of the README are tested with the others.
#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

pub use error::{Damage, Error, Place, Result};
pub use id::{CommitId, Instant, Key, Location, ObjectKey, RunKey, SegmentId, StoreId};
pub use store::{
    Body, Compression, CreateOptions, Outcome, Put, PutKind, RunInfo, Snapshot, Store, View, When, Writer,
    WriterOptions,
};
