//! Appends records to one new segment file.

use std::sync::Arc;

use super::dictionary::Dictionary;
use crate::error::{Error, Result};
use crate::format::crc::Binding;
use crate::format::record::{self, Head, Tag};
use crate::format::segment::{self, HEADER_LEN, SegmentHeader};
use crate::id::{DictionaryId, Location, SegmentId};
use crate::seeded::{self, Bug};
use crate::vfs::{File, Vfs};

/// Bytes gathered before they are handed to the file.
const BUFFER_BYTES: usize = 1 << 20;

/// The segment being written. Records get their place when appended; nothing is durable before
/// [`sync`](SegmentWriter::sync).
#[derive(Debug)]
pub struct SegmentWriter {
    vfs: Arc<dyn Vfs>,
    file: Box<dyn File>,
    segment: SegmentId,
    dictionary: DictionaryId,
    binding: Binding,
    buffer: Vec<u8>,
    len: u32,
    named: bool,
}

impl SegmentWriter {
    /// Creates the file of a new segment. `header.dictionary` and `header.first_record` are set here.
    ///
    /// # Errors
    /// Failures of the file system.
    pub fn create(
        vfs: Arc<dyn Vfs>,
        mut header: SegmentHeader,
        dictionary: Option<&Dictionary>,
    ) -> Result<SegmentWriter> {
        let unbound = Binding::new(header.store, header.segment, DictionaryId::NONE);
        let mut extra = Vec::new();
        header.dictionary = DictionaryId::NONE;
        header.first_record = HEADER_LEN;
        if let Some(dictionary) = dictionary {
            let mut key = [0u8; 32];
            for (to, from) in key.iter_mut().zip(dictionary.id().0) {
                *to = from;
            }
            let data = dictionary.packed()?;
            let head = record::encode(&mut extra, unbound, HEADER_LEN, Tag::Dictionary, &key, &data);
            header.dictionary = dictionary.id();
            header.first_record = HEADER_LEN.saturating_add(head.size);
        }
        let file = vfs.create_new(&segment::file_name(header.segment))?;
        let mut buffer = segment::encode(&header);
        buffer.extend_from_slice(&extra);
        Ok(SegmentWriter {
            file,
            segment: header.segment,
            dictionary: header.dictionary,
            binding: Binding::new(header.store, header.segment, header.dictionary),
            buffer,
            len: header.first_record,
            named: false,
            vfs,
        })
    }

    /// Returns the segment's number.
    pub fn segment(&self) -> SegmentId {
        self.segment
    }

    /// Returns the dictionary that its records use.
    pub fn dictionary(&self) -> DictionaryId {
        self.dictionary
    }

    /// Returns its length in bytes, with what is still gathered.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Tells whether it is empty, which it never is: it has a header.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Appends a record and returns where it lies and its head as it is on disk.
    ///
    /// # Errors
    /// Failures of the file system; the segment is then of no more use.
    pub fn append(&mut self, tag: Tag, key: &[u8; 32], data: &[u8]) -> Result<(Location, Head, [u8; 45])> {
        self.append_parts(tag, key, data, &[])
    }

    /// The same for data in two parts, of which the second goes to the file as it is: a large one is not copied.
    ///
    /// # Errors
    /// As of [`append`](SegmentWriter::append).
    pub fn append_parts(
        &mut self,
        tag: Tag,
        key: &[u8; 32],
        data: &[u8],
        rest: &[u8],
    ) -> Result<(Location, Head, [u8; 45])> {
        let offset = self.len;
        let head = record::encode_front(&mut self.buffer, self.binding, offset, tag, key, data, rest);
        let too_large = Error::TooLarge { what: "segment", len: offset.into(), max: u32::MAX.into() };
        self.len = offset.checked_add(head.size).ok_or(too_large)?;
        if self.buffer.len().saturating_add(rest.len()) >= BUFFER_BYTES {
            self.flush()?;
            if !rest.is_empty() {
                self.file.append(rest)?;
            }
            self.file.flush_hint();
        } else {
            self.buffer.extend_from_slice(rest);
        }
        let at = Location { segment: self.segment, offset };
        Ok((at, head, record::encode_head(&head, self.binding, offset)))
    }

    /// Hands everything gathered to the file, so that readers of the file see it.
    ///
    /// # Errors
    /// Failures of the file system.
    pub fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.file.append(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Makes everything appended durable, and the file's name with it.
    ///
    /// # Errors
    /// Failures of the file system. Never try again after one: reopen the store.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.file.sync()?;
        if !self.named && !seeded::has(Bug::SegmentUnnamed) {
            self.vfs.sync_dir("data")?;
            self.named = true;
        }
        Ok(())
    }
}
