//! CRC-32 (IEEE, reflected, as in zlib) and how it binds a record to its place.
//!
//! A checksum that covers only a record's own bytes holds wherever those bytes lie: in a payload that
//! embeds a copy of a segment, in a segment file under another name, in another store. Attic and Borg
//! bring such records to life on repair. Here every CRC starts from the store, the segment, the
//! segment's dictionary and the offset, so that it holds in one place only. CRC-32 detects damage; it is
//! no defence against somebody who wants to forge a record.

use crate::id::{DictionaryId, SegmentId, StoreId};

/// A CRC-32 being computed.
#[derive(Clone, Debug, Default)]
pub struct Crc32(crc32fast::Hasher);

impl Crc32 {
    /// Starts a checksum.
    pub fn new() -> Crc32 {
        Crc32::default()
    }

    /// Goes on from the finished checksum of what came before.
    pub fn resume(before: u32) -> Crc32 {
        Crc32(crc32fast::Hasher::new_with_initial(before))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the checksum of all bytes added.
    pub fn finish(&self) -> u32 {
        self.0.clone().finalize()
    }
}

/// Returns the CRC-32 of some bytes.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// What the checksums of a segment's records start from: store, segment and dictionary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding {
    base: u32,
}

impl Binding {
    /// Binds to a segment of a store, whose compressed records use that dictionary.
    pub fn new(store: StoreId, segment: SegmentId, dictionary: DictionaryId) -> Binding {
        let mut crc = Crc32::new();
        crc.update(&store.0);
        crc.update(&segment.0.to_le_bytes());
        crc.update(&dictionary.0);
        Binding { base: crc.finish() }
    }

    /// Returns what the checksums of the record at `offset` start from.
    pub(crate) fn at(self, offset: u32) -> Crc32 {
        let mut crc = Crc32::resume(self.base);
        crc.update(&u64::from(offset).to_le_bytes());
        crc
    }
}
