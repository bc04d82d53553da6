//! The segments of a committed state, opened when first touched.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::dictionary::{self, Dictionary};
use super::reader::Segment;
use crate::error::{Damage, Error, Place, Result};
use crate::format::segment;
use crate::id::{DictionaryId, SegmentId, StoreId};
use crate::limits::MAPPED_SEGMENTS_MAX;
use crate::vfs::{ReadFile, ReadVfs};

/// The segments of a state. Looking one up takes no lock unless there are more than
/// [`MAPPED_SEGMENTS_MAX`]: then the least recently used one is dropped.
#[derive(Debug)]
pub struct Segments {
    vfs: Arc<dyn ReadVfs>,
    store: StoreId,
    ids: Vec<SegmentId>,
    active: Option<SegmentId>,
    /// Bytes of the active one that are final.
    final_bytes: u32,
    mapped: bool,
    slots: Slots,
    dictionaries: Arc<Dictionaries>,
}

#[derive(Debug)]
enum Slots {
    Fixed(Vec<OnceLock<Arc<Segment>>>),
    Recent(Mutex<Recent>),
}

#[derive(Debug, Default)]
struct Recent {
    open: HashMap<SegmentId, Arc<Segment>>,
    order: VecDeque<SegmentId>,
}

/// A segment, borrowed from the set or shared with it.
#[derive(Debug)]
pub enum SegmentRef<'s> {
    /// It stays open as long as the set.
    Borrowed(&'s Arc<Segment>),
    /// The set may drop it; this keeps it.
    Shared(Arc<Segment>),
}

impl Deref for SegmentRef<'_> {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        match self {
            SegmentRef::Borrowed(segment) => segment,
            SegmentRef::Shared(segment) => segment,
        }
    }
}

impl Segments {
    /// A set of the segments `ids`, ascending. `active`, if any, may still grow: only so many of its first bytes are durable, never
    /// to be written again, and may be mapped. What is open of the set that was `before` stays so, and mapped or not.
    pub fn new(
        vfs: Arc<dyn ReadVfs>,
        store: StoreId,
        ids: Vec<SegmentId>,
        active: Option<(SegmentId, u32)>,
        before: Option<&Segments>,
    ) -> Segments {
        let (active, final_bytes) = (active.map(|(id, _)| id), active.map_or(0, |(_, len)| len));
        debug_assert!(ids.is_sorted(), "segment numbers ascend");
        let slots = if ids.len() <= MAPPED_SEGMENTS_MAX {
            Slots::Fixed(ids.iter().map(|id| carry_over(before, *id, active)).collect())
        } else {
            Slots::Recent(Mutex::default())
        };
        let dictionaries = before.map(|before| before.dictionaries.clone()).unwrap_or_default();
        let mapped = before.is_none_or(|before| before.mapped);
        Segments { vfs, store, ids, active, final_bytes, mapped, slots, dictionaries }
    }

    /// The same set, nothing of it mapped: an error of the disk is then an error and not a signal. For those who read
    /// everything.
    #[must_use]
    pub fn unmapped(&self) -> Segments {
        Segments { mapped: false, ..self.mapped() }
    }

    /// The same set, mapped where it may be. For lookups.
    #[must_use]
    pub fn mapped(&self) -> Segments {
        Segments::new(self.vfs.clone(), self.store, self.ids.clone(), self.growing(), None)
    }

    /// The same set without some of its segments.
    #[must_use]
    pub fn without(&self, gone: &BTreeSet<SegmentId>) -> Segments {
        let ids = self.ids.iter().filter(|id| !gone.contains(id)).copied().collect();
        let active = self.growing().filter(|(id, _)| !gone.contains(id));
        Segments::new(self.vfs.clone(), self.store, ids, active, Some(self))
    }

    fn growing(&self) -> Option<(SegmentId, u32)> {
        self.active.map(|id| (id, self.final_bytes))
    }

    /// Returns the numbers of all segments, ascending.
    pub fn ids(&self) -> &[SegmentId] {
        &self.ids
    }

    /// Returns the segment that may still grow.
    pub fn active(&self) -> Option<SegmentId> {
        self.active
    }

    /// Returns a segment, or `None` if there is no such file.
    ///
    /// # Errors
    /// Failures of opening and reading, `UnsupportedVersion`.
    #[inline]
    pub fn get(&self, id: SegmentId) -> Result<Option<SegmentRef<'_>>> {
        match &self.slots {
            Slots::Fixed(slots) => {
                let Some(slot) = self.position(id).and_then(|at| slots.get(at)) else { return Ok(None) };
                if let Some(segment) = slot.get() {
                    return Ok(Some(SegmentRef::Borrowed(segment)));
                }
                let Some(segment) = self.open(id)? else { return Ok(None) };
                Ok(Some(SegmentRef::Borrowed(slot.get_or_init(|| segment))))
            }
            Slots::Recent(recent) => {
                if self.position(id).is_none() {
                    return Ok(None);
                }
                let mut recent = recent.lock();
                if let Some(segment) = recent.touch(id) {
                    return Ok(Some(SegmentRef::Shared(segment)));
                }
                let Some(segment) = self.open(id)? else { return Ok(None) };
                recent.insert(id, segment.clone());
                Ok(Some(SegmentRef::Shared(segment)))
            }
        }
    }

    /// Returns a segment if it is open and stays so. Opens none, waits for nothing.
    #[inline]
    pub fn open_already(&self, id: SegmentId) -> Option<&Segment> {
        match &self.slots {
            Slots::Fixed(slots) => slots.get(self.position(id)?)?.get().map(|segment| &**segment),
            Slots::Recent(_) => None,
        }
    }

    /// Like [`get`](Segments::get), where a missing file is damage.
    ///
    /// # Errors
    /// `Damaged` with `Missing`, and as for `get`.
    #[inline]
    pub fn require(&self, id: SegmentId) -> Result<SegmentRef<'_>> {
        let missing = || Error::damaged(Place::whole(segment::file_name(id)), Damage::Missing);
        self.get(id)?.ok_or_else(missing)
    }

    /// Opens a segment's file anew, whether it is in the set or not. `None` if there is no such file.
    ///
    /// # Errors
    /// Failures of opening.
    pub fn open_file(&self, id: SegmentId) -> Result<Option<Arc<dyn ReadFile>>> {
        self.vfs.open(&segment::file_name(id))
    }

    #[cfg(test)]
    pub(crate) fn open_count(&self) -> usize {
        match &self.slots {
            Slots::Fixed(slots) => slots.iter().filter(|slot| slot.get().is_some()).count(),
            Slots::Recent(recent) => recent.lock().open.len(),
        }
    }

    /// Segment numbers are mostly without gaps, so the place is mostly known without a search.
    #[inline]
    fn position(&self, id: SegmentId) -> Option<usize> {
        let first = self.ids.first()?;
        let guess = usize::try_from(id.0.checked_sub(first.0)?).ok()?;
        if self.ids.get(guess) == Some(&id) {
            return Some(guess);
        }
        self.ids.binary_search(&id).ok()
    }

    fn open(&self, id: SegmentId) -> Result<Option<Arc<Segment>>> {
        let Some(file) = self.vfs.open(&segment::file_name(id))? else { return Ok(None) };
        let final_bytes = match self.active {
            _ if !self.mapped => 0,
            Some(active) if active == id => self.final_bytes.into(),
            _ => u64::MAX,
        };
        let all = || self.known_dictionaries();
        Segment::open(file, id, self.store, final_bytes, &all).map(|segment| Some(Arc::new(segment)))
    }

    /// Returns the ids of the dictionaries that the store has copies of beside its segments.
    fn known_dictionaries(&self) -> Vec<DictionaryId> {
        let entries = self.vfs.list("").ok().flatten().unwrap_or_default();
        entries.iter().filter_map(|entry| dictionary::parse_file_name(&entry.name)).collect()
    }

    /// Returns a dictionary: from memory, from its own file, or from any segment that carries it. Once it is in
    /// memory, this takes no lock and writes to nothing that other threads read.
    ///
    /// # Errors
    /// `Damaged` with `Dictionary` if no intact copy exists, and failures of reading.
    pub fn dictionary(&self, id: DictionaryId) -> Result<&Arc<Dictionary>> {
        if let Some(dictionary) = self.dictionaries.get(id) {
            return Ok(dictionary);
        }
        let copy = if self.mapped { dictionary::open_file } else { dictionary::read_file };
        let found = match copy(&*self.vfs, id) {
            Ok(Some(dictionary)) => Some(dictionary),
            Ok(None) | Err(Error::Damaged { .. }) => self.dictionary_from_segments(id)?,
            Err(other) => return Err(other),
        };
        let missing = || Damage::Dictionary { id: id.to_string() };
        let found =
            found.ok_or_else(|| Error::damaged(Place::whole(dictionary::file_name(id)), missing()))?;
        Ok(self.dictionaries.add(&found))
    }

    fn dictionary_from_segments(&self, id: DictionaryId) -> Result<Option<Arc<Dictionary>>> {
        for segment in &self.ids {
            let Some(segment) = self.get(*segment)? else { continue };
            match segment.dictionary() {
                Ok(Some(dictionary)) if dictionary.id() == id => return Ok(Some(dictionary)),
                Ok(_) | Err(Error::Damaged { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(None)
    }
}

/// The dictionaries in memory, a list that only grows: mostly one, and read far more often than added to.
#[derive(Debug, Default)]
struct Dictionaries {
    first: OnceLock<Box<Listed>>,
}

#[derive(Debug)]
struct Listed {
    dictionary: Arc<Dictionary>,
    next: OnceLock<Box<Listed>>,
}

impl Dictionaries {
    fn get(&self, id: DictionaryId) -> Option<&Arc<Dictionary>> {
        let mut listed = self.first.get()?;
        while listed.dictionary.id() != id {
            listed = listed.next.get()?;
        }
        Some(&listed.dictionary)
    }

    /// Adds a dictionary at the end, or returns the one of its id that another thread has added meanwhile.
    fn add(&self, dictionary: &Arc<Dictionary>) -> &Arc<Dictionary> {
        let mut place = &self.first;
        loop {
            let new = || Box::new(Listed { dictionary: dictionary.clone(), next: OnceLock::new() });
            let listed = place.get_or_init(new);
            if listed.dictionary.id() == dictionary.id() {
                return &listed.dictionary;
            }
            place = &listed.next;
        }
    }
}

impl Recent {
    fn touch(&mut self, id: SegmentId) -> Option<Arc<Segment>> {
        let segment = self.open.get(&id)?.clone();
        // Recency is kept roughly: a hit near the fresh end is not worth a search.
        if let Some(at) =
            self.order.iter().position(|other| *other == id).filter(|at| *at < self.order.len() / 2)
        {
            self.order.remove(at);
            self.order.push_back(id);
        }
        Some(segment)
    }

    fn insert(&mut self, id: SegmentId, segment: Arc<Segment>) {
        while self.open.len() >= MAPPED_SEGMENTS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.open.remove(&oldest);
        }
        self.open.insert(id, segment);
        self.order.push_back(id);
    }
}

/// Keeps a segment open from one state to the next, unless it was growing then and can be mapped now.
fn carry_over(before: Option<&Segments>, id: SegmentId, active: Option<SegmentId>) -> OnceLock<Arc<Segment>> {
    let slot = OnceLock::new();
    let Some(before) = before else { return slot };
    if before.active == Some(id) && active != Some(id) {
        return slot;
    }
    let (Slots::Fixed(slots), Some(at)) = (&before.slots, before.position(id)) else { return slot };
    match slots.get(at).and_then(OnceLock::get) {
        Some(segment) => OnceLock::from(segment.clone()),
        None => slot,
    }
}
