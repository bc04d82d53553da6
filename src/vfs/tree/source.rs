//! Directories that import reads.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::{Errno, pread, retry_on_intr};

use super::{FileTime, check_name, failed, kind_of};
use crate::error::{Error, Result};
use crate::vfs::Kind;

/// How often a file that changes while it is read is read again.
const RETRIES: usize = 3;

/// Flags for a file that may be anything: opening a pipe does not wait for its writer, and a terminal
/// does not become ours.
const OPEN_FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// An open directory to read from. Threads may share it.
#[derive(Debug)]
pub struct SourceDir {
    fd: OwnedFd,
    path: PathBuf,
}

/// One entry of a source directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceEntry {
    /// Its name, any bytes.
    pub name: OsString,
    /// What it is; a link is what it points to, and a broken one is [`Kind::Other`].
    pub kind: Kind,
}

/// What the system says about a file that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileInfo {
    /// Length in bytes.
    pub len: u64,
    /// When its content was last changed.
    pub mtime: FileTime,
    /// When its content or its other properties were last changed. Programs cannot set this one.
    pub ctime: FileTime,
    /// Its number in the file system.
    pub ino: u64,
    /// The file system's number.
    pub dev: u64,
}

impl SourceDir {
    /// Opens a directory, links followed.
    ///
    /// # Errors
    /// `Io`, with an absent directory and a path that is no directory among it.
    pub fn open(path: impl Into<PathBuf>) -> Result<SourceDir> {
        let path = path.into();
        let fd = retry_on_intr(|| openat(CWD, &path, OPEN_DIR, Mode::empty()))
            .map_err(|error| Error::io("open directory", &path, error.into()))?;
        Ok(SourceDir { fd, path })
    }

    /// Opens a directory in this one, links followed.
    ///
    /// # Errors
    /// As [`open`](SourceDir::open); `BadInput` for a name that is not a single name.
    pub fn open_dir(&self, name: &OsStr) -> Result<SourceDir> {
        check_name(name)?;
        let fd = retry_on_intr(|| openat(&self.fd, name, OPEN_DIR, Mode::empty()))
            .map_err(|error| failed("open directory", &self.path, name, error))?;
        Ok(SourceDir { fd, path: self.path.join(name) })
    }

    /// Returns the path it was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the absolute path without links in it; the path it was opened by, where the system does not tell.
    pub fn full_path(&self) -> PathBuf {
        std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone())
    }

    /// Asks what the system says about a file, without opening it; links followed.
    ///
    /// # Errors
    /// `BadInput` if it is not a regular file, or the name is not a single name; else `Io`.
    pub fn stat_file(&self, name: &OsStr) -> Result<FileInfo> {
        check_name(name)?;
        let stat = statat(&self.fd, name, AtFlags::empty());
        self.info_of(&stat.map_err(|error| failed("stat", &self.path, name, error))?, name)
    }

    /// Returns when an entry was last added, renamed or removed.
    ///
    /// # Errors
    /// `Io` if the system does not say.
    pub fn mtime(&self) -> Result<FileTime> {
        let stat = fstat(&self.fd).map_err(|error| Error::io("stat", &self.path, error.into()))?;
        Ok((number(stat.st_mtime), number(stat.st_mtime_nsec)))
    }

    /// Lists the directory, sorted by the bytes of the names. The system tells what each entry is along
    /// with its name; only links, and file systems that do not tell, cost a further call each.
    ///
    /// # Errors
    /// `Io` if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<SourceEntry>> {
        let io = |error: Errno| Error::io("list", &self.path, error.into());
        let mut list = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let told = entry.file_type();
            let kind = if matches!(told, FileType::Symlink | FileType::Unknown) {
                self.kind_behind(name)
            } else {
                kind_of(told)
            };
            list.push(SourceEntry { name: OsString::from_vec(name.to_bytes().to_vec()), kind });
        }
        list.sort_unstable_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        Ok(list)
    }

    fn kind_behind(&self, name: &std::ffi::CStr) -> Kind {
        let found = statat(&self.fd, name, AtFlags::empty());
        found.map_or(Kind::Other, |found| kind_of(FileType::from_raw_mode(found.st_mode)))
    }

    /// Opens a file to be read. Waits for nothing: a pipe is opened without its writer, and refused.
    ///
    /// # Errors
    /// `BadInput` if it is not a regular file, or the name is not a single name; else `Io`.
    pub fn open_file<'a>(&'a self, name: &'a OsStr) -> Result<SourceFile<'a>> {
        check_name(name)?;
        let fd = retry_on_intr(|| openat(&self.fd, name, OPEN_FILE, Mode::empty()))
            .map_err(|error| failed("open", &self.path, name, error))?;
        let mut file = SourceFile { dir: self, name, fd, info: FileInfo::default() };
        file.info = file.ask()?;
        Ok(file)
    }

    /// Opens and reads a whole file, as [`SourceFile::read`] does. Costs open, stat, read, stat and close.
    ///
    /// # Errors
    /// As [`open_file`](SourceDir::open_file) and `read`.
    pub fn read_file(&self, name: &OsStr, buffer: &mut Vec<u8>, max: u64) -> Result<FileInfo> {
        self.open_file(name)?.read(buffer, max)
    }

    fn info_of(&self, stat: &Stat, name: &OsStr) -> Result<FileInfo> {
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            Ok(info_from(stat))
        } else {
            Err(self.refused(name, "not a regular file"))
        }
    }

    fn refused(&self, name: &OsStr, reason: &str) -> Error {
        let what = self.path.join(name).display().to_string();
        Error::BadInput { what, reason: reason.to_owned() }
    }
}

/// A source file, open.
#[derive(Debug)]
pub struct SourceFile<'a> {
    dir: &'a SourceDir,
    name: &'a OsStr,
    fd: OwnedFd,
    info: FileInfo,
}

impl SourceFile<'_> {
    /// Returns what the system said about it when it was last asked.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Reads a whole file of at most `max` bytes into `buffer`, whose old content goes and whose capacity
    /// is used again. The bytes belong to the returned length and times: a file that changes while it is
    /// read is read again, three times at most. (A change within the resolution of the system's clock
    /// that keeps the length cannot be seen.)
    ///
    /// # Errors
    /// `BadInput` if it keeps changing; `TooLarge` beyond `max`; else `Io`. The buffer is then of no use.
    pub fn read(&mut self, buffer: &mut Vec<u8>, max: u64) -> Result<FileInfo> {
        for _ in 0..=RETRIES {
            let before = self.info;
            if before.len > max {
                return Err(Error::TooLarge { what: "file", len: before.len, max });
            }
            let len = self.read_once(buffer, before.len, max)?;
            self.info = self.ask()?;
            if before == self.info && len == before.len {
                return Ok(before);
            }
        }
        Err(self.dir.refused(self.name, "changes while it is read"))
    }

    /// Reads until the end, returns the length. `expect` sizes the buffer: with one byte to spare, a file
    /// that grew meanwhile does not look complete.
    fn read_once(&self, buffer: &mut Vec<u8>, expect: u64, max: u64) -> Result<u64> {
        buffer.clear();
        buffer.reserve_exact(usize::try_from(expect.saturating_add(1)).unwrap_or(0));
        loop {
            let len = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
            if len > max {
                return Err(Error::TooLarge { what: "file", len, max });
            }
            if buffer.len() == buffer.capacity() {
                buffer.reserve(buffer.len().max(4096));
            }
            match pread(&self.fd, spare_capacity(buffer), len) {
                Ok(0) => return Ok(len),
                // The end was reached: there was room for more, and the second look at the length decides.
                Ok(count) if u64::try_from(count).ok().and_then(|n| len.checked_add(n)) == Some(expect) => {
                    return Ok(expect);
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(failed("read", &self.dir.path, self.name, error)),
            }
        }
    }

    /// Asks whether it is as it was when it was opened, or last asked about.
    ///
    /// # Errors
    /// `BadInput` if it has changed; `Io`.
    pub fn check_unchanged(&mut self) -> Result<()> {
        let now = self.ask()?;
        let before = std::mem::replace(&mut self.info, now);
        if before == self.info {
            Ok(())
        } else {
            Err(self.dir.refused(self.name, "changes while it is read"))
        }
    }

    fn ask(&self) -> Result<FileInfo> {
        let stat = fstat(&self.fd).map_err(|error| failed("stat", &self.dir.path, self.name, error))?;
        self.dir.info_of(&stat, self.name)
    }
}

/// From its beginning to its end; whether it was one state of it is asked afterwards.
impl Read for SourceFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.fd, buffer)?)
    }
}

fn info_from(stat: &Stat) -> FileInfo {
    FileInfo {
        len: number(stat.st_size),
        mtime: (number(stat.st_mtime), number(stat.st_mtime_nsec)),
        ctime: (number(stat.st_ctime), number(stat.st_ctime_nsec)),
        ino: number(stat.st_ino),
        dev: number(stat.st_dev),
    }
}

/// The types of these fields differ between systems and processors. What does not fit is nothing that a
/// system says.
fn number<T: TryInto<N>, N: Default>(value: T) -> N {
    value.try_into().unwrap_or_default()
}
