//! Directories and files that restore writes.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, futimens, mkdirat, openat, renameat,
    unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use tempfile::NamedTempFile;

use super::{FileTime, check_name, failed, kind_at};
use crate::error::{Error, Result};
use crate::vfs::Kind;

const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A new file, and never what a link of that name points to.
const CREATE_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How many temporary names are tried: leftovers of a killed process of the same number stand in the way.
const TEMP_TRIES: usize = 1000;
pub(super) const TEMP_PREFIX: &[u8] = b".store-";
pub(super) const TEMP_SUFFIX: &[u8] = b".tmp";

/// Numbers temporary files, so that threads never meet.
static TEMP_NUMBER: AtomicU64 = AtomicU64::new(0);

/// An open directory to write into. Threads may share it.
#[derive(Debug)]
pub struct TargetDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl TargetDir {
    /// Opens a directory, which is created with its parents if absent. Links are followed: the person who
    /// named it may have made them.
    ///
    /// # Errors
    /// `Io` if it cannot be created, or is no directory.
    #[expect(clippy::disallowed_methods, reason = "the home of file access")]
    pub fn create(path: impl Into<PathBuf>) -> Result<TargetDir> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|error| Error::io("create directory", &path, error))?;
        TargetDir::open(path)
    }

    /// Opens a directory that is there.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn open(path: impl Into<PathBuf>) -> Result<TargetDir> {
        let path = path.into();
        let fd = retry_on_intr(|| openat(CWD, &path, OPEN_DIR, Mode::empty()))
            .map_err(|error| Error::io("open directory", &path, error.into()))?;
        Ok(TargetDir { fd, path })
    }

    /// Opens a directory in this one, which is created if absent. A link is refused: nothing is written
    /// outside the tree.
    ///
    /// # Errors
    /// `BadInput` for a name that is not a single name of at most 255 bytes, and where there is a link or a file; else `Io`.
    pub fn create_dir(&self, name: &OsStr) -> Result<TargetDir> {
        check_name(name)?;
        match mkdirat(&self.fd, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed("create directory", &self.path, name, error)),
        }
        match retry_on_intr(|| openat(&self.fd, name, OPEN_DIR | OFlags::NOFOLLOW, Mode::empty())) {
            Ok(fd) => Ok(TargetDir { fd, path: self.path.join(name) }),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                Err(self.refused(name, "a link, or what is no directory, stands in its place"))
            }
            Err(error) => Err(failed("open directory", &self.path, name, error)),
        }
    }

    /// Returns the path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Writes a file, replacing one of that name: readers see the old one or the new one, whole. A link of
    /// that name is replaced, not followed. Without `mtime` the file has the time of writing. Nothing is
    /// synced: a restore can be run again.
    ///
    /// # Errors
    /// `BadInput` for a name that is not a single name of at most 255 bytes, where there is a directory, or for an `mtime`
    /// that is no time; else `Io`. The old file is then still there, and no half one.
    pub fn write_file(&self, name: &OsStr, bytes: &[u8], mtime: Option<FileTime>) -> Result<()> {
        check_name(name)?;
        let raw = name.as_bytes();
        if raw.starts_with(TEMP_PREFIX) && raw.ends_with(TEMP_SUFFIX) {
            return Err(self.refused(name, "the name is kept for temporary files"));
        }
        let times =
            mtime.map(|mtime| times_from(mtime).ok_or_else(|| self.refused(name, BAD_TIME))).transpose()?;
        let (temp, file) = self.create_temp()?;
        let written = self.fill(&file, name, bytes, times.as_ref()).and_then(|()| {
            renameat(&self.fd, &temp, &self.fd, name).map_err(|error| match error {
                Errno::ISDIR => self.refused(name, "a directory stands in its place"),
                error => failed("rename", &self.path, name, error),
            })
        });
        // The first error is the one to report.
        if written.is_err() && unlinkat(&self.fd, &temp, AtFlags::empty()).is_err() {
            tracing::debug!(temp = %temp.display(), "cannot remove a temporary file");
        }
        written
    }

    /// Sets the directory's own time of modification: last, since each file written changes it.
    ///
    /// # Errors
    /// `BadInput` if it is no time; else `Io`.
    pub fn set_mtime(&self, mtime: FileTime) -> Result<()> {
        let times = times_from(mtime).ok_or_else(|| self.refused(OsStr::new(""), BAD_TIME))?;
        futimens(&self.fd, &times).map_err(|error| Error::io("set the time of", &self.path, error.into()))
    }

    /// Makes everything written below this directory durable: syncs the file system that it lies on. One call for many
    /// files costs far less than a sync of each.
    ///
    /// # Errors
    /// `Io`.
    pub fn sync(&self) -> Result<()> {
        #[cfg(target_os = "linux")]
        let synced = rustix::fs::syncfs(&self.fd).map_err(io::Error::from);
        // Where there is no call for one file system, all of them are synced.
        #[cfg(not(target_os = "linux"))]
        let synced = {
            rustix::fs::sync();
            Ok::<(), io::Error>(())
        };
        synced.map_err(|error| Error::io("sync", &self.path, error))
    }

    fn fill(&self, mut file: &File, name: &OsStr, bytes: &[u8], times: Option<&Timestamps>) -> Result<()> {
        file.write_all(bytes).map_err(|error| failed("write", &self.path, name, error))?;
        match times {
            Some(times) => futimens(file.as_fd(), times)
                .map_err(|error| failed("set the time of", &self.path, name, error)),
            None => Ok(()),
        }
    }

    pub(super) fn create_temp(&self) -> Result<(OsString, File)> {
        let mut temp = OsString::new();
        for _ in 0..TEMP_TRIES {
            let number = TEMP_NUMBER.fetch_add(1, Ordering::Relaxed);
            temp = OsString::from(format!(".store-{}-{number}.tmp", std::process::id()));
            match retry_on_intr(|| openat(&self.fd, &temp, CREATE_FILE, Mode::from_raw_mode(0o666))) {
                Ok(fd) => return Ok((temp, File::from(fd))),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed("create", &self.path, &temp, error)),
            }
        }
        Err(failed("create", &self.path, &temp, Errno::EXIST))
    }

    fn refused(&self, name: &OsStr, reason: &str) -> Error {
        let what = self.path.join(name).display().to_string();
        Error::BadInput { what, reason: reason.to_owned() }
    }
}

pub(super) const BAD_TIME: &str = "the time has no valid count of nanoseconds";

/// Times with only the modification set. The system gives counts beyond 999,999,999 other meanings.
pub(super) fn times_from((seconds, nanoseconds): FileTime) -> Option<Timestamps> {
    (nanoseconds < 1_000_000_000).then(|| Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    })
}

/// A file that a person named, being written. Unless [`finish`](OutputFile::finish) is called, what was at
/// the path stays as it was. Not buffered: wrap it, or write in large pieces.
#[derive(Debug)]
pub struct OutputFile {
    sink: Sink,
    path: PathBuf,
}

#[derive(Debug)]
enum Sink {
    /// Beside the target, and removed when dropped.
    Temp(NamedTempFile),
    /// A pipe or a device, which cannot be replaced.
    Direct(File),
}

/// Starts writing a file that appears at `path`, replacing what is there, when it is finished. A pipe or
/// a device at `path` is written to directly: replacing `/dev/null` would be a disaster.
///
/// # Errors
/// `Io`, with an absent directory among it; `BadInput` if the path is a directory.
#[expect(clippy::disallowed_methods, reason = "the home of file access")]
pub fn create_file(path: &Path) -> Result<OutputFile> {
    let failed = |error| Error::io("create", path, error);
    match kind_at(path)? {
        Some(Kind::Directory) => {
            let what = path.display().to_string();
            return Err(Error::BadInput { what, reason: "is a directory".to_owned() });
        }
        Some(Kind::Other) => {
            let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
            return Ok(OutputFile { sink: Sink::Direct(file), path: path.to_path_buf() });
        }
        Some(Kind::File) | None => {}
    }
    // A link to a file stays a link: the file behind it is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    // Read and write for all, less what the umask takes: as any program creates files.
    let temp = tempfile::Builder::new()
        .prefix(&format!(".store-{}-", std::process::id()))
        .suffix(OsStr::from_bytes(TEMP_SUFFIX))
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent_of(&path))
        .map_err(|error| Error::io("create", &path, error))?;
    Ok(OutputFile { sink: Sink::Temp(temp), path })
}

impl OutputFile {
    /// Returns the path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the file in its place. On return it is on disk, name and bytes; a pipe or device got
    /// everything written.
    ///
    /// # Errors
    /// `Io`; what was at the path is then still there, unless only the last step failed.
    #[expect(clippy::disallowed_methods, reason = "the home of file access")]
    pub fn finish(self) -> Result<()> {
        let OutputFile { sink, path } = self;
        let Sink::Temp(temp) = sink else { return Ok(()) };
        temp.as_file().sync_all().map_err(|error| Error::io("sync", &path, error))?;
        temp.persist(&path).map_err(|error| Error::io("rename", &path, error.error))?;
        let directory = parent_of(&path);
        File::open(directory)
            .and_then(|open| open.sync_all())
            .map_err(|error| Error::io("sync directory", directory, error))
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Temp(temp) => temp.as_file_mut().write(bytes),
            Sink::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn parent_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}
