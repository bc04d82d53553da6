//! The pass over the log: what its reader tells becomes findings, counts and reports of segments.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::{Claim, ClaimKind, Claims};
use super::survey::{Counts, Noted, Told};
use super::{Finding, Report, SegmentReport};
use crate::error::{Damage, Error, Place, Result};
use crate::format::segment::file_name;
use crate::id::{Location, SegmentId};
use crate::index::{RecordKeys, Totals};
use crate::progress::{Progress, Stop};
use crate::store::log::piece::refusal;
use crate::store::log::{LogSink, SegmentEnd, Transaction};
use crate::store::state::{Keys, State};

/// What the pass has to do with segments.
pub(super) struct Pass<'p, 'r> {
    state: &'p State,
    report: &'p mut Report<'r>,
    stop: &'p Stop,
    claims: Claims<'p>,
    progress: Progress,
    counts: Counts,
    /// Segments of which more may come.
    open: BTreeMap<SegmentId, SegmentReport>,
    /// Claims that were told to be gone: entries, runs.
    gone: (u64, u64),
    /// Segments in which bytes are no records.
    torn: BTreeSet<SegmentId>,
    /// Segments that end too early, and up to where it is told what was behind their ends.
    cut: BTreeMap<SegmentId, u32>,
    /// Segments that need not be read.
    skipped: &'p BTreeSet<SegmentId>,
}

impl<'p, 'r> Pass<'p, 'r> {
    pub(super) fn new(
        state: &'p State,
        report: &'p mut Report<'r>,
        stop: &'p Stop,
        skipped: &'p BTreeSet<SegmentId>,
        bytes_total: u64,
    ) -> Pass<'p, 'r> {
        Pass {
            state,
            report,
            stop,
            claims: Claims::new(state),
            progress: Progress { bytes_total, ..Progress::default() },
            counts: Counts::default(),
            open: BTreeMap::new(),
            gone: (0, 0),
            torn: BTreeSet::new(),
            cut: BTreeMap::new(),
            skipped,
        }
    }

    fn place(at: Location) -> Place {
        Place::at(file_name(at.segment), at.offset.into())
    }

    fn segment(&mut self, id: SegmentId) -> &mut SegmentReport {
        self.open.entry(id).or_insert_with(|| SegmentReport { segment: id, ..SegmentReport::default() })
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
        let count = if claim.kind == ClaimKind::Run { &mut self.gone.1 } else { &mut self.gone.0 };
        *count = count.saturating_add(1);
        self.add_claim(claim, Damage::Gone)
    }

    fn add_claim(&mut self, claim: &Claim, damage: Damage) -> Result<()> {
        self.report.add(&Finding::gone(claim, damage))
    }

    /// Ends the pass. `whole`: the log was read from end to end, so that all claims can be accounted for.
    pub(super) fn finish(mut self, whole: bool) -> Result<()> {
        if whole
            && self.counts.unknown == 0
            && !self.claims.is_blind()
            && !self.is_backed(self.state.overlay.totals())
        {
            self.unbacked()?;
        }
        self.tell_progress();
        Ok(())
    }

    /// Each entry of the index names a place of its own: if as many records were found in the places that it names as it has
    /// entries, every entry is right.
    fn is_backed(&self, claimed: Totals) -> bool {
        let entries = claimed.snapshots.saturating_add(claimed.aliases).saturating_add(claimed.tombstones);
        let (gone, runs_gone) = self.gone;
        entries == self.counts.entries.saturating_add(gone)
            && claimed.runs == self.counts.runs.saturating_add(runs_gone)
    }

    /// Looks for entries that name a place where there is no such record, though no bytes are missing there.
    fn unbacked(&mut self) -> Result<()> {
        let state = self.state;
        let keys = Keys(&state.segments);
        let mut wrong = Vec::new();
        let (torn, stop) = (&self.torn, self.stop);
        let mut claimed = (0u64, 0u64);
        let told = self.claims.each(&mut |claim| {
            stop.check()?;
            let count = if claim.kind == ClaimKind::Run { &mut claimed.1 } else { &mut claimed.0 };
            *count = count.saturating_add(1);
            let is_there = || state.segments.ids().binary_search(&claim.at.segment).is_ok();
            // What is in places that do not hold was told there.
            if torn.contains(&claim.at.segment) || !is_there() {
                return Ok(());
            }
            let backed = keys.key_at(claim.at)?.is_some_and(|key| key.run == claim.run);
            if !backed && wrong.len() < WRONG_MAX {
                wrong.push(claim);
            }
            Ok(())
        });
        match told {
            Err(Error::Damaged { place, damage }) => self.report.damage(place, damage)?,
            told => told?,
        }
        let found =
            (self.counts.entries.saturating_add(self.gone.0), self.counts.runs.saturating_add(self.gone.1));
        if claimed == found {
            // What it counts and no record backs are runs whose own record is lost, and deletions that nothing needs any more.
            return Ok(());
        }
        if wrong.is_empty() {
            let file = state.layers.first().map_or("index", |layer| layer.name());
            let what = "it has other entries than the log has records";
            return self.report.damage(Place::whole(file), Damage::Index { what });
        }
        wrong.iter().try_for_each(|claim| {
            self.add_claim(claim, Damage::Index { what: "there is no such record in the place it names" })
        })
    }

    fn tell_progress(&mut self) {
        self.progress.items = self.report.summary.records;
        self.progress.findings = self.report.summary.damage;
        self.report.sink.progress(&self.progress);
    }
}

/// Entries that name wrong places and are told one by one: an index with that many is to be built anew in any case.
const WRONG_MAX: usize = 1000;

impl LogSink<Noted> for Pass<'_, '_> {
    fn committed(&mut self, notes: Noted) -> Result<()> {
        let Some(id) = notes.segment else { return Ok(()) };
        let counts = notes.counts;
        let segment = self.segment(id);
        segment.records = segment.records.saturating_add(counts.records);
        segment.live = segment.live.saturating_add(counts.live);
        segment.ok = segment.ok.saturating_add(counts.ok);
        segment.bad = segment.bad.saturating_add(counts.bad);
        self.counts.entries = self.counts.entries.saturating_add(counts.entries);
        self.counts.runs = self.counts.runs.saturating_add(counts.runs);
        self.counts.unknown = self.counts.unknown.saturating_add(counts.unknown);
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

    fn transaction(&mut self, _: &Transaction<'_>) -> Result<()> {
        Ok(())
    }

    fn damage(&mut self, at: Location, len: u32, damage: Damage) -> Result<()> {
        self.stop.check()?;
        let segment = self.segment(at.segment);
        segment.bad = segment.bad.saturating_add(1);
        let is_refusal = matches!(damage, Damage::Unreadable { .. });
        segment.unreadable |= is_refusal;
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
            self.report.add(&Finding { len: Some(len.into()), ..Finding::damage(place, damage) })?;
        }
        if at.offset > 0 {
            self.torn.insert(at.segment);
            self.gone(at, Location { offset: at.offset.saturating_add(len), ..at })?;
        }
        Ok(())
    }

    fn tail(&mut self, at: Location, len: u32) -> Result<()> {
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
        let mut report = self.open.remove(&id).unwrap_or_default();
        report.segment = id;
        report.skipped = skipped;
        report.present = len.is_some() || report.unreadable;
        report.bytes = len.unwrap_or_default();
        report.sealed = self.state.segments.active() != Some(id);
        let behind = SegmentId(id.0.saturating_add(u32::from(report.sealed)));
        report.next = Location { segment: behind, offset: 0 };
        if !report.present {
            report.bad = report.bad.saturating_add(1);
            self.report.damage(Place::whole(file_name(id)), Damage::Missing)?;
        }
        // What is not in the file, and what was behind its end.
        if let Some(offset) = self.cut.remove(&id).or(len.is_none().then_some(0)) {
            self.gone(Location { segment: id, offset }, Location { segment: id, offset: u32::MAX })?;
        }
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
