//! Verifies a whole index file.

use crate::error::{Damage, Error, Result};
use crate::format::index::{
    ENTRIES_PER_PAGE, FileKind, PAGE_BYTES, Packed, RUNS_PER_PAGE, RawEntry, SEGMENTS_PER_PAGE, Section,
};

use super::entry::EntryFlags;
use super::plan::{count, number_hashes, write_hashes};
use super::view::Index;
use super::write::PageWriter;

/// Receives each problem; an error of its own ends the verification.
type Report<'r> = &'r mut dyn FnMut(Error) -> Result<()>;

/// What a pass over entries or rows adds up to.
#[derive(Default)]
struct Sums {
    snapshots: u64,
    aliases: u64,
    tombstones: u64,
    runs: u64,
    bytes: u64,
}

impl<B: AsRef<[u8]>> Index<B> {
    /// Reads the whole file and hands every problem to `report`: first each page that does not hold; if all
    /// hold, whatever contradicts something else (order, ranges, the place of each hash, numbers, sums).
    /// What it cannot see is whether the records are where the entries say: that takes the log. O(n log n),
    /// 32 bytes of memory an entry.
    ///
    /// # Errors
    /// Those of `report` only.
    pub fn verify(&self, report: &mut dyn FnMut(Error) -> Result<()>) -> Result<()> {
        let mut bad_pages = 0u32;
        for page in 1..self.sections.pages {
            if let Err(error) = self.pages.recheck(page) {
                bad_pages = bad_pages.saturating_add(1);
                report(error)?;
            }
        }
        if bad_pages > 0 {
            return Ok(());
        }
        let passes =
            [Index::verify_segments, Index::verify_runs, Index::verify_entries, Index::verify_placement];
        for pass in passes {
            pass(self, report)?;
        }
        Ok(())
    }

    /// Names the page of an item.
    fn wrong(&self, section: Section, per_page: u32, item: u64, what: &'static str) -> Error {
        let page = item.checked_div(per_page.into()).and_then(|page| u32::try_from(page).ok()).unwrap_or(0);
        self.pages.damage(section.first.saturating_add(page), Damage::Index { what })
    }

    fn wrong_run(&self, row: u32, what: &'static str) -> Error {
        self.wrong(self.sections.runs, RUNS_PER_PAGE, row.into(), what)
    }

    fn wrong_entry(&self, number: u32, what: &'static str) -> Error {
        self.wrong(self.sections.entries, ENTRIES_PER_PAGE, number.into(), what)
    }

    fn is_sound(&self, at: Packed) -> bool {
        !at.is_odd() && at.offset() != 0 && at.ordinal() < self.header.counts.segments
    }

    fn verify_segments(&self, report: Report<'_>) -> Result<()> {
        let mut before = None;
        for ordinal in 0..self.header.counts.segments {
            let (segment, _) = self.segment(ordinal)?;
            if before.is_some_and(|before| before >= segment) {
                let section = self.sections.segments;
                report(self.wrong(section, SEGMENTS_PER_PAGE, ordinal.into(), "order of segments"))?;
            }
            before = Some(segment);
        }
        Ok(())
    }

    fn verify_runs(&self, report: Report<'_>) -> Result<()> {
        let mut before = None;
        let mut sums = Sums::default();
        for index in 0..self.header.counts.runs {
            let row = self.raw_run(index)?;
            let in_order = match before {
                None => row.first_entry == 0,
                Some((run, first)) => run < row.run && first <= row.first_entry,
            };
            if !in_order || row.first_entry > self.header.counts.entries {
                report(self.wrong_run(index, "order of runs"))?;
            }
            let flags = EntryFlags::from_bits(row.at);
            let at_is_sound = row.at.bare() == 0 || self.is_sound(row.at);
            if !at_is_sound || row.at.is_odd() || flags.alias || flags.replaces {
                report(self.wrong_run(index, "location of a run"))?;
            }
            sums.snapshots = sums.snapshots.saturating_add(row.snapshots.into());
            sums.bytes = sums.bytes.saturating_add(row.bytes);
            sums.runs = sums.runs.saturating_add(u64::from(!flags.tombstone));
            before = Some((row.run, row.first_entry));
        }
        let totals = &self.header.totals;
        let expect = (totals.snapshots, totals.bytes, totals.runs);
        if self.header.kind == FileKind::Base && expect != (sums.snapshots, sums.bytes, sums.runs) {
            report(self.disagrees("totals of the runs"))?;
        }
        Ok(())
    }

    fn verify_entries(&self, report: Report<'_>) -> Result<()> {
        let is_base = self.header.kind == FileKind::Base;
        let mut sums = Sums::default();
        for index in 0..self.header.counts.runs {
            // What is wrong with the ranges themselves was reported with the runs.
            let Ok((start, end)) = self.range_of(index) else { continue };
            let mut snapshots = 0u64;
            let mut before: Option<RawEntry> = None;
            for number in start..end.min(self.header.counts.entries) {
                let entry = self.raw_entry(number)?;
                let flags = EntryFlags::from_bits(entry.at);
                let order = |each: RawEntry| (each.hash, each.at.bare());
                if before.is_some_and(|before| order(before) >= order(entry)) {
                    report(self.wrong_entry(number, "order of entries"))?;
                }
                if !self.is_sound(entry.at) || (is_base && flags.replaces) {
                    report(self.wrong_entry(number, "location of an entry"))?;
                }
                let sum = match flags {
                    EntryFlags { tombstone: true, .. } => &mut sums.tombstones,
                    EntryFlags { alias: true, .. } => &mut sums.aliases,
                    EntryFlags { .. } => &mut snapshots,
                };
                *sum = sum.saturating_add(1);
                before = Some(entry);
            }
            if is_base && snapshots != u64::from(self.raw_run(index)?.snapshots) {
                report(self.wrong_run(index, "live snapshots of a run"))?;
            }
        }
        let totals = &self.header.totals;
        if is_base && (totals.aliases, totals.tombstones) != (sums.aliases, sums.tombstones) {
            report(self.disagrees("totals of the entries"))?;
        }
        Ok(())
    }

    /// Writes buckets and lists anew from the entries and compares them page by page: their content follows
    /// from the entries alone. So even a file made to deceive costs no more than an honest one.
    fn verify_placement(&self, report: Report<'_>) -> Result<()> {
        let all = 0..self.header.counts.entries;
        let entries = all.map(|number| self.raw_entry(number)).collect::<Result<Vec<_>>>()?;
        let numbered = number_hashes(&entries);
        let runs = usize::try_from(self.header.counts.runs).unwrap_or(usize::MAX);
        let segments = usize::try_from(self.header.counts.segments).unwrap_or(usize::MAX);
        let counts = count(&numbered, runs, segments)?;
        if counts != self.header.counts {
            return report(self.disagrees("numbers of buckets and lists"));
        }
        let mut number = 0u32;
        let mut compare = |bytes: &[u8]| {
            for expect in bytes.chunks(PAGE_BYTES) {
                if expect != self.pages.page(number)?.as_slice() {
                    report(self.pages.damage(number, Damage::Index { what: "place of a hash" }))?;
                }
                number = number.saturating_add(1);
            }
            Ok(())
        };
        let header = *self.pages.page(0)?;
        let mut out = PageWriter::new(&mut compare, self.header.crc(), &header);
        write_hashes(&mut out, &numbered, &entries, &counts)?;
        out.finish().map(drop)
    }
}
