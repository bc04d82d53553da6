//! Decides where each hash goes: pure arithmetic over the sorted hashes.

use crate::error::Result;
use crate::format::index::{
    ALIAS, BUCKETS_PER_PAGE, Counts, LIST_ITEMS_PER_PAGE, RawEntry, SLOTS_PER_BUCKET, Slot, TOMBSTONE,
    Totals, home_bucket, home_buckets, write_bucket, write_list_item,
};

use super::build::{RunRow, narrow};
use super::write::PageWriter;

/// A hash and the number of an entry that has it. Sorted, those of one hash are neighbours.
pub(super) type Numbered = (u64, u32);

/// Numbers the hashes of entries that are in the order of an index.
pub(super) fn number_hashes(entries: &[RawEntry]) -> Vec<Numbered> {
    let mut numbered: Vec<Numbered> = entries.iter().map(|entry| entry.hash).zip(0..).collect();
    numbered.sort_unstable();
    numbered
}

/// Returns the entries of each distinct hash, ascending.
fn hashes(numbered: &[Numbered]) -> impl Iterator<Item = &[Numbered]> {
    numbered.chunk_by(|left, right| left.0 == right.0)
}

/// Walks over the buckets as hashes are added in ascending order.
struct Filling {
    home_buckets: u32,
    bucket: u32,
    used: usize,
}

impl Filling {
    fn new(home_buckets: u32) -> Filling {
        Filling { home_buckets, bucket: 0, used: 0 }
    }

    /// Takes the first free slot for a hash; returns how many buckets are complete by that.
    fn add(&mut self, hash: u64) -> u32 {
        let before = self.bucket;
        let home = home_bucket(hash, self.home_buckets);
        if home > self.bucket {
            (self.bucket, self.used) = (home, 0);
        } else if self.used >= SLOTS_PER_BUCKET {
            (self.bucket, self.used) = (self.bucket.saturating_add(1), 0);
        }
        self.used = self.used.saturating_add(1);
        self.bucket.saturating_sub(before)
    }
}

/// Returns the numbers of items that an index will have.
pub(super) fn count(numbered: &[Numbered], runs: usize, segments: usize) -> Result<Counts> {
    let slots = narrow("index slots, in number", hashes(numbered).count())?;
    let mut filling = Filling::new(home_buckets(slots));
    let mut list_items = 0u64;
    for entries in hashes(numbered) {
        if let [(hash, _), others @ ..] = entries {
            filling.add(*hash);
            if !others.is_empty() {
                let items = u64::try_from(others.len()).unwrap_or(u64::MAX).saturating_add(2);
                list_items = list_items.saturating_add(items);
            }
        }
    }
    let used = if slots == 0 { 0 } else { filling.bucket.saturating_add(1) };
    Ok(Counts {
        entries: narrow("index entries, in number", numbered.len())?,
        home_buckets: filling.home_buckets,
        buckets: filling.home_buckets.max(used),
        slots,
        list_items,
        runs: narrow("index runs, in number", runs)?,
        segments: narrow("segments, in number", segments)?,
    })
}

/// Writes sections 1 and 2.
pub(super) fn write_hashes(
    out: &mut PageWriter<'_>,
    numbered: &[Numbered],
    entries: &[RawEntry],
    counts: &Counts,
) -> Result<()> {
    write_buckets(out, numbered, entries, counts)?;
    for item in list_items(numbered) {
        out.item(&write_list_item(item), LIST_ITEMS_PER_PAGE)?;
    }
    out.end_section()
}

fn write_buckets(
    out: &mut PageWriter<'_>,
    numbered: &[Numbered],
    entries: &[RawEntry],
    counts: &Counts,
) -> Result<()> {
    let mut filling = Filling::new(counts.home_buckets);
    let mut slots = [0u64; SLOTS_PER_BUCKET];
    let mut written = 0u32;
    let mut next_list = 0u64;
    for group in hashes(numbered) {
        let [(hash, number), others @ ..] = group else { continue };
        for _ in 0..filling.add(*hash) {
            out.item(&write_bucket(&std::mem::take(&mut slots)), BUCKETS_PER_PAGE)?;
            written = written.saturating_add(1);
        }
        let slot = if others.is_empty() {
            let entry = usize::try_from(*number).ok().and_then(|number| entries.get(number));
            entry.map(|entry| Slot::One(entry.at))
        } else {
            let list = Slot::List(next_list);
            next_list = next_list.saturating_add(u64::try_from(others.len()).unwrap_or(0)).saturating_add(2);
            Some(list)
        };
        let free = slots.get_mut(filling.used.saturating_sub(1));
        if let (Some(free), Some(slot)) = (free, slot) {
            *free = slot.encode(*hash);
        }
    }
    while written < counts.buckets {
        out.item(&write_bucket(&std::mem::take(&mut slots)), BUCKETS_PER_PAGE)?;
        written = written.saturating_add(1);
    }
    out.end_section()
}

/// Returns the items of section 2.
fn list_items(numbered: &[Numbered]) -> impl Iterator<Item = u32> {
    hashes(numbered).filter(|entries| entries.len() > 1).flat_map(|entries| {
        let len = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        std::iter::once(len).chain(entries.iter().map(|entry| entry.1))
    })
}

/// Computes the figures of a store from all its entries and rows.
pub(super) fn totals_of(entries: &[RawEntry], rows: &[RunRow], numbered: &[Numbered]) -> Totals {
    let count = |wanted: &dyn Fn(u64) -> bool| {
        u64::try_from(entries.iter().filter(|entry| wanted(entry.at.flags())).count()).unwrap_or(u64::MAX)
    };
    let is_snapshot = |flags: u64| flags & (TOMBSTONE | ALIAS) == 0;
    let is_live = |number: &Numbered| {
        let entry = usize::try_from(number.1).ok().and_then(|number| entries.get(number));
        entry.is_some_and(|entry| is_snapshot(entry.at.flags()))
    };
    let ids = hashes(numbered).filter(|entries| entries.iter().any(is_live)).count();
    let runs = rows.iter().filter(|row| !row.deleted).count();
    Totals {
        snapshots: rows.iter().map(|row| u64::from(row.snapshots)).fold(0, u64::saturating_add),
        aliases: count(&|flags| flags & (TOMBSTONE | ALIAS) == ALIAS),
        tombstones: count(&|flags| flags & TOMBSTONE != 0),
        ids: u64::try_from(ids).unwrap_or(u64::MAX),
        runs: u64::try_from(runs).unwrap_or(u64::MAX),
        bytes: rows.iter().map(|row| row.bytes).fold(0, u64::saturating_add),
    }
}
