//! A file that others see under its name only when it is whole.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, fsync, futimens, renameat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::target::{BAD_TIME, times_from};
use super::{FileTime, TargetDir, check_name, failed};
use crate::error::{Error, Result};

/// Bytes held back before a file is written to.
const BUFFER_BYTES: usize = 1 << 16;

/// A file being written, under a temporary name beside its own. Dropped before it is finished, it is removed.
#[derive(Debug)]
pub struct NewFile {
    directory: OwnedFd,
    path: PathBuf,
    name: OsString,
    temp: OsString,
    file: BufWriter<File>,
    is_finished: bool,
}

impl TargetDir {
    /// Starts writing a file of this directory.
    ///
    /// # Errors
    /// `BadInput` for a name that is not a single name of at most 255 bytes; `Io`.
    pub fn create_file(&self, name: &OsStr) -> Result<NewFile> {
        check_name(name)?;
        let path = self.path().to_path_buf();
        let directory =
            self.fd().try_clone_to_owned().map_err(|error| Error::io("open directory", &path, error))?;
        let (temp, file) = self.create_temp()?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(NewFile { directory, path, name: name.to_os_string(), temp, file, is_finished: false })
    }

    /// The latest time of modification of the files in this directory; `None` if there are none.
    ///
    /// # Errors
    /// `Io`. A file that goes away meanwhile does not count.
    pub fn newest_mtime(&self) -> Result<Option<FileTime>> {
        let io = |error: Errno| Error::io("list", self.path(), error.into());
        let mut newest = None;
        for entry in Dir::read_from(self.fd()).map_err(io)? {
            let entry = entry.map_err(io)?;
            let stat = match statat(self.fd(), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => stat,
                Ok(_) | Err(Errno::NOENT) => continue,
                Err(error) => return Err(io(error)),
            };
            let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
            let seconds: i64 = stat.st_mtime;
            newest = newest.max(Some((seconds, nanos)));
        }
        Ok(newest)
    }
}

impl NewFile {
    /// Writes bytes.
    ///
    /// # Errors
    /// `Io`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| failed("write", &self.path, &self.temp, error))
    }

    /// Puts the file in its place with a time of modification. On return it is on disk, bytes and name.
    ///
    /// # Errors
    /// `BadInput` for what is no time; `Io`.
    pub fn finish(mut self, mtime: FileTime) -> Result<()> {
        let io = |op: &'static str, error: Errno| failed(op, &self.path, &self.temp, error);
        let times = times_from(mtime).ok_or_else(|| Error::BadInput {
            what: self.path.join(&self.name).display().to_string(),
            reason: BAD_TIME.to_owned(),
        })?;
        self.file.flush().map_err(|error| failed("write", &self.path, &self.temp, error))?;
        let file = self.file.get_ref().as_fd();
        futimens(file, &times).map_err(|error| io("set the time of", error))?;
        retry_on_intr(|| fsync(file)).map_err(|error| io("sync", error))?;
        renameat(&self.directory, &self.temp, &self.directory, &self.name)
            .map_err(|error| io("rename", error))?;
        self.is_finished = true;
        retry_on_intr(|| fsync(&self.directory))
            .map_err(|error| Error::io("sync directory", &self.path, error.into()))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_finished && unlinkat(&self.directory, &self.temp, AtFlags::empty()).is_err() {
            tracing::debug!(temp = %self.temp.display(), "cannot remove a temporary file");
        }
    }
}
