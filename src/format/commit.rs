//! The data of a COMMIT: it binds its transaction and its predecessor.

use super::bytes::Cursor;
use super::segment::CommitLink;
use crate::error::Damage;
use crate::id::{CommitId, Location, SegmentId};

/// The key field of a COMMIT record.
pub const COMMIT_KEY: [u8; 32] = [0; 32];
/// Bytes of a COMMIT's data without segment ranges.
pub const COMMIT_DATA_LEN: u32 = 44;
/// Most segment ranges in one COMMIT: bounds what a damaged count can allocate.
pub const RANGES_MAX: usize = 1 << 20;

/// What kind of transaction it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CommitKind {
    /// Puts and deletes of a user.
    #[default]
    Normal,
    /// Live records moved by compaction.
    Compaction,
    /// Records salvaged by repair.
    Repair,
}

/// The decoded data of a COMMIT.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommitData {
    /// Its number: one more than that of the commit before, but behind a loss.
    pub id: CommitId,
    /// PUT and DELETE records of the transaction.
    pub records: u32,
    /// What kind of transaction it ends.
    pub kind: CommitKind,
    /// CRC-32 over the heads of those records as they are on disk, in order.
    pub heads_crc: u32,
    /// Where the commit before lies, and the checksum of its data. Numbers between the two were lost with their commits:
    /// at most `u32::MAX` of them.
    pub previous: CommitLink,
    /// The number that the next segment to be created will have.
    pub next_segment: SegmentId,
    /// For compaction and repair: all live segments, as inclusive ranges. Empty otherwise.
    pub live: Vec<(SegmentId, SegmentId)>,
}

/// Encodes the data of a COMMIT.
pub fn encode(commit: &CommitData) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&commit.id.0.to_le_bytes());
    out.extend_from_slice(&commit.records.to_le_bytes());
    let kind = match commit.kind {
        CommitKind::Normal => 0u8,
        CommitKind::Compaction => 1,
        CommitKind::Repair => 2,
    };
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(&commit.heads_crc.to_le_bytes());
    out.extend_from_slice(&commit.previous.at.segment.0.to_le_bytes());
    out.extend_from_slice(&commit.previous.at.offset.to_le_bytes());
    out.extend_from_slice(&commit.previous.data_crc.to_le_bytes());
    out.extend_from_slice(&commit.next_segment.0.to_le_bytes());
    let lost = commit.id.0.saturating_sub(commit.previous.id.0).saturating_sub(1);
    out.extend_from_slice(&u32::try_from(lost).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&u32::try_from(commit.live.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (first, last) in &commit.live {
        out.extend_from_slice(&first.0.to_le_bytes());
        out.extend_from_slice(&last.0.to_le_bytes());
    }
    out
}

/// Decodes the data of a COMMIT.
///
/// # Errors
/// `Field` for anything no writer writes.
pub fn decode(data: &[u8]) -> Result<CommitData, Damage> {
    let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
    fields(data).ok_or(Damage::Field { what: "commit fields", value: len })
}

fn fields(data: &[u8]) -> Option<CommitData> {
    let mut cursor = Cursor::new(data);
    let id = CommitId(cursor.u64()?);
    let records = cursor.u32()?;
    let kind = match cursor.array::<4>()? {
        [0, 0, 0, 0] => CommitKind::Normal,
        [1, 0, 0, 0] => CommitKind::Compaction,
        [2, 0, 0, 0] => CommitKind::Repair,
        _ => return None,
    };
    let heads_crc = cursor.u32()?;
    let at = Location { segment: SegmentId(cursor.u32()?), offset: cursor.u32()? };
    let data_crc = cursor.u32()?;
    let next_segment = SegmentId(cursor.u32()?);
    let lost = u64::from(cursor.u32()?);
    let previous = CommitLink { id: CommitId(id.0.checked_sub(1)?.checked_sub(lost)?), at, data_crc };
    let count = usize::try_from(cursor.u32()?).ok()?;
    if count > RANGES_MAX || cursor.rest().len() != count.checked_mul(8)? {
        return None;
    }
    let mut live = Vec::with_capacity(count);
    for _ in 0..count {
        let range = (SegmentId(cursor.u32()?), SegmentId(cursor.u32()?));
        let ascending = live.last().is_none_or(|(_, last)| *last < range.0);
        if range.0 > range.1 || !ascending {
            return None;
        }
        live.push(range);
    }
    if kind == CommitKind::Normal && !live.is_empty() {
        return None;
    }
    Some(CommitData { id, records, kind, heads_crc, previous, next_segment, live })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_round_trip_and_malformed_ones_are_refused() {
        let plain = CommitData {
            id: CommitId(7),
            records: 3,
            kind: CommitKind::Normal,
            heads_crc: 9,
            previous: CommitLink { id: CommitId(6), at: Location::default(), data_crc: 4 },
            next_segment: SegmentId(12),
            live: Vec::new(),
        };
        let ranges = vec![(SegmentId(1), SegmentId(4)), (SegmentId(6), SegmentId(6))];
        let compaction = CommitData { kind: CommitKind::Compaction, live: ranges, ..plain.clone() };
        assert_eq!(encode(&plain).len(), usize::try_from(COMMIT_DATA_LEN).unwrap());
        let behind_loss = CommitData { id: CommitId(900), kind: CommitKind::Repair, ..plain.clone() };
        for commit in [plain, compaction, behind_loss] {
            let bytes = encode(&commit);
            assert_eq!(decode(&bytes), Ok(commit));
            for len in 0..bytes.len() {
                assert!(decode(&bytes[..len]).is_err());
            }
        }
        assert!(decode(&encode(&CommitData::default())).is_err(), "commit 0 does not exist");
    }
}
