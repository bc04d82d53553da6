//! One segment file open for reading: mapped as far as it is final, by positioned reads behind that.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::dictionary::Dictionary;
use super::record::{Opened, Record};
use super::walk::Walk;
use crate::error::{Damage, Error, Place, Result};
use crate::format::crc::Binding;
use crate::format::record::{self, HEAD_BYTES, HEAD_LEN, Head, Tag};
use crate::format::segment::{self, HEADER_BYTES, HEADER_LEN, SegmentHeader};
use crate::id::{DictionaryId, SegmentId, StoreId};
use crate::vfs::{Map, ReadFile, Soon, prefetch};

/// Reads of a segment after which it is mapped: to map it, and to touch its pages for the first time, costs more than
/// the two reads that a single lookup needs.
const MAP_AFTER: u32 = 4;
/// Bytes of a positioned read: most records are shorter, so that one read does.
const READ_BYTES: usize = 4096;

/// What the checksums of a segment's records may start from. One value, unless the header that names
/// the dictionary is damaged: then the dictionaries that the store knows are tried.
#[derive(Clone, Debug)]
pub struct Bindings {
    unbound: Binding,
    /// The first candidate, mostly the only one.
    first: (DictionaryId, Binding),
    others: Vec<(DictionaryId, Binding)>,
}

impl Bindings {
    /// All bindings that a segment may have.
    pub fn new(store: StoreId, segment: SegmentId, dictionaries: &[DictionaryId]) -> Bindings {
        let bind = |id: &DictionaryId| (*id, Binding::new(store, segment, *id));
        let unbound = Binding::new(store, segment, DictionaryId::NONE);
        let (first, others) = match dictionaries.split_first() {
            Some((first, others)) => (bind(first), others),
            None => ((DictionaryId::NONE, unbound), dictionaries),
        };
        Bindings { unbound, first, others: others.iter().map(bind).collect() }
    }

    fn candidates(&self) -> impl Iterator<Item = &(DictionaryId, Binding)> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Decodes a head under whichever binding holds, and returns that too.
    ///
    /// # Errors
    /// What the first candidate says is wrong.
    #[inline]
    pub fn decode_head(&self, bytes: &[u8], offset: u32) -> std::result::Result<(Head, Binding), Damage> {
        match self.likely_head(bytes, offset) {
            Some(found) => Ok(found),
            None => self.decode_other(bytes, offset),
        }
    }

    /// Decodes a head that is bound as nearly all are.
    #[inline]
    pub(super) fn likely_head(&self, bytes: &[u8], offset: u32) -> Option<(Head, Binding)> {
        let head = record::intact_head(bytes, self.first.1, offset)?;
        (head.tag != Tag::Dictionary).then_some((head, self.first.1))
    }

    #[cold]
    fn decode_other(&self, bytes: &[u8], offset: u32) -> std::result::Result<(Head, Binding), Damage> {
        let first = decode_bound(bytes, self.first.1, offset);
        first.or_else(|damage| {
            let found =
                self.others.iter().find_map(|(_, binding)| decode_bound(bytes, *binding, offset).ok());
            let found = found.or_else(|| {
                // The dictionary's own record is bound to no dictionary, and stands first or nowhere.
                let head =
                    (offset == HEADER_LEN).then(|| record::decode_head(bytes, self.unbound, offset))?;
                Some((head.ok().filter(|head| head.tag == Tag::Dictionary)?, self.unbound))
            });
            found.ok_or(damage)
        })
    }

    /// Reads a head in which one bit is wrong, under whichever binding it fits.
    pub fn correct_head(&self, bytes: &[u8], offset: u32) -> Option<(Head, Binding)> {
        let correct = |binding: Binding| Some((record::correct_head(bytes, binding, offset)?, binding));
        self.candidates().find_map(|(_, binding)| correct(*binding))
    }

    /// Encodes a record for an offset, under the binding that brings it closest to what was found there.
    pub fn encode_like(
        &self,
        offset: u32,
        tag: Tag,
        key: &[u8; 32],
        data: &[u8],
        found: &[u8],
    ) -> Option<(Head, Vec<u8>)> {
        let encoded = self.candidates().map(|(_, binding)| {
            let mut out = Vec::new();
            let head = record::encode(&mut out, *binding, offset, tag, key, data);
            (head, out)
        });
        encoded.min_by_key(|(_, bytes)| bytes.iter().zip(found).filter(|(a, b)| a != b).count())
    }

    /// Returns the dictionary that a binding belongs to.
    #[inline]
    pub(super) fn dictionary_of(&self, binding: Binding) -> DictionaryId {
        let found = self.candidates().find(|(_, candidate)| *candidate == binding);
        found.map_or(DictionaryId::NONE, |(id, _)| *id)
    }
}

/// A segment open for reading.
#[derive(Debug)]
pub struct Segment {
    id: SegmentId,
    header: std::result::Result<SegmentHeader, Damage>,
    bindings: Bindings,
    file: Arc<dyn ReadFile>,
    /// Bytes that may be mapped, from the front: those that are durable and never written again.
    final_bytes: u64,
    map: OnceLock<Map>,
    /// Positioned reads of heads and records so far, up to [`MAP_AFTER`].
    reads: AtomicU32,
}

impl Segment {
    /// Opens a segment. Its first `final_bytes` bytes, or all that there are, are mapped once it is read more than a few times;
    /// they must be durable, and never be written again. A header that is damaged stops nothing, as everything else is known
    /// from the store (`dictionaries`: all that it knows).
    ///
    /// # Errors
    /// Failures of reading, and `UnsupportedVersion`.
    pub fn open(
        file: Arc<dyn ReadFile>,
        id: SegmentId,
        store: StoreId,
        final_bytes: u64,
        dictionaries: &dyn Fn() -> Vec<DictionaryId>,
    ) -> Result<Segment> {
        let mut bytes = [0u8; HEADER_BYTES];
        let got = file.read_at(&mut bytes, 0)?;
        let header = match segment::decode(bytes.get(..got).unwrap_or_default(), id, Some(store)) {
            Ok(header) => Ok(header),
            Err(Error::Damaged { damage, .. }) => Err(damage),
            Err(other) => return Err(other),
        };
        let candidates = if let Ok(header) = &header {
            vec![header.dictionary]
        } else {
            let mut all = vec![DictionaryId::NONE];
            all.extend(dictionaries());
            all.extend(own_dictionary(&*file, id, store)?);
            all
        };
        let bindings = Bindings::new(store, id, &candidates);
        Ok(Segment {
            id,
            header,
            bindings,
            file,
            final_bytes,
            map: OnceLock::new(),
            reads: AtomicU32::new(0),
        })
    }

    /// Returns the map of a segment that is read often enough to be worth one.
    #[inline]
    fn map(&self) -> Result<Option<&Map>> {
        if let Some(map) = self.map.get() {
            return Ok(Some(map));
        }
        if self.final_bytes == 0 || self.reads.fetch_add(1, Ordering::Relaxed) < MAP_AFTER {
            return Ok(None);
        }
        let map = self.file.map(self.file.len()?.min(self.final_bytes))?;
        Ok(Some(self.map.get_or_init(|| map)))
    }

    #[cfg(test)]
    pub(crate) fn is_mapped(&self) -> bool {
        self.map.get().is_some()
    }

    /// Returns its number.
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// Returns its header, or what is wrong with it.
    pub fn header(&self) -> &std::result::Result<SegmentHeader, Damage> {
        &self.header
    }

    /// Returns what its checksums may start from.
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// Returns its file.
    pub fn file(&self) -> &Arc<dyn ReadFile> {
        &self.file
    }

    /// Walks its records from `from`, or from the first one.
    ///
    /// # Errors
    /// Failures of reading.
    pub fn walk(&self, from: Option<u32>) -> Result<Walk<'_>> {
        let len = u32::try_from(self.file.len()?).unwrap_or(u32::MAX);
        Ok(Walk::new(&*self.file, &self.bindings, from.unwrap_or(HEADER_LEN), len))
    }

    /// Walks those of its records that start in `from..until`, in a buffer that another walk has used.
    ///
    /// # Errors
    /// Failures of reading.
    pub fn walk_in(&self, from: u32, until: u32, buffer: Vec<u8>) -> Result<Walk<'_>> {
        Ok(self.walk(Some(from))?.until(until).with_buffer(buffer))
    }

    /// Names a place in this segment.
    pub fn place(&self, offset: u32) -> Place {
        Place::at(segment::file_name(self.id), offset.into())
    }

    /// Reads the head at an offset. The outer error is the system's, the inner one says what is damaged.
    ///
    /// # Errors
    /// Failures of reading.
    pub fn head(&self, offset: u32) -> Result<std::result::Result<Head, Damage>> {
        let mut buffer = [0u8; HEAD_BYTES];
        let mapped = self.map()?.map(|map| slice(map, offset, HEAD_BYTES));
        let bytes = if let Some(bytes) = mapped.filter(|bytes| bytes.len() == HEAD_BYTES) {
            bytes
        } else {
            let got = self.file.read_at(&mut buffer, offset.into())?;
            buffer.get(..got).unwrap_or_default()
        };
        Ok(self.bindings.decode_head(bytes, offset).map(|(head, _)| head))
    }

    /// Reads a head in which one bit is wrong, and puts it right; `None` if it is no such head. For attribution only.
    ///
    /// # Errors
    /// Failures of reading.
    pub fn mended_head(&self, offset: u32) -> Result<Option<Head>> {
        let mut bytes = [0u8; HEAD_BYTES];
        let got = self.file.read_at(&mut bytes, offset.into())?;
        let whole = (got == HEAD_BYTES).then_some(&bytes);
        Ok(whole.and_then(|bytes| self.bindings.correct_head(bytes, offset)).map(|(head, _)| head))
    }

    /// Reads the record at an offset and verifies both checksums. One positioned read, or none if mapped.
    ///
    /// # Errors
    /// `Damaged` with the place, and failures of reading.
    pub fn record(&self, offset: u32) -> Result<Record<'_>> {
        match self.open_record(offset)? {
            Ok(opened) => opened.verify(),
            Err(damage) => Err(Error::damaged(self.place(offset), damage)),
        }
    }

    /// Reads the record at an offset and verifies its head. The outer error is the system's, the inner one says what is
    /// damaged. One positioned read, or none if mapped.
    ///
    /// # Errors
    /// Failures of reading.
    pub fn open_record(&self, offset: u32) -> Result<std::result::Result<Opened<'_>, Damage>> {
        if let Some(map) = self.map()? {
            let bytes = slice(map, offset, usize::MAX);
            match Opened::new(self, offset, Cow::Borrowed(bytes)) {
                // What was appended since is read.
                Ok(opened) if opened.is_cut() => {}
                Err(_) if bytes.len() < HEAD_BYTES => {}
                opened => return Ok(opened),
            }
        }
        let mut bytes = vec![0u8; READ_BYTES];
        let got = self.file.read_at(&mut bytes, offset.into())?;
        bytes.truncate(got);
        Ok(Opened::new(self, offset, Cow::Owned(bytes)))
    }

    /// The same for a record that is whole in the map and whose head holds: `None` says nothing about any other.
    #[inline]
    pub fn open_mapped(&self, offset: u32) -> Option<Opened<'_>> {
        Opened::likely(self, offset, slice(self.map.get()?, offset, usize::MAX))
    }

    /// Asks the processor for the first `len` bytes of a record that is about to be read. Does nothing where it is not mapped.
    #[inline]
    pub fn prefetch(&self, offset: u32, len: usize, soon: Soon) {
        if let Some(map) = self.map.get() {
            prefetch(slice(map, offset, len), soon);
        }
    }

    /// Reads the dictionary that this segment carries, if it carries one and it is intact.
    ///
    /// # Errors
    /// Failures of reading, and what is wrong with the copy.
    pub fn dictionary(&self) -> Result<Option<Arc<Dictionary>>> {
        match self.head(HEADER_LEN)? {
            Ok(head) if head.tag == Tag::Dictionary => {}
            Ok(_) => return Ok(None),
            Err(damage) => return Err(Error::damaged(self.place(HEADER_LEN), damage)),
        }
        let record = self.record(HEADER_LEN)?;
        let unpacked = Dictionary::unpack(&record.data);
        unpacked.map(Some).map_err(|damage| Error::damaged(self.place(HEADER_LEN), damage))
    }
}

/// Decodes a head of any record but a dictionary's.
#[inline]
fn decode_bound(bytes: &[u8], binding: Binding, offset: u32) -> std::result::Result<(Head, Binding), Damage> {
    let head = record::decode_head(bytes, binding, offset)?;
    match head.tag {
        Tag::Dictionary => Err(Damage::Field { what: "record tag", value: head.size.into() }),
        Tag::Put | Tag::Delete | Tag::Commit => Ok((head, binding)),
    }
}

/// Finds which dictionary a segment with a damaged header carries.
fn own_dictionary(file: &dyn ReadFile, id: SegmentId, store: StoreId) -> Result<Option<DictionaryId>> {
    let mut bytes = [0u8; HEAD_BYTES];
    let got = file.read_at(&mut bytes, HEADER_LEN.into())?;
    let unbound = Binding::new(store, id, DictionaryId::NONE);
    let head = record::decode_head(bytes.get(..got).unwrap_or_default(), unbound, HEADER_LEN);
    Ok(head.ok().filter(|head| head.tag == Tag::Dictionary).and_then(|head| {
        let (id, _) = head.key.split_first_chunk::<16>()?;
        Some(DictionaryId(*id))
    }))
}

/// Returns up to `len` bytes from `offset`, fewer at the end.
#[inline]
fn slice(bytes: &[u8], offset: u32, len: usize) -> &[u8] {
    let rest = usize::try_from(offset).ok().and_then(|from| bytes.get(from..)).unwrap_or_default();
    rest.get(..len).unwrap_or(rest)
}

/// Bytes of a record's head, for those who count.
pub const RECORD_HEAD_LEN: u32 = HEAD_LEN;
