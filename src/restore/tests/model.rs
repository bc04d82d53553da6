//! A store as a map, and the short notation in which the tests write trees.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::carried::CarriedRun;
use super::super::keys::Id;
use super::super::lookup::{Body, File, FileAt, Found, Item, Part, Source, Target, TreeFile};
use super::super::options::Filter;
use crate::error::{Damage, Error, Place, Result};
use crate::id::{CommitId, Instant, Location, ObjectKey, RunKey, SegmentId};
use crate::store::{Bound, RunInfo};

/// A file of the model: its objects with their references; damaged ones cannot be read.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelFile {
    pub(super) objects: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    pub(super) damaged: bool,
    /// The file's bytes where a test gives them: they are then its one object.
    pub(super) text: Option<Vec<u8>>,
    /// The transaction that brought it.
    pub(super) commit: u64,
    /// Its number in its run, in the order of coming.
    pub(super) number: u32,
}

/// A store as a map.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) runs: Vec<RunInfo>,
    pub(super) files: BTreeMap<RunKey, BTreeMap<Vec<u8>, ModelFile>>,
    /// Files read to be written.
    pub(super) read: Cell<u64>,
}

/// The key of the run called `D<instant>` or, for a second name of that instant, `D<instant>b`.
pub(super) fn run_key(name: &str) -> RunKey {
    let digits = name.trim_start_matches('D').trim_end_matches('b');
    RunKey::new(Instant(digits.parse().unwrap()), u16::from(name.ends_with('b')))
}

impl Model {
    /// Reads lines such as `D1: m->i,k; n`. `name=a->b+c->d` is a file of two objects; `!n` a damaged one.
    pub(super) fn of(text: &str) -> Model {
        let mut model = Model::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (run, files) = line.split_once(':').unwrap();
            model.add_run(run);
            for file in files.split(';').map(str::trim).filter(|file| !file.is_empty()) {
                let (file, damaged) = file.strip_prefix('!').map_or((file, false), |file| (file, true));
                let (name, objects) =
                    file.split_once('=').unwrap_or((file.split("->").next().unwrap(), file));
                let objects = objects.split('+').map(|object| {
                    let (id, refs) = object.split_once("->").unwrap_or((object, ""));
                    let refs = refs.split(',').filter(|id| !id.is_empty());
                    (id.as_bytes().to_vec(), refs.map(|id| id.as_bytes().to_vec()).collect())
                });
                let file = ModelFile { objects: objects.collect(), damaged, ..ModelFile::default() };
                model.add(run_key(run), name.as_bytes(), file);
            }
        }
        model
    }

    pub(super) fn add_run(&mut self, name: &str) {
        let key = run_key(name);
        let info = RunInfo {
            key,
            name: name.to_owned(),
            is_named: true,
            snapshots: 0,
            bytes: 0,
            meta: Vec::new(),
            damage: None,
        };
        self.runs.push(info);
        self.runs.sort_by_key(|run| run.key);
        self.files.entry(key).or_default();
    }

    pub(super) fn add(&mut self, run: RunKey, name: &[u8], mut file: ModelFile) {
        for (_, refs) in &mut file.objects {
            refs.sort();
            refs.dedup();
        }
        let info = self.runs.iter_mut().find(|info| info.key == run).unwrap();
        info.snapshots = info.snapshots.saturating_add(1);
        info.bytes = info.bytes.saturating_add(10);
        let files = self.files.entry(run).or_default();
        let next = u32::try_from(files.len()).unwrap();
        file.number = files.get(name).map_or(next, |old| old.number);
        files.insert(name.to_vec(), file);
    }

    /// The file that stands for an id in a run: the one of that name, else the last that holds it.
    pub(super) fn holder(&self, id: &[u8], run: RunKey) -> Option<(&Vec<u8>, &ModelFile)> {
        let files = self.files.get(&run)?;
        files
            .get_key_value(id)
            .or_else(|| files.iter().rev().find(|(_, file)| file.objects.iter().any(|(own, _)| own == id)))
    }

    /// The number of the object that an id leads to in the file that stands for it.
    pub(super) fn object_of(id: &[u8], name: &[u8], file: &ModelFile) -> usize {
        if name == id { 0 } else { file.objects.iter().position(|(own, _)| own == id).unwrap() }
    }

    fn target(&self, id: &[u8], run: RunKey) -> Result<Option<Found>> {
        let Some((name, file)) = self.holder(id, run) else { return Ok(None) };
        if file.damaged {
            return Err(damage());
        }
        let at = Model::object_of(id, name, file);
        let item = item_of(&file.objects[at], file);
        let place = (run, Id::of(name), self.place(name, run));
        let target = Target::of(place, (u32::try_from(at).unwrap(), file.objects.len()), item);
        Ok(Some(Found { target: Rc::new(target), text: None }))
    }

    /// A place for each file: its number in its run.
    fn place(&self, name: &[u8], run: RunKey) -> Location {
        let runs = self.files.range(..run).count();
        Location { segment: SegmentId(u32::try_from(runs).unwrap()), offset: self.files[&run][name].number }
    }

    fn runs_of(&self, id: &[u8]) -> impl DoubleEndedIterator<Item = RunKey> {
        self.files.keys().copied().filter(|run| self.holder(id, *run).is_some())
    }
}

fn item_of((id, refs): &(Vec<u8>, Vec<Vec<u8>>), file: &ModelFile) -> Item {
    let text = file.text.clone().unwrap_or_else(|| text_of(id, refs));
    let needs = refs.iter().map(|id| ObjectKey::of(id)).collect();
    let part = Part { len: u64::try_from(text.len()).unwrap(), needs, ..Part::default() };
    Item { id: Id::of(id), references: refs.iter().map(|id| Id::of(id)).collect(), part, text: None }
}

fn damage() -> Error {
    Error::damaged(Place::at("data/0000000001.seg", 96), Damage::Magic)
}

fn text_of(id: &[u8], refs: &[Vec<u8>]) -> Vec<u8> {
    let refs: Vec<_> = refs.iter().map(|id| String::from_utf8_lossy(id)).collect();
    format!("{{\"id\":\"{}\",\r\n\"refs\":\"{}\"}}", String::from_utf8_lossy(id), refs.join(" ")).into_bytes()
}

impl Source for Model {
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
        // Descending: the resolver must not count on an order.
        for (name, file) in self.files[&run].iter().rev() {
            if carried.is_whole(self.place(name, run)) {
                continue;
            }
            if file.damaged {
                each(Err(damage()))?;
                continue;
            }
            let items = file.objects.iter().map(|object| item_of(object, file)).collect();
            let changed = filter.takes_commit(CommitId(file.commit));
            each(Ok(File { name: Id::of(name), at: self.place(name, run), len: 10, changed, items }))?;
        }
        Ok(())
    }

    fn find(&self, id: &Id, bound: Bound) -> Result<Option<Found>> {
        let id = &*id.bytes;
        let run = match bound {
            Bound::In(run) => Some(run),
            Bound::AtMost(max) => self.runs_of(id).rfind(|run| *run <= max),
            Bound::AtLeast(min) => self.runs_of(id).find(|run| *run >= min),
        };
        run.map_or(Ok(None), |run| self.target(id, run))
    }

    fn newest(&self, id: &Id, max: RunKey) -> Result<Option<RunKey>> {
        Ok(self.find(id, Bound::AtMost(max))?.map(|found| found.target.run))
    }

    fn exists(&self, id: &Id) -> Result<bool> {
        Ok(self.runs_of(&id.bytes).next().is_some())
    }

    fn body(&self, wanted: &FileAt<'_>) -> Result<Body> {
        let file = &self.files[&wanted.run][&*wanted.name.bytes];
        self.read.set(self.read.get().saturating_add(1));
        let (mut bytes, mut objects) = (Vec::new(), Vec::new());
        for (id, refs) in &file.objects {
            let start = bytes.len();
            bytes.extend(file.text.clone().unwrap_or_else(|| text_of(id, refs)));
            objects.push(start..bytes.len());
        }
        Ok(Body { bytes, objects })
    }

    fn bodies(
        &self,
        run: RunKey,
        _: &Filter,
        each: &mut dyn FnMut(Result<TreeFile<'_>>) -> Result<()>,
    ) -> Result<()> {
        for (name, file) in &self.files[&run] {
            if file.damaged {
                each(Err(damage()))?;
                continue;
            }
            let bytes = file.text.as_deref().unwrap_or(b"{}");
            each(Ok(TreeFile { name, mtime: Some((1_700_000_000, 5)), bytes }))?;
        }
        Ok(())
    }
}
