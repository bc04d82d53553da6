//! From files to a committed state: config, index files, then the tail of the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::aside::Aside;
use super::beside::{active_segment, load_hints, open_layers, split_dead};
use super::identity::{load_config, load_true_config};
use super::index_file::IndexFiles;
use super::inner::{DATA_DIR, share_readers};
use super::log::{LogEnd, LogPosition, read_log};
use super::proof::Proof;
use super::replay::{Look, Replay};
use super::state::{IndexFile, State};
use super::working::Working;
use crate::error::{Damage, Error, Place, Result};
use crate::format::config::Config;
use crate::format::hints::Hints;
use crate::format::index::FileKind;
use crate::format::segment::{self, CommitLink};
use crate::id::{CommitId, SegmentId};
use crate::index::Overlay;
use crate::limits::REPLAY_MAX_RECORDS;
use crate::segment::Segments;
use crate::vfs::{DirEntry, Kind, Lock, ReadVfs};

/// How often a listing is repeated when a file of it is gone by the time it is opened.
const LIST_TRIES: usize = 8;

/// A state loaded from files.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What the store is.
    pub(crate) config: Config,
    /// The state, with what a writer needs besides.
    pub(crate) working: Working,
    /// Notices and damage that did not stop it.
    pub(crate) notices: Vec<String>,
    /// The readers' lock, held shared.
    pub(crate) readers: Option<Box<dyn Lock>>,
}

/// Which index files to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UseIndex {
    /// The newest ones that hold together.
    Newest,
    /// None: read the whole log.
    Never,
}

/// Loads the newest committed state. O(1) in the size of the store while the index is intact; writes
/// nothing. With `use_hints` the figures per segment are loaded too, which writing needs; if they cannot be,
/// the whole log is read.
///
/// # Errors
/// `NoStore`, `UnsupportedVersion`, failures of reading. Damage is met with what can be had without.
pub(crate) fn load(vfs: &Arc<dyn ReadVfs>, use_index: UseIndex, use_hints: bool) -> Result<Loaded> {
    let readers = share_readers(&**vfs)?;
    let mut tries = 0usize;
    loop {
        tries = tries.saturating_add(1);
        let mut notices = Vec::new();
        let mut config = load_config(vfs, &mut notices)?;
        let load_as = |config: &Config, use_index, notices: &mut Vec<String>| {
            let files = IndexFiles { read: vfs, vfs: None, config };
            load_state(Room::of(files), (use_index, use_hints), Apart::default(), notices)
        };
        let loaded = match load_as(&config, use_index, &mut notices) {
            // The tail's records are held against the index, so a damaged page of it may show only now.
            Err(error) if is_index_damage(&error) && use_index != UseIndex::Never => {
                notices.push(format!("{error}; the whole log is read instead"));
                load_as(&config, UseIndex::Never, &mut notices)?
            }
            loaded => loaded?,
        };
        let loaded = match loaded {
            // An index that was opened proves the config; without one it takes a look at the segments.
            Some(working) if working.state.published().is_empty() => {
                let claimed = config.store;
                config = load_true_config(vfs, &mut Vec::new())?;
                if config.store == claimed {
                    Some(working)
                } else {
                    notices = vec![format!("config is of store {claimed}; using what the segments say")];
                    load_as(&config, use_index, &mut notices)?
                }
            }
            loaded => loaded,
        };
        match loaded {
            Some(working) => return Ok(Loaded { config, working, notices, readers }),
            None if tries < LIST_TRIES => {}
            None => return Err(Error::damaged(Place::whole("index"), Damage::Missing)),
        }
    }
}

/// Reads the whole log, with hints. `dead` are segments known to be left out. What memory shall not hold goes where `room`
/// says.
///
/// # Errors
/// Failures of the file system; damage is met as in [`load`].
pub(super) fn rebuild(room: Room<'_>, dead: &BTreeSet<SegmentId>) -> Result<Working> {
    let apart = Apart { dead: dead.clone(), ..Apart::default() };
    let loaded = load_state(room, (UseIndex::Never, true), apart, &mut Vec::new())?;
    loaded.ok_or_else(|| Error::damaged(Place::whole("index"), Damage::Missing))
}

/// Loads what the log says, without hints, but that these segments are never left out.
///
/// # Errors
/// As of [`load`].
pub(super) fn load_keeping(vfs: &Arc<dyn ReadVfs>, kept: BTreeSet<SegmentId>) -> Result<Loaded> {
    let mut loaded = load(vfs, UseIndex::Never, false)?;
    if !loaded.working.state.dead.is_disjoint(&kept) {
        let apart = Apart { kept, ..Apart::default() };
        let (config, mut notices) = (loaded.config, Vec::new());
        let room = Room::of(IndexFiles { read: vfs, vfs: None, config: &config });
        if let Some(working) = load_state(room, (UseIndex::Never, false), apart, &mut notices)? {
            (loaded.working, loaded.notices) = (working, notices);
        }
    }
    Ok(loaded)
}

/// Lists the segments, ascending.
pub(crate) fn list_segments(vfs: &dyn ReadVfs) -> Result<Vec<SegmentId>> {
    let entries = vfs.list(DATA_DIR)?.unwrap_or_default();
    let mut ids: Vec<SegmentId> =
        files_of(&entries).filter_map(|entry| segment::parse_file_name(&entry.name)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Leaves out what only has the name of a file of the store.
pub(crate) fn files_of(entries: &[DirEntry]) -> impl Iterator<Item = &DirEntry> {
    entries.iter().filter(|entry| entry.kind == Kind::File)
}

/// Reads the commit and the kind of an index file from its name.
pub(crate) fn parse_index_name(name: &str) -> Option<(CommitId, FileKind)> {
    let rest = name.strip_prefix("index.")?;
    let (digits, kind) = match rest.strip_suffix(".delta") {
        Some(digits) => (digits, FileKind::Delta),
        None => (rest, FileKind::Base),
    };
    let commit: u64 = digits.parse().ok()?;
    // Only the name that a writer would give: no sign, no leading zeros.
    (kind.file_name(CommitId(commit)) == name).then_some((CommitId(commit), kind))
}

/// Tells whether an error is about an index file, which the log can replace.
pub(crate) fn is_index_damage(error: &Error) -> bool {
    matches!(error, Error::Damaged { place, .. } if place.file.starts_with("index."))
}

/// Where a replay sets aside what memory shall not hold.
#[derive(Clone, Copy)]
pub(super) struct Room<'v> {
    files: IndexFiles<'v>,
    /// Records that memory may hold.
    records_max: usize,
}

impl<'v> Room<'v> {
    /// Sets aside in these files.
    pub(super) fn of(files: IndexFiles<'v>) -> Room<'v> {
        Room { files, records_max: REPLAY_MAX_RECORDS }
    }

    /// The same with memory for so many records.
    #[cfg(test)]
    pub(super) fn with_records(files: IndexFiles<'v>, records_max: usize) -> Room<'v> {
        Room { files, records_max }
    }
}

/// Segments of which the COMMITs do not say what becomes of them.
#[derive(Clone, Default)]
struct Apart {
    /// They are left out, and so is what stands in them.
    hidden: BTreeSet<SegmentId>,
    /// They are known to be left out by a COMMIT.
    dead: BTreeSet<SegmentId>,
    /// They stay.
    kept: BTreeSet<SegmentId>,
}

/// What there is to load from, as it was at one moment: an index that is newer than the lengths that a check has frozen would
/// cover more than there is.
struct Found {
    /// The files of the store's directory, from before the log is read.
    beside: Vec<DirEntry>,
    layers: Vec<Arc<IndexFile>>,
    hints: Option<Hints>,
    ids: Vec<SegmentId>,
    /// Segments that are left out.
    dead: BTreeSet<SegmentId>,
}

/// Builds the state; `None` if a file that was listed is gone.
fn load_state(
    room: Room<'_>,
    what: (UseIndex, bool),
    apart: Apart,
    notices: &mut Vec<String>,
) -> Result<Option<Working>> {
    let Some(found) = find(room, what, notices)? else { return Ok(None) };
    let before = notices.len();
    let working = replay(room, &found, &apart, notices)?;
    let dead = &*working.state.dead;
    // Which segments are left out depends on the COMMITs only, so by now all are known.
    let apart = if working.is_disputed && apart.kept.is_empty() {
        // What a COMMIT says counts only if its segment is not left out by a later one.
        Apart { hidden: dead.clone(), dead: dead.clone(), kept: BTreeSet::new() }
    } else if found.layers.is_empty() && working.state.aside > 0 && !dead.is_subset(&apart.dead) {
        // Some of what was left out may be gone already, so what is still there does not add up. Behind an index all is there.
        Apart { dead: dead.union(&apart.dead).copied().collect(), ..apart }
    } else {
        return Ok(Some(working));
    };
    drop(working);
    notices.truncate(before);
    replay(room, &found, &apart, notices).map(Some)
}

fn find(
    room: Room<'_>,
    (use_index, use_hints): (UseIndex, bool),
    notices: &mut Vec<String>,
) -> Result<Option<Found>> {
    let IndexFiles { read: vfs, config, .. } = room.files;
    let beside = vfs.list("")?.unwrap_or_default();
    let files = files_of(&beside).filter_map(|entry| parse_index_name(&entry.name)).collect();
    // The segments are listed after the index: a segment that the index names exists by then.
    let ids = list_segments(&**vfs)?;
    let mut layers = match use_index {
        UseIndex::Never => Vec::new(),
        UseIndex::Newest => match open_layers(vfs, *config, files, ids.is_empty(), notices)? {
            Some(layers) => layers,
            None => return Ok(None),
        },
    };
    let mut hints = None;
    if use_hints {
        let covered = layers.first().map(|layer| layer.covered().commit).unwrap_or_default();
        hints = load_hints(vfs, *config, covered, notices)?;
        if hints.is_none() {
            (layers, hints) = (Vec::new(), Some(Hints::default()));
        }
    }
    let Some((ids, dead)) = split_dead(vfs, *config, ids, &layers)? else { return Ok(None) };
    Ok(Some(Found { beside, layers, hints, ids, dead }))
}

/// Applies what the log has behind the index.
fn replay(room: Room<'_>, found: &Found, apart: &Apart, notices: &mut Vec<String>) -> Result<Working> {
    let IndexFiles { read: vfs, config, .. } = room.files;
    let layers = found.layers.clone();
    let covered = layers.first().map(|layer| layer.covered()).unwrap_or_default();
    let mut ids = found.ids.clone();
    ids.retain(|id| !apart.hidden.contains(id));
    let dead = found.dead.union(&apart.hidden).copied().collect();
    let (active, sealed_len) = active_segment(vfs, &layers, &ids)?;
    // Where the index reaches the end of the last segment, and that one is sealed, nothing can have come since.
    let has_tail = sealed_len != Some(covered.end) || ids.last() != Some(&covered.at.segment);
    // What the index covers was durable before the index was.
    let final_bytes = |id| if covered.at.segment == id { covered.end } else { 0 };
    let active = active.map(|id| (id, final_bytes(id)));
    let segments = Segments::new(vfs.clone(), config.store, ids, active, None);
    let position = LogPosition {
        link: CommitLink { id: covered.commit, at: covered.at, data_crc: covered.data_crc },
        end: covered.end,
        next_segment: covered.next_segment,
    };
    let totals = layers.first().map(|layer| layer.totals()).unwrap_or_default();
    let overlay = Arc::new(Overlay::new(seed_of(config), totals));
    // Who reads the whole log wants an error of the disk as an error.
    let reads_all = layers.is_empty();
    let segments = Arc::new(if reads_all { segments.unmapped() } else { segments });
    let gaps = layers.first().map_or(0, |layer| layer.gaps());
    let dead = Arc::new(dead);
    let state = State { position, layers, aside: 0, overlay, segments: segments.clone(), dead, gaps };
    let mut working = Working::new(state, found.hints.clone());
    working.kept.clone_from(&apart.kept);
    let aside = Aside::new(room.files, &apart.dead, room.records_max);
    let mut replay = Replay::new(&mut working, aside);
    let mut position = position;
    let mut end = LogEnd::default();
    let names = files_of(&found.beside).map(|entry| entry.name.as_str());
    let proof = Proof::find(&**vfs, config.store, names, covered.commit);
    if has_tail {
        end = read_log(&segments, &mut position, Look, &mut replay)?;
    }
    notices.extend(replay.finish(position));
    if reads_all {
        working.state.segments = Arc::new(working.state.segments.mapped());
    }
    working.leave_out(&apart.hidden);
    working.state.gaps = working.state.gaps.saturating_add(end.gaps);
    working.absent = end.absent;
    working.knows(proof.and_then(|proof| proof.held_against(&position.link)));
    notices.extend(missing(&working.state).map(|id| format!("{} is missing", segment::file_name(id))));
    Ok(working)
}

/// Derives the seed of the index's hash from the store's identity.
pub(crate) fn seed_of(config: &Config) -> u64 {
    let hash = blake3::hash(&config.store.0);
    hash.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Returns the segments that the index points to and that have no file.
pub(super) fn missing(state: &State) -> impl Iterator<Item = SegmentId> + '_ {
    let listed = state.newest_index().into_iter().flat_map(|newest| newest.segments().flatten());
    let is_missing =
        |id: &SegmentId| state.segments.ids().binary_search(id).is_err() && !state.dead.contains(id);
    listed.map(|(id, _)| id).filter(is_missing)
}
