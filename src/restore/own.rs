//! A run's own files: what of them is restored for its own sake.

use std::rc::Rc;

use crate::error::Result;
use crate::id::{Location, ObjectKey, RunKey};

use super::carried::CarriedRun;
use super::keys::{Id, KeyMap, KeySet};
use super::lookup::{Part, Source};
use super::options::Filter;
use super::report::Report;

/// A file of the run.
#[derive(Debug)]
pub(super) struct OwnFile {
    /// Its name.
    pub(super) name: Id,
    /// Where its record lies.
    pub(super) at: Location,
    /// Its length in bytes.
    pub(super) len: u64,
    /// The ids of its objects; empty for a plain file, whose one object has the file's name for an id.
    ids: Vec<Id>,
    /// What else is known of its objects.
    pub(super) parts: Vec<Part>,
    /// Their texts, as far as there was room.
    pub(super) texts: Vec<Option<Rc<[u8]>>>,
    /// Objects that are not emitted, ascending: not selected, carried ahead, or another file's object of the same id stands
    /// for them.
    left_out: Vec<u32>,
    /// Tells whether a plan lists the file: something of it is selected and was not carried ahead.
    pub(super) listed: bool,
}

impl OwnFile {
    /// The objects that go into the bundle: number, id, and what else is known.
    pub(super) fn emits(&self) -> impl Iterator<Item = (u32, &Id, &Part)> {
        let emitted = |(number, _): &(u32, &Id)| self.left_out.binary_search(number).is_err();
        self.numbered()
            .zip(&self.parts)
            .filter(move |(one, _)| emitted(one))
            .map(|((at, id), part)| (at, id, part))
    }

    /// The ids of its objects with their numbers.
    fn numbered(&self) -> impl Iterator<Item = (u32, &Id)> {
        let plain = self.ids.is_empty().then_some(&self.name);
        (0..).zip(plain.into_iter().chain(&self.ids))
    }
}

/// The files of a run, ascending by name.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) files: Vec<OwnFile>,
    /// For each file the objects that the filter leaves out, ascending.
    unselected: Vec<Vec<u32>>,
    /// What those of their objects refer to that are restored with the run, ascending.
    pub(super) wanted: Vec<Id>,
}

/// Which object stands for an id: a file by its place, and the object's number in it. `None`: one of a file that was carried ahead as
/// a whole.
pub(super) type Winners = KeyMap<ObjectKey, Option<(usize, u32)>>;

impl Own {
    /// Reads the files of a run.
    pub(super) fn read<S: Source>(
        source: &S,
        run: RunKey,
        filter: &Filter,
        carried: &CarriedRun,
        report: &mut Report<'_>,
    ) -> Result<Own> {
        let mut own: Vec<(OwnFile, Vec<u32>)> = Vec::new();
        // Each id once: in a run of millions of files nearly all refer to a few.
        let mut wanted: KeySet<Id> = KeySet::default();
        source.files(run, filter, carried, &mut |file| {
            report.check()?;
            let file = match file {
                Ok(file) => file,
                Err(error) => {
                    report.damaged(error)?;
                    return report.done(1, 0);
                }
            };
            let mut ids = Vec::with_capacity(file.items.len());
            let mut parts = Vec::with_capacity(file.items.len());
            let mut texts = Vec::with_capacity(file.items.len());
            let mut unselected = Vec::new();
            for (number, item) in (0..).zip(file.items) {
                if !file.changed || !filter.takes_object(&item.id.bytes, &file.name.bytes, number) {
                    unselected.push(number);
                } else if !carried.holds(&file.name, number) {
                    wanted.extend(item.references.iter().cloned());
                }
                ids.push(item.id);
                parts.push(item.part);
                texts.push(item.text);
            }
            if let [id] = ids.as_slice()
                && *id == file.name
            {
                ids = Vec::new();
            }
            let (name, at, len) = (file.name, file.at, file.len);
            let file = OwnFile { name, at, len, ids, parts, texts, left_out: Vec::new(), listed: true };
            own.push((file, unselected));
            Ok(())
        })?;
        own.sort_unstable_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let mut wanted: Vec<Id> = wanted.into_iter().collect();
        wanted.sort_unstable();
        let (files, unselected) = own.into_iter().unzip();
        Ok(Own { files, unselected, wanted })
    }

    /// For each id that the run holds, the file and the object that stand for it: the file of that name, else
    /// the last file by name; within a file the first object.
    pub(super) fn winners(&self, carried: &CarriedRun) -> Winners {
        let mut winners: Winners = carried.whole().map(|name| (name, None)).collect();
        winners.reserve(self.files.len());
        for (at, file) in self.files.iter().enumerate() {
            for (number, id) in file.numbered() {
                let Some(winner) = winners.entry(id.key).or_insert(Some((at, number))) else { continue };
                let named = self.files.get(winner.0).is_some_and(|other| other.name == *id);
                if winner.0 != at && !named {
                    *winner = (at, number);
                }
            }
        }
        winners
    }

    /// The winners that the filter leaves in: these ids the run's bundle has from the run itself.
    pub(super) fn selected(&self, winners: &Winners) -> Winners {
        let mut selected = winners.clone();
        selected.retain(|_, winner| winner.is_none_or(|(at, number)| !self.is_unselected(at, number)));
        selected
    }

    /// The names of the files whose first object the filter leaves in: they lead to it too.
    pub(super) fn selected_names(&self) -> impl Iterator<Item = ObjectKey> {
        let first = |(at, _): &(usize, &OwnFile)| !self.is_unselected(*at, 0);
        self.files.iter().enumerate().filter(first).map(|(_, file)| file.name.key)
    }

    fn is_unselected(&self, at: usize, number: u32) -> bool {
        self.unselected.get(at).is_some_and(|list| list.binary_search(&number).is_ok())
    }

    /// For each file of which something is left out: its place, the objects left out, whether plans list it.
    pub(super) fn left_out(&self, winners: &Winners, carried: &CarriedRun) -> Vec<(usize, Vec<u32>, bool)> {
        let mut left_out = Vec::new();
        for (at, file) in self.files.iter().enumerate() {
            let mut objects = Vec::new();
            let mut listed = false;
            for (number, id) in file.numbered() {
                let winner = winners.get(&id.key).copied().unwrap_or(Some((at, number)));
                let ahead = carried.holds(&file.name, number);
                let unselected = self.is_unselected(at, number);
                if ahead || unselected || winner != Some((at, number)) {
                    objects.push(number);
                }
                let stands = winner.and_then(|(at, number)| Some((&self.files.get(at)?.name, number)));
                let stands_ahead = stands.is_none_or(|(name, number)| carried.holds(name, number));
                listed |= !ahead && !unselected && !stands_ahead;
            }
            if !objects.is_empty() {
                left_out.push((at, objects, listed));
            }
        }
        left_out
    }

    /// The files, with what is left out of each noted.
    pub(super) fn into_files(self, left_out: Vec<(usize, Vec<u32>, bool)>) -> Vec<OwnFile> {
        let mut files = self.files;
        for (at, objects, listed) in left_out {
            if let Some(file) = files.get_mut(at) {
                file.left_out = objects;
                file.listed = listed;
            }
        }
        files
    }
}
