//! What is known of long files that references lead to, so that each of them is read once for all of its objects.

use std::collections::HashMap;
use std::rc::Rc;

use crate::error::{Damage, Error, Place, Result};
use crate::id::{Location, RunKey};

use super::keys::{Id, KeyMap};
use super::lookup::{Found, Item, Target};

/// Bytes of ids and references that are kept, the file that was opened last aside.
const KEPT_BYTES: usize = 32 << 20;
/// What an object costs besides.
const OBJECT_BYTES: usize = 256;

/// A file of which all objects are known.
#[derive(Debug)]
pub(super) struct OpenedFile {
    name: Id,
    targets: Vec<Rc<Target>>,
    /// The first object of each id.
    by_id: KeyMap<Id, usize>,
}

impl OpenedFile {
    /// Takes what is known of a file's objects.
    pub(super) fn new(run: RunKey, name: &Id, at: Location, items: Vec<Item>) -> OpenedFile {
        let count = items.len();
        let mut by_id = KeyMap::default();
        let numbered = (0..).zip(items).enumerate().map(|(place, (number, item))| {
            by_id.entry(item.id.clone()).or_insert(place);
            Rc::new(Target::of((run, name.clone(), at), (number, count), item))
        });
        let targets = numbered.collect();
        OpenedFile { name: name.clone(), targets, by_id }
    }

    /// The object that an id leads to: the first of a file of that name, else the first with the id.
    pub(super) fn target(&self, id: &Id) -> Option<Found> {
        let number = if self.name == *id { 0 } else { *self.by_id.get(id)? };
        let target = self.targets.get(number)?.clone();
        Some(Found { target, text: None })
    }

    fn cost(&self) -> usize {
        self.targets
            .iter()
            .map(|target| target.cost().saturating_add(OBJECT_BYTES))
            .fold(0, usize::saturating_add)
    }
}

/// A file, or what is wrong with it.
type Known = std::result::Result<Rc<OpenedFile>, (Place, Damage)>;

/// The files opened so far, within bounds.
#[derive(Debug, Default)]
pub(super) struct OpenedFiles {
    files: HashMap<Location, Known>,
    cost: usize,
}

impl OpenedFiles {
    /// What is known of a file.
    ///
    /// # Errors
    /// What was wrong with it when it was opened.
    pub(super) fn get(&self, at: Location) -> Option<Result<Rc<OpenedFile>>> {
        let known = self.files.get(&at)?;
        Some(known.clone().map_err(|(place, damage)| Error::damaged(place, damage)))
    }

    /// Keeps what became of opening a file. Where there is no room for it, all others go.
    ///
    /// # Errors
    /// That of opening it.
    pub(super) fn keep(&mut self, at: Location, opened: Result<OpenedFile>) -> Result<Rc<OpenedFile>> {
        let (known, cost) = match opened {
            Ok(file) => {
                let cost = file.cost();
                (Ok(Rc::new(file)), cost)
            }
            Err(Error::Damaged { place, damage }) => (Err((place, damage)), OBJECT_BYTES),
            Err(other) => return Err(other),
        };
        if self.cost.saturating_add(cost) > KEPT_BYTES {
            self.files.clear();
            self.cost = 0;
        }
        self.cost = self.cost.saturating_add(cost);
        self.files.insert(at, known.clone());
        known.map_err(|(place, damage)| Error::damaged(place, damage))
    }
}
