//! Mirroring: what the tree no longer holds is deleted, if it is surely gone and not too much.
//!
//! Surely gone: its run directory was listed completely and has nothing of its name, or the listing of the
//! tree's top level lacks the run. A bad or unreadable file is there, and so is a link whose end is missing; an
//! unreadable directory says nothing.

use std::collections::BTreeMap;

use super::Mirror;
use super::commit::Committer;
use super::scan::{RunDir, RunEntry, Tree, in_file_order};
use super::target::{Stored, Target};
use crate::error::{Error, Result};
use crate::id::RunKey;
use crate::progress::Stop;

/// How many snapshots may be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Removals {
    mirror: Mirror,
    allowed: u64,
    done: u64,
}

impl Removals {
    /// Counts what mirroring would delete, before anything is written.
    ///
    /// # Errors
    /// `BadInput` if that is more than half of the live snapshots and not forced: a volume that is not
    /// mounted is no deletion.
    pub(super) fn plan(mirror: Mirror, tree: &Tree, target: &impl Target, stop: &Stop) -> Result<Removals> {
        let removals = Removals::new(mirror, target.len_before());
        if mirror == Mirror::Tombstone {
            let gone = count_gone(tree, target, stop)?;
            if gone > removals.allowed {
                return Err(too_many(gone, target.len_before()));
            }
        }
        Ok(removals)
    }

    /// The limits for a store that holds that many snapshots.
    pub(super) fn new(mirror: Mirror, live: u64) -> Removals {
        let allowed = match mirror {
            Mirror::Keep => 0,
            Mirror::Tombstone => live / 2,
            Mirror::Force => u64::MAX,
        };
        Removals { mirror, allowed, done: 0 }
    }

    /// Counts one more. The tree may have changed since it was counted, so the limit holds here too.
    ///
    /// # Errors
    /// `BadInput` if that is one too many.
    pub(super) fn spend(&mut self) -> Result<()> {
        if self.done >= self.allowed {
            return Err(too_many(self.done.saturating_add(1), self.allowed.saturating_mul(2)));
        }
        self.done = self.done.saturating_add(1);
        Ok(())
    }

    fn is_on(self) -> bool {
        self.mirror != Mirror::Keep
    }
}

fn too_many(gone: u64, live: u64) -> Error {
    Error::BadInput {
        what: "mirror".to_owned(),
        reason: format!(
            "{gone} or more of {live} snapshots are gone from the tree; force it if that is right"
        ),
    }
}

fn count_gone(tree: &Tree, target: &impl Target, stop: &Stop) -> Result<u64> {
    let runs: BTreeMap<&str, &RunEntry> = tree.runs.iter().map(|run| (run.name.as_str(), run)).collect();
    let mut gone = 0u64;
    for (key, _, name) in target.runs_before()? {
        stop.check()?;
        let dir = match runs.get(name.as_str()).map(|run| run.open(&tree.root)) {
            None if tree.unlisted.contains(&name) => continue,
            None => None,
            Some(Ok((_, dir))) => Some(dir),
            Some(Err(_)) => continue,
        };
        target.records_before(key, &mut |name, stored| {
            let is_there = dir.as_ref().is_some_and(|dir| dir.lists(&name));
            if matches!(stored, Stored::File { .. }) && !is_there {
                gone = gone.saturating_add(1);
            }
            Ok(())
        })?;
    }
    Ok(gone)
}

/// A snapshot to delete: its name and the ids in it that differ from that.
type Gone = (Vec<u8>, Vec<Vec<u8>>);

impl<T: Target> Committer<'_, T> {
    /// Deletes what the store holds of a completely listed run directory and the directory does not. Tells
    /// whether a file that gave aliases was among it.
    ///
    /// # Errors
    /// As [`take`](Committer::take).
    pub(super) fn remove_gone_files(&mut self, dir: &RunDir) -> Result<bool> {
        let Some(run) = dir.stored.get().copied().flatten().filter(|_| self.removals.is_on()) else {
            return Ok(false);
        };
        let gone = self.gone(run, |name| !dir.lists(name))?;
        let odd = gone.iter().any(|(_, ids)| !ids.is_empty());
        for (name, ids) in gone {
            self.remove(&dir.entry.name, run, &name, &ids)?;
        }
        Ok(odd)
    }

    /// Deletes the runs that the tree does not hold. For the end of the import.
    ///
    /// # Errors
    /// As [`take`](Committer::take), and `Cancelled`.
    pub(super) fn remove_gone_runs(&mut self, is_there: impl Fn(&str) -> bool, stop: &Stop) -> Result<()> {
        if !self.removals.is_on() {
            return Ok(());
        }
        for (run, _, run_name) in self.target.runs_before()? {
            if is_there(&run_name) {
                continue;
            }
            let gone = self.gone(run, |_| true)?;
            for (name, ids) in gone {
                stop.check()?;
                self.remove(&run_name, run, &name, &ids)?;
            }
            self.remove_stray_aliases(run)?;
            self.remove_run(run)?;
        }
        Ok(())
    }

    /// Returns the snapshots of a run that are gone, in the order of their files.
    fn gone(&self, run: RunKey, is_gone: impl Fn(&[u8]) -> bool) -> Result<Vec<Gone>> {
        let mut gone: Vec<Gone> = Vec::new();
        self.target.records_before(run, &mut |name, stored| {
            match stored {
                Stored::File { ids } if is_gone(&name) => gone.push((name, ids)),
                Stored::File { .. } | Stored::Alias { .. } => {}
            }
            Ok(())
        })?;
        gone.sort_by(|one, other| in_file_order(&one.0, &other.0));
        Ok(gone)
    }

    /// Deletes aliases whose file did not name them: damaged files, an interrupted import.
    fn remove_stray_aliases(&mut self, run: RunKey) -> Result<()> {
        let mut aliases = BTreeMap::new();
        self.target.records_before(run, &mut |name, stored| {
            if let Stored::Alias { file } = stored {
                aliases.insert(name, file);
            }
            Ok(())
        })?;
        aliases.iter().try_for_each(|(id, file)| self.delete_alias(id, file, run))
    }
}
