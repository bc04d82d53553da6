//! Locks beside files that several processes rewrite.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The right to rewrite a file; whoever else asks for it waits. It ends with this, or with the process.
#[derive(Debug)]
pub struct RewriteLock {
    _file: File,
}

/// Waits for the right to rewrite a file, which need not exist. Takes a lock on `<path>.lock` beside it, links followed, and
/// leaves that empty file there: the file itself is replaced and cannot carry a lock, and one that is unlinked could be locked
/// twice.
///
/// # Errors
/// `Io`.
#[expect(clippy::disallowed_methods, reason = "the home of file access")]
pub fn lock_for_rewrite(path: &Path) -> Result<RewriteLock> {
    let mut name: OsString = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()).into_os_string();
    name.push(".lock");
    let path = PathBuf::from(name);
    let opened = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
    let file = opened.map_err(|error| Error::io("create", &path, error))?;
    loop {
        match file.lock() {
            Ok(()) => return Ok(RewriteLock { _file: file }),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("lock", &path, error)),
        }
    }
}
