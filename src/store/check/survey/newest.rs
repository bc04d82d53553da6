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

/// The run and the segment of the last record, and how each layer numbers them: neighbours in the log mostly share both.
#[derive(Debug)]
pub(super) struct Numbers {
    run: RunKey,
    segment: SegmentId,
    layers: Vec<Within>,
    /// The newest layer that has the run.
    first: usize,
}

impl Inspect<'_> {
    /// Asks for the memory that [`is_newest`](Inspect::is_newest) will look at.
    #[inline]
    pub(super) fn ask(&self, seen: &Seen, within: &mut Option<Numbers>) {
        if let Some((layer, _)) = self.first(seen, within) {
            prefetch(layer.bucket_of(seen.hash), Soon::Next);
        }
    }

    /// Tells at one glance that a record is the newest of its key, as most are. Where it cannot, it asks for the memory that
    /// [`find`](Inspect::find) will need.
    #[inline]
    pub(super) fn is_newest(&self, seen: &Seen, within: &mut Option<Numbers>) -> bool {
        let Some((layer, within)) = self.first(seen, within) else { return false };
        let is_newest = layer.names_at_home(seen.hash, within, seen.at.offset);
        if !is_newest {
            prefetch(layer.list_to_come(seen.hash), Soon::Next);
        }
        is_newest
    }

    /// Returns the newest layer that has the run of a record, if no overlay comes before it and it is no run itself.
    #[inline]
    fn first<'n>(&self, seen: &Seen, within: &'n mut Option<Numbers>) -> Option<(&IndexFile, &'n Within)> {
        if seen.key.is_run() || !self.state.overlay.is_empty() {
            return None;
        }
        let numbers = self.numbers(seen, within).ok()??;
        Some((self.state.layers.get(numbers.first)?, numbers.layers.get(numbers.first)?))
    }

    /// Returns how each layer numbers the run and the segment of a record.
    #[inline]
    fn numbers<'n>(&self, seen: &Seen, within: &'n mut Option<Numbers>) -> Result<Option<&'n Numbers>> {
        let (run, segment) = (seen.key.run, seen.at.segment);
        if within.as_ref().is_none_or(|numbers| (numbers.run, numbers.segment) != (run, segment)) {
            *within = Some(self.number(run, segment)?);
        }
        Ok(within.as_ref())
    }

    #[cold]
    fn number(&self, run: RunKey, segment: SegmentId) -> Result<Numbers> {
        let layers: Result<Vec<_>> =
            self.state.layers.iter().map(|layer| layer.within(run, segment)).collect();
        let layers = layers?;
        let first = layers.iter().position(Within::is_there).unwrap_or(usize::MAX);
        Ok(Numbers { run, segment, layers, first })
    }

    /// Tells what a record is to its key.
    pub(super) fn newest(&self, seen: &Seen, within: &mut Option<Numbers>) -> Result<Newest> {
        match self.find(seen, within) {
            // The page was reported when the index was verified.
            Err(Error::Damaged { .. }) => Ok(Newest::Unknown),
            newest => newest,
        }
    }

    fn find(&self, seen: &Seen, within: &mut Option<Numbers>) -> Result<Newest> {
        let (state, key, at) = (self.state, &seen.key, seen.at);
        let known = |found: Option<Location>| match found {
            Some(found) if found == at => Newest::This,
            Some(found) if found > at => Newest::Later,
            Some(_) => Newest::Missed("it knows an older record"),
            None => Newest::Missed("it lacks this record"),
        };
        if key.is_run() {
            return Ok(known(state.run_row(key.run)?.and_then(|row| row.at)));
        }
        if !state.overlay.is_empty()
            && let Some(entry) = state.overlay.get(key)
        {
            return Ok(known(Some(entry.at)));
        }
        let numbers = self.numbers(seen, within)?;
        for (layer, within) in state.layers.iter().zip(numbers.map_or(&[][..], |numbers| &numbers.layers)) {
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
