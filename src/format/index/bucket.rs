//! Section 1, the hash table: buckets of slots.

use byteorder::{ByteOrder as _, LittleEndian};

use super::{BUCKET_BYTES, LIST, PLACE_MASK, Packed, SLOTS_PER_BUCKET, high64, low32};

/// The bits of a hash that a slot keeps.
const TAG_MASK: u64 = 0xfff;

/// What a used slot points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// The only entry of its hash; no flags.
    One(Packed),
    /// The list of the entries of its hash: the number of its first item.
    List(u64),
}

impl Slot {
    /// Returns the slot of a hash.
    pub fn encode(self, hash: u64) -> u64 {
        let low = match self {
            Slot::One(at) => at.bare(),
            Slot::List(first) => (first & PLACE_MASK) | LIST,
        };
        (hash << 52) | low
    }

    /// Reads a slot that is not empty.
    #[inline]
    pub fn decode(slot: u64) -> Slot {
        let low = slot & PLACE_MASK;
        if slot & LIST == 0 { Slot::One(Packed(low)) } else { Slot::List(low) }
    }
}

/// Returns which slots of a bucket have the tag of a hash, one bit each; of slots that are 0 nothing follows. A plain loop, which
/// the compiler turns into vector instructions.
#[inline]
pub fn matching_slots(bucket: &[u8; BUCKET_BYTES], hash: u64) -> u32 {
    const BITS: [u32; SLOTS_PER_BUCKET] = [1, 2, 4, 8, 16, 32, 64, 128];
    let tag = low32(hash & TAG_MASK);
    let (slots, _) = bucket.as_chunks();
    let tags = slots.iter().map(|slot| low32(u64::from_le_bytes(*slot) >> 52));
    tags.zip(BITS).fold(0, |all, (other, bit)| all | if other == tag { bit } else { 0 })
}

/// Returns a slot of a bucket, 0 if it is empty.
#[inline]
pub fn slot_of_bucket(bucket: &[u8; BUCKET_BYTES], at: usize) -> u64 {
    let (slots, _) = bucket.as_chunks();
    slots.get(at).map_or(0, |slot| u64::from_le_bytes(*slot))
}

/// Returns the home bucket of a hash: its high bits scaled to the number of home buckets.
#[inline]
pub fn home_bucket(hash: u64, home_buckets: u32) -> u32 {
    // The product of 64 and 32 bits fits 96, so this cannot wrap, and its high part fits 32.
    low32(high64(u128::from(hash).wrapping_mul(u128::from(home_buckets))))
}

/// Returns how many home buckets a number of distinct hashes gets.
pub fn home_buckets(hashes: u32) -> u32 {
    low32(u64::from(hashes).saturating_mul(5).div_ceil(28))
}

/// Reads a bucket's slots.
#[inline]
pub fn read_bucket(bytes: &[u8; BUCKET_BYTES]) -> [u64; SLOTS_PER_BUCKET] {
    let mut slots = [0; SLOTS_PER_BUCKET];
    LittleEndian::read_u64_into(bytes, &mut slots);
    slots
}

/// Writes a bucket's slots.
pub fn write_bucket(slots: &[u64; SLOTS_PER_BUCKET]) -> [u8; BUCKET_BYTES] {
    let mut bytes = [0; BUCKET_BYTES];
    LittleEndian::write_u64_into(slots, &mut bytes);
    bytes
}
