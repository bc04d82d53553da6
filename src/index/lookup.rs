//! Looks up an object in one index file.
//!
//! Every answer is exact for intact records: tag and hash only filter, the key in the record's header
//! decides. Where a header cannot be read, or is of an object that the entry cannot be for, the index itself attributes the
//! record by its 64-bit hash, so that a damaged newest record is found and reported as damaged instead of the one before it.

use crate::error::Result;
use crate::format::index::{BUCKET_BYTES, BUCKETS_PER_PAGE, Packed, RawEntry, Slot, home_bucket};
use crate::id::{Key, Location, ObjectKey, RunKey};

use super::RecordKeys;
use super::entry::{EntryFlags, Found};
use super::probe::{List, Probe};
use super::view::{Index, partition};

/// Which of an object's entries is asked for.
#[derive(Clone, Copy, Debug)]
enum Want {
    At(RunKey),
    Floor(RunKey),
    Ceil(RunKey),
}

impl Want {
    fn admits(self, run: RunKey) -> bool {
        match self {
            Want::At(exact) => run == exact,
            Want::Floor(max) => run <= max,
            Want::Ceil(min) => run >= min,
        }
    }
}

/// What the first slot with an object's tag says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Likely {
    /// There is no such slot: the index does not have the object.
    Absent,
    /// If the record there is intact and the object's, it is the only one that the index has of the object.
    At(Location),
    /// The object may have several entries, or a page does not hold.
    Unknown,
}

/// What the slot of an object's hash points to.
enum Own {
    One(Found),
    List(List),
}

/// An entry that may be the object's.
#[derive(Clone, Copy, Debug)]
struct Match {
    found: Found,
    /// The record's header was read and has the key; else only the hash says so.
    sure: bool,
}

impl<B: AsRef<[u8]>> Index<B> {
    /// Returns the entry of an object in exactly that run, a tombstone too. O(1) expected: for an object
    /// with one entry one bucket and one [`RecordKeys::key_at`].
    ///
    /// # Errors
    /// `Damaged` for a page that does not hold; errors of `keys`.
    pub fn at<R: RecordKeys + ?Sized>(
        &self,
        key: &ObjectKey,
        run: RunKey,
        keys: &R,
    ) -> Result<Option<Found>> {
        self.find(key, Want::At(run), keys)
    }

    /// Returns the entry of the object's largest run that is at most `max_run`, a tombstone too. Cost and
    /// errors as of [`at`](Index::at), and a binary search if the object has several entries.
    ///
    /// # Errors
    /// As of `at`.
    pub fn floor<R: RecordKeys + ?Sized>(
        &self,
        key: &ObjectKey,
        max_run: RunKey,
        keys: &R,
    ) -> Result<Option<Found>> {
        self.find(key, Want::Floor(max_run), keys)
    }

    /// Returns the entry of the object's smallest run that is at least `min_run`, a tombstone too. Cost as of
    /// [`floor`](Index::floor).
    ///
    /// # Errors
    /// As of `at`.
    pub fn ceil<R: RecordKeys + ?Sized>(
        &self,
        key: &ObjectKey,
        min_run: RunKey,
        keys: &R,
    ) -> Result<Option<Found>> {
        self.find(key, Want::Ceil(min_run), keys)
    }

    /// Returns all entries of an object, ascending by run, tombstones too. O(1) expected and one
    /// [`RecordKeys::key_at`] for each.
    ///
    /// # Errors
    /// As of `at`.
    pub fn all<R: RecordKeys + ?Sized>(&self, key: &ObjectKey, keys: &R) -> Result<Vec<Found>> {
        let hash = self.hash(key);
        match self.slot_of(key, hash, keys)? {
            Some(Own::One(found)) => Ok(vec![found]),
            Some(Own::List(list)) => self.all_in_list(list, key, hash, keys),
            None => Ok(Vec::new()),
        }
    }

    /// Returns the bucket in which a search for an object of this [hash](Index::hash) begins, to be prefetched. Not verified.
    #[inline]
    pub fn bucket_of(&self, hash: u64) -> &[u8] {
        let bucket = home_bucket(hash, self.header.counts.home_buckets);
        self.pages.unverified::<BUCKET_BYTES, BUCKETS_PER_PAGE>(self.sections.buckets, bucket.into())
    }

    /// Returns where a search for an object most probably ends, without a look at a record.
    #[inline]
    pub fn likely(&self, key: &ObjectKey) -> Likely {
        match Probe::new(self, self.hash(key)).next() {
            Ok(Some(Slot::One(at))) => self.location(at).map_or(Likely::Unknown, Likely::At),
            Ok(None) => Likely::Absent,
            Ok(Some(Slot::List(_))) | Err(_) => Likely::Unknown,
        }
    }

    #[inline]
    fn find<R: RecordKeys + ?Sized>(&self, key: &ObjectKey, want: Want, keys: &R) -> Result<Option<Found>> {
        let hash = self.hash(key);
        match self.slot_of(key, hash, keys)? {
            Some(Own::One(found)) => Ok(want.admits(found.run).then_some(found)),
            Some(Own::List(list)) => self.find_in_list(list, key, hash, want, keys),
            None => Ok(None),
        }
    }

    /// Finds the slot of an object. A hash has one slot only, so the first that is ours ends the search.
    #[inline]
    fn slot_of<R: RecordKeys + ?Sized>(&self, key: &ObjectKey, hash: u64, keys: &R) -> Result<Option<Own>> {
        let mut probe = Probe::new(self, hash);
        let mut entered: Option<(Packed, Found)> = None;
        while let Some(slot) = probe.next()? {
            match slot {
                Slot::One(at) => {
                    let location = self.location(at)?;
                    match keys.key_at(location)? {
                        Some(record) if record.object == *key => {
                            return Ok(Some(Own::One(Found { run: record.run, at: location, flags: None })));
                        }
                        // Another object whose hash begins alike.
                        Some(record) if self.is_of(at, &record)? => {}
                        // One that the index does not have there has taken another's place.
                        Some(_) | None => match self.entry_of_hash(hash, &mut entered)? {
                            Some((own, found)) if own.bare() == at.bare() => {
                                return Ok(Some(Own::One(found)));
                            }
                            Some(_) => {}
                            None => return Ok(None),
                        },
                    }
                }
                Slot::List(first) => {
                    if let Some(list) = self.list_of(first, hash)? {
                        return Ok(Some(Own::List(list)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Tells whether a slot is that of the record where it leads: then the entry of the record's hash and run says so too.
    /// O(log of the run's entries).
    #[cold]
    fn is_of(&self, at: Packed, record: &Key) -> Result<bool> {
        let Some((row, _)) = self.find_run(record.run)? else { return Ok(false) };
        let entry = self.entry_in(row, self.hash(&record.object))?;
        Ok(entry.is_some_and(|entry| entry.at.bare() == at.bare()))
    }

    /// Returns the first entry of a hash in a row.
    fn entry_in(&self, row: u32, hash: u64) -> Result<Option<RawEntry>> {
        let (start, end) = self.range_of(row)?;
        let number = partition(start, end, |number| Ok(self.raw_entry(number)?.hash < hash))?;
        if number >= end {
            return Ok(None);
        }
        Ok(Some(self.raw_entry(number)?).filter(|entry| entry.hash == hash))
    }

    /// Finds the first entry of a hash without the buckets, by searching run after run: whose a record is
    /// that cannot be read. O(runs × log), once for each lookup that needs it.
    #[cold]
    fn entry_of_hash(
        &self,
        hash: u64,
        known: &mut Option<(Packed, Found)>,
    ) -> Result<Option<(Packed, Found)>> {
        if known.is_some() {
            return Ok(*known);
        }
        for row in 0..self.header.counts.runs {
            if let Some(entry) = self.entry_in(row, hash)? {
                *known = Some((entry.at, self.found(self.raw_run(row)?.run, &entry)?));
                break;
            }
        }
        Ok(*known)
    }

    /// Returns the list at an item if it is that of the hash.
    pub(super) fn list_of(&self, first: u64, hash: u64) -> Result<Option<List>> {
        let list = self.list(first)?;
        let entry = self.raw_entry(self.list_entry(list, 0)?)?;
        Ok((entry.hash == hash).then_some(list))
    }

    /// Returns which positions of a list can have a wanted run, and whether the last of them comes first.
    fn window(&self, list: List, want: Want) -> Result<(u32, u32)> {
        let from = |row| self.first_entry_from(row).and_then(|number| self.list_lower(list, number));
        match want {
            Want::At(run) => self.window_of(list, run),
            Want::Floor(max) => match max.next() {
                Some(above) => Ok((0, from(self.lower_run(above)?)?)),
                None => Ok((0, list.len)),
            },
            Want::Ceil(RunKey(0)) => Ok((0, list.len)),
            Want::Ceil(min) => Ok((from(self.lower_run(min)?)?, list.len)),
        }
    }

    /// Returns which positions of a list are of a run.
    pub(super) fn window_of(&self, list: List, run: RunKey) -> Result<(u32, u32)> {
        let from = |row| self.first_entry_from(row).and_then(|number| self.list_lower(list, number));
        match self.find_run(run)? {
            Some((row, _)) => Ok((from(row)?, from(row.saturating_add(1))?)),
            None => Ok((0, 0)),
        }
    }

    fn find_in_list<R: RecordKeys + ?Sized>(
        &self,
        list: List,
        key: &ObjectKey,
        hash: u64,
        want: Want,
        keys: &R,
    ) -> Result<Option<Found>> {
        let (start, end) = self.window(list, want)?;
        // A record that cannot be read counts as the object's, unless its run has one that surely is: two
        // objects of one hash in one run.
        let mut doubtful: Option<Found> = None;
        for step in 0..end.saturating_sub(start) {
            let position = match want {
                Want::Floor(_) => end.saturating_sub(1).saturating_sub(step),
                Want::At(_) | Want::Ceil(_) => start.saturating_add(step),
            };
            let (run, matched) = self.member(list, position, key, hash, keys)?;
            if doubtful.is_some_and(|found| found.run != run) {
                break;
            }
            match matched {
                Some(Match { found, sure: true }) if want.admits(run) => return Ok(Some(found)),
                Some(Match { sure: true, .. }) => return Err(self.disagrees("run of an entry")),
                Some(Match { found, sure: false }) => doubtful = doubtful.or(Some(found)),
                None => {}
            }
        }
        Ok(doubtful)
    }

    fn all_in_list<R: RecordKeys + ?Sized>(
        &self,
        list: List,
        key: &ObjectKey,
        hash: u64,
        keys: &R,
    ) -> Result<Vec<Found>> {
        let mut found: Vec<Match> = Vec::new();
        for position in 0..list.len {
            let (run, matched) = self.member(list, position, key, hash, keys)?;
            let Some(new) = matched else { continue };
            let rival = found.iter().rposition(|old| old.found.run == run && old.sure != new.sure);
            match rival {
                None => found.push(new),
                Some(old) if new.sure => {
                    if let Some(place) = found.get_mut(old) {
                        *place = new;
                    }
                }
                Some(_) => {}
            }
        }
        Ok(found.into_iter().map(|each| each.found).collect())
    }

    /// Returns the run of an entry of a list, and the entry if it is, or may be, the object's.
    fn member<R: RecordKeys + ?Sized>(
        &self,
        list: List,
        position: u32,
        key: &ObjectKey,
        hash: u64,
        keys: &R,
    ) -> Result<(RunKey, Option<Match>)> {
        let number = self.list_entry(list, position)?;
        let entry = self.raw_entry(number)?;
        if entry.hash != hash {
            return Err(self.disagrees("hash of a list's entry"));
        }
        let location = self.location(entry.at)?;
        match keys.key_at(location)? {
            Some(record) if record.object == *key => {
                let found = self.found(record.run, &entry)?;
                Ok((record.run, Some(Match { found, sure: true })))
            }
            // Two objects of one hash.
            Some(record) if self.hash(&record.object) == hash => Ok((record.run, None)),
            Some(_) | None => {
                let run = self.run_of_entry(number)?;
                let found = self.found(run, &entry)?;
                Ok((run, Some(Match { found, sure: false })))
            }
        }
    }

    fn found(&self, run: RunKey, entry: &RawEntry) -> Result<Found> {
        let flags = Some(EntryFlags::from_bits(entry.at));
        Ok(Found { run, at: self.location(entry.at)?, flags })
    }
}
