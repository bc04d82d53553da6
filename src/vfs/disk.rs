//! A directory of the operating system.
//!
//! Nothing is buffered here: what [`File::append`] returned from is in the hands of the system, and an
//! error of a write or a sync reaches the caller that made it.

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::map::Mapped;
use super::scratch::unnamed;
use super::{
    DirEntry, File, Kind, Lock, Map, ReadFile, ReadVfs, Scratch, Vfs, check_dir, check_path, holder_from,
};
use crate::error::{Error, Result};

/// Most bytes of a lock file that are taken for the holder's note.
const NOTE_MAX_BYTES: u64 = 1024;

/// A root directory of the operating system. The directory need not exist yet.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Names the root. Touches nothing.
    pub fn new(root: impl Into<PathBuf>) -> Disk {
        let root = root.into();
        Disk { root: if root.as_os_str().is_empty() { PathBuf::from(".") } else { root } }
    }

    fn file_path(&self, path: &str) -> Result<PathBuf> {
        check_path(path)?;
        Ok(self.root.join(path))
    }

    fn dir_path(&self, dir: &str) -> Result<PathBuf> {
        check_dir(dir)?;
        Ok(if dir.is_empty() { self.root.clone() } else { self.root.join(dir) })
    }

    /// Says who holds a lock, as far as the lock file tells.
    fn locked(&self, file: &fs::File) -> Error {
        let mut note = Vec::new();
        // The note only words the message: what cannot be read is left out.
        let holder = match file.take(NOTE_MAX_BYTES).read_to_end(&mut note) {
            Ok(_) => holder_from(&note),
            Err(_) => holder_from(&[]),
        };
        Error::Locked { path: self.root.clone(), holder }
    }
}

impl ReadVfs for Disk {
    #[expect(clippy::disallowed_methods, reason = "the home of file access")]
    fn list(&self, dir: &str) -> Result<Option<Vec<DirEntry>>> {
        let path = self.dir_path(dir)?;
        let failed = |error| Error::io("list", &path, error);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut list = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            list.push(DirEntry { name, kind: kind_of(kind) });
        }
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Some(list))
    }

    fn open(&self, path: &str) -> Result<Option<Arc<dyn ReadFile>>> {
        let full = self.file_path(path)?;
        let failed = |error| Error::io("open", &full, error);
        let file = match open_with(OpenOptions::new().read(true), &full) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let kind = file.metadata().map_err(failed)?.file_type();
        if kind.is_dir() {
            return Ok(None);
        }
        if !kind.is_file() {
            let what = full.display().to_string();
            return Err(Error::BadInput { what, reason: "not a regular file".to_owned() });
        }
        Ok(Some(Arc::new(DiskRead { file, name: path.to_owned(), path: full })))
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn scratch(&self) -> Result<Box<dyn Scratch>> {
        unnamed()
    }

    fn lock_shared(&self, path: &str) -> Result<Option<Box<dyn Lock>>> {
        let full = self.file_path(path)?;
        let failed = |error| Error::io("lock", &full, error);
        let file = match open_with(OpenOptions::new().read(true), &full) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Box::new(SharedLock { file }))),
            Err(TryLockError::WouldBlock) => Err(self.locked(&file)),
            // Where no reader can lock, no writer can either: there is nobody to be protected from.
            Err(TryLockError::Error(error)) if cannot_lock(&error) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Vfs for Disk {
    fn create_new(&self, path: &str) -> Result<Box<dyn File>> {
        let path = self.file_path(path)?;
        match open_with(OpenOptions::new().write(true).create_new(true), &path) {
            Ok(file) => Ok(Box::new(DiskFile { file, path, len: 0, hinted: 0, poisoned: None })),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::Exists { path }),
            Err(error) => Err(Error::io("create", path, error)),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the home of file access")]
    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.file_path(from)?, self.file_path(to)?);
        fs::rename(&from, &to).map_err(|error| Error::io("rename", from, error))
    }

    #[expect(clippy::disallowed_methods, reason = "the home of file access")]
    fn remove(&self, path: &str) -> Result<()> {
        let path = self.file_path(path)?;
        match fs::remove_file(&path) {
            Err(error) if !is_absent(&error) => Err(Error::io("remove", path, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the home of file access")]
    fn create_dir(&self, path: &str) -> Result<()> {
        let full = self.dir_path(path)?;
        match fs::create_dir(&full) {
            Ok(()) if path.is_empty() => sync_directory(parent_of(&full)),
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if fs::metadata(&full).is_ok_and(|found| found.is_dir()) {
                    Ok(())
                } else {
                    Err(Error::Exists { path: full })
                }
            }
            Err(error) => Err(Error::io("create directory", full, error)),
        }
    }

    fn sync_file(&self, path: &str) -> Result<()> {
        let path = self.file_path(path)?;
        let file = open_with(OpenOptions::new().read(true), &path);
        file.and_then(|file| file.sync_data()).map_err(|error| Error::io("sync", path, error))
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        sync_directory(&self.dir_path(dir)?)
    }

    fn lock_exclusive(&self, path: &str, note: &str) -> Result<Box<dyn Lock>> {
        let path = self.file_path(path)?;
        // Not truncated before it is locked: the note in it belongs to the holder.
        let file = open_with(OpenOptions::new().read(true).write(true).create(true).truncate(false), &path)
            .map_err(|error| Error::io("open lock", &path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.locked(&file)),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path, error)),
        }
        // The lock is what counts. The note only words a message, and a full disk must not lock out the
        // very command that would free space.
        if file.set_len(0).and_then(|()| file.write_all_at(note.as_bytes(), 0)).is_err() {
            tracing::debug!(path = %path.display(), "cannot write the note into the lock file");
        }
        Ok(Box::new(ExclusiveLock { file }))
    }

    fn as_read(self: Arc<Self>) -> Arc<dyn ReadVfs> {
        self
    }
}

/// A file open for reading.
#[derive(Debug)]
struct DiskRead {
    file: fs::File,
    name: String,
    path: PathBuf,
}

impl ReadFile for DiskRead {
    fn len(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|error| Error::io("stat", &self.path, error))?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let (mut done, mut at) = (0usize, offset);
        // The system counts file positions with 63 bits, so nothing can lie beyond them.
        while i64::try_from(at).is_ok()
            && let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty())
        {
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(count) => {
                    done = done.saturating_add(count);
                    at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.path, error)),
            }
        }
        Ok(done)
    }

    fn will_need(&self, offset: u64, len: u64) {
        #[cfg(target_os = "linux")]
        if let Some(len) = std::num::NonZero::new(len) {
            // A refusal changes nothing.
            rustix::fs::fadvise(&self.file, offset, Some(len), rustix::fs::Advice::WillNeed).ok();
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, len);
    }

    fn map(&self, len: u64) -> Result<Map> {
        Ok(Map::mapped(Mapped::new(&self.file, len, &self.name, &self.path)?))
    }
}

/// A file being appended to.
#[derive(Debug)]
struct DiskFile {
    file: fs::File,
    path: PathBuf,
    len: u64,
    /// Up to where the system was asked to start writing back.
    hinted: u64,
    poisoned: Option<String>,
}

impl DiskFile {
    fn check(&self) -> Result<()> {
        self.poisoned.as_ref().map_or(Ok(()), |reason| Err(Error::Poisoned { reason: reason.clone() }))
    }

    fn poison(&mut self, op: &'static str, error: io::Error) -> Error {
        let error = Error::io(op, &self.path, error);
        self.poisoned = Some(error.to_string());
        error
    }
}

impl File for DiskFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        // `write_all` goes on after interruptions and short writes.
        self.file.write_all(bytes).map_err(|error| self.poison("write", error))?;
        self.len = self.len.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn flush_hint(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(len) = self.len.checked_sub(self.hinted).and_then(std::num::NonZero::new) {
            // Linux starts writing back the range and lets go of pages that are clean already, which
            // bytes just appended are not. A safe `sync_file_range` is to be had nowhere. A refusal
            // changes nothing.
            let advice = rustix::fs::Advice::DontNeed;
            if rustix::fs::fadvise(&self.file, self.hinted, Some(len), advice).is_ok() {
                self.hinted = self.len;
            }
        }
    }

    fn sync(&mut self) -> Result<()> {
        self.check()?;
        // Never tried again: Linux may drop the pages that it could not write, and then report success.
        self.file.sync_data().map_err(|error| self.poison("sync", error))
    }
}

/// Holds a lock by holding the file.
#[derive(Debug)]
struct SharedLock {
    file: fs::File,
}

impl Lock for SharedLock {}

impl Drop for SharedLock {
    fn drop(&mut self) {
        unlock(&self.file);
    }
}

#[derive(Debug)]
struct ExclusiveLock {
    file: fs::File,
}

impl Lock for ExclusiveLock {}

impl Drop for ExclusiveLock {
    fn drop(&mut self) {
        // Without its note a later holder is not taken for this one.
        if self.file.set_len(0).is_err() {
            tracing::debug!("cannot clear the note in the lock file");
        }
        unlock(&self.file);
    }
}

/// Lets go of a lock. To close the file is not enough: a child that another thread has forked, and that is not yet the program
/// that it will be, has it open too.
fn unlock(file: &fs::File) {
    if file.unlock().is_err() {
        tracing::debug!("cannot unlock a file before it is closed");
    }
}

/// Opens without ever waiting for the other end of a pipe, and without becoming a terminal's process.
#[expect(clippy::disallowed_methods, reason = "the home of file access")]
fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<fs::File> {
    options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()).open(path)
}

fn sync_directory(path: &Path) -> Result<()> {
    let directory = open_with(OpenOptions::new().read(true), path);
    directory
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::io("sync directory", path, error))
}

fn parent_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn kind_of(kind: fs::FileType) -> Kind {
    if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Directory
    } else {
        Kind::Other
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn cannot_lock(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests;
