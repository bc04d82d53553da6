//! What came after a commit, found in the log's end and not by reading everything.

use super::view::View;
use crate::error::Result;
use crate::format::record::Tag;
use crate::id::{CommitId, Instant, Key, Location};
use crate::progress::Stop;
use crate::segment::Step;
use crate::store::PutKind;

impl View {
    /// Counts the live snapshots in runs up to `until` that a later transaction than `since` brought: new ones and changed
    /// ones. Cost: the heads of the log behind that commit are read, and the records of these snapshots. Each segment says
    /// which commit came before it, so older ones are not looked into. After a compaction that is the whole log, once.
    ///
    /// # Errors
    /// Failures of reading; `Cancelled`. Damaged records do not count.
    pub fn count_since(&self, since: CommitId, until: Instant, stop: &Stop) -> Result<u64> {
        let mut count = 0u64;
        if self.commit() <= since {
            return Ok(count);
        }
        let segments = &self.parts().1.segments;
        for id in segments.ids().iter().rev() {
            let segment = segments.require(*id)?;
            let mut walk = segment.walk(None)?;
            while let Some(step) = walk.step()? {
                stop.check()?;
                let Step::Record { offset, head } = step else { continue };
                let key = head.key();
                if head.tag == Tag::Put && !key.is_run() && key.run.instant() <= until {
                    let came = self.came_after(since, Location { segment: *id, offset }, &key)?;
                    count = count.saturating_add(u64::from(came));
                }
            }
            if segment.header().as_ref().is_ok_and(|header| header.previous.id <= since) {
                break;
            }
        }
        Ok(count)
    }

    /// Tells whether the live snapshot of a key lies at a location and came after a commit.
    fn came_after(&self, since: CommitId, at: Location, key: &Key) -> Result<bool> {
        if self.ask(|state| state.locate(key))? != Some(at) {
            return Ok(false);
        }
        match self.ask(|state| state.record(at, key)) {
            Ok(found) => Ok(found
                .is_some_and(|record| record.kind() == PutKind::Snapshot && record.first_commit() > since)),
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
