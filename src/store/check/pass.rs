//! The pass over the log: what its reader tells becomes findings, counts and reports of segments.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::{Claim, Claimed, Claims};
use super::finding::RecordKind;
use super::survey::{Counts, Noted, Told};
use super::{Finding, Report, SegmentReport};
use crate::error::{Damage, Error, Place, Result};
use crate::format::hints::SegmentHints;
use crate::format::segment::file_name;
use crate::id::{CommitId, Key, Location, SegmentId};
use crate::index::{RecordKeys, Totals, hash_key};
use crate::progress::{Progress, Stop};
use crate::store::log::piece::refusal;
use crate::store::log::{LogSink, SegmentEnd, Transaction};
use crate::store::state::{IndexFile, Keys, State};

/// What the pass has to do with segments.
pub(super) struct Pass<'p, 'r> {
    state: &'p State,
    report: &'p mut Report<'r>,
    stop: &'p Stop,
    claims: Claims<'p>,
    progress: Progress,
    /// Segments of which more may come.
    open: BTreeMap<SegmentId, Open>,
    /// All that was seen, or told to be gone, of what the index has.
    seen: Claimed,
    /// Entries that no record backs were told of, or damage hides what the index has.
    is_doubtful: bool,
    /// What the writer of the index noted of the segments; nothing if that is not to be gone by.
    hints: &'p BTreeMap<u32, SegmentHints>,
    /// Segments in which bytes are no records.
    torn: BTreeSet<SegmentId>,
    /// Segments that end too early, and up to where it is told what was behind their ends.
    cut: BTreeMap<SegmentId, u32>,
    /// Segments that need not be read.
    skipped: &'p BTreeSet<SegmentId>,
}

/// What is known of a segment so far.
#[derive(Default)]
struct Open {
    report: SegmentReport,
    counts: Counts,
    /// Entries of the index that were told to be gone.
    gone: Claimed,
}

impl<'p, 'r> Pass<'p, 'r> {
    pub(super) fn new(
        state: &'p State,
        report: &'p mut Report<'r>,
        stop: &'p Stop,
        skipped: &'p BTreeSet<SegmentId>,
        hints: &'p BTreeMap<u32, SegmentHints>,
        bytes_total: u64,
    ) -> Pass<'p, 'r> {
        Pass {
            state,
            report,
            stop,
            claims: Claims::new(state),
            progress: Progress { bytes_total, ..Progress::default() },
            open: BTreeMap::new(),
            seen: Claimed::default(),
            is_doubtful: false,
            hints,
            torn: BTreeSet::new(),
            cut: BTreeMap::new(),
            skipped,
        }
    }

    fn place(at: Location) -> Place {
        Place::at(file_name(at.segment), at.offset.into())
    }

    fn open(&mut self, id: SegmentId) -> &mut Open {
        self.open.entry(id).or_default()
    }

    fn len_of(&self, id: SegmentId) -> Result<u32> {
        let len = match self.state.segments.get(id) {
            Ok(Some(segment)) => segment.file().len()?,
            Ok(None) | Err(Error::Io { .. }) => 0,
            Err(other) => return Err(other),
        };
        Ok(u32::try_from(len).unwrap_or(u32::MAX))
    }

    /// Tells whose records the index has in a range that holds none.
    fn gone(&mut self, from: Location, until: Location) -> Result<()> {
        let mut next = from;
        while let Some(claim) = self.claims.next(next, until)? {
            self.stop.check()?;
            self.tell_gone(&claim)?;
            next = Location { offset: claim.at.offset.saturating_add(1), ..claim.at };
        }
        Ok(())
    }

    fn tell_gone(&mut self, claim: &Claim) -> Result<()> {
        self.open(claim.at.segment).gone.add(claim.kind);
        self.seen.add(claim.kind);
        self.report.add(&Finding::gone(claim, Damage::Gone))
    }

    /// Tells whether the index has records of a range that no COMMIT is behind: it is published only when there was one.
    fn is_acknowledged(&mut self, at: Location, until: Location) -> Result<bool> {
        let covered = self.state.newest_index().map(IndexFile::covered).unwrap_or_default();
        // What a crash leaves is behind that: no look into the index.
        let is_covered = at < (Location { segment: covered.at.segment, offset: covered.end });
        Ok(is_covered && self.claims.next(at, until)?.is_some())
    }

    /// Accounts for the records of such a range: those that are there count as seen, others are gone.
    fn account_for(&mut self, at: Location, until: Location) -> Result<()> {
        let mut next = at;
        while let Some(claim) = self.claims.next(next, until)? {
            self.stop.check()?;
            if self.is_intact(&claim)? {
                self.seen.add(claim.kind);
            } else {
                self.torn.insert(at.segment);
                self.tell_gone(&claim)?;
            }
            next = Location { offset: claim.at.offset.saturating_add(1), ..claim.at };
        }
        Ok(())
    }

    fn is_intact(&self, claim: &Claim) -> Result<bool> {
        let Some(segment) = self.state.segments.get(claim.at.segment)? else { return Ok(false) };
        match segment.record(claim.at.offset) {
            Ok(record) => Ok(self.is_of(&record.head.key(), claim)),
            Err(Error::Damaged { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    fn is_of(&self, key: &Key, claim: &Claim) -> bool {
        let is_run = claim.kind == RecordKind::Run;
        let hash = |key: &Key| hash_key(&key.object, self.state.overlay.seed());
        key.run == claim.run && (if is_run { key.is_run() } else { hash(key) == claim.hash })
    }

    /// Returns where a segment ends if the index knows it to be longer. That is no damage by itself: what a writer abandons at
    /// the end of one need not outlive a crash.
    fn end_if_shorter(&self, id: SegmentId, len: Option<u64>) -> Option<u32> {
        let newest = self.state.newest_index()?;
        let covered = newest.covered();
        let known =
            if covered.at.segment == id { Some(covered.end) } else { newest.segment_len(id).ok().flatten() };
        let end = u32::try_from(len?).ok()?;
        (end < known?).then_some(end)
    }

    /// Ends the pass. `whole`: the log was read from end to end, so that all claims can be accounted for.
    pub(super) fn finish(mut self, whole: bool) -> Result<()> {
        // Without an index, what it would have was read from the log.
        if let Some(newest) = self.state.newest_index().filter(|_| whole && !self.is_doubtful)
            && !self.is_backed()?
        {
            let what = "it has other entries than the log has records";
            self.report.damage(Place::whole(newest.name()), Damage::Index { what })?;
        }
        self.tell_progress();
        Ok(())
    }

    /// Each entry of the index names a place of its own: if as many records were found in the places that it names as it has
    /// entries, every entry is right.
    fn is_backed(&mut self) -> Result<bool> {
        let Totals { snapshots, aliases, tombstones, runs, .. } = self.state.overlay.totals();
        let claimed = Claimed { entries: snapshots.saturating_add(aliases).saturating_add(tombstones), runs };
        // What it counts and no record backs may be runs whose own record is lost, and deletions that nothing needs any more.
        Ok(claimed == self.seen || self.claims.all()?.is_none_or(|claimed| claimed == self.seen))
    }

    /// Tells of the entries that name a place in a segment where there is no such record, though no bytes are missing there.
    /// Returns how many. Cost: none where the bytes of live records add up to what was noted; else one pass over the index,
    /// once for all segments, and another where something is wrong.
    fn account(&mut self, id: SegmentId) -> Result<u64> {
        let Open { counts, gone, .. } = *self.open(id);
        // What is in places that do not hold was told there.
        let is_hidden = counts.unknown > 0 || self.torn.contains(&id);
        self.is_doubtful |= is_hidden;
        if is_hidden {
            return Ok(0);
        }
        let noted = self.hints.get(&id.0).map_or(0, |noted| noted.live.saturating_add(noted.tombstones));
        if !self.hints.is_empty() && noted == counts.newest_bytes {
            return Ok(0);
        }
        let seen = Claimed {
            entries: counts.entries.saturating_add(gone.entries),
            runs: counts.runs.saturating_add(gone.runs),
        };
        if self.claims.in_segment(id)?.is_none_or(|claimed| claimed == seen) {
            return Ok(0);
        }
        self.unbacked(id)
    }

    fn unbacked(&mut self, id: SegmentId) -> Result<u64> {
        let keys = Keys(&self.state.segments);
        // What was behind its end was told before.
        let until = Location { segment: id, offset: self.len_of(id)? };
        let mut next = Location { segment: id, offset: 0 };
        let mut wrong = 0u64;
        while let Some(claim) = self.claims.next(next, until)? {
            self.stop.check()?;
            let key = keys.key_at(claim.at)?;
            for claim in self.claims.here(claim.at) {
                if !key.is_some_and(|key| self.is_of(&key, &claim)) {
                    wrong = wrong.saturating_add(1);
                    self.is_doubtful = true;
                    self.report.add(&Finding::unbacked(&claim))?;
                }
            }
            next = Location { offset: claim.at.offset.saturating_add(1), ..claim.at };
        }
        Ok(wrong)
    }

    fn tell_progress(&mut self) {
        self.progress.items = self.report.summary.records;
        self.progress.findings = self.report.summary.damage;
        self.report.sink.progress(&self.progress);
    }
}

impl LogSink<Noted> for Pass<'_, '_> {
    fn committed(&mut self, notes: Noted) -> Result<()> {
        let Some(id) = notes.segment else { return Ok(()) };
        let counts = notes.counts;
        self.open(id).counts.add(&counts);
        self.seen.entries = self.seen.entries.saturating_add(counts.entries);
        self.seen.runs = self.seen.runs.saturating_add(counts.runs);
        if notes.broken {
            self.torn.insert(id);
        }
        let summary = &mut self.report.summary;
        summary.records = summary.records.saturating_add(counts.records);
        summary.ok = summary.ok.saturating_add(counts.ok);
        for told in notes.told {
            match told {
                Told::Finding(finding) => self.report.add(&finding)?,
                Told::Record(record) => self.report.sink.record(&record)?,
                Told::Remark(run, remark) => self.report.sink.remark(run, &remark)?,
            }
        }
        Ok(())
    }

    /// The index names the COMMIT that it was written behind.
    fn transaction(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        let Some(covered) = self.state.newest_index().map(IndexFile::covered) else { return Ok(()) };
        let Transaction { commit, link, end } = *transaction;
        let is_other = (link.at, link.data_crc) != (covered.at, covered.data_crc);
        if commit.is_none() || link.id != covered.commit || !is_other {
            return Ok(());
        }
        let what = "it is another than the one behind which the index was written";
        self.damage(
            link.at,
            end.saturating_sub(link.at.offset),
            Damage::Transaction { commit: link.id, what },
        )
    }

    fn damage(&mut self, at: Location, len: u32, damage: Damage) -> Result<()> {
        self.stop.check()?;
        if damage == Damage::Missing {
            return self.report.damage(Place::whole(file_name(at.segment)), damage);
        }
        let is_refusal = matches!(damage, Damage::Unreadable { .. });
        let report = &mut self.open(at.segment).report;
        report.bad = report.bad.saturating_add(1);
        report.unreadable |= is_refusal;
        if matches!(damage, Damage::CommitLost { .. } | Damage::Truncated { .. }) {
            // What was before that COMMIT, and behind the end of the file, comes before it.
            let end = Location { offset: self.len_of(at.segment)?, ..at };
            self.gone(end, at)?;
            self.cut.insert(at.segment, at.offset.max(end.offset));
        }
        let place = Pass::place(at);
        if is_refusal {
            self.report.refusal(place, &damage)?;
        } else {
            self.report.add(&Finding { len: Some(len.into()), ..Finding::damage(place, damage.clone()) })?;
        }
        // A COMMIT that is wrong is one all the same: there was no other record in its place.
        let is_of_commit =
            matches!(damage, Damage::Chain { .. } | Damage::Transaction { .. } | Damage::CommitLost { .. });
        if at.offset > 0 && !is_of_commit {
            self.torn.insert(at.segment);
            self.gone(at, Location { offset: at.offset.saturating_add(len), ..at })?;
        }
        Ok(())
    }

    fn tail(&mut self, at: Location, len: u32, last: CommitId) -> Result<()> {
        let until = Location { offset: at.offset.saturating_add(len), ..at };
        if self.is_acknowledged(at, until)? {
            let damage = Damage::CommitLost { commit: CommitId(last.0.saturating_add(1)) };
            let report = &mut self.open(at.segment).report;
            report.bad = report.bad.saturating_add(1);
            let finding = Finding::damage(Pass::place(at), damage);
            self.report.add(&Finding { len: Some(len.into()), ..finding })?;
            return self.account_for(at, until);
        }
        let mut finding =
            Finding::notice(Pass::place(at), "bytes of a transaction that was never committed; ignored");
        finding.len = Some(len.into());
        self.report.add(&finding)
    }

    fn refused(&mut self, error: Error) -> Result<Damage> {
        refusal(error)
    }

    fn segment_done(&mut self, end: SegmentEnd) -> Result<()> {
        let SegmentEnd { segment: id, len, read } = end;
        let skipped = self.skipped.contains(&id);
        if !read && !skipped {
            return Ok(());
        }
        let is_unreadable = self.open(id).report.unreadable;
        self.is_doubtful |= is_unreadable;
        let present = len.is_some() || is_unreadable;
        if !present {
            self.open(id).report.bad = 1;
            self.report.damage(Place::whole(file_name(id)), Damage::Missing)?;
        }
        // What is not in the file, and what was behind its end.
        let cut =
            self.cut.remove(&id).or(len.is_none().then_some(0)).or_else(|| self.end_if_shorter(id, len));
        if let Some(offset) = cut.filter(|_| read || skipped) {
            self.gone(Location { segment: id, offset }, Location { segment: id, offset: u32::MAX })?;
        }
        let unbacked = if read && len.is_some() { self.account(id)? } else { 0 };
        let sealed = self.state.segments.active() != Some(id);
        let behind = SegmentId(id.0.saturating_add(u32::from(sealed)));
        let Open { report, counts, .. } = self.open.remove(&id).unwrap_or_default();
        let report = SegmentReport {
            segment: id,
            bytes: len.unwrap_or_default(),
            records: counts.records,
            live: counts.live,
            ok: counts.ok,
            bad: report.bad.saturating_add(counts.bad).saturating_add(unbacked),
            sealed,
            present,
            skipped,
            next: Location { segment: behind, offset: 0 },
            ..report
        };
        if read {
            let summary = &mut self.report.summary;
            summary.segments = summary.segments.saturating_add(u64::from(report.present));
            summary.bytes = summary.bytes.saturating_add(report.bytes);
        }
        self.tell_progress();
        self.report.sink.segment(&report)
    }

    fn progress(&mut self, at: Location) -> Result<()> {
        self.stop.check()?;
        self.progress.bytes = self.report.summary.bytes.saturating_add(at.offset.into());
        self.tell_progress();
        Ok(())
    }
}
