//! The files in which importers note what they saw of their sources: kept here, understood by them.

use super::inner::replace_file;
use super::open::{files_of, missing};
use super::txn::Writer;
use crate::error::{Error, Result};
use crate::format::sources::{self, AsOf, SOURCES_MAX_BYTES, SourceId, SourceRows};
use crate::id::CommitId;

/// Most sources remembered: a tree that is mounted under a new path each day is a new source each day.
const SOURCES_MAX_FILES: usize = 16;
/// Bytes from which the age of such a file is read.
const HEAD_BYTES: usize = 64;

/// What was noted of a source.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SourceNotes {
    /// The rows.
    pub rows: SourceRows,
    /// The store's last commit, if nothing was committed since the notes were written and no segment is missing: then each
    /// row's record is the newest of its file's name, and need not be looked up.
    pub exact: Option<CommitId>,
}

impl Writer {
    /// Returns what was noted of a source. Nothing if nothing is, or if that cannot be read: it is a cache.
    pub fn sources(&self, source: SourceId) -> SourceNotes {
        let read = self.inner.read.read(&sources::file_name(source), SOURCES_MAX_BYTES);
        let found = read.and_then(|bytes| match bytes {
            Some(bytes) => sources::decode(&bytes, self.inner.config.store, source),
            None => Ok(<(AsOf, SourceRows)>::default()),
        });
        let (as_of, rows) = found.unwrap_or_else(|error| {
            tracing::warn!("{error}; its files will be read again");
            <(AsOf, SourceRows)>::default()
        });
        let state = self.state();
        // The checksum is bound to the COMMIT's place, and covers its records and the COMMIT before it.
        let is_exact = as_of.exact != 0
            && as_of == AsOf { commit: state.position.link.id, exact: state.position.link.data_crc }
            && state.gaps == 0
            && missing(state).next().is_none();
        SourceNotes { rows, exact: is_exact.then_some(as_of.commit) }
    }

    /// Notes what was seen of a source, in place of what was noted before, and forgets the sources not imported for longest.
    /// `is_exact`: each row's record is the newest of its file's name now.
    ///
    /// # Errors
    /// Failures of the file system, which cost nothing but the notes; `TooLarge`.
    pub fn note_sources(&mut self, source: SourceId, rows: &SourceRows, is_exact: bool) -> Result<()> {
        self.alive()?;
        let link = self.state().position.link;
        let as_of = AsOf { commit: link.id, exact: if is_exact { link.data_crc } else { 0 } };
        let bytes = sources::encode(rows, self.inner.config.store, source, as_of);
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
