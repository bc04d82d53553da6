//! Lookups that read no more than they must: of a long record they tell where it lies.
//!
//! A restore asks for each object of a file of thousands by the object's own id, and an alias leads it to the file. To read and
//! verify that file each time would take time that grows with the square of the objects.

use super::lookup::{Absent, Reader};
use super::snapshot::Snapshot;
use super::state::State;
use super::view::View;
use crate::error::{Damage, Error, Place, Result};
use crate::format::put::PutKind;
use crate::format::record::Tag;
use crate::format::segment;
use crate::id::{Key, Location, Name, RunKey};

/// Longer records are not read: shorter ones come with the read that their head needs anyway.
const LONG_BYTES: u32 = 4096;

/// Which snapshot of an id is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// The one of exactly this run.
    In(RunKey),
    /// The newest whose run is at most this one.
    AtMost(RunKey),
    /// The oldest whose run is at least this one.
    AtLeast(RunKey),
}

/// Where a lookup led.
#[derive(Debug)]
pub(crate) enum Lead<'v> {
    /// To a snapshot, read and verified.
    Read(Snapshot<'v>),
    /// To a long record, of which the head alone was looked at: for [`View::snapshot_at`].
    Long(Location, Key),
}

impl Lead<'_> {
    /// The run of the snapshot.
    pub(crate) fn run(&self) -> RunKey {
        match self {
            Lead::Read(snapshot) => snapshot.run(),
            Lead::Long(_, key) => key.run,
        }
    }
}

/// What lies on both sides of a run's end.
#[derive(Debug, Default)]
pub(crate) struct Around<'v> {
    /// Where the newest snapshot up to the run is.
    pub(crate) newest: Option<Lead<'v>>,
    /// The next run that has a record of the id, whatever that says.
    pub(crate) next: Option<RunKey>,
    /// Where there is no newest one: the oldest snapshot after the run, if nothing hinders reading it.
    pub(crate) later: Option<Lead<'v>>,
}

impl View {
    /// Leads to the snapshot that [`find`](View::find) would answer with. Cost: one bucket of the index and one positioned read, two
    /// of each for an alias.
    ///
    /// # Errors
    /// As for [`get`](View::get); what is wrong with the data of a long record shows when it is read.
    pub(crate) fn lead(&self, id: &[u8], bound: Bound) -> Result<Option<Lead<'_>>> {
        let name = Name::of(id);
        self.ask(|state| state.lead(&name, bound))
    }

    /// Leads to the snapshots before and after the end of a run. An id with one snapshot costs one read.
    ///
    /// # Errors
    /// As for [`lead`](View::lead), of the one before alone.
    pub(crate) fn around(&self, id: &[u8], max: RunKey) -> Result<Around<'_>> {
        let name = Name::of(id);
        self.ask(|state| state.around(&name, max))
    }

    /// Reads and verifies the snapshot whose record lies at a location of this view.
    ///
    /// # Errors
    /// As for [`get`](View::get); `Damaged` where another record lies there.
    pub(crate) fn snapshot_at(&self, at: Location, key: &Key) -> Result<Snapshot<'_>> {
        let found = self.ask(|state| state.record(at, key))?;
        found.filter(|record| record.kind() == PutKind::Snapshot).ok_or_else(|| {
            let place = Place::at(segment::file_name(at.segment), at.offset.into());
            Error::damaged(place, Damage::WrongRecord)
        })
    }
}

impl State {
    fn lead(&self, name: &Name<'_>, bound: Bound) -> Result<Option<Lead<'_>>> {
        self.lead_with(name, bound, &Reader::new(&self.segments))
    }

    fn around(&self, name: &Name<'_>, max: RunKey) -> Result<Around<'_>> {
        let reader = Reader::new(&self.segments);
        // Where nobody can say which run comes next, the answer is one for this run alone.
        let next = max.next().and_then(|min| {
            self.ceil(&name.key, min, &reader).map_or(Some(min), |found| found.map(|found| found.run))
        });
        let newest = self.lead_with(name, Bound::AtMost(max), &reader)?;
        let later = next
            .filter(|_| newest.is_none())
            .and_then(|next| self.lead_with(name, Bound::AtLeast(next), &reader).ok().flatten());
        Ok(Around { newest, next, later })
    }

    fn lead_with<'s>(
        &'s self,
        name: &Name<'_>,
        bound: Bound,
        reader: &Reader<'s>,
    ) -> Result<Option<Lead<'s>>> {
        let mut bound = bound;
        loop {
            let found = match bound {
                Bound::In(run) => self.find_with(&Key::new(name.key, run), reader)?,
                Bound::AtMost(max) => self.floor(&name.key, max, reader)?,
                Bound::AtLeast(min) => self.ceil(&name.key, min, reader)?,
            };
            let Some(found) = found else { return Ok(None) };
            let next = match (self.lead_from(found.at, name, found.run, reader)?, bound) {
                (Ok(lead), _) => return Ok(Some(lead)),
                // As `newest` has it: an older one in the stead of a lost one would be a lie.
                (Err(_), Bound::In(_)) | (Err(Absent::Lost), Bound::AtMost(_)) => return Ok(None),
                (Err(_), Bound::AtMost(_)) => found.run.previous().map(Bound::AtMost),
                (Err(_), Bound::AtLeast(_)) => found.run.next().map(Bound::AtLeast),
            };
            let Some(next) = next else { return Ok(None) };
            bound = next;
        }
    }

    /// Goes on from the record that the index named, over an alias.
    fn lead_from<'s>(
        &'s self,
        at: Location,
        name: &Name<'_>,
        run: RunKey,
        reader: &Reader<'s>,
    ) -> Result<std::result::Result<Lead<'s>, Absent>> {
        let key = Key::new(name.key, run);
        // No alias is that long.
        if self.is_long(at, &key, reader)? {
            return Ok(Ok(Lead::Long(at, key)));
        }
        let alias = match self.read(at, &key, reader)? {
            Some(snapshot) if !snapshot.is_named(name) => return Ok(Err(Absent::Gone)),
            Some(alias) if alias.kind() == PutKind::Alias => alias,
            Some(snapshot) => return Ok(Ok(Lead::Read(snapshot))),
            None => return self.absent(at).map(|absent| absent.map(Lead::Read)),
        };
        let target = Key::new(Name::of(&alias.body()?).key, run);
        if let Some(found) = self.find_with(&target, reader)?
            && self.is_long(found.at, &target, reader)?
        {
            return Ok(Ok(Lead::Long(found.at, target)));
        }
        self.follow(&alias, run, reader).map(|resolved| resolved.map(Lead::Read))
    }

    /// Tells whether a long PUT of this key lies at a location. Where the head does not hold, reading it says what is wrong.
    fn is_long(&self, at: Location, key: &Key, reader: &Reader<'_>) -> Result<bool> {
        if self.dead.contains(&at.segment) {
            return Ok(false);
        }
        let head = reader.head(at)?;
        Ok(head.is_some_and(|head| head.size > LONG_BYTES && head.tag == Tag::Put && head.key() == *key))
    }
}
