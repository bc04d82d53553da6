//! Holds a record against an index file: whether the file has just this record as the newest of its key.
//!
//! A lookup goes from a key to a place, and reads the record there to be sure. A check comes from the record, so the place
//! alone decides, and nothing but the bucket is touched.

use std::ops::Range;

use crate::error::Result;
use crate::format::index::{BUCKET_BYTES, BUCKETS_PER_PAGE, Packed, Slot, home_bucket};
use crate::id::{Location, RunKey};

use super::probe::Probe;
use super::view::Index;

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
    /// Touches the line of memory that a search for the hash begins with. For several hashes at once, before they are
    /// searched for: then the processor waits for all of them together.
    #[inline]
    pub fn warm(&self, hash: u64) -> u8 {
        let bucket = home_bucket(hash, self.header.counts.home_buckets);
        let item = self.pages.item::<BUCKET_BYTES, BUCKETS_PER_PAGE>(self.sections.buckets, bucket.into());
        item.map_or(0, |bytes| bytes.first().copied().unwrap_or_default())
    }

    /// Returns which entries are of a run, for [`names`](Index::names). O(log runs).
    ///
    /// # Errors
    /// `Damaged`.
    pub fn range_of_run(&self, run: RunKey) -> Result<Range<u32>> {
        let Some((row, _)) = self.find_run(run)? else { return Ok(0..0) };
        self.range_of(row).map(|(start, end)| start..end)
    }

    /// Tells what the file has for the record at a place, whose object has this hash and whose run has these entries. O(1)
    /// expected.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn names(&self, hash: u64, of_run: &Range<u32>, at: Location) -> Result<Names> {
        let mut probe = Probe::new(self, hash);
        let mut names = Names::Nothing;
        while let Some(slot) = probe.next()? {
            match slot {
                Slot::One(packed) => {
                    if self.location(packed)? == at {
                        return Ok(Names::This);
                    }
                    names = Names::Other;
                }
                Slot::List(first) => {
                    let list = self.list(first)?;
                    names = Names::Other;
                    for position in self.list_lower(list, of_run.start)?..list.len {
                        let number = self.list_entry(list, position)?;
                        if number >= of_run.end {
                            break;
                        }
                        if self.location(self.raw_entry(number)?.at)? == at {
                            return Ok(Names::This);
                        }
                    }
                }
            }
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
