//! Shows that the simulator has teeth: for each sync that the store makes, a store that forgets it is found out. Where the
//! order of writes, an unlink or a checksum is what is forgotten, the store itself has a switch: `tools/mutants.sh`.

use std::path::Path;
use std::sync::Arc;

use stix_store::vfs::mem::Mem;
use stix_store::vfs::{DirEntry, File, Lock, ReadFile, ReadVfs, Vfs};
use stix_store::{Error, Result};

use super::simulate::Simulation;
use super::workloads::{Workload, named};

/// A sync that does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Forget {
    /// That of a segment before its COMMIT: each odd one.
    Records,
    /// That of a segment after its COMMIT: each even one.
    Commit,
    /// That of a file that a killed process has left.
    Found,
    /// That of a file whose name begins so, before it is published.
    Published(&'static str),
    /// That of a directory.
    Directory(&'static str),
}

/// A file system in memory that forgets something.
#[derive(Clone, Debug)]
pub(super) struct Forgetful {
    mem: Mem,
    forget: Forget,
}

impl Forgetful {
    pub(super) fn new(mem: &Mem, forget: Forget) -> Forgetful {
        Forgetful { mem: mem.clone(), forget }
    }
}

impl ReadVfs for Forgetful {
    fn list(&self, dir: &str) -> Result<Option<Vec<DirEntry>>> {
        self.mem.list(dir)
    }

    fn open(&self, path: &str) -> Result<Option<Arc<dyn ReadFile>>> {
        self.mem.open(path)
    }

    fn root(&self) -> &Path {
        self.mem.root()
    }

    fn lock_shared(&self, path: &str) -> Result<Option<Box<dyn Lock>>> {
        self.mem.lock_shared(path)
    }
}

impl Vfs for Forgetful {
    fn create_new(&self, path: &str) -> Result<Box<dyn File>> {
        let inner = self.mem.create_new(path)?;
        Ok(Box::new(ForgetfulFile { inner, path: path.to_owned(), forget: self.forget, syncs: 0 }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.mem.rename(from, to)
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.mem.remove(path)
    }

    fn create_dir(&self, path: &str) -> Result<()> {
        self.mem.create_dir(path)
    }

    fn sync_file(&self, path: &str) -> Result<()> {
        if self.forget == Forget::Found { Ok(()) } else { self.mem.sync_file(path) }
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        if self.forget
            == Forget::Directory(match dir {
                "" => "",
                _ => "data",
            })
        {
            return Ok(());
        }
        self.mem.sync_dir(dir)
    }

    fn lock_exclusive(&self, path: &str, note: &str) -> Result<Box<dyn Lock>> {
        self.mem.lock_exclusive(path, note)
    }

    fn as_read(self: Arc<Self>) -> Arc<dyn ReadVfs> {
        self
    }
}

#[derive(Debug)]
struct ForgetfulFile {
    inner: Box<dyn File>,
    path: String,
    forget: Forget,
    syncs: usize,
}

impl File for ForgetfulFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.append(bytes)
    }

    fn sync(&mut self) -> Result<()> {
        self.syncs += 1;
        let is_segment = self.path.starts_with("data/");
        let forgotten = match self.forget {
            Forget::Records => is_segment && !self.syncs.is_multiple_of(2),
            Forget::Commit => is_segment && self.syncs.is_multiple_of(2),
            Forget::Published(name) => self.path.starts_with(name),
            Forget::Found | Forget::Directory(_) => false,
        };
        if forgotten { Ok(()) } else { self.inner.sync() }
    }
}

#[test]
fn every_sync_that_a_store_forgets_is_found_out() {
    for (forget, name) in [
        (Forget::Records, "two_commits"),
        (Forget::Commit, "first_commit"),
        (Forget::Found, "unchanged"),
        (Forget::Published("config."), "create"),
        (Forget::Published("index."), "checkpoints"),
        (Forget::Published("hints."), "checkpoints"),
        (Forget::Published("dict."), "dictionary"),
        (Forget::Directory(""), "create"),
        (Forget::Directory("data"), "first_commit"),
    ] {
        let workload = Workload { forget: Some(forget), ..*named(name) };
        let found = Simulation::run(&workload);
        assert!(found.is_err(), "{forget:?} goes unnoticed in {name}: {found:?}");
    }
}

#[test]
fn a_file_system_that_refuses_to_sync_is_no_mutant() {
    // The control: the same workloads pass on a file system that forgets nothing that they use.
    let workload = Workload { forget: Some(Forget::Published("nothing")), ..*named("first_commit") };
    Simulation::run(&workload).map_err(|failure| failure.to_string()).unwrap();
    assert!(matches!(Mem::new().sync_file("absent"), Err(Error::Io { .. })));
}
