//! The `hints.<commit>` file: MessagePack, advisory, rebuilt by replay when absent or damaged.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::crc::crc32;
use crate::error::{Damage, Error, Place, Result};
use crate::id::{CommitId, StoreId};

/// Longest hints file, in bytes: 2^19 segments of at most 60 bytes each, and change.
pub const HINTS_MAX_BYTES: u64 = 64 << 20;

/// Bytes of one segment, by what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SegmentHints {
    /// Bytes of live PUT records.
    pub live: u64,
    /// Number of live PUT records.
    pub live_records: u64,
    /// Bytes of DELETE records.
    pub tombstones: u64,
    /// Bytes of superseded and deleted PUT records.
    pub garbage: u64,
    /// Length of the committed part, in bytes.
    pub len: u64,
}

/// What is known of the log besides the index.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Hints {
    /// Per segment number.
    pub segments: BTreeMap<u32, SegmentHints>,
    /// Keys that repair declared lost.
    pub lost: u64,
    /// Segments that a compaction left out and that await their removal. Only these may be removed.
    pub dead: BTreeSet<u32>,
}

/// Returns the path of the hints of a commit.
pub fn file_name(commit: CommitId) -> String {
    format!("hints.{}", commit.0)
}

/// Encodes the file: MessagePack of (store id, commit, hints), then CRC-32 of that.
///
/// # Errors
/// None that can happen with these types; the encoder's are passed on.
pub fn encode(hints: &Hints, store: StoreId, commit: CommitId) -> Result<Vec<u8>> {
    let mut out = rmp_serde::to_vec(&(store.0, commit.0, hints))
        .map_err(|error| Error::BadInput { what: "hints".to_owned(), reason: error.to_string() })?;
    let crc = crc32(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(out)
}

/// Decodes the file.
///
/// # Errors
/// `Damaged`, also when it belongs to another store or commit.
pub fn decode(bytes: &[u8], store: StoreId, commit: CommitId) -> Result<Hints> {
    let bad = |damage| Error::damaged(Place::whole(file_name(commit)), damage);
    let Some((body, stored)) = bytes.split_last_chunk::<4>() else {
        let actual = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        return Err(bad(Damage::Truncated { expect: 4, actual }));
    };
    let (expect, actual) = (u32::from_le_bytes(*stored), crc32(body));
    if expect != actual {
        return Err(bad(Damage::Checksum { what: "hints", expect, actual }));
    }
    let content = |reason: String| bad(Damage::Content { what: "hints", reason });
    let (found, of, hints): ([u8; 16], u64, Hints) =
        rmp_serde::from_slice(body).map_err(|error| content(error.to_string()))?;
    if found != store.0 {
        return Err(bad(Damage::Foreign { expect: store, actual: StoreId(found) }));
    }
    if of != commit.0 {
        return Err(content(format!("of commit {of}")));
    }
    Ok(hints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_round_trip_and_any_flipped_bit_is_found() {
        let mut hints = Hints { lost: 2, ..Hints::default() };
        hints
            .segments
            .insert(3, SegmentHints { live: 10, live_records: 1, tombstones: 2, garbage: 3, len: 111 });
        let bytes = encode(&hints, StoreId([1; 16]), CommitId(4)).unwrap();
        assert_eq!(decode(&bytes, StoreId([1; 16]), CommitId(4)).unwrap(), hints);
        assert!(decode(&bytes, StoreId([2; 16]), CommitId(4)).is_err());
        assert!(decode(&bytes, StoreId([1; 16]), CommitId(5)).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad, StoreId([1; 16]), CommitId(4)).is_err());
        }
    }
}
