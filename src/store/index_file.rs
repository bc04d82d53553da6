//! Writes index files: as a stream, so that memory does not grow with their entries.

use std::sync::Arc;

use super::checkpoint::Plan;
use super::open::seed_of;
use super::state::{IndexFile, ReplayedKeys, State};
use crate::error::{Error, Result};
use crate::format::config::Config;
use crate::format::index::FileKind;
use crate::id::SegmentId;
use crate::index::{
    Covered, Entry, Index, IndexBuilder, IndexMeta, Layer, Merged, Packed, RecordKeys, merge,
};
use crate::limits::INDEX_PART_ENTRIES;
use crate::seeded::{self, Bug};
use crate::vfs::{File, Map, ReadVfs, Scratch, Vfs};

/// The name under which an index file is written before it gets its own.
const TEMP_FILE: &str = "index.tmp";

/// The name of its packed entries, where these are many.
const ENTRIES_FILE: &str = "index.entries.tmp";

/// What an index without a name is called where it is damaged: not as one that the log can replace, being made of it.
const ASIDE_NAME: &str = "temporary index";

/// Tells whether a file is one that only exists while an index is written.
pub(super) fn is_temporary(name: &str) -> bool {
    name == TEMP_FILE || name == ENTRIES_FILE
}

/// Where index files are written.
#[derive(Clone, Copy)]
pub(super) struct IndexFiles<'v> {
    pub(super) read: &'v Arc<dyn ReadVfs>,
    /// The store. `None` where nothing is to be written into it: then what has no name is elsewhere.
    pub(super) vfs: Option<&'v dyn Vfs>,
    pub(super) config: &'v Config,
}

impl<'v> IndexFiles<'v> {
    /// Writes the layer that a plan makes of a state, and gives it its name. On return it is durable.
    ///
    /// # Errors
    /// `Damaged` for the layers that it is made of; `ReadOnly`; failures of the file system.
    pub(super) fn publish(
        &self,
        state: &State,
        plan: Plan,
        covered: Covered,
        segments: &[(SegmentId, u32)],
    ) -> Result<Arc<IndexFile>> {
        let read_only = || Error::ReadOnly { reason: "nothing is written into it".to_owned() };
        let vfs = self.vfs.ok_or_else(read_only)?;
        let (kind, packed, bytes) = self.prepare(state, plan, covered, segments)?;
        vfs.remove(TEMP_FILE)?;
        let mut file = vfs.create_new(TEMP_FILE)?;
        packed.write(&bytes, INDEX_PART_ENTRIES, &mut |bytes| file.append(bytes))?;
        if !seeded::has(Bug::IndexBeforeData) {
            file.sync()?;
        }
        drop(file);
        let name = kind.file_name(covered.commit);
        vfs.rename(TEMP_FILE, &name)?;
        vfs.sync_dir("")?;
        Index::open(map(vfs, &name)?, &name, self.config.store).map(Arc::new)
    }

    /// Writes it as a file without a name, which is gone when the state is: no other process ever sees it.
    ///
    /// # Errors
    /// As of [`publish`](IndexFiles::publish).
    pub(super) fn set_aside(&self, state: &State, plan: Plan, covered: Covered) -> Result<Arc<IndexFile>> {
        let (_, packed, bytes) = self.prepare(state, plan, covered, &[])?;
        let mut file = self.scratch(TEMP_FILE)?;
        packed.write(&bytes, INDEX_PART_ENTRIES, &mut |bytes| file.append(bytes))?;
        Index::open(file.into_map()?, ASIDE_NAME, self.config.store).map(Arc::new)
    }

    /// Makes a file that has no name any more once it is written; until then it may have this one.
    fn scratch(&self, name: &'static str) -> Result<Box<dyn Scratch + 'v>> {
        let Some(vfs) = self.vfs else { return self.read.scratch().map(|file| -> Box<dyn Scratch> { file }) };
        vfs.remove(name)?;
        Ok(Box::new(InStore { vfs, name, file: vfs.create_new(name)? }))
    }

    /// Packs the entries of a layer.
    fn prepare(
        &self,
        state: &State,
        plan: Plan,
        covered: Covered,
        segments: &[(SegmentId, u32)],
    ) -> Result<(FileKind, Packed, Map)> {
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
        // Of a layer that a replay has set aside a head may be one that was put right.
        let keys = ReplayedKeys(&state.segments);
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
        Ok((kind, packed, bytes))
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
        let mut file = self.scratch(ENTRIES_FILE)?;
        let packed = builder.pack(entries, &mut |more| file.append(more))?;
        Ok((packed, file.into_map()?))
    }
}

/// A file in the store that loses its name when it is written.
#[derive(Debug)]
struct InStore<'v> {
    vfs: &'v dyn Vfs,
    name: &'static str,
    file: Box<dyn File>,
}

impl Scratch for InStore<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.append(bytes)
    }

    fn into_map(mut self: Box<Self>) -> Result<Map> {
        // What is mapped is durable first: a page that could not be written would be read back as something else.
        self.file.sync()?;
        let map = map(self.vfs, self.name)?;
        self.vfs.remove(self.name)?;
        Ok(map)
    }
}

fn map(vfs: &dyn Vfs, name: &str) -> Result<Map> {
    let file = vfs.open(name)?;
    let file = file.ok_or_else(|| Error::NoStore { path: vfs.root().join(name) })?;
    file.map(file.len()?)
}
