//! A view of a store as the source of a restore.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::error::{Damage, Error, Place, Result};
use crate::id::{Instant, ObjectKey, RunKey};
use crate::snapshot::codec::MetaObject;
use crate::snapshot::{Meta, RefClass, attachment, bundle};
use crate::store::{RunInfo, Snapshot, View};

use super::lookup::{Detail, File, Item, Part, Source, Target, TreeFile};
use super::options::Filter;

/// A view as a source. Holds the list of runs.
pub(super) struct Stored<'v> {
    view: &'v View,
    runs: Vec<RunInfo>,
    detail: Detail,
}

impl<'v> Stored<'v> {
    /// Reads the list of runs.
    pub(super) fn new(view: &'v View, detail: Detail) -> Result<Stored<'v>> {
        Ok(Stored { view, runs: view.runs()?, detail })
    }

    fn follows(&self, class: RefClass) -> bool {
        match class {
            RefClass::Top => true,
            RefClass::Custom => false,
            RefClass::Extension => self.detail.extension_refs,
        }
    }

    /// Reads what is to be known of an object out of its file's bytes, references at the recorded positions.
    fn item(&self, snapshot: &Snapshot<'_>, body: &[u8], object: &MetaObject) -> Result<Item> {
        let mut references = Vec::new();
        let mut part =
            Part { len: u64::from(object.range.end.saturating_sub(object.range.start)), ..Part::default() };
        for (class, offset) in &object.refs {
            let follows = self.follows(*class);
            let needs = self.detail.needs && (follows || *class == RefClass::Custom);
            if !follows && !needs {
                continue;
            }
            let text = bundle::string_at(body, *offset)
                .ok_or_else(|| undecodable(snapshot, "reference", format!("no string at {offset}")))?;
            if needs {
                part.needs.push(ObjectKey::of(&text));
            }
            if follows {
                references.push(text.into_owned());
            }
        }
        references.sort_unstable();
        references.dedup();
        if self.detail.lacks {
            part.lacks = attachment::missing(slice(body, &object.range).unwrap_or_default());
        }
        Ok(Item { id: id_of(object, &snapshot.name()).to_vec(), references, part })
    }

    /// The objects of a file; their references only if the filter takes one of them.
    fn file(&self, snapshot: &Snapshot<'_>, filter: &Filter) -> Result<Option<File>> {
        let name = snapshot.name().into_owned();
        let changed = filter.takes_commit(snapshot.first_commit());
        let meta = meta_of(snapshot)?;
        if !takes(filter, &meta, &name) {
            return Ok(None);
        }
        let items: Result<Vec<Item>> = if changed {
            let body = snapshot.body()?;
            meta.objects.iter().map(|object| self.item(snapshot, &body, object)).collect()
        } else {
            let bare = |object| Item {
                id: id_of(object, &name).to_vec(),
                references: Vec::new(),
                part: Part::default(),
            };
            Ok(meta.objects.iter().map(bare).collect())
        };
        Ok(Some(File { len: snapshot.len(), changed, items: items?, name }))
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
        let item = self.item(snapshot, &snapshot.body()?, object)?;
        Ok(Target { run: snapshot.run(), name: name.into_owned(), object: number, item })
    }

    /// The snapshots of a run that a filter may take: all, or where that is less work those of the ids it names.
    fn visit(
        &self,
        run: RunKey,
        filter: &Filter,
        each: &mut dyn FnMut(Result<Snapshot<'_>>) -> Result<()>,
    ) -> Result<()> {
        let at = self.runs.binary_search_by_key(&run, |info| info.key).ok();
        let count = at.and_then(|at| self.runs.get(at)).map_or(0, |info| info.snapshots);
        let few = filter.ids.as_ref().filter(|ids| u64::try_from(ids.len()).is_ok_and(|len| len < count));
        let Some(ids) = few else { return self.view.iter_run(run)?.try_for_each(each) };
        let mut seen = BTreeSet::new();
        for id in ids {
            match self.view.get(id, run).transpose() {
                None => {}
                Some(Ok(snapshot)) if !seen.insert(snapshot.name().into_owned()) => {}
                Some(found) => each(found)?,
            }
        }
        Ok(())
    }
}

impl Source for Stored<'_> {
    fn runs(&self) -> &[RunInfo] {
        &self.runs
    }

    fn files(
        &self,
        run: RunKey,
        filter: &Filter,
        each: &mut dyn FnMut(Result<File>) -> Result<()>,
    ) -> Result<()> {
        self.visit(run, filter, &mut |item| {
            let file = item.and_then(|snapshot| self.file(&snapshot, filter));
            file.transpose().map_or(Ok(()), &mut *each)
        })
    }

    fn within(&self, id: &[u8], run: RunKey) -> Result<Option<Target>> {
        self.view.get(id, run)?.map(|snapshot| self.target(id, &snapshot)).transpose()
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

    fn bodies(
        &self,
        run: RunKey,
        filter: &Filter,
        each: &mut dyn FnMut(Result<TreeFile<'_>>) -> Result<()>,
    ) -> Result<()> {
        self.visit(run, filter, &mut |item| {
            let found = item.and_then(|snapshot| Ok((meta_of(&snapshot)?, snapshot)));
            let (meta, snapshot) = match found {
                Ok(found) => found,
                Err(error) => return each(Err(error)),
            };
            let name = snapshot.name();
            if !filter.takes_commit(snapshot.first_commit()) || !takes(filter, &meta, &name) {
                return Ok(());
            }
            match snapshot.body() {
                Ok(bytes) => each(Ok(TreeFile { name: &name, mtime: meta.mtime, bytes: &bytes })),
                Err(error) => each(Err(error)),
            }
        })
    }
}

/// Tells whether a filter takes one of a file's objects, as far as ids and the name tell.
fn takes(filter: &Filter, meta: &Meta, name: &[u8]) -> bool {
    (0..).zip(&meta.objects).any(|(number, object)| filter.takes_object(id_of(object, name), name, number))
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
