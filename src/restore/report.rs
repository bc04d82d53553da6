//! What a restore tells while it works: events, progress, counts. Also where it asks whether to stop.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::id::RunKey;
use crate::progress::{Progress, Stop};
use crate::store::RunInfo;

use super::arrange::Arranged;
use super::lookup::name_of;
use super::options::RestoreOptions;
use super::resolve::RunPlan;
use super::{MissingState, RestoreEvent, RestoreSummary, RunReport};

/// Receives events; its error ends the restore.
pub(super) type Event<'a> = dyn FnMut(RestoreEvent<'_>) -> Result<()> + 'a;

/// The runs that the options select, in the order of the restore.
pub(super) fn selected<'a>(
    runs: &'a [RunInfo],
    options: &'a RestoreOptions,
) -> impl Iterator<Item = &'a RunInfo> + Clone {
    runs.iter().filter(|run| options.covers(run.key))
}

/// Collects counts and passes events on.
pub(super) struct Report<'a> {
    event: &'a mut Event<'a>,
    stop: &'a Stop,
    progress: Progress,
    /// What a run begins with, of the progress.
    base: Progress,
    last_of_instant: BTreeMap<u64, RunKey>,
    /// What was done of the run.
    pub(super) run: RunReport,
    /// What was done so far.
    pub(super) summary: RestoreSummary,
}

impl<'a> Report<'a> {
    /// Begins with the totals of the runs to come.
    pub(super) fn new<'r>(
        runs: impl Iterator<Item = &'r RunInfo>,
        event: &'a mut Event<'a>,
        stop: &'a Stop,
    ) -> Report<'a> {
        let mut progress = Progress::default();
        let mut last_of_instant = BTreeMap::new();
        for run in runs {
            progress.items_total = progress.items_total.saturating_add(run.snapshots);
            progress.bytes_total = progress.bytes_total.saturating_add(run.bytes);
            last_of_instant.insert(run.key.instant().0, run.key);
        }
        let (run, summary) = (RunReport::default(), RestoreSummary::default());
        Report { event, stop, progress, base: progress, last_of_instant, run, summary }
    }

    /// Returns `Cancelled` if asked to stop.
    pub(super) fn check(&self) -> Result<()> {
        self.stop.check()
    }

    /// A run begins. That its own record is damaged is told first.
    pub(super) fn begin(&mut self, run: &RunInfo) -> Result<()> {
        let settles = self.last_of_instant.get(&run.key.instant().0) == Some(&run.key);
        self.run = RunReport { name: run.name.clone(), key: run.key, settles, ..RunReport::default() };
        self.base = self.progress;
        add(&mut self.summary.runs, 1);
        (self.event)(RestoreEvent::Run { name: &run.name })?;
        run.error().map_or(Ok(()), |error| self.damaged(error))
    }

    /// It is decided what the run's bundle holds and in which order.
    pub(super) fn decided(&mut self, runs: &[RunInfo], plan: &RunPlan, arranged: &Arranged) -> Result<()> {
        let mut from: BTreeMap<RunKey, u64> = BTreeMap::new();
        for found in plan.resolved.iter().filter(|found| !found.repeated) {
            add(from.entry(found.target.run).or_default(), 1);
        }
        for (run, count) in from {
            add(self.run.from.entry(name_of(runs, run).into_owned()).or_default(), count);
        }
        for missing in &plan.missing {
            add(
                if missing.state == MissingState::Absent {
                    &mut self.run.absent
                } else {
                    &mut self.run.earlier
                },
                1,
            );
        }
        self.run.cycles = arranged.cycles;
        for (id, reference) in &arranged.broken {
            add(&mut self.run.broken, 1);
            let (id, reference) = (&*id.bytes, &*reference.bytes);
            (self.event)(RestoreEvent::Broken { run: &self.run.name, id, reference })?;
        }
        (self.event)(RestoreEvent::Decided { run: &self.run.name })
    }

    /// Everything of the run is out.
    pub(super) fn end(&mut self, info: &RunInfo) -> Result<()> {
        let run = &self.run;
        for (sum, more) in [
            (&mut self.summary.own, run.own),
            (&mut self.summary.resolved, run.resolved),
            (&mut self.summary.missing, run.earlier.saturating_add(run.absent)),
            (&mut self.summary.absent, run.absent),
            (&mut self.summary.cycles, run.cycles),
            (&mut self.summary.broken, run.broken),
            (&mut self.summary.attachments, run.attachments),
            (&mut self.summary.bundles, run.bundles),
            (&mut self.summary.bytes, run.bytes),
        ] {
            add(sum, more);
        }
        // What a filter left out of the run is done with too.
        self.progress.items = self.base.items.saturating_add(info.snapshots);
        self.progress.bytes = self.base.bytes.saturating_add(info.bytes);
        (self.event)(RestoreEvent::Progress(&self.progress))?;
        (self.event)(RestoreEvent::Done(&self.run))
    }

    /// `items` own snapshots of `bytes` bytes are done with.
    pub(super) fn done(&mut self, items: u64, bytes: u64) -> Result<()> {
        add(&mut self.progress.items, items);
        add(&mut self.progress.bytes, bytes);
        (self.event)(RestoreEvent::Progress(&self.progress))
    }

    /// Reports an error that costs one snapshot only; any other is returned.
    pub(super) fn damaged(&mut self, error: Error) -> Result<()> {
        if !error.is_damage() {
            return Err(error);
        }
        add(&mut self.summary.damaged, 1);
        add(&mut self.progress.findings, 1);
        (self.event)(RestoreEvent::Damaged { run: &self.run.name, error: &error })
    }

    /// Reports that `count` snapshots cannot be written because of a name.
    pub(super) fn skipped(&mut self, count: u64, name: &[u8], reason: String) -> Result<()> {
        add(&mut self.summary.skipped, count);
        add(&mut self.progress.findings, 1);
        (self.event)(RestoreEvent::Skipped { run: &self.run.name, name, reason })
    }
}

/// Adds to a count. Counts of things that exist do not overflow; if one did, it would stay at the top.
pub(super) fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}
