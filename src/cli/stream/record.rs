//! The record of what was checked when, which `check --record` keeps outside the store: of each segment its length, the
//! time, and what was found. Text: a line for the store, one for each segment, and one with the CRC-32 of all before it.
//! One that cannot be read means to start over. Several checks may keep one record at the same time: whoever writes it reads it
//! again under a lock and changes in it what it found itself. The idea is that of the pack tracker in `borgbackup/borg
//! src/borg/repository.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::crc::crc32;
use crate::id::{Location, SegmentId, StoreId};
use crate::store::check::{Level, SegmentReport, Shard};
use crate::vfs::tree;

use super::super::args::LevelArg;
use super::super::files;

/// Longest record that is read back, in bytes: some ten million segments.
const RECORD_MAX_BYTES: u64 = 1 << 30;
/// How a record begins.
const KIND: &str = "check-record";

/// What was found in a segment.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    seg: u32,
    bytes: u64,
    /// Seconds since 1970.
    time: i64,
    level: LevelArg,
    /// Damaged places.
    bad: u64,
}

#[derive(Serialize, Deserialize)]
struct Head {
    v: u8,
    r#type: String,
    store: String,
}

#[derive(Serialize, Deserialize)]
struct Seal {
    crc: String,
}

/// The record of one store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    path: PathBuf,
    store: Option<StoreId>,
    entries: BTreeMap<SegmentId, Entry>,
    /// The entries as they stood in the file when it was last read or written.
    stored: BTreeMap<SegmentId, Entry>,
    /// Segments that this run has told of, and whether their entries are its own.
    told: BTreeMap<SegmentId, bool>,
}

/// Which segments of a store a run was to tell of: those of its shard, from one place on, up to another if it did not come
/// to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) shard: Option<Shard>,
    pub(super) from: Option<Location>,
    pub(super) until: Option<Location>,
}

impl Record {
    /// Reads a record; without one it is empty. Also returns why it is, if there is one that cannot be used.
    ///
    /// # Errors
    /// `BadInput` for a path in the store: there it would be lost with what it is about, and be damage itself.
    pub(super) fn open(path: &Path, store: &Path) -> Result<(Record, Option<String>)> {
        let what = path.display().to_string();
        if matches!(tree::kind_at(path)?, Some(kind) if kind != crate::vfs::Kind::File) {
            return Err(Error::BadInput { what, reason: "is no file".to_owned() });
        }
        files::outside(path, store)?;
        let path = path.to_path_buf();
        let (read, reason) = match read(&path)? {
            Ok(read) => (read, None),
            Err(reason) => (None, Some(reason)),
        };
        let (store, entries) =
            read.map_or((None, BTreeMap::new()), |(store, entries)| (Some(store), entries));
        Ok((Record { path, store, stored: entries.clone(), entries, told: BTreeMap::new() }, reason))
    }

    /// Says of which store the run is. Tells whether the record is of another one, and forgets it then.
    pub(super) fn is_foreign(&mut self, store: StoreId) -> bool {
        let is_foreign = self.store.is_some_and(|known| known != store);
        if is_foreign {
            self.entries.clear();
            self.stored.clear();
        }
        self.store = Some(store);
        is_foreign
    }

    /// Tells whether a segment was found good at this level or deeper, at that length, at `since` or later and not after
    /// `now`: a clock that was put back proves nothing.
    pub(super) fn is_good(&self, at: (SegmentId, u64), level: Level, since: i64, now: i64) -> bool {
        self.entries.get(&at.0).is_some_and(|entry| {
            entry.bad == 0
                && entry.bytes == at.1
                && depth(entry.level.into()) >= depth(level)
                && (since..=now).contains(&entry.time)
        })
    }

    /// Notes what was found in a segment. Where a deeper look at the same bytes was noted, a good result says less.
    pub(super) fn note(&mut self, report: &SegmentReport, level: LevelArg, now: i64) {
        let is_whole = report.present && !report.unreadable;
        let bad = if is_whole { report.bad } else { report.bad.max(1) };
        let entry = Entry { seg: report.segment.0, bytes: report.bytes, time: now, level, bad };
        let says_less = |known: &Entry| entry.says_less_than(known);
        let keeps = report.skipped || self.entries.get(&report.segment).is_some_and(says_less);
        self.told.insert(report.segment, !keeps);
        if !keeps {
            self.entries.insert(report.segment, entry);
        }
    }

    /// Forgets segments that the run would have told of if they were there. Returns the damaged places that are known
    /// from before: of segments that it did not come to, or did not look at so deep.
    pub(super) fn settle(&mut self, reach: &Reach) -> u64 {
        let is_meant = |id: SegmentId| {
            reach.shard.is_none_or(|shard| shard.has(id)) && reach.from.is_none_or(|from| id >= from.segment)
        };
        let is_open = |id: SegmentId| reach.until.is_some_and(|until| id >= until.segment);
        let told = &self.told;
        self.entries.retain(|id, _| told.contains_key(id) || !is_meant(*id) || is_open(*id));
        let left = self.entries.iter().filter(|(id, _)| is_meant(**id) && told.get(*id) != Some(&true));
        left.map(|(_, entry)| entry.bad).fold(0, u64::saturating_add)
    }

    /// Writes it: a crash leaves the old one or the new one. What others have written meanwhile stays.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn save(&mut self) -> Result<()> {
        let Some(store) = self.store else { return Ok(()) };
        let _alone = tree::lock_for_rewrite(&self.path)?;
        let theirs = read(&self.path)?.ok().flatten().filter(|(of, _)| *of == store);
        if let Some((_, theirs)) = theirs {
            self.merge(&theirs);
        }
        let mut file = tree::create_file(&self.path)?;
        let failed = |error| Error::io("write", &self.path, error);
        file.write_all(self.encode(store).as_bytes()).map_err(failed)?;
        file.finish()?;
        self.stored = self.entries.clone();
        Ok(())
    }

    /// Takes over what others have changed in the file. What both have changed is as the later look has it; of two at one
    /// time, the worse.
    fn merge(&mut self, theirs: &BTreeMap<SegmentId, Entry>) {
        let known = self.stored.keys().chain(theirs.keys()).copied();
        for id in known.collect::<BTreeSet<SegmentId>>() {
            let (then, ours, theirs) = (self.stored.get(&id), self.entries.get(&id), theirs.get(&id));
            let merged = match (ours, theirs) {
                _ if theirs == then => ours,
                _ if ours == then => theirs,
                (Some(ours), Some(theirs)) => Some(ours.or_later(theirs)),
                (ours, theirs) => ours.or(theirs),
            };
            match merged.copied() {
                Some(entry) => self.entries.insert(id, entry),
                None => self.entries.remove(&id),
            };
        }
    }

    fn encode(&self, store: StoreId) -> String {
        let head = Head { v: 1, r#type: KIND.to_owned(), store: store.to_string() };
        let mut text = String::new();
        // Neither these structures nor writing to a String can fail.
        writeln!(text, "{}", serde_json::to_string(&head).unwrap_or_default()).ok();
        for entry in self.entries.values() {
            writeln!(text, "{}", serde_json::to_string(entry).unwrap_or_default()).ok();
        }
        let seal = Seal { crc: format!("{:08x}", crc32(text.as_bytes())) };
        writeln!(text, "{}", serde_json::to_string(&seal).unwrap_or_default()).ok();
        text
    }
}

impl Entry {
    /// Tells whether a good result says less than a deeper look at the same bytes.
    fn says_less_than(&self, known: &Entry) -> bool {
        self.bad == 0 && known.bytes == self.bytes && depth(known.level.into()) > depth(self.level.into())
    }

    /// The later one of two, unless that says less.
    fn or_later<'e>(&'e self, other: &'e Entry) -> &'e Entry {
        let (first, last) =
            if (self.time, self.bad) <= (other.time, other.bad) { (self, other) } else { (other, self) };
        if last.says_less_than(first) { first } else { last }
    }
}

type Stored = (StoreId, BTreeMap<SegmentId, Entry>);

/// Reads the file, if there is one. The inner error says why it cannot be used.
fn read(path: &Path) -> Result<std::result::Result<Option<Stored>, String>> {
    if tree::kind_at(path)?.is_none() {
        return Ok(Ok(None));
    }
    let read = tree::read_input(path, RECORD_MAX_BYTES).map_err(|error| error.to_string());
    Ok(read.and_then(|bytes| decode(&bytes)).map(Some))
}

fn decode(bytes: &[u8]) -> std::result::Result<Stored, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
    let body = text.strip_suffix('\n').ok_or("its last line is cut off")?;
    let cut = body.rfind('\n').map_or(0, |at| at.saturating_add(1));
    let (sealed, seal) = body.split_at_checked(cut).ok_or("it has no seal")?;
    let seal: Seal = serde_json::from_str(seal).map_err(|_| "it has no seal".to_owned())?;
    if seal.crc != format!("{:08x}", crc32(sealed.as_bytes())) {
        return Err("its checksum does not hold".to_owned());
    }
    let mut lines = sealed.lines();
    let head: Head = lines
        .next()
        .and_then(|line| serde_json::from_str(line).ok())
        .filter(|head: &Head| head.v == 1 && head.r#type == KIND)
        .ok_or("it is of another kind or version")?;
    let store = StoreId::parse(&head.store).ok_or("it names no store")?;
    let entry = |line| serde_json::from_str(line).map(|entry: Entry| (SegmentId(entry.seg), entry));
    let entries: std::result::Result<_, _> = lines.map(entry).collect();
    Ok((store, entries.map_err(|error| error.to_string())?))
}

fn depth(level: Level) -> u8 {
    match level {
        Level::Index => 0,
        Level::Crc => 1,
        Level::Content => 2,
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
