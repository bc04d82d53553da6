//! What a restore tells while it works: events, progress, counts. Also where it asks whether to stop.

use crate::error::{Error, Result};
use crate::progress::{Progress, Stop};
use crate::store::RunInfo;

use super::{RestoreEvent, RestoreOptions, RestoreSummary};

/// The runs that the options select, in the order of the restore.
pub(super) fn selected<'a>(
    runs: &'a [RunInfo],
    options: &'a RestoreOptions,
) -> impl Iterator<Item = &'a RunInfo> + Clone {
    runs.iter().filter(|run| {
        let at = run.key.instant();
        options.after.is_none_or(|after| at > after) && options.until.is_none_or(|until| at <= until)
    })
}

/// Collects counts and passes events on.
pub(super) struct Report<'a> {
    event: &'a mut dyn FnMut(RestoreEvent<'_>),
    stop: &'a Stop,
    run: String,
    progress: Progress,
    /// What was done so far.
    pub(super) summary: RestoreSummary,
}

impl<'a> Report<'a> {
    /// Begins with the totals of the runs to come.
    pub(super) fn new<'r>(
        runs: impl Iterator<Item = &'r RunInfo>,
        event: &'a mut dyn FnMut(RestoreEvent<'_>),
        stop: &'a Stop,
    ) -> Report<'a> {
        let mut progress = Progress::default();
        for run in runs {
            progress.items_total = progress.items_total.saturating_add(run.snapshots);
            progress.bytes_total = progress.bytes_total.saturating_add(run.bytes);
        }
        Report { event, stop, run: String::new(), progress, summary: RestoreSummary::default() }
    }

    /// Returns `Cancelled` if asked to stop.
    pub(super) fn check(&self) -> Result<()> {
        self.stop.check()
    }

    /// A run begins. That its own record is damaged is told first.
    ///
    /// # Errors
    /// None: damage is an event.
    pub(super) fn run(&mut self, run: &RunInfo) -> Result<()> {
        self.run.clear();
        self.run.push_str(&run.name);
        add(&mut self.summary.runs, 1);
        (self.event)(RestoreEvent::Run { name: &run.name });
        run.error().map_or(Ok(()), |error| self.damaged(error))
    }

    /// `items` own snapshots of `bytes` bytes are done with.
    pub(super) fn done(&mut self, items: u64, bytes: u64) {
        add(&mut self.progress.items, items);
        add(&mut self.progress.bytes, bytes);
        (self.event)(RestoreEvent::Progress(&self.progress));
    }

    /// Reports an error that costs one snapshot only; any other is returned.
    pub(super) fn damaged(&mut self, error: Error) -> Result<()> {
        if !error.is_damage() {
            return Err(error);
        }
        add(&mut self.summary.damaged, 1);
        add(&mut self.progress.findings, 1);
        (self.event)(RestoreEvent::Damaged { run: &self.run, error: &error });
        Ok(())
    }

    /// Reports that `count` snapshots cannot be written because of a name.
    pub(super) fn skipped(&mut self, count: u64, name: &[u8], reason: String) {
        add(&mut self.summary.skipped, count);
        add(&mut self.progress.findings, 1);
        (self.event)(RestoreEvent::Skipped { run: &self.run, name, reason });
    }
}

/// Adds to a count. Counts of things that exist do not overflow; if one did, it would stay at the top.
pub(super) fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}
