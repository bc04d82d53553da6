//! Which state decides about what was live: that of the index, or that of the log alone.
//!
//! An index whose pages hold is what readers were answered by. Where it names records that the log does not have, one of the
//! two is wrong. The COMMITs are a chain: each names the one before it with the checksum of what that covered. So an index
//! whose own COMMIT stands in the log is right about all that comes before, and a segment was cut, lost, or replaced: by that
//! of a copy of the store which went its own way, or of another time. That the chain is seen to break is not asked for, as a
//! compaction may have removed the link. If that COMMIT is not there, nobody can tell, and all that the log has stays, segments
//! included that only a COMMIT of the one history leaves out; what the index named is told to be lost, and where another record
//! answers in its stead, that is told.

use std::sync::Arc;

use super::look::Found;
use super::plan::Plan;
use super::superseded::Others;
use super::{Fate, Lost, LostKind};
use crate::error::{Damage, Error, Place, Result};
use crate::format::record::Tag;
use crate::format::segment::file_name;
use crate::id::{Key, Location, SegmentId};
use crate::store::check::Finding;
use crate::store::open::{Loaded, UseIndex, load, load_keeping};
use crate::store::state::{IndexFile, State};
use crate::vfs::ReadVfs;

/// What a repair goes by.
#[derive(Debug)]
pub(super) struct Basis {
    /// The state that decides about what is live.
    pub(super) loaded: Loaded,
    /// The state of the index, where that does not decide, and yet names records that the log does not have.
    pub(super) claimed: Option<State>,
    /// The log lacks what the index says, and not the other way round.
    pub(super) is_log_wrong: bool,
}

/// Damage that says that index and log are not of one mind.
pub(super) fn is_of_index(damage: &Damage) -> bool {
    matches!(damage, Damage::Index { .. })
}

/// Tells whether a finding is about an entry of the index that no record backs.
pub(super) fn is_unbacked(finding: &Finding) -> bool {
    finding.damage.as_ref().is_some_and(is_of_index) && finding.key.is_none() && finding.run.is_some()
}

/// Tells whether an index that covers later segments does not have this one: no state does any more.
pub(super) fn is_left_behind(state: &State, id: SegmentId) -> Result<bool> {
    match state.newest_index().filter(|newest| id < newest.covered().next_segment) {
        Some(newest) => Ok(!newest.has_segment(id)?),
        None => Ok(false),
    }
}

/// Loads it, without hints: the index is rebuilt, and they with it.
///
/// # Errors
/// Failures of reading.
pub(super) fn load_basis(read: &Arc<dyn ReadVfs>, found: &Found) -> Result<Basis> {
    match load(read, UseIndex::Newest, false) {
        Err(error) if error.is_damage() => Ok(Basis::of_log(load(read, UseIndex::Never, false)?)),
        loaded => Basis::of(loaded?, found, read),
    }
}

impl Basis {
    /// Decides about a state that was loaded with the index, if there is one.
    ///
    /// # Errors
    /// Failures of reading.
    pub(super) fn of(loaded: Loaded, found: &Found, read: &Arc<dyn ReadVfs>) -> Result<Basis> {
        let state = &loaded.working.state;
        // That the two are not of one mind is told of the index file too, and says nothing of its pages.
        let is_broken = |one: &Finding| one.damage.as_ref().is_some_and(|damage| !is_of_index(damage));
        let is_layer = |place: &Place| state.published().iter().any(|layer| layer.name() == place.file);
        if found.all.iter().any(|one| is_broken(one) && is_layer(&one.place)) {
            return load(read, UseIndex::Never, false).map(Basis::of_log);
        }
        if !found.all.iter().filter_map(|one| one.damage.as_ref()).any(is_of_index) {
            return Ok(Basis::of_log(loaded));
        }
        if is_anchored(state)? {
            return Ok(Basis::unmapped(loaded, None, true));
        }
        let claimed = Some(state.clone());
        // A COMMIT of the other history may say what was compacted away there.
        let listed = state.newest_index().into_iter().flat_map(|newest| newest.segments().flatten());
        let kept = listed.map(|(id, _)| id).filter(|id| !state.dead.contains(id)).collect();
        Ok(Basis::unmapped(load_keeping(read, kept)?, claimed, false))
    }

    /// The state that knows what was live in a segment.
    pub(super) fn claiming(&self) -> &State {
        self.claimed.as_ref().unwrap_or(&self.loaded.working.state)
    }

    fn of_log(loaded: Loaded) -> Basis {
        Basis::unmapped(loaded, None, false)
    }

    /// All records of damaged segments are asked for: an error of the disk must be an error there.
    fn unmapped(mut loaded: Loaded, mut claimed: Option<State>, is_log_wrong: bool) -> Basis {
        for state in std::iter::once(&mut loaded.working.state).chain(&mut claimed) {
            state.segments = Arc::new(state.segments.unmapped());
        }
        Basis { loaded, claimed, is_log_wrong }
    }
}

impl Plan {
    /// Where the log decides, a record that only the index named leaves no mark if the log has another one of its key: that
    /// answers. Each is told of, as nobody knows which of the two was the newer.
    pub(super) fn leave_answered(&mut self, state: &State) -> Result<()> {
        for salvage in &mut self.salvages {
            let segment = salvage.segment;
            let others = Others { state, segment, keep: &salvage.keep };
            for lost in &mut salvage.lost {
                let offset = lost.place.offset.and_then(|at| u32::try_from(at).ok());
                let own = offset.map(|offset| Location { segment, offset });
                let found = lost.key.map(|key| state.locate(&key)).transpose()?.flatten();
                if found.is_some() && found != own {
                    lost.fate = Fate::Other;
                }
            }
            let mut deleted = Vec::new();
            for (offset, key) in std::mem::take(&mut salvage.deleted) {
                match state.locate(&key)?.filter(|at| others.stays(*at)) {
                    Some(at) if is_put(state, at)? => salvage.lost.push(undone(segment, key)),
                    Some(_) => {}
                    None => deleted.push((offset, key)),
                }
            }
            salvage.deleted = deleted;
        }
        Ok(())
    }
}

fn is_put(state: &State, at: Location) -> Result<bool> {
    let Some(segment) = state.segments.get(at.segment)? else { return Ok(false) };
    Ok(segment.head(at.offset)?.is_ok_and(|head| head.tag == Tag::Put))
}

/// A deletion that only the index knew.
fn undone(segment: SegmentId, key: Key) -> Lost {
    let (place, why) =
        (Place::whole(file_name(segment)), "its DELETE is gone, and what was deleted answers".to_owned());
    let (kind, fate, run) = (LostKind::Deletion, Fate::Other, key.run);
    Lost { place, kind, run, key: Some(key), hash: None, why, fate }
}

/// Tells whether the COMMIT that the index reaches up to stands in the log.
fn is_anchored(state: &State) -> Result<bool> {
    let Some(covered) = state.newest_index().map(IndexFile::covered) else { return Ok(false) };
    let segments = state.segments.unmapped();
    let Some(segment) = segments.get(covered.at.segment)? else { return Ok(false) };
    match segment.record(covered.at.offset) {
        Ok(record) => Ok(record.head.tag == Tag::Commit && record.head.data_crc == covered.data_crc),
        Err(Error::Damaged { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}
