//! Which segments a check reads.

use std::collections::{BTreeMap, BTreeSet};

use super::options::CheckOptions;
use crate::error::{Damage, Error, Result};
use crate::format::segment::{HEADER_LEN, file_name};
use crate::id::{Location, SegmentId};
use crate::store::log::piece::refusal;
use crate::store::state::State;

/// What there is to do with a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Read it; it has this length.
    Read(u64),
    /// It is not there: tell of it.
    Missing,
    /// The system refuses to open it: tell of it.
    Refused,
    /// It was found good not long ago.
    Skip,
    /// It belongs to another part of the store, or was read before.
    Pass,
}

/// The segments of a store, ascending, those included that are gone.
#[derive(Debug)]
pub(super) struct Scope<'o> {
    options: &'o CheckOptions<'o>,
    pub(super) parts: Vec<(SegmentId, Part)>,
    pub(super) skipped: BTreeSet<SegmentId>,
    /// What the system said.
    pub(super) refused: BTreeMap<SegmentId, Damage>,
}

impl<'o> Scope<'o> {
    /// Makes the list. Opens each segment for its length. `hidden` are those that cannot be opened at all, `gone` those that
    /// are not there.
    ///
    /// # Errors
    /// Failures of reading, other than a refusal to open.
    pub(super) fn of(
        state: &State,
        options: &'o CheckOptions<'o>,
        hidden: &[SegmentId],
        gone: BTreeSet<SegmentId>,
    ) -> Result<Scope<'o>> {
        let mut ids = gone;
        ids.extend(state.segments.ids().iter().chain(hidden));
        let parts = Vec::with_capacity(ids.len());
        let mut scope = Scope { options, parts, skipped: BTreeSet::new(), refused: BTreeMap::new() };
        for id in ids {
            let part = if options.is_own(id) { scope.part(state, id)? } else { Part::Pass };
            if part == Part::Skip {
                scope.skipped.insert(id);
            }
            scope.parts.push((id, part));
        }
        Ok(scope)
    }

    fn part(&mut self, state: &State, id: SegmentId) -> Result<Part> {
        let len = match len_of(state, id).or_else(|_| len_of(state, id)) {
            Ok(Some(len)) => len,
            Ok(None) => return Ok(Part::Missing),
            Err(error) => {
                self.refused.insert(id, refusal(error)?);
                return Ok(Part::Refused);
            }
        };
        // Who does not read all of a log that has gaps may not see them.
        let may_skip = state.gaps == 0 && self.options.skip.is_some_and(|skip| skip(id, len));
        Ok(if may_skip { Part::Skip } else { Part::Read(len) })
    }

    /// Tells whether every segment is read.
    pub(super) fn is_whole(&self) -> bool {
        self.parts.iter().all(|(_, part)| matches!(part, Part::Read(_) | Part::Missing | Part::Refused))
    }

    /// Tells whether what there is to say of a segment was to be said by now; `cursor` is where the deadline ended it.
    pub(super) fn has(&self, id: SegmentId, cursor: Option<Location>) -> bool {
        self.options.is_own(id) && cursor.is_none_or(|cursor| id < cursor.segment)
    }

    /// Returns what is told to be missing, or cannot be opened; `None` if not the whole log is read.
    pub(super) fn missing(&self) -> Option<BTreeSet<SegmentId>> {
        let gone = |(_, part): &&(SegmentId, Part)| matches!(part, Part::Missing | Part::Refused);
        self.is_whole().then(|| self.parts.iter().filter(gone).map(|(id, _)| *id).collect())
    }

    /// Returns what is read: segments, with their first record and length.
    pub(super) fn reads(&self) -> Vec<(SegmentId, u32, u32)> {
        let read = |(id, part): &(SegmentId, Part)| match part {
            Part::Read(len) => Some((*id, HEADER_LEN, u32::try_from(*len).unwrap_or(u32::MAX))),
            Part::Missing | Part::Refused | Part::Skip | Part::Pass => None,
        };
        self.parts.iter().filter_map(read).collect()
    }
}

/// Returns the length of a segment; `None` if there is no such file.
pub(super) fn len_of(state: &State, id: SegmentId) -> Result<Option<u64>> {
    if let Some(segment) = state.segments.get(id)? {
        return segment.file().len().map(Some);
    }
    // One that is not in the set because it could not be read when the state was loaded.
    match state.segments.open_file(id)? {
        Some(_) if state.segments.ids().binary_search(&id).is_err() => {
            let source = std::io::Error::other("it could not be read a moment ago");
            Err(Error::io("read", file_name(id), source))
        }
        _ => Ok(None),
    }
}
