//! Removes what killed processes left half written: their temporary files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::TargetDir;
use super::target::{TEMP_PREFIX, TEMP_SUFFIX, parent_of};

/// Seconds after which a temporary file that nobody writes to is a leftover, whoever has the number of its process now.
const OLD_SECONDS: i64 = 3600;

impl TargetDir {
    /// Removes temporary files of processes that are gone, from this directory and none below. What cannot be removed is harmless and
    /// stays: it has a name that no reader looks for. Cost: one listing.
    pub fn sweep(&self) {
        if let Err(error) = self.try_sweep() {
            tracing::debug!(directory = %self.path().display(), "cannot look for leftovers: {error}");
        }
    }

    fn try_sweep(&self) -> Result<(), Errno> {
        for entry in Dir::read_from(self.fd())? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(process) = process_of(name.to_bytes()) else { continue };
            let stat = statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            let age = super::clock().0.saturating_sub(stat.st_mtime);
            if is_file && (age > OLD_SECONDS || !is_alive(process)) {
                let name = OsStr::from_bytes(name.to_bytes());
                tracing::info!(leftover = %self.path().join(name).display(), "removing");
                unlinkat(self.fd(), name, AtFlags::empty())?;
            }
        }
        Ok(())
    }
}

/// Does so where a file that a person named is about to be written.
pub fn sweep_beside(path: &Path) {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    // An absent directory is for the one to say who writes the file.
    if let Ok(directory) = TargetDir::open(parent_of(&path)) {
        directory.sweep();
    }
}

/// The process that a temporary file's name says wrote it.
fn process_of(name: &[u8]) -> Option<i32> {
    let name = name.strip_prefix(TEMP_PREFIX)?.strip_suffix(TEMP_SUFFIX)?;
    let end = name.iter().position(|byte| *byte == b'-')?;
    std::str::from_utf8(name.get(..end)?).ok()?.parse().ok()
}

fn is_alive(process: i32) -> bool {
    // One that belongs to somebody else is there all the same.
    Pid::from_raw(process).is_some_and(|process| test_kill_process(process) != Err(Errno::SRCH))
}
