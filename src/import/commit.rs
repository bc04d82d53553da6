//! The last step, on the calling thread: takes prepared files in scan order, puts them, commits by group, and
//! reports each only when it is durable.
//!
//! Groups end by bytes and by count, never by time, so the segments are the same for any number of workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::alias;
use super::buffers::{Buffers, Payload};
use super::group::Group;
use super::mirror::Removals;
use super::prepare::{Content, Done, PreparedFile, WARNINGS_MAX_IDS};
use super::reason;
use super::reports::{FileOf, Reports};
use super::scan::{RunDir, file_name_of};
use super::seen::Notes;
use super::target::{Known, Stored, Target};
use super::timings::Meter;
use super::{FileOutcome, FileReport, ImportSink, ImportSummary};
use crate::error::{Error, Result};
use crate::id::RunKey;
use crate::progress::Progress;
use crate::store::{Body, Outcome, Put, PutKind};

/// The run directory being taken.
#[derive(Debug)]
struct CurrentRun {
    dir: Arc<RunDir>,
    key: RunKey,
    /// What the run's first report is to carry.
    warning: Option<String>,
    /// Whether a file of it has, or had, ids other than its name.
    odd: bool,
    /// Such ids seen so far, and the number of the entry they were last seen in.
    ids: BTreeMap<Vec<u8>, usize>,
}

/// The last step.
pub(super) struct Committer<'a, T> {
    pub(super) target: T,
    sink: &'a mut dyn ImportSink,
    dry_run: bool,
    pub(super) removals: Removals,
    group: Group,
    reports: Reports,
    run: Option<CurrentRun>,
    /// Runs that came in pieces, by name.
    pieces_of: BTreeSet<String>,
    /// Those of them that have, or had, ids other than names.
    odd_runs: BTreeSet<RunKey>,
    /// What the next import may know again.
    pub(super) notes: Notes,
    /// The calling thread's time.
    pub(super) meter: Meter,
    /// Where payloads go once they are put.
    pub(super) buffers: Buffers,
    summary: ImportSummary,
    progress: Progress,
}

impl<'a, T: Target> Committer<'a, T> {
    /// A committer with nothing taken yet.
    pub(super) fn new(
        target: T,
        sink: &'a mut dyn ImportSink,
        dry_run: bool,
        removals: Removals,
    ) -> Committer<'a, T> {
        let summary = ImportSummary { commit: target.commit_before(), ..ImportSummary::default() };
        Committer {
            target,
            sink,
            dry_run,
            removals,
            group: Group::default(),
            reports: Reports::default(),
            run: None,
            pieces_of: BTreeSet::new(),
            odd_runs: BTreeSet::new(),
            notes: Notes::default(),
            meter: Meter::new(false),
            buffers: Buffers::default(),
            summary,
            progress: Progress::default(),
        }
    }

    /// Takes the next item in scan order.
    ///
    /// # Errors
    /// Failures of the store and of the sink; the open group is then to be rolled back.
    pub(super) fn take(&mut self, done: Done) -> Result<()> {
        match done {
            Done::Report(report) => self.report(report, None)?,
            Done::Begin(dir) => self.begin(dir)?,
            Done::File(file) => self.file(file)?,
            Done::End(dir) => self.end(&dir)?,
        }
        self.commit_if_full()
    }

    /// Says how many files there are, once that is known.
    pub(super) fn set_total(&mut self, files: u64) {
        self.progress.items_total = files;
        self.sink.progress(&self.progress);
    }

    /// Commits what is open and returns the counts.
    ///
    /// # Errors
    /// As [`take`](Committer::take).
    pub(super) fn finish(&mut self) -> Result<ImportSummary> {
        for run in std::mem::take(&mut self.odd_runs) {
            if !self.dry_run {
                self.settle(run)?;
            }
        }
        self.commit()?;
        Ok(self.summary)
    }

    #[cfg(test)]
    pub(super) fn finish_with_target(mut self) -> Result<(T, ImportSummary)> {
        self.commit()?;
        Ok((self.target, self.summary))
    }

    fn begin(&mut self, dir: Arc<RunDir>) -> Result<()> {
        if dir.is_whole || self.pieces_of.insert(dir.entry.name.clone()) {
            count(&mut self.summary.runs);
        }
        let key = if self.dry_run {
            dir.stored.get().copied().flatten().unwrap_or(RunKey::new(dir.entry.at, 0))
        } else {
            let (key, outcome) = self.target.put_run(dir.entry.at, &dir.entry.name, &dir.meta)?;
            if outcome != Outcome::Unchanged {
                self.group.add(0);
            }
            key
        };
        if dir.is_whole {
            self.notes.begin(&dir.entry.name);
        }
        let warning = dir.entry.warning.clone();
        self.run = Some(CurrentRun { dir, key, warning, odd: false, ids: BTreeMap::new() });
        Ok(())
    }

    fn file(&mut self, mut file: PreparedFile) -> Result<()> {
        let Some(mut run) = self.run.take() else { return Ok(()) };
        let had_ids = matches!(&file.known, Known::File { ids } if !ids.is_empty());
        run.odd |= had_ids || !file.ids.is_empty();
        if run.dir.is_whole {
            warn_of_rivals(&mut file, &mut run);
        }
        let (outcome, reason) = match self.put_file(&mut file, &run) {
            Ok(decided) => decided,
            Err(error) => {
                let Some(code) = reason::of_put(&error) else { return Err(error) };
                (FileOutcome::Rejected, Some((code, error.to_string())))
            }
        };
        if outcome == FileOutcome::Updated && had_ids {
            self.forget_ids(&file, &run)?;
        }
        let of = Arc::clone(&run.dir);
        self.run = Some(run);
        if file.is_opened {
            self.summary.bytes = self.summary.bytes.saturating_add(file.bytes);
        } else {
            count(&mut self.summary.unopened);
        }
        count(&mut self.progress.items);
        self.progress.bytes = self.summary.bytes;
        let warnings = if reason.is_none() { file.warnings } else { Vec::new() };
        let (path, bytes) = (Vec::new(), file.bytes);
        let report = FileReport { path, outcome, bytes, commit: None, reason, warnings };
        self.report(report, Some((of, file.index)))
    }

    /// Puts a file, or says why not.
    fn put_file(
        &mut self,
        file: &mut PreparedFile,
        run: &CurrentRun,
    ) -> Result<(FileOutcome, Option<(&'static str, String)>)> {
        let (meta, object, payload) = match std::mem::replace(&mut file.content, Content::Same) {
            Content::Same => {
                if let (Some(digest), Some(checksum)) = (file.digest, file.checksum) {
                    self.notes.known(digest, !file.ids.is_empty(), checksum);
                }
                return Ok((FileOutcome::Unchanged, None));
            }
            Content::Bad { code, detail } => return Ok((FileOutcome::Rejected, Some((code, detail)))),
            Content::New { meta, object, payload } => (meta, object, payload),
        };
        let is_new = matches!(file.known, Known::Absent | Known::Alias);
        if self.dry_run {
            return Ok((if is_new { FileOutcome::Added } else { FileOutcome::Updated }, None));
        }
        let name = run.dir.snapshot_name(file.index);
        // Of two in one transaction both would be written, were they the same or not.
        let is_pending = file.is_repeat && self.target.is_pending(name, run.key);
        if is_pending || self.group.ends_before(file.bytes) {
            self.commit()?;
        }
        let body = match &payload {
            Payload::Raw(bytes) => Body::Raw(bytes),
            Payload::Encoded(encoded) => Body::Encoded(encoded),
        };
        let put = Put { name, run: run.key, kind: PutKind::Snapshot, meta: &meta, object, body };
        let begun = self.meter.start();
        let outcome = self.target.put(&put);
        self.meter.stop(begun, |timings| &mut timings.append);
        self.buffers.give(payload.into_buffer());
        let outcome = outcome?;
        if outcome != Outcome::Unchanged {
            self.group.add(file.bytes);
            if let Some(digest) = file.digest {
                self.notes.put(digest, !file.ids.is_empty(), self.target.pending());
            }
        }
        Ok((
            match outcome {
                Outcome::Unchanged => FileOutcome::Unchanged,
                // The store calls a file that takes an alias's place an update.
                Outcome::Updated if file.known == Known::Alias => FileOutcome::Added,
                Outcome::Added => FileOutcome::Added,
                Outcome::Updated => FileOutcome::Updated,
            },
            None,
        ))
    }

    /// Deletes the aliases that only the file's former content gave, in the transaction of the new one: if
    /// the import ends before the run's end, nothing would tell the next one that they are stale.
    fn forget_ids(&mut self, file: &PreparedFile, run: &CurrentRun) -> Result<()> {
        let Known::File { ids } = &file.known else { return Ok(()) };
        let name = run.dir.snapshot_name(file.index);
        for id in ids.iter().filter(|id| !file.ids.contains(id)) {
            self.delete_alias(id, name, run.key)?;
        }
        Ok(())
    }

    /// Deletes the record of `id` if it is an alias of `file`.
    pub(super) fn delete_alias(&mut self, id: &[u8], file: &[u8], run: RunKey) -> Result<()> {
        if self.dry_run {
            return Ok(());
        }
        let is_alias = match self.target.record(id, run) {
            Ok(record) => record == Some(Stored::Alias { file: file.to_vec() }),
            Err(error) if error.is_damage() => false,
            Err(error) => return Err(error),
        };
        if is_alias && self.target.delete(id, run)? {
            self.group.add(0);
        }
        Ok(())
    }

    fn end(&mut self, dir: &RunDir) -> Result<()> {
        if !dir.is_whole {
            // More of the run may come, and settling reads all of it: once, at the end.
            let run = self.run.take().filter(|run| run.odd);
            self.odd_runs.extend(run.map(|run| run.key));
            return Ok(());
        }
        let odd_gone = self.remove_gone_files(dir)?;
        self.notes.end();
        let Some(run) = self.run.take() else { return Ok(()) };
        if let Some(warning) = run.warning {
            tracing::warn!("{warning}");
        }
        if (run.odd || odd_gone) && !self.dry_run {
            self.settle(run.key)?;
        }
        Ok(())
    }

    fn settle(&mut self, run: RunKey) -> Result<()> {
        alias::settle(
            self,
            run,
            |committer| &mut committer.target,
            |committer| {
                committer.group.add(0);
                committer.commit_if_full()
            },
        )
    }

    /// Deletes a snapshot that the tree no longer holds, with its aliases. Its report is `Removed`.
    pub(super) fn remove(&mut self, run_name: &str, run: RunKey, name: &[u8], ids: &[Vec<u8>]) -> Result<()> {
        self.removals.spend()?;
        if !self.dry_run {
            if self.target.delete(name, run)? {
                self.group.add(0);
            }
            for id in ids {
                self.delete_alias(id, name, run)?;
            }
        }
        let path = vec![run_name.as_bytes().to_vec(), file_name_of(name)];
        let outcome = FileOutcome::Removed;
        let (commit, reason, warnings) = (None, None, Vec::new());
        self.report(FileReport { path, outcome, bytes: 0, commit, reason, warnings }, None)?;
        self.commit_if_full()
    }

    /// Deletes the empty record of a run that the tree no longer holds.
    pub(super) fn remove_run(&mut self, run: RunKey) -> Result<()> {
        if self.dry_run {
            return Ok(());
        }
        match self.target.delete_run(run) {
            Ok(true) => self.group.add(0),
            Ok(false) => {}
            // A damaged record in it could not be named, hence not deleted: `check` knows of it.
            Err(Error::BadInput { reason, .. }) => tracing::warn!("a run is gone and stays: {reason}"),
            Err(error) => return Err(error),
        }
        self.commit_if_full()
    }

    fn report(&mut self, mut report: FileReport, file: Option<FileOf>) -> Result<()> {
        if let Some(warning) = self.run.as_mut().and_then(|run| run.warning.take()) {
            report.warnings.insert(0, warning);
        }
        match report.outcome {
            FileOutcome::Added => count(&mut self.summary.added),
            FileOutcome::Updated => count(&mut self.summary.updated),
            FileOutcome::Unchanged => count(&mut self.summary.unchanged),
            FileOutcome::Removed => count(&mut self.summary.removed),
            FileOutcome::Rejected => count(&mut self.summary.rejected),
            FileOutcome::Ignored => count(&mut self.summary.ignored),
        }
        self.progress.findings = self.summary.rejected;
        self.sink.progress(&self.progress);
        if self.group.is_empty() && self.reports.is_empty() {
            return self.reports.tell(report, file, self.sink);
        }
        self.reports.push(report, file);
        Ok(())
    }

    fn commit_if_full(&mut self) -> Result<()> {
        if self.group.is_full(self.reports.len()) { self.commit() } else { Ok(()) }
    }

    /// Makes the group durable, then reports it.
    pub(super) fn commit(&mut self) -> Result<()> {
        if !self.group.is_empty() {
            let checksums =
                if self.notes.is_waiting() { self.target.checksums()?.to_vec() } else { Vec::new() };
            let begun = self.meter.start();
            let commit = self.target.commit();
            self.meter.stop(begun, |timings| &mut timings.fsync);
            self.summary.commit = commit?;
            self.notes.committed(&checksums);
            self.group = Group::default();
        }
        self.reports.tell_all(self.summary.commit, self.sink)
    }
}

/// E20, E21: says who else in the run directory has an id of the file, and who wins.
fn warn_of_rivals(file: &mut PreparedFile, run: &mut CurrentRun) {
    for (number, id) in file.ids.iter().enumerate() {
        let text = String::from_utf8_lossy(id);
        let before = run.ids.insert(id.clone(), file.index);
        if number >= WARNINGS_MAX_IDS {
            continue;
        }
        if run.dir.has_file(id) {
            file.warnings.push(format!("object {text:?} has a file of that name, by which it is found"));
        } else if let Some(before) = before.filter(|before| *before != file.index) {
            let before = run.dir.file_name(before).to_string_lossy();
            file.warnings.push(format!("object {text:?} is in {before:?} too; it is found in this file"));
        }
    }
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

#[cfg(test)]
mod tests;
