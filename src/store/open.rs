//! From files to a committed state: config, index files, then the tail of the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::identity::{load_config, load_true_config};
use super::inner::{DATA_DIR, share_readers};
use super::log::{LogEnd, LogPosition, read_log};
use super::proof::Proof;
use super::replay::{Look, Replay};
use super::state::{IndexFile, State};
use super::working::Working;
use crate::error::{Damage, Error, Place, Result};
use crate::format::config::Config;
use crate::format::hints;
use crate::format::index::FileKind;
use crate::format::segment::{self, CommitLink};
use crate::id::{CommitId, SegmentId};
use crate::index::{Index, Overlay};
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
        let loaded = match load_state(vfs, config, use_index, use_hints, &mut notices) {
            // The tail's records are held against the index, so a damaged page of it may show only now.
            Err(error) if is_index_damage(&error) && use_index != UseIndex::Never => {
                notices.push(format!("{error}; the whole log is read instead"));
                load_state(vfs, config, UseIndex::Never, use_hints, &mut notices)?
            }
            loaded => loaded?,
        };
        let loaded = match loaded {
            // An index that was opened proves the config; without one it takes a look at the segments.
            Some(working) if working.state.layers.is_empty() => {
                let claimed = config.store;
                config = load_true_config(vfs, &mut Vec::new())?;
                if config.store == claimed {
                    Some(working)
                } else {
                    notices = vec![format!("config is of store {claimed}; using what the segments say")];
                    load_state(vfs, config, use_index, use_hints, &mut notices)?
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

/// Loads what the log says, without hints, but that these segments are never left out.
///
/// # Errors
/// As of [`load`].
pub(super) fn load_keeping(vfs: &Arc<dyn ReadVfs>, kept: BTreeSet<SegmentId>) -> Result<Loaded> {
    let mut loaded = load(vfs, UseIndex::Never, false)?;
    if !loaded.working.state.dead.is_disjoint(&kept) {
        let apart = Apart { kept, hidden: BTreeSet::new() };
        let (config, mut notices) = (loaded.config, Vec::new());
        if let Some(working) = load_apart(vfs, config, (UseIndex::Never, false), &apart, &mut notices)? {
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

/// Builds the state; `None` if a file that was listed is gone.
fn load_state(
    vfs: &Arc<dyn ReadVfs>,
    config: Config,
    use_index: UseIndex,
    use_hints: bool,
    notices: &mut Vec<String>,
) -> Result<Option<Working>> {
    let before = notices.len();
    let loaded = load_apart(vfs, config, (use_index, use_hints), &Apart::default(), notices)?;
    let Some(working) = loaded.as_ref().filter(|working| working.is_disputed) else { return Ok(loaded) };
    // What a COMMIT says counts only if its segment is not left out by a later one.
    let apart = Apart { hidden: (*working.state.dead).clone(), kept: BTreeSet::new() };
    notices.truncate(before);
    load_apart(vfs, config, (use_index, use_hints), &apart, notices)
}

/// Segments of which the COMMITs do not say what becomes of them.
#[derive(Default)]
struct Apart {
    /// They are left out, and so is what stands in them.
    hidden: BTreeSet<SegmentId>,
    /// They stay.
    kept: BTreeSet<SegmentId>,
}

fn load_apart(
    vfs: &Arc<dyn ReadVfs>,
    config: Config,
    (use_index, use_hints): (UseIndex, bool),
    apart: &Apart,
    notices: &mut Vec<String>,
) -> Result<Option<Working>> {
    let beside = vfs.list("")?.unwrap_or_default();
    let files = files_of(&beside).filter_map(|entry| parse_index_name(&entry.name)).collect();
    // The segments are listed after the index: a segment that the index names exists by then.
    let mut ids = list_segments(&**vfs)?;
    ids.retain(|id| !apart.hidden.contains(id));
    let layers = match use_index {
        UseIndex::Never => Vec::new(),
        UseIndex::Newest => match open_layers(vfs, config, files, ids.is_empty(), notices)? {
            Some(layers) => layers,
            None => return Ok(None),
        },
    };
    let covered = layers.first().map(|layer| layer.covered()).unwrap_or_default();
    let hints = if use_hints {
        match load_hints(vfs, config, covered.commit, notices)? {
            Some(hints) => Some(hints),
            None => return load_apart(vfs, config, (UseIndex::Never, true), apart, notices),
        }
    } else {
        None
    };
    let Some((ids, mut dead)) = split_dead(vfs, config, ids, &layers)? else { return Ok(None) };
    dead.extend(&apart.hidden);
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
    let overlay = Arc::new(Overlay::new(seed_of(&config), totals));
    let segments = Arc::new(segments);
    let gaps = layers.first().map_or(0, |layer| layer.gaps());
    let dead = Arc::new(dead);
    let state = State { position, layers, overlay, segments: segments.clone(), dead, gaps };
    let mut working = Working::new(state, hints);
    working.kept.clone_from(&apart.kept);
    let mut replay = Replay::new(&mut working, None);
    let mut position = position;
    let mut end = LogEnd::default();
    let names = files_of(&beside).map(|entry| entry.name.as_str());
    let proof = Proof::find(&**vfs, config.store, names, covered.commit);
    if has_tail {
        end = read_log(&segments, &mut position, Look, &mut replay)?;
    }
    notices.extend(replay.finish(position));
    working.leave_out(&apart.hidden);
    working.state.gaps = working.state.gaps.saturating_add(end.gaps);
    working.absent = end.absent;
    working.knows(proof.and_then(|proof| proof.held_against(&position.link)));
    notices.extend(missing(&working.state).map(|id| format!("{} is missing", segment::file_name(id))));
    Ok(Some(working))
}

/// Tells the segments of the state from those that a compaction left behind. The newest index file does not list
/// the latter; that they may be forgotten is said by the hints of its commit alone, as a listing may lack a segment
/// for other reasons: one that was lost, and came back. `None` if these hints went when a writer published a newer index.
fn split_dead(
    vfs: &Arc<dyn ReadVfs>,
    config: Config,
    ids: Vec<SegmentId>,
    layers: &[Arc<IndexFile>],
) -> Result<Option<(Vec<SegmentId>, BTreeSet<SegmentId>)>> {
    let Some(newest) = layers.first() else { return Ok(Some((ids, BTreeSet::new()))) };
    let (next, commit) = (newest.covered().next_segment, newest.covered().commit);
    let listed: Result<BTreeSet<SegmentId>> = newest.segments().map(|row| row.map(|(id, _)| id)).collect();
    // A damaged list condemns nothing; it is found when the index is asked.
    let Ok(listed) = listed else { return Ok(Some((ids, BTreeSet::new()))) };
    if ids.iter().all(|id| *id >= next || listed.contains(id)) {
        return Ok(Some((ids, BTreeSet::new())));
    }
    let hints = load_hints(vfs, config, commit, &mut Vec::new())?;
    if hints.is_none() && has_index_after(&**vfs, commit)? {
        return Ok(None);
    }
    let hints = hints.unwrap_or_default();
    let is_dead = |id: &SegmentId| hints.dead.contains(&id.0) && !listed.contains(id);
    let (dead, live): (Vec<_>, Vec<_>) = ids.into_iter().partition(is_dead);
    Ok(Some((live, dead.into_iter().collect())))
}

/// Tells whether an index was published after that of a commit. It comes before the older one and its hints go.
fn has_index_after(vfs: &dyn ReadVfs, commit: CommitId) -> Result<bool> {
    let beside = vfs.list("")?.unwrap_or_default();
    Ok(files_of(&beside).filter_map(|entry| parse_index_name(&entry.name)).any(|(of, _)| of > commit))
}

/// Derives the seed of the index's hash from the store's identity.
pub(crate) fn seed_of(config: &Config) -> u64 {
    let hash = blake3::hash(&config.store.0);
    hash.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Opens the newest base and the deltas that continue it, newest first. `None`: a file vanished.
fn open_layers(
    vfs: &Arc<dyn ReadVfs>,
    config: Config,
    mut files: Vec<(CommitId, FileKind)>,
    is_new: bool,
    notices: &mut Vec<String>,
) -> Result<Option<Vec<Arc<IndexFile>>>> {
    files.sort_unstable_by_key(|(commit, _)| std::cmp::Reverse(*commit));
    let bases: Vec<CommitId> =
        files.iter().filter(|(_, kind)| *kind == FileKind::Base).map(|(commit, _)| *commit).collect();
    for base in bases {
        let index = match open_index(vfs, config, FileKind::Base, base)? {
            Opened::Gone => return Ok(None),
            Opened::Bad(why) => {
                notices.push(why);
                continue;
            }
            Opened::Good(index) => index,
        };
        let mut layers = vec![index];
        let newer = files.iter().rev().filter(|(commit, kind)| *kind == FileKind::Delta && *commit > base);
        for (commit, kind) in newer {
            let last = layers.last().map(|layer| layer.covered().commit);
            match open_index(vfs, config, *kind, *commit)? {
                Opened::Gone => return Ok(None),
                Opened::Bad(why) => notices.push(why),
                Opened::Good(delta) => {
                    if delta.follows().is_some_and(|(of, after)| of == base && Some(after) == last) {
                        layers.push(delta);
                    }
                }
            }
        }
        layers.reverse();
        return Ok(Some(layers));
    }
    if !is_new {
        notices.push("there is no intact index: the whole log is read instead".to_owned());
    }
    Ok(Some(Vec::new()))
}

enum Opened {
    Good(Arc<IndexFile>),
    Bad(String),
    Gone,
}

fn open_index(vfs: &Arc<dyn ReadVfs>, config: Config, kind: FileKind, commit: CommitId) -> Result<Opened> {
    let name = kind.file_name(commit);
    let Some(file) = vfs.open(&name)? else { return Ok(Opened::Gone) };
    match Index::open(file.map(file.len()?)?, &name, config.store) {
        Ok(index) if index.covered().commit == commit && index.kind() == kind => {
            Ok(Opened::Good(Arc::new(index)))
        }
        Ok(_) => Ok(Opened::Bad(format!("{name} is not what its name says"))),
        Err(error @ Error::Damaged { .. }) => Ok(Opened::Bad(error.to_string())),
        Err(other) => Err(other),
    }
}

/// Returns which segment may be growing: the last one, unless the index says that it was sealed with the length it has;
/// then that length.
fn active_segment(
    vfs: &Arc<dyn ReadVfs>,
    layers: &[Arc<IndexFile>],
    ids: &[SegmentId],
) -> Result<(Option<SegmentId>, Option<u32>)> {
    let Some(last) = ids.last().copied() else { return Ok((None, None)) };
    let Some(newest) = layers.first() else { return Ok((Some(last), None)) };
    for row in newest.segments() {
        let Ok((id, sealed)) = row else { break };
        if let Some(sealed) = sealed.filter(|_| id == last) {
            let len = vfs.open(&segment::file_name(id))?.map(|file| file.len()).transpose()?;
            return Ok(if len == Some(sealed.into()) { (None, Some(sealed)) } else { (Some(last), None) });
        }
    }
    Ok((Some(last), None))
}

/// Returns the segments that the index points to and that have no file.
pub(super) fn missing(state: &State) -> impl Iterator<Item = SegmentId> + '_ {
    let listed = state.layers.first().into_iter().flat_map(|newest| newest.segments().flatten());
    let is_missing =
        |id: &SegmentId| state.segments.ids().binary_search(id).is_err() && !state.dead.contains(id);
    listed.map(|(id, _)| id).filter(is_missing)
}

/// Reads the hints of a commit; `None` with a notice if there are none that hold.
fn load_hints(
    vfs: &Arc<dyn ReadVfs>,
    config: Config,
    commit: CommitId,
    notices: &mut Vec<String>,
) -> Result<Option<hints::Hints>> {
    if commit.0 == 0 {
        return Ok(Some(hints::Hints::default()));
    }
    let name = hints::file_name(commit);
    let decoded = match vfs.read(&name, hints::HINTS_MAX_BYTES) {
        Ok(Some(bytes)) => hints::decode(&bytes, config.store, commit),
        Ok(None) => Err(Error::damaged(Place::whole(name), Damage::Missing)),
        Err(error) => Err(error),
    };
    match decoded {
        Ok(hints) => Ok(Some(hints)),
        Err(error @ (Error::Damaged { .. } | Error::TooLarge { .. })) => {
            notices.push(format!("{error}; the whole log is read instead"));
            Ok(None)
        }
        Err(other) => Err(other),
    }
}
