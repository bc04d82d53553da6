//! Aliases of a run: a pure function of its live files. An id that a file holds, other than its name, leads
//! to that file; a file named like the id wins (E20), of several files the last name in byte order (E21).

use std::collections::BTreeMap;

use super::reason;
use super::scan::in_file_order;
use super::target::{StoreTarget, Stored, Target};
use crate::error::Result;
use crate::id::RunKey;
use crate::limits::NAME_MAX_BYTES;
use crate::store::{Body, Outcome, Put, PutKind, Writer};

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

/// What is stored under a name in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// Nothing.
    Absent,
    /// A file or an alias.
    Stored,
    /// Something that is damaged.
    Unreadable,
    /// Nothing any more: a repair declared it lost.
    Lost,
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

    /// Returns what to change, by id.
    ///
    /// # Errors
    /// Those of `look`.
    pub(super) fn changes(mut self, mut look: impl FnMut(&[u8]) -> Result<Look>) -> Result<Vec<Change>> {
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
                Some(current) if current == file => true,
                Some(current) => in_file_order(current, file).is_gt() && hides_ids(look(current)?),
                // What cannot be read may be a file: it is not to be overwritten.
                None => matches!(look(id)?, Look::Stored | Look::Unreadable),
            };
            if !right {
                changes.push(Change::Put { id: id.clone(), file: file.clone() });
            }
        }
        for (id, file) in self.current {
            if !wanted.contains_key(&id) && !hides_ids(look(&file)?) {
                changes.push(Change::Delete { id });
            }
        }
        Ok(changes)
    }
}

/// Tells whether a file may hold ids that nobody can read: an alias that leads to it stays, lest an older state answers for
/// what is damaged or lost.
fn hides_ids(file: Look) -> bool {
    matches!(file, Look::Unreadable | Look::Lost)
}

/// Makes the aliases of a run what its live files ask for, uncommitted changes included. Tells `each` after each record
/// that is written.
///
/// # Errors
/// Failures of the store, and those of `each`.
pub(super) fn settle<T>(
    of: &mut T,
    run: RunKey,
    target: fn(&mut T) -> &mut dyn Target,
    mut each: impl FnMut(&mut T) -> Result<()>,
) -> Result<()> {
    let mut aliases = RunAliases::default();
    target(of).records(run, &mut |name, stored| {
        aliases.add(name, stored);
        Ok(())
    })?;
    for change in aliases.changes(|name| target(of).look(name, run))? {
        match apply(target(of), &change, run) {
            Ok(true) => each(of)?,
            Ok(false) => {}
            Err(error) if reason::of_put(&error).is_some() => tracing::warn!("no alias: {error}"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn apply(target: &mut dyn Target, change: &Change, run: RunKey) -> Result<bool> {
    match change {
        Change::Delete { id } => target.delete(id, run),
        Change::Put { id, file } => {
            let body = Body::Raw(file);
            let put = Put { name: id, run, kind: PutKind::Alias, meta: &[], object: 0..0, body };
            Ok(target.put(&put)? != Outcome::Unchanged)
        }
    }
}

/// Makes the aliases of a run what its live files ask for, in the open transaction: for whoever puts or deletes files one by
/// one. Cost: reads all records of the run.
///
/// # Errors
/// Failures of the store.
pub fn settle_aliases(writer: &mut Writer, run: RunKey) -> Result<()> {
    let base = writer.view()?;
    let mut target = StoreTarget::new(writer, base);
    settle(&mut target, run, |target| target, |_| Ok(()))
}

#[cfg(test)]
mod tests;
