//! The units of a scan (README, "For programs").

use serde::Serialize;

use crate::id::Location;
use crate::store::check::{CheckBegin, SegmentReport};

use super::super::command::Command;
use super::super::text::Text;

/// A place in the log.
#[derive(Serialize, Clone, Copy)]
pub(crate) struct At {
    seg: u32,
    off: u32,
}

impl From<Location> for At {
    fn from(at: Location) -> At {
        At { seg: at.segment.0, off: at.offset }
    }
}

/// What a scan's `begin` unit has besides what every command's has.
#[derive(Serialize)]
pub(crate) struct BeginUnit<'a> {
    commit: u64,
    r#gen: At,
    level: &'a str,
    shard: Option<String>,
    resumed: Option<&'a str>,
    expect: Expect,
}

/// What is to be done.
#[derive(Serialize)]
struct Expect {
    segments: u64,
    bytes: u64,
    live: u64,
}

impl<'a> BeginUnit<'a> {
    pub(super) fn new(
        begin: &CheckBegin,
        level: &'a str,
        shard: Option<String>,
        resumed: Option<&'a str>,
    ) -> BeginUnit<'a> {
        let CheckBegin { commit, end, segments, bytes, live, .. } = *begin;
        let expect = Expect { segments, bytes, live };
        BeginUnit { commit: commit.0, r#gen: end.into(), level, shard, resumed, expect }
    }
}

/// An `object` unit of `manifest`: a live snapshot.
#[derive(Serialize)]
pub(crate) struct ObjectUnit<'a> {
    pub(super) key: String,
    pub(super) path: Option<Vec<Text<'a>>>,
    pub(super) op: &'static str,
    pub(super) seg: u32,
    pub(super) off: u32,
    pub(super) len: u32,
    pub(super) txn: u64,
    pub(super) live: bool,
}

/// A `result` unit: a finding, or with `--all` a good live snapshot.
#[derive(Serialize)]
pub(crate) struct ResultUnit<'a> {
    pub(super) key: Option<String>,
    pub(super) path: Option<Vec<Text<'a>>>,
    pub(super) file: &'a str,
    pub(super) seg: Option<u32>,
    pub(super) off: Option<u64>,
    pub(super) len: Option<u64>,
    pub(super) live: Option<bool>,
    pub(super) severity: &'static str,
    pub(super) state: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail_truncated: Option<bool>,
    pub(super) fix: Option<&'static str>,
}

/// A `segment` unit.
#[derive(Serialize)]
pub(crate) struct SegmentUnit {
    seg: u32,
    bytes: u64,
    records: u64,
    live: u64,
    ok: u64,
    bad: u64,
    sealed: bool,
    state: &'static str,
}

impl From<&SegmentReport> for SegmentUnit {
    fn from(report: &SegmentReport) -> SegmentUnit {
        let SegmentReport { segment, bytes, records, live, ok, bad, sealed, .. } = *report;
        SegmentUnit { seg: segment.0, bytes, records, live, ok, bad, sealed, state: state_of(report) }
    }
}

/// The state of a segment in one word.
pub(crate) fn state_of(report: &SegmentReport) -> &'static str {
    match report {
        SegmentReport { skipped: true, .. } => "skipped",
        SegmentReport { unreadable: true, .. } => "unreadable",
        SegmentReport { present: false, .. } => "missing",
        SegmentReport { bad: 1.., .. } => "corrupt",
        _ => "ok",
    }
}

/// A `checkpoint` unit: all before the cursor is told.
#[derive(Serialize)]
pub(crate) struct CheckpointUnit {
    pub(super) cursor: At,
    pub(super) r#gen: At,
    pub(super) done: Done,
    /// Damaged segments of runs before that this one has not read again yet: so its output says all by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) again: Vec<Again>,
}

/// A segment that was found damaged, and at how many places.
#[derive(Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Again {
    pub(crate) seg: u32,
    pub(crate) bad: u64,
}

/// What was done up to a checkpoint, in this run and in those that it goes on from.
#[derive(Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Done {
    /// Segments told of.
    pub(crate) segments: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Damaged places in them.
    pub(crate) bad: u64,
}

/// What a scan's `end` unit has besides what every command's has.
#[derive(Serialize)]
pub(crate) struct EndUnit {
    pub(super) known_bad: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stats: Option<Stats>,
    pub(super) cursor: Option<At>,
    /// What to run next: words of a command line, in which FILE stands for a file that has what this run wrote.
    pub(super) next: Option<Command>,
}

/// Figures about the objects told of.
#[derive(Serialize)]
pub(crate) struct Stats {
    /// Smallest and largest length of a class, in bytes, and how many records have one within.
    pub(super) size_hist: Vec<(u64, u64, u64)>,
}

/// What a `repair` and a `lost` unit say of the state before and after.
#[derive(Serialize, Clone, Copy)]
pub(crate) struct Outcome<'a> {
    /// The state before.
    pub(crate) pre: &'a str,
    /// Whether something was changed, or would be if it were no dry run.
    pub(crate) attempted: bool,
    /// Whether nothing is wrong there any more.
    pub(crate) ok: bool,
    /// The state after; of a lost record `lost`.
    pub(crate) post: &'a str,
    /// Where the original is kept.
    pub(crate) quarantine: Option<&'a str>,
}
