//! What a restore sees of a store, and how a [`View`] shows it.
//!
//! The resolver works against [`Source`] only, so that tests can put a model in the place of a store.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::{Damage, Error, Place, Result};
use crate::id::{Instant, RunKey};
use crate::snapshot::codec::MetaObject;
use crate::snapshot::{Meta, RefClass, bundle};
use crate::store::{RunInfo, Snapshot, View};

/// One object: its id, and the ids that it refers to, ascending, each once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Item {
    pub(super) id: Vec<u8>,
    pub(super) references: Vec<Vec<u8>>,
}

/// One file of a run: its name, its length in bytes, its objects in file order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct File {
    pub(super) name: Vec<u8>,
    pub(super) len: u64,
    pub(super) items: Vec<Item>,
}

/// What a reference leads to: one object of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) run: RunKey,
    pub(super) name: Vec<u8>,
    /// Which object of the file: the first where the file is named like the id, else the one with the id.
    pub(super) object: u32,
    pub(super) item: Item,
}

/// One file as a tree holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TreeFile<'a> {
    pub(super) name: &'a [u8],
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) bytes: &'a [u8],
}

/// The lookups and reads of a restore. An error for which [`Error::is_damage`] holds costs the snapshot in
/// question; any other one ends the restore. A visitor's error ends the visit and is returned.
pub(super) trait Source {
    /// All runs, ascending by key.
    fn runs(&self) -> &[RunInfo];

    /// Visits the files of a run, in any order.
    fn files(&self, run: RunKey, each: &mut dyn FnMut(Result<File>) -> Result<()>) -> Result<()>;

    /// The closest snapshot of `id` in a run whose instant is strictly later.
    fn later(&self, id: &[u8], after: Instant) -> Result<Option<Target>>;

    /// The closest snapshot of `id` in a run whose instant is the same or earlier.
    fn earlier(&self, id: &[u8], at: Instant) -> Result<Option<Target>>;

    /// The newest run with a snapshot of `id` whose key is at most `until`.
    fn newest(&self, id: &[u8], until: RunKey) -> Result<Option<RunKey>>;

    /// Tells whether any run has a snapshot of `id`, readable or not.
    fn exists(&self, id: &[u8]) -> Result<bool>;

    /// Visits the JSON texts of a file's objects with their numbers, in file order. All of them are known
    /// to be readable before the first is visited.
    fn texts(&self, name: &[u8], run: RunKey, each: &mut dyn FnMut(u32, &[u8]) -> Result<()>) -> Result<()>;

    /// Visits the files of a run with their bytes, in any order.
    fn bodies(&self, run: RunKey, each: &mut dyn FnMut(Result<TreeFile<'_>>) -> Result<()>) -> Result<()>;
}

/// The directory name of a run; the canonical one if the store lost it.
pub(super) fn name_of(runs: &[RunInfo], key: RunKey) -> Cow<'_, str> {
    let found = runs.binary_search_by_key(&key, |run| run.key).ok().and_then(|at| runs.get(at));
    found.map_or_else(|| Cow::Owned(key.instant().canonical_name()), |run| Cow::Borrowed(run.name.as_str()))
}

/// A view as a source. Holds the list of runs.
pub(super) struct Stored<'v> {
    view: &'v View,
    runs: Vec<RunInfo>,
    extension_refs: bool,
}

impl<'v> Stored<'v> {
    /// Reads the list of runs. `extension_refs`: references in extensions count as references.
    pub(super) fn new(view: &'v View, extension_refs: bool) -> Result<Stored<'v>> {
        Ok(Stored { view, runs: view.runs()?, extension_refs })
    }

    fn follows(&self, class: RefClass) -> bool {
        match class {
            RefClass::Top => true,
            RefClass::Custom => false,
            RefClass::Extension => self.extension_refs,
        }
    }

    /// Reads an object's references out of its file's bytes, at the recorded positions.
    fn references(&self, snapshot: &Snapshot<'_>, body: &[u8], object: &MetaObject) -> Result<Vec<Vec<u8>>> {
        let mut references = Vec::new();
        for (_, offset) in object.refs.iter().filter(|(class, _)| self.follows(*class)) {
            let text = bundle::string_at(body, *offset)
                .ok_or_else(|| undecodable(snapshot, "reference", format!("no string at {offset}")))?;
            references.push(text.into_owned());
        }
        references.sort_unstable();
        references.dedup();
        Ok(references)
    }

    fn file(&self, snapshot: &Snapshot<'_>) -> Result<File> {
        let meta = meta_of(snapshot)?;
        let name = snapshot.name();
        let body = snapshot.body()?;
        let items = meta.objects.iter().map(|object| {
            let references = self.references(snapshot, &body, object)?;
            Ok(Item { id: id_of(object, &name).to_vec(), references })
        });
        let items = items.collect::<Result<Vec<_>>>()?;
        Ok(File { name: name.into_owned(), len: snapshot.len(), items })
    }

    fn target(&self, id: &[u8], snapshot: &Snapshot<'_>) -> Result<Target> {
        let meta = meta_of(snapshot)?;
        let name = snapshot.name();
        let found = meta.objects.iter().position(|object| *name == *id || id_of(object, &name) == id);
        let object = found.and_then(|at| meta.objects.get(at).zip(u32::try_from(at).ok()));
        let Some((object, number)) = object else {
            let reason = format!("the file holds no {:?}", String::from_utf8_lossy(id));
            return Err(undecodable(snapshot, "alias", reason));
        };
        let references = self.references(snapshot, &snapshot.body()?, object)?;
        let item = Item { id: id_of(object, &name).to_vec(), references };
        Ok(Target { run: snapshot.run(), name: name.into_owned(), object: number, item })
    }
}

impl Source for Stored<'_> {
    fn runs(&self) -> &[RunInfo] {
        &self.runs
    }

    fn files(&self, run: RunKey, each: &mut dyn FnMut(Result<File>) -> Result<()>) -> Result<()> {
        self.view.iter_run(run)?.try_for_each(|item| each(item.and_then(|snapshot| self.file(&snapshot))))
    }

    fn later(&self, id: &[u8], after: Instant) -> Result<Option<Target>> {
        self.view.closest_after(id, after)?.map(|snapshot| self.target(id, &snapshot)).transpose()
    }

    fn earlier(&self, id: &[u8], at: Instant) -> Result<Option<Target>> {
        self.view.at_or_before(id, at)?.map(|snapshot| self.target(id, &snapshot)).transpose()
    }

    fn newest(&self, id: &[u8], until: RunKey) -> Result<Option<RunKey>> {
        let Some(snapshot) = self.view.at_or_before(id, until.instant())? else { return Ok(None) };
        if snapshot.run() <= until {
            return Ok(Some(snapshot.run()));
        }
        // A further directory name of the same instant holds it too: rare enough to read them all.
        let mut newest = None;
        for snapshot in self.view.history(id)? {
            match snapshot {
                Ok(snapshot) if snapshot.run() <= until => newest = newest.max(Some(snapshot.run())),
                Ok(_) => {}
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(newest)
    }

    fn exists(&self, id: &[u8]) -> Result<bool> {
        match self.view.latest(id) {
            Ok(found) => Ok(found.is_some()),
            Err(error) if error.is_damage() => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn texts(&self, name: &[u8], run: RunKey, each: &mut dyn FnMut(u32, &[u8]) -> Result<()>) -> Result<()> {
        let Some(snapshot) = self.view.record(name, run)? else {
            let damage = Damage::Index { what: "a snapshot that its run lists is not found by its name" };
            return Err(Error::damaged(Place::whole("index"), damage));
        };
        let meta = meta_of(&snapshot)?;
        let body = snapshot.body()?;
        let texts = meta.objects.iter().map(|object| {
            slice(&body, &object.range)
                .ok_or_else(|| undecodable(&snapshot, "object", "it lies outside of its file".to_owned()))
        });
        let texts = texts.collect::<Result<Vec<_>>>()?;
        (0..).zip(texts).try_for_each(|(number, text)| each(number, text))
    }

    fn bodies(&self, run: RunKey, each: &mut dyn FnMut(Result<TreeFile<'_>>) -> Result<()>) -> Result<()> {
        for item in self.view.iter_run(run)? {
            match item.and_then(|snapshot| Ok((meta_of(&snapshot)?.mtime, snapshot))) {
                Ok((mtime, snapshot)) => match snapshot.body() {
                    Ok(bytes) => each(Ok(TreeFile { name: &snapshot.name(), mtime, bytes: &bytes }))?,
                    Err(error) => each(Err(error))?,
                },
                Err(error) => each(Err(error))?,
            }
        }
        Ok(())
    }
}

fn id_of<'a>(object: &'a MetaObject, name: &'a [u8]) -> &'a [u8] {
    object.id.as_deref().unwrap_or(name)
}

fn meta_of(snapshot: &Snapshot<'_>) -> Result<Meta> {
    Meta::decode(snapshot.meta(), snapshot.object_range())
        .map_err(|reason| undecodable(snapshot, "meta", reason))
}

fn slice<'a>(body: &'a [u8], range: &Range<u32>) -> Option<&'a [u8]> {
    body.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

fn undecodable(snapshot: &Snapshot<'_>, what: &'static str, reason: String) -> Error {
    let location = snapshot.location();
    let place = Place::at(format!("data/{}.seg", location.segment), u64::from(location.offset));
    Error::damaged(place, Damage::Content { what, reason })
}
