//! A record: `head_crc u32 | size u32 | tag u8 | key [32] | data_crc u32 | data`.
//!
//! The head is checked by itself, so replay reads heads only and a search through hostile bytes costs
//! a bounded amount per byte. One strict decoder serves every reader.

use std::sync::LazyLock;

use byteorder::{BigEndian, ByteOrder};

use super::bytes::Cursor;
use super::crc::{Binding, Crc32, crc32};
use crate::error::Damage;
use crate::id::{Key, ObjectKey, RunKey};
use crate::limits::TRANSACTION_MAX_BYTES;
use crate::seeded::{self, Bug};

/// Bytes of a record before its data.
pub const HEAD_LEN: u32 = 45;
/// The same, to index slices.
pub const HEAD_BYTES: usize = 45;

/// What a record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tag {
    /// The state of a key.
    Put,
    /// The key is gone.
    Delete,
    /// The records before this one, back to the COMMIT before it, are a transaction.
    Commit,
    /// The dictionary that the segment's compressed records use. Stands first, outside transactions.
    Dictionary,
}

impl Tag {
    fn code(self) -> u8 {
        match self {
            Tag::Put => 0,
            Tag::Delete => 1,
            Tag::Commit => 2,
            Tag::Dictionary => 3,
        }
    }

    #[inline]
    fn of(code: u8) -> Option<Tag> {
        match code {
            0 => Some(Tag::Put),
            1 => Some(Tag::Delete),
            2 => Some(Tag::Commit),
            3 => Some(Tag::Dictionary),
            _ => None,
        }
    }
}

/// The decoded head of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Bytes of the whole record.
    pub size: u32,
    /// What it says.
    pub tag: Tag,
    /// Of which key.
    pub key: [u8; 32],
    /// Checksum of its data.
    pub data_crc: u32,
}

impl Head {
    /// Returns the key, taken apart.
    #[inline]
    pub fn key(&self) -> Key {
        key_of(&self.key)
    }

    /// Returns the key of which it is the state: that of a PUT or DELETE, of nothing else.
    #[inline]
    pub fn stored_key(&self) -> Option<Key> {
        matches!(self.tag, Tag::Put | Tag::Delete).then(|| self.key())
    }

    /// Returns the length of the data, in bytes.
    pub fn data_len(&self) -> u32 {
        self.size.saturating_sub(HEAD_LEN)
    }
}

/// Takes 32 key bytes apart.
#[inline]
pub fn key_of(bytes: &[u8; 32]) -> Key {
    let mut object = [0u8; 24];
    let (head, run) = bytes.split_at(24);
    object.copy_from_slice(head);
    Key::new(ObjectKey(object), RunKey(BigEndian::read_u64(run)))
}

/// Joins a key to its 32 bytes. The run is big-endian, so keys of an object sort by run.
pub fn key_bytes(key: &Key) -> [u8; 32] {
    let mut bytes = [0u8; 32];
    let (head, run) = bytes.split_at_mut(24);
    head.copy_from_slice(&key.object.0);
    BigEndian::write_u64(run, key.run.0);
    bytes
}

/// Appends a record to `out`, where it will lie at `offset` of the segment that `binding` names.
/// The caller has made sure that the size fits a transaction.
pub fn encode(
    out: &mut Vec<u8>,
    binding: Binding,
    offset: u32,
    tag: Tag,
    key: &[u8; 32],
    data: &[u8],
) -> Head {
    encode_front(out, binding, offset, tag, key, data, &[])
}

/// Appends the front of a record, like [`encode`]: all but the `rest` of its data, which the caller writes behind it.
pub fn encode_front(
    out: &mut Vec<u8>,
    binding: Binding,
    offset: u32,
    tag: Tag,
    key: &[u8; 32],
    data: &[u8],
    rest: &[u8],
) -> Head {
    let start = binding.at(offset);
    let mut crc = start;
    crc.update(data);
    crc.update(rest);
    let len = data.len().saturating_add(rest.len());
    let size = u32::try_from(len).unwrap_or(u32::MAX).saturating_add(HEAD_LEN);
    let head = Head { size, tag, key: *key, data_crc: crc.finish() };
    let bytes = head_bytes(&head);
    out.extend_from_slice(&head_crc(start, &bytes).to_le_bytes());
    out.extend_from_slice(&bytes);
    out.extend_from_slice(data);
    head
}

/// Returns the head as it is on disk, `head_crc` included: what a COMMIT's checksum covers.
pub fn encode_head(head: &Head, binding: Binding, offset: u32) -> [u8; HEAD_BYTES] {
    let bytes = head_bytes(head);
    let mut out = [0u8; HEAD_BYTES];
    let (crc, rest) = out.split_at_mut(4);
    crc.copy_from_slice(&head_crc(binding.at(offset), &bytes).to_le_bytes());
    rest.copy_from_slice(&bytes);
    out
}

fn head_bytes(head: &Head) -> [u8; 41] {
    let mut out = [0u8; 41];
    let (size, rest) = out.split_at_mut(4);
    size.copy_from_slice(&head.size.to_le_bytes());
    let (tag, rest) = rest.split_at_mut(1);
    tag.copy_from_slice(&[head.tag.code()]);
    let (key, crc) = rest.split_at_mut(32);
    key.copy_from_slice(&head.key);
    crc.copy_from_slice(&head.data_crc.to_le_bytes());
    out
}

fn head_crc(start: Crc32, bytes: &[u8; 41]) -> u32 {
    let mut crc = start;
    crc.update(bytes);
    crc.finish()
}

/// Decodes and verifies the head at the front of `bytes`, which lie at `offset`.
///
/// # Errors
/// `Truncated` if there are fewer than 45 bytes, else which checksum or field is wrong.
#[inline]
pub fn decode_head(bytes: &[u8], binding: Binding, offset: u32) -> Result<Head, Damage> {
    intact_head(bytes, binding, offset).ok_or_else(|| why_no_head(bytes, binding, offset))
}

/// The same for those who need no reason: what is wrong is only looked for once something is, since that, inlined into
/// every reader, costs each of them.
#[inline]
pub fn intact_head(bytes: &[u8], binding: Binding, offset: u32) -> Option<Head> {
    let mut cursor = Cursor::new(bytes.first_chunk::<HEAD_BYTES>()?);
    let stored = cursor.u32()?;
    let is_intact = binding.sum(offset, cursor.rest()) == stored || seeded::has(Bug::HeadUnchecked);
    let size = cursor.u32()?;
    let tag = Tag::of(cursor.u8()?)?;
    let head = Head { size, tag, key: cursor.array()?, data_crc: cursor.u32()? };
    (is_intact && is_size(size)).then_some(head)
}

#[cold]
fn why_no_head(bytes: &[u8], binding: Binding, offset: u32) -> Damage {
    let mut cursor = Cursor::new(bytes.get(..HEAD_BYTES).unwrap_or_default());
    let Some(expect) = cursor.u32() else {
        let actual = u64::from(offset).saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        return Damage::Truncated { expect: u64::from(offset).saturating_add(u64::from(HEAD_LEN)), actual };
    };
    let actual = binding.sum(offset, cursor.rest());
    let (size, code) = (cursor.u32().unwrap_or_default(), cursor.u8().unwrap_or_default());
    if actual != expect {
        Damage::Checksum { what: "record head", expect, actual }
    } else if Tag::of(code).is_none() {
        Damage::Field { what: "record tag", value: u64::from(code) }
    } else {
        Damage::Field { what: "record size", value: u64::from(size) }
    }
}

#[inline]
fn is_size(size: u32) -> bool {
    size >= HEAD_LEN && u64::from(size) <= TRANSACTION_MAX_BYTES
}

/// Reads a head in which one bit is wrong: what it says once that bit is put right. `None` if it is intact, or further from one.
///
/// CRC-32 tells any two heads apart that differ in three bits or fewer, so at most one bit fits; of bytes that are no head, one
/// in some ten million passes for one. For attribution only: nothing that is served may rest on it.
pub fn correct_head(bytes: &[u8], binding: Binding, offset: u32) -> Option<Head> {
    let mut bytes = *bytes.first_chunk::<HEAD_BYTES>()?;
    let (stored, rest) = bytes.split_first_chunk_mut::<4>()?;
    let mut crc = binding.at(offset);
    crc.update(rest);
    let wrong = u32::from_le_bytes(*stored) ^ crc.finish();
    if wrong.is_power_of_two() {
        *stored = crc.finish().to_le_bytes();
    } else {
        let bit = SYNDROMES.iter().position(|syndrome| *syndrome == wrong)?;
        *rest.get_mut(bit / 8)? ^= 1u8 << (bit % 8);
    }
    decode_head(&bytes, binding, offset).ok()
}

/// By how much each bit of a head, when it flips, changes the checksum. That does not depend on the other bits: CRCs are linear.
static SYNDROMES: LazyLock<[u32; 41 * 8]> = LazyLock::new(|| {
    let none = crc32(&[0; 41]);
    std::array::from_fn(|bit| {
        let mut bytes = [0; 41];
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte = 1 << (bit % 8);
        }
        crc32(&bytes) ^ none
    })
});

/// Tells whether a head may start here, by its plain fields: a filter before the checksum when
/// searching through damaged bytes. `room` is how many bytes are left from here on.
pub fn is_plausible(bytes: &[u8], room: u64) -> bool {
    let mut cursor = Cursor::new(bytes);
    let (Some(_), Some(size), Some(code)) = (cursor.u32(), cursor.u32(), cursor.u8()) else { return false };
    Tag::of(code).is_some() && size >= HEAD_LEN && u64::from(size) <= room
}

/// Verifies a record's data against its head.
///
/// # Errors
/// `Checksum` with both values.
#[inline]
pub fn verify_data(head: &Head, data: &[u8], binding: Binding, offset: u32) -> Result<(), Damage> {
    let actual = binding.sum(offset, data);
    if is_sum(head, actual) { Ok(()) } else { Err(wrong_data(head.data_crc, actual)) }
}

/// The same for those who need no reason.
#[inline]
pub fn is_intact(head: &Head, data: &[u8], binding: Binding, offset: u32) -> bool {
    is_sum(head, binding.sum(offset, data))
}

#[inline]
fn is_sum(head: &Head, actual: u32) -> bool {
    actual == head.data_crc || seeded::has(Bug::DataUnchecked)
}

#[cold]
fn wrong_data(expect: u32, actual: u32) -> Damage {
    Damage::Checksum { what: "record data", expect, actual }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DictionaryId, SegmentId, StoreId};

    fn binding(segment: u32) -> Binding {
        Binding::new(StoreId([7; 16]), SegmentId(segment), DictionaryId::NONE)
    }

    #[test]
    fn a_record_reads_back_only_in_its_place() {
        let key = key_bytes(&Key::new(ObjectKey::of(b"x"), RunKey(5)));
        let mut out = Vec::new();
        let head = encode(&mut out, binding(1), 96, Tag::Put, &key, b"payload");
        assert_eq!(out.len(), 52);
        assert_eq!(decode_head(&out, binding(1), 96), Ok(head));
        assert_eq!(head.key(), Key::new(ObjectKey::of(b"x"), RunKey(5)));
        assert_eq!(encode_head(&head, binding(1), 96)[..], out[..HEAD_BYTES]);
        assert_eq!(verify_data(&head, &out[HEAD_BYTES..], binding(1), 96), Ok(()));
        assert!(decode_head(&out, binding(2), 96).is_err());
        assert!(decode_head(&out, binding(1), 97).is_err());
        let other = Binding::new(StoreId([8; 16]), SegmentId(1), DictionaryId::NONE);
        assert!(decode_head(&out, other, 96).is_err());
        assert!(verify_data(&head, b"payload", binding(1), 97).is_err());
    }

    #[test]
    fn a_head_with_one_wrong_bit_is_told_and_one_with_two_is_not() {
        let key = key_bytes(&Key::new(ObjectKey::of(b"x"), RunKey(5)));
        let mut out = Vec::new();
        let head = encode(&mut out, binding(3), 4711, Tag::Put, &key, b"payload");
        let flip = |bits: &[usize]| {
            let mut bad = out.clone();
            for bit in bits {
                bad[bit / 8] ^= 1 << (bit % 8);
            }
            correct_head(&bad, binding(3), 4711)
        };
        assert_eq!(flip(&[]), None, "nothing to put right");
        for bit in 0..HEAD_BYTES * 8 {
            assert_eq!(flip(&[bit]), Some(head), "bit {bit}");
            for other in 0..bit {
                assert_eq!(flip(&[bit, other]), None, "bits {bit} and {other}");
            }
        }
        assert_eq!(correct_head(&out[..44], binding(3), 4711), None);
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let mut out = Vec::new();
        let head = encode(&mut out, binding(1), 96, Tag::Delete, &[3; 32], &[0, 1]);
        for bit in 0..out.len() * 8 {
            let mut bad = out.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            match decode_head(&bad, binding(1), 96) {
                Ok(decoded) => {
                    assert_eq!(decoded, head);
                    assert!(verify_data(&head, &bad[HEAD_BYTES..], binding(1), 96).is_err(), "bit {bit}");
                }
                Err(damage) => assert!(matches!(damage, Damage::Checksum { .. }), "bit {bit}: {damage}"),
            }
        }
        for len in 0..HEAD_BYTES {
            assert!(matches!(decode_head(&out[..len], binding(1), 96), Err(Damage::Truncated { .. })));
        }
    }
}
