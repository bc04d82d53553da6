//! Reports that wait until what they tell of is durable.

use std::sync::Arc;

use super::scan::RunDir;
use super::{FileOutcome, FileReport, ImportSink};
use crate::error::Result;
use crate::id::CommitId;

/// A file of a run directory: the number of its entry. Its path is made when it is told of, in one buffer for all.
pub(super) type FileOf = (Arc<RunDir>, usize);

/// Reports in the order of the scan.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: Vec<(FileReport, Option<FileOf>)>,
    path: Vec<Vec<u8>>,
}

impl Reports {
    /// Tells whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns how many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a report that is to wait. `file`: where its path is to come from, unless it has one.
    pub(super) fn push(&mut self, report: FileReport, file: Option<FileOf>) {
        self.waiting.push((report, file));
    }

    /// Tells of what is durable already, or needs not be.
    ///
    /// # Errors
    /// Those of the sink.
    pub(super) fn tell(
        &mut self,
        mut report: FileReport,
        file: Option<FileOf>,
        sink: &mut dyn ImportSink,
    ) -> Result<()> {
        let Some((dir, index)) = file else { return sink.file(&report) };
        report.path = std::mem::take(&mut self.path);
        dir.write_path(index, &mut report.path);
        let told = sink.file(&report);
        self.path = report.path;
        told
    }

    /// Tells of all that wait, now that this commit has made them durable.
    ///
    /// # Errors
    /// Those of the sink; what comes after is not told.
    pub(super) fn tell_all(&mut self, commit: CommitId, sink: &mut dyn ImportSink) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        for (mut report, file) in waiting.drain(..) {
            let is_written =
                matches!(report.outcome, FileOutcome::Added | FileOutcome::Updated | FileOutcome::Removed);
            report.commit = is_written.then_some(commit);
            self.tell(report, file, sink)?;
        }
        self.waiting = waiting;
        Ok(())
    }
}
