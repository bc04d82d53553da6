//! The first step: walks a backup tree in its order and says what each entry is. Opens no file.
//!
//! Order: what is no run directory, by name; then the runs by instant and name; in a run its entries by name.
//! Names are compared as bytes.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::vec;

use super::gate::Ticket;
use super::reason;
use super::seen::{Seen, SeenRun};
use super::target::Digested;
use super::{FileOutcome, FileReport};
use crate::error::{Error, Result};
use crate::id::{Instant, RunKey};
use crate::snapshot::codec::encode_run_meta;
use crate::snapshot::run;
use crate::vfs::Kind;
use crate::vfs::tree::{FileTime, SourceDir, SourceEntry};

/// The directory that holds the run directories.
const DATA_DIR: &str = "opencti_data";
/// What a snapshot's file name ends in, in exactly this case.
pub(super) const SUFFIX: &[u8] = b".json";
/// Most jobs in a batch. A batch never spans two run directories, so it holds one directory open.
const BATCH_MAX_JOBS: usize = 128;

/// A backup tree, its top level listed.
#[derive(Debug)]
pub(super) struct Tree {
    /// The directory that holds the run directories.
    pub(super) root: SourceDir,
    /// The run directories, in scan order.
    pub(super) runs: Vec<RunEntry>,
    /// Reports of what else stands beside them.
    pub(super) strays: Vec<FileReport>,
    /// Names of runs under which something else than a directory is listed: a link, perhaps to a volume that is not there.
    pub(super) unlisted: Vec<String>,
}

/// A run directory, not yet opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RunEntry {
    /// Its instant.
    pub(super) at: Instant,
    /// Its name.
    pub(super) name: String,
    /// What to know about it (E23).
    pub(super) warning: Option<String>,
}

/// A run directory, completely listed.
#[derive(Debug)]
pub(super) struct RunDir {
    /// Its place in the tree.
    pub(super) entry: RunEntry,
    /// Its encoded meta.
    pub(super) meta: Vec<u8>,
    /// Its entries, by name.
    pub(super) entries: Vec<SourceEntry>,
    /// Whether that are all of them: a piece of one comes from an archive, in its order.
    pub(super) is_whole: bool,
    /// What an earlier import noted of its files.
    pub(super) seen: SeenRun,
    /// Its key, if the store had it when the import began. Whoever needs it first looks it up.
    pub(super) stored: OnceLock<Option<RunKey>>,
}

/// One step of the scan, in order.
#[derive(Debug)]
pub(super) enum Job {
    /// Something that is reported and not read.
    Report(FileReport),
    /// A run directory begins.
    Begin(Arc<RunDir>),
    /// A snapshot file: an entry of the run directory.
    File {
        /// The open directory.
        dir: Arc<SourceDir>,
        /// The run directory.
        run: Arc<RunDir>,
        /// The number of the entry.
        index: usize,
    },
    /// A snapshot file that was read already.
    Arrived {
        /// The piece of a run directory.
        run: Arc<RunDir>,
        /// The number of the entry.
        index: usize,
        /// What was read.
        file: Arrived,
    },
    /// The run directory is complete.
    End(Arc<RunDir>),
}

/// A file that came by itself.
#[derive(Debug)]
pub(super) struct Arrived {
    /// Its content.
    pub(super) bytes: Vec<u8>,
    /// When it was last modified.
    pub(super) mtime: Option<FileTime>,
    /// Whether a file of its name came before.
    pub(super) is_repeat: bool,
    /// What is stored under its name, if it is long.
    pub(super) stored: Option<Digested>,
    /// Its bytes in the window.
    pub(super) ticket: Ticket,
}

impl Tree {
    /// Opens the folder that holds `opencti_data`, or that folder itself, and lists the runs.
    ///
    /// # Errors
    /// `BadInput` if it is neither, `Io` if it cannot be read.
    pub(super) fn open(path: &Path) -> Result<Tree> {
        let bad =
            |reason: &str| Error::BadInput { what: path.display().to_string(), reason: reason.to_owned() };
        let dir = SourceDir::open(path)
            .map_err(|error| if is_absent(&error) { bad("no such directory") } else { error })?;
        let named = path.file_name() == Some(OsStr::new(DATA_DIR));
        let tree = Tree::list(dir)?;
        if named && !tree.runs.is_empty() {
            return Ok(tree);
        }
        // Before the runs of the directory itself: beside `opencti_data` a date may name anything.
        match tree.root.open_dir(OsStr::new(DATA_DIR)) {
            Ok(dir) => Tree::list(dir),
            Err(error) if !is_absent(&error) => Err(error),
            Err(_) if named || !tree.runs.is_empty() => Ok(tree),
            Err(_) => Err(bad("no backup tree: neither a directory opencti_data nor a run directory in it")),
        }
    }

    fn list(root: SourceDir) -> Result<Tree> {
        let (mut runs, mut strays, mut unlisted) = (Vec::new(), Vec::new(), Vec::new());
        for SourceEntry { name, kind } in sorted(&root)? {
            let run = name.to_str().and_then(|text| Some((run::parse(text)?, text)));
            match (kind, run) {
                (Kind::Directory, Some((at, text))) => {
                    runs.push(RunEntry { at, name: text.to_owned(), warning: None });
                }
                (Kind::Directory, None) => {
                    strays.push(ignored(vec![bytes(&name)], reason::NOT_A_DATE, "the name is no run's"));
                }
                (Kind::File | Kind::Other, run) => {
                    unlisted.extend(run.map(|(_, text)| text.to_owned()));
                    strays.push(ignored(vec![bytes(&name)], reason::NOT_A_DIRECTORY, "no directory"));
                }
            }
        }
        // Stable, so names stay in byte order within an instant.
        runs.sort_by_key(|run| run.at);
        let mut before: Option<(Instant, String)> = None;
        for run in &mut runs {
            if let Some((at, name)) = &before
                && *at == run.at
            {
                run.warning =
                    Some(format!("the directory {:?} means the same instant as {name:?}", run.name));
            }
            before = Some((run.at, run.name.clone()));
        }
        Ok(Tree { root, runs, strays, unlisted })
    }
}

impl RunEntry {
    /// Opens and lists the directory.
    ///
    /// # Errors
    /// `Io`; then nothing is known of what it holds.
    pub(super) fn open(&self, root: &SourceDir) -> Result<(SourceDir, RunDir)> {
        let dir = root.open_dir(OsStr::new(&self.name))?;
        let entries = sorted(&dir)?;
        let meta = encode_run_meta(dir.mtime().ok());
        let seen = SeenRun::default();
        let run =
            RunDir { entry: self.clone(), meta, entries, is_whole: true, seen, stored: OnceLock::new() };
        Ok((dir, run))
    }
}

impl RunDir {
    /// Tells whether the directory holds the file of a name, good or bad.
    pub(super) fn has_file(&self, name: &[u8]) -> bool {
        self.kind_of(name) == Some(Kind::File)
    }

    /// Tells whether the directory lists a name, whatever it stands for: a link to a file that is not there is no deletion.
    pub(super) fn lists(&self, name: &[u8]) -> bool {
        self.kind_of(name).is_some()
    }

    fn kind_of(&self, name: &[u8]) -> Option<Kind> {
        let found = self
            .entries
            .binary_search_by(|entry| entry.name.as_encoded_bytes().iter().cmp(name.iter().chain(SUFFIX)));
        found.ok().and_then(|at| self.entries.get(at)).map(|entry| entry.kind)
    }

    /// Returns the file name of an entry; nothing for one that does not exist.
    pub(super) fn file_name(&self, index: usize) -> &OsStr {
        self.entries.get(index).map_or(OsStr::new(""), |entry| &entry.name)
    }

    /// Returns the name of the snapshot that an entry is the file of.
    pub(super) fn snapshot_name(&self, index: usize) -> &[u8] {
        let name = self.file_name(index).as_encoded_bytes();
        name.strip_suffix(SUFFIX).unwrap_or(name)
    }

    /// Writes the path of an entry below the tree's root, as reports give it.
    pub(super) fn write_path(&self, index: usize, path: &mut Vec<Vec<u8>>) {
        path.resize_with(2, Vec::new);
        for (to, from) in
            path.iter_mut().zip([self.entry.name.as_bytes(), self.file_name(index).as_encoded_bytes()])
        {
            to.clear();
            to.extend_from_slice(from);
        }
    }
}

/// Returns the file name of a snapshot.
pub(super) fn file_name_of(name: &[u8]) -> Vec<u8> {
    [name, SUFFIX].concat()
}

/// Orders the names of two snapshots as their files are ordered: `a-b.json` stands before `a.json`.
pub(super) fn in_file_order(one: &[u8], other: &[u8]) -> Ordering {
    one.iter().chain(SUFFIX).cmp(other.iter().chain(SUFFIX))
}

/// Walks the runs of a tree; at most one directory is listed ahead of what was handed out.
#[derive(Debug)]
pub(super) struct Scan {
    root: SourceDir,
    strays: vec::IntoIter<FileReport>,
    runs: vec::IntoIter<RunEntry>,
    names: BTreeSet<String>,
    seen: Seen,
    cursor: Option<Cursor>,
    files: u64,
}

#[derive(Debug)]
struct Cursor {
    dir: Arc<SourceDir>,
    run: Arc<RunDir>,
    next: usize,
}

impl Scan {
    /// Starts at the beginning of a tree of which this is noted.
    pub(super) fn new(tree: Tree, seen: Seen) -> Scan {
        let names = tree.runs.iter().map(|run| run.name.clone()).chain(tree.unlisted).collect();
        let (strays, runs) = (tree.strays.into_iter(), tree.runs.into_iter());
        Scan { root: tree.root, strays, runs, names, seen, cursor: None, files: 0 }
    }

    /// Returns the names of all run directories of the tree, readable or not.
    pub(super) fn run_names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Gives back what was noted of the tree, and the names of all its run directories.
    pub(super) fn into_seen(self) -> (Seen, BTreeSet<String>) {
        (self.seen, self.names)
    }

    /// Returns the number of snapshot files seen so far.
    pub(super) fn files(&self) -> u64 {
        self.files
    }

    /// Returns the next jobs, never none of them; `None` at the end.
    pub(super) fn next_batch(&mut self) -> Option<Vec<Job>> {
        let mut jobs: Vec<Job> = self.strays.by_ref().take(BATCH_MAX_JOBS).map(Job::Report).collect();
        if !jobs.is_empty() {
            return Some(jobs);
        }
        if self.cursor.is_none() {
            let entry = self.runs.next()?;
            match entry.open(&self.root) {
                Ok((dir, mut run)) => {
                    run.seen = self.seen.of(&entry.name);
                    let run = Arc::new(run);
                    jobs.push(Job::Begin(Arc::clone(&run)));
                    self.cursor = Some(Cursor { dir: Arc::new(dir), run, next: 0 });
                }
                Err(error) => return Some(vec![Job::Report(unlisted(&entry, &error))]),
            }
        }
        while let Some(cursor) = &mut self.cursor
            && jobs.len() < BATCH_MAX_JOBS
        {
            let index = cursor.next;
            cursor.next = index.saturating_add(1);
            let Some(entry) = cursor.run.entries.get(index) else {
                jobs.push(Job::End(Arc::clone(&cursor.run)));
                self.cursor = None;
                break;
            };
            jobs.push(if let Some((code, detail)) = why_ignored(entry) {
                let mut path = Vec::new();
                cursor.run.write_path(index, &mut path);
                Job::Report(ignored(path, code, detail))
            } else {
                self.files = self.files.saturating_add(1);
                Job::File { dir: Arc::clone(&cursor.dir), run: Arc::clone(&cursor.run), index }
            });
        }
        Some(jobs)
    }
}

fn why_ignored(entry: &SourceEntry) -> Option<(&'static str, &'static str)> {
    match entry.kind {
        Kind::Directory => Some((reason::NOT_A_FILE, "a directory")),
        Kind::Other => Some((reason::NOT_A_FILE, "neither a file nor a link to one")),
        Kind::File if !entry.name.as_encoded_bytes().ends_with(SUFFIX) => {
            Some((reason::NOT_NAMED_JSON, "the name does not end in .json"))
        }
        Kind::File => None,
    }
}

fn ignored(path: Vec<Vec<u8>>, code: &'static str, detail: &str) -> FileReport {
    FileReport {
        path,
        outcome: FileOutcome::Ignored,
        bytes: 0,
        commit: None,
        reason: Some((code, detail.to_owned())),
        warnings: Vec::new(),
    }
}

fn unlisted(entry: &RunEntry, error: &Error) -> FileReport {
    FileReport {
        path: vec![entry.name.clone().into_bytes()],
        outcome: FileOutcome::Rejected,
        bytes: 0,
        commit: None,
        reason: Some((reason::of_read(error), error.to_string())),
        warnings: entry.warning.iter().cloned().collect(),
    }
}

/// Lists a directory by name. What mirroring deletes hangs on the order, so it is not taken on trust.
fn sorted(dir: &SourceDir) -> Result<Vec<SourceEntry>> {
    let mut entries = dir.list()?;
    entries.sort_by(|one, other| one.name.as_encoded_bytes().cmp(other.name.as_encoded_bytes()));
    Ok(entries)
}

fn bytes(name: &OsStr) -> Vec<u8> {
    name.as_encoded_bytes().to_vec()
}

/// Tells whether the error says that there is no such directory.
fn is_absent(error: &Error) -> bool {
    use std::io::ErrorKind;
    matches!(error, Error::Io { source, .. }
        if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

#[cfg(test)]
mod tests;
