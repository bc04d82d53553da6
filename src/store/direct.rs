//! The direct way of a lookup: one slot of the index, one record, nothing out of the ordinary.
//!
//! Nearly every lookup of an id with one snapshot goes this way, in a straight line. It decides nothing by itself: whatever
//! is not as usual (several layers that know of the id, a list, damage, an alias, a segment that is not mapped) leaves the
//! question to the search of [`lookup`](super::lookup), which answers all of them and says what is wrong.

use super::many::When;
use super::snapshot::Snapshot;
use super::state::State;
use crate::format::put::PutKind;
use crate::format::record::Tag;
use crate::id::{Location, Name, ObjectKey, RunKey};
use crate::index::Likely;
use crate::vfs::{Soon, prefetch};

/// Bytes of a record that are asked for before its head is looked at: most records are not much longer, and the processor's
/// own prefetcher goes on from there.
const PREFETCH_BYTES: usize = 1344;

/// Where a lookup begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// There is no such object.
    Nowhere,
    /// At the record that is the object's only one, if it is the object's.
    To(Location),
    /// That takes a search.
    Unknown,
}

/// The direct way has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unsure;

impl When {
    /// Tells whether a question admits a run.
    #[inline]
    fn admits(self, run: RunKey) -> bool {
        match self {
            When::Newest => true,
            When::In(wanted) => run == wanted,
            When::AtOrBefore(at) => run <= RunKey::last_of(at),
            When::After(at) => run > RunKey::last_of(at),
        }
    }
}

impl State {
    /// Asks the processor for where the way of an object begins.
    #[inline]
    pub(super) fn prefetch_way(&self, object: &ObjectKey) {
        self.layers.iter().for_each(|layer| prefetch(layer.bucket_of(layer.hash(object)), Soon::Next));
    }

    /// Finds where a lookup begins, and asks the processor for the record that is there.
    #[inline]
    pub(super) fn way(&self, object: &ObjectKey, soon: Soon) -> Way {
        // What a compaction left behind, and what came after the index, is for the search.
        if !self.overlay.is_empty() || !self.dead.is_empty() {
            return Way::Unknown;
        }
        let mut way = Way::Nowhere;
        for layer in &self.layers {
            way = match (layer.likely(object), way) {
                (Likely::Absent, way) => way,
                (Likely::At(at), Way::Nowhere) => Way::To(at),
                _ => return Way::Unknown,
            };
        }
        if let Way::To(at) = way
            && let Some(segment) = self.segments.open_already(at.segment)
        {
            segment.prefetch(at.offset, PREFETCH_BYTES, soon);
        }
        way
    }

    /// Goes to the end of a way.
    #[inline]
    pub(super) fn take_way(
        &self,
        way: Way,
        name: &Name<'_>,
        when: When,
    ) -> Result<Option<Snapshot<'_>>, Unsure> {
        match way {
            Way::Nowhere => Ok(None),
            Way::To(at) => self.direct(at, name, when),
            Way::Unknown => Err(Unsure),
        }
    }

    #[inline]
    fn direct(&self, at: Location, name: &Name<'_>, when: When) -> Result<Option<Snapshot<'_>>, Unsure> {
        let segment = self.segments.open_already(at.segment).ok_or(Unsure)?;
        let opened = segment.open_mapped(at.offset).ok_or(Unsure)?;
        let key = opened.head().key();
        if key.object != name.key || opened.head().tag != Tag::Put {
            return Err(Unsure);
        }
        // It is the only one, of whatever run.
        if !when.admits(key.run) {
            return Ok(None);
        }
        let record = opened.intact().ok_or(Unsure)?;
        let snapshot = Snapshot::decode(&self.segments, at, record).map_err(|_| Unsure)?;
        if snapshot.kind() == PutKind::Snapshot && snapshot.is_named(name) {
            Ok(Some(snapshot))
        } else {
            Err(Unsure)
        }
    }
}
