//! Layout of an index file.
//!
//! # Index file (format 1)
//!
//! An index is a cache of the log: it says where the newest record of each key lies, as of one commit.
//! `index.<commit>` is a *base* and holds everything; `index.<commit>.delta` holds what came since the
//! layer before it. The commit is written in decimal. All numbers are little-endian. The file is a sequence
//! of 4096-byte *pages*, numbered from 0; its length is exactly what page 0 implies.
//!
//! **Checksum.** The last four bytes of each page are the CRC-32 (IEEE) of: the store id (16 bytes), the
//! covered commit (u64), the page's number (u32), the file's kind (u8), then the first 4092 bytes of the
//! page. So a page holds in its own file and place only. A page is checked when it is first touched; at open
//! only page 0 is. Bytes that the tables below do not name are zero.
//!
//! **Page 0**, the header. Magic, version, store id, commit, kind and the checksum keep their places in every
//! later version, so that a newer file is told from a damaged one.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `STIXIDX\n` |
//! | 8 | 2 | version: 1 |
//! | 10 | 1 | kind: 0 base, 1 delta |
//! | 16 | 16 | store id |
//! | 32 | 8 | covered commit: its number |
//! | 40 | 4, 4 | its COMMIT record: segment, offset |
//! | 48 | 4 | its COMMIT record: `data_crc` |
//! | 52 | 4 | offset in that segment at which the log goes on |
//! | 56 | 4 | next free segment number as of the commit |
//! | 64 | 8 | seed of the hash |
//! | 72 | 8 | delta: commit of the base it belongs to; base: 0 |
//! | 80 | 8 | delta: commit of the layer before it; base: 0 |
//! | 88 | 5 × (4, 4) | sections 1 to 5: first page, number of pages |
//! | 128 | 8 | entries in this file (at most 2^32 − 1) |
//! | 136 | 8 | home buckets |
//! | 144 | 8 | buckets, spill buckets included |
//! | 152 | 8 | slots used = distinct hashes |
//! | 160 | 8 | items of section 2 |
//! | 168 | 8 | rows of section 4 |
//! | 176 | 8 | rows of section 5 (at most 2^19) |
//! | 184 | 8 | as of the commit, all layers together: live snapshots |
//! | 192 | 8 | ... live aliases |
//! | 200 | 8 | ... tombstones |
//! | 208 | 8 | ... distinct ids with a live snapshot (told apart by hash) |
//! | 216 | 8 | ... runs that are not deleted |
//! | 224 | 8 | ... bytes of the files of the live snapshots |
//!
//! The sections follow each other from page 1 on. Each has whole pages, as few as hold its items, none if it
//! has no items. An item never crosses a page.
//!
//! **Hash**: XXH3-64 of the 24-byte object key with the seed. Different object keys may have the same hash:
//! the key in a record's header decides which object it is.
//!
//! **Location** (u64): bits 50..32 the segment's *ordinal*, its row in section 5; bits 31..0 the offset,
//! never 0; bit 52 tombstone (a DELETE), bit 53 alias, bit 54 replaces (an older layer has an entry of the
//! same object and run, which this one supersedes; never set in a base); others 0.
//!
//! **Section 1, buckets**: 64 bytes each, 63 a page. A bucket is eight u64 slots, filled from the first; an
//! empty slot is 0. Bits 63..52 of a slot are its *tag*, the lowest 12 bits of the hash. With bit 51 clear,
//! exactly one entry has the hash and bits 50..0 are its location without flags. With bit 51 set, several
//! have, and bits 50..0 are the number of the first item of their list in section 2. The home bucket of
//! a hash is `(hash × home buckets) >> 64`. A hash stands in the first bucket from its home on that had room
//! when the hashes were added in ascending order; there is no wrap-around: spill buckets follow the home
//! buckets where needed. A search goes on to the next bucket only while the bucket's last slot is used.
//! Writers fill 0.70 of the home buckets' slots: home buckets = ⌈distinct hashes × 5 / 28⌉.
//!
//! **Section 2, lists**: u32 items, 1022 a page. A list is its length n (at least 2), then n entry
//! numbers, ascending. It may go on over a page's end. Lists stand in ascending order of their hashes.
//!
//! **Section 3, entries**: 16 bytes each, 255 a page: hash u64, location u64. Ascending by run, then hash,
//! then location without flags. An entry's number is its place in this order, from 0.
//!
//! **Section 4, runs**: 32 bytes each, 126 a page, ascending by run: run u64; number of its first entry u32
//! (a run's entries end where the next row's begin); live snapshots u32 (aliases not counted); location u64
//! of the run's own record (with the tombstone flag: the run is deleted; offset 0: there is no record);
//! bytes u64 of the live snapshots' files. Each run that has an entry has a row. Count, location and bytes
//! are absolute: of several layers the newest that has a row for the run is right.
//!
//! **Section 5, segments**: 8 bytes each, 511 a page, ascending: segment number u32; its length u32 if the
//! segment was sealed, else 0.

use byteorder::{ByteOrder, LittleEndian};

use crate::error::{Damage, Error, Place, Result};
use crate::id::{CommitId, Location, RunKey, SegmentId, StoreId};

mod bucket;
mod header;
#[cfg(test)]
mod tests;

pub use bucket::{
    Slot, home_bucket, home_buckets, matching_slots, read_bucket, slot_of_bucket, write_bucket,
};
pub use header::{Counts, Covered, Header, Section, Sections, Totals};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Bytes of a page before its checksum.
pub const PAGE_DATA_BYTES: usize = 4092;
/// The first bytes of every index file.
pub const MAGIC: [u8; 8] = *b"STIXIDX\n";
/// The version this program writes and reads.
pub const VERSION: u16 = 1;

/// Bytes of a bucket: one cache line, as in FASTER and parity-db.
pub const BUCKET_BYTES: usize = 64;
/// Buckets in a page.
pub const BUCKETS_PER_PAGE: u32 = 63;
/// Slots in a bucket.
pub const SLOTS_PER_BUCKET: usize = 8;
/// Bytes of a list item.
pub const LIST_ITEM_BYTES: usize = 4;
/// List items in a page.
pub const LIST_ITEMS_PER_PAGE: u32 = 1022;
/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 16;
/// Entries in a page.
pub const ENTRIES_PER_PAGE: u32 = 255;
/// Bytes of a run's row.
pub const RUN_BYTES: usize = 32;
/// Rows of runs in a page.
pub const RUNS_PER_PAGE: u32 = 126;
/// Bytes of a segment's row.
pub const SEGMENT_BYTES: usize = 8;
/// Rows of segments in a page.
pub const SEGMENTS_PER_PAGE: u32 = 511;

/// The record is a DELETE.
pub const TOMBSTONE: u64 = 1 << 52;
/// The record is an alias PUT.
pub const ALIAS: u64 = 1 << 53;
/// An older layer holds an entry of the same object and run.
pub const REPLACES: u64 = 1 << 54;
/// Marks a slot that points to a list.
const LIST: u64 = 1 << 51;
/// Bits of a location without flags, and of a list's place.
const PLACE_MASK: u64 = LIST - 1;
const FLAG_MASK: u64 = TOMBSTONE | ALIAS | REPLACES;

/// Which part of the history a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// All entries.
    Base,
    /// What changed since the layer before it.
    Delta,
}

impl FileKind {
    const fn byte(self) -> u8 {
        match self {
            FileKind::Base => 0,
            FileKind::Delta => 1,
        }
    }

    /// Returns the name of the index file of a commit.
    pub fn file_name(self, commit: CommitId) -> String {
        match self {
            FileKind::Base => format!("index.{}", commit.0),
            FileKind::Delta => format!("index.{}.delta", commit.0),
        }
    }
}

/// What the checksums of a file's pages start from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageCrc {
    base: u32,
    kind: u8,
}

impl PageCrc {
    /// Binds to a file: its store, covered commit and kind.
    pub fn new(store: StoreId, commit: CommitId, kind: FileKind) -> PageCrc {
        PageCrc::raw(&store.0, commit.0, kind.byte())
    }

    fn raw(store: &[u8; 16], commit: u64, kind: u8) -> PageCrc {
        let mut crc = crc32fast::Hasher::new();
        crc.update(store);
        crc.update(&commit.to_le_bytes());
        PageCrc { base: crc.finalize(), kind }
    }

    /// Returns the checksum of a page: of its first 4092 bytes.
    pub fn of(&self, number: u32, data: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new_with_initial(self.base);
        crc.update(&number.to_le_bytes());
        crc.update(&[self.kind]);
        crc.update(data);
        crc.finalize()
    }

    /// Returns the last four bytes of a page.
    pub fn seal(&self, number: u32, data: &[u8]) -> [u8; 4] {
        self.of(number, data).to_le_bytes()
    }

    /// Checks a page.
    ///
    /// # Errors
    /// `Damage::Checksum` with both values.
    pub fn check(&self, number: u32, page: &[u8; PAGE_BYTES]) -> std::result::Result<(), Damage> {
        let (data, stored) = page.split_at(PAGE_DATA_BYTES);
        let (expect, actual) = (LittleEndian::read_u32(stored), self.of(number, data));
        if expect == actual { Ok(()) } else { Err(Damage::Checksum { what: "index page", expect, actual }) }
    }
}

/// A location as the file holds it: ordinal, offset, flags.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Packed(pub u64);

impl Packed {
    /// Joins an ordinal (below 2^19), an offset and flags.
    pub fn new(ordinal: u32, offset: u32, flags: u64) -> Packed {
        Packed((((u64::from(ordinal) << 32) | u64::from(offset)) & PLACE_MASK) | (flags & FLAG_MASK))
    }

    /// Returns the segment's row in section 5.
    pub fn ordinal(self) -> u32 {
        low32(self.bare() >> 32)
    }

    /// Returns the offset in the segment.
    pub fn offset(self) -> u32 {
        low32(self.0)
    }

    /// Returns the location without flags.
    pub fn bare(self) -> u64 {
        self.0 & PLACE_MASK
    }

    /// Returns the flags.
    pub fn flags(self) -> u64 {
        self.0 & FLAG_MASK
    }

    /// Tells whether there are bits set that mean nothing.
    pub fn is_odd(self) -> bool {
        self.0 & !(PLACE_MASK | FLAG_MASK) != 0
    }
}

/// One entry of section 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawEntry {
    /// Hash of the object key.
    pub hash: u64,
    /// Where the record lies.
    pub at: Packed,
}

impl RawEntry {
    /// Reads an entry.
    #[inline]
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> RawEntry {
        let (hash, at) = bytes.split_at(8);
        RawEntry { hash: LittleEndian::read_u64(hash), at: Packed(LittleEndian::read_u64(at)) }
    }

    /// Writes an entry.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        LittleEndian::write_u64_into(&[self.hash, self.at.0], &mut bytes);
        bytes
    }
}

/// One row of section 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawRun {
    /// The run.
    pub run: RunKey,
    /// Number of its first entry.
    pub first_entry: u32,
    /// Its live snapshots.
    pub snapshots: u32,
    /// Where its own record lies; 0 for none.
    pub at: Packed,
    /// Bytes of the live snapshots' files.
    pub bytes: u64,
}

impl RawRun {
    /// Reads a row.
    pub fn decode(bytes: &[u8; RUN_BYTES]) -> RawRun {
        let mut words = [0; 4];
        LittleEndian::read_u64_into(bytes, &mut words);
        let [run, numbers, at, bytes] = words;
        let (first_entry, snapshots) = (low32(numbers), low32(numbers >> 32));
        RawRun { run: RunKey(run), first_entry, snapshots, at: Packed(at), bytes }
    }

    /// Writes a row.
    pub fn encode(&self) -> [u8; RUN_BYTES] {
        let numbers = (u64::from(self.snapshots) << 32) | u64::from(self.first_entry);
        let mut bytes = [0; RUN_BYTES];
        LittleEndian::write_u64_into(&[self.run.0, numbers, self.at.0, self.bytes], &mut bytes);
        bytes
    }
}

/// Reads an item of section 2.
#[inline]
pub fn read_list_item(bytes: [u8; LIST_ITEM_BYTES]) -> u32 {
    u32::from_le_bytes(bytes)
}

/// Writes an item of section 2.
pub fn write_list_item(item: u32) -> [u8; LIST_ITEM_BYTES] {
    item.to_le_bytes()
}

/// Reads a row of section 5: segment and sealed length.
#[inline]
pub fn read_segment(bytes: [u8; SEGMENT_BYTES]) -> (SegmentId, u32) {
    let both = u64::from_le_bytes(bytes);
    (SegmentId(low32(both)), low32(both >> 32))
}

/// Writes a row of section 5.
pub fn write_segment(segment: SegmentId, sealed_len: u32) -> [u8; SEGMENT_BYTES] {
    ((u64::from(sealed_len) << 32) | u64::from(segment.0)).to_le_bytes()
}

/// Returns the lower half.
#[inline]
fn low32(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(0)
}

/// Returns the upper half.
#[inline]
fn high64(value: u128) -> u64 {
    u64::try_from(value >> 64).unwrap_or(0)
}
