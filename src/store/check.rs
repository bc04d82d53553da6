//! Verifies a store. Takes the reading half of the file system, so it cannot write. Beside a writer it judges the committed
//! state that it loads, and nothing that comes after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inner::{DATA_DIR, READERS_FILE};
use super::log::{LogPosition, read_log};
use super::open::{Loaded, UseIndex, load, load_true_config};
use super::state::State;
use crate::error::{Damage, Error, Place, Result};
use crate::id::{Key, SegmentId};
use crate::progress::{Progress, Stop};
use crate::vfs::frozen::Frozen;
use crate::vfs::{Lock, ReadVfs};

mod files;
mod pass;

use pass::Pass;
pub(super) use pass::RECORD_GONE;

/// How long to wait for a writer that removes what a compaction left behind: as long as this takes, no reader may hold the lock.
const UNLINK_WAIT: Duration = Duration::from_secs(10);
/// How often to look whether it is done.
const UNLINK_POLL: Duration = Duration::from_millis(5);

/// How deep to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    /// Records parse, index entries resolve.
    Index,
    /// Every checksum of every record.
    #[default]
    Crc,
    /// Payloads decompress too, and the caller's callback accepts them.
    Content,
}

/// One thing found wrong, or worth a notice.
#[derive(Clone, Debug)]
pub struct Finding {
    /// `Damage` counts for the exit code, a notice does not.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// The record's length in bytes, where a record is meant.
    pub len: Option<u64>,
    /// What. `None` for a notice, which `detail` explains.
    pub damage: Option<Damage>,
    /// A sentence for people.
    pub detail: String,
    /// The key affected, where known.
    pub key: Option<Key>,
    /// Its name, where known.
    pub name: Option<Vec<u8>>,
    /// Whether the record is the live one of its key, where known.
    pub live: Option<bool>,
}

/// Whether a finding is damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// Bytes are wrong or missing.
    Damage,
    /// Harmless: a stray file, an uncommitted tail, an absent index.
    Notice,
}

/// Summary of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SegmentReport {
    /// Which.
    pub segment: SegmentId,
    /// Its length in bytes.
    pub bytes: u64,
    /// Records seen.
    pub records: u64,
    /// Live ones among them.
    pub live: u64,
    /// Damaged places in it.
    pub bad: u64,
}

/// Receives what check has to tell, in order of segment and offset.
pub trait CheckSink {
    /// A finding.
    ///
    /// # Errors
    /// An error ends the check: its reader is gone.
    fn finding(&mut self, finding: &Finding) -> Result<()>;
    /// A segment is done.
    ///
    /// # Errors
    /// As for a finding.
    fn segment(&mut self, report: &SegmentReport) -> Result<()>;
    /// How far it is; often.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
    }
    /// At level `Content`: judges a decoded snapshot (`name`, `meta`, `body`); the reason if it is bad.
    fn content(&mut self, snapshot: &super::Snapshot<'_>, body: &[u8]) -> Option<String> {
        let _ = (snapshot, body);
        None
    }
}

/// Counts of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CheckSummary {
    /// Segments read.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Live snapshots found good.
    pub ok: u64,
    /// Damage found.
    pub damage: u64,
    /// Notices.
    pub notices: u64,
}

/// Checks the store below `vfs`: its small files, each index page, then the log from the first record to the
/// last, comparing it with the index. Memory: the records of one transaction, and the index pages touched.
///
/// # Errors
/// `NoStore`, `UnsupportedVersion`, `Cancelled`, or the sink's error. Damage is a finding, not an error.
pub fn check(
    vfs: &Arc<dyn ReadVfs>,
    level: Level,
    sink: &mut dyn CheckSink,
    stop: &Stop,
) -> Result<CheckSummary> {
    let _readers = keep_segments(vfs, stop)?;
    let (loaded, _) = load_frozen(vfs)?;
    judge(vfs, &loaded.working.state, level, sink, stop)
}

/// Checks a state that [`load_frozen`] has loaded.
pub(super) fn judge(
    vfs: &Arc<dyn ReadVfs>,
    state: &State,
    level: Level,
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
    let mut pass = Pass::new(state, level, &mut report, stop)?;
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

impl Finding {
    fn damage(place: Place, damage: Damage) -> Finding {
        let detail = damage.to_string();
        Finding {
            severity: Severity::Damage,
            place,
            len: None,
            damage: Some(damage),
            detail,
            key: None,
            name: None,
            live: None,
        }
    }

    fn notice(place: Place, detail: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Notice,
            place,
            len: None,
            damage: None,
            detail: detail.into(),
            key: None,
            name: None,
            live: None,
        }
    }
}
