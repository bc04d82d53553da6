//! A view of a store as the source of a restore.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use crate::error::{Damage, Error, Place, Result};
use crate::id::{Key, Location, ObjectKey, RunKey};
use crate::snapshot::codec::MetaObject;
use crate::snapshot::{Meta, RefClass, attachment, bundle};
use crate::store::{Bound, Lead, RunInfo, Snapshot, View};

use super::carried::CarriedRun;
use super::keys::Id;
use super::known::{Answer, Known};
use super::lookup::{Body, Detail, File, FileAt, Found, Item, Part, Source, Target, TreeFile};
use super::opened::{OpenedFile, OpenedFiles};
use super::options::Filter;

/// A view as a source. Holds the list of runs.
pub(super) struct Stored<'v> {
    view: &'v View,
    runs: Vec<RunInfo>,
    detail: Detail,
    /// Bytes of texts that may still be kept of this run.
    room: Cell<u64>,
    opened: RefCell<OpenedFiles>,
    known: RefCell<Known>,
}

impl<'v> Stored<'v> {
    /// Reads the list of runs.
    pub(super) fn new(view: &'v View, detail: Detail) -> Result<Stored<'v>> {
        let (room, opened, known) = Default::default();
        Ok(Stored { view, runs: view.runs()?, detail, room, opened, known })
    }

    fn follows(&self, class: RefClass) -> bool {
        match class {
            RefClass::Top => true,
            RefClass::Custom => false,
            RefClass::Extension => self.detail.extension_refs,
        }
    }

    /// Reads what is to be known of an object out of its file's bytes, references at the recorded positions.
    fn item(&self, (at, name): (Location, &Id), body: &[u8], object: &MetaObject) -> Result<Item> {
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
                .ok_or_else(|| undecodable(at, "reference", format!("no string at {offset}")))?;
            let key = ObjectKey::of(&text);
            if needs {
                part.needs.push(key);
            }
            if follows {
                references.push(Id { bytes: text.into(), key });
            }
        }
        references.sort_unstable();
        references.dedup();
        if self.detail.lacks {
            part.lacks = attachment::missing(slice(body, &object.range).unwrap_or_default());
        }
        let id = object.id.as_deref().map_or_else(|| name.clone(), Id::of);
        Ok(Item { id, references: references.into(), part, text: None })
    }

    /// Takes room for a text of this run, if there is any.
    fn make_room(&self, len: u64) -> Option<()> {
        self.room.set(self.room.get().checked_sub(len)?);
        Some(())
    }

    /// Keeps an object's text, if there is room.
    fn keep(&self, item: &mut Item, body: &[u8], range: &Range<u32>) {
        item.text = self.make_room(item.part.len).and_then(|()| Some(slice(body, range)?.into()));
    }

    /// The objects of a file; their references only if the filter takes one of them.
    fn file(&self, snapshot: &Snapshot<'_>, filter: &Filter) -> Result<Option<File>> {
        let (at, name) = (snapshot.location(), Id::of(&snapshot.name()));
        let changed = filter.takes_commit(snapshot.first_commit());
        let meta = meta_of(snapshot)?;
        if !takes(filter, &meta, &name.bytes) {
            return Ok(None);
        }
        let items: Result<Vec<Item>> = if changed {
            let body = snapshot.body()?;
            let kept = |object: &MetaObject| {
                let mut item = self.item((at, &name), &body, object)?;
                self.keep(&mut item, &body, &object.range);
                Ok(item)
            };
            meta.objects.iter().map(kept).collect()
        } else {
            let bare = |object: &MetaObject| Item {
                id: object.id.as_deref().map_or_else(|| name.clone(), Id::of),
                references: Rc::default(),
                part: Part::default(),
                text: None,
            };
            Ok(meta.objects.iter().map(bare).collect())
        };
        Ok(Some(File { at, len: snapshot.len(), changed, items: items?, name }))
    }

    fn target(&self, id: &Id, snapshot: &Snapshot<'_>) -> Result<Found> {
        let meta = meta_of(snapshot)?;
        let at = snapshot.location();
        let name = snapshot.name();
        let name = if *name == *id.bytes { id.clone() } else { Id::of(&name) };
        let is_it = |object: &MetaObject| name == *id || id_of(object, &name.bytes) == &*id.bytes;
        let found = meta.objects.iter().position(is_it);
        let object = found.and_then(|at| meta.objects.get(at).zip(u32::try_from(at).ok()));
        let Some((object, number)) = object else {
            return Err(no_object(at, &id.bytes));
        };
        let body = snapshot.body()?;
        let mut item = self.item((at, &name), &body, object)?;
        self.keep(&mut item, &body, &object.range);
        let text = item.text.take();
        let target = Target::of((snapshot.run(), name, at), (number, meta.objects.len()), item);
        Ok(Found { target: Rc::new(target), text })
    }

    /// What the store answers.
    fn look_up(&self, id: &Id, bound: Bound) -> Result<Option<Found>> {
        match self.view.lead(&id.bytes, bound)? {
            None => Ok(None),
            Some(lead) => self.arrive(id, &lead).map(Some),
        }
    }

    /// Reads what a lookup led to.
    fn arrive(&self, id: &Id, lead: &Lead<'_>) -> Result<Found> {
        match lead {
            Lead::Read(snapshot) => self.target(id, snapshot),
            Lead::Long(at, key) => {
                let found = self.open(*at, key)?.target(id);
                found.ok_or_else(|| no_object(*at, &id.bytes))
            }
        }
    }

    /// What is known of a long file. It is read once, and again only where too many others came between.
    fn open(&self, at: Location, key: &Key) -> Result<Rc<OpenedFile>> {
        if let Some(known) = self.opened.borrow().get(at) {
            return known;
        }
        let read = || {
            let snapshot = self.view.snapshot_at(at, key)?;
            let meta = meta_of(&snapshot)?;
            let body = snapshot.body()?;
            let name = Id::of(&snapshot.name());
            let items = meta.objects.iter().map(|object| self.item((at, &name), &body, object));
            Ok(OpenedFile::new(key.run, &name, at, items.collect::<Result<_>>()?))
        };
        let opened = read();
        self.opened.borrow_mut().keep(at, opened)
    }

    /// The snapshots of a run that a filter may take: all, or where that is less work those of the ids it names.
    fn visit(
        &self,
        run: RunKey,
        filter: &Filter,
        skips: &dyn Fn(Location) -> bool,
        each: &mut dyn FnMut(Result<Snapshot<'_>>) -> Result<()>,
    ) -> Result<()> {
        let at = self.runs.binary_search_by_key(&run, |info| info.key).ok();
        let count = at.and_then(|at| self.runs.get(at)).map_or(0, |info| info.snapshots);
        let few = filter.ids.as_ref().filter(|ids| u64::try_from(ids.len()).is_ok_and(|len| len < count));
        let Some(ids) = few else { return self.view.iter_run_as_logged(run, skips)?.try_for_each(each) };
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
        carried: &CarriedRun,
        each: &mut dyn FnMut(Result<File>) -> Result<()>,
    ) -> Result<()> {
        self.room.set(self.detail.texts);
        self.visit(run, filter, &|at| carried.is_whole(at), &mut |item| {
            let file = item.and_then(|snapshot| self.file(&snapshot, filter));
            file.transpose().map_or(Ok(()), &mut *each)
        })
    }

    fn find(&self, id: &Id, bound: Bound) -> Result<Option<Found>> {
        let Bound::AtLeast(min) = bound else { return self.look_up(id, bound) };
        if let Some(Answer(mut known)) = self.known.borrow_mut().later(id, min) {
            if let Some(found) = &mut known {
                found.text = found.text.take().filter(|_| self.make_room(found.target.part.len).is_some());
            }
            return Ok(known);
        }
        let found = self.look_up(id, bound)?;
        self.known.borrow_mut().keep_later(id, min, found.clone());
        Ok(found)
    }

    fn newest(&self, id: &Id, max: RunKey) -> Result<Option<RunKey>> {
        if let Some(Answer(known)) = self.known.borrow_mut().newest(id, max) {
            return Ok(known);
        }
        let around = self.view.around(&id.bytes, max)?;
        if let Some(Lead::Long(at, key)) = &around.newest {
            self.open(*at, key)?;
        }
        let newest = around.newest.map(|lead| lead.run());
        self.known.borrow_mut().keep_newest(id, max, around.next, newest);
        // What is wrong with it is told where it is asked for.
        if let (Some(later), Some(min)) = (around.later, max.next())
            && let Ok(found) = self.arrive(id, &later)
        {
            self.known.borrow_mut().keep_later(id, min, Some(found));
        }
        Ok(newest)
    }

    fn exists(&self, id: &Id) -> Result<bool> {
        if let Some(Answer(known)) = self.known.borrow_mut().newest(id, RunKey::MAX) {
            return Ok(known.is_some());
        }
        match self.view.lead(&id.bytes, Bound::AtMost(RunKey::MAX)) {
            Ok(found) => {
                let run = found.map(|lead| lead.run());
                self.known.borrow_mut().keep_newest(id, RunKey::MAX, None, run);
                Ok(run.is_some())
            }
            Err(error) if error.is_damage() => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn body(&self, file: &FileAt<'_>) -> Result<Body> {
        let snapshot = self.view.snapshot_at(file.at, &Key::new(file.name.key, file.run))?;
        let meta = meta_of(&snapshot)?;
        let outside = || undecodable(file.at, "object", "it lies outside of its file".to_owned());
        let bytes = snapshot.into_body()?;
        let ranges = meta.objects.iter().map(|object| range_in(&bytes, &object.range).ok_or_else(outside));
        Ok(Body { objects: ranges.collect::<Result<_>>()?, bytes })
    }

    fn bodies(
        &self,
        run: RunKey,
        filter: &Filter,
        each: &mut dyn FnMut(Result<TreeFile<'_>>) -> Result<()>,
    ) -> Result<()> {
        self.visit(run, filter, &|_| false, &mut |item| {
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
        .map_err(|reason| undecodable(snapshot.location(), "meta", reason))
}

fn slice<'a>(body: &'a [u8], range: &Range<u32>) -> Option<&'a [u8]> {
    body.get(range_in(body, range)?)
}

fn range_in(body: &[u8], range: &Range<u32>) -> Option<Range<usize>> {
    let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    (start <= end && end <= body.len()).then_some(start..end)
}

fn no_object(at: Location, id: &[u8]) -> Error {
    let reason = format!("the file holds no {:?}", String::from_utf8_lossy(id));
    undecodable(at, "alias", reason)
}

fn undecodable(at: Location, what: &'static str, reason: String) -> Error {
    let place = Place::at(format!("data/{}.seg", at.segment), at.offset.into());
    Error::damaged(place, Damage::Content { what, reason })
}
