//! The files in which importers note what they saw of their sources: kept here, understood by them.

use super::inner::replace_file;
use super::open::files_of;
use super::txn::Writer;
use crate::error::{Error, Result};
use crate::format::sources::{self, SOURCES_MAX_BYTES, SourceId, SourceRows};

/// Most sources remembered: a tree that is mounted under a new path each day is a new source each day.
const SOURCES_MAX_FILES: usize = 16;
/// Bytes from which the age of such a file is read.
const HEAD_BYTES: usize = 64;

impl Writer {
    /// Returns what was noted of a source. Nothing if nothing is, or if that cannot be read: it is a cache.
    pub fn sources(&self, source: SourceId) -> SourceRows {
        let read = self.inner.read.read(&sources::file_name(source), SOURCES_MAX_BYTES);
        let rows = read.and_then(|bytes| match bytes {
            Some(bytes) => sources::decode(&bytes, self.inner.config.store, source),
            None => Ok(SourceRows::new()),
        });
        rows.unwrap_or_else(|error| {
            tracing::warn!("{error}; its files will be read again");
            SourceRows::new()
        })
    }

    /// Notes what was seen of a source, in place of what was noted before, and forgets the sources not imported for longest.
    ///
    /// # Errors
    /// Failures of the file system, which cost nothing but the notes; `TooLarge`.
    pub fn note_sources(&mut self, source: SourceId, rows: &SourceRows) -> Result<()> {
        self.alive()?;
        let commit = self.state().position.link.id;
        let bytes = sources::encode(rows, self.inner.config.store, source, commit);
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if len > SOURCES_MAX_BYTES {
            return Err(Error::TooLarge { what: "notes of a source", len, max: SOURCES_MAX_BYTES });
        }
        replace_file(&*self.vfs, &sources::file_name(source), &bytes)?;
        self.forget_old_sources()
    }

    fn forget_old_sources(&self) -> Result<()> {
        let names = files_of(&self.vfs.list("")?.unwrap_or_default())
            .filter(|entry| sources::is_file_name(&entry.name))
            .map(|entry| entry.name.clone())
            .collect::<Vec<_>>();
        if names.len() <= SOURCES_MAX_FILES {
            return Ok(());
        }
        let mut aged = Vec::with_capacity(names.len());
        for name in names {
            let mut head = [0u8; HEAD_BYTES];
            let got = match self.inner.read.open(&name)? {
                Some(file) => file.read_at(&mut head, 0)?,
                None => continue,
            };
            aged.push((sources::age(head.get(..got).unwrap_or_default()), name));
        }
        aged.sort();
        let old = aged.len().saturating_sub(SOURCES_MAX_FILES);
        aged.iter().take(old).try_for_each(|(_, name)| self.vfs.remove(name))
    }
}
