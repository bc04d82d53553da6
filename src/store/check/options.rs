//! What to check, and how deep.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::id::{Location, SegmentId};
use crate::store::Snapshot;

/// How deep to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    /// The small files and the index: its pages hold, and every entry points into a segment that is there. Time
    /// proportional to the index; the log is not read.
    Index,
    /// Every checksum of every record too, and each record against the index.
    #[default]
    Crc,
    /// Payloads decompress too, and the caller's judge accepts them.
    Content,
}

/// One of several parts of a store: the segments whose number leaves this rest. Every segment, also one that is
/// missing, belongs to exactly one part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// Part `index` of `of`, counted from 1.
    ///
    /// # Errors
    /// `BadInput` unless `1 <= index <= of`.
    pub fn new(index: u32, of: u32) -> Result<Shard> {
        if (1..=of).contains(&index) {
            return Ok(Shard { index, of });
        }
        let reason = format!("of {of} parts there is none with number {index}");
        Err(Error::BadInput { what: "shard".to_owned(), reason })
    }

    /// Tells whether a segment belongs to it.
    pub fn has(self, segment: SegmentId) -> bool {
        segment.0.checked_rem(self.of) == Some(self.index.saturating_sub(1))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// What a judge says of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Judgement {
    /// Why it is bad, if it is.
    pub bad: Option<String>,
    /// What there is to say of it that is no damage.
    pub remarks: Vec<Remark>,
}

/// What a judge has to say of a good snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// About which of its objects.
    pub about: Vec<u8>,
    /// What.
    pub text: String,
}

/// Judges a decoded snapshot at level `Content`. Called from several threads at once.
pub type Judge<'o> = &'o (dyn Fn(&Snapshot<'_>, &[u8]) -> Judgement + Sync);

/// Tells whether a segment of this length may be left out: it was found good not long ago.
pub type Skip<'o> = &'o dyn Fn(SegmentId, u64) -> bool;

/// What to check. The default is every checksum of the whole store, on one thread for each core.
#[derive(Clone, Copy, Default)]
pub struct CheckOptions<'o> {
    /// How deep.
    pub level: Level,
    /// Threads; 0: one for each core. Never changes what is told.
    pub jobs: usize,
    /// Whether each good record is told of too, by [`CheckSink::record`](super::CheckSink::record).
    pub records: bool,
    /// Where to begin in the log: the cursor of a run before. What a compaction has moved since lies behind it.
    pub from: Option<Location>,
    /// Segments before that place that are read all the same: what a run before found damaged.
    pub again: Option<&'o BTreeSet<SegmentId>>,
    /// Only these segments.
    pub shard: Option<Shard>,
    /// Segments to leave out.
    pub skip: Option<Skip<'o>>,
    /// When to end. Looked at between two segments, behind the first one from `from` on: so each run comes further.
    pub deadline: Option<Instant>,
    /// At level `Content`: who judges payloads.
    pub judge: Option<Judge<'o>>,
}

impl CheckOptions<'_> {
    /// Tells whether the time is up.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Tells whether a segment is to be read.
    pub(super) fn is_own(&self, id: SegmentId) -> bool {
        let is_again = || self.again.is_some_and(|again| again.contains(&id));
        self.shard.is_none_or(|shard| shard.has(id)) && (self.is_new(id) || is_again())
    }

    /// Tells whether a segment was not read by the run that this one goes on from.
    pub(super) fn is_new(&self, id: SegmentId) -> bool {
        self.from.is_none_or(|from| from.segment <= id)
    }
}

impl fmt::Debug for CheckOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckOptions")
            .field("level", &self.level)
            .field("jobs", &self.jobs)
            .field("from", &self.from)
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}
