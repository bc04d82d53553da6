//! Records that cannot be read, and that were the newest of their keys no more.
//!
//! Layers of an index are joined by the keys of their records. Where a head cannot be read by then, nobody knows whose record
//! that is, so its entry stays beside that of the record which took its place. It is live by its entry only: a lookup goes by
//! the record that can be read, and so does a repair.

use super::kept::Kept;
use super::plan::Plan;
use crate::error::Result;
use crate::id::{Key, Location, SegmentId};
use crate::store::state::State;

/// Who else may have a key.
pub(super) struct Others<'o> {
    pub(super) state: &'o State,
    pub(super) segment: SegmentId,
    /// What stays of the segment.
    pub(super) keep: &'o Kept,
}

impl Others<'_> {
    /// Tells whether the newest record of a key is another than the one at an offset, or where that is not known, one that
    /// stays.
    pub(super) fn have(&self, key: &Key, own: Option<u64>) -> Result<bool> {
        let Some(at) = self.state.locate(key)? else { return Ok(false) };
        Ok(match own {
            Some(own) => at.segment != self.segment || u64::from(at.offset) != own,
            None => self.stays(at),
        })
    }

    /// Tells whether a record is not lost with the segment.
    pub(super) fn stays(&self, at: Location) -> bool {
        at.segment != self.segment || self.keep.contains(at.offset)
    }
}

impl Plan {
    /// Takes out what another record has superseded, by the keys that are known of the records themselves: a mark that it is
    /// lost would hide that other one.
    ///
    /// # Errors
    /// Failures of reading, damage in the index.
    pub(super) fn leave_superseded(&mut self, state: &State) -> Result<()> {
        for salvage in &mut self.salvages {
            let others = Others { state, segment: salvage.segment, keep: &salvage.keep };
            let mut lost = Vec::new();
            for one in std::mem::take(&mut salvage.lost) {
                let is_superseded = match &one.key {
                    Some(key) => others.have(key, one.place.offset)?,
                    None => false,
                };
                lost.extend((!is_superseded).then_some(one));
            }
            let mut deleted = Vec::new();
            for key in std::mem::take(&mut salvage.deleted) {
                deleted.extend((!others.have(&key, None)?).then_some(key));
            }
            (salvage.lost, salvage.deleted) = (lost, deleted);
        }
        Ok(())
    }
}
