//! Files outside the store: the backup tree that import reads, the trees and bundles that restore writes.
//!
//! Unlike the store's own files these are named by others, may be links, pipes or devices, and may change
//! while they are read. Everything below a directory is opened relative to it, so that a path of a
//! million files is resolved once, and a directory that is renamed meanwhile stays the same one.

mod archive;
mod lock;
mod named;
mod source;
mod sweep;
mod target;
mod whole;

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;

pub use self::archive::{ArchiveEntry, ArchiveKind, BegunArchive, begin_archive, read_archive};
pub use self::lock::{RewriteLock, lock_for_rewrite};
pub use self::named::{Input, lies_in, open_input};
pub use self::source::{FileInfo, SourceDir, SourceEntry, SourceFile};
pub use self::sweep::sweep_beside;
pub use self::target::{OutputFile, TargetDir, create_file};
pub use self::whole::NewFile;
use super::Kind;
use crate::error::{Error, Result};

/// A time stamp of a file: seconds since 1970-01-01T00:00:00Z, and nanoseconds from 0 to 999,999,999.
pub type FileTime = (i64, u32);

/// Reads the system's clock, by which it stamps files.
#[expect(clippy::disallowed_methods, reason = "the home of what file times are compared with")]
pub fn clock() -> FileTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

/// Longest name of a file in a directory, in bytes: what Linux and its file systems take.
const FILE_NAME_MAX_BYTES: usize = 255;

/// Returns what a path names, links followed. Absent, or a broken link: `None`.
///
/// # Errors
/// `Io` if the path cannot be followed, as for want of permission.
#[expect(clippy::disallowed_methods, reason = "the home of file access")]
pub fn kind_at(path: &Path) -> Result<Option<Kind>> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(Some(Kind::Directory)),
        Ok(found) if found.is_file() => Ok(Some(Kind::File)),
        Ok(_) => Ok(Some(Kind::Other)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::io("stat", path, error)),
    }
}

/// Reads a whole input that a person named: a file of at most `max` bytes, or a pipe until its end.
///
/// # Errors
/// `Io`, an absent file included; `TooLarge` beyond `max`.
#[expect(clippy::disallowed_methods, reason = "the home of file access")]
pub fn read_input(path: &Path, max: u64) -> Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).open(path).map_err(|error| Error::io("open", path, error))?;
    // Not read for nothing; a pipe has no length to ask for, and a file may grow.
    let found = file.metadata().map_err(|error| Error::io("stat", path, error))?;
    if found.is_file() && found.len() > max {
        return Err(Error::TooLarge { what: "file", len: found.len(), max });
    }
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io("read", path, error))?;
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if len > max { Err(Error::TooLarge { what: "file", len, max }) } else { Ok(bytes) }
}

/// Refuses a name that is not a single name in a directory.
fn check_name(name: &OsStr) -> Result<()> {
    let bytes = name.as_bytes();
    let reason = if bytes.is_empty() {
        "a name is needed"
    } else if bytes.len() > FILE_NAME_MAX_BYTES {
        "the name is longer than 255 bytes"
    } else if bytes == b"." || bytes == b".." {
        "the name leads out of its directory"
    } else if bytes.contains(&b'/') {
        "the name holds a `/`"
    } else if bytes.contains(&0) {
        "the name holds a NUL"
    } else {
        return Ok(());
    };
    Err(Error::BadInput { what: format!("file name {}", name.display()), reason: reason.to_owned() })
}

/// Names an operation on a file in a directory. The path is put together only here, where something
/// failed: not once per file.
fn failed(op: &'static str, dir: &Path, name: &OsStr, error: impl Into<io::Error>) -> Error {
    Error::io(op, dir.join(name), error.into())
}

fn kind_of(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Kind::Other,
    }
}

#[cfg(test)]
mod tests;
