//! Files without a name, outside of any root: for what memory shall not hold. They are gone with their handles, so a process
//! that is killed leaves none behind.

use std::fmt::Debug;
use std::io::Write;
use std::path::PathBuf;

use super::Map;
use super::map::Mapped;
use crate::error::{Error, Result};

/// Where large temporary files belong that may be gone after a restart, by the Filesystem Hierarchy Standard: `/tmp` is in
/// memory on many systems. `SQLite` looks in the same places.
const LARGE_TEMPORARY: &str = "/var/tmp";

/// Bytes that are written once and then read.
pub trait Scratch: Debug {
    /// Appends all bytes, or fails with an unknown number of them written.
    ///
    /// # Errors
    /// `Io`.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Ends the writing and maps what was written.
    ///
    /// # Errors
    /// `Io`.
    fn into_map(self: Box<Self>) -> Result<Map>;
}

/// Bytes in memory, where there are no files.
#[derive(Debug, Default)]
pub struct InMemory(Vec<u8>);

impl Scratch for InMemory {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn into_map(self: Box<Self>) -> Result<Map> {
        Ok(Map::copied(self.0))
    }
}

/// A file of the system.
#[derive(Debug)]
struct Unnamed {
    file: std::fs::File,
    dir: PathBuf,
    len: u64,
}

/// Makes one where `TMPDIR` says; else in `/var/tmp`, or where the system has its temporary files.
pub(super) fn unnamed() -> Result<Box<dyn Scratch>> {
    match std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => unnamed_in(dir.into()),
        None => unnamed_in(LARGE_TEMPORARY.into()).or_else(|_| unnamed_in(std::env::temp_dir())),
    }
}

fn unnamed_in(dir: PathBuf) -> Result<Box<dyn Scratch>> {
    match tempfile::tempfile_in(&dir) {
        Ok(file) => Ok(Box::new(Unnamed { file, dir, len: 0 })),
        Err(error) => Err(Error::io("create a temporary file in", dir, error)),
    }
}

impl Scratch for Unnamed {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|error| Error::io("write a temporary file in", &self.dir, error))?;
        self.len = self.len.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn into_map(self: Box<Self>) -> Result<Map> {
        // As for all that is mapped: a page that the system could not write would be read back as something else.
        self.file.sync_data().map_err(|error| Error::io("sync a temporary file in", &self.dir, error))?;
        Ok(Map::mapped(Mapped::new(&self.file, self.len, "a temporary file", &self.dir)?))
    }
}
