//! What a repair looks at, and what it finds.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, Place, Result};
use crate::format::segment;
use crate::id::SegmentId;
use crate::progress::Stop;
use crate::store::check::{CheckOptions, CheckSink, Finding, SegmentReport, Severity, check};
use crate::vfs::ReadVfs;

/// What a repair may touch: what an earlier check has found damaged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RepairScope {
    /// Segments.
    pub segments: BTreeSet<SegmentId>,
    /// Other files: their paths below the store's directory. That the index is wrong about the log is said by `index`.
    pub files: BTreeSet<String>,
}

impl RepairScope {
    fn has(&self, file: &str) -> bool {
        match file.strip_prefix("data/").and_then(segment::parse_file_name) {
            Some(id) => self.segments.contains(&id),
            None => self.files.contains(file),
        }
    }
}

/// What a check has found, as far as it concerns a repair.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Within the scope.
    pub(super) all: Vec<Finding>,
}

/// Gathers the findings of a check.
pub(super) struct Findings<'s> {
    pub(super) scope: Option<&'s RepairScope>,
    pub(super) found: Found,
}

impl CheckSink for Findings<'_> {
    fn finding(&mut self, finding: &Finding) -> Result<()> {
        if self.scope.is_none_or(|scope| scope.has(&finding.place.file)) {
            self.found.all.push(finding.clone());
        }
        Ok(())
    }

    /// What cannot be read today may be readable tomorrow: nothing is given up for it.
    fn unreadable(&mut self, _: &Place, error: &Error) -> Result<()> {
        Err(error.again())
    }

    fn segment(&mut self, _: &SegmentReport) -> Result<()> {
        Ok(())
    }
}

/// Checks and gathers.
pub(super) fn look(read: &Arc<dyn ReadVfs>, scope: Option<&RepairScope>, stop: &Stop) -> Result<Found> {
    let mut findings = Findings { scope, found: Found::default() };
    // All is read even so: that a COMMIT does not follow the one before it shows only where both are.
    check(read, &CheckOptions::default(), &mut findings, stop)?;
    Ok(findings.found)
}

impl Found {
    /// Counts those that are damage.
    pub(super) fn damage(&self) -> u64 {
        let damage = self.all.iter().filter(|finding| finding.severity == Severity::Damage);
        u64::try_from(damage.count()).unwrap_or(u64::MAX)
    }
}
