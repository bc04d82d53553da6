//! Whose an unreadable record was, and what stood before it: questions that the whole log answers.
//!
//! The index tells of an unreadable record the run and a hash of its object. If any readable record of the log, live or
//! not, has an object of that hash, it was that object's. If none has, the log holds nothing that could be taken for an
//! older state of it, so nothing has to be hidden, and no record for "a hash" is needed in the format.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::plan::Plan;
use super::salvage::Judge;
use super::superseded::Others;
use crate::error::{Damage, Error, Result};
use crate::format::record::{Head, Tag};
use crate::id::{CommitId, Key, Location, ObjectKey};
use crate::index::hash_key;
use crate::segment::{Segments, Walk};
use crate::store::log::{LogPosition, LogSink, Survey, Transaction, read_log};

impl Plan {
    /// Finds out whose the records are of which only a hash is known.
    ///
    /// # Errors
    /// Failures of reading, damage in the index.
    pub(super) fn attribute(&mut self, judge: &Judge<'_>) -> Result<()> {
        let Judge { state, segments, seed, is_claimed, .. } = *judge;
        let lost = self.salvages.iter().flat_map(|salvage| &salvage.lost).filter(|lost| lost.key.is_none());
        let mut wanted: HashSet<u64> = lost.filter_map(|lost| lost.hash).collect();
        wanted.extend(
            self.salvages.iter().flat_map(|salvage| &salvage.deleted_hashes).map(|(_, hash, _)| *hash),
        );
        let objects = objects(segments, seed, &wanted)?;
        for salvage in &mut self.salvages {
            let others = Others { state, segment: salvage.segment, keep: &salvage.keep };
            let key_of = |hash: &u64, run, own| match objects.get(hash).map(|object| Key::new(*object, run)) {
                Some(key) if !is_claimed && others.have(&key, own)? => Ok::<_, Error>(None),
                key => Ok(key),
            };
            for lost in salvage.lost.iter_mut().filter(|lost| lost.key.is_none()) {
                let Some(hash) = lost.hash else { continue };
                lost.key = key_of(&hash, lost.run, lost.place.offset)?;
                if lost.key.is_none() && objects.contains_key(&hash) {
                    // Of an object with the same hash: a source must not take that one's file for it.
                    lost.hash = None;
                }
            }
            let mut deleted = Vec::new();
            for (offset, hash, run) in &salvage.deleted_hashes {
                let key = key_of(hash, *run, Some(u64::from(*offset)))?;
                deleted.extend(key.map(|key| (*offset, key)));
            }
            salvage.deleted.extend(deleted);
        }
        Ok(())
    }
}

/// Finds the objects that have one of these hashes. Reads the heads of the whole log.
///
/// # Errors
/// Failures of reading.
pub(super) fn objects(
    segments: &Segments,
    seed: u64,
    wanted: &HashSet<u64>,
) -> Result<HashMap<u64, ObjectKey>> {
    let mut found = Gather(Vec::new());
    if !wanted.is_empty() {
        read_log(segments, &mut LogPosition::default(), Objects { seed, wanted }, &mut found)?;
    }
    Ok(found.0.into_iter().collect())
}

struct Objects<'w> {
    seed: u64,
    wanted: &'w HashSet<u64>,
}

impl Survey for Objects<'_> {
    type Notes = Vec<(u64, ObjectKey)>;

    fn record(&self, _: &mut Walk<'_>, _: Location, head: &Head, notes: &mut Self::Notes) -> Result<()> {
        let object = head.key().object;
        if matches!(head.tag, Tag::Put | Tag::Delete) && object != ObjectKey::RUN {
            let hash = hash_key(&object, self.seed);
            if self.wanted.contains(&hash) {
                notes.push((hash, object));
            }
        }
        Ok(())
    }
}

/// Gathers the notes of all committed records.
struct Gather<T>(Vec<T>);

impl<T> LogSink<Vec<T>> for Gather<T> {
    fn committed(&mut self, mut notes: Vec<T>) -> Result<()> {
        self.0.append(&mut notes);
        Ok(())
    }

    fn transaction(&mut self, _: &Transaction<'_>) -> Result<()> {
        Ok(())
    }

    fn damage(&mut self, _: Location, _: u32, _: Damage) -> Result<()> {
        Ok(())
    }

    fn tail(&mut self, _: Location, _: u32, _: CommitId) -> Result<()> {
        Ok(())
    }
}

/// Finds, for each of these keys, the newest committed record that can be read. Reads the heads of the whole log.
///
/// # Errors
/// Failures of reading.
pub(super) fn older(segments: &Segments, wanted: &BTreeSet<Key>) -> Result<BTreeMap<Key, (Location, Tag)>> {
    let mut found = Gather(Vec::new());
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    read_log(segments, &mut LogPosition::default(), Older { wanted }, &mut found)?;
    let mut places: BTreeMap<Key, Vec<Location>> = BTreeMap::new();
    for (key, at) in found.0 {
        places.entry(key).or_default().push(at);
    }
    let mut newest = BTreeMap::new();
    for (key, places) in places {
        for at in places.into_iter().rev() {
            match segments.require(at.segment)?.record(at.offset) {
                Ok(record) => {
                    newest.insert(key, (at, record.head.tag));
                    break;
                }
                Err(Error::Damaged { .. }) => {}
                Err(other) => return Err(other),
            }
        }
    }
    Ok(newest)
}

struct Older<'w> {
    wanted: &'w BTreeSet<Key>,
}

impl Survey for Older<'_> {
    type Notes = Vec<(Key, Location)>;

    fn record(&self, _: &mut Walk<'_>, at: Location, head: &Head, notes: &mut Self::Notes) -> Result<()> {
        let key = head.key();
        if matches!(head.tag, Tag::Put | Tag::Delete) && self.wanted.contains(&key) {
            notes.push((key, at));
        }
        Ok(())
    }
}
