//! Verifies a store. Takes the reading half of the file system, so it cannot write. Beside a writer it judges the committed
//! state that it loads, and nothing that comes after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inner::{DATA_DIR, READERS_FILE};
use super::log::{LogPosition, read_log};
use super::open::{Loaded, UseIndex, load, load_true_config};
use super::state::State;
use crate::error::{Damage, Error, Place, Result};
use crate::progress::Stop;
use crate::vfs::frozen::Frozen;
use crate::vfs::{Lock, ReadVfs};

mod files;
mod finding;
mod options;
mod pass;

pub use finding::{CheckBegin, CheckSink, CheckSummary, Finding, RecordReport, SegmentReport, Severity};
pub use options::{CheckOptions, Judge, Level, Shard, Skip};

use pass::Pass;
pub(super) use pass::RECORD_GONE;

/// How long to wait for a writer that removes what a compaction left behind: as long as this takes, no reader may hold the lock.
const UNLINK_WAIT: Duration = Duration::from_secs(10);
/// How often to look whether it is done.
const UNLINK_POLL: Duration = Duration::from_millis(5);

/// Checks the store below `vfs`: its small files, each index page, then the log from the first record to the
/// last, comparing it with the index. Memory: the records of one transaction, and the index pages touched.
///
/// # Errors
/// `NoStore`, `UnsupportedVersion`, `Cancelled`, or the sink's error. Damage is a finding, not an error.
pub fn check(
    vfs: &Arc<dyn ReadVfs>,
    options: &CheckOptions<'_>,
    sink: &mut dyn CheckSink,
    stop: &Stop,
) -> Result<CheckSummary> {
    let _readers = keep_segments(vfs, stop)?;
    let (loaded, _) = load_frozen(vfs)?;
    judge(vfs, &loaded.working.state, options, sink, stop)
}

/// Checks a state that [`load_frozen`] has loaded.
pub(super) fn judge(
    vfs: &Arc<dyn ReadVfs>,
    state: &State,
    options: &CheckOptions<'_>,
    sink: &mut dyn CheckSink,
    stop: &Stop,
) -> Result<CheckSummary> {
    let config = load_true_config(vfs, &mut Vec::new())?;
    let mut report = Report { sink, summary: CheckSummary::default() };
    files::config(vfs, config.store, &mut report)?;
    files::strays(vfs, state, &mut report)?;
    files::dictionaries(vfs, state, &mut report)?;
    files::index(vfs, config, state, &mut report)?;
    let mut position = LogPosition::default();
    let segments = state.segments.clone();
    let mut pass = Pass::new(state, options, &mut report, stop)?;
    read_log(&segments, &mut position, &mut pass)?;
    pass.finish(position)?;
    Ok(report.summary)
}

/// Loads the state to judge. Its segments are as long as they were when it was read: what a writer appends meanwhile is
/// not in its index, and is no business of this check. Returns where it was loaded from, too.
pub(super) fn load_frozen(vfs: &Arc<dyn ReadVfs>) -> Result<(Loaded, Arc<dyn ReadVfs>)> {
    let freeze = || -> Arc<dyn ReadVfs> { Arc::new(Frozen::new(vfs.clone(), DATA_DIR)) };
    let mut frozen = freeze();
    let loaded = match load(&frozen, UseIndex::Newest, false) {
        Err(error) if error.is_damage() => {
            frozen = freeze();
            load(&frozen, UseIndex::Never, false)?
        }
        loaded => loaded?,
    };
    Ok((loaded, frozen))
}

/// Takes the readers' lock, so that no segment is unlinked as long as the check goes on. `None` where the medium is
/// read-only, or where somebody holds the lock for longer than any unlinking takes.
pub(super) fn keep_segments(vfs: &Arc<dyn ReadVfs>, stop: &Stop) -> Result<Option<Box<dyn Lock>>> {
    // Waiting is measured, nothing that is told depends on it.
    let start = Instant::now();
    loop {
        match vfs.lock_shared(READERS_FILE) {
            Err(Error::Locked { .. }) if start.elapsed() < UNLINK_WAIT => {
                stop.check()?;
                std::thread::sleep(UNLINK_POLL);
            }
            Err(Error::Locked { .. }) => return Ok(None),
            lock => return lock,
        }
    }
}

/// The sink, and what was told to it.
struct Report<'s> {
    sink: &'s mut dyn CheckSink,
    summary: CheckSummary,
}

impl Report<'_> {
    fn add(&mut self, finding: &Finding) -> Result<()> {
        match finding.severity {
            Severity::Damage => self.summary.damage = self.summary.damage.saturating_add(1),
            Severity::Notice => self.summary.notices = self.summary.notices.saturating_add(1),
        }
        self.sink.finding(finding)
    }

    fn damage(&mut self, place: Place, damage: Damage) -> Result<()> {
        self.add(&Finding::damage(place, damage))
    }

    fn notice(&mut self, place: Place, detail: impl Into<String>) -> Result<()> {
        self.add(&Finding::notice(place, detail))
    }

    /// Turns damage into a finding; other errors end the check.
    fn error(&mut self, error: Error) -> Result<()> {
        if let Error::Damaged { place, damage } = error { self.damage(place, damage) } else { Err(error) }
    }
}
