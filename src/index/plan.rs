//! Decides where each hash goes: pure arithmetic over the sorted hashes.

use crate::error::{Error, Result};
use crate::format::index::{
    ALIAS, BUCKETS_PER_PAGE, Counts, LIST_ITEMS_PER_PAGE, SLOTS_PER_BUCKET, Slot, TOMBSTONE, home_bucket,
    home_buckets, write_bucket, write_list_item,
};

use super::build::narrow;
use super::pack::Entries;
use super::write::PageWriter;

/// A hash and the number of an entry that has it. Sorted, those of one hash are neighbours.
pub(super) type Numbered = (u64, u32);

/// Packed entries in the order of their hashes.
pub(super) struct ByHash<'e> {
    entries: Entries<'e>,
    /// For each run the number of its first entry.
    firsts: &'e [u32],
    count: u32,
    /// In how many ranges of hashes they are sorted.
    parts: u32,
    /// All of them, where one range is enough.
    whole: Option<Vec<Numbered>>,
}

impl<'e> ByHash<'e> {
    /// Sorts entries, which lie by run and hash; at most about `part` in memory at a time, unless hashes were chosen by an
    /// enemy.
    pub(super) fn new(entries: Entries<'e>, firsts: &'e [u32], count: u32, part: u32) -> Result<ByHash<'e>> {
        let parts = count.div_ceil(part.max(1)).max(1);
        let mut all = ByHash { entries, firsts, count, parts, whole: None };
        if parts == 1 {
            let mut whole = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
            all.take_until(None, &mut firsts.to_vec(), &mut whole)?;
            all.whole = Some(whole);
        }
        Ok(all)
    }

    /// Hands out the entries of each distinct hash, ascending.
    fn each(&self, visit: &mut dyn FnMut(u64, &[Numbered]) -> Result<()>) -> Result<()> {
        let mut groups = |numbered: &[Numbered]| {
            let mut groups = numbered.chunk_by(|left, right| left.0 == right.0);
            groups.try_for_each(|group| group.first().map_or(Ok(()), |first| visit(first.0, group)))
        };
        if let Some(whole) = &self.whole {
            return groups(whole);
        }
        let mut next = self.firsts.to_vec();
        let mut numbered = Vec::new();
        for part in 1..=self.parts {
            // The part-th of so many equal ranges ends before this hash.
            let end = (u128::from(part) << 64).checked_div(self.parts.into());
            self.take_until(end.and_then(|end| u64::try_from(end).ok()), &mut next, &mut numbered)?;
            groups(&numbered)?;
        }
        Ok(())
    }

    /// Takes the entries below a hash, or all, from the fronts of all runs.
    fn take_until(&self, end: Option<u64>, next: &mut [u32], numbered: &mut Vec<Numbered>) -> Result<()> {
        numbered.clear();
        let ends = self.firsts.iter().skip(1).chain(std::iter::once(&self.count));
        for (next, run_end) in next.iter_mut().zip(ends) {
            while *next < *run_end {
                let hash = self.entries.get(*next)?.hash;
                if end.is_some_and(|end| hash >= end) {
                    break;
                }
                numbered.push((hash, *next));
                *next = next.saturating_add(1);
            }
        }
        numbered.sort_unstable();
        Ok(())
    }
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

/// Returns the numbers of items that an index will have, and of ids with a live snapshot.
pub(super) fn count(all: &ByHash<'_>, runs: usize, segments: usize) -> Result<(Counts, u64)> {
    let mut slots = 0u32;
    all.each(&mut |_, _| {
        slots = slots.saturating_add(1);
        Ok(())
    })?;
    let mut filling = Filling::new(home_buckets(slots));
    let mut list_items = 0u64;
    let mut ids = 0u64;
    all.each(&mut |hash, group| {
        filling.add(hash);
        list_items = list_items.saturating_add(list_len(group));
        let mut flags = group.iter().map(|(_, number)| Ok(all.entries.get(*number)?.at.flags()));
        let is_live = |flags: Result<u64>| flags.map(|flags| flags & (TOMBSTONE | ALIAS) == 0);
        ids = ids.saturating_add(
            flags.try_fold(false, |any, flags| Ok::<_, Error>(any | is_live(flags)?))?.into(),
        );
        Ok(())
    })?;
    let used = if slots == 0 { 0 } else { filling.bucket.saturating_add(1) };
    let counts = Counts {
        entries: all.count,
        home_buckets: filling.home_buckets,
        buckets: filling.home_buckets.max(used),
        slots,
        list_items,
        runs: narrow("index runs, in number", runs)?,
        segments: narrow("segments, in number", segments)?,
    };
    Ok((counts, ids))
}

/// Returns how many items of section 2 the entries of one hash take.
fn list_len(group: &[Numbered]) -> u64 {
    let len = u64::try_from(group.len()).unwrap_or(u64::MAX);
    if len > 1 { len.saturating_add(1) } else { 0 }
}

/// Writes sections 1 and 2.
pub(super) fn write_hashes(out: &mut PageWriter<'_>, all: &ByHash<'_>, counts: &Counts) -> Result<()> {
    write_buckets(out, all, counts)?;
    if counts.list_items > 0 {
        all.each(&mut |_, group| {
            if group.len() > 1 {
                let len = narrow("entries of one hash", group.len())?;
                for item in std::iter::once(len).chain(group.iter().map(|entry| entry.1)) {
                    out.item(&write_list_item(item), LIST_ITEMS_PER_PAGE)?;
                }
            }
            Ok(())
        })?;
    }
    out.end_section()
}

fn write_buckets(out: &mut PageWriter<'_>, all: &ByHash<'_>, counts: &Counts) -> Result<()> {
    let mut filling = Filling::new(counts.home_buckets);
    let mut slots = [0u64; SLOTS_PER_BUCKET];
    let mut written = 0u32;
    let mut next_list = 0u64;
    all.each(&mut |hash, group| {
        for _ in 0..filling.add(hash) {
            out.item(&write_bucket(&std::mem::take(&mut slots)), BUCKETS_PER_PAGE)?;
            written = written.saturating_add(1);
        }
        let slot = match group {
            [(_, number)] => Slot::One(all.entries.get(*number)?.at),
            _ => Slot::List(next_list),
        };
        next_list = next_list.saturating_add(list_len(group));
        if let Some(free) = slots.get_mut(filling.used.saturating_sub(1)) {
            *free = slot.encode(hash);
        }
        Ok(())
    })?;
    while written < counts.buckets {
        out.item(&write_bucket(&std::mem::take(&mut slots)), BUCKETS_PER_PAGE)?;
        written = written.saturating_add(1);
    }
    out.end_section()
}
