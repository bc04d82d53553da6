//! Writes an index file.
//!
//! Everything is sorted first, so the file streams out in order: since a home bucket is the high bits of the
//! hash, adding the hashes in ascending order fills the buckets from the first to the last. The bytes
//! depend on the set of entries, rows and segments only, not on their order.

use crate::error::{Error, Result};
use crate::format::index::{
    Covered, ENTRIES_PER_PAGE, FileKind, Header, Packed, RUNS_PER_PAGE, RawEntry, RawRun, SEGMENTS_PER_PAGE,
    Sections, TOMBSTONE, Totals, write_segment,
};
use crate::id::{CommitId, Location, SegmentId, StoreId};
use crate::limits::{INDEX_ENTRIES_MAX, SEGMENT_COUNT_MAX};

use super::entry::Entry;
pub use super::entry::RunRow;
use super::merge::Merged;
use super::plan::{Numbered, count, number_hashes, totals_of, write_hashes};
use super::write::PageWriter;

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

/// Collects entries and rows, then writes the file.
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

    /// Starts with what [`merge`](super::merge()) returned.
    pub fn from_merged(meta: IndexMeta, merged: Merged) -> IndexBuilder {
        IndexBuilder { meta, entries: merged.entries, rows: merged.rows, segments: Vec::new() }
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

    /// Writes the file: `sink` gets its bytes in order, some 256 KiB at a time. O(n log n); 32 bytes of
    /// memory an entry beside what was added.
    ///
    /// # Errors
    /// `TooLarge` beyond a limit of the format; `BadInput` for entries that cannot be (offset 0, twice the
    /// same, no row for the run, runs twice); errors of `sink`.
    pub fn write(mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        limit("index entries, in number", self.entries.len(), INDEX_ENTRIES_MAX)?;
        limit("index runs, in number", self.rows.len(), INDEX_ENTRIES_MAX)?;
        sort(&mut self.entries);
        self.rows.sort_unstable_by_key(|row| row.run);
        let table = Table::new(&self)?;
        let runs = self.number_runs(&table)?;
        let entries = self.pack_entries(&table)?;
        drop(std::mem::take(&mut self.entries));
        let numbered = number_hashes(&entries);

        let header = self.header(&entries, &numbered, runs.len(), table.rows.len())?;
        let mut out = PageWriter::new(sink, header.crc(), &header.encode()?);
        write_hashes(&mut out, &numbered, &entries, &header.counts)?;
        for entry in &entries {
            out.item(&entry.encode(), ENTRIES_PER_PAGE)?;
        }
        out.end_section()?;
        for run in &runs {
            out.item(&run.encode(), RUNS_PER_PAGE)?;
        }
        out.end_section()?;
        for (segment, sealed_len) in &table.rows {
            out.item(&write_segment(*segment, *sealed_len), SEGMENTS_PER_PAGE)?;
        }
        let pages = out.finish()?;
        debug_assert_eq!(Some(pages), Sections::of(&header.counts).map(|sections| sections.pages));
        Ok(())
    }

    fn header(
        &self,
        entries: &[RawEntry],
        numbered: &[Numbered],
        runs: usize,
        segments: usize,
    ) -> Result<Header> {
        let counts = count(numbered, runs, segments)?;
        let (kind, base, previous, totals) = match self.meta.layer {
            Layer::Base => {
                (FileKind::Base, CommitId(0), CommitId(0), totals_of(entries, &self.rows, numbered))
            }
            Layer::Delta { base, previous, totals } => (FileKind::Delta, base, previous, totals),
        };
        let IndexMeta { store, seed, covered, gaps, .. } = self.meta;
        Ok(Header { kind, store, covered, seed, base, previous, counts, totals, gaps })
    }

    /// Encodes the rows, each with the number of its first entry.
    fn number_runs(&self, table: &Table) -> Result<Vec<RawRun>> {
        let mut runs: Vec<RawRun> = Vec::with_capacity(self.rows.len());
        let mut rest = self.entries.as_slice();
        let mut first_entry = 0u32;
        for row in &self.rows {
            if runs.last().is_some_and(|last| last.run == row.run) {
                return Err(bad(&format!("run {:016x}", row.run.0), "has two rows"));
            }
            if let Some(stray) = rest.first().filter(|entry| entry.run < row.run) {
                return Err(bad(&format!("run {:016x}", stray.run.0), "has entries and no row"));
            }
            let at = match row.at {
                Some(at) => table.pack(at, if row.deleted { TOMBSTONE } else { 0 })?,
                None => Packed(if row.deleted { TOMBSTONE } else { 0 }),
            };
            runs.push(RawRun { run: row.run, first_entry, snapshots: row.snapshots, at, bytes: row.bytes });
            let len = rest.iter().take_while(|entry| entry.run == row.run).count();
            rest = rest.get(len..).unwrap_or_default();
            first_entry = first_entry.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        }
        match rest.first() {
            Some(stray) => Err(bad(&format!("run {:016x}", stray.run.0), "has entries and no row")),
            None => Ok(runs),
        }
    }

    fn pack_entries(&self, table: &Table) -> Result<Vec<RawEntry>> {
        let mut packed = Vec::with_capacity(self.entries.len());
        let mut before: Option<&Entry> = None;
        for entry in &self.entries {
            if before.is_some_and(|before| before.order() == entry.order()) {
                return Err(bad(&entry.at.to_string(), "is entered twice"));
            }
            let mut flags = entry.flags;
            flags.replaces &= self.meta.layer != Layer::Base;
            packed.push(RawEntry { hash: entry.hash, at: table.pack(entry.at, flags.to_bits())? });
            before = Some(entry);
        }
        Ok(packed)
    }
}

/// The segment table to be.
struct Table {
    rows: Vec<(SegmentId, u32)>,
}

impl Table {
    fn new(builder: &IndexBuilder) -> Result<Table> {
        let mut rows = builder.segments.clone();
        dedup(&mut rows);
        let places = builder.entries.iter().map(|entry| entry.at);
        let mut last = None;
        let mut missing = Vec::new();
        for at in places.chain(builder.rows.iter().filter_map(|row| row.at)) {
            // Neighbours mostly lie in one segment.
            if last.replace(at.segment) != Some(at.segment)
                && rows.binary_search_by_key(&at.segment, |row| row.0).is_err()
            {
                missing.push((at.segment, 0));
            }
        }
        rows.append(&mut missing);
        dedup(&mut rows);
        limit("segments, in number", rows.len(), SEGMENT_COUNT_MAX)?;
        Ok(Table { rows })
    }

    fn pack(&self, at: Location, flags: u64) -> Result<Packed> {
        let ordinal = self.rows.binary_search_by_key(&at.segment, |row| row.0);
        match ordinal.map(u32::try_from) {
            Ok(Ok(ordinal)) if at.offset != 0 => Ok(Packed::new(ordinal, at.offset, flags)),
            _ => Err(bad(&at.to_string(), "is no place of a record")),
        }
    }
}

/// Leaves one row of each segment: the one with the largest length.
fn dedup(rows: &mut Vec<(SegmentId, u32)>) {
    rows.sort_unstable_by_key(|(segment, len)| (*segment, std::cmp::Reverse(*len)));
    rows.dedup_by_key(|row| row.0);
}

/// Sorts entries. Mostly they come run by run, from replay, or sorted, from a merge: both cost less.
fn sort(entries: &mut [Entry]) {
    if !entries.is_sorted_by_key(|entry| entry.run) {
        return entries.sort_unstable_by_key(Entry::order);
    }
    for run in entries.chunk_by_mut(|left, right| left.run == right.run) {
        run.sort_unstable_by_key(|entry| (entry.hash, entry.at));
    }
}

fn limit(what: &'static str, len: usize, max: u64) -> Result<()> {
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    if len > max { Err(Error::TooLarge { what, len, max }) } else { Ok(()) }
}

/// Narrows a number of items that was compared with its limit before.
pub(super) fn narrow(what: &'static str, len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| Error::TooLarge {
        what,
        len: u64::try_from(len).unwrap_or(u64::MAX),
        max: u32::MAX.into(),
    })
}

fn bad(what: &str, reason: &str) -> Error {
    Error::BadInput { what: format!("index entry: {what}"), reason: reason.into() }
}
