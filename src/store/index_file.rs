//! Writes index files: as a stream, so that memory does not grow with their entries.

use std::sync::Arc;

use super::checkpoint::Plan;
use super::open::seed_of;
use super::state::{IndexFile, Keys, State};
use crate::error::{Error, Result};
use crate::format::config::Config;
use crate::format::index::FileKind;
use crate::index::{
    Covered, Entry, Index, IndexBuilder, IndexMeta, Layer, Merged, Packed, RecordKeys, merge,
};
use crate::limits::INDEX_PART_ENTRIES;
use crate::seeded::{self, Bug};
use crate::vfs::{Map, ReadVfs, Vfs};

/// The name under which an index file is written before it gets its own.
const TEMP_FILE: &str = "index.tmp";

/// The name of its packed entries, where these are many.
const ENTRIES_FILE: &str = "index.entries.tmp";

/// Tells whether a file is one that only exists while an index is written.
pub(super) fn is_temporary(name: &str) -> bool {
    name == TEMP_FILE || name == ENTRIES_FILE
}

/// Where index files are written.
#[derive(Clone, Copy)]
pub(super) struct IndexFiles<'v> {
    pub(super) read: &'v Arc<dyn ReadVfs>,
    pub(super) vfs: &'v dyn Vfs,
    pub(super) config: &'v Config,
}

impl IndexFiles<'_> {
    /// Writes the layer that a plan makes of a state, and gives it its name. On return it is durable.
    ///
    /// # Errors
    /// `Damaged` for the layers that it is made of; failures of the file system.
    pub(super) fn publish(
        &self,
        state: &State,
        plan: Plan,
        covered: Covered,
        segments: &[(crate::id::SegmentId, u32)],
    ) -> Result<Arc<IndexFile>> {
        let kind = self.write(state, plan, covered, segments)?;
        let name = kind.file_name(covered.commit);
        self.vfs.rename(TEMP_FILE, &name)?;
        self.vfs.sync_dir("")?;
        self.open(&name)
    }

    /// Writes it as a file without a name, which is gone when the state is: no other process ever sees it.
    ///
    /// # Errors
    /// As of [`publish`](IndexFiles::publish).
    pub(super) fn set_aside(&self, state: &State, plan: Plan, covered: Covered) -> Result<Arc<IndexFile>> {
        self.write(state, plan, covered, &[])?;
        let index = self.open(TEMP_FILE)?;
        self.vfs.remove(TEMP_FILE)?;
        Ok(index)
    }

    fn open(&self, name: &str) -> Result<Arc<IndexFile>> {
        Index::open(self.map(name)?, name, self.config.store).map(Arc::new)
    }

    fn map(&self, name: &str) -> Result<Map> {
        let file = self.read.open(name)?;
        let file = file.ok_or_else(|| Error::NoStore { path: self.read.root().join(name) })?;
        file.map(file.len()?)
    }

    fn write(
        &self,
        state: &State,
        plan: Plan,
        covered: Covered,
        segments: &[(crate::id::SegmentId, u32)],
    ) -> Result<FileKind> {
        let (kind, layer, count) = match plan {
            Plan::Base => (FileKind::Base, Layer::Base, state.layers.len()),
            Plan::Delta(merged) => {
                let base = state.layers.last().map(|base| base.covered().commit).unwrap_or_default();
                let previous =
                    state.layers.get(merged).map(|layer| layer.covered().commit).unwrap_or_default();
                let totals = state.overlay.totals();
                (FileKind::Delta, Layer::Delta { base, previous, totals }, merged)
            }
        };
        let layers: Vec<&IndexFile> = state.layers.iter().take(count).map(|layer| &**layer).collect();
        let keys = Keys(&state.segments);
        let merged = merge(&layers, Some(&state.overlay), kind, &keys)?;
        let IndexFiles { config, .. } = *self;
        let meta = IndexMeta { store: config.store, seed: seed_of(config), covered, gaps: state.gaps, layer };
        let mut builder = IndexBuilder::new(meta);
        builder.segments(segments);
        let is_dead = |id| state.dead.contains(&id);
        for row in merged.rows().iter().filter(|row| !row.at.is_some_and(|at| is_dead(at.segment))) {
            builder.run(*row);
        }
        let entries =
            merged.entries().filter(|entry| !matches!(entry, Ok(entry) if is_dead(entry.at.segment)));
        let (packed, bytes) = self.pack(builder, &merged, entries)?;
        self.vfs.remove(TEMP_FILE)?;
        let mut file = self.vfs.create_new(TEMP_FILE)?;
        packed.write(&bytes, INDEX_PART_ENTRIES, &mut |bytes| file.append(bytes))?;
        if !seeded::has(Bug::IndexBeforeData) {
            file.sync()?;
        }
        Ok(kind)
    }

    /// Packs entries in memory, or where they are many, in a file that is gone when they are.
    fn pack<B: AsRef<[u8]>, R: RecordKeys + ?Sized>(
        &self,
        builder: IndexBuilder,
        merged: &Merged<'_, B, R>,
        entries: impl Iterator<Item = Result<Entry>>,
    ) -> Result<(Packed, Map)> {
        if merged.len_max() <= INDEX_PART_ENTRIES.into() {
            let mut bytes = Vec::new();
            let packed = builder.pack(entries, &mut |more| {
                bytes.extend_from_slice(more);
                Ok(())
            })?;
            return Ok((packed, Map::copied(bytes)));
        }
        self.vfs.remove(ENTRIES_FILE)?;
        let mut file = self.vfs.create_new(ENTRIES_FILE)?;
        let packed = builder.pack(entries, &mut |more| file.append(more))?;
        // What is mapped is durable first: a page that could not be written would be read back as something else.
        file.sync()?;
        let bytes = self.map(ENTRIES_FILE)?;
        self.vfs.remove(ENTRIES_FILE)?;
        Ok((packed, bytes))
    }
}
