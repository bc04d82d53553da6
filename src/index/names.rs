//! Holds a record against an index file: whether the file has just this record as the newest of its key.
//!
//! A lookup goes from a key to a place, and reads the record there to be sure. A check comes from the record, so the place
//! alone decides, and nothing but the bucket is touched.

use std::ops::Range;

use crate::error::Result;
use crate::format::index::{
    BUCKET_BYTES, BUCKETS_PER_PAGE, LIST_ITEM_BYTES, LIST_ITEMS_PER_PAGE, Packed, Slot, home_bucket,
    read_bucket,
};
use crate::id::{RunKey, SegmentId};

use super::probe::Probe;
use super::view::{Index, partition};

/// A run and a segment as an index file numbers them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Within {
    /// The entries of the run.
    entries: Range<u32>,
    /// The segment's row; `None` if the file points nowhere into it.
    ordinal: Option<u32>,
}

impl Within {
    /// Tells whether the file has the run.
    #[inline]
    pub fn is_there(&self) -> bool {
        !self.entries.is_empty()
    }

    #[inline]
    fn is_at(&self, at: Packed, offset: u32) -> bool {
        at.offset() == offset && Some(at.ordinal()) == self.ordinal
    }
}

/// What an index file has for a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// Nothing: no entry can be the key's.
    Nothing,
    /// This very record.
    This,
    /// Entries at other places, which may be the key's.
    Other,
}

impl<B: AsRef<[u8]>> Index<B> {
    /// Returns how the file numbers a run and a segment, for [`names`](Index::names). O(log runs + log segments).
    ///
    /// # Errors
    /// `Damaged`.
    pub fn within(&self, run: RunKey, segment: SegmentId) -> Result<Within> {
        let entries = match self.find_run(run)? {
            Some((row, _)) => self.range_of(row).map(|(start, end)| start..end)?,
            None => 0..0,
        };
        let ordinal = self.find_segment(segment)?.map(|(ordinal, _)| ordinal);
        Ok(Within { entries, ordinal })
    }

    /// Tells whether the file knows a segment. O(log segments).
    ///
    /// # Errors
    /// `Damaged`.
    pub fn has_segment(&self, segment: SegmentId) -> Result<bool> {
        Ok(self.find_segment(segment)?.is_some())
    }

    /// Returns how long a segment was when it was sealed, if the file knows that. O(log segments).
    ///
    /// # Errors
    /// `Damaged`.
    pub fn segment_len(&self, segment: SegmentId) -> Result<Option<u32>> {
        Ok(self.find_segment(segment)?.map(|(_, len)| len).filter(|len| *len != 0))
    }

    /// Returns a segment's row and the length there.
    fn find_segment(&self, segment: SegmentId) -> Result<Option<(u32, u32)>> {
        let segments = self.header.counts.segments;
        let at = partition(0, segments, |ordinal| Ok(self.segment(ordinal)?.0 < segment))?;
        if at >= segments {
            return Ok(None);
        }
        let (found, len) = self.segment(at)?;
        Ok((found == segment).then_some((at, len)))
    }

    /// Tells whether the file has the record at an offset as the only one of its object, in the bucket where a search for it
    /// begins: so it is with most, and this takes one comparison. Where it does not say so, [`names`](Index::names) has the answer.
    #[inline]
    pub fn names_at_home(&self, hash: u64, within: &Within, offset: u32) -> bool {
        let Some(ordinal) = within.ordinal.filter(|_| within.is_there()) else { return false };
        let slot = Slot::One(Packed::new(ordinal, offset, 0)).encode(hash);
        let bucket = home_bucket(hash, self.header.counts.home_buckets);
        let bytes = self.pages.item::<BUCKET_BYTES, BUCKETS_PER_PAGE>(self.sections.buckets, bucket.into());
        bytes.is_ok_and(|bytes| read_bucket(bytes).contains(&slot))
    }

    /// Returns the front of the list that [`names`](Index::names) will look into, to be prefetched. Not verified.
    pub fn list_to_come(&self, hash: u64) -> &[u8] {
        match Probe::new(self, hash).next() {
            Ok(Some(Slot::List(first))) => {
                self.pages.unverified::<LIST_ITEM_BYTES, LIST_ITEMS_PER_PAGE>(self.sections.lists, first)
            }
            Ok(Some(Slot::One(_)) | None) | Err(_) => &[],
        }
    }

    /// Tells what the file has for the record at an offset, whose object has this hash. O(1) expected. Faster for who asked for
    /// the [bucket](Index::bucket_of) before.
    ///
    /// # Errors
    /// `Damaged`.
    #[inline]
    pub fn names(&self, hash: u64, within: &Within, offset: u32) -> Result<Names> {
        if !within.is_there() {
            return Ok(Names::Nothing);
        }
        let mut probe = Probe::new(self, hash);
        let mut names = Names::Nothing;
        while let Some(slot) = probe.next()? {
            let found = match slot {
                Slot::One(at) if within.is_at(at, offset) => Names::This,
                Slot::One(_) => Names::Other,
                Slot::List(first) => self.names_in_list(first, within, offset)?,
            };
            match found {
                Names::This => return Ok(found),
                Names::Other => names = found,
                Names::Nothing => {}
            }
        }
        Ok(names)
    }

    fn names_in_list(&self, first: u64, within: &Within, offset: u32) -> Result<Names> {
        let list = self.list(first)?;
        let mut names = Names::Nothing;
        for position in self.list_lower(list, within.entries.start)?..list.len {
            let number = self.list_entry(list, position)?;
            if number >= within.entries.end {
                break;
            }
            if within.is_at(self.raw_entry(number)?.at, offset) {
                return Ok(Names::This);
            }
            names = Names::Other;
        }
        Ok(names)
    }

    /// Tells how a search for an entry's hash comes to that entry, if it does, and through how many buckets.
    pub(super) fn leads_to(&self, hash: u64, number: u32, at: Packed) -> Result<(Option<Led>, u32)> {
        let mut probe = Probe::new(self, hash);
        let led = self.led(&mut probe, hash, number, at)?;
        Ok((led, probe.steps()))
    }

    fn led(&self, probe: &mut Probe<'_, B>, hash: u64, number: u32, at: Packed) -> Result<Option<Led>> {
        while let Some(slot) = probe.next()? {
            match slot {
                Slot::One(packed) if packed.bare() == at.bare() => return Ok(Some(Led::Slot)),
                Slot::One(_) => {}
                Slot::List(first) => {
                    let Some(list) = self.list_of(first, hash)? else { continue };
                    let position = self.list_lower(list, number)?;
                    if position < list.len && self.list_entry(list, position)? == number {
                        return Ok(Some(if position == 0 { Led::ListFirst } else { Led::ListNext }));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// How a search came to an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Led {
    /// A slot names it.
    Slot,
    /// It is the first of a list that a slot names.
    ListFirst,
    /// It is a later one of such a list.
    ListNext,
}
