//! Standard output, as the system sees it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use crate::error::{Error, Result};

/// Returns standard output as a file of its own, without a buffer. The standard library's takes a write for a success that
/// the system refuses because the file is not open for writing.
///
/// One that is closed cannot be told: before `main` the library's runtime has opened `/dev/null` in its place, for reading and
/// writing, as `daemon(3)` and Python's `subprocess.DEVNULL` open it for those who mean it.
///
/// # Errors
/// `Io`.
pub fn output() -> Result<impl Write + use<>> {
    let file = io::stdout().as_fd().try_clone_to_owned();
    file.map(File::from).map_err(|error| Error::io("open", "standard output", error))
}
