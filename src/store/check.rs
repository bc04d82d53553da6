//! Verifies a store. Takes the reading half of the file system, so it cannot write. Beside a writer it judges the committed
//! state that it loads, and nothing that comes after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inner::{DATA_DIR, READERS_FILE};
use super::log::piece::refusal;
use super::log::{LogPosition, LogReader, Turn};
use super::open::{Loaded, UseIndex, list_segments, load};
use super::state::{IndexFile, State};
use crate::error::{Damage, Error, Place, Result};
use crate::format::hints::Hints;
use crate::format::segment::{self, CommitLink};
use crate::id::{Location, SegmentId, StoreId};
use crate::index::{Covered, Places};
use crate::progress::Stop;
use crate::vfs::frozen::Frozen;
use crate::vfs::{Lock, ReadVfs};

mod ahead;
mod claims;
mod entries;
mod files;
mod finding;
mod gone;
mod options;
mod pass;
mod scope;
mod survey;

pub(super) use claims::{Claim, Claims};
pub use finding::{
    CheckBegin, CheckSink, CheckSummary, Finding, RecordKind, RecordReport, SegmentReport, Severity,
};
pub use options::{CheckOptions, Judge, Judgement, Level, Remark, Shard, Skip};

use ahead::Ahead;
use pass::Pass;
use scope::{Part, Scope};
use survey::Inspect;

/// How long to wait for a writer that removes what a compaction left behind: as long as this takes, no reader may hold the lock.
const UNLINK_WAIT: Duration = Duration::from_secs(10);
/// Threads that a check starts at most: far more than pay.
const JOBS_MAX: usize = 256;
/// How often to look whether it is done.
const UNLINK_POLL: Duration = Duration::from_millis(5);

/// Checks the store below `vfs`: its small files, each index page, then the log from the first record to the
/// last, in order, each record against the index. Each byte is read once, unless there is more to tell of a transaction than
/// 8 MiB hold: that transaction is read twice.
///
/// Memory: a few pieces of a mebibyte for each thread, and at most 8 MiB of what is to be told of one transaction. Without an
/// index the log is replayed first, which takes 16 MiB, and temporary files of some 30 bytes a record, twice that for a moment
/// ([`ReadVfs::scratch`]).
///
/// Parts (`from`, `shard`, `deadline`) together tell what a check of the whole tells, but for two things. That a segment may be
/// gone which nothing lists, as the COMMIT of a compaction that might have left it out is damaged, shows in the chain of COMMITs
/// of the whole log only, and at its end. An entry too many of the index is named at its segment by the part that reads it,
/// where a whole check may name the index only.
///
/// Where the list of segments in the index is damaged, or the log had gaps when the index was made, the heads of the whole log are
/// read once more before anything is told, at every level and by each part; that is not kept within the deadline.
///
/// # Errors
/// `NoStore`, `UnsupportedVersion`, `Cancelled`, or the sink's error. Damage is a finding, not an error, and so is what the
/// system refuses to read.
pub fn check(
    vfs: &Arc<dyn ReadVfs>,
    options: &CheckOptions<'_>,
    sink: &mut dyn CheckSink,
    stop: &Stop,
) -> Result<CheckSummary> {
    let _readers = keep_segments(vfs, stop)?;
    let Moment { loaded, hidden, .. } = load_frozen(vfs)?;
    judge(vfs, &loaded, &hidden, options, sink, stop)
}

/// Checks a state that [`load_frozen`] has loaded.
pub(super) fn judge(
    vfs: &Arc<dyn ReadVfs>,
    loaded: &Loaded,
    hidden: &[SegmentId],
    options: &CheckOptions<'_>,
    sink: &mut dyn CheckSink,
    stop: &Stop,
) -> Result<CheckSummary> {
    let (config, state) = (loaded.config, &loaded.working.state);
    // Nothing is mapped: an error of the disk is then an error and not a signal.
    let state = &State { segments: Arc::new(state.segments.unmapped()), ..state.clone() };
    let gone = gone::gone(vfs, config.store, state, loaded.working.absent.clone(), stop)?;
    let scope = Scope::of(state, options, hidden, gone)?;
    sink.begin(&begin(config.store, state, &scope))?;
    let mut report = Report { sink, summary: CheckSummary::default() };
    files::config(vfs, config.store, &mut report)?;
    files::strays(vfs, state, &mut report)?;
    files::dictionaries(vfs, state, &mut report)?;
    let places = if options.level == Level::Index { Places::Searched } else { Places::Trusted };
    let hints = files::index(vfs, config, state, places, &mut report)?.unwrap_or_default();
    if options.level == Level::Index {
        report.summary.cursor = entries::check(state, &scope, options, &mut report, stop)?;
        gone::covered(&loaded.working, &scope, &mut report)?;
    } else {
        read(state, &scope, &hints, options, &mut report, stop)?;
    }
    gone::end_of_log(loaded.working.proof.as_ref(), state, &scope, &mut report)?;
    Ok(report.summary)
}

fn begin(store: StoreId, state: &State, scope: &Scope) -> CheckBegin {
    let mut begin = CheckBegin {
        store,
        commit: state.position.link.id,
        end: Location { segment: state.position.link.at.segment, offset: state.position.end },
        live: state.overlay.totals().snapshots,
        segments: 0,
        bytes: 0,
    };
    for (_, part) in &scope.parts {
        let Part::Read(len) = part else { continue };
        begin.segments = begin.segments.saturating_add(1);
        begin.bytes = begin.bytes.saturating_add(*len);
    }
    begin
}

/// Reads the log.
fn read(
    state: &State,
    scope: &Scope,
    hints: &Hints,
    options: &CheckOptions<'_>,
    report: &mut Report<'_>,
    stop: &Stop,
) -> Result<()> {
    let jobs = match options.jobs {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        jobs => jobs.min(JOBS_MAX),
    };
    let reads = scope.reads();
    let bytes = reads.iter().map(|(_, _, len)| u64::from(*len)).fold(0, u64::saturating_add);
    let CheckOptions { level, records, judge, .. } = *options;
    let survey = Inspect { state, level, records, judge, stop };
    // That these agree proves nothing of a segment by itself: a part counts what the index has there.
    let (is_part, none) = (!scope.is_whole() || options.deadline.is_some(), BTreeMap::new());
    let noted = if is_part { &none } else { &hints.segments };
    let mut pass = Pass::new(state, report, stop, &scope.skipped, noted, bytes);
    let whole = std::thread::scope(|threads| {
        let mut source = Ahead::start(threads, &survey, &state.segments, jobs, reads);
        let mut position = LogPosition::default();
        let mut reader = LogReader::new(&state.segments, &mut position, &mut source, &mut pass);
        reader.missing(scope.missing());
        let cursor = walk(&mut reader, state, scope, options)?;
        let covered = state.newest_index().map(IndexFile::covered).filter(|_| cursor.is_none());
        let link =
            |covered: Covered| CommitLink { id: covered.commit, at: covered.at, data_crc: covered.data_crc };
        reader.finish(covered.map(link))?;
        Ok::<_, Error>(cursor)
    });
    let cursor = whole?;
    pass.finish(scope.is_whole() && cursor.is_none())?;
    report.summary.cursor = cursor;
    Ok(())
}

/// Goes through the segments. Returns where the deadline ended it.
fn walk(
    reader: &mut LogReader<'_, Inspect<'_>>,
    state: &State,
    scope: &Scope,
    options: &CheckOptions<'_>,
) -> Result<Option<Location>> {
    let mut has_read = false;
    for (id, part) in &scope.parts {
        let is_read = matches!(part, Part::Read(_));
        let late = is_read && has_read && options.is_late();
        if late {
            reader.missing(None);
        }
        let turn = match part {
            Part::Read(_) if late => Turn::End,
            Part::Read(_) => Turn::Read,
            Part::Skip | Part::Pass => Turn::Pass,
            Part::Missing | Part::Refused => {
                reader.absence(*id, Turn::Read, scope.refused.get(id).cloned())?;
                continue;
            }
        };
        match state.segments.get(*id) {
            Ok(Some(segment)) => reader.segment(&segment, turn)?,
            Ok(None) => reader.absence(*id, turn, None)?,
            Err(error) => reader.absence(*id, turn, Some(refusal(error)?).filter(|_| is_read))?,
        }
        if late {
            return Ok(Some(Location { segment: *id, offset: 0 }));
        }
        has_read |= is_read && options.is_new(*id);
    }
    Ok(None)
}

/// A state as it was at one moment.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) loaded: Loaded,
    /// The files that it was loaded from, as long as they were then.
    pub(super) files: Arc<dyn ReadVfs>,
    /// Segments that cannot be opened.
    pub(super) hidden: Vec<SegmentId>,
}

/// Loads the state to judge. Its segments are as long as they were when it was read: what a writer appends meanwhile is
/// not in its index, and is no business of this check.
pub(super) fn load_frozen(vfs: &Arc<dyn ReadVfs>) -> Result<Moment> {
    let mut hidden = Vec::new();
    let (mut use_index, mut again) = (UseIndex::Newest, false);
    loop {
        let names = hidden.iter().map(|id| segment::file_name(*id)).collect();
        let files: Arc<dyn ReadVfs> = Arc::new(Frozen::new(vfs.clone(), DATA_DIR, names));
        match load(&files, use_index, false) {
            Ok(loaded) => return Ok(Moment { loaded, files, hidden }),
            Err(error) if error.is_damage() && use_index == UseIndex::Newest => use_index = UseIndex::Never,
            // One file that cannot be read must not keep the others from being checked. What fails once may not fail again.
            Err(Error::Io { .. }) if !again => again = true,
            Err(error @ Error::Io { .. }) if hidden.is_empty() => {
                hidden = unreadable(&**vfs)?;
                let is_of_index = matches!(&error, Error::Io { path, .. } if is_index(path));
                if hidden.is_empty() && (use_index == UseIndex::Never || !is_of_index) {
                    return Err(error);
                }
                if hidden.is_empty() {
                    use_index = UseIndex::Never;
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_index(path: &std::path::Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"index."))
}

/// Finds the segments of which not one byte can be read.
fn unreadable(vfs: &dyn ReadVfs) -> Result<Vec<SegmentId>> {
    let mut ids = list_segments(vfs)?;
    let is_readable = |id: &SegmentId| match vfs.open(&segment::file_name(*id)) {
        Ok(Some(file)) => file.read_at(&mut [0], 0).is_ok(),
        Ok(None) => true,
        Err(_) => false,
    };
    ids.retain(|id| !is_readable(id));
    Ok(ids)
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

    /// Tells of what the system refuses to read.
    fn refusal(&mut self, place: Place, refusal: &Damage) -> Result<()> {
        if let Damage::Unreadable { op, errno, reason } = refusal {
            let other = || std::io::Error::other(reason.clone());
            let source = errno.map_or_else(other, std::io::Error::from_raw_os_error);
            self.sink.unreadable(&place, &Error::io(op, &place.file, source))?;
        }
        self.add(&Finding::new(Severity::Damage, place, refusal.to_string()))
    }

    /// Turns damage, and what the system refuses to read, into a finding; other errors end the check.
    fn error(&mut self, error: Error) -> Result<()> {
        if let Error::Damaged { place, damage } = error {
            return self.damage(place, damage);
        }
        let Error::Io { path, .. } = &error else { return Err(error) };
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.refusal(Place::whole(file), &refusal(error)?)
    }
}
