//! The state that an earlier commit left behind, as far as the log still tells.

use std::sync::Arc;

use super::aside::Aside;
use super::identity::load_true_config;
use super::index_file::IndexFiles;
use super::log::{LogPosition, LogSink, Transaction, read_log};
use super::open::seed_of;
use super::replay::{Look, Replay, Seen};
use super::state::State;
use super::view::View;
use super::working::Working;
use crate::error::{Damage, Error, Result};
use crate::format::index::Totals;
use crate::id::{CommitId, Location};
use crate::index::Overlay;
use crate::limits::REPLAY_MAX_RECORDS;

impl View {
    /// The state after an earlier commit. Cost: the heads of the whole log are read. Memory: some 16 MiB, and 30
    /// bytes of temporary files for each record that was live then, as long as there is such a view.
    ///
    /// # Errors
    /// `CompactedAway` if a compaction or a repair came after that commit: what it removed, nobody knows any more.
    /// `BadInput` for a commit that is still to come; failures of reading.
    pub fn as_of(&self, commit: CommitId) -> Result<View> {
        let newest = self.commit();
        if commit == newest {
            return Ok(self.clone());
        }
        if commit > newest {
            let reason = format!("the newest commit of the store is {newest}");
            return Err(Error::BadInput { what: format!("commit {commit}"), reason });
        }
        let (inner, now) = self.parts();
        let config = load_true_config(&inner.read, &mut Vec::new())?;
        let state = State {
            position: LogPosition::default(),
            layers: Vec::new(),
            aside: 0,
            overlay: Arc::new(Overlay::new(seed_of(&config), Totals::default())),
            segments: Arc::clone(&now.segments),
            dead: Arc::clone(&now.dead),
            gaps: 0,
        };
        let mut working = Working::new(state, None);
        let mut position = LogPosition::default();
        // No segment is left out now that was not left out already.
        let files = IndexFiles { read: &inner.read, vfs: None, config: &config };
        let aside = Aside::new(files, &now.dead, REPLAY_MAX_RECORDS);
        let replay = Replay::new(&mut working, aside);
        let pending = Vec::new();
        let mut past = Past { replay, until: commit, pending, reached: position, rewritten: None };
        let end = read_log(&now.segments, &mut position, Look, &mut past)?;
        if let Some(by) = past.rewritten {
            return Err(Error::CompactedAway { commit, by });
        }
        let Past { replay, reached, .. } = past;
        replay.finish(reached);
        working.state.gaps = end.gaps;
        Ok(View::new(Arc::clone(inner), Arc::new(working.state)))
    }
}

/// Replays the log up to a commit, and looks on for what took records of that time away.
struct Past<'w> {
    replay: Replay<'w>,
    until: CommitId,
    /// The records of the transaction whose number comes next.
    pending: Vec<Vec<Seen>>,
    reached: LogPosition,
    /// The first later commit that left segments out.
    rewritten: Option<CommitId>,
}

impl LogSink<Vec<Seen>> for Past<'_> {
    fn committed(&mut self, notes: Vec<Seen>) -> Result<()> {
        if self.reached.link.id < self.until {
            self.pending.push(notes);
        }
        Ok(())
    }

    fn damage(&mut self, at: Location, len: u32, damage: Damage) -> Result<()> {
        self.replay.damage(at, len, damage)
    }

    fn transaction(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let next_segment = transaction.commit.map_or(self.reached.next_segment, |commit| commit.next_segment);
        if transaction.link.id <= self.until {
            self.reached = LogPosition { link: transaction.link, end: transaction.end, next_segment };
            pending.into_iter().try_for_each(|notes| self.replay.committed(notes))?;
            return self.replay.transaction(transaction);
        }
        if transaction.commit.is_some_and(|commit| !commit.live.is_empty()) {
            self.rewritten.get_or_insert(transaction.link.id);
        }
        Ok(())
    }

    fn tail(&mut self, _: Location, _: u32, _: CommitId) -> Result<()> {
        Ok(())
    }
}
