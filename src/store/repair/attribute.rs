//! Whose an unreadable record was, and what stood before it: questions that the whole log answers.
//!
//! The index tells of an unreadable record the run and a hash of its object. If any readable record of the log, live or
//! not, has an object of that hash, it was that object's. If none has, the log holds nothing that could be taken for an
//! older state of it, so nothing has to be hidden, and no record for "a hash" is needed in the format.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::error::{Damage, Error, Result};
use crate::format::record::{Head, Tag};
use crate::id::{Key, Location, ObjectKey};
use crate::index::hash_key;
use crate::segment::{Segments, Walk};
use crate::store::log::{LogPosition, LogSink, Transaction, read_log};

/// Finds the objects that have one of these hashes. Reads the heads of the whole log.
///
/// # Errors
/// Failures of reading.
pub(super) fn objects(
    segments: &Segments,
    seed: u64,
    wanted: &HashSet<u64>,
) -> Result<HashMap<u64, ObjectKey>> {
    let mut objects = Objects { seed, wanted, found: HashMap::new() };
    if !wanted.is_empty() {
        read_log(segments, &mut LogPosition::default(), &mut objects)?;
    }
    Ok(objects.found)
}

struct Objects<'w> {
    seed: u64,
    wanted: &'w HashSet<u64>,
    found: HashMap<u64, ObjectKey>,
}

impl LogSink for Objects<'_> {
    fn record(&mut self, _: &mut Walk<'_>, _: Location, head: &Head) -> Result<()> {
        let object = head.key().object;
        if matches!(head.tag, Tag::Put | Tag::Delete) && object != ObjectKey::RUN {
            let hash = hash_key(&object, self.seed);
            if self.wanted.contains(&hash) {
                self.found.insert(hash, object);
            }
        }
        Ok(())
    }

    fn broken(&mut self, walk: &mut Walk<'_>, at: Location, head: &Head, _: &Damage) -> Result<()> {
        self.record(walk, at, head)
    }

    fn damage(&mut self, _: Location, _: u32, _: Damage) -> Result<()> {
        Ok(())
    }

    fn transaction(&mut self, _: &Transaction<'_>) -> Result<()> {
        Ok(())
    }

    fn tail(&mut self, _: Location, _: u32) -> Result<()> {
        Ok(())
    }
}

/// Finds, for each of these keys, the newest committed record that can be read. Reads the heads of the whole log.
///
/// # Errors
/// Failures of reading.
pub(super) fn older(segments: &Segments, wanted: &BTreeSet<Key>) -> Result<BTreeMap<Key, (Location, Tag)>> {
    let mut older = Older { wanted, found: BTreeMap::new() };
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    read_log(segments, &mut LogPosition::default(), &mut older)?;
    let mut newest = BTreeMap::new();
    for (key, places) in older.found {
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
    found: BTreeMap<Key, Vec<Location>>,
}

impl LogSink for Older<'_> {
    fn record(&mut self, _: &mut Walk<'_>, _: Location, _: &Head) -> Result<()> {
        Ok(())
    }

    fn broken(&mut self, walk: &mut Walk<'_>, at: Location, head: &Head, _: &Damage) -> Result<()> {
        self.record(walk, at, head)
    }

    fn damage(&mut self, _: Location, _: u32, _: Damage) -> Result<()> {
        Ok(())
    }

    fn transaction(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        for (at, head) in transaction.records {
            let key = head.key();
            if self.wanted.contains(&key) {
                self.found.entry(key).or_default().push(*at);
            }
        }
        Ok(())
    }

    fn tail(&mut self, _: Location, _: u32) -> Result<()> {
        Ok(())
    }
}
