//! Many lookups at once.
//!
//! A lookup waits for memory twice: for the bucket of the index, and then for the record it names. Many
//! lookups can wait together: the buckets of a batch are asked for first, then the records that they name, and only
//! then is the first of them looked at.

use std::collections::VecDeque;

use super::direct::{Unsure, Way};
use super::snapshot::Snapshot;
use super::view::View;
use crate::error::Result;
use crate::id::{Instant, Name, RunKey};
use crate::vfs::Soon;

/// Lookups that wait for their buckets, and as many for their records, while one is answered. More ask for more lines than
/// the first cache holds, and fewer leave the processor waiting.
const AHEAD: usize = 8;

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
        let mut coming = ids.iter();
        let mut waiting = VecDeque::with_capacity(AHEAD.saturating_mul(2).saturating_add(1));
        // How many of them, from the front, wait for their records.
        let mut known = 0usize;
        loop {
            let next = coming.next();
            if let Some(id) = next {
                let name = Name::of(id.as_ref());
                self.state().prefetch_way(&name.key);
                waiting.push_back((id, name, Way::Unknown));
            }
            let behind = if next.is_some() { AHEAD } else { 0 };
            while known.saturating_add(behind) < waiting.len()
                && let Some((_, name, way)) = waiting.get_mut(known)
            {
                *way = self.state().way(&name.key, Soon::Later);
                known = known.saturating_add(1);
            }
            if next.is_none() || known > AHEAD {
                let Some((id, name, way)) = waiting.pop_front() else { return Ok(()) };
                known = known.saturating_sub(1);
                each(id, self.go(way, &name, when))?;
            }
        }
    }

    #[inline]
    fn find_name(&self, name: &Name<'_>, when: When) -> Result<Option<Snapshot<'_>>> {
        self.go(self.state().way(&name.key, Soon::Next), name, when)
    }

    #[inline]
    fn go(&self, way: Way, name: &Name<'_>, when: When) -> Result<Option<Snapshot<'_>>> {
        match self.state().take_way(way, name, when) {
            Ok(answer) => Ok(answer),
            Err(Unsure) => self.search(name, when),
        }
    }

    /// Answers any question, and says what is wrong.
    #[inline(never)]
    pub(super) fn search(&self, name: &Name<'_>, when: When) -> Result<Option<Snapshot<'_>>> {
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
