//! A record of a segment, read in two steps: the head, which says whose it is, and the data.

use std::borrow::Cow;

use super::reader::Segment;
use crate::error::{Damage, Error, Result};
use crate::format::crc::Binding;
use crate::format::record::{self, HEAD_BYTES, Head};
use crate::id::DictionaryId;

/// A record read and verified.
#[derive(Clone, Debug)]
pub struct Record<'s> {
    /// Its head.
    pub head: Head,
    /// Its data; borrowed from the map where the segment is mapped.
    pub data: Cow<'s, [u8]>,
    /// The dictionary that its payload may need.
    pub dictionary: DictionaryId,
}

impl Record<'_> {
    /// Copies the data, so that the record outlives the segment's map.
    pub fn into_owned<'a>(self) -> Record<'a> {
        Record { head: self.head, data: Cow::Owned(self.data.into_owned()), dictionary: self.dictionary }
    }
}

/// A record whose head is read and verified, its data not yet. A lookup asks for the key first and then, mostly, for the
/// record: so the head is read and verified once.
#[derive(Debug)]
pub struct Opened<'s> {
    segment: &'s Segment,
    offset: u32,
    head: Head,
    binding: Binding,
    /// From the head on: all that the map has, or what a first read brought.
    bytes: Cow<'s, [u8]>,
}

impl<'s> Opened<'s> {
    /// Decodes the head at the front of `bytes`, which lie at an offset of a segment.
    #[inline]
    pub(super) fn new(
        segment: &'s Segment,
        offset: u32,
        bytes: Cow<'s, [u8]>,
    ) -> std::result::Result<Opened<'s>, Damage> {
        let (head, binding) = segment.bindings().decode_head(&bytes, offset)?;
        Ok(Opened { segment, offset, head, binding, bytes })
    }

    /// The same where the head is bound as nearly all are and the record is whole.
    #[inline]
    pub(super) fn likely(segment: &'s Segment, offset: u32, bytes: &'s [u8]) -> Option<Opened<'s>> {
        let (head, binding) = segment.bindings().likely_head(bytes, offset)?;
        let size = usize::try_from(head.size).ok()?;
        let bytes = Cow::Borrowed(bytes.get(..size)?);
        Some(Opened { segment, offset, head, binding, bytes })
    }

    /// Tells whether some of the record is not at hand.
    #[inline]
    pub(super) fn is_cut(&self) -> bool {
        usize::try_from(self.head.size).map_or(true, |size| size > self.bytes.len())
    }

    /// Returns the head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the data without a look at its checksum, as far as it is at hand: for a measurement of what the checksum
    /// costs, and for nothing that is served.
    pub fn unverified(&self) -> &[u8] {
        let want = usize::try_from(self.head.size).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.get(HEAD_BYTES..want).unwrap_or_default()
    }

    /// Verifies the data if it is at hand: `None` says nothing but that it is not, or does not hold.
    #[inline]
    pub fn intact(self) -> Option<Record<'s>> {
        let Opened { segment, offset, head, binding, bytes } = self;
        let Cow::Borrowed(bytes) = bytes else { return None };
        let data = bytes.get(HEAD_BYTES..usize::try_from(head.size).ok()?)?;
        let is_intact = record::is_intact(&head, data, binding, offset);
        let dictionary = segment.bindings().dictionary_of(binding);
        is_intact.then_some(Record { head, data: Cow::Borrowed(data), dictionary })
    }

    /// Verifies the data, of which the rest is read if it is not at hand.
    ///
    /// # Errors
    /// `Damaged` with the place, and failures of reading.
    #[inline]
    pub fn verify(self) -> Result<Record<'s>> {
        let Opened { segment, offset, head, binding, bytes } = self;
        let want = usize::try_from(head.size).unwrap_or(usize::MAX);
        let data = match bytes {
            Cow::Borrowed(bytes) => bytes.get(HEAD_BYTES..want).map(Cow::Borrowed),
            Cow::Owned(bytes) => complete(segment, offset, bytes, want)?.map(Cow::Owned),
        };
        let Some(data) = data else { return Err(cut_off(segment, offset, &head)) };
        match record::verify_data(&head, &data, binding, offset) {
            Ok(()) => Ok(Record { head, data, dictionary: segment.bindings().dictionary_of(binding) }),
            Err(damage) => Err(Error::damaged(segment.place(offset), damage)),
        }
    }
}

#[cold]
fn cut_off(segment: &Segment, offset: u32, head: &Head) -> Error {
    let expect = u64::from(offset).saturating_add(head.size.into());
    match segment.file().len() {
        Ok(actual) => Error::damaged(segment.place(offset), Damage::Truncated { expect, actual }),
        Err(error) => error,
    }
}

/// Reads what is missing of a record of `want` bytes and returns its data; `None` if the file ends before.
fn complete(segment: &Segment, offset: u32, mut bytes: Vec<u8>, want: usize) -> Result<Option<Vec<u8>>> {
    let have = bytes.len();
    if have < want {
        let end = u64::from(offset).saturating_add(u64::try_from(want).unwrap_or(u64::MAX));
        // Before the record's length is believed and room is made for it.
        if segment.file().len()? < end {
            return Ok(None);
        }
        bytes.resize(want, 0);
        let from = u64::from(offset).saturating_add(u64::try_from(have).unwrap_or(u64::MAX));
        let rest = bytes.get_mut(have..).unwrap_or_default();
        if segment.file().read_at(rest, from)? < rest.len() {
            return Ok(None);
        }
    }
    bytes.truncate(want);
    bytes.drain(..HEAD_BYTES);
    Ok(Some(bytes))
}
