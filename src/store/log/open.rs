//! Records that no COMMIT closes yet.

use super::heads::Heads;
use super::piece::{Batch, Notes};
use crate::error::Damage;
use crate::format::crc::Binding;
use crate::format::record::{Head, encode_head};

/// Bytes of notes that are kept of one transaction: as many as an import makes of one, and some. Under test so few that records
/// are mostly read again.
const KEPT_MAX_BYTES: usize = if cfg!(test) { 16 << 10 } else { 8 << 20 };

/// What stands between two COMMITs, in order.
#[derive(Debug)]
pub(super) enum Part<N> {
    /// What is kept of records.
    Notes(N),
    /// Bytes that are no record.
    Gap { offset: u32, len: u32, damage: Damage },
}

/// Records without a COMMIT yet.
#[derive(Debug)]
pub(super) struct Open<N> {
    /// What is kept of them; nothing if it became too much.
    pub(super) parts: Vec<Part<N>>,
    /// It became too much: they have to be read again.
    pub(super) dropped: bool,
    weight: usize,
    limit: usize,
    /// Where the first of them starts, damaged bytes included.
    pub(super) start: Option<u32>,
    /// How many there are.
    pub(super) count: u32,
    /// Gaps among or behind them.
    pub(super) gaps: u32,
    /// Checksum over their heads; of a broken one the head put right.
    pub(super) heads: Heads,
}

impl<N> Default for Open<N> {
    fn default() -> Open<N> {
        let (parts, heads) = (Vec::new(), Heads::default());
        let (weight, limit) = (0, KEPT_MAX_BYTES);
        Open { parts, dropped: false, weight, limit, start: None, count: 0, gaps: 0, heads }
    }
}

impl<N: Notes> Open<N> {
    /// One that keeps everything: for no more than a piece.
    pub(super) fn of_piece() -> Open<N> {
        Open { limit: usize::MAX, ..Open::default() }
    }

    /// Adds records.
    pub(super) fn push(&mut self, batch: Batch<N>) {
        self.start = self.start.or(batch.first);
        self.count = self.count.saturating_add(batch.count);
        self.heads.append(batch.heads);
        self.keep(batch.notes.weight(), Part::Notes(batch.notes));
    }

    /// Adds a record whose head was put right.
    pub(super) fn push_broken(&mut self, (offset, head, binding): (u32, &Head, Binding), notes: N) {
        let mut heads = Heads::default();
        heads.add(&encode_head(head, binding, offset));
        self.push(Batch { first: Some(offset), count: 1, heads, notes });
    }

    /// Adds bytes that are no record.
    pub(super) fn gap(&mut self, offset: u32, len: u32, damage: Damage) {
        self.start = self.start.or(Some(offset));
        self.gaps = self.gaps.saturating_add(1);
        self.keep(size_of::<Part<N>>(), Part::Gap { offset, len, damage });
    }

    /// Tells whether there is a gap that starts there. Where too much was dropped to know, there is not.
    pub(super) fn has_gap_at(&self, wanted: u32) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Gap { offset, .. } if *offset == wanted))
    }

    fn keep(&mut self, weight: usize, part: Part<N>) {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > self.limit {
            (self.parts, self.dropped) = (Vec::new(), true);
        } else if !self.dropped {
            self.parts.push(part);
        }
    }
}
