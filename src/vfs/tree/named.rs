//! Files that a person named: read from start to end, or asked where they are.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::target::parent_of;
use crate::error::{Error, Result};

/// A stream of bytes from outside: a file, a pipe, or standard input.
pub type Input = Box<dyn Read + Send>;

/// Opens a file for reading from its beginning to its end, `-` for standard input. Not buffered.
///
/// # Errors
/// `Io`, an absent file included.
#[expect(clippy::disallowed_methods, reason = "the home of file access")]
pub fn open_input(path: &Path) -> Result<Input> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    Ok(Box::new(file))
}

/// Tells whether a file of this path lies in a directory, or would once it is created, links followed.
///
/// # Errors
/// `Io` if one of the two cannot be followed, as where the file's own directory is absent.
pub fn lies_in(path: &Path, directory: &Path) -> Result<bool> {
    let follow = |path: &Path| fs::canonicalize(path).map_err(|error| Error::io("find", path, error));
    let place: PathBuf = match fs::canonicalize(path) {
        Ok(found) => found,
        Err(_) => follow(parent_of(path))?,
    };
    Ok(place.starts_with(follow(directory)?))
}
