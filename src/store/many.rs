//! Many lookups at once.
//!
//! A lookup waits for memory twice: for the bucket of the index, and then for the record it names. Many
//! lookups can wait together: the buckets of a batch are asked for first, then the records that they name, and only
//! then is the first of them looked at.

use super::snapshot::Snapshot;
use super::state::State;
use super::view::View;
use crate::error::Result;
use crate::id::{Instant, Name, RunKey};
use crate::vfs::prefetch;

/// Lookups that wait together. More ask for more lines than the processor waits for at a time, and fewer leave
/// it waiting.
const BATCH: usize = 32;

/// Which snapshot of an id is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum When {
    /// The newest one.
    #[default]
    Newest,
    /// The one of exactly this run.
    In(RunKey),
    /// The newest whose run's instant is at or before this one.
    AtOrBefore(Instant),
    /// The oldest whose run's instant is strictly later than this one.
    After(Instant),
}

impl View {
    /// The snapshot of an id that is asked for: as [`latest`](View::latest), [`get`](View::get),
    /// [`at_or_before`](View::at_or_before) or [`closest_after`](View::closest_after) answers.
    ///
    /// # Errors
    /// As for [`get`](View::get).
    #[inline]
    pub fn find(&self, id: impl AsRef<[u8]>, when: When) -> Result<Option<Snapshot<'_>>> {
        self.find_name(&Name::of(id.as_ref()), when)
    }

    /// The snapshots of many ids, in the order in which they are asked for; each answer is its own, damaged ones included. They wait
    /// for memory together, so this takes less time than as many calls of [`find`](View::find). Memory is that of the answers, which
    /// borrow from the view where segments are mapped, and hold a copy of their record where they are not.
    pub fn get_many<'v, I>(&'v self, ids: &[I], when: When) -> Vec<Result<Option<Snapshot<'v>>>>
    where
        I: AsRef<[u8]>,
    {
        let mut answers = Vec::with_capacity(ids.len());
        // It does not fail where the callback does not.
        self.each_of_many(ids, when, |_, answer| {
            answers.push(answer);
            Ok(())
        })
        .ok();
        answers
    }

    /// The same, one answer after the other, each with its id: memory is that of one answer.
    ///
    /// # Errors
    /// Those of `each`, which end it. What is wrong with an answer is for `each` to judge.
    pub fn each_of_many<'v, I>(
        &'v self,
        ids: &[I],
        when: When,
        mut each: impl FnMut(&I, Result<Option<Snapshot<'v>>>) -> Result<()>,
    ) -> Result<()>
    where
        I: AsRef<[u8]>,
    {
        let mut names = Vec::with_capacity(BATCH.min(ids.len()));
        for batch in ids.chunks(BATCH) {
            names.clear();
            names.extend(batch.iter().map(|id| Name::of(id.as_ref())));
            self.state().prefetch(&names);
            for (id, name) in batch.iter().zip(&names) {
                each(id, self.find_name(name, when))?;
            }
        }
        Ok(())
    }

    #[inline]
    fn find_name(&self, name: &Name<'_>, when: When) -> Result<Option<Snapshot<'_>>> {
        self.ask(|state| match when {
            When::Newest => state.newest(name, RunKey::MAX),
            When::In(run) => state.exactly(name, run),
            When::AtOrBefore(at) => state.newest(name, RunKey::last_of(at)),
            When::After(at) => match RunKey::last_of(at).next() {
                Some(min) => state.oldest(name, min),
                None => Ok(None),
            },
        })
    }
}

impl State {
    /// Asks the processor for what lookups of these names will read. Nothing is believed of what is seen on the way.
    fn prefetch(&self, names: &[Name<'_>]) {
        for layer in &self.layers {
            for name in names {
                prefetch(layer.bucket_of(layer.hash(&name.key)));
            }
        }
        for layer in &self.layers {
            for name in names {
                if let Some(at) = layer.likely(&name.key)
                    && let Some(segment) = self.segments.open_already(at.segment)
                {
                    segment.prefetch(at.offset);
                }
            }
        }
    }
}
