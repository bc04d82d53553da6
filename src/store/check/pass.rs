//! The pass over the log: every record, every transaction, each compared with the index.

use std::collections::HashMap;

use super::{CheckOptions, Finding, Level, Report, SegmentReport};
use crate::error::{Damage, Error, Place, Result};
use crate::format::put::{self, PutKind, implied_name};
use crate::format::record::{HEAD_LEN, Head, Tag};
use crate::format::segment::file_name;
use crate::id::{Location, RunKey, SegmentId};
use crate::index::{Entry, RecordKeys, Totals};
use crate::progress::{Progress, Stop};
use crate::segment::{Dictionary, Segment, Walk};
use crate::store::log::{LogPosition, LogSink, Transaction};
use crate::store::state::{Keys, State};

/// What is wrong with an index entry whose record cannot be found: the one complaint about the index that is the log's
/// fault.
pub(in crate::store) const RECORD_GONE: &str = "the record it names is gone";

/// Records between two looks at the clock or the stop flag.
const PROGRESS_EVERY: u64 = 1024;

pub(super) struct Pass<'p, 'r> {
    state: &'p State,
    options: &'p CheckOptions<'p>,
    report: &'p mut Report<'r>,
    stop: &'p Stop,
    progress: Progress,
    /// Of the records since the last COMMIT: what they hold, and whether their bytes are good.
    seen: HashMap<Location, (Option<PutKind>, bool)>,
    /// Records among them that are damaged. Told with their COMMIT: what was never committed may be torn.
    torn: Vec<(Location, Head, Damage)>,
    /// The segment of the last COMMIT.
    committed_in: Option<SegmentId>,
    /// What the log backs of the index.
    backed: Totals,
    mismatches: u64,
    segment: SegmentReport,
    /// The segment before, told when nothing more can come of it: its last transaction may turn out to be committed only
    /// when the next header is read.
    read: Option<SegmentReport>,
}

impl<'p, 'r> Pass<'p, 'r> {
    pub(super) fn new(
        state: &'p State,
        options: &'p CheckOptions<'p>,
        report: &'p mut Report<'r>,
        stop: &'p Stop,
    ) -> Result<Pass<'p, 'r>> {
        let mut bytes_total = 0u64;
        for id in state.segments.ids() {
            let len = state.segments.get(*id)?.map_or(Ok(0), |segment| segment.file().len())?;
            bytes_total = bytes_total.saturating_add(len);
        }
        let progress = Progress { bytes_total, ..Progress::default() };
        let (seen, torn) = (HashMap::new(), Vec::new());
        let (backed, mismatches, segment) = (Totals::default(), 0, SegmentReport::default());
        Ok(Pass {
            state,
            options,
            report,
            stop,
            progress,
            seen,
            torn,
            committed_in: None,
            backed,
            mismatches,
            segment,
            read: None,
        })
    }

    fn place(at: Location) -> Place {
        Place::at(file_name(at.segment), at.offset.into())
    }

    /// Returns the counts of the segment that a place lies in.
    fn counts(&mut self, at: Location) -> &mut SegmentReport {
        self.read.as_mut().filter(|read| read.segment == at.segment).unwrap_or(&mut self.segment)
    }

    /// Tells of the segment before, now that something behind it is read.
    fn leave(&mut self, before: SegmentId) -> Result<()> {
        match self.read.take_if(|read| read.segment < before) {
            Some(read) => self.report.sink.segment(&read),
            None => Ok(()),
        }
    }

    /// A finding about a record, with all that is known of it.
    fn about(&mut self, at: Location, head: &Head, damage: Damage, live: Option<bool>) -> Result<()> {
        let counts = self.counts(at);
        counts.bad = counts.bad.saturating_add(1);
        let key = head.key();
        let mut finding = Finding::damage(Pass::place(at), damage);
        finding.len = Some(head.size.into());
        finding.key = Some(key);
        finding.name = implied_name(&key);
        finding.live = live;
        self.report.add(&finding)
    }

    /// Verifies a record as deep as the level asks and returns what it holds.
    fn verify(&mut self, walk: &mut Walk<'_>, at: Location, head: &Head) -> Result<(Option<PutKind>, bool)> {
        if self.options.level == Level::Index {
            let first = walk.bytes(at.offset.saturating_add(HEAD_LEN), put::PEEK_BYTES)?;
            let kind = if head.tag == Tag::Put { put::peek(first).map(|(kind, _)| kind) } else { None };
            return Ok((kind, true));
        }
        if let Err(damage) = walk.verify(at.offset, head)? {
            self.torn.push((at, *head, damage));
            return Ok((None, false));
        }
        let dictionary = walk.dictionary();
        let data = walk.data(at.offset, head)?;
        let decoded = match head.tag {
            Tag::Put => put::decode(data).and_then(|put| {
                let key = head.key();
                put.fits(&key, dictionary)?;
                let name = put.name(&key)?;
                if put::key_fits(&key, &name) { Ok(Some(put.kind)) } else { Err(Damage::WrongRecord) }
            }),
            Tag::Delete => put::decode_delete(data).map(|_| None),
            Tag::Dictionary => Dictionary::unpack(data).and_then(|dictionary| {
                let named = head.key.first_chunk::<16>() == Some(&dictionary.id().0);
                if named { Ok(None) } else { Err(Damage::WrongRecord) }
            }),
            Tag::Commit => Ok(None),
        };
        match decoded {
            Ok(kind) => Ok((kind, true)),
            Err(damage) => {
                self.torn.push((at, *head, damage));
                Ok((None, false))
            }
        }
    }

    /// Tells of the damaged records before a place, now that it is known that they were committed.
    fn tell_torn(&mut self, before: Location) -> Result<()> {
        let (told, kept) = std::mem::take(&mut self.torn).into_iter().partition(|(at, ..)| *at < before);
        self.torn = kept;
        let told: Vec<(Location, Head, Damage)> = told;
        for (at, head, damage) in told {
            let live = self.is_newest(at, &head);
            self.about(at, &head, damage, live)?;
        }
        Ok(())
    }

    fn is_newest(&self, at: Location, head: &Head) -> Option<bool> {
        self.state.locate(&head.key()).ok().map(|found| found == Some(at))
    }

    /// Compares a committed record with what the index says of its key.
    fn compare(&mut self, at: Location, head: &Head, kind: Option<PutKind>, good: bool) -> Result<()> {
        let found = match self.state.locate(&head.key()) {
            Ok(found) => found,
            // The page was reported when the index was verified.
            Err(Error::Damaged { .. }) => return Ok(()),
            Err(other) => return Err(other),
        };
        match found {
            Some(found) if found == at => self.count(at, head, kind, good),
            Some(found) if found > at => Ok(()),
            _ => {
                self.mismatches = self.mismatches.saturating_add(1);
                let what = if found.is_none() { "it lacks this record" } else { "it knows an older record" };
                self.about(at, head, Damage::Index { what }, Some(true))
            }
        }
    }

    fn count(&mut self, at: Location, head: &Head, kind: Option<PutKind>, good: bool) -> Result<()> {
        let totals = &mut self.backed;
        let counter = match (head.tag, kind) {
            (Tag::Delete, _) if head.key().is_run() => return Ok(()),
            (Tag::Delete, _) => &mut totals.tombstones,
            (_, Some(PutKind::Run)) => &mut totals.runs,
            (_, Some(PutKind::Alias)) => &mut totals.aliases,
            (_, Some(PutKind::Snapshot) | None) => &mut totals.snapshots,
        };
        *counter = counter.saturating_add(1);
        if head.tag == Tag::Put && kind.is_some() {
            let counts = self.counts(at);
            counts.live = counts.live.saturating_add(1);
        }
        if good && kind == Some(PutKind::Snapshot) {
            self.report.summary.ok = self.report.summary.ok.saturating_add(1);
            if self.options.level == Level::Content {
                return self.content(at, head);
            }
        }
        Ok(())
    }

    /// Decodes the payload of a live snapshot and lets the caller judge it.
    fn content(&mut self, at: Location, head: &Head) -> Result<()> {
        let judged = match self.state.record(at, &head.key()) {
            Ok(Some(snapshot)) => match snapshot.body() {
                Ok(body) => self.options.judge.and_then(|judge| judge(&snapshot, &body)),
                Err(Error::Damaged { damage, .. }) => Some(damage.to_string()),
                Err(other) => return Err(other),
            },
            Ok(None) => None,
            Err(Error::Damaged { damage, .. }) => Some(damage.to_string()),
            Err(other) => return Err(other),
        };
        let Some(reason) = judged else { return Ok(()) };
        self.report.summary.ok = self.report.summary.ok.saturating_sub(1);
        self.about(at, head, Damage::Content { what: "snapshot", reason }, Some(true))
    }

    /// Compares what the log gave with what the index claims, and names what is not backed.
    pub(super) fn finish(&mut self, position: LogPosition) -> Result<()> {
        self.leave(SegmentId(u32::MAX))?;
        for (id, _) in self.state.layers.first().into_iter().flat_map(|newest| newest.segments().flatten()) {
            // A compaction that was cut off after its COMMIT has left the index that lists what it emptied.
            let is_known = self.state.segments.ids().binary_search(&id).is_ok();
            if !is_known && !self.state.dead.contains(&id) {
                self.report.damage(Place::whole(file_name(id)), Damage::Missing)?;
            }
        }
        if let Some(covered) = self.state.layers.first().map(|layer| layer.covered())
            && covered.commit > position.link.id
        {
            self.report.damage(Pass::place(covered.at), Damage::CommitLost { commit: covered.commit })?;
        }
        let claimed = self.state.overlay.totals();
        let same = claimed.snapshots == self.backed.snapshots
            && claimed.aliases == self.backed.aliases
            && claimed.tombstones == self.backed.tombstones
            && claimed.runs == self.backed.runs;
        if !same {
            self.unbacked()?;
        }
        self.tell_progress();
        Ok(())
    }

    /// Goes through the index for entries whose record is gone or unreadable.
    fn unbacked(&mut self) -> Result<()> {
        let rows = match self.state.run_rows() {
            Ok(rows) => rows,
            Err(error) => return self.report.error(error),
        };
        for row in rows {
            self.stop.check()?;
            if let Some(at) = row.at {
                self.backs(at, row.run)?;
            }
            match self.state.entries_of(row.run) {
                Ok(entries) => {
                    // In a segment that was compacted such an entry is a DELETE that is needed no more.
                    let is_dropped =
                        |entry: &Entry| entry.flags.tombstone && self.state.dead.contains(&entry.at.segment);
                    let kept = entries.iter().filter(|entry| !is_dropped(entry));
                    kept.map(|entry| entry.at).try_for_each(|at| self.backs(at, row.run))?;
                }
                Err(error) => self.report.error(error)?,
            }
        }
        Ok(())
    }

    fn backs(&mut self, at: Location, run: RunKey) -> Result<()> {
        // A repair or compaction left that segment out; the next index does not name it any more.
        if self.state.dead.contains(&at.segment) || Keys(&self.state.segments).key_at(at)?.is_some() {
            return Ok(());
        }
        let mut finding = Finding::damage(Pass::place(at), Damage::Index { what: RECORD_GONE });
        finding.detail =
            format!("a snapshot of run {} is gone: {}", run.instant().canonical_name(), finding.detail);
        finding.live = Some(true);
        self.report.add(&finding)
    }

    fn tell_progress(&mut self) {
        let progress = Progress {
            items: self.report.summary.records,
            bytes: self.report.summary.bytes.saturating_add(self.progress.bytes),
            findings: self.report.summary.damage,
            ..self.progress
        };
        self.report.sink.progress(&progress);
    }
}

impl LogSink for Pass<'_, '_> {
    fn record(&mut self, walk: &mut Walk<'_>, at: Location, head: &Head) -> Result<()> {
        self.leave(at.segment)?;
        let summary = &mut self.report.summary;
        summary.records = summary.records.saturating_add(1);
        self.segment.records = self.segment.records.saturating_add(1);
        self.progress.bytes = at.offset.into();
        if summary.records.is_multiple_of(PROGRESS_EVERY) {
            self.stop.check()?;
            self.tell_progress();
        }
        let verified = self.verify(walk, at, head)?;
        if head.tag != Tag::Dictionary {
            self.seen.insert(at, verified);
        }
        Ok(())
    }

    fn broken(&mut self, walk: &mut Walk<'_>, at: Location, head: &Head, damage: &Damage) -> Result<()> {
        self.leave(at.segment)?;
        // It was one, and it is known which.
        self.report.summary.records = self.report.summary.records.saturating_add(1);
        self.segment.records = self.segment.records.saturating_add(1);
        let first = walk.bytes(at.offset.saturating_add(HEAD_LEN), put::PEEK_BYTES)?;
        let kind = if head.tag == Tag::Put { put::peek(first).map(|(kind, _)| kind) } else { None };
        self.seen.insert(at, (kind, false));
        self.torn.push((at, *head, damage.clone()));
        Ok(())
    }

    fn damage(&mut self, at: Location, len: u32, damage: Damage) -> Result<()> {
        self.leave(at.segment)?;
        self.tell_torn(at)?;
        let counts = self.counts(at);
        counts.bad = counts.bad.saturating_add(1);
        let mut finding = Finding::damage(Pass::place(at), damage);
        finding.len = Some(len.into());
        self.report.add(&finding)
    }

    fn transaction(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        self.leave(transaction.link.at.segment)?;
        self.committed_in = Some(transaction.link.at.segment);
        self.tell_torn(transaction.link.at)?;
        for (at, head) in transaction.records {
            let (kind, good) = self.seen.remove(at).unwrap_or((None, false));
            self.compare(*at, head, kind, good)?;
        }
        Ok(())
    }

    fn tail(&mut self, at: Location, len: u32) -> Result<()> {
        self.leave(at.segment)?;
        // What was committed before it is told already.
        self.torn.retain(|(torn, ..)| torn.segment != at.segment);
        let mut finding =
            Finding::notice(Pass::place(at), "bytes of a transaction that was never committed; ignored");
        finding.len = Some(len.into());
        self.report.add(&finding)
    }

    fn segment_done(&mut self, segment: &Segment, len: u64) -> Result<()> {
        // A torn dictionary of a segment in which nothing was committed was nobody's.
        let id = segment.id();
        if self.committed_in != Some(id) && !self.seen.keys().any(|at| at.segment == id) {
            self.torn.retain(|(torn, ..)| torn.segment != id);
        }
        let next = Location { segment: SegmentId(id.0.saturating_add(1)), offset: 0 };
        let sealed = self.state.segments.active() != Some(id);
        let report = SegmentReport { segment: id, bytes: len, present: true, sealed, next, ..self.segment };
        self.segment = SegmentReport::default();
        self.leave(id)?;
        self.read = Some(report);
        self.progress.bytes = 0;
        self.report.summary.segments = self.report.summary.segments.saturating_add(1);
        self.report.summary.bytes = self.report.summary.bytes.saturating_add(len);
        self.tell_progress();
        Ok(())
    }
}
