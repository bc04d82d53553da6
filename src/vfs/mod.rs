//! Floor 1: the only way to files. Paths are relative names below a root, with `/` between parts.
//!
//! What the traits lack is an invariant: nothing is written in place and nothing is truncated, so
//! there is no `write_at` and no `set_len`. Checks take [`ReadVfs`], so they cannot write.
//!
//! [`disk`] is a directory, [`mem`] is a file system for tests that can lose what was not made durable,
//! [`fault`] makes any of them fail, [`draft`] keeps changes of any of them in memory. One suite of tests
//! (`conformance.rs`) runs for all four. [`frozen`] is for reading beside a writer, [`tree`] for files outside the store,
//! [`scratch`] for what is no file of anything. The seam has the size of `hashicorp/raft-wal types/vfs.go`.

use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::seeded::{self, Bug};

/// What a directory entry is, links not followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, pipe, socket or device.
    Other,
}

/// One entry of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Its name; names that are not UTF-8 are kept lossily and can not be opened.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// Reading below a root directory.
pub trait ReadVfs: Debug + Send + Sync {
    /// Lists a directory, sorted by name. An absent directory is `None`.
    ///
    /// # Errors
    /// `BadInput` for a path that is absolute, or has a part that is empty, `.` or `..`; else
    /// `Io`.
    fn list(&self, dir: &str) -> Result<Option<Vec<DirEntry>>>;

    /// Opens a file for positioned reads. An absent file, or a directory, is `None`.
    ///
    /// # Errors
    /// `BadInput` for a path that is absolute, or has a part that is empty, `.` or `..`, and for
    /// a pipe or device; else `Io`.
    fn open(&self, path: &str) -> Result<Option<Arc<dyn ReadFile>>>;

    /// Names the root, for messages.
    fn root(&self) -> &std::path::Path;

    /// Takes the advisory lock of an existing file shared, without waiting. Returns `None` where the
    /// medium is read-only or the file is absent, `Err(Locked)` when it is held exclusively.
    ///
    /// # Errors
    /// `Locked`, `BadInput` as for [`open`](ReadVfs::open), `Io`.
    fn lock_shared(&self, path: &str) -> Result<Option<Box<dyn Lock>>>;

    /// Makes a file without a name, outside of the root, which stays as it is.
    ///
    /// # Errors
    /// `Io`.
    fn scratch(&self) -> Result<Box<dyn Scratch>> {
        Ok(Box::<InMemory>::default())
    }

    /// Reads a whole file of at most `max` bytes; a longer one is `TooLarge`, an absent one `None`.
    ///
    /// # Errors
    /// As [`open`](ReadVfs::open); `TooLarge`.
    fn read(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let len = file.len()?;
        if len > max {
            return Err(Error::TooLarge { what: "file", len, max });
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        let got = file.read_at(&mut bytes, 0)?;
        bytes.truncate(got);
        Ok(Some(bytes))
    }
}

/// A file open for positioned reads. Any number of threads may read at once.
pub trait ReadFile: Debug + Send + Sync {
    /// Returns the length in bytes, now.
    ///
    /// # Errors
    /// `Io`.
    fn len(&self) -> Result<u64>;

    /// Tells whether the file is empty.
    ///
    /// # Errors
    /// `Io`.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads from `offset` until the buffer is full or the file ends; returns how much was read.
    /// Short reads and interruptions of the system are retried below this line.
    ///
    /// # Errors
    /// `Io`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;

    /// Says that a range will be read soon, so that the system may fetch it meanwhile. A hint.
    fn will_need(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// Maps the first `len` bytes. Only for bytes that are durable and never written again: see
    /// `map.rs` for what that rests on. A file shorter than `len` is an error.
    ///
    /// # Errors
    /// `Damaged` if the file is shorter than `len`; else `Io`.
    fn map(&self, len: u64) -> Result<Map>;
}

/// Reading and writing below a root directory.
pub trait Vfs: ReadVfs {
    /// Creates a file, for appending. Its name is durable after [`sync_dir`](Vfs::sync_dir) of its
    /// directory, its bytes after [`File::sync`]. `Err(Exists)` if there is something of that name.
    ///
    /// # Errors
    /// `Exists`; `BadInput` as for [`open`](ReadVfs::open); else `Io`, an absent directory included.
    fn create_new(&self, path: &str) -> Result<Box<dyn File>>;

    /// Replaces `to` by `from`, atomically. Durable after `sync_dir` of the directory, of both if two
    /// are involved.
    ///
    /// # Errors
    /// `BadInput` as for [`open`](ReadVfs::open); else `Io`, an absent file included.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a file; an absent one is no error.
    ///
    /// # Errors
    /// `BadInput` as for [`open`](ReadVfs::open); else `Io`, a directory of that name included.
    fn remove(&self, path: &str) -> Result<()>;

    /// Creates a directory; an existing one is no error. Durable after `sync_dir` of its parent. `""`
    /// creates the root itself, durably, since nobody below could sync its parent.
    ///
    /// # Errors
    /// `Exists` if there is something else of that name; `BadInput` as for [`open`](ReadVfs::open); else
    /// `Io`, an absent parent included.
    fn create_dir(&self, path: &str) -> Result<()>;

    /// Makes durable what any process has appended to a file. For what is found in a file that this process did
    /// not write; a writer syncs through its own [`File`].
    ///
    /// # Errors
    /// `BadInput` as for [`open`](ReadVfs::open); else `Io`, an absent file included.
    fn sync_file(&self, path: &str) -> Result<()>;

    /// Makes creations, renames and removals in a directory durable. `""` is the root.
    ///
    /// # Errors
    /// `BadInput` as for [`open`](ReadVfs::open); else `Io`, an absent directory included.
    fn sync_dir(&self, dir: &str) -> Result<()>;

    /// Takes the advisory lock of a file exclusively without waiting, creating the file if absent and
    /// writing `note` into it. `Err(Locked)` carries the note of the holder.
    ///
    /// # Errors
    /// `Locked`, `BadInput` as for [`open`](ReadVfs::open), `Io`.
    fn lock_exclusive(&self, path: &str, note: &str) -> Result<Box<dyn Lock>>;

    /// Returns the reading half.
    fn as_read(self: Arc<Self>) -> Arc<dyn ReadVfs>;
}

/// A file being appended to, by one writer. After a failure every later call is `Err(Poisoned)`.
pub trait File: Debug + Send {
    /// Appends all bytes, or fails with an unknown number of them written.
    ///
    /// # Errors
    /// `Io`; `Poisoned` after an earlier failure.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Starts writing back what was appended, without waiting. A hint.
    fn flush_hint(&mut self) {}

    /// Makes everything appended so far durable. A failure is final: what was not durable may be gone,
    /// and a later success would prove nothing.
    ///
    /// # Errors
    /// `Io`; `Poisoned` after an earlier failure.
    fn sync(&mut self) -> Result<()>;
}

/// An advisory lock; dropping it, or the end of the process, releases it.
pub trait Lock: Debug + Send + Sync {}

/// The bytes of a mapped file, or a copy of them where the file system is in memory.
#[derive(Debug)]
pub struct Map {
    bytes: MapBytes,
}

#[derive(Debug)]
enum MapBytes {
    Mapped(map::Mapped),
    Copied(Vec<u8>),
}

impl Map {
    /// Wraps bytes that are not mapped.
    pub fn copied(bytes: Vec<u8>) -> Map {
        Map { bytes: MapBytes::Copied(bytes) }
    }

    fn mapped(mapped: map::Mapped) -> Map {
        Map { bytes: MapBytes::Mapped(mapped) }
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            MapBytes::Mapped(mapped) => mapped,
            MapBytes::Copied(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Replaces a small file by new content, so that a crash leaves the old one or the new one, whole: the
/// one way to do that. `dir` is `""` for the root. On return it is durable.
///
/// A leftover under the temporary name is removed first; a failure may leave one. The order of the steps
/// is that of `fjall-rs/lsm-tree src/file.rs`, `rewrite_atomic`.
///
/// # Errors
/// `Io` of any step. The file is then the old one, or the new one without a promise to last.
pub fn publish(vfs: &dyn Vfs, dir: &str, temp_name: &str, final_name: &str, bytes: &[u8]) -> Result<()> {
    let temp = join(dir, temp_name);
    vfs.remove(&temp)?;
    let mut file = vfs.create_new(&temp)?;
    file.append(bytes)?;
    if !seeded::has(Bug::PublishedBeforeData) {
        file.sync()?;
    }
    drop(file);
    vfs.rename(&temp, &join(dir, final_name))?;
    vfs.sync_dir(dir)
}

/// Joins a directory, `""` for the root, and a name.
pub fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// Refuses every path that could lead out of the root, or that two spellings would lead to.
fn check_path(path: &str) -> Result<()> {
    let reason = if path.is_empty() {
        "a name is needed"
    } else if path.starts_with('/') {
        "the path is absolute"
    } else if path.contains('\0') {
        "the path holds a NUL"
    } else if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "the path has a part that is empty, `.` or `..`"
    } else {
        return Ok(());
    };
    Err(Error::BadInput { what: format!("path {path:?}"), reason: reason.to_owned() })
}

/// As [`check_path`], for a directory: `""` is the root.
fn check_dir(dir: &str) -> Result<()> {
    if dir.is_empty() { Ok(()) } else { check_path(dir) }
}

/// Turns the note in a lock file into what a message can hold.
fn holder_from(note: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(note).chars().filter(|c| !c.is_control()).collect();
    let text = text.trim();
    if text.is_empty() { "another process".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod conformance;
pub mod disk;
pub mod draft;
pub mod fault;
pub mod frozen;
pub mod map;
pub mod mem;
pub mod scratch;
pub mod standard;
pub mod tree;

pub use map::{Soon, prefetch};
use scratch::InMemory;
pub use scratch::Scratch;
