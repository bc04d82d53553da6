//! Records that no COMMIT closes yet.

use super::{Location, Result};
use crate::error::Damage;
use crate::format::crc::Crc32;
use crate::format::record::{HEAD_BYTES, Head, Tag, encode_head};
use crate::segment::{Segment, Walk};

/// Records without a COMMIT yet.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Their places and heads; of a broken one the head put right.
    pub(super) records: Vec<(Location, Head)>,
    /// Checksum over those heads.
    pub(super) heads: Crc32,
    /// Where the first of them starts, damaged bytes included.
    pub(super) start: Option<u32>,
    /// Gaps among or behind them.
    pub(super) gaps: Vec<(u32, u32, Damage)>,
}

impl Open {
    /// Adds a record.
    pub(super) fn push(&mut self, at: Location, head: Head, walk: &mut Walk<'_>) -> Result<()> {
        self.add(at, head, walk.bytes(at.offset, HEAD_BYTES)?);
        Ok(())
    }

    /// Adds a record whose head has one wrong bit, and returns that head put right; `None` if the bytes are no such record, or
    /// longer than `len`.
    pub(super) fn push_broken(
        &mut self,
        segment: &Segment,
        walk: &mut Walk<'_>,
        (offset, len): (u32, u32),
    ) -> Result<Option<Head>> {
        let bytes = walk.bytes(offset, HEAD_BYTES)?;
        let Some((head, binding)) = segment.bindings().correct_head(bytes, offset) else { return Ok(None) };
        if !matches!(head.tag, Tag::Put | Tag::Delete) || head.size > len {
            return Ok(None);
        }
        self.add(Location { segment: segment.id(), offset }, head, &encode_head(&head, binding, offset));
        Ok(Some(head))
    }

    fn add(&mut self, at: Location, head: Head, bytes: &[u8]) {
        self.start = self.start.or(Some(at.offset));
        self.heads.update(bytes);
        self.records.push((at, head));
    }

    /// Splits off what stands up to the COMMIT at `offset`, its own bytes included, and keeps what is behind. Both forget the checksum.
    pub(super) fn split_at(&mut self, offset: u32) -> Open {
        let behind = self.records.partition_point(|(at, _)| at.offset <= offset);
        let gaps_behind = self.gaps.partition_point(|(at, ..)| *at <= offset);
        let (records, gaps) = (self.records.split_off(behind), self.gaps.split_off(gaps_behind));
        let first =
            records.first().map(|(at, _)| at.offset).into_iter().chain(gaps.first().map(|gap| gap.0)).min();
        std::mem::replace(self, Open { records, gaps, start: first, heads: Crc32::default() })
    }

    /// Adds bytes that are no record.
    pub(super) fn gap(&mut self, offset: u32, len: u32, damage: Damage) {
        self.start = self.start.or(Some(offset));
        self.gaps.push((offset, len, damage));
    }
}
