//! Records that cannot be read, and that were the newest of their keys no more.
//!
//! An index that names two records of one key is none of ours, or of a time when the head of one could not be read as layers were
//! joined (`index/merge.rs`). A mark that the older one is lost would hide the newer one. What is newer stands behind it in the
//! log: what is moved is appended again.

use super::kept::Kept;
use super::plan::Plan;
use crate::error::Result;
use crate::id::{Key, Location, SegmentId};
use crate::store::open::is_index_damage;
use crate::store::state::State;

/// Who else may have a key.
pub(super) struct Others<'o> {
    pub(super) state: &'o State,
    pub(super) segment: SegmentId,
    /// What stays of the segment.
    pub(super) keep: &'o Kept,
}

impl Others<'_> {
    /// Returns where the state has the newest record of a key, unless it is the one at this offset. `None` too where the index
    /// contradicts itself: then nothing is known of another one.
    fn another(&self, key: &Key, own: u64) -> Result<Option<Location>> {
        let is_own = |at: &Location| at.segment == self.segment && u64::from(at.offset) == own;
        match self.state.locate(key) {
            Err(error) if is_index_damage(&error) => Ok(None),
            located => Ok(located?.filter(|at| !is_own(at))),
        }
    }

    /// Tells whether a record of a key that stood at an offset was superseded.
    fn supersede(&self, key: &Key, own: Option<u64>) -> Result<bool> {
        let Some(own) = own else { return Ok(false) };
        let newest = self.another(key, own)?;
        Ok(newest.is_some_and(|at| (at.segment, u64::from(at.offset)) > (self.segment, own)))
    }

    /// Tells whether the record at an offset cannot have been of this key, of whose object's hash it was: the index has another
    /// one under it, and of one object it has one in a run.
    pub(super) fn have(&self, key: &Key, own: Option<u64>) -> Result<bool> {
        let Some(own) = own else { return Ok(false) };
        Ok(self.another(key, own)?.is_some())
    }

    /// Tells whether a record is not lost with the segment.
    pub(super) fn stays(&self, at: Location) -> bool {
        at.segment != self.segment || self.keep.contains(at.offset)
    }
}

impl Plan {
    /// Takes out what another record has superseded, by the keys that are known of the records themselves.
    ///
    /// # Errors
    /// Failures of reading.
    pub(super) fn leave_superseded(&mut self, state: &State) -> Result<()> {
        for salvage in &mut self.salvages {
            let others = Others { state, segment: salvage.segment, keep: &salvage.keep };
            let mut lost = Vec::new();
            for one in std::mem::take(&mut salvage.lost) {
                let is_superseded = match &one.key {
                    Some(key) => others.supersede(key, one.place.offset)?,
                    None => false,
                };
                lost.extend((!is_superseded).then_some(one));
            }
            let mut deleted = Vec::new();
            for (offset, key) in std::mem::take(&mut salvage.deleted) {
                deleted.extend((!others.supersede(&key, Some(offset.into()))?).then_some((offset, key)));
            }
            (salvage.lost, salvage.deleted) = (lost, deleted);
        }
        Ok(())
    }
}
