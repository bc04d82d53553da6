//! Aliases of a run: a pure function of its live files. An id that a file holds, other than its name, leads
//! to that file; a file named like the id wins (E20), of several files the last name in byte order (E21).

use std::collections::BTreeMap;

use super::scan::in_file_order;
use super::target::Stored;
use crate::error::Result;
use crate::limits::NAME_MAX_BYTES;

/// One step that makes the aliases right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Let an id lead to a file.
    Put {
        /// The id.
        id: Vec<u8>,
        /// The file's name.
        file: Vec<u8>,
    },
    /// Forget an alias.
    Delete {
        /// The id.
        id: Vec<u8>,
    },
}

/// What matters of the records of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct RunAliases {
    /// Files that hold ids other than their name: name and ids.
    odd: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    /// Aliases as they are: id and file.
    current: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl RunAliases {
    /// Adds a record of the run, in any order.
    pub(super) fn add(&mut self, name: Vec<u8>, stored: Stored) {
        match stored {
            Stored::File { ids } if ids.is_empty() => {}
            Stored::File { ids } => self.odd.push((name, ids)),
            Stored::Alias { file } => {
                self.current.insert(name, file);
            }
        }
    }

    /// Returns what to change, by id. `is_file` tells whether a file of a name is stored in the run.
    ///
    /// # Errors
    /// Those of `is_file`.
    pub(super) fn changes(mut self, mut is_file: impl FnMut(&[u8]) -> Result<bool>) -> Result<Vec<Change>> {
        self.odd.sort_by(|one, other| in_file_order(&one.0, &other.0));
        let mut wanted = BTreeMap::new();
        for (file, ids) in self.odd {
            for id in ids {
                if id.len() <= NAME_MAX_BYTES && !id.is_empty() {
                    wanted.insert(id, file.clone());
                }
            }
        }
        let mut changes = Vec::new();
        for (id, file) in &wanted {
            // Where there is an alias there is no file: they would have the same key.
            let right = match self.current.get(id) {
                Some(current) => current == file,
                None => is_file(id)?,
            };
            if !right {
                changes.push(Change::Put { id: id.clone(), file: file.clone() });
            }
        }
        let stale = self.current.into_keys().filter(|id| !wanted.contains_key(id));
        changes.extend(stale.map(|id| Change::Delete { id }));
        Ok(changes)
    }
}

#[cfg(test)]
mod tests;
