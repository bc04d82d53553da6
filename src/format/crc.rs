//! CRC-32 (IEEE, reflected, as in zlib) and how it binds a record to its place.
//!
//! A checksum that covers only a record's own bytes holds wherever those bytes lie: in a payload that
//! embeds a copy of a segment, in a segment file under another name, in another store. Attic and Borg
//! bring such records to life on repair. Here every CRC starts from the store, the segment, the
//! segment's dictionary and the offset, so that it holds in one place only. CRC-32 detects damage; it is
//! no defence against somebody who wants to forge a record.

use crate::id::{DictionaryId, SegmentId, StoreId};

/// Bytes from which on crc32fast folds them with carry-less multiplications. Below it that crate goes byte by byte, and eight
/// tables need no loop for the eight bytes of an offset.
const SHORT_BYTES: usize = 16;

/// A CRC-32 being computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Crc32 {
    value: u32,
    len: u64,
}

impl Crc32 {
    /// Starts a checksum.
    #[inline]
    pub fn new() -> Crc32 {
        Crc32::default()
    }

    /// Goes on from the finished checksum of what came before.
    #[inline]
    pub fn resume(before: u32) -> Crc32 {
        Crc32 { value: before, len: 0 }
    }

    /// Adds bytes.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.len = self.len.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.value = extend(self.value, bytes);
    }

    /// Adds the bytes that another one was computed over. O(log n) in their number, some microseconds.
    pub fn append(&mut self, more: &Crc32) {
        let mut hasher = crc32fast::Hasher::new_with_initial_len(self.value, self.len);
        hasher.combine(&crc32fast::Hasher::new_with_initial_len(more.value, more.len));
        self.value = hasher.finalize();
        self.len = self.len.saturating_add(more.len);
    }

    /// Returns the checksum of all bytes added.
    #[inline]
    pub fn finish(&self) -> u32 {
        self.value
    }
}

/// Returns the checksum of what came before and of these bytes behind it.
#[inline]
fn extend(before: u32, bytes: &[u8]) -> u32 {
    if bytes.len() < SHORT_BYTES {
        return short(before, bytes);
    }
    let mut hasher = crc32fast::Hasher::new_with_initial(before);
    hasher.update(bytes);
    hasher.finalize()
}

/// `TABLES[k][b]`: what byte `b` does to the checksum when `k` bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::arithmetic_side_effects,
    reason = "runs at compile time, where iterators and conversions do not"
)]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// Adds few bytes, eight at a time: slicing-by-8 (Kounavis and Berry, "Novel Table Lookup-Based Algorithms for
/// High-Performance CRC Generation", 2008).
fn short(before: u32, bytes: &[u8]) -> u32 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut crc = chunks.iter().fold(before, |crc, chunk| eight(crc, *chunk));
    for byte in rest {
        let [low, ..] = crc.to_le_bytes();
        let [table, ..] = &TABLES;
        crc = !((!crc >> 8) ^ table.get(usize::from(!low ^ byte)).copied().unwrap_or_default());
    }
    crc
}

/// Adds eight bytes: none of the look-ups waits for another.
#[inline]
#[expect(clippy::indexing_slicing, reason = "a byte as the index of a table of 256")]
fn eight(before: u32, bytes: [u8; 8]) -> u32 {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
    let mixed = u64::from_le_bytes(bytes) ^ u64::from(!before);
    let [i0, i1, i2, i3, i4, i5, i6, i7] = mixed.to_le_bytes().map(usize::from);
    !(t7[i0] ^ t6[i1] ^ t5[i2] ^ t4[i3] ^ t3[i4] ^ t2[i5] ^ t1[i6] ^ t0[i7])
}

/// Returns the CRC-32 of some bytes.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    crc.update(bytes);
    crc.finish()
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
    #[inline]
    pub(crate) fn at(self, offset: u32) -> Crc32 {
        Crc32::resume(eight(self.base, u64::from(offset).to_le_bytes()))
    }

    /// Returns the checksum of bytes of the record at `offset`.
    #[inline]
    pub(crate) fn sum(self, offset: u32, bytes: &[u8]) -> u32 {
        extend(self.at(offset).finish(), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_in_parts_of_any_length_is_that_of_the_whole() {
        let bytes: Vec<u8> = (0..700u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        for len in [0, 1, 7, 8, 9, 15, 16, 17, 41, 45, 127, 128, 129, 700] {
            let expect = crc32fast::hash(&bytes[..len]);
            assert_eq!(crc32(&bytes[..len]), expect, "{len}");
            for cut in 0..=len {
                let (mut front, mut back) = (Crc32::new(), Crc32::new());
                front.update(&bytes[..cut]);
                back.update(&bytes[cut..len]);
                let mut joined = front;
                joined.append(&back);
                assert_eq!(joined.finish(), expect, "{len}, joined at {cut}");
                let mut resumed = Crc32::resume(front.finish());
                resumed.update(&bytes[cut..len]);
                assert_eq!(resumed.finish(), expect, "{len}, resumed at {cut}");
            }
        }
    }
}
