//! Lookups: from a name to its snapshot.

use std::cell::Cell;

use super::snapshot::Snapshot;
use super::state::State;
use crate::error::{Damage, Error, Place, Result};
use crate::format::put::{self, PutKind};
use crate::format::record::{Head, Tag};
use crate::format::segment;
use crate::id::{Key, Location, Name, RunKey};
use crate::index::RecordKeys;
use crate::segment::{Opened, Record, SegmentRef, Segments};

/// Why a record is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Absent {
    /// Deleted, or not what was asked for.
    Gone,
    /// Declared lost by a repair.
    Lost,
}

/// A live snapshot of the name asked for, or why there is none.
pub(super) type Resolved<'s> = std::result::Result<Snapshot<'s>, Absent>;

/// Asks the segments which key a record carries, for one lookup. Keeps the last record whose head it read: mostly that is the
/// one that the lookup ends at.
pub(super) struct Reader<'s> {
    segments: &'s Segments,
    last: Cell<Option<(Location, Opened<'s>)>>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(segments: &'s Segments) -> Reader<'s> {
        Reader { segments, last: Cell::new(None) }
    }

    /// Returns the head of the record at a location, if it holds.
    pub(super) fn head(&self, at: Location) -> Result<Option<Head>> {
        let last = self.last.take();
        let head = last.as_ref().filter(|(last, _)| *last == at).map(|(_, opened)| *opened.head());
        self.last.set(last);
        match head {
            Some(head) => Ok(Some(head)),
            None => Ok(self.segments.require(at.segment)?.head(at.offset)?.ok()),
        }
    }

    /// Reads and verifies the record at a location.
    #[inline]
    fn record(&self, at: Location) -> Result<Record<'s>> {
        match self.last.take() {
            Some((last, opened)) if last == at => opened.verify(),
            _ => self.another_record(at),
        }
    }

    #[cold]
    fn another_record(&self, at: Location) -> Result<Record<'s>> {
        match self.segments.require(at.segment)? {
            SegmentRef::Borrowed(segment) => segment.record(at.offset),
            SegmentRef::Shared(segment) => segment.record(at.offset).map(Record::into_owned),
        }
    }

    /// Returns the key of a record that is not mapped, or whose head does not hold.
    #[cold]
    fn read_key(&self, at: Location) -> Result<Option<Key>> {
        // Asked for again by another question of the same lookup.
        if let Some((last, opened)) = self.last.take()
            && last == at
        {
            let key = opened.head().stored_key();
            self.last.set(Some((last, opened)));
            return Ok(key);
        }
        match self.segments.get(at.segment)? {
            Some(SegmentRef::Borrowed(segment)) => {
                let Ok(opened) = segment.open_record(at.offset)? else { return Ok(None) };
                let key = opened.head().stored_key();
                self.last.set(Some((at, opened)));
                Ok(key)
            }
            Some(SegmentRef::Shared(segment)) => {
                Ok(segment.head(at.offset)?.ok().and_then(|head| head.stored_key()))
            }
            None => Ok(None),
        }
    }
}

impl RecordKeys for Reader<'_> {
    #[inline]
    fn key_at(&self, at: Location) -> Result<Option<Key>> {
        match self.segments.open_already(at.segment).and_then(|segment| segment.open_mapped(at.offset)) {
            Some(opened) => {
                let key = opened.head().stored_key();
                self.last.set(Some((at, opened)));
                Ok(key)
            }
            None => self.read_key(at),
        }
    }
}

impl State {
    /// The live snapshot of `name` with the largest run at or below `max`. Where that one was lost there is none: an
    /// older one in its stead would be a lie.
    #[inline]
    pub(crate) fn newest(&self, name: &Name<'_>, max: RunKey) -> Result<Option<Snapshot<'_>>> {
        let reader = Reader::new(&self.segments);
        let mut bound = max;
        while let Some(found) = self.floor(&name.key, bound, &reader)? {
            match self.resolve(found.at, name, found.run, &reader)? {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(Absent::Lost) => break,
                Err(Absent::Gone) => {}
            }
            let Some(next) = found.run.previous() else { break };
            bound = next;
        }
        Ok(None)
    }

    /// The run in which the snapshot that [`newest`](State::newest) asks for was lost, if it was.
    pub(crate) fn newest_lost(&self, name: &Name<'_>, max: RunKey) -> Result<Option<RunKey>> {
        let reader = Reader::new(&self.segments);
        let mut bound = max;
        while let Some(found) = self.floor(&name.key, bound, &reader)? {
            match self.resolve(found.at, name, found.run, &reader)? {
                Ok(_) => break,
                Err(Absent::Lost) => return Ok(Some(found.run)),
                Err(Absent::Gone) => {}
            }
            let Some(next) = found.run.previous() else { break };
            bound = next;
        }
        Ok(None)
    }

    /// The live snapshot of `name` with the smallest run at or above `min`.
    pub(crate) fn oldest(&self, name: &Name<'_>, min: RunKey) -> Result<Option<Snapshot<'_>>> {
        let reader = Reader::new(&self.segments);
        let mut bound = min;
        while let Some(found) = self.ceil(&name.key, bound, &reader)? {
            if let Ok(snapshot) = self.resolve(found.at, name, found.run, &reader)? {
                return Ok(Some(snapshot));
            }
            let Some(next) = found.run.next() else { break };
            bound = next;
        }
        Ok(None)
    }

    /// The live snapshot of `name` in exactly that run.
    pub(crate) fn exactly(&self, name: &Name<'_>, run: RunKey) -> Result<Option<Snapshot<'_>>> {
        let reader = Reader::new(&self.segments);
        let Some(found) = self.find_with(&Key::new(name.key, run), &reader)? else { return Ok(None) };
        Ok(self.resolve(found.at, name, run, &reader)?.ok())
    }

    /// The record stored under exactly this name and run, an alias as itself.
    pub(crate) fn itself(&self, name: &Name<'_>, run: RunKey) -> Result<Option<Snapshot<'_>>> {
        let reader = Reader::new(&self.segments);
        let key = Key::new(name.key, run);
        let Some(found) = self.find_with(&key, &reader)? else { return Ok(None) };
        Ok(self.read(found.at, &key, &reader)?.filter(|record| record.is_named(name)))
    }

    /// Tells whether the record at a location says that its key was lost.
    pub(crate) fn is_lost(&self, at: Location) -> Result<bool> {
        if self.dead.contains(&at.segment) {
            return Ok(false);
        }
        let record = self
            .segments
            .require(at.segment)?
            .record(at.offset)
            .map(|record| record.head.tag == Tag::Delete && put::says_lost(&record.data));
        match record {
            Err(Error::Damaged { .. }) => Ok(false),
            told => told,
        }
    }

    /// Reads and verifies the record at a location: `None` for a DELETE.
    pub(crate) fn record(&self, at: Location, key: &Key) -> Result<Option<Snapshot<'_>>> {
        self.read(at, key, &Reader::new(&self.segments))
    }

    /// Reads the record that the index named for a name and follows an alias.
    #[inline]
    pub(super) fn resolve<'s>(
        &'s self,
        at: Location,
        name: &Name<'_>,
        run: RunKey,
        reader: &Reader<'s>,
    ) -> Result<Resolved<'s>> {
        match self.read(at, &Key::new(name.key, run), reader)? {
            Some(snapshot) if !snapshot.is_named(name) => Ok(Err(Absent::Gone)),
            Some(alias) if alias.kind() == PutKind::Alias => self.follow(&alias, run, reader),
            Some(snapshot) => Ok(Ok(snapshot)),
            None => self.absent(at),
        }
    }

    #[cold]
    pub(super) fn follow<'s>(
        &'s self,
        alias: &Snapshot<'s>,
        run: RunKey,
        reader: &Reader<'s>,
    ) -> Result<Resolved<'s>> {
        let target = alias.body()?;
        let target = Name::of(&target);
        let key = Key::new(target.key, run);
        let Some(found) = self.find_with(&key, reader)? else { return Ok(Err(Absent::Gone)) };
        match self.read(found.at, &key, reader)? {
            Some(snapshot) if snapshot.is_named(&target) && snapshot.kind() == PutKind::Snapshot => {
                Ok(Ok(snapshot))
            }
            Some(_) => Ok(Err(Absent::Gone)),
            None => self.absent(found.at),
        }
    }

    /// Says why a DELETE is where a snapshot was asked for.
    #[cold]
    pub(super) fn absent(&self, at: Location) -> Result<Resolved<'_>> {
        Ok(Err(if self.is_lost(at)? { Absent::Lost } else { Absent::Gone }))
    }

    #[inline]
    pub(super) fn read<'s>(
        &'s self,
        at: Location,
        key: &Key,
        reader: &Reader<'s>,
    ) -> Result<Option<Snapshot<'s>>> {
        if self.dead.contains(&at.segment) {
            // Compaction moved what was live in it; what an older index file still names is a dropped DELETE.
            return Ok(None);
        }
        let record = reader.record(at)?;
        match record.head.tag {
            _ if record.head.key() != *key => Err(wrong_record(at)),
            Tag::Put => Snapshot::new(&self.segments, at, record).map(Some),
            Tag::Delete => Ok(None),
            Tag::Commit | Tag::Dictionary => Err(wrong_record(at)),
        }
    }
}

#[cold]
fn wrong_record(at: Location) -> Error {
    Error::damaged(Place::at(segment::file_name(at.segment), at.offset.into()), Damage::WrongRecord)
}
