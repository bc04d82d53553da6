//! What a restore sees of a store. `stored` is how a view shows it.
//!
//! The resolver works against [`Source`] only, so that tests can put a model in the place of a store.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use crate::error::Result;
use crate::id::{Location, ObjectKey, RunKey};
use crate::store::{Bound, RunInfo};

use super::carried::CarriedRun;
use super::keys::Id;
use super::options::{Filter, Order, RestoreOptions};

/// One object: its id, and the ids that it refers to, ascending, each once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Item {
    pub(super) id: Id,
    pub(super) references: Rc<[Id]>,
    pub(super) part: Part,
    /// Its text, where there was room to keep it: else it is read again.
    pub(super) text: Option<Rc<[u8]>>,
}

/// What is known of an object besides its id and where its references lead.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Part {
    /// Bytes of its text.
    pub(super) len: u64,
    /// What has to stand before it: the references to follow, and those in `x_` keys. Empty where no order is asked for.
    pub(super) needs: Vec<ObjectKey>,
    /// Attachments whose bytes are missing. Empty where nobody asks.
    pub(super) lacks: Vec<String>,
}

/// One file of a run: its name, its length in bytes, its objects in file order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct File {
    pub(super) name: Id,
    /// Where its record lies.
    pub(super) at: Location,
    pub(super) len: u64,
    /// Whether the filter takes the transaction that brought it.
    pub(super) changed: bool,
    pub(super) items: Vec<Item>,
}

/// What a restore wants to know of each object besides what it must.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Detail {
    /// References in extensions count as references.
    pub(super) extension_refs: bool,
    /// [`Part::needs`].
    pub(super) needs: bool,
    /// [`Part::lacks`].
    pub(super) lacks: bool,
    /// [`Item::text`], for this many bytes of each run.
    pub(super) texts: u64,
}

impl Detail {
    /// What a restore with these options wants in any case.
    pub(super) fn of(options: &RestoreOptions) -> Detail {
        let needs = options.order == Order::Dependency;
        Detail { extension_refs: options.extension_refs, needs, ..Detail::default() }
    }
}

/// What a reference costs besides its bytes.
const REFERENCE_BYTES: usize = 96;

/// What a reference leads to: one object of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) run: RunKey,
    pub(super) name: Id,
    /// Where the file's record lies.
    pub(super) at: Location,
    /// Which object of the file: the first where the file is named like the id, else the one with the id.
    pub(super) object: u32,
    /// The file has no other object, and is named like it.
    pub(super) is_whole: bool,
    /// The object's own id.
    pub(super) id: Id,
    /// The ids that it refers to, as for [`Item`].
    pub(super) references: Rc<[Id]>,
    pub(super) part: Part,
}

impl Target {
    /// Takes one object of a file of `count` ones, its text aside.
    pub(super) fn of(
        (run, name, at): (RunKey, Id, Location),
        (object, count): (u32, usize),
        item: Item,
    ) -> Target {
        let Item { id, references, part, text: _ } = item;
        let is_whole = count == 1 && id.key == name.key;
        Target { run, name, at, object, is_whole, id, references, part }
    }

    /// About the bytes of memory of its ids and of what it needs and lacks.
    pub(super) fn cost(&self) -> usize {
        let ids = self.references.iter().map(|id| id.bytes.len().saturating_add(REFERENCE_BYTES));
        let lacks = self.part.lacks.iter().map(String::len);
        let needs = self.part.needs.len().saturating_mul(size_of::<ObjectKey>());
        let own = self.name.bytes.len().saturating_add(self.id.bytes.len()).saturating_add(needs);
        ids.chain(lacks).fold(own, usize::saturating_add)
    }
}

/// What a reference leads to, shared with all runs that refer to it, and its text where there was room for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) target: Rc<Target>,
    pub(super) text: Option<Rc<[u8]>>,
}

/// Which file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FileAt<'a> {
    pub(super) at: Location,
    pub(super) run: RunKey,
    pub(super) name: &'a Id,
}

/// A file's bytes, and where its objects lie in them: all inside.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) objects: Vec<Range<usize>>,
}

impl Body {
    /// The JSON text of an object.
    pub(super) fn text(&self, object: u32) -> Option<&[u8]> {
        self.bytes.get(self.objects.get(usize::try_from(object).ok()?)?.clone())
    }
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

    /// Visits the files of a run, in any order, without those that were [carried](CarriedRun::is_whole) as a whole; those of which
    /// the filter takes nothing may be left out, but not one that its transaction alone rules out: it may stand for an id.
    fn files(
        &self,
        run: RunKey,
        filter: &Filter,
        carried: &CarriedRun,
        each: &mut dyn FnMut(Result<File>) -> Result<()>,
    ) -> Result<()>;

    /// The snapshot of `id` that is asked for.
    fn find(&self, id: &Id, bound: Bound) -> Result<Option<Found>>;

    /// The run of the newest snapshot of `id` whose run is at most `max`, if it can be read.
    fn newest(&self, id: &Id, max: RunKey) -> Result<Option<RunKey>>;

    /// Tells whether any run has a snapshot of `id`, readable or not.
    fn exists(&self, id: &Id) -> Result<bool>;

    /// Reads a file's bytes again.
    fn body(&self, file: &FileAt<'_>) -> Result<Body>;

    /// Visits the files of a run of which the filter takes something, with their bytes, in any order.
    fn bodies(
        &self,
        run: RunKey,
        filter: &Filter,
        each: &mut dyn FnMut(Result<TreeFile<'_>>) -> Result<()>,
    ) -> Result<()>;
}

/// The directory name of a run; the canonical one if the store lost it.
pub(super) fn name_of(runs: &[RunInfo], key: RunKey) -> Cow<'_, str> {
    let found = runs.binary_search_by_key(&key, |run| run.key).ok().and_then(|at| runs.get(at));
    found.map_or_else(|| Cow::Owned(key.instant().canonical_name()), |run| Cow::Borrowed(run.name.as_str()))
}
