//! Walks the records of a segment in order, finding its way again behind damage.
//!
//! Heads are checked by themselves and bound to their offset, so a search costs a bounded amount per
//! byte and never finds a record that lies embedded in a payload or was copied from elsewhere.

use super::reader::Bindings;
use crate::error::{Damage, Result};
use crate::format::crc::Binding;
use crate::format::record::{self, HEAD_BYTES, HEAD_LEN, Head};
use crate::id::DictionaryId;
use crate::vfs::ReadFile;

/// Bytes searched at a time for a head that holds.
const SEARCH_BYTES: usize = 4096;

/// Bytes read at a time: what fits the cache of a core.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes read at least.
const READ_MIN_BYTES: usize = 4 << 10;

/// What lies at an offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A record whose head holds.
    Record {
        /// Where it starts.
        offset: u32,
        /// Its head; the data is not verified yet.
        head: Head,
    },
    /// Bytes that are no record.
    Gap {
        /// Where they start.
        offset: u32,
        /// How many.
        len: u32,
        /// Why the first of them are no record.
        damage: Damage,
    },
}

/// A walk through a segment file.
#[derive(Debug)]
pub struct Walk<'f> {
    file: &'f dyn ReadFile,
    bindings: &'f Bindings,
    len: u32,
    next: u32,
    /// Where what is looked for ends: up to there it pays to read ahead.
    until: u32,
    /// `chunk_len` bytes from `chunk_start` on; what is behind them is memory for more.
    chunk: Vec<u8>,
    chunk_start: u32,
    chunk_len: usize,
    /// What the record of the last step is bound to.
    binding: Option<Binding>,
}

impl<'f> Walk<'f> {
    /// Starts at `from` and ends at `len`, the length of the file or of its committed part.
    pub fn new(file: &'f dyn ReadFile, bindings: &'f Bindings, from: u32, len: u32) -> Walk<'f> {
        let (chunk, chunk_start, chunk_len) = (Vec::new(), 0, 0);
        Walk { file, bindings, len, next: from, until: len, chunk, chunk_start, chunk_len, binding: None }
    }

    /// Takes over a buffer, for its memory only.
    #[must_use]
    pub fn with_buffer(mut self, buffer: Vec<u8>) -> Walk<'f> {
        self.chunk = buffer;
        self
    }

    /// Says that what starts at `until` or behind it is not wanted. It may be read all the same.
    #[must_use]
    pub fn until(mut self, until: u32) -> Walk<'f> {
        self.until = until;
        self
    }

    /// Gives the buffer back.
    pub fn into_buffer(self) -> Vec<u8> {
        self.chunk
    }

    /// Goes on at the first place where a head holds, if there is one among the next `max` bytes.
    ///
    /// # Errors
    /// Failures of reading.
    pub fn find(&mut self, max: u32) -> Result<bool> {
        let until = self.next.saturating_add(max).min(self.len);
        self.next = self.search(self.next, until)?;
        Ok(self.next < until)
    }

    /// Returns where the next step starts.
    pub fn position(&self) -> u32 {
        self.next
    }

    /// Returns the next record or gap, or `None` at the end.
    ///
    /// # Errors
    /// Failures of reading.
    #[inline]
    pub fn step(&mut self) -> Result<Option<Step>> {
        let offset = self.next;
        if offset >= self.len {
            return Ok(None);
        }
        let bindings = self.bindings;
        match bindings.likely_head(self.bytes(offset, HEAD_BYTES)?, offset) {
            Some((head, binding)) if head.size <= self.len.saturating_sub(offset) => {
                self.next = offset.saturating_add(head.size);
                self.binding = Some(binding);
                Ok(Some(Step::Record { offset, head }))
            }
            _ => self.other(offset),
        }
    }

    /// What is not as usual: a dictionary, or a segment whose header is damaged, or no record.
    #[cold]
    fn other(&mut self, offset: u32) -> Result<Option<Step>> {
        let bindings = self.bindings;
        match bindings.decode_head(self.bytes(offset, HEAD_BYTES)?, offset) {
            Ok((head, binding)) if head.size <= self.len.saturating_sub(offset) => {
                self.next = offset.saturating_add(head.size);
                self.binding = Some(binding);
                Ok(Some(Step::Record { offset, head }))
            }
            Ok((head, _)) => {
                let expect = u64::from(offset).saturating_add(head.size.into());
                self.gap(offset, Damage::Truncated { expect, actual: self.len.into() })
            }
            Err(damage) => self.gap(offset, damage),
        }
    }

    #[cold]
    fn gap(&mut self, offset: u32, damage: Damage) -> Result<Option<Step>> {
        self.binding = None;
        self.next = self.search(offset.saturating_add(1), self.len)?;
        Ok(Some(Step::Gap { offset, len: self.next.saturating_sub(offset), damage }))
    }

    /// Returns the data of a record that a step returned.
    ///
    /// # Errors
    /// Failures of reading.
    #[inline]
    pub fn data(&mut self, offset: u32, head: &Head) -> Result<&[u8]> {
        let len = usize::try_from(head.data_len()).unwrap_or(usize::MAX);
        self.bytes(offset.saturating_add(HEAD_LEN), len)
    }

    /// Returns `len` bytes from `offset`, fewer at the end of the file.
    ///
    /// # Errors
    /// Failures of reading.
    #[inline]
    pub fn bytes(&mut self, offset: u32, len: usize) -> Result<&[u8]> {
        let from = offset.checked_sub(self.chunk_start).and_then(|from| usize::try_from(from).ok());
        let within = from.and_then(|from| Some((from, from.checked_add(len)?)));
        match within.filter(|(_, to)| *to <= self.chunk_len) {
            Some((from, to)) => Ok(self.chunk.get(from..to).unwrap_or_default()),
            None => self.read(offset, len),
        }
    }

    /// Reads on from `offset`.
    #[cold]
    fn read(&mut self, offset: u32, len: usize) -> Result<&[u8]> {
        let left = |end: u32| usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let room = left(self.len);
        let len = len.min(room);
        let ahead = match left(self.until) {
            0 => CHUNK_BYTES,
            wanted => wanted.clamp(READ_MIN_BYTES, CHUNK_BYTES),
        };
        let want = len.max(ahead.min(room));
        if self.chunk.len() < want {
            self.chunk.resize(want, 0);
        }
        (self.chunk_start, self.chunk_len) = (offset, 0);
        let chunk = self.chunk.get_mut(..want).unwrap_or_default();
        self.chunk_len = self.file.read_at(chunk, offset.into())?;
        let got = len.min(self.chunk_len);
        Ok(self.chunk.get(..got).unwrap_or_default())
    }

    /// Verifies the data of the record that the last step returned.
    ///
    /// # Errors
    /// The outer one is the system's, the inner one says what is damaged.
    #[inline]
    pub fn verify(&mut self, offset: u32, head: &Head) -> Result<std::result::Result<(), Damage>> {
        let Some(binding) = self.binding else { return Ok(Err(Damage::Magic)) };
        let data = self.data(offset, head)?;
        Ok(record::verify_data(head, data, binding, offset))
    }

    /// The same for those who need no reason: where it says no, [`verify`](Walk::verify) has it.
    ///
    /// # Errors
    /// Failures of reading.
    #[inline]
    pub(crate) fn is_intact(&mut self, offset: u32, head: &Head) -> Result<bool> {
        let Some(binding) = self.binding else { return Ok(false) };
        let data = self.data(offset, head)?;
        Ok(record::is_intact(head, data, binding, offset))
    }

    /// Returns the dictionary of the segment, by what the record of the last step is bound to.
    #[inline]
    pub fn dictionary(&self) -> DictionaryId {
        self.binding.map_or(DictionaryId::NONE, |binding| self.bindings.dictionary_of(binding))
    }

    /// Finds the first offset in `from..until` where a head holds, or returns `until`.
    fn search(&mut self, from: u32, until: u32) -> Result<u32> {
        let end = self.len;
        let bindings = self.bindings;
        let mut offset = from;
        while offset < until && end.saturating_sub(offset) >= HEAD_LEN {
            let bytes = self.bytes(offset, SEARCH_BYTES)?;
            if bytes.len() < HEAD_BYTES {
                break;
            }
            let mut advanced = 0u32;
            for window in bytes.windows(HEAD_BYTES) {
                let at = offset.saturating_add(advanced);
                if at >= until {
                    return Ok(until);
                }
                let room = u64::from(end.saturating_sub(at));
                if record::is_plausible(window, room) && bindings.decode_head(window, at).is_ok() {
                    return Ok(at);
                }
                advanced = advanced.saturating_add(1);
            }
            offset = offset.saturating_add(advanced);
        }
        Ok(until)
    }
}
