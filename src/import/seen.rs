//! What an earlier import saw of a source: a file that looks as it did then, and whose record the store still holds, need not be
//! opened.
//!
//! Three things must hold: name, length, modification and change times and inode are as they were; the change time was two
//! seconds old when the file was read, for a rewrite within one tick of the file system's clock changes no time; and the
//! record that the *store* has under the file's name is the one noted. That it is follows for all files at once if the store's
//! last COMMIT is the one as of which they were noted; else each record is looked up and verified, and compared by its
//! checksum, which is bound to its place in this store. So notes that are old, of another copy of the store, or wrong, cost
//! reading and never a snapshot. What git calls a racily clean entry (`git/git Documentation/technical/racy-git.adoc`) is not
//! noted at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::format::sources::{SourceRow, SourceRows};
use crate::store::{SourceNotes, Writer};
use crate::vfs::tree::{FileInfo, FileTime};

pub(super) use crate::format::sources::SourceId;

/// How old a change must be, in seconds, to be told from the next one: the coarsest clock of a file system in use (FAT).
const SETTLED_SECONDS: i64 = 2;

/// The bit of a digest that says that the file holds ids other than its name.
const ODD: u64 = 1;

/// What was noted of a source when the import began.
#[derive(Debug, Default)]
pub(super) struct Seen(SourceNotes);

/// What was noted of a run directory.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenRun {
    rows: Arc<[SourceRow]>,
    is_exact: bool,
}

/// What was noted of a file that looks as it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sighting {
    /// The checksum of the record that holds its content.
    pub(super) checksum: u32,
    /// Whether that is the newest record of its name, and its ids are its name: there is nothing to look up.
    pub(super) is_enough: bool,
}

impl Seen {
    /// Reads what was noted of a tree.
    pub(super) fn load(writer: &Writer, source: SourceId) -> Seen {
        Seen(writer.sources(source))
    }

    /// Returns what was noted of a run directory.
    pub(super) fn of(&self, run: &str) -> SeenRun {
        let rows = self.0.rows.get(run.as_bytes()).map(Vec::as_slice).unwrap_or_default();
        SeenRun { rows: rows.into(), is_exact: self.0.exact.is_some() }
    }
}

impl SeenRun {
    /// Tells whether nothing was noted.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Finds what was noted of a file that had this digest.
    pub(super) fn find(&self, digest: u64) -> Option<Sighting> {
        let row = find(&self.rows, digest)?;
        Some(Sighting { checksum: row.checksum, is_enough: self.is_exact && row.digest & ODD == 0 })
    }
}

/// Returns the digest of a file: its name and what the system says about it, but for the number of the file system, which
/// changes with a mount.
pub(super) fn digest(name: &[u8], info: &FileInfo) -> u64 {
    let (mtime, ctime) = (info.mtime, info.ctime);
    let fields = [
        info.len,
        info.ino,
        mtime.0.cast_unsigned(),
        mtime.1.into(),
        ctime.0.cast_unsigned(),
        ctime.1.into(),
    ];
    let mut bytes = Vec::with_capacity(name.len().saturating_add(48));
    for field in fields {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.extend_from_slice(name);
    xxhash_rust::xxh3::xxh3_64(&bytes) & !ODD
}

/// Finds the row of a digest.
fn find(rows: &[SourceRow], digest: u64) -> Option<&SourceRow> {
    rows.get(rows.binary_search_by_key(&(digest & !ODD), |row| row.digest & !ODD).ok()?)
}

/// Tells whether a later change would show in the file's times. `now` was taken before it was read.
pub(super) fn is_settled(info: &FileInfo, now: FileTime) -> bool {
    info.ctime < (now.0.saturating_sub(SETTLED_SECONDS), now.1)
}

/// What this import saw.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Run directories in the order in which they came, and whether all of their files did.
    runs: Vec<(String, Vec<SourceRow>, bool)>,
    /// Files in the open transaction: the number of the record in it, that of the run directory, and the digest.
    waiting: Vec<(usize, usize, u64)>,
}

impl Notes {
    /// A run directory begins.
    pub(super) fn begin(&mut self, run: &str) {
        self.runs.push((run.to_owned(), Vec::new(), false));
    }

    /// The run directory is complete.
    pub(super) fn end(&mut self) {
        if let Some(run) = self.runs.last_mut() {
            run.2 = true;
        }
    }

    /// Notes a file of the current run directory that the store holds already.
    pub(super) fn known(&mut self, digest: u64, is_odd: bool, checksum: u32) {
        if let Some(run) = self.runs.last_mut() {
            run.1.push(SourceRow { digest: digest | u64::from(is_odd), checksum });
        }
    }

    /// Notes a file that the last record of the open transaction holds, `pending` records in all.
    pub(super) fn put(&mut self, digest: u64, is_odd: bool, pending: u64) {
        let record = usize::try_from(pending).unwrap_or(usize::MAX).saturating_sub(1);
        self.waiting.push((record, self.runs.len().saturating_sub(1), digest | u64::from(is_odd)));
    }

    /// Tells whether files wait for the transaction.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The transaction is durable; its records have these checksums.
    pub(super) fn committed(&mut self, checksums: &[u32]) {
        for (record, run, digest) in self.waiting.drain(..) {
            if let (Some(checksum), Some(run)) = (checksums.get(record), self.runs.get_mut(run)) {
                run.1.push(SourceRow { digest, checksum: *checksum });
            }
        }
    }

    /// Writes down what is known of the tree now. What this import did not get to see stays as it was noted. `is_complete`: it
    /// came to its end.
    pub(super) fn save(
        self,
        seen: Seen,
        tree: &BTreeSet<String>,
        writer: &mut Writer,
        source: SourceId,
        is_complete: bool,
    ) {
        let SourceNotes { rows: mut old, exact } = seen.0;
        let (mut is_exact, mut is_new) = (is_complete, false);
        let mut rows = SourceRows::new();
        for (run, mut fresh, is_whole) in self.runs {
            let mut before = old.remove(run.as_bytes()).unwrap_or_default();
            fresh.sort_unstable();
            is_new |= fresh != before;
            if !is_whole {
                is_exact = false;
                before.retain(|row| find(&fresh, row.digest).is_none());
                fresh.append(&mut before);
                fresh.sort_unstable();
            }
            if !fresh.is_empty() {
                rows.insert(run.into_bytes(), fresh);
            }
        }
        for (run, before) in old {
            let is_there = std::str::from_utf8(&run).is_ok_and(|run| tree.contains(run));
            is_exact &= !is_there;
            is_new |= !is_there;
            if is_there {
                rows.insert(run, before);
            }
        }
        let is_current = is_exact && exact == Some(writer.last_commit());
        if !is_new && (is_current || rows.is_empty()) {
            return;
        }
        if let Err(error) = writer.note_sources(source, &rows, is_exact) {
            tracing::warn!("cannot note what was seen, so the next import will read it again: {error}");
        }
    }
}
