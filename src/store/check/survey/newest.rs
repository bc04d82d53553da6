//! Holds records against the index: whether each is the newest of its key.

use super::{Inspect, Seen};
use crate::error::{Error, Result};
use crate::id::{Location, RunKey, SegmentId};
use crate::index::{Names, Within};
use crate::store::state::IndexFile;
use crate::vfs::{Soon, prefetch};

/// What a record is to its key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Newest {
    This,
    /// A later one is.
    Later,
    /// The index has an older one, or none.
    Missed(&'static str),
    /// The index cannot say.
    Unknown,
}

/// A run and a segment, and how each layer numbers them: neighbours in the log mostly share both.
#[derive(Debug)]
pub(super) struct Numbers {
    run: RunKey,
    segment: SegmentId,
    layers: Vec<Within>,
    /// The newest layer that has the run; none where an overlay comes before it.
    first: Option<usize>,
}

impl Numbers {
    /// Tells whether they are those of a record.
    #[inline]
    pub(super) fn is_of(&self, seen: &Seen) -> bool {
        (self.run, self.segment) == (seen.key.run, seen.at.segment)
    }
}

/// Tells at one glance that a record which is none of a run itself is the newest of its key, as most are. Where it cannot, it
/// asks for the memory that [`find`](Inspect::find) will need.
#[inline]
pub(super) fn is_at_home(layer: &IndexFile, within: &Within, seen: &Seen) -> bool {
    let is_newest = layer.names_at_home(seen.hash, within, seen.at.offset);
    if !is_newest {
        prefetch(layer.list_to_come(seen.hash), Soon::Next);
    }
    is_newest
}

impl Inspect<'_> {
    /// Returns the newest layer that has the run of some records, unless an overlay comes before it.
    #[inline]
    pub(super) fn first<'n>(&self, within: Option<&'n Numbers>) -> Option<(&IndexFile, &'n Within)> {
        let numbers = within?;
        let first = numbers.first?;
        Some((self.state.layers.get(first)?, numbers.layers.get(first)?))
    }

    /// Returns how each layer numbers the run and the segment of a record; `None` if the index cannot say.
    #[cold]
    pub(super) fn numbers_of(&self, seen: &Seen) -> Result<Option<Numbers>> {
        let (run, segment) = (seen.key.run, seen.at.segment);
        let layers: Result<Vec<_>> =
            self.state.layers.iter().map(|layer| layer.within(run, segment)).collect();
        let layers = match layers {
            // The page was reported when the index was verified.
            Err(Error::Damaged { .. }) => return Ok(None),
            layers => layers?,
        };
        let first = layers.iter().position(Within::is_there).filter(|_| self.state.overlay.is_empty());
        Ok(Some(Numbers { run, segment, layers, first }))
    }

    /// Tells what a record is to its key.
    pub(super) fn newest(&self, seen: &Seen, within: Option<&Numbers>) -> Result<Newest> {
        match self.find(seen, within) {
            // The page was reported when the index was verified.
            Err(Error::Damaged { .. }) => Ok(Newest::Unknown),
            newest => newest,
        }
    }

    fn find(&self, seen: &Seen, within: Option<&Numbers>) -> Result<Newest> {
        let (state, key, at) = (self.state, &seen.key, seen.at);
        let known = |found: Option<Location>| match found {
            Some(found) if found == at => Newest::This,
            Some(found) if found > at => Newest::Later,
            Some(_) => Newest::Missed("it knows an older record"),
            None => Newest::Missed("it lacks this record"),
        };
        if seen.is_run {
            return Ok(known(state.run_row(key.run)?.and_then(|row| row.at)));
        }
        if !state.overlay.is_empty()
            && let Some(entry) = state.overlay.get(key)
        {
            return Ok(known(Some(entry.at)));
        }
        let Some(numbers) = within else { return Ok(Newest::Unknown) };
        for (layer, within) in state.layers.iter().zip(&numbers.layers) {
            match layer.names(seen.hash, within, at.offset)? {
                Names::Nothing => {}
                Names::This => return Ok(Newest::This),
                // Whose it is, only a lookup can say.
                Names::Other => return Ok(known(state.find(key)?.map(|found| found.at))),
            }
        }
        Ok(known(None))
    }
}
