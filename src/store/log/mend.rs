//! What bytes that do not hold probably were: a COMMIT, or a record with one wrong bit in its head.

use super::open::Open;
use super::piece::{Notes, Survey};
use super::{COMMIT_LEN, LogPosition};
use crate::error::{Damage, Result};
use crate::format::commit::{self, COMMIT_KEY, CommitData};
use crate::format::crc::Binding;
use crate::format::record::{HEAD_BYTES, Head, Tag};
use crate::format::segment::CommitLink;
use crate::id::{CommitId, Location, SegmentId};
use crate::segment::Segment;

/// Bits that may differ in a COMMIT that is adopted all the same.
const ADOPT_MAX_BITS: u32 = 8;

/// Compares the bytes in the COMMIT's place with the COMMIT that the records before them call for.
pub(super) fn nearly_committed<N: Notes>(
    position: &LogPosition,
    segment: &Segment,
    open: &Open<N>,
    offset: u32,
    len: u32,
) -> Result<Option<CommitLink>> {
    if open.count == 0 || open.gaps > 0 || len < COMMIT_LEN {
        return Ok(None);
    }
    let id = CommitId(position.link.id.0.saturating_add(1));
    // The next segment's number is one more than this one's, or what was known before.
    let next_segment = position.next_segment.max(SegmentId(segment.id().0.saturating_add(1)));
    let expect = CommitData {
        id,
        records: open.count,
        heads_crc: open.heads.finish(),
        previous: position.link,
        next_segment,
        ..CommitData::default()
    };
    let data = commit::encode(&expect);
    let mut found = vec![0u8; usize::try_from(COMMIT_LEN).unwrap_or(0)];
    let got = segment.file().read_at(&mut found, offset.into())?;
    found.truncate(got);
    let like = segment.bindings().encode_like(offset, Tag::Commit, &COMMIT_KEY, &data, &found);
    let Some((head, bytes)) = like else { return Ok(None) };
    let bits: u32 = bytes.iter().zip(&found).map(|(a, b)| (a ^ b).count_ones()).sum();
    let at = Location { segment: segment.id(), offset };
    let is_near = bits <= ADOPT_MAX_BITS && found.len() == bytes.len();
    Ok(is_near.then_some(CommitLink { id, at, data_crc: head.data_crc }))
}

/// Reads a PUT or DELETE in whose head one bit is wrong: that head put right, what it is bound to, and what the survey notes.
/// `None` if the bytes are no such record, or it is longer than `len`.
pub(super) fn broken_record<S: Survey>(
    survey: &S,
    segment: &Segment,
    (offset, len): (u32, u32),
    damage: &Damage,
) -> Result<Option<(Head, Binding, S::Notes)>> {
    let mut bytes = [0u8; HEAD_BYTES];
    if segment.file().read_at(&mut bytes, offset.into())? < HEAD_BYTES {
        return Ok(None);
    }
    let Some((head, binding)) = segment.bindings().correct_head(&bytes, offset) else { return Ok(None) };
    if !matches!(head.tag, Tag::Put | Tag::Delete) || head.size > len {
        return Ok(None);
    }
    let mut notes = S::Notes::default();
    let at = Location { segment: segment.id(), offset };
    survey.broken(&mut segment.walk(Some(offset))?, at, &head, damage, &mut notes)?;
    survey.settle(&mut notes)?;
    Ok(Some((head, binding, notes)))
}
