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

use super::lookup::{Body, Detail, File, FileAt, Item, Part, Source, Target, TreeFile};
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
}

impl<'v> Stored<'v> {
    /// Reads the list of runs.
    pub(super) fn new(view: &'v View, detail: Detail) -> Result<Stored<'v>> {
        let (room, opened) = (Cell::default(), RefCell::default());
        Ok(Stored { view, runs: view.runs()?, detail, room, opened })
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
            let text = bundle::string_at(body, *offset).ok_or_else(|| {
                undecodable(snapshot.location(), "reference", format!("no string at {offset}"))
            })?;
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

    /// Keeps an object's text, if there is room.
    fn keep(&self, item: &mut Item, body: &[u8], range: &Range<u32>) {
        if let Some(left) = self.room.get().checked_sub(item.part.len)
            && let Some(text) = slice(body, range)
        {
            self.room.set(left);
            item.part.text = Some(text.into());
        }
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
            let kept = |object: &MetaObject| {
                let mut item = self.item(snapshot, &body, object)?;
                self.keep(&mut item, &body, &object.range);
                Ok(item)
            };
            meta.objects.iter().map(kept).collect()
        } else {
            let bare = |object| Item {
                id: id_of(object, &name).to_vec(),
                references: Vec::new(),
                part: Part::default(),
            };
            Ok(meta.objects.iter().map(bare).collect())
        };
        Ok(Some(File { at: snapshot.location(), len: snapshot.len(), changed, items: items?, name }))
    }

    fn target(&self, id: &[u8], snapshot: &Snapshot<'_>) -> Result<Target> {
        let meta = meta_of(snapshot)?;
        let name = snapshot.name();
        let found = meta.objects.iter().position(|object| *name == *id || id_of(object, &name) == id);
        let object = found.and_then(|at| meta.objects.get(at).zip(u32::try_from(at).ok()));
        let Some((object, number)) = object else {
            return Err(no_object(snapshot.location(), id));
        };
        let body = snapshot.body()?;
        let mut item = self.item(snapshot, &body, object)?;
        self.keep(&mut item, &body, &object.range);
        let (run, at) = (snapshot.run(), snapshot.location());
        Ok(Target { run, name: name.into_owned(), at, object: number, item })
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
            let items = meta.objects.iter().map(|object| self.item(&snapshot, &body, object));
            let name = snapshot.name().into_owned();
            Ok(OpenedFile::new(key.run, name, at, items.collect::<Result<_>>()?))
        };
        let opened = read();
        self.opened.borrow_mut().keep(at, opened)
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
        let Some(ids) = few else { return self.view.iter_run_as_logged(run)?.try_for_each(each) };
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
        self.room.set(self.detail.texts);
        self.visit(run, filter, &mut |item| {
            let file = item.and_then(|snapshot| self.file(&snapshot, filter));
            file.transpose().map_or(Ok(()), &mut *each)
        })
    }

    fn find(&self, id: &[u8], bound: Bound) -> Result<Option<Target>> {
        match self.view.lead(id, bound)? {
            None => Ok(None),
            Some(Lead::Read(snapshot)) => self.target(id, &snapshot).map(Some),
            Some(Lead::Long(at, key)) => match self.open(at, &key)?.target(id) {
                Some(target) => Ok(Some(target)),
                None => Err(no_object(at, id)),
            },
        }
    }

    fn run_of(&self, id: &[u8], bound: Bound) -> Result<Option<RunKey>> {
        let Some(lead) = self.view.lead(id, bound)? else { return Ok(None) };
        if let Lead::Long(at, key) = &lead {
            self.open(*at, key)?;
        }
        Ok(Some(lead.run()))
    }

    fn exists(&self, id: &[u8]) -> Result<bool> {
        match self.view.lead(id, Bound::AtMost(RunKey::MAX)) {
            Ok(found) => Ok(found.is_some()),
            Err(error) if error.is_damage() => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn body(&self, file: &FileAt<'_>) -> Result<Body> {
        let snapshot = self.view.snapshot_at(file.at, &Key::new(ObjectKey::of(file.name), file.run))?;
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
