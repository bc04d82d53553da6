//! Packed entries, from which an index file is written.
//!
//! Since a home bucket is the high bits of the hash, adding the hashes in ascending order fills the buckets from the
//! first to the last. The entries of a run lie by hash, so those of a range of hashes are taken from the fronts of all
//! runs: range by range, in memory for one range and one number for each run, however many entries there are.

use crate::error::{Error, Result};
use crate::format::index::{
    ENTRIES_PER_PAGE, ENTRY_BYTES, FileKind, Header, Packed as Place, RUNS_PER_PAGE, RawEntry, RawRun,
    SEGMENTS_PER_PAGE, Sections, TOMBSTONE, Totals, write_segment,
};
use crate::id::{CommitId, SegmentId};

use super::build::{IndexMeta, Layer};
use super::entry::RunRow;
use super::plan::{ByHash, count, write_hashes};
use super::write::{PageWriter, Sink};

/// What [`IndexBuilder::pack`](super::IndexBuilder::pack) knows of a file, beside the packed entries.
#[derive(Debug)]
pub struct Packed {
    pub(super) meta: IndexMeta,
    /// Ascending.
    pub(super) rows: Vec<RunRow>,
    /// For each row the number of its first entry.
    pub(super) firsts: Vec<u32>,
    pub(super) entries: u32,
    /// The segment table.
    pub(super) segments: Vec<(SegmentId, u32)>,
    /// For each number that a packed entry gives to a segment its row in that table.
    pub(super) ordinals: Vec<u32>,
    /// Of these the numbers of aliases and tombstones.
    pub(super) totals: Totals,
}

/// The packed entries.
#[derive(Clone, Copy)]
pub(super) struct Entries<'e> {
    bytes: &'e [u8],
    ordinals: &'e [u32],
}

impl Entries<'_> {
    /// Returns an entry by its number, as it will stand in the file.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Result<RawEntry> {
        let at = usize::try_from(number).ok().and_then(|number| number.checked_mul(ENTRY_BYTES));
        let bytes = at.and_then(|at| self.bytes.get(at..)?.first_chunk());
        let RawEntry { hash, at } = RawEntry::decode(bytes.ok_or_else(|| missing(number))?);
        Ok(RawEntry { hash, at: final_place(at, self.ordinals) })
    }
}

fn final_place(at: Place, ordinals: &[u32]) -> Place {
    let ordinal = usize::try_from(at.ordinal()).ok().and_then(|number| ordinals.get(number));
    Place::new(ordinal.copied().unwrap_or_default(), at.offset(), at.flags())
}

fn missing(number: u32) -> Error {
    Error::BadInput { what: format!("packed entry {number}"), reason: "is missing".into() }
}

impl Packed {
    /// Writes the file: `sink` gets its bytes in order, some 256 KiB at a time. `bytes` are the packed entries;
    /// `part` of them are sorted in memory at a time, 16 bytes each.
    ///
    /// # Errors
    /// `TooLarge` beyond a limit of the format; `BadInput` for other bytes; errors of `sink`.
    pub fn write(&self, bytes: &[u8], part: u32, sink: Sink<'_>) -> Result<()> {
        let entries = Entries { bytes, ordinals: &self.ordinals };
        let by_hash = ByHash::new(entries, &self.firsts, self.entries, part)?;
        let (counts, ids) = count(&by_hash, self.rows.len(), self.segments.len())?;
        let header = self.header(counts, ids);
        let mut out = PageWriter::new(sink, header.crc(), &header.encode()?);
        write_hashes(&mut out, &by_hash, &counts)?;
        for number in 0..self.entries {
            out.item(&entries.get(number)?.encode(), ENTRIES_PER_PAGE)?;
        }
        out.end_section()?;
        for run in self.runs() {
            out.item(&run?.encode(), RUNS_PER_PAGE)?;
        }
        out.end_section()?;
        for (segment, sealed_len) in &self.segments {
            out.item(&write_segment(*segment, *sealed_len), SEGMENTS_PER_PAGE)?;
        }
        let pages = out.finish()?;
        debug_assert_eq!(Some(pages), Sections::of(&counts).map(|sections| sections.pages));
        Ok(())
    }

    fn header(&self, counts: crate::format::index::Counts, ids: u64) -> Header {
        let (kind, base, previous, totals) = match self.meta.layer {
            Layer::Base => (FileKind::Base, CommitId(0), CommitId(0), self.totals_with(ids)),
            Layer::Delta { base, previous, totals } => (FileKind::Delta, base, previous, totals),
        };
        let IndexMeta { store, seed, covered, gaps, .. } = self.meta;
        Header { kind, store, covered, seed, base, previous, counts, totals, gaps }
    }

    /// Computes the figures of a store of which this is everything.
    fn totals_with(&self, ids: u64) -> Totals {
        let runs = self.rows.iter().filter(|row| !row.deleted).count();
        Totals {
            snapshots: self.rows.iter().map(|row| u64::from(row.snapshots)).fold(0, u64::saturating_add),
            ids,
            runs: u64::try_from(runs).unwrap_or(u64::MAX),
            bytes: self.rows.iter().map(|row| row.bytes).fold(0, u64::saturating_add),
            ..self.totals
        }
    }

    fn runs(&self) -> impl Iterator<Item = Result<RawRun>> + '_ {
        self.rows.iter().zip(&self.firsts).map(|(row, first)| {
            let flags = if row.deleted { TOMBSTONE } else { 0 };
            let at = match row.at {
                Some(at) => {
                    let ordinal = self.segments.binary_search_by_key(&at.segment, |row| row.0);
                    let ordinal = ordinal.ok().and_then(|ordinal| u32::try_from(ordinal).ok());
                    Place::new(ordinal.ok_or_else(|| missing(*first))?, at.offset, flags)
                }
                None => Place(flags),
            };
            let RunRow { run, snapshots, bytes, .. } = *row;
            Ok(RawRun { run, first_entry: *first, snapshots, at, bytes })
        })
    }
}
