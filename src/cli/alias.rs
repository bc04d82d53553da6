//! Aliases: the further ids under which `put` and `delete` make a file found, as import does.
//!
//! A file named like an id wins over an alias; of several files the one whose file name is last in byte
//! order has it. One thing import does and this does not: when an alias goes and another file of the run
//! holds the same id, that file does not get the alias until the next import of the run.

use crate::error::Result;
use crate::id::RunKey;
use crate::limits;
use crate::snapshot::Meta;
use crate::store::{Body, Put, PutKind, Snapshot, View, Writer};

/// Returns the ids in a file, other than its name, each once, in file order.
pub(crate) fn other_ids(meta: &Meta, name: &[u8]) -> Vec<Vec<u8>> {
    let mut ids: Vec<Vec<u8>> = Vec::new();
    for id in meta.objects.iter().filter_map(|object| object.id.as_ref()) {
        let fits = !id.is_empty() && id.len() <= limits::NAME_MAX_BYTES;
        if fits && id != name && !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    ids
}

/// Deletes the aliases of a stored file of which `keep` says no.
///
/// # Errors
/// Those of the writer. A stored file that cannot be read has no aliases that could be told.
pub(crate) fn drop_stale(
    writer: &mut Writer,
    stored: &Snapshot<'_>,
    view: &View,
    keep: &[Vec<u8>],
) -> Result<()> {
    let (name, run) = (stored.name(), stored.run());
    let Ok(meta) = super::lookup::meta(stored) else { return Ok(()) };
    for id in other_ids(&meta, &name) {
        if !keep.contains(&id) && target(view, &id, run)?.is_some_and(|target| target == *name) {
            writer.delete(&id, run)?;
        }
    }
    Ok(())
}

/// Adds an alias for each of `ids`, where the rule gives it to this file.
///
/// # Errors
/// Those of the writer.
pub(crate) fn put(writer: &mut Writer, name: &[u8], run: RunKey, ids: &[Vec<u8>]) -> Result<()> {
    let view = writer.view()?;
    for id in ids {
        if let Some(record) = view.record(id, run)?
            && (record.kind() != PutKind::Alias || is_later(&record.body()?, name))
        {
            continue;
        }
        let kind = PutKind::Alias;
        writer.put(&Put { name: id, run, kind, meta: &[], object: 0..0, body: Body::Raw(name) })?;
    }
    Ok(())
}

/// Compares as import does, by file name: `a-b.json` stands before `a.json`.
fn is_later(one: &[u8], other: &[u8]) -> bool {
    one.iter().chain(b".json").gt(other.iter().chain(b".json"))
}

/// Returns the name of the file that an alias points to.
fn target(view: &View, id: &[u8], run: RunKey) -> Result<Option<Vec<u8>>> {
    let alias = view.record(id, run)?.filter(|record| record.kind() == PutKind::Alias);
    alias.map(|record| record.body().map(std::borrow::Cow::into_owned)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::codec::MetaObject;

    #[test]
    fn files_are_ordered_by_their_whole_name() {
        assert!(is_later(b"a", b"a-b") && !is_later(b"a-b", b"a") && !is_later(b"a", b"a"));
    }

    #[test]
    fn other_ids_are_those_that_differ_from_the_name_each_once() {
        let object = |id: Option<&str>| MetaObject {
            id: id.map(|id| id.as_bytes().to_vec()),
            ..MetaObject::default()
        };
        let long = "x".repeat(limits::NAME_MAX_BYTES + 1);
        let objects = [None, Some("b"), Some("a"), Some("b"), Some("name"), Some(""), Some(&long)];
        let meta = Meta { mtime: None, objects: objects.into_iter().map(object).collect() };
        assert_eq!(other_ids(&meta, b"name"), [b"b".to_vec(), b"a".to_vec()]);
    }
}
