//! The open transaction: records staged in memory, then appended to one segment.
//!
//! Records are staged without a place first, as it is only known with their number whether they are worth
//! a copy of the dictionary in a new segment. From 1 MiB on they go to the file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Damage, Error, Place, Result};
use crate::format::crc::Crc32;
use crate::format::put::{self, PutData, PutKind};
use crate::format::record::{HEAD_LEN, Tag, key_bytes};
use crate::id::{Instant, Key, Location, RunKey};
use crate::limits::TRANSACTION_MAX_BYTES;
use crate::segment::codec::{self, Codec};
use crate::segment::{Dictionary, Encoder, SegmentWriter};

/// Bytes staged before they go to the segment.
pub(crate) const STAGE_BYTES: usize = 1 << 20;

/// What the newest record of a key was before a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Before {
    /// Where it lies.
    pub(crate) at: Location,
    /// Bytes of the record.
    pub(crate) stored_len: u32,
    /// Bytes of the payload.
    pub(crate) file_len: u32,
    /// What it holds; `None` for a tombstone.
    pub(crate) kind: Option<PutKind>,
}

/// One change of a transaction, ready to be applied to a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    /// Which key.
    pub(crate) key: Key,
    /// Where its new record lies.
    pub(crate) at: Location,
    /// Bytes of that record.
    pub(crate) stored_len: u32,
    /// Bytes of the payload.
    pub(crate) file_len: u32,
    /// What it holds; `None` for a tombstone.
    pub(crate) kind: Option<PutKind>,
    /// Whether repair declared the key lost by it.
    pub(crate) lost: bool,
    /// What the key's record was before.
    pub(crate) before: Option<Before>,
}

#[derive(Debug)]
struct Staged {
    tag: Tag,
    key: Key,
    data: Range<usize>,
    change: usize,
}

/// The open transaction.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    staged: Vec<Staged>,
    data: Vec<u8>,
    /// Bytes of the last staged record that are not in `data`: a large payload, which is not copied.
    apart: usize,
    changes: Vec<Change>,
    /// The checksums of their data, as far as they are in the segment.
    checksums: Vec<u32>,
    newest: HashMap<Key, usize>,
    /// Directory names of the runs put in it; `None` for one deleted.
    runs: BTreeMap<RunKey, Option<Vec<u8>>>,
    heads: Crc32,
    written: u64,
    /// Records that need the segment's dictionary among the staged.
    pub(crate) with_dictionary: usize,
}

impl Stage {
    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Bytes staged and not yet in the segment.
    pub(crate) fn staged_bytes(&self) -> usize {
        self.data.len().saturating_add(self.apart)
    }

    /// Tells whether some of it is in the segment already.
    pub(crate) fn is_written(&self) -> bool {
        self.written > 0
    }

    /// The changes, in order; places are right once everything is written.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The checksum of each record's data, in order, once everything is written.
    pub(crate) fn checksums(&self) -> &[u32] {
        &self.checksums
    }

    /// The change of a key in this transaction, if any.
    pub(crate) fn newest(&self, key: &Key) -> Option<&Change> {
        self.newest.get(key).and_then(|at| self.changes.get(*at))
    }

    /// Visits the runs of an instant that this transaction changes, with their directory names; without one those that it
    /// deletes. It keeps the names itself, as the records go to the segment long before the transaction ends.
    pub(crate) fn name_runs(&self, at: Instant, mut each: impl FnMut(RunKey, Option<&[u8]>)) {
        let runs = self.runs.range(RunKey::new(at, 0)..=RunKey::last_of(at));
        runs.for_each(|(run, name)| each(*run, name.as_deref()));
    }

    /// By how much this transaction changes the number of live records in a run.
    pub(crate) fn live_in(&self, run: RunKey) -> i64 {
        let of_run = self.newest.iter().filter(|(key, _)| key.run == run && !key.is_run());
        of_run
            .filter_map(|(key, at)| {
                let first = self.changes.iter().find(|change| change.key == *key)?;
                let was = first.before.is_some_and(|before| before.kind.is_some());
                let is = self.changes.get(*at)?.kind.is_some();
                Some(i64::from(is).saturating_sub(i64::from(was)))
            })
            .sum()
    }

    /// Bytes in the segment.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written
    }

    /// Checksum over the heads written, for the COMMIT.
    pub(crate) fn heads_crc(&self) -> u32 {
        self.heads.finish()
    }

    /// Stages a record whose data `write` appends.
    pub(crate) fn push(
        &mut self,
        tag: Tag,
        change: Change,
        with_dictionary: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        self.push_front(tag, change, with_dictionary, 0, write)
    }

    /// Stages a record whose data `write` appends, but for so many bytes at its end that stay `apart`: those are to be given to
    /// [`write`](Stage::write) before anything else is staged.
    pub(crate) fn push_front(
        &mut self,
        tag: Tag,
        mut change: Change,
        with_dictionary: bool,
        apart: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        let start = self.data.len();
        write(&mut self.data);
        let end = self.data.len().saturating_add(apart);
        let len = u64::try_from(end.saturating_sub(start)).unwrap_or(u64::MAX);
        let staged = u64::try_from(end).unwrap_or(u64::MAX);
        let total = self.written.saturating_add(staged).saturating_add(u64::from(HEAD_LEN).saturating_mul(2));
        if total > TRANSACTION_MAX_BYTES {
            self.data.truncate(start);
            return Err(Error::TooLarge { what: "transaction", len: total, max: TRANSACTION_MAX_BYTES });
        }
        if change.key.is_run() {
            self.runs.insert(change.key.run, name_in(self.data.get(start..), tag, &change.key)?);
        }
        change.stored_len = u32::try_from(len).unwrap_or(u32::MAX).saturating_add(HEAD_LEN);
        let number = self.changes.len();
        self.staged.push(Staged { tag, key: change.key, data: start..self.data.len(), change: number });
        self.apart = apart;
        self.newest.insert(change.key, number);
        self.changes.push(change);
        self.with_dictionary = self.with_dictionary.saturating_add(usize::from(with_dictionary));
        Ok(())
    }

    /// Appends everything staged to the segment, which gives the records their places. `apart` is the end of the last one.
    pub(crate) fn write(&mut self, segment: &mut SegmentWriter, apart: &[u8]) -> Result<()> {
        let last = self.staged.len().saturating_sub(1);
        for (number, staged) in self.staged.iter().enumerate() {
            let data = self.data.get(staged.data.clone()).unwrap_or_default();
            let rest = if number == last { apart } else { &[] };
            let (at, head, bytes) = segment.append_parts(staged.tag, &key_bytes(&staged.key), data, rest)?;
            self.heads.update(&bytes);
            self.written = self.written.saturating_add(head.size.into());
            self.checksums.push(head.data_crc);
            if let Some(change) = self.changes.get_mut(staged.change) {
                change.at = at;
                change.stored_len = head.size;
            }
        }
        self.staged.clear();
        self.data.clear();
        self.apart = 0;
        self.with_dictionary = 0;
        Ok(())
    }

    /// Encodes the staged payloads anew without the dictionary, for a segment that has none. What is `apart` comes in.
    pub(crate) fn without_dictionary(
        &mut self,
        dictionary: &Arc<Dictionary>,
        apart: &mut &[u8],
    ) -> Result<()> {
        self.data.extend_from_slice(std::mem::take(apart));
        self.apart = 0;
        if let Some(last) = self.staged.last_mut() {
            last.data.end = self.data.len();
        }
        let mut encoder = Encoder::zstd(None);
        let mut data = Vec::with_capacity(self.data.len().saturating_mul(2));
        for staged in &mut self.staged {
            let old = self.data.get(staged.data.clone()).unwrap_or_default();
            let start = data.len();
            match staged.tag {
                Tag::Put => reencode(&mut data, &staged.key, old, &mut encoder, dictionary)?,
                Tag::Delete | Tag::Commit | Tag::Dictionary => data.extend_from_slice(old),
            }
            staged.data = start..data.len();
        }
        self.data = data;
        self.with_dictionary = 0;
        Ok(())
    }
}

/// Reads the name of a run out of the data of its record.
fn name_in(data: Option<&[u8]>, tag: Tag, key: &Key) -> Result<Option<Vec<u8>>> {
    if tag != Tag::Put {
        return Ok(None);
    }
    let name = put::decode(data.unwrap_or_default()).and_then(|put| put.name(key).map(Cow::into_owned));
    name.map(Some).map_err(|damage| Error::damaged(Place::whole("memory"), damage))
}

/// Appends the data of a PUT, its payload compressed without a dictionary.
fn reencode(
    out: &mut Vec<u8>,
    key: &Key,
    old: &[u8],
    encoder: &mut Encoder,
    dictionary: &Arc<Dictionary>,
) -> Result<()> {
    let broken = |damage: Damage| Error::damaged(Place::whole("memory"), damage);
    let put = put::decode(old).map_err(broken)?;
    if put.codec != Codec::ZstdDictionary {
        out.extend_from_slice(old);
        return Ok(());
    }
    let payload = codec::decode(put.codec, put.payload, put.raw_len, Some(dictionary)).map_err(broken)?;
    let plain = encoder.encode(&payload)?;
    let name = put.name(key).map_err(broken)?;
    put::encode(out, key, &name, &PutData { codec: plain.codec, payload: &plain.bytes, ..put.clone() });
    Ok(())
}
