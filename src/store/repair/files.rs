//! Repairs what stands beside the log: config, dictionaries, strays, index; and puts segments back in their places.

use super::evidence::{copy_bytes, copy_into, keep_findings, move_aside, open_dir};
use super::plan::{Mend, Plan};
use super::swap::{self, Swap};
use super::{FileRepair, RepairReport};
use crate::error::Result;
use crate::format::config::{self, CONFIG_FILE};
use crate::id::CommitId;
use crate::segment::dictionary;
use crate::store::checkpoint::Plan as Layers;
use crate::store::index_file::IndexFiles;
use crate::store::inner::{DATA_DIR, publish_dictionary, replace_file};
use crate::store::open::{Room, rebuild};
use crate::store::txn::Writer;
use crate::vfs::Vfs;

impl Writer {
    /// Repairs small files, sets strays aside, and puts segments back.
    pub(super) fn mend_small_files(&mut self, plan: &mut Plan, report: &mut RepairReport) -> Result<()> {
        let commit = self.state().position.link.id;
        if !plan.small.is_empty() || !plan.index.is_empty() {
            keep_findings(&*self.vfs, commit, &std::mem::take(&mut plan.findings))?;
        }
        for (file, mend) in std::mem::take(&mut plan.small) {
            let evidence = match mend {
                Mend::Config => {
                    let evidence = self.set_aside(commit, CONFIG_FILE)?;
                    let text = config::encode(&self.inner.config);
                    replace_file(&*self.vfs, CONFIG_FILE, text.as_bytes())?;
                    evidence
                }
                Mend::Dictionary(id) => {
                    let dictionary = self.state().segments.dictionary(id)?;
                    if matches!(dictionary::read_file(&*self.inner.read, id), Ok(Some(_))) {
                        continue;
                    }
                    let evidence = self.set_aside(commit, &file)?;
                    publish_dictionary(&*self.vfs, dictionary)?;
                    evidence
                }
                Mend::Stray => {
                    let evidence = self.set_aside(commit, &file)?;
                    self.working.forget_file(&file);
                    evidence
                }
            };
            report.files.push(FileRepair { file, action: mend.action(), evidence });
        }
        if !plan.swaps.is_empty() {
            self.put_back(&std::mem::take(&mut plan.swaps), commit, report)?;
        }
        Ok(())
    }

    fn set_aside(&self, commit: CommitId, file: &str) -> Result<Option<String>> {
        move_aside(&*self.vfs, commit, file)
    }

    /// Puts segments back: first all of them whole beside their places, then into them, so that after a crash at any
    /// place a whole copy of each is to be found.
    fn put_back(&mut self, swaps: &[Swap], commit: CommitId, report: &mut RepairReport) -> Result<()> {
        let vfs: &dyn Vfs = &*self.vfs;
        for swap in swaps {
            let temp = format!("{}.tmp", swap.to);
            if swap.from != temp {
                vfs.remove(&temp)?;
                copy_bytes(vfs, &swap.from, &temp)?;
            }
        }
        vfs.sync_dir(DATA_DIR)?;
        for swap in swaps {
            let mut evidence = None;
            if vfs.open(&swap.to)?.is_some() {
                let dir = open_dir(vfs, commit)?;
                evidence = Some(copy_into(vfs, &swap.to, &dir)?);
            }
            report.files.push(FileRepair { file: swap.to.clone(), action: swap::ACTION, evidence });
        }
        for swap in swaps {
            vfs.rename(&format!("{}.tmp", swap.to), &swap.to)?;
        }
        vfs.sync_dir(DATA_DIR)
    }

    /// Sets damaged files of the index aside.
    pub(super) fn set_index_aside(&mut self, plan: &mut Plan, report: &mut RepairReport) -> Result<()> {
        let commit = self.state().position.link.id;
        for file in std::mem::take(&mut plan.index) {
            let evidence = self.set_aside(commit, &file)?;
            report.files.push(FileRepair { file, action: "the index is built anew from the log", evidence });
        }
        Ok(())
    }

    /// Builds index and hints from the log alone and publishes them.
    pub(super) fn rebuild_index(&mut self) -> Result<()> {
        self.rollback()?;
        self.segment = None;
        let (read, vfs, config) = (&self.inner.read, Some(&*self.vfs), &self.inner.config);
        let room = Room::of(IndexFiles { read, vfs, config });
        let working = rebuild(room, &self.working.state.dead)?;
        let before = std::mem::replace(&mut self.working, working);
        self.working.goes_on_from(&before);
        self.indexed = None;
        self.working.seal_all(&self.inner);
        if self.state().position.link.id == CommitId(0) {
            self.inner.publish(&self.working.state);
            return Ok(());
        }
        self.write_checkpoint(Layers::Base)
    }
}
