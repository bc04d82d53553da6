//! Joins several layers into one: lists a run over all of them, and makes one index of several.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::error::{Damage, Error, Place, Result};
use crate::format::index::FileKind;
use crate::id::{ObjectKey, RunKey};

use super::RecordKeys;
use super::entry::{Entry, RunRow};
use super::overlay::Overlay;
use super::view::{Entries, Index};

/// The content of several layers, for an [`IndexBuilder`](super::IndexBuilder): rows and entries in its order.
pub struct Merged<'a, B, R: ?Sized> {
    layers: Vec<&'a Index<B>>,
    overlay: Option<&'a Overlay>,
    target: FileKind,
    keys: &'a R,
    rows: Vec<RunRow>,
}

/// Joins layers, newest first, below an overlay. With target `Base` the layers must be all there are;
/// with `Delta` something older may lie below them, so `replaces` is kept where it may point there.
///
/// # Errors
/// `BadInput` for layers that do not follow each other; `Damaged`.
pub fn merge<'a, B: AsRef<[u8]>, R: RecordKeys + ?Sized>(
    layers: &[&'a Index<B>],
    overlay: Option<&'a Overlay>,
    target: FileKind,
    keys: &'a R,
) -> Result<Merged<'a, B, R>> {
    check_layers(layers, overlay, target)?;
    let mut rows: BTreeMap<RunKey, RunRow> = BTreeMap::new();
    for layer in layers.iter().rev() {
        for row in layer.runs() {
            let row = row?;
            rows.insert(row.run, row);
        }
    }
    rows.extend(overlay.into_iter().flat_map(Overlay::runs).map(|row| (row.run, *row)));
    let rows = rows.into_values().collect();
    Ok(Merged { layers: layers.to_vec(), overlay, target, keys, rows })
}

impl<B: AsRef<[u8]>, R: RecordKeys + ?Sized> Merged<'_, B, R> {
    /// Returns the rows, ascending by run.
    pub fn rows(&self) -> &[RunRow] {
        &self.rows
    }

    /// Returns a number of entries that there are not more of.
    pub fn len_max(&self) -> u64 {
        let in_files = self.layers.iter().map(|layer| u64::from(layer.counts().entries));
        let in_memory = u64::try_from(self.overlay.map_or(0, Overlay::len)).unwrap_or(u64::MAX);
        in_files.fold(in_memory, u64::saturating_add)
    }

    /// Joins the entries run by run, ascending by run, hash and location: no memory but for one hash. Keys of records are
    /// read only where hashes do not settle which entry supersedes which.
    ///
    /// An error is the last item: `Damaged`, also where an index file is not in order; errors of `keys`.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry>> + '_ {
        let mut before = None;
        let mut ended = false;
        let entries = self.rows.iter().flat_map(|row| self.entries_of(row.run));
        entries.map_while(move |entry| {
            let entry = entry.and_then(|entry| match before.replace(entry.order()) {
                Some(before) if before >= entry.order() => Err(self.disorder()),
                _ => Ok(entry),
            });
            (!std::mem::replace(&mut ended, entry.is_err())).then_some(entry)
        })
    }

    fn entries_of(&self, run: RunKey) -> Box<dyn Iterator<Item = Result<Entry>> + '_> {
        match RunMerge::new(&self.layers, self.overlay, run, 0, self.target, self.keys) {
            Ok(entries) => Box::new(entries),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn disorder(&self) -> Error {
        let name = self.layers.first().map_or("index", |layer| layer.name());
        Error::damaged(Place::whole(name), Damage::Index { what: "order of entries" })
    }
}

impl<B, R: ?Sized> fmt::Debug for Merged<'_, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merged")
            .field("target", &self.target)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

fn check_layers<B: AsRef<[u8]>>(
    layers: &[&Index<B>],
    overlay: Option<&Overlay>,
    target: FileKind,
) -> Result<()> {
    let refuse = |name: &str, reason: &str| {
        Err(Error::BadInput { what: format!("index layer {name}"), reason: reason.into() })
    };
    let seed = overlay.map(Overlay::seed).or_else(|| layers.first().map(|layer| layer.seed()));
    for (position, layer) in layers.iter().enumerate() {
        if Some(layer.seed()) != seed {
            let damage = Damage::Index { what: "hash seed" };
            return Err(Error::damaged(Place::whole(layer.name()), damage));
        }
        let older = layers.get(position.saturating_add(1));
        match (layer.follows(), older, target) {
            (None, Some(_), _) => return refuse(layer.name(), "a base is not the oldest layer"),
            (None, None, FileKind::Delta) => return refuse(layer.name(), "a base does not make a delta"),
            (Some(_), None, FileKind::Base) => return refuse(layer.name(), "its base is not given"),
            (Some((_, previous)), Some(older), _) if previous != older.covered().commit => {
                return refuse(layer.name(), "does not follow the layer after it");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The entries of one run over several layers, in the order of an index; each key once, its newest record,
/// tombstones too. An error is the last item.
pub struct RunMerge<'a, B, R: ?Sized> {
    sources: Vec<Source<'a, B>>,
    target: FileKind,
    keys: &'a R,
    ready: VecDeque<Entry>,
    /// Entries of one hash, newest layer first; kept for its memory.
    group: Vec<Item>,
}

/// An entry of one layer.
#[derive(Clone, Copy, Debug)]
struct Item {
    /// 0 for the newest layer.
    age: usize,
    entry: Entry,
    /// The object, where the layer knows it.
    object: Option<ObjectKey>,
}

struct Source<'a, B> {
    entries: Layered<'a, B>,
    head: Item,
}

enum Layered<'a, B> {
    File(Entries<'a, B>),
    Overlay(Box<dyn Iterator<Item = (Entry, ObjectKey)> + 'a>),
}

impl<B: AsRef<[u8]>> Layered<'_, B> {
    fn next(&mut self, age: usize) -> Result<Option<Item>> {
        match self {
            Layered::File(entries) => {
                Ok(entries.next().transpose()?.map(|entry| Item { age, entry, object: None }))
            }
            Layered::Overlay(entries) => {
                Ok(entries.next().map(|(entry, object)| Item { age, entry, object: Some(object) }))
            }
        }
    }
}

impl<'a, B: AsRef<[u8]>, R: RecordKeys + ?Sized> RunMerge<'a, B, R> {
    /// Lists a run over layers, newest first, below an overlay, from the first entry on whose hash is at
    /// least `from_hash`. `target` as for [`merge`]; it is `Base` where all layers of a store are given.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn new(
        layers: &[&'a Index<B>],
        overlay: Option<&'a Overlay>,
        run: RunKey,
        from_hash: u64,
        target: FileKind,
        keys: &'a R,
    ) -> Result<RunMerge<'a, B, R>> {
        let mut merge =
            RunMerge { sources: Vec::new(), target, keys, ready: VecDeque::new(), group: Vec::new() };
        if let Some(overlay) = overlay {
            merge.add(Layered::Overlay(Box::new(overlay.entries_of_from(run, from_hash))), 0)?;
        }
        for (layer, age) in layers.iter().zip(1..) {
            merge.add(Layered::File(layer.entries_of_from(run, from_hash)?), age)?;
        }
        Ok(merge)
    }

    fn add(&mut self, mut entries: Layered<'a, B>, age: usize) -> Result<()> {
        if let Some(head) = entries.next(age)? {
            self.sources.push(Source { entries, head });
        }
        Ok(())
    }

    /// Makes ready what remains of the next hash. False at the end.
    fn advance(&mut self) -> Result<bool> {
        let Some(hash) = self.sources.iter().map(|source| source.head.entry.hash).min() else {
            return Ok(false);
        };
        self.group.clear();
        let mut ended = false;
        for source in &mut self.sources {
            while source.head.entry.hash == hash {
                self.group.push(source.head);
                let Some(head) = source.entries.next(source.head.age)? else {
                    source.head.age = usize::MAX;
                    ended = true;
                    break;
                };
                source.head = head;
            }
        }
        if ended {
            self.sources.retain(|source| source.head.age != usize::MAX);
        }
        resolve(&mut self.group, self.target, self.keys)?;
        self.ready.extend(self.group.iter().map(|item| item.entry));
        Ok(true)
    }
}

impl<B: AsRef<[u8]>, R: RecordKeys + ?Sized> Iterator for RunMerge<'_, B, R> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.sources.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl<B, R: ?Sized> fmt::Debug for RunMerge<'_, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunMerge").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Leaves of the entries of one run and hash, newest layer first, those that are not superseded, by location.
fn resolve<R: RecordKeys + ?Sized>(group: &mut Vec<Item>, target: FileKind, keys: &R) -> Result<()> {
    if group.len() > 1 && group.iter().any(|item| item.entry.flags.replaces) {
        if target == FileKind::Base && is_chain(group) {
            group.truncate(1);
        } else {
            resolve_by_key(group, keys)?;
        }
    }
    if target == FileKind::Base {
        for item in group.iter_mut() {
            item.entry.flags.replaces = false;
        }
    }
    group.sort_unstable_by_key(|item| item.entry.at);
    Ok(())
}

/// Tells whether each entry certainly supersedes the next: all but the oldest say that they supersede one
/// of the same object and run, there is one a layer, and no layer is left out. For the second-oldest there
/// is but one that it can mean, so both are of one object; and so on upwards.
fn is_chain(group: &[Item]) -> bool {
    group
        .iter()
        .zip(group.iter().skip(1))
        .all(|(newer, older)| newer.age < older.age && newer.entry.flags.replaces)
}

/// Decides by the keys of the records. One that cannot be read is of the object that all others are of, if it says that it
/// supersedes one, or a newer one says so: to keep both would let the older one answer where the newest cannot be read. If
/// there are several objects of that hash it stays, as it may be anybody's.
fn resolve_by_key<R: RecordKeys + ?Sized>(group: &mut Vec<Item>, keys: &R) -> Result<()> {
    for item in group.iter_mut().filter(|item| item.object.is_none()) {
        item.object = keys.key_at(item.entry.at)?.map(|key| key.object);
    }
    let mut objects = group.iter().filter_map(|item| item.object);
    let first = objects.next();
    let is_one = objects.all(|object| Some(object) == first);
    let mut kept: Vec<Item> = Vec::with_capacity(group.len());
    for item in group.iter() {
        let is_same = |newer: &Item| match (newer.object, item.object) {
            (Some(newer), Some(older)) => newer == older,
            _ => is_one && newer.entry.flags.replaces,
        };
        let newer = kept.iter_mut().find(|newer| newer.age < item.age && is_same(newer));
        match newer {
            // The newer one now stands for this one too: it replaces what this one replaces.
            Some(newer) => {
                newer.entry.flags.replaces = item.entry.flags.replaces;
                newer.object = newer.object.or(item.object);
            }
            None => kept.push(*item),
        }
    }
    *group = kept;
    Ok(())
}
