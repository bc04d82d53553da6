//! A segment file's header: who it is, what came before it, which dictionary it uses.

use super::bytes::Cursor;
use super::crc::crc32;
use crate::error::{Damage, Error, Place, Result};
use crate::id::{CommitId, DictionaryId, Location, SegmentId, StoreId};

/// The version of the format that this program writes and reads.
pub const FORMAT_VERSION: u16 = 1;
/// Bytes of a segment's header.
pub const HEADER_LEN: u32 = 96;
/// The same, to index slices.
pub const HEADER_BYTES: usize = 96;
const MAGIC: [u8; 8] = *b"STIXSEG\n";

/// A COMMIT record, as the next one and the next segment refer to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CommitLink {
    /// Its number; 0: there is none yet.
    pub id: CommitId,
    /// Where it lies.
    pub at: Location,
    /// The checksum of its data.
    pub data_crc: u32,
}

/// A segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// The store it belongs to.
    pub store: StoreId,
    /// Its number.
    pub segment: SegmentId,
    /// The store's segment size in bytes: config can be rebuilt from here.
    pub segment_size: u64,
    /// Whether the store compresses.
    pub compressed: bool,
    /// The last commit when it was created.
    pub previous: CommitLink,
    /// Where the first record after the dictionary lies.
    pub first_record: u32,
    /// The dictionary that its records use.
    pub dictionary: DictionaryId,
}

/// Returns the path of a segment file below the store.
pub fn file_name(segment: SegmentId) -> String {
    format!("data/{segment}.seg")
}

/// Reads a segment's number from its name in the data directory.
pub fn parse_file_name(name: &str) -> Option<SegmentId> {
    let digits = name.strip_suffix(".seg")?;
    if digits.len() != 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(SegmentId)
}

/// Encodes a header.
pub fn encode(header: &SegmentHeader) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&header.segment.0.to_le_bytes());
    out.extend_from_slice(&header.store.0);
    out.extend_from_slice(&header.segment_size.to_le_bytes());
    out.push(u8::from(header.compressed));
    out.extend_from_slice(&[0; 7]);
    out.extend_from_slice(&header.previous.id.0.to_le_bytes());
    out.extend_from_slice(&header.previous.at.segment.0.to_le_bytes());
    out.extend_from_slice(&header.previous.at.offset.to_le_bytes());
    out.extend_from_slice(&header.previous.data_crc.to_le_bytes());
    out.extend_from_slice(&header.first_record.to_le_bytes());
    out.extend_from_slice(&header.dictionary.0);
    out.extend_from_slice(&[0; 4]);
    let crc = crc32(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Decodes the header of the segment file that is named `segment` in store `store`.
///
/// # Errors
/// `UnsupportedVersion`, or `Damaged` with what is wrong: foreign and misplaced files included.
pub fn decode(bytes: &[u8], segment: SegmentId, store: Option<StoreId>) -> Result<SegmentHeader> {
    let file = file_name(segment);
    let bad = |offset, damage| Error::damaged(Place::at(file_name(segment), offset), damage);
    let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
        let actual = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        return Err(bad(0, Damage::Truncated { expect: u64::from(HEADER_LEN), actual }));
    };
    let (covered, stored) = bytes.split_at(92);
    let expect = Cursor::new(stored).u32().unwrap_or_default();
    let actual = crc32(covered);
    let mut cursor = Cursor::new(covered);
    if cursor.array::<8>() != Some(MAGIC) {
        return Err(bad(0, Damage::Magic));
    }
    if expect != actual {
        return Err(bad(92, Damage::Checksum { what: "segment header", expect, actual }));
    }
    let version = cursor.u16().unwrap_or_default();
    let flags = cursor.u16().unwrap_or_default();
    if version == 0 {
        // There never was one, so that is no newer program's file.
        return Err(bad(8, Damage::Field { what: "format version", value: 0 }));
    }
    if version != FORMAT_VERSION || flags != 0 {
        let found = u32::from(version).max(u32::from(FORMAT_VERSION).saturating_add(u32::from(flags != 0)));
        return Err(Error::UnsupportedVersion { path: file.into(), found, supported: FORMAT_VERSION.into() });
    }
    let header =
        fields(&mut cursor).ok_or_else(|| bad(0, Damage::Field { what: "segment header", value: 0 }))?;
    if header.segment != segment {
        return Err(bad(12, Damage::Misplaced { expect: segment, actual: header.segment }));
    }
    if let Some(expect) = store.filter(|expect| *expect != header.store) {
        return Err(bad(16, Damage::Foreign { expect, actual: header.store }));
    }
    let has_dictionary = header.dictionary != DictionaryId::NONE;
    if header.first_record < HEADER_LEN || (header.first_record > HEADER_LEN) != has_dictionary {
        return Err(bad(68, Damage::Field { what: "first record", value: header.first_record.into() }));
    }
    Ok(header)
}

fn fields(cursor: &mut Cursor<'_>) -> Option<SegmentHeader> {
    let segment = SegmentId(cursor.u32()?);
    let store = StoreId(cursor.array()?);
    let segment_size = cursor.u64()?;
    let compressed = match cursor.array::<8>()? {
        [0, 0, 0, 0, 0, 0, 0, 0] => false,
        [1, 0, 0, 0, 0, 0, 0, 0] => true,
        _ => return None,
    };
    let id = CommitId(cursor.u64()?);
    let at = Location { segment: SegmentId(cursor.u32()?), offset: cursor.u32()? };
    let previous = CommitLink { id, at, data_crc: cursor.u32()? };
    let first_record = cursor.u32()?;
    let dictionary = DictionaryId(cursor.array()?);
    if cursor.u32()? != 0 {
        return None;
    }
    Some(SegmentHeader { store, segment, segment_size, compressed, previous, first_record, dictionary })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            store: StoreId([1; 16]),
            segment: SegmentId(9),
            segment_size: 512,
            compressed: true,
            previous: CommitLink {
                id: CommitId(3),
                at: Location { segment: SegmentId(8), offset: 700 },
                data_crc: 5,
            },
            first_record: 196,
            dictionary: DictionaryId([4; 16]),
        }
    }

    #[test]
    fn headers_round_trip_and_every_flipped_bit_is_found() {
        let bytes = encode(&header());
        assert_eq!(bytes.len(), HEADER_BYTES);
        let read = decode(&bytes, SegmentId(9), Some(StoreId([1; 16])));
        assert_eq!(read.ok(), Some(header()));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad, SegmentId(9), None).is_err_and(|error| error.is_damage()), "bit {bit}");
        }
    }

    #[test]
    fn foreign_misplaced_and_newer_segments_are_told_apart() {
        let bytes = encode(&header());
        let damage = |result: Result<SegmentHeader>| match result {
            Err(Error::Damaged { damage, .. }) => damage,
            other => panic!("{other:?}"),
        };
        let found = damage(decode(&bytes, SegmentId(8), None));
        assert_eq!(found, Damage::Misplaced { expect: SegmentId(8), actual: SegmentId(9) });
        let found = damage(decode(&bytes, SegmentId(9), Some(StoreId([2; 16]))));
        assert_eq!(found, Damage::Foreign { expect: StoreId([2; 16]), actual: StoreId([1; 16]) });
        let mut newer = bytes.clone();
        newer[8] = 2;
        let crc = crc32(&newer[..92]);
        newer[92..].copy_from_slice(&crc.to_le_bytes());
        let found = decode(&newer, SegmentId(9), None);
        assert!(matches!(found, Err(Error::UnsupportedVersion { found: 2, supported: 1, .. })), "{found:?}");
    }

    /// A header with an intact checksum and version 0 was refused as too new for a program that reads 1, and one
    /// with any compression, reserved bytes or place of the first record was taken.
    #[test]
    fn what_no_writer_writes_is_damage() {
        for (at, value) in [(8, 0), (40, 2), (41, 1), (47, 1), (68, 96), (68, 95), (88, 1), (91, 0x80)] {
            let mut bad = encode(&header());
            bad[at] = value;
            let crc = crc32(&bad[..92]);
            bad[92..].copy_from_slice(&crc.to_le_bytes());
            let found = decode(&bad, SegmentId(9), None);
            assert!(
                matches!(found, Err(Error::Damaged { damage: Damage::Field { .. }, .. })),
                "{at}: {found:?}"
            );
        }
    }

    #[test]
    fn only_ten_digits_name_a_segment() {
        assert_eq!(parse_file_name("0000000012.seg"), Some(SegmentId(12)));
        assert_eq!(file_name(SegmentId(12)), "data/0000000012.seg");
        for name in ["12.seg", "0000000012", "00000000012.seg", "+000000012.seg", "9999999999.seg", ".seg"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }
}
