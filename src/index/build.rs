//! Writes an index file.
//!
//! In two steps, so that the memory does not grow with the entries: they come in the order of an index and are
//! packed, wherever the caller wants these bytes ([`IndexBuilder::pack`]); then the file is written from them
//! ([`Packed`]). The bytes depend on the set of entries, rows and segments only, not on the order of adding.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::format::index::{ALIAS, Covered, Packed as Place, RawEntry, TOMBSTONE, Totals};
use crate::id::{CommitId, Location, RunKey, SegmentId, StoreId};
use crate::limits::{INDEX_ENTRIES_MAX, INDEX_PART_ENTRIES, SEGMENT_COUNT_MAX};

use super::entry::Entry;
pub use super::entry::RunRow;
use super::pack::Packed;
use super::write::{CHUNK_BYTES, Sink};

/// What a new index file is about.
#[derive(Clone, Copy, Debug)]
pub struct IndexMeta {
    /// Whose index it is.
    pub store: StoreId,
    /// Seed with which the entries were hashed.
    pub seed: u64,
    /// Up to where it reflects the log.
    pub covered: Covered,
    /// Places of the log up to there where committed records are damaged beyond naming.
    pub gaps: u64,
    /// Its place among the layers.
    pub layer: Layer,
}

/// The place of an index file among its layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layer {
    /// It holds everything; the builder computes the figures of the store from it.
    Base,
    /// It holds what came since the layer before it.
    Delta {
        /// Commit of the base.
        base: CommitId,
        /// Commit of the layer before: the base, or a delta.
        previous: CommitId,
        /// Figures of the store, all layers together.
        totals: Totals,
    },
}

/// Collects rows, segments, and entries where there are few; then writes the file.
#[derive(Clone, Debug)]
pub struct IndexBuilder {
    meta: IndexMeta,
    entries: Vec<Entry>,
    rows: Vec<RunRow>,
    segments: Vec<(SegmentId, u32)>,
}

impl IndexBuilder {
    /// Starts an index without entries.
    pub fn new(meta: IndexMeta) -> IndexBuilder {
        IndexBuilder { meta, entries: Vec::new(), rows: Vec::new(), segments: Vec::new() }
    }

    /// Adds an entry; any order. Its run must get a row. In a base the flag `replaces` is dropped.
    pub fn entry(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Adds the row of a run; any order, one for each run.
    pub fn run(&mut self, row: RunRow) {
        self.rows.push(row);
    }

    /// Adds segments with the length at which they were sealed, 0 if they are not. Segments that entries and
    /// rows point to and that are not given count as not sealed.
    pub fn segments(&mut self, segments: &[(SegmentId, u32)]) {
        self.segments.extend_from_slice(segments);
    }

    /// Writes the file into memory.
    ///
    /// # Errors
    /// As of [`write`](IndexBuilder::write).
    pub fn build(self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.write(&mut |bytes| {
            out.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(out)
    }

    /// Writes the file: `sink` gets its bytes in order, some 256 KiB at a time. O(n log n); 16 bytes of
    /// memory an entry beside what was added.
    ///
    /// # Errors
    /// `TooLarge` beyond a limit of the format; `BadInput` for entries that cannot be (offset 0, twice the
    /// same, no row for the run, runs twice); errors of `sink`.
    pub fn write(mut self, sink: Sink<'_>) -> Result<()> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by_key(Entry::order);
        let mut bytes = Vec::new();
        let packed = self.pack(entries.into_iter().map(Ok), &mut |more| {
            bytes.extend_from_slice(more);
            Ok(())
        })?;
        packed.write(&bytes, INDEX_PART_ENTRIES, sink)
    }

    /// Packs entries that come in the order of an index, those that were added left aside: `out` gets 16 bytes
    /// for each, some 256 KiB at a time, from which [`Packed::write`] makes the file. Memory for the rows only.
    ///
    /// # Errors
    /// As of [`write`](IndexBuilder::write), `BadInput` for another order too; errors of `entries` and `out`.
    pub fn pack(mut self, entries: impl IntoIterator<Item = Result<Entry>>, out: Sink<'_>) -> Result<Packed> {
        limit("index runs, in number", self.rows.len(), INDEX_ENTRIES_MAX)?;
        self.rows.sort_unstable_by_key(|row| row.run);
        let mut runs = Runs::new(&self.rows)?;
        let mut table = Table::new(self.segments)?;
        let is_base = self.meta.layer == Layer::Base;
        let mut totals = Totals::default();
        let mut chunk: Vec<u8> = Vec::new();
        let mut before: Option<Entry> = None;
        for entry in entries {
            let entry = entry?;
            if let Some(before) = before.replace(entry)
                && before.order() >= entry.order()
            {
                let twice = before.order() == entry.order();
                return Err(bad(entry.at, if twice { "is entered twice" } else { "is out of order" }));
            }
            runs.enter(entry.run)?;
            let mut flags = entry.flags;
            flags.replaces &= !is_base;
            let at = table.pack(entry.at, flags.to_bits())?;
            match at.flags() & (TOMBSTONE | ALIAS) {
                0 => {}
                ALIAS => totals.aliases = totals.aliases.saturating_add(1),
                _ => totals.tombstones = totals.tombstones.saturating_add(1),
            }
            chunk.extend_from_slice(&RawEntry { hash: entry.hash, at }.encode());
            if chunk.len() >= CHUNK_BYTES {
                out(&chunk)?;
                chunk.clear();
            }
        }
        out(&chunk)?;
        let (firsts, entries) = runs.finish();
        for at in self.rows.iter().filter_map(|row| row.at) {
            table.pack(at, 0)?;
        }
        let (segments, ordinals) = table.sorted();
        Ok(Packed { meta: self.meta, rows: self.rows, firsts, entries, segments, ordinals, totals })
    }
}

/// Numbers the first entries of runs while entries come.
struct Runs<'r> {
    rows: &'r [RunRow],
    firsts: Vec<u32>,
    entries: u32,
}

impl<'r> Runs<'r> {
    fn new(rows: &'r [RunRow]) -> Result<Runs<'r>> {
        let mut pairs = rows.iter().zip(rows.iter().skip(1));
        match pairs.find(|(left, right)| left.run == right.run) {
            Some((twice, _)) => Err(bad_run(twice.run, "has two rows")),
            None => Ok(Runs { rows, firsts: Vec::with_capacity(rows.len()), entries: 0 }),
        }
    }

    /// Takes the next entry, which is of `run`.
    fn enter(&mut self, run: RunKey) -> Result<()> {
        while self.current() < Some(run) && self.firsts.len() < self.rows.len() {
            self.firsts.push(self.entries);
        }
        if self.current() != Some(run) {
            return Err(bad_run(run, "has entries and no row"));
        }
        self.entries = self.entries.checked_add(1).ok_or(Error::TooLarge {
            what: "index entries, in number",
            len: INDEX_ENTRIES_MAX.saturating_add(1),
            max: INDEX_ENTRIES_MAX,
        })?;
        Ok(())
    }

    fn current(&self) -> Option<RunKey> {
        self.firsts.len().checked_sub(1).and_then(|at| self.rows.get(at)).map(|row| row.run)
    }

    /// Returns the number of the first entry of each row, and how many entries there are.
    fn finish(mut self) -> (Vec<u32>, u32) {
        self.firsts.resize(self.rows.len(), self.entries);
        (self.firsts, self.entries)
    }
}

/// The segment table to be. It is sorted in the end only; until then a segment is numbered as it came.
struct Table {
    rows: Vec<(SegmentId, u32)>,
    numbers: BTreeMap<SegmentId, u32>,
    /// Neighbours mostly lie in one segment.
    last: Option<(SegmentId, u32)>,
}

impl Table {
    fn new(mut rows: Vec<(SegmentId, u32)>) -> Result<Table> {
        // Of each segment the row with the largest length.
        rows.sort_unstable_by_key(|(segment, len)| (*segment, std::cmp::Reverse(*len)));
        rows.dedup_by_key(|row| row.0);
        limit("segments, in number", rows.len(), SEGMENT_COUNT_MAX)?;
        let numbers = rows.iter().map(|row| row.0).zip(0..).collect();
        Ok(Table { rows, numbers, last: None })
    }

    fn pack(&mut self, at: Location, flags: u64) -> Result<Place> {
        if at.offset == 0 {
            return Err(bad(at, "is no place of a record"));
        }
        let number = match self.last.filter(|last| last.0 == at.segment) {
            Some((_, number)) => number,
            None => self.number(at.segment)?,
        };
        self.last = Some((at.segment, number));
        Ok(Place::new(number, at.offset, flags))
    }

    fn number(&mut self, segment: SegmentId) -> Result<u32> {
        if let Some(number) = self.numbers.get(&segment) {
            return Ok(*number);
        }
        let number = narrow("segments, in number", self.rows.len())?;
        self.rows.push((segment, 0));
        limit("segments, in number", self.rows.len(), SEGMENT_COUNT_MAX)?;
        self.numbers.insert(segment, number);
        Ok(number)
    }

    /// Returns the rows in their order, and for each number the row that it became.
    fn sorted(self) -> (Vec<(SegmentId, u32)>, Vec<u32>) {
        let mut ordinals = vec![0; self.rows.len()];
        let mut rows = Vec::with_capacity(self.rows.len());
        for (ordinal, (segment, number)) in (0..).zip(&self.numbers) {
            let number = usize::try_from(*number).unwrap_or(usize::MAX);
            if let (Some(place), Some((_, len))) = (ordinals.get_mut(number), self.rows.get(number)) {
                *place = ordinal;
                rows.push((*segment, *len));
            }
        }
        (rows, ordinals)
    }
}

fn limit(what: &'static str, len: usize, max: u64) -> Result<()> {
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    if len > max { Err(Error::TooLarge { what, len, max }) } else { Ok(()) }
}

/// Narrows a number of items.
pub(super) fn narrow(what: &'static str, len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| Error::TooLarge {
        what,
        len: u64::try_from(len).unwrap_or(u64::MAX),
        max: u32::MAX.into(),
    })
}

fn bad(at: Location, reason: &str) -> Error {
    Error::BadInput { what: format!("index entry: {at}"), reason: reason.into() }
}

fn bad_run(run: RunKey, reason: &str) -> Error {
    Error::BadInput { what: format!("index entry: run {:016x}", run.0), reason: reason.into() }
}
