//! Writes index and hints: so that opening replays a bounded tail only. A checkpoint is no commit: it only
//! saves work, and losing one loses none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::index_file::{IndexFiles, is_temporary};
use super::inner::replace_file;
use super::open::{files_of, is_index_damage, parse_index_name, seed_of};
use super::state::{IndexFile, State};
use super::txn::Writer;
use crate::error::Result;
use crate::format::config::CONFIG_FILE;
use crate::format::hints;
use crate::format::segment::file_name;
use crate::format::sources;
use crate::id::{CommitId, SegmentId};
use crate::index::{Covered, Overlay};
use crate::limits::DELTAS_MAX;
use crate::segment::dictionary;

/// A base has at least so many times the entries of its deltas when a session has ended.
const DELTA_SHARE: u64 = 8;

/// What a new layer is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// A new base from everything.
    Base,
    /// A delta from the overlay and that many of the newest deltas.
    Delta(usize),
}

impl Writer {
    /// Publishes what was committed since the newest index file. Cost: the entries it writes. Small deltas are merged so
    /// that each is at least twice the next newer one (as in a binary counter), and all into the base once they outgrow
    /// it: so a bulk of any length writes its base at each doubling only. [`close`](Writer::close) leaves fewer. While segments
    /// that a compaction left out wait for a reader to end, each layer is a base.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        self.publish_layer(self.plan(self.beside_base()))
    }

    /// Returns the last layer of a session. Readers look into every layer, so a base is made where deltas are over 1/8 of it,
    /// and where the session wrote that much, so that its cost stays in proportion.
    pub(super) fn plan_at_close(&self) -> Plan {
        self.plan(self.beside_base().max(self.committed).saturating_mul(DELTA_SHARE))
    }

    /// Joins the layers that were published before the session ends, by its last commit or by a bulk that was killed, if they
    /// are to be a base by now. Nothing is lost without it, so a failure is a warning.
    pub(super) fn join_layers(&mut self) {
        let plan = self.plan_at_close();
        if plan != Plan::Base || self.state().layers.len() <= 1 {
            return;
        }
        self.working.seal_all(&self.inner);
        if let Err(error) = self.publish_layer(plan) {
            tracing::warn!("cannot join the files of the index yet: {error}");
        }
    }

    /// Publishes a new layer as planned, or a base of the log where an older one turns out to be damaged.
    pub(super) fn publish_layer(&mut self, plan: Plan) -> Result<()> {
        match self.write_checkpoint(plan) {
            Err(error) if is_index_damage(&error) => {
                self.forget_index(&error)?;
                self.write_checkpoint(Plan::Base)
            }
            written => written,
        }
    }

    /// Publishes a new layer as planned, and removes what it replaces.
    pub(super) fn write_checkpoint(&mut self, plan: Plan) -> Result<()> {
        let commit = self.state().position.link.id;
        let segments = self.segment_table(plan)?;
        self.publish_hints(commit)?;
        let index = self.publish_index(commit, plan, &segments)?;
        self.working.state.put_layer(index, plan, seed_of(&self.inner.config));
        (self.working.tail_records, self.working.tail_bytes) = (0, 0);
        self.inner.publish(&self.working.state);
        self.remove_superseded()
    }

    /// Returns the entries that stand, or are about to, in deltas.
    fn beside_base(&self) -> u64 {
        let state = self.state();
        let fresh = u64::try_from(state.overlay.len()).unwrap_or(u64::MAX);
        let deltas = state.layers.split_last().map_or(&[][..], |(_, deltas)| deltas);
        deltas.iter().map(|delta| u64::from(delta.counts().entries)).fold(fresh, u64::saturating_add)
    }

    /// Plans a base where none of as many entries as `weight` stands.
    fn plan(&self, weight: u64) -> Plan {
        let state = self.state();
        let base = state.layers.last().map_or(0, |base| u64::from(base.counts().entries));
        // After a compaction a new base drops what the old files say of segments that are gone.
        if state.published().is_empty() || !state.dead.is_empty() || weight > base {
            return Plan::Base;
        }
        // What was set aside becomes a part of it.
        Plan::Delta(state.small_deltas().max(state.aside))
    }

    /// Lists all segments with the lengths of those that do not grow any more. One that has gone since the newest index listed it
    /// stays in the list of a delta, as entries of the layers below may point into it: else nothing would say any more whose
    /// records are lost. To a base those that its own entries point into are added.
    fn segment_table(&self, plan: Plan) -> Result<Vec<(SegmentId, u32)>> {
        let state = self.state();
        let mut table: BTreeMap<SegmentId, u32> = BTreeMap::new();
        let known: Vec<(SegmentId, Option<u32>)> = match state.newest_index() {
            Some(newest) => newest.segments().flatten().collect(),
            None => Vec::new(),
        };
        // What is numbered above was never a segment: who removes it removes nothing of the store.
        for id in state.segments.ids().iter().filter(|id| **id < self.working.next_segment) {
            let before = known.binary_search_by_key(id, |(id, _)| *id).ok().and_then(|at| known.get(at));
            let len = match before.and_then(|(_, len)| *len) {
                Some(len) => len,
                None if state.segments.active() == Some(*id) => 0,
                None => match self.inner.read.open(&file_name(*id))? {
                    Some(file) => u32::try_from(file.len()?).unwrap_or(0),
                    None => continue,
                },
            };
            table.insert(*id, len);
        }
        if plan != Plan::Base {
            for (id, len) in known.into_iter().filter(|(id, _)| !state.dead.contains(id)) {
                table.entry(id).or_insert(len.unwrap_or(0));
            }
        }
        Ok(table.into_iter().collect())
    }

    fn publish_hints(&mut self, commit: CommitId) -> Result<()> {
        let Some(hints) = &self.working.hints else { return Ok(()) };
        let bytes = hints::encode(hints, self.inner.config.store, commit)?;
        replace_file(&*self.vfs, &hints::file_name(commit), &bytes)
    }

    fn publish_index(
        &self,
        commit: CommitId,
        plan: Plan,
        segments: &[(SegmentId, u32)],
    ) -> Result<Arc<IndexFile>> {
        let position = self.state().position;
        let covered = Covered {
            commit,
            at: position.link.at,
            data_crc: position.link.data_crc,
            end: position.end,
            next_segment: self.working.next_segment,
        };
        let (read, vfs, config) = (&self.inner.read, Some(&*self.vfs), &self.inner.config);
        IndexFiles { read, vfs, config }.publish(self.state(), plan, covered, segments)
    }

    /// Removes index and hints files that no layer needs, and what a crash has left of a file that was to be published.
    /// Readers that are about to open one list again.
    fn remove_superseded(&self) -> Result<()> {
        let state = self.state();
        let in_use: Vec<String> =
            state.published().iter().map(|layer| layer.kind().file_name(layer.covered().commit)).collect();
        let hints_name = hints::file_name(state.position.link.id);
        for entry in files_of(&self.vfs.list("")?.unwrap_or_default()) {
            let is_index = parse_index_name(&entry.name).is_some();
            let is_hints = entry.name.strip_prefix("hints.").is_some_and(|rest| rest.parse::<u64>().is_ok());
            let keep = in_use.contains(&entry.name) || entry.name == hints_name;
            if (is_index || is_hints || is_temporary(&entry.name) || is_leftover(&entry.name)) && !keep {
                self.vfs.remove(&entry.name)?;
            }
        }
        Ok(())
    }
}

impl State {
    /// Returns how many of the newest deltas a new one takes in: those that are not at least twice as large as what is
    /// newer than they.
    pub(super) fn small_deltas(&self) -> usize {
        let (mut sum, mut merged) = (u64::try_from(self.overlay.len()).unwrap_or(u64::MAX), 0usize);
        let (_, deltas) = self.layers.split_last().unzip();
        let deltas = deltas.unwrap_or_default();
        for delta in deltas {
            let keeps = deltas.len().saturating_sub(merged) < DELTAS_MAX;
            let entries = u64::from(delta.counts().entries);
            if keeps && sum.saturating_mul(2) < entries {
                break;
            }
            sum = sum.saturating_add(entries);
            merged = merged.saturating_add(1);
        }
        merged
    }

    /// Puts a layer that was set aside in the place of those that it was made of.
    pub(super) fn put_aside(&mut self, index: Arc<IndexFile>, plan: Plan, seed: u64) {
        let merged = if let Plan::Delta(merged) = plan { merged } else { self.aside };
        let aside = self.aside.saturating_sub(merged).saturating_add(1);
        self.put_layer(index, plan, seed);
        self.aside = aside;
    }

    /// Puts a new layer, which is published, in the place of those that it was made of.
    pub(super) fn put_layer(&mut self, index: Arc<IndexFile>, plan: Plan, seed: u64) {
        self.overlay = Arc::new(Overlay::new(seed, index.totals()));
        self.aside = 0;
        match plan {
            Plan::Base => self.layers = vec![index],
            Plan::Delta(merged) => {
                self.layers.drain(..merged);
                self.layers.insert(0, index);
            }
        }
    }
}

/// Tells whether a file is the first half of a publication: of ours, and never given its name.
fn is_leftover(name: &str) -> bool {
    let Some(name) = name.strip_suffix(".tmp") else { return false };
    name == CONFIG_FILE
        || name.starts_with("hints.")
        || sources::is_file_name(name)
        || dictionary::parse_file_name(name).is_some()
}
