//! Writes a scan's units, or its lines, as the check tells of one thing after the other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::error::{Error, Place, Result};
use crate::id::{Location, RunKey, SegmentId};
use crate::progress::Progress;
use crate::store::check::{
    CheckBegin, CheckSink, CheckSummary, Finding, RecordKind, RecordReport, Remark, SegmentReport, Severity,
};
use crate::store::{PutKind, View};

use super::super::attachments;
use super::super::command::Command;
use super::super::context::{Context, segment_of};
use super::super::exit::Exit;
use super::super::lookup::{self, RunNames};
use super::super::output::{clip, unix_time};
use super::super::progress::Meter;
use super::super::text::{Text, show, show_path, show_size};
use super::next;
use super::plain::{describe, human, parts};
use super::record::{Reach, Record};
use super::resume::Before;
use super::scan::{Scan, Task, Tell};
use super::states::{STATES, Verdict};
use super::tally::Tally;
use super::units::{
    Again, BeginUnit, CheckpointUnit, Done, EndUnit, ObjectUnit, ResultUnit, SegmentUnit, state_of,
};
use super::wrong::Wrong;

/// Most segments to read again that a checkpoint names; more are counted. A line is 64 KiB at most.
const AGAIN_MAX: usize = 1000;
/// How often the record is written while segments go by.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);

/// Receives what is told, and keeps count.
pub(super) struct Sink<'a> {
    context: &'a Context,
    task: &'a Task<'a>,
    view: Option<&'a View>,
    names: RunNames,
    /// Shows how far it is, until the end.
    pub(super) meter: Meter,
    before: Option<Before>,
    /// What runs before found damaged and this one did not come to yet.
    again: BTreeMap<SegmentId, u64>,
    begun: Option<CheckBegin>,
    /// All before it is told.
    cursor: Location,
    tally: Tally,
    wrong: Wrong,
    record: Option<&'a RefCell<Record>>,
    /// When the record was last written.
    saved: Instant,
}

impl<'a> Sink<'a> {
    /// Begins with nothing told.
    pub(super) fn new(
        context: &'a Context,
        task: &'a Task<'a>,
        view: Option<&'a View>,
        before: Option<Before>,
        record: Option<&'a RefCell<Record>>,
    ) -> Sink<'a> {
        Sink {
            context,
            task,
            view,
            names: RunNames::default(),
            meter: context.meter(task.verb, "records"),
            again: before.as_ref().map(|before| before.bad.clone()).unwrap_or_default(),
            before,
            begun: None,
            cursor: Location::default(),
            tally: Tally::default(),
            wrong: Wrong::default(),
            record,
            saved: Instant::now(),
        }
    }
}

impl CheckSink for Sink<'_> {
    fn begin(&mut self, begin: &CheckBegin) -> Result<()> {
        let store = begin.store.to_string();
        if let (Some(before), Some(path)) = (&self.before, &self.task.args.resume)
            && before.store.as_ref() != Some(&store)
        {
            let had = before.store.as_deref().unwrap_or("none");
            let reason = format!("its last run is of store {had}, not {store}: it cannot be gone on with");
            return Err(Error::BadInput { what: path.display().to_string(), reason });
        }
        if let (Some(record), Some(path)) = (self.record, self.task.record)
            && record.borrow_mut().is_foreign(begin.store)
        {
            let text = format!("{}: it is of another store; starting a new one", path.display());
            self.context.console.warn(&text);
        }
        let shard = self.task.args.shard.map(|shard| shard.to_string());
        let resumed = self.before.as_ref().map(|before| before.run.as_str());
        let unit = BeginUnit::new(begin, self.task.level.name(), shard, resumed);
        self.context.out.begin(Some(begin.store), &unit)?;
        self.begun = Some(*begin);
        let Some(before) = &self.before else { return Ok(()) };
        self.cursor = before.cursor.unwrap_or_default();
        self.checkpoint()
    }

    fn finding(&mut self, finding: &Finding) -> Result<()> {
        let is_damage = finding.severity == Severity::Damage;
        if is_damage && !self.task.repairs {
            self.context.note(Exit::Damage);
        }
        let segment = segment_of(&finding.place.file);
        let is_snapshot = finding.live == Some(true) && finding.kind == Some(RecordKind::Snapshot);
        self.tally.finding(finding.severity, segment.is_some(), is_snapshot);
        let verdict = Verdict::of(finding);
        let path = self.path(finding);
        let parts = parts(path.as_ref());
        self.wrong.add(finding, verdict, parts.as_deref());
        let detail = describe(finding);
        if !self.context.out.is_json() {
            let line = human(finding, parts, &detail);
            if self.task.tell == Tell::Objects {
                // Between objects nobody would look for it.
                self.context.console.error(&line);
                return Ok(());
            }
            return self.context.out.line(&line);
        }
        let (detail, cut) = clip(&detail);
        self.context.out.count(verdict.state, 1);
        let unit = ResultUnit {
            key: finding.key.map(|key| key.to_string()),
            path: parts.map(|parts| parts.into_iter().map(Text).collect()),
            file: &finding.place.file,
            seg: segment,
            off: finding.place.offset,
            len: finding.len,
            live: finding.live,
            severity: if is_damage { "damage" } else { "notice" },
            state: verdict.state,
            code: Some(verdict.code),
            detail: Some(detail),
            detail_truncated: cut.then_some(true),
            fix: verdict.fix,
        };
        self.context.out.unit("result", &unit)
    }

    fn unreadable(&mut self, place: &Place, error: &Error) -> Result<()> {
        self.context.report_at(error, place)
    }

    fn record(&mut self, record: &RecordReport) -> Result<()> {
        if !record.good || !record.live || record.kind != Some(PutKind::Snapshot) {
            return Ok(());
        }
        self.tally.object(record.len);
        let run = self.names.of(self.view, record.key.run);
        let path = record.name.as_ref().map(|name| lookup::path(run, name));
        match self.task.tell {
            Tell::Findings => Ok(()),
            Tell::All => self.good(record, path.as_ref()),
            Tell::Objects => self.object(record, path.as_ref()),
        }
    }

    fn segment(&mut self, report: &SegmentReport) -> Result<()> {
        self.tally.segment(report);
        if let Some(record) = self.record {
            record.borrow_mut().note(report, self.task.level, unix_time().0);
        }
        self.again.remove(&report.segment);
        // Damaged segments of the run before come again, before the place where it ended.
        self.cursor = self.cursor.max(report.next);
        if self.context.out.is_json() {
            self.context.out.unit("segment", &SegmentUnit::from(report))?;
            self.checkpoint()?;
        } else if self.context.console.is_verbose() {
            let (size, state) = (show_size(report.bytes), state_of(report));
            let text = format!("{size}, {} records, {} live, {state}", report.records, report.live);
            self.context.console.note(&format!("segment {}: {text}", report.segment.0));
        }
        if self.saved.elapsed() >= SAVE_INTERVAL {
            self.save()?;
        }
        Ok(())
    }

    fn remark(&mut self, run: RunKey, remark: &Remark) -> Result<()> {
        attachments::tell(self.context, self.names.of(self.view, run), remark)
    }

    fn progress(&mut self, progress: &Progress) {
        self.meter.update(progress);
    }
}

impl Sink<'_> {
    fn path(&mut self, finding: &Finding) -> Option<[Vec<u8>; 2]> {
        let Some(key) = finding.key else {
            // Of what is gone the index knows the run.
            let run = finding.run?;
            return Some([self.names.of(self.view, run).as_bytes().to_vec(), Vec::new()]);
        };
        let run = self.names.of(self.view, key.run);
        match &finding.name {
            _ if key.is_run() => Some([run.as_bytes().to_vec(), Vec::new()]),
            Some(name) => Some(lookup::path(run, name)),
            None => None,
        }
    }

    fn good(&self, record: &RecordReport, path: Option<&[Vec<u8>; 2]>) -> Result<()> {
        let place = lookup::place(record.at);
        let parts = parts(path);
        if !self.context.out.is_json() {
            let path = parts.map(show_path).unwrap_or_default();
            return self.context.out.line(&format!("ok: {place}, {} bytes [{path}]", record.len));
        }
        let unit = ResultUnit {
            key: Some(record.key.to_string()),
            path: parts.map(|parts| parts.into_iter().map(Text).collect()),
            file: &place.file,
            seg: Some(record.at.segment.0),
            off: place.offset,
            len: Some(record.len.into()),
            live: Some(true),
            severity: "none",
            state: "ok",
            code: None,
            detail: None,
            detail_truncated: None,
            fix: None,
        };
        self.context.out.unit("result", &unit)
    }

    fn object(&mut self, record: &RecordReport, path: Option<&[Vec<u8>; 2]>) -> Result<()> {
        let parts = parts(path);
        let (seg, off) = (record.at.segment.0, record.at.offset);
        if !self.context.out.is_json() {
            let run = self.names.of(self.view, record.key.run);
            let name = record.name.as_deref().map(show).unwrap_or_default();
            return self.context.out.line(&format!("{run}\t{name}\t{}\t{seg}:{off}", record.len));
        }
        let unit = ObjectUnit {
            key: record.key.to_string(),
            path: parts.map(|parts| parts.into_iter().map(Text).collect()),
            op: "put",
            seg,
            off,
            len: record.len,
            txn: record.txn.0,
            live: true,
        };
        self.context.out.unit("object", &unit)
    }

    fn done(&self) -> Done {
        let mut before = self.before.as_ref().map(|before| before.done).unwrap_or_default();
        before.bad = self.carried();
        self.tally.done(before)
    }

    /// Damaged places that the runs before have found, and that this one did not come to again.
    fn carried(&self) -> u64 {
        let Some(before) = &self.before else { return 0 };
        let sum = |bad: &BTreeMap<SegmentId, u64>| bad.values().copied().fold(0, u64::saturating_add);
        let nameless = before.done.bad.saturating_sub(sum(&before.bad));
        nameless.saturating_add(sum(&self.again))
    }

    /// Tells from where a later run may go on.
    fn checkpoint(&self) -> Result<()> {
        let Some(begin) = &self.begun else { return Ok(()) };
        let again = self.again.iter().take(AGAIN_MAX).map(|(id, bad)| Again { seg: id.0, bad: *bad });
        let again = again.collect();
        let (cursor, done) = (self.cursor.into(), self.done());
        let unit = CheckpointUnit { cursor, r#gen: begin.end.into(), done, again };
        self.context.out.unit("checkpoint", &unit)
    }

    /// Writes the record. Where that fails the scan goes on without one.
    fn save(&mut self) -> Result<()> {
        self.saved = Instant::now();
        let Some(record) = self.record else { return Ok(()) };
        match record.borrow_mut().save() {
            Ok(()) => Ok(()),
            Err(error) => {
                self.record = None;
                self.context.report(&error, None)
            }
        }
    }

    /// Ends the stream's counts and the record, and says what it all came to.
    ///
    /// # Errors
    /// That of the scan, of the output.
    pub(super) fn conclude(mut self, result: Result<CheckSummary>) -> Result<Scan> {
        let until = match &result {
            Ok(summary) => summary.cursor,
            Err(_) => Some(self.cursor),
        };
        self.cursor = until.unwrap_or(self.cursor);
        let from = self.before.as_ref().and_then(|before| before.cursor);
        let reach = Reach { shard: self.task.args.shard, from, until };
        let unreached = self.record.map_or(0, |record| record.borrow_mut().settle(&reach));
        // Also where the output is lost: what was checked is checked.
        let saved = self.save();
        if result.is_ok() {
            // What it was to read again and did not is gone: repaired, or compacted away.
            self.again.clear();
        }
        let known_bad = self.tally.damage.saturating_add(self.carried()).saturating_add(unreached);
        let is_partial = result.as_ref().is_ok_and(|summary| summary.cursor.is_some());
        let is_stopped = matches!(result, Err(Error::Cancelled));
        if is_stopped {
            self.checkpoint()?;
        }
        let next = self.next(is_partial || is_stopped, known_bad);
        let go_on = next.as_ref().filter(|_| is_partial || is_stopped);
        let go_on = go_on.map(|next| format!("next: {next}      {}", next::why(self.context, self.task)));
        // Where units are on the other, or an error ends it, people are told on standard error.
        let is_said = is_partial && !self.context.out.is_json() && self.task.tell != Tell::Objects;
        if let Some(go_on) = go_on.as_ref().filter(|_| !is_said) {
            self.context.console.note(go_on);
        }
        self.count();
        let tells_sizes = self.task.tell != Tell::Findings;
        let stats = tells_sizes.then(|| self.tally.stats());
        self.context.out.ending(&EndUnit { known_bad, stats, cursor: until.map(Into::into), next })?;
        if known_bad > 0 && !self.task.repairs {
            self.context.note(Exit::Damage);
        }
        if is_partial {
            self.context.be_partial();
        }
        result?;
        saved?;
        let go_on = go_on.filter(|_| is_said);
        Ok(Scan { tally: self.tally, level: self.task.level, wrong: self.wrong, known_bad, go_on })
    }

    /// What to run next.
    fn next(&self, is_cut: bool, known_bad: u64) -> Option<Command> {
        if is_cut {
            return Some(next::go_on(self.context, self.task));
        }
        (known_bad > 0 && !self.task.repairs).then(|| next::repair(self.context))
    }

    fn count(&self) {
        let tally = &self.tally;
        // Of the segment in which it ended too, whose count never came.
        let ok = if self.task.tell == Tell::All { tally.objects } else { tally.ok };
        let objects = match self.task.tell {
            Tell::Objects => tally.objects,
            Tell::Findings | Tell::All => ok.saturating_add(tally.bad_live),
        };
        for (name, count) in [
            ("objects", objects),
            ("ok", ok),
            ("segments", tally.segments),
            ("skipped", tally.skipped),
            ("records", tally.records),
            ("bytes", tally.bytes),
            ("damage", tally.damage),
            ("notices", tally.notices),
        ] {
            self.context.out.count(name, count);
        }
        for state in STATES {
            self.context.out.count(state, 0);
        }
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
