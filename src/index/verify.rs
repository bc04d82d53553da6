//! Verifies a whole index file.

use crate::error::{Damage, Error, Result};
use crate::format::index::{
    BUCKET_BYTES, BUCKETS_PER_PAGE, ENTRIES_PER_PAGE, FileKind, Packed, RUNS_PER_PAGE, RawEntry,
    SEGMENTS_PER_PAGE, Section, read_bucket,
};

use super::entry::EntryFlags;
use super::names::Led;
use super::view::Index;

/// Whether each entry is searched for as a lookup does it. Who holds the log against the index does that anyway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Places {
    /// It is.
    Searched,
    /// It is not.
    Trusted,
}

/// Buckets that all searches together may come through in any case.
const STEPS_MIN: u64 = 1 << 20;
/// Buckets that a search may come through on the average. An honest file has one and a fraction; one made to deceive must
/// cost no more time.
const STEPS_MAX: u64 = 16;

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
    /// What it cannot see is whether the records are where the entries say: that takes the log. O(n), no memory.
    ///
    /// # Errors
    /// Those of `report` only.
    pub fn verify(&self, places: Places, report: &mut dyn FnMut(Error) -> Result<()>) -> Result<()> {
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
        for pass in [Index::verify_segments, Index::verify_runs, Index::verify_entries] {
            pass(self, report)?;
        }
        if places == Places::Searched { self.verify_placement(report) } else { Ok(()) }
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
            self.each_raw_entry(start..end.min(self.header.counts.entries), |number, entry| {
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
                Ok(())
            })?;
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

    /// Searches for each entry as a lookup does, and counts what it came through: if every entry is found and nothing is left
    /// over in buckets and lists, they hold the entries and nothing else.
    fn verify_placement(&self, report: Report<'_>) -> Result<()> {
        let (mut slots, mut in_lists, mut steps) = (0u64, 0u64, 0u64);
        let enough = u64::from(self.header.counts.entries).saturating_mul(STEPS_MAX).max(STEPS_MIN);
        for number in 0..self.header.counts.entries {
            let entry = self.raw_entry(number)?;
            let (led, took) = match self.leads_to(entry.hash, number, entry.at) {
                Ok(found) => found,
                Err(error) => return report(error),
            };
            steps = steps.saturating_add(took.into());
            if steps > enough {
                return report(self.disagrees("place of the hashes: searches are too long"));
            }
            match led {
                Some(Led::Slot) => slots = slots.saturating_add(1),
                Some(Led::ListFirst) => {
                    slots = slots.saturating_add(1);
                    // The length of the list is an item of its own.
                    in_lists = in_lists.saturating_add(2);
                }
                Some(Led::ListNext) => in_lists = in_lists.saturating_add(1),
                None => report(self.wrong_entry(number, "place of a hash"))?,
            }
        }
        let used = match self.used_slots() {
            Ok(used) => used,
            Err(error) => return report(error),
        };
        let counts = &self.header.counts;
        if (slots, slots, in_lists) != (used, counts.slots.into(), counts.list_items) {
            report(self.disagrees("numbers of buckets and lists"))?;
        }
        Ok(())
    }

    fn used_slots(&self) -> Result<u64> {
        let mut used = 0u64;
        for bucket in 0..self.header.counts.buckets {
            let bytes =
                self.pages.item::<BUCKET_BYTES, BUCKETS_PER_PAGE>(self.sections.buckets, bucket.into())?;
            let filled = read_bucket(bytes).iter().filter(|slot| **slot != 0).count();
            used = used.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        }
        Ok(used)
    }
}
