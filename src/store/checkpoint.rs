//! Writes index and hints: so that opening replays a bounded tail only. A checkpoint is no commit: it only
//! saves work, and losing one loses none.

use std::sync::Arc;

use super::inner::replace_file;
use super::open::{files_of, is_index_damage, parse_index_name, seed_of};
use super::state::{IndexFile, Keys};
use super::txn::Writer;
use crate::error::Result;
use crate::format::config::CONFIG_FILE;
use crate::format::hints;
use crate::format::index::FileKind;
use crate::format::segment::file_name;
use crate::format::sources;
use crate::id::{CommitId, SegmentId};
use crate::index::{Covered, Index, IndexBuilder, IndexMeta, Layer, Overlay, merge};
use crate::limits::DELTAS_MAX;
use crate::seeded::{self, Bug};
use crate::segment::dictionary;

/// The name under which an index file is written before it gets its own.
const TEMP_FILE: &str = "index.tmp";

/// What a checkpoint writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    /// A new base from everything.
    Base,
    /// A delta from the overlay and that many of the newest deltas.
    Delta(usize),
}

impl Writer {
    /// Publishes what was committed since the newest index file. Cost: the entries it writes. Small
    /// deltas are merged so that each is at least twice the next newer one (as in a binary counter), and
    /// all into the base once they are over 1/8 of it.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        match self.write_checkpoint() {
            Err(error) if is_index_damage(&error) => {
                self.forget_index(&error)?;
                self.write_checkpoint()
            }
            written => written,
        }
    }

    fn write_checkpoint(&mut self) -> Result<()> {
        let commit = self.state().position.link.id;
        // After a compaction a new base drops what the old files say of segments that are gone.
        let plan = if self.state().dead.is_empty() { self.plan() } else { Plan::Base };
        let segments = self.segment_table()?;
        self.publish_hints(commit)?;
        let index = self.publish_index(commit, plan, &segments)?;
        let state = &mut self.working.state;
        match plan {
            Plan::Base => state.layers = vec![index],
            Plan::Delta(merged) => {
                state.layers.drain(..merged);
                state.layers.insert(0, index);
            }
        }
        let totals = state.layers.first().map(|newest| newest.totals()).unwrap_or_default();
        state.overlay = Arc::new(Overlay::new(seed_of(&self.inner.config), totals));
        (self.working.tail_records, self.working.tail_bytes) = (0, 0);
        self.inner.publish(&self.working.state);
        self.remove_superseded()
    }

    fn plan(&self) -> Plan {
        let state = self.state();
        let Some((base, deltas)) = state.layers.split_last() else { return Plan::Base };
        let entries = |index: &Arc<IndexFile>| u64::from(index.counts().entries);
        let fresh = u64::try_from(state.overlay.len()).unwrap_or(u64::MAX);
        let total = deltas.iter().map(entries).fold(fresh, u64::saturating_add);
        if total.saturating_mul(8) > entries(base) {
            return Plan::Base;
        }
        let mut merged = 0usize;
        let mut sum = fresh;
        for delta in deltas {
            let keeps = deltas.len().saturating_sub(merged) < DELTAS_MAX;
            if keeps && sum.saturating_mul(2) < entries(delta) {
                break;
            }
            sum = sum.saturating_add(entries(delta));
            merged = merged.saturating_add(1);
        }
        Plan::Delta(merged)
    }

    /// Lists all segments with the lengths of those that do not grow any more.
    fn segment_table(&self) -> Result<Vec<(SegmentId, u32)>> {
        let state = self.state();
        let mut table = Vec::with_capacity(state.segments.ids().len());
        let known: Vec<(SegmentId, Option<u32>)> = match state.layers.first() {
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
            table.push((*id, len));
        }
        Ok(table)
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
        let state = self.state();
        let (kind, count) = match plan {
            Plan::Base => (FileKind::Base, state.layers.len()),
            Plan::Delta(merged) => (FileKind::Delta, merged),
        };
        let layers: Vec<&IndexFile> = state.layers.iter().take(count).map(|layer| &**layer).collect();
        let mut merged = merge(&layers, Some(&state.overlay), kind, &Keys(&state.segments))?;
        if !state.dead.is_empty() {
            merged.entries.retain(|entry| !state.dead.contains(&entry.at.segment));
            merged.rows.retain(|row| row.at.is_none_or(|at| !state.dead.contains(&at.segment)));
        }
        let layer = match plan {
            Plan::Base => Layer::Base,
            Plan::Delta(merged) => Layer::Delta {
                base: state.layers.last().map(|base| base.covered().commit).unwrap_or_default(),
                previous: state.layers.get(merged).map(|layer| layer.covered().commit).unwrap_or_default(),
                totals: state.overlay.totals(),
            },
        };
        let position = state.position;
        let covered = Covered {
            commit,
            at: position.link.at,
            data_crc: position.link.data_crc,
            end: position.end,
            next_segment: self.working.next_segment,
        };
        let config = &self.inner.config;
        let mut builder = IndexBuilder::from_merged(
            IndexMeta { store: config.store, seed: seed_of(config), covered, gaps: state.gaps, layer },
            merged,
        );
        builder.segments(segments);
        let name = kind.file_name(commit);
        self.vfs.remove(TEMP_FILE)?;
        let mut file = self.vfs.create_new(TEMP_FILE)?;
        builder.write(&mut |bytes| file.append(bytes))?;
        if !seeded::has(Bug::IndexBeforeData) {
            file.sync()?;
        }
        drop(file);
        self.vfs.rename(TEMP_FILE, &name)?;
        self.vfs.sync_dir("")?;
        let file = self.inner.read.open(&name)?;
        let file =
            file.ok_or_else(|| crate::error::Error::NoStore { path: self.inner.read.root().join(&name) })?;
        Index::open(file.map(file.len()?)?, &name, config.store).map(Arc::new)
    }

    /// Removes index and hints files that no layer needs, and what a crash has left of a file that was to be published.
    /// Readers that are about to open one list again.
    fn remove_superseded(&self) -> Result<()> {
        let state = self.state();
        let in_use: Vec<String> =
            state.layers.iter().map(|layer| layer.kind().file_name(layer.covered().commit)).collect();
        let hints_name = hints::file_name(state.position.link.id);
        for entry in files_of(&self.vfs.list("")?.unwrap_or_default()) {
            let is_index = parse_index_name(&entry.name).is_some();
            let is_hints = entry.name.strip_prefix("hints.").is_some_and(|rest| rest.parse::<u64>().is_ok());
            let keep = in_use.contains(&entry.name) || entry.name == hints_name;
            if (is_index || is_hints || is_leftover(&entry.name)) && !keep {
                self.vfs.remove(&entry.name)?;
            }
        }
        Ok(())
    }
}

/// Tells whether a file is the first half of a publication: of ours, and never given its name.
fn is_leftover(name: &str) -> bool {
    let Some(name) = name.strip_suffix(".tmp") else { return false };
    name == "index"
        || name == CONFIG_FILE
        || name.starts_with("hints.")
        || sources::is_file_name(name)
        || dictionary::parse_file_name(name).is_some()
}
