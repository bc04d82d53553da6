//! An index file as it is used: opened in O(1), read in place.

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use crate::error::{Damage, Error, Place, Result};
use crate::format::index::{
    Counts, Covered, ENTRIES_PER_PAGE, ENTRY_BYTES, FileKind, Header, PAGE_BYTES, Packed, RUN_BYTES,
    RUNS_PER_PAGE, RawEntry, RawRun, SEGMENT_BYTES, SEGMENTS_PER_PAGE, Sections, Totals, read_segment,
};
use crate::id::{CommitId, Location, ObjectKey, RunKey, SegmentId, StoreId};

use super::entry::{Entry, EntryFlags, RunRow, hash_key};
use super::pages::Pages;

/// One index file, base or delta, over any bytes: a map in production, a `Vec` elsewhere.
///
/// Opening reads one page. Each further page is verified when it is first touched; a page that does not hold
/// is `Error::Damaged` with its place, never a silent miss. No content makes a call panic.
///
/// Layout: `format/index.rs`. The shape (64-byte buckets of 8-byte slots, a tag as filter, the record's key
/// decides) is that of FASTER's hash index and parity-db's; opening in O(1) with a separate full `verify`
/// is as in gix-commitgraph.
pub struct Index<B> {
    pub(super) pages: Pages<B>,
    pub(super) header: Header,
    pub(super) sections: Sections,
    /// The numbers of the segments, once a location was asked for: four bytes for each segment.
    ids: OnceLock<Box<[SegmentId]>>,
}

impl<B: AsRef<[u8]>> Index<B> {
    /// Opens the file called `name`, which must belong to `store`. O(1): one page is read. That the commit in
    /// the name is the [covered](Index::covered) one is for the caller to compare.
    ///
    /// # Errors
    /// `UnsupportedVersion`; `Damaged` if the header does not hold, the length is not the one it implies,
    /// or the file is another store's (`Damage::Foreign`).
    pub fn open(bytes: B, name: &str, store: StoreId) -> Result<Index<B>> {
        let actual = u64::try_from(bytes.as_ref().len()).unwrap_or(u64::MAX);
        let whole = |damage| Error::damaged(Place::whole(name), damage);
        let page = u64::try_from(PAGE_BYTES).unwrap_or(u64::MAX);
        let Some(first) = bytes.as_ref().first_chunk::<PAGE_BYTES>() else {
            return Err(whole(Damage::Truncated { expect: page, actual }));
        };
        let header = Header::decode(first, name)?;
        if header.store != store {
            return Err(whole(Damage::Foreign { expect: store, actual: header.store }));
        }
        let sections = Sections::of(&header.counts).ok_or_else(|| {
            whole(Damage::Field { what: "number of entries", value: header.counts.entries.into() })
        })?;
        let expect = u64::from(sections.pages).saturating_mul(page);
        if actual < expect {
            return Err(whole(Damage::Truncated { expect, actual }));
        }
        if actual > expect {
            return Err(whole(Damage::Field { what: "length of the index file", value: actual }));
        }
        let pages = Pages::new(bytes, name, header.crc(), sections.pages);
        Ok(Index { pages, header, sections, ids: OnceLock::new() })
    }

    /// Returns the file's name, as it was opened.
    pub fn name(&self) -> &str {
        self.pages.name()
    }

    /// Returns whether it is a base or a delta.
    pub fn kind(&self) -> FileKind {
        self.header.kind
    }

    /// Returns up to where it reflects the log.
    pub fn covered(&self) -> Covered {
        self.header.covered
    }

    /// For a delta, returns the commits of its base and of the layer before it.
    pub fn follows(&self) -> Option<(CommitId, CommitId)> {
        (self.header.kind == FileKind::Delta).then_some((self.header.base, self.header.previous))
    }

    /// Returns the seed of the hash.
    pub fn seed(&self) -> u64 {
        self.header.seed
    }

    /// Returns at how many places of the log committed records are damaged beyond naming.
    pub fn gaps(&self) -> u64 {
        self.header.gaps
    }

    /// Returns the figures of the store as of the covered commit: this layer and all before it.
    pub fn totals(&self) -> Totals {
        self.header.totals
    }

    /// Returns the numbers of items in this file.
    pub fn counts(&self) -> Counts {
        self.header.counts
    }

    /// Returns the filled part of the home buckets' slots, 0 to 1.
    pub fn load_factor(&self) -> f64 {
        let slots = f64::from(self.header.counts.home_buckets) * 8.0;
        if slots > 0.0 { f64::from(self.header.counts.slots) / slots } else { 0.0 }
    }

    /// Hashes an object key as this index does.
    #[inline]
    pub fn hash(&self, key: &ObjectKey) -> u64 {
        hash_key(key, self.header.seed)
    }

    /// Returns the segments that the index knows, ascending, with their lengths if they were sealed.
    pub fn segments(&self) -> impl Iterator<Item = Result<(SegmentId, Option<u32>)>> + '_ {
        let row = |(segment, len)| (segment, (len != 0).then_some(len));
        (0..self.header.counts.segments).map(move |ordinal| self.segment(ordinal).map(row))
    }

    /// Returns all runs, ascending.
    pub fn runs(&self) -> impl Iterator<Item = Result<RunRow>> + '_ {
        self.rows(0)
    }

    /// Returns the runs from one on, ascending. O(log runs) to start.
    ///
    /// # Errors
    /// `Damaged`, here or as an item.
    pub fn runs_from(&self, first: RunKey) -> Result<impl Iterator<Item = Result<RunRow>> + '_> {
        Ok(self.rows(self.lower_run(first)?))
    }

    fn rows(&self, first: u32) -> impl Iterator<Item = Result<RunRow>> + '_ {
        let rows = first..self.header.counts.runs;
        rows.map(|index| self.raw_run(index).and_then(|raw| self.run_row(&raw)))
    }

    /// Returns the row of a run. O(log runs).
    ///
    /// # Errors
    /// `Damaged`.
    pub fn run(&self, run: RunKey) -> Result<Option<RunRow>> {
        match self.find_run(run)? {
            Some((_, raw)) => self.run_row(&raw).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the entries of a run in the order of the index: by hash, then location. O(log runs) to start.
    ///
    /// # Errors
    /// `Damaged`, here or as the last item.
    pub fn entries_of(&self, run: RunKey) -> Result<Entries<'_, B>> {
        self.entries_of_from(run, 0)
    }

    /// Returns the entries of a run from the first one on whose hash is at least `hash`: where a listing goes
    /// on after a marker. O(log entries) to start.
    ///
    /// # Errors
    /// `Damaged`, here or as the last item.
    pub fn entries_of_from(&self, run: RunKey, hash: u64) -> Result<Entries<'_, B>> {
        let Some((index, _)) = self.find_run(run)? else {
            return Ok(Entries { index: self, run, next: 0, end: 0 });
        };
        let (start, end) = self.range_of(index)?;
        let next = match hash {
            0 => start,
            _ => partition(start, end, |number| Ok(self.raw_entry(number)?.hash < hash))?,
        };
        Ok(Entries { index: self, run, next, end })
    }

    /// Returns a row of the segment table.
    #[inline]
    pub(super) fn segment(&self, ordinal: u32) -> Result<(SegmentId, u32)> {
        let row =
            self.pages.item::<SEGMENT_BYTES, SEGMENTS_PER_PAGE>(self.sections.segments, ordinal.into())?;
        Ok(read_segment(*row))
    }

    /// Translates a location.
    #[inline]
    pub(super) fn location(&self, at: Packed) -> Result<Location> {
        let known = self.ids.get().and_then(|ids| ids.get(usize::try_from(at.ordinal()).ok()?));
        let segment = known.map_or_else(|| self.segment_at(at.ordinal()), |id| Ok(*id))?;
        Ok(Location { segment, offset: at.offset() })
    }

    /// Looks into the table itself: the first time, and where a page of it does not hold.
    #[cold]
    fn segment_at(&self, ordinal: u32) -> Result<SegmentId> {
        let ids: Result<Box<[SegmentId]>> =
            (0..self.header.counts.segments).map(|ordinal| Ok(self.segment(ordinal)?.0)).collect();
        if let Ok(ids) = ids {
            self.ids.get_or_init(|| ids);
        }
        Ok(self.segment(ordinal)?.0)
    }

    /// Returns an entry by its number.
    #[inline]
    pub(super) fn raw_entry(&self, number: u32) -> Result<RawEntry> {
        let bytes = self.pages.item::<ENTRY_BYTES, ENTRIES_PER_PAGE>(self.sections.entries, number.into())?;
        Ok(RawEntry::decode(bytes))
    }

    /// Hands out entries with their numbers, a page at a time: for who wants many.
    pub(super) fn each_raw_entry(
        &self,
        numbers: Range<u32>,
        mut each: impl FnMut(u32, RawEntry) -> Result<()>,
    ) -> Result<()> {
        let mut rest = numbers;
        while !rest.is_empty() {
            let first = rest.start.into();
            let items = self.pages.items::<ENTRY_BYTES, ENTRIES_PER_PAGE>(self.sections.entries, first)?;
            for (bytes, number) in items.iter().zip(&mut rest) {
                each(number, RawEntry::decode(bytes))?;
            }
        }
        Ok(())
    }

    /// Returns a row of the runs section.
    #[inline]
    pub(super) fn raw_run(&self, index: u32) -> Result<RawRun> {
        let bytes = self.pages.item::<RUN_BYTES, RUNS_PER_PAGE>(self.sections.runs, index.into())?;
        Ok(RawRun::decode(bytes))
    }

    pub(super) fn entry(&self, run: RunKey, raw: &RawEntry) -> Result<Entry> {
        let flags = EntryFlags::from_bits(raw.at);
        Ok(Entry { hash: raw.hash, run, at: self.location(raw.at)?, flags })
    }

    pub(super) fn run_row(&self, raw: &RawRun) -> Result<RunRow> {
        let at = if raw.at.bare() == 0 { None } else { Some(self.location(raw.at)?) };
        let deleted = EntryFlags::from_bits(raw.at).tombstone;
        Ok(RunRow { run: raw.run, at, deleted, snapshots: raw.snapshots, bytes: raw.bytes })
    }

    /// Returns the number of the first row whose run is at least `run`.
    pub(super) fn lower_run(&self, run: RunKey) -> Result<u32> {
        partition(0, self.header.counts.runs, |index| Ok(self.raw_run(index)?.run < run))
    }

    /// Returns the number of the first entry of the row `index` or a later one.
    pub(super) fn first_entry_from(&self, index: u32) -> Result<u32> {
        if index < self.header.counts.runs {
            Ok(self.raw_run(index)?.first_entry)
        } else {
            Ok(self.header.counts.entries)
        }
    }

    /// Returns a run's row and its number.
    pub(super) fn find_run(&self, run: RunKey) -> Result<Option<(u32, RawRun)>> {
        let index = self.lower_run(run)?;
        if index >= self.header.counts.runs {
            return Ok(None);
        }
        let raw = self.raw_run(index)?;
        Ok((raw.run == run).then_some((index, raw)))
    }

    /// Returns the numbers of the entries of a row.
    pub(super) fn range_of(&self, index: u32) -> Result<(u32, u32)> {
        let start = self.first_entry_from(index)?;
        let end = self.first_entry_from(index.saturating_add(1))?;
        if start <= end { Ok((start, end)) } else { Err(self.disagrees("order of runs")) }
    }

    /// Returns the run to which an entry belongs: the last row that begins at or before it.
    pub(super) fn run_of_entry(&self, number: u32) -> Result<RunKey> {
        let runs = self.header.counts.runs;
        let after = partition(0, runs, |index| Ok(self.raw_run(index)?.first_entry <= number))?;
        match after.checked_sub(1) {
            Some(index) => Ok(self.raw_run(index)?.run),
            None => Err(self.disagrees("run of an entry")),
        }
    }

    /// Pages that hold and yet contradict each other.
    #[cold]
    pub(super) fn disagrees(&self, what: &'static str) -> Error {
        Error::damaged(Place::whole(self.name()), Damage::Index { what })
    }
}

impl<B> fmt::Debug for Index<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Entries of one run. A damaged page is an error and the end: what lies behind it cannot be told from
/// what is missing.
pub struct Entries<'a, B> {
    index: &'a Index<B>,
    run: RunKey,
    next: u32,
    end: u32,
}

impl<B: AsRef<[u8]>> Iterator for Entries<'_, B> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if self.next >= self.end {
            return None;
        }
        let entry = self.index.raw_entry(self.next).and_then(|raw| self.index.entry(self.run, &raw));
        self.next = if entry.is_ok() { self.next.saturating_add(1) } else { self.end };
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.end.saturating_sub(self.next)).unwrap_or(0);
        (left.min(1), Some(left))
    }
}

impl<B> fmt::Debug for Entries<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("run", &self.run).finish_non_exhaustive()
    }
}

/// Returns the first number in `start..end` for which `before` is false, or `end`. It must be true up to some
/// number and false from there on.
pub(super) fn partition(start: u32, end: u32, mut before: impl FnMut(u32) -> Result<bool>) -> Result<u32> {
    let (mut low, mut high) = (start, end);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle)? {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    Ok(low)
}
