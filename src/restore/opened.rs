//! What is known of long files that references lead to, so that each of them is read once for all of its objects.

use std::collections::HashMap;
use std::rc::Rc;

use crate::error::{Damage, Error, Place, Result};
use crate::id::{Location, RunKey};

use super::lookup::{Item, Target};

/// Bytes of ids and references that are kept, the file that was opened last aside.
const KEPT_BYTES: usize = 32 << 20;
/// What an object costs besides the bytes of its ids.
const OBJECT_BYTES: usize = 256;

/// A file of which all objects are known.
#[derive(Debug)]
pub(super) struct OpenedFile {
    run: RunKey,
    name: Vec<u8>,
    at: Location,
    items: Vec<Item>,
    /// The first object of each id.
    by_id: HashMap<Vec<u8>, usize>,
}

impl OpenedFile {
    /// Takes what is known of a file's objects.
    pub(super) fn new(run: RunKey, name: Vec<u8>, at: Location, items: Vec<Item>) -> OpenedFile {
        let mut by_id = HashMap::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            by_id.entry(item.id.clone()).or_insert(number);
        }
        OpenedFile { run, name, at, items, by_id }
    }

    /// The object that an id leads to: the first of a file of that name, else the first with the id.
    pub(super) fn target(&self, id: &[u8]) -> Option<Target> {
        let number = if self.name == id { 0 } else { *self.by_id.get(id)? };
        let item = self.items.get(number)?.clone();
        let object = u32::try_from(number).ok()?;
        Some(Target { run: self.run, name: self.name.clone(), at: self.at, object, item })
    }

    fn cost(&self) -> usize {
        let of = |item: &Item| {
            let ids = item.references.iter().fold(item.id.len(), |sum, id| sum.saturating_add(id.len()));
            ids.saturating_mul(2).saturating_add(OBJECT_BYTES)
        };
        self.items.iter().map(of).fold(0, usize::saturating_add)
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
