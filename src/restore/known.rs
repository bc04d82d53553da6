//! What was found for ids of late. Runs are restored ascending, and many of them refer to the same objects: then the store is not
//! asked again, and nothing is read.
//!
//! A view never changes, so an answer holds as long as no record of the id lies between the run that was asked for then and the one
//! that is asked for now. What could not be read is not kept: it is read again, and told of again.

use super::keys::{Id, KeyMap};
use super::lookup::Found;
use crate::id::RunKey;

/// Bytes that each of two generations takes: what was not asked for while one filled up goes.
const GENERATION_BYTES: usize = 16 << 20;
/// What an id costs besides the bytes of what was found.
const ENTRY_BYTES: usize = 256;

/// What is known: that there is such a one, or that there is none.
pub(super) struct Answer<T>(pub(super) Option<T>);

/// The oldest snapshot from a run on.
#[derive(Clone, Debug)]
struct Later {
    min: RunKey,
    found: Option<Found>,
}

/// The run of the newest snapshot up to a run.
#[derive(Clone, Copy, Debug)]
struct Newest {
    max: RunKey,
    /// The next run that has a record of the id.
    next: Option<RunKey>,
    run: Option<RunKey>,
}

#[derive(Clone, Debug, Default)]
struct Answers {
    later: Option<Later>,
    newest: Option<Newest>,
}

/// Answers of late, in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Known {
    young: KeyMap<Id, Answers>,
    old: KeyMap<Id, Answers>,
    /// Of the young ones, in bytes.
    cost: usize,
}

impl Known {
    /// What is known of the oldest snapshot of an id at or after a run.
    pub(super) fn later(&mut self, id: &Id, min: RunKey) -> Option<Answer<Found>> {
        let later = self.answers(id)?.later.as_ref().filter(|later| later.min <= min)?;
        match &later.found {
            None => Some(Answer(None)),
            Some(found) => (min <= found.target.run).then(|| Answer(Some(found.clone()))),
        }
    }

    /// What is known of the run of the newest snapshot of an id at or before a run.
    pub(super) fn newest(&mut self, id: &Id, max: RunKey) -> Option<Answer<RunKey>> {
        let newest = self.answers(id)?.newest?;
        (newest.max <= max && newest.next.is_none_or(|next| max < next)).then_some(Answer(newest.run))
    }

    /// Keeps the oldest snapshot of an id at or after a run.
    pub(super) fn keep_later(&mut self, id: &Id, min: RunKey, found: Option<Found>) {
        let cost = found.as_ref().map_or(0, cost);
        self.keep(id, cost, |answers| answers.later = Some(Later { min, found }));
    }

    /// Keeps the run of the newest snapshot of an id at or before a run, and the run behind that one that has a record of it.
    pub(super) fn keep_newest(&mut self, id: &Id, max: RunKey, next: Option<RunKey>, run: Option<RunKey>) {
        self.keep(id, 0, |answers| answers.newest = Some(Newest { max, next, run }));
    }

    fn answers(&mut self, id: &Id) -> Option<&Answers> {
        if !self.young.contains_key(id) {
            let answers = self.old.remove(id)?;
            let cost = answers.later.as_ref().and_then(|later| later.found.as_ref()).map_or(0, cost);
            self.keep(id, cost, |young| *young = answers);
        }
        self.young.get(id)
    }

    fn keep(&mut self, id: &Id, cost: usize, change: impl FnOnce(&mut Answers)) {
        let cost = cost.saturating_add(ENTRY_BYTES).saturating_add(id.bytes.len());
        // What takes more than all others together would only drive them out.
        if cost > GENERATION_BYTES {
            return;
        }
        if self.cost.saturating_add(cost) > GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.cost = 0;
        }
        self.cost = self.cost.saturating_add(cost);
        change(self.young.entry(id.clone()).or_default());
    }
}

fn cost(found: &Found) -> usize {
    found.target.cost().saturating_add(found.text.as_ref().map_or(0, |text| text.len()))
}
