//! Finds the slots of a hash in the buckets.

use crate::error::Result;
use crate::format::index::{
    BUCKET_BYTES, BUCKETS_PER_PAGE, LIST_ITEM_BYTES, LIST_ITEMS_PER_PAGE, SLOTS_PER_BUCKET, Slot,
    home_bucket, matching_slots, read_list_item, slot_of_bucket,
};

use super::view::{Index, partition};

/// The slots whose tag is that of a hash, from its home bucket to the first bucket with room. Usually one
/// cache line.
pub(super) struct Probe<'a, B> {
    index: &'a Index<B>,
    hash: u64,
    /// The bucket after the one whose slots are in `slots`.
    bucket: u32,
    slots: &'a [u8; BUCKET_BYTES],
    /// One bit for each slot that has the tag and was not looked at yet.
    matches: u32,
}

impl<'a, B: AsRef<[u8]>> Probe<'a, B> {
    #[inline]
    pub(super) fn new(index: &'a Index<B>, hash: u64) -> Probe<'a, B> {
        let bucket = home_bucket(hash, index.header.counts.home_buckets);
        // As if the bucket before it had been full and searched.
        Probe { index, hash, bucket, slots: &[u8::MAX; BUCKET_BYTES], matches: 0 }
    }

    /// Returns how many buckets were read.
    pub(super) fn steps(&self) -> u32 {
        self.bucket.saturating_sub(home_bucket(self.hash, self.index.header.counts.home_buckets))
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Slot>> {
        loop {
            if self.matches != 0 {
                let at = usize::try_from(self.matches.trailing_zeros()).unwrap_or(SLOTS_PER_BUCKET);
                self.matches &= self.matches.wrapping_sub(1);
                let slot = slot_of_bucket(self.slots, at);
                if slot != 0 {
                    return Ok(Some(Slot::decode(slot)));
                }
                continue;
            }
            let is_full = slot_of_bucket(self.slots, SLOTS_PER_BUCKET.saturating_sub(1)) != 0;
            if !is_full || self.bucket >= self.index.header.counts.buckets {
                return Ok(None);
            }
            self.slots = self
                .index
                .pages
                .item::<BUCKET_BYTES, BUCKETS_PER_PAGE>(self.index.sections.buckets, self.bucket.into())?;
            self.matches = matching_slots(self.slots, self.hash);
            self.bucket = self.bucket.saturating_add(1);
        }
    }
}

/// The entries of one hash: a list of section 2, known to lie inside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    /// Number of the item after the length.
    start: u64,
    /// Entries in it, at least 2.
    pub(super) len: u32,
}

impl<B: AsRef<[u8]>> Index<B> {
    /// Returns the list that begins at an item.
    pub(super) fn list(&self, first: u64) -> Result<List> {
        let len = self.list_item(first)?;
        let start = first.saturating_add(1);
        let end = start.saturating_add(len.into());
        if len >= 2 && end <= self.sections.lists.count {
            Ok(List { start, len })
        } else {
            Err(self.disagrees("length of a list"))
        }
    }

    /// Returns the number of the `position`-th entry of a list.
    #[inline]
    pub(super) fn list_entry(&self, list: List, position: u32) -> Result<u32> {
        self.list_item(list.start.saturating_add(position.into()))
    }

    /// Returns the position of the first entry in the list whose number is at least `number`.
    pub(super) fn list_lower(&self, list: List, number: u32) -> Result<u32> {
        partition(0, list.len, |position| Ok(self.list_entry(list, position)? < number))
    }

    fn list_item(&self, item: u64) -> Result<u32> {
        let bytes = self.pages.item::<LIST_ITEM_BYTES, LIST_ITEMS_PER_PAGE>(self.sections.lists, item)?;
        Ok(read_list_item(*bytes))
    }
}
