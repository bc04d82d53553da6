//! What the files beside the log say when a store is opened: which index files hold together, which segments these and the
//! hints leave out, and which one may still grow.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::open::{files_of, parse_index_name};
use super::state::IndexFile;
use crate::error::{Damage, Error, Place, Result};
use crate::format::config::Config;
use crate::format::hints;
use crate::format::index::FileKind;
use crate::format::segment;
use crate::id::{CommitId, SegmentId};
use crate::index::Index;
use crate::vfs::ReadVfs;

/// Opens the newest base and the deltas that continue it, newest first. `None`: a file vanished.
pub(super) fn open_layers(
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
pub(super) fn active_segment(
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

/// Tells the segments of the state from those that a compaction left behind. The newest index file does not list
/// the latter; that they may be forgotten is said by the hints of its commit alone, as a listing may lack a segment
/// for other reasons: one that was lost, and came back. `None` if these hints went when a writer published a newer index.
pub(super) fn split_dead(
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

/// Reads the hints of a commit; `None` with a notice if there are none that hold.
pub(super) fn load_hints(
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
