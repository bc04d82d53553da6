//! What a check tells.

use super::claims::Claim;
use super::options::Remark;
use crate::error::{Damage, Error, Place, Result};
use crate::format::put::PutKind;
use crate::format::segment::file_name;
use crate::id::{CommitId, Key, Location, RunKey, SegmentId, StoreId};
use crate::progress::Progress;

/// One thing found wrong, or worth a notice.
#[derive(Clone, Debug)]
pub struct Finding {
    /// `Damage` counts for the exit code, a notice does not.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// The record's length in bytes, where a record is meant.
    pub len: Option<u64>,
    /// What. `None` for a notice, and for what the system refuses to read, which `detail` explain.
    pub damage: Option<Damage>,
    /// A sentence for people.
    pub detail: String,
    /// The key affected, where known.
    pub key: Option<Key>,
    /// Its name, where known.
    pub name: Option<Vec<u8>>,
    /// Its run, where that is all that is known of it.
    pub run: Option<RunKey>,
    /// Whether the record is the live one of its key, where known.
    pub live: Option<bool>,
    /// What the record holds, as far as is known.
    pub kind: Option<RecordKind>,
}

/// What a record holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RecordKind {
    /// A run's own record.
    Run,
    /// A snapshot.
    Snapshot,
    /// Another id of a snapshot.
    Alias,
    /// That something is deleted.
    Delete,
}

impl RecordKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            RecordKind::Run => "the record",
            RecordKind::Snapshot => "a snapshot",
            RecordKind::Alias => "an alias",
            RecordKind::Delete => "a deletion",
        }
    }
}

/// Whether a finding is damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// Bytes are wrong or missing.
    Damage,
    /// Harmless: a stray file, an uncommitted tail, an absent index.
    Notice,
}

/// What is to be checked, told before anything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckBegin {
    /// The store.
    pub store: StoreId,
    /// Its last commit.
    pub commit: CommitId,
    /// Where the log ends: behind that commit.
    pub end: Location,
    /// Segments to be read.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Live snapshots of the whole store, as its index has them.
    pub live: u64,
}

/// A good record.
#[derive(Clone, Debug)]
pub struct RecordReport {
    /// Where it lies.
    pub at: Location,
    /// Its length in bytes.
    pub len: u32,
    /// Its key.
    pub key: Key,
    /// Its name; none of a DELETE of an id that the key does not spell.
    pub name: Option<Vec<u8>>,
    /// What it holds; `None` for a DELETE.
    pub kind: Option<PutKind>,
    /// The commit that first wrote it; 0 where that cannot be read.
    pub txn: CommitId,
    /// Whether it is the newest record of its key.
    pub live: bool,
    /// Whether its bytes hold. A bad one is a finding too.
    pub good: bool,
}

/// Summary of one segment.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SegmentReport {
    /// Which.
    pub segment: SegmentId,
    /// Its length in bytes.
    pub bytes: u64,
    /// Records seen.
    pub records: u64,
    /// Live ones among them: PUT only.
    pub live: u64,
    /// Live snapshots in it that are good.
    pub ok: u64,
    /// Damaged places in it.
    pub bad: u64,
    /// Nothing can be appended to it any more.
    pub sealed: bool,
    /// There is such a file.
    pub present: bool,
    /// The system refused to read it.
    pub unreadable: bool,
    /// It was left out, as it was found good not long ago.
    pub skipped: bool,
    /// Where a later run goes on: all before this place is told.
    pub next: Location,
}

/// Receives what check has to tell: about files first, then in ascending order of segment and offset.
pub trait CheckSink {
    /// What is to be checked. Once, first.
    ///
    /// # Errors
    /// As for a finding.
    fn begin(&mut self, begin: &CheckBegin) -> Result<()> {
        let _ = begin;
        Ok(())
    }
    /// A finding.
    ///
    /// # Errors
    /// An error ends the check: its reader is gone.
    fn finding(&mut self, finding: &Finding) -> Result<()>;
    /// The system refuses to read something. The finding follows, and the check goes on.
    ///
    /// # Errors
    /// As for a finding.
    fn unreadable(&mut self, place: &Place, error: &Error) -> Result<()> {
        let _ = (place, error);
        Ok(())
    }
    /// A committed record, if [`CheckOptions::records`](super::CheckOptions::records) asks for them: PUT and DELETE.
    ///
    /// # Errors
    /// As for a finding.
    fn record(&mut self, record: &RecordReport) -> Result<()> {
        let _ = record;
        Ok(())
    }
    /// What the judge remarks of a good snapshot of a run. Told with its record.
    ///
    /// # Errors
    /// As for a finding.
    fn remark(&mut self, run: RunKey, remark: &Remark) -> Result<()> {
        let _ = (run, remark);
        Ok(())
    }
    /// A segment is done: nothing more comes of it or of one before it.
    ///
    /// # Errors
    /// As for a finding.
    fn segment(&mut self, report: &SegmentReport) -> Result<()>;
    /// How far it is; often.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
    }
}

/// Counts of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CheckSummary {
    /// Segments read.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Live snapshots found good.
    pub ok: u64,
    /// Damage found.
    pub damage: u64,
    /// Notices.
    pub notices: u64,
    /// Where the deadline ended it: a later run goes on there. `None`: it came to the end.
    pub cursor: Option<Location>,
}

impl Finding {
    pub(super) fn damage(place: Place, damage: Damage) -> Finding {
        let detail = damage.to_string();
        Finding { damage: Some(damage), ..Finding::new(Severity::Damage, place, detail) }
    }

    /// What the index knows of a place that does not hold it.
    pub(super) fn gone(claim: &Claim, damage: Damage) -> Finding {
        let place = Place::at(file_name(claim.at.segment), claim.at.offset.into());
        let run = claim.run.instant().canonical_name();
        let detail = format!("{} of run {run}: {damage}", claim.kind.name());
        let (run, live, kind) = (Some(claim.run), Some(true), Some(claim.kind));
        Finding { detail, run, live, kind, ..Finding::damage(place, damage) }
    }

    /// An entry of the index that names a place where another record is, or the middle of one. It is about the segment as a
    /// whole: shown at its end, as it takes all of it to know.
    pub(super) fn unbacked(claim: &Claim) -> Finding {
        let gone =
            Finding::gone(claim, Damage::Index { what: "there is no such record in the place it names" });
        let detail = format!("{} ({})", gone.detail, gone.place);
        Finding { detail, place: Place::whole(file_name(claim.at.segment)), ..gone }
    }

    pub(super) fn notice(place: Place, detail: impl Into<String>) -> Finding {
        Finding::new(Severity::Notice, place, detail.into())
    }

    pub(super) fn new(severity: Severity, place: Place, detail: String) -> Finding {
        let (len, damage, key, name) = (None, None, None, None);
        Finding { severity, place, len, damage, detail, key, name, run: None, live: None, kind: None }
    }
}
