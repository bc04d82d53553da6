//! A backup tree as the place from which a repair takes lost snapshots again, prepared as an import would.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::scan::{RunDir, RunEntry, Tree, file_name_of};
use super::target::object_ids;
use crate::error::Result;
use crate::limits::FILE_MAX_BYTES;
use crate::snapshot::{Meta, bundle};
use crate::store::repair::{LostKind, RepairSource, Replacement, Wanted};
use crate::vfs::tree::SourceDir;

/// A backup tree. Opens the run directories as they are asked for; what cannot be read there is not there.
#[derive(Debug)]
pub struct TreeSource {
    tree: Tree,
    open: Option<OpenRun>,
    buffer: Vec<u8>,
}

/// The run directory that was asked last.
#[derive(Debug)]
struct OpenRun {
    name: String,
    dir: SourceDir,
    run: RunDir,
    /// The file in which each content id that is no file's name is found; filled when an alias is asked for.
    aliases: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl TreeSource {
    /// Opens the folder that holds `opencti_data`, or that folder itself.
    ///
    /// # Errors
    /// `BadInput` if there is no tree; failures of reading the folder.
    pub fn open(path: &Path) -> Result<TreeSource> {
        Ok(TreeSource { tree: Tree::open(path)?, open: None, buffer: Vec::new() })
    }

    /// Finds the directory of a run: that of its name, else the one in the place of its discriminator among those of
    /// its instant, as an import numbers them.
    fn entry(&self, wanted: &Wanted<'_>) -> Option<RunEntry> {
        let run = wanted.lost.run;
        let mut same = self.tree.runs.iter().filter(|entry| entry.at == run.instant());
        let found = match wanted.run_name {
            Some(name) => same.find(|entry| entry.name == name),
            None => same.nth(usize::from(run.discriminator())),
        };
        found.cloned()
    }

    fn enter(&mut self, entry: &RunEntry) -> Option<&mut OpenRun> {
        if self.open.as_ref().is_none_or(|open| open.name != entry.name) {
            self.open = None;
            match entry.open(&self.tree.root) {
                Ok((dir, run)) => {
                    self.open = Some(OpenRun { name: entry.name.clone(), dir, run, aliases: None });
                }
                Err(error) => tracing::warn!("{error}"),
            }
        }
        self.open.as_mut()
    }
}

impl RepairSource for TreeSource {
    fn find(&mut self, wanted: &Wanted<'_>) -> Result<Option<Replacement>> {
        let Some(entry) = self.entry(wanted) else { return Ok(None) };
        let mut buffer = std::mem::take(&mut self.buffer);
        let Some(open) = self.enter(&entry) else { return Ok(None) };
        let found = match wanted.lost.kind {
            LostKind::Run => {
                let (name, meta) = (entry.name.into_bytes(), open.run.meta.clone());
                Some(Replacement { name, meta, ..Replacement::default() })
            }
            LostKind::Snapshot => open.snapshot(wanted, &mut buffer),
            LostKind::Alias => open.alias(wanted, &mut buffer),
            LostKind::Deletion => None,
        };
        self.buffer = buffer;
        Ok(found)
    }
}

impl OpenRun {
    fn snapshot(&self, wanted: &Wanted<'_>, buffer: &mut Vec<u8>) -> Option<Replacement> {
        let name = match wanted.lost.name() {
            Some(name) if self.run.has_file(&name) => name,
            Some(_) => return None,
            None => self.names().find(|name| wanted.is_named(name))?.to_vec(),
        };
        let meta = self.read(&name, buffer)?;
        let object = meta.1;
        Some(Replacement { name, meta: meta.0.encode(), object, body: buffer.clone() })
    }

    fn alias(&mut self, wanted: &Wanted<'_>, buffer: &mut Vec<u8>) -> Option<Replacement> {
        if self.aliases.is_none() {
            let mut aliases = BTreeMap::new();
            // In file order, so that of several files the last one has the id.
            for name in self.names() {
                let Some((meta, _)) = self.read(name, buffer) else { continue };
                for id in object_ids(&meta, name) {
                    aliases.insert(id, name.to_vec());
                }
            }
            self.aliases = Some(aliases);
        }
        let (id, file) = self.aliases.as_ref()?.iter().find(|(id, _)| wanted.is_named(id))?;
        Some(Replacement { name: id.clone(), body: file.clone(), ..Replacement::default() })
    }

    /// The names of the snapshot files, in file order.
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        let names = (0..self.run.entries.len()).map(|index| self.run.snapshot_name(index));
        names.filter(|name| self.run.has_file(name))
    }

    /// Reads and parses a file into the buffer.
    fn read(&self, name: &[u8], buffer: &mut Vec<u8>) -> Option<(Meta, std::ops::Range<u32>)> {
        let file = file_name_of(name);
        let info = match self.dir.read_file(OsStr::from_bytes(&file), buffer, FILE_MAX_BYTES) {
            Ok(info) => info,
            Err(error) => {
                tracing::warn!("{error}");
                return None;
            }
        };
        let bundle = bundle::parse(buffer).ok()?;
        let meta = Meta::of(&bundle, name, Some(info.mtime));
        let object = bundle.objects.first().map_or(0..0, |first| first.range.clone());
        Some((meta, object))
    }
}
