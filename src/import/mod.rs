//! Floor 4: from a backup tree into the store: scan -> prepare on N threads -> order -> append.
//!
//! The calling thread scans and commits (`scan`, `commit`); between them workers read, compare, parse and
//! encode (`prepare`), and a bounded window restores the order (`window`, `gate`). `pipeline` puts the steps
//! together. The segments written depend on the tree and the store alone, not on the number of workers.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::id::{CommitId, Instant};
use crate::limits::IMPORT_MEMORY_DEFAULT_BYTES;
use crate::progress::{Progress, Stop};
use crate::store::Writer;
use crate::vfs::tree::BegunArchive;

mod alias;
mod archive;
mod begin;
mod buffers;
mod bundles;
mod commit;
mod dictionary;
#[cfg(test)]
mod fake;
mod gate;
mod group;
mod mirror;
mod pipeline;
mod prepare;
mod reason;
mod reports;
mod scan;
mod seen;
mod source;
mod stream;
mod target;
mod timings;
mod window;

pub use alias::settle_aliases;
pub use begin::begin;
pub use bundles::Bundles;
pub use source::TreeSource;
pub use timings::Timings;

/// What to do with snapshots that the tree no longer holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mirror {
    /// Keep them.
    #[default]
    Keep,
    /// Tombstone them, unless that would be more than half of what the store holds.
    Tombstone,
    /// Tombstone them in any case.
    Force,
}

/// What to import.
#[derive(Debug)]
pub enum Source {
    /// A backup tree: the folder that holds `opencti_data`, or that folder itself.
    Tree(PathBuf),
    /// A backup tree in a tar archive, plain or compressed with zstd or gzip, taken in the order in which it comes; `-`: standard
    /// input. Of two files of one name the later one counts: each is taken as if what came before it were stored already. So where
    /// they differ, every import of the archive stores them again.
    Archive(PathBuf),
    /// Such an archive, of which the beginning was read.
    Begun(BegunArchive),
    /// Plain STIX bundles, whose objects become snapshots of one run: each as soon as it is read, so of a bundle that breaks off
    /// all that stand before that place.
    Bundles {
        /// The file, or the folder of files.
        path: Bundles,
        /// The name of the run.
        run: String,
        /// What it means.
        at: Instant,
    },
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Source {
    /// A backup tree.
    fn from(path: &P) -> Source {
        Source::Tree(path.as_ref().to_owned())
    }
}

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Prepare threads; 0: one per core. Never changes a byte of the result.
    pub jobs: usize,
    /// What to do with what is gone.
    pub mirror: Mirror,
    /// Bytes of files between reading and committing, about; 0: [`IMPORT_MEMORY_DEFAULT_BYTES`]. A larger file is taken alone.
    pub memory: u64,
    /// Report what would be done, write nothing.
    pub dry_run: bool,
    /// Measure where the time goes.
    pub timings: bool,
    /// Read every file, also those that look as they did when an earlier import read them.
    pub force_read: bool,
}

/// What became of one entry of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileOutcome {
    /// A new snapshot.
    Added,
    /// A snapshot with a new payload.
    Updated,
    /// As stored already.
    Unchanged,
    /// Gone from the tree, tombstoned in the store.
    Removed,
    /// A bad snapshot file.
    Rejected,
    /// No snapshot file at all.
    Ignored,
}

/// One entry of the tree and what became of it. Reported in scan order, and `Added`, `Updated` and
/// `Removed` only once their commit is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileReport {
    /// The parts of its path below `opencti_data`: run directory, then file name; or one stray name.
    pub path: Vec<Vec<u8>>,
    /// What became of it.
    pub outcome: FileOutcome,
    /// Bytes of the file, where that is known.
    pub bytes: u64,
    /// The commit that holds it, if one was needed.
    pub commit: Option<CommitId>,
    /// Why it was rejected or ignored: a stable code and a text.
    pub reason: Option<(&'static str, String)>,
    /// What to know about an accepted file (E17, E20, E21, E23).
    pub warnings: Vec<String>,
}

/// Receives what import has to tell.
pub trait ImportSink {
    /// One entry of the tree.
    ///
    /// # Errors
    /// An error ends the import after the current commit: its reader is gone.
    fn file(&mut self, report: &FileReport) -> Result<()>;
    /// How far it is; called often.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
    }
}

/// Counts of an import.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImportSummary {
    /// Run directories seen.
    pub runs: u64,
    /// New snapshots.
    pub added: u64,
    /// Changed snapshots.
    pub updated: u64,
    /// Snapshots found as they are stored.
    pub unchanged: u64,
    /// Snapshots tombstoned.
    pub removed: u64,
    /// Files rejected.
    pub rejected: u64,
    /// Entries ignored.
    pub ignored: u64,
    /// Of the unchanged, those that were not even opened.
    pub unopened: u64,
    /// Bytes of the files that were read.
    pub bytes: u64,
    /// The last commit of the store.
    pub commit: CommitId,
    /// Where the time went, if that was asked.
    pub timings: Option<Timings>,
}

impl ImportOptions {
    fn memory_bytes(&self) -> u64 {
        if self.memory == 0 { IMPORT_MEMORY_DEFAULT_BYTES } else { self.memory }
    }
}

/// Imports a source.
///
/// # Errors
/// `BadInput` if there is no tree, or with [`Mirror`] for what is none; `Io` for an archive that breaks off, after all that came
/// before is committed; `Cancelled` after `stop` was raised, with all whole groups
/// committed; failures of the store. Bad files are reports, not errors.
pub fn import(
    source: impl Into<Source>,
    writer: &mut Writer,
    options: &ImportOptions,
    sink: &mut dyn ImportSink,
    stop: &Stop,
) -> Result<ImportSummary> {
    let result = pipeline::run(source.into(), writer, options, sink, stop);
    if result.is_err()
        && writer.pending() > 0
        && let Err(error) = writer.rollback()
    {
        // The first failure is the one to tell; the writer refuses to go on by itself.
        tracing::debug!("rollback after a failed import: {error}");
    }
    result
}
