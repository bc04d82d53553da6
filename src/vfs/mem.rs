//! A file system in memory that can crash, for tests.
//!
//! It keeps a log of every operation that changes something. What survives a crash follows from the log:
//! what was synced does, what was not may. [`Mem::crash`] loses all of it; [`Mem::crash_at`] lets the test
//! choose the [`Fate`] of each operation, at any place of the log, and so visits every state a power cut
//! could leave. Ideas: `cockroachdb/pebble vfs/mem_fs.go` (`CrashClone`), `RocksDB`
//! `utilities/fault_injection_fs.h`, and ALICE (the log of calls, cut at each).
//!
//! What it does not do: no hard or symbolic links, no modes, no clock, no limit of space ([`super::fault`]
//! brings errors).

mod handle;
mod image;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use self::handle::{MemFile, MemLock};
pub use self::image::{Action, Entry, Fate, NodeId, Op};
use self::image::{Image, durable};
use super::{DirEntry, File, Kind, Lock, ReadFile, ReadVfs, Vfs, check_dir, check_path, holder_from};
use crate::error::{Error, Result};

/// The root's name in messages.
const ROOT_NAME: &str = "mem";

/// A file system in memory. Clones share it.
#[derive(Clone)]
pub struct Mem {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// What was there when the log began; all of it durable.
    base: Image,
    /// `base` with the whole log applied.
    live: Image,
    ops: Vec<Op>,
    /// Locks belong to a running system: no crash keeps them, and they are not logged.
    locks: BTreeMap<NodeId, LockState>,
}

#[derive(Debug, Default)]
struct LockState {
    shared: usize,
    exclusive: bool,
    note: String,
}

impl Default for Mem {
    fn default() -> Mem {
        Mem::new()
    }
}

impl fmt::Debug for Mem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mem").field("files", &self.paths()).finish_non_exhaustive()
    }
}

impl Mem {
    /// Returns an empty file system.
    pub fn new() -> Mem {
        Mem::from_image(Image::new())
    }

    fn from_image(image: Image) -> Mem {
        let state = State { base: image.clone(), live: image, ops: Vec::new(), locks: BTreeMap::new() };
        Mem { state: Arc::new(Mutex::new(state)) }
    }

    /// Returns the file system as the worst power cut leaves it: only what is durable.
    #[must_use]
    pub fn crash(&self) -> Mem {
        self.crash_at(usize::MAX, |_, _| Fate::Drop)
    }

    /// Returns the file system as the end of the process leaves it: everything issued is there.
    #[must_use]
    pub fn snapshot_all(&self) -> Mem {
        Mem::from_image(self.state.lock().live.clone())
    }

    /// Returns the file system as a power cut leaves it after the first `count` operations of the log.
    /// Those that were durable by then are applied; `fate` decides on each of the others, by its number.
    #[must_use]
    pub fn crash_at(&self, count: usize, mut fate: impl FnMut(usize, &Op) -> Fate) -> Mem {
        let state = self.state.lock();
        let ops = state.ops.get(..count).unwrap_or(&state.ops);
        let mut image = state.base.clone();
        for (number, (op, durable)) in ops.iter().zip(durable(ops)).enumerate() {
            let fate = if durable { Fate::Apply } else { fate(number, op) };
            image.apply(&op.action, &fate);
        }
        Mem::from_image(image)
    }

    /// Returns the numbers of those of the first `count` operations that are not durable after them: the
    /// ones that [`crash_at`](Mem::crash_at) asks for.
    pub fn pending(&self, count: usize) -> Vec<usize> {
        let state = self.state.lock();
        let ops = state.ops.get(..count).unwrap_or(&state.ops);
        durable(ops).iter().enumerate().filter(|(_, durable)| !**durable).map(|(number, _)| number).collect()
    }

    /// Returns the log: every operation that changed something or made it durable, in order.
    pub fn ops(&self) -> Vec<Op> {
        self.state.lock().ops.clone()
    }

    /// Notes in the log that the program acknowledged something to its caller.
    pub fn mark(&self, text: impl Into<String>) {
        self.state.lock().issue(text, Action::Mark);
    }

    /// Returns the bytes of a file.
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.live.bytes(state.live.find(path)?).map(|bytes| bytes.to_vec())
    }

    /// Damages a file, or plants one: it has these bytes from now on, also for those who have it open.
    /// Durable at once. Returns false if the directory is absent or the path is one.
    pub fn set_bytes(&self, path: &str, bytes: Vec<u8>) -> bool {
        let mut state = self.state.lock();
        let (found, at) = (state.live.find(path), state.live.entry(path));
        let Some(at) = at.filter(|_| found.is_none_or(|node| state.live.kind(node) == Kind::File)) else {
            return false;
        };
        let node = found.unwrap_or(state.live.fresh());
        state.issue(path, Action::Damage { at, node, bytes: bytes.into() });
        true
    }

    /// Takes a file away, durably at once. Returns whether it was there.
    pub fn remove_raw(&self, path: &str) -> bool {
        let mut state = self.state.lock();
        let Some(at) = state.live.entry(path).filter(|_| state.live.find(path).is_some()) else {
            return false;
        };
        state.issue(path, Action::Lose { at });
        true
    }

    /// Returns the paths of all files, sorted by directory, then name.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.state.lock().live.collect_paths(Image::root(), "", &mut paths);
        paths
    }
}

impl State {
    fn issue(&mut self, path: impl Into<String>, action: Action) {
        self.live.apply(&action, &Fate::Apply);
        self.ops.push(Op { path: path.into(), action });
    }

    fn entry(&self, op: &'static str, path: &str) -> Result<Entry> {
        self.live.entry(path).ok_or_else(|| failed(op, path, ErrorKind::NotFound))
    }

    /// Finds a file, or creates it.
    fn file_or_new(&mut self, op: &'static str, path: &str) -> Result<NodeId> {
        match self.live.find(path) {
            Some(node) if self.live.kind(node) == Kind::File => Ok(node),
            Some(_) => Err(failed(op, path, ErrorKind::IsADirectory)),
            None => {
                let (at, node) = (self.entry(op, path)?, self.live.fresh());
                self.issue(path, Action::Create { at, node });
                Ok(node)
            }
        }
    }

    fn lock_of(&mut self, node: NodeId) -> &mut LockState {
        self.locks.entry(node).or_default()
    }
}

impl LockState {
    fn held(&self) -> Error {
        Error::Locked { path: ROOT_NAME.into(), holder: holder_from(self.note.as_bytes()) }
    }
}

fn failed(op: &'static str, path: &str, kind: ErrorKind) -> Error {
    Error::io(op, Path::new(ROOT_NAME).join(path), io::Error::from(kind))
}

impl ReadVfs for Mem {
    fn list(&self, dir: &str) -> Result<Option<Vec<DirEntry>>> {
        check_dir(dir)?;
        let state = self.state.lock();
        let names = state.live.find(dir).and_then(|node| state.live.names(node));
        let entry =
            |(name, &node): (&String, &NodeId)| DirEntry { name: name.clone(), kind: state.live.kind(node) };
        Ok(names.map(|names| names.iter().map(entry).collect()))
    }

    fn open(&self, path: &str) -> Result<Option<Arc<dyn ReadFile>>> {
        check_path(path)?;
        let state = self.state.lock();
        let node = state.live.find(path).filter(|node| state.live.kind(*node) == Kind::File);
        let open = |node| MemFile { mem: self.clone(), node, path: path.to_owned() };
        Ok(node.map(|node| -> Arc<dyn ReadFile> { Arc::new(open(node)) }))
    }

    fn root(&self) -> &Path {
        Path::new(ROOT_NAME)
    }

    fn lock_shared(&self, path: &str) -> Result<Option<Box<dyn Lock>>> {
        check_path(path)?;
        let mut state = self.state.lock();
        let Some(node) = state.live.find(path) else { return Ok(None) };
        let lock = state.lock_of(node);
        if lock.exclusive {
            return Err(lock.held());
        }
        lock.shared = lock.shared.saturating_add(1);
        Ok(Some(Box::new(MemLock { mem: self.clone(), node, exclusive: false })))
    }
}

impl Vfs for Mem {
    fn create_new(&self, path: &str) -> Result<Box<dyn File>> {
        check_path(path)?;
        let mut state = self.state.lock();
        let at = state.entry("create", path)?;
        if state.live.find(path).is_some() {
            return Err(Error::Exists { path: Path::new(ROOT_NAME).join(path) });
        }
        let node = state.live.fresh();
        state.issue(path, Action::Create { at, node });
        Ok(Box::new(MemFile { mem: self.clone(), node, path: path.to_owned() }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        check_path(from)?;
        check_path(to)?;
        let mut state = self.state.lock();
        let node = state.live.find(from).ok_or_else(|| failed("rename", from, ErrorKind::NotFound))?;
        let (old, new) = (state.entry("rename", from)?, state.entry("rename", to)?);
        let moves_dir = state.live.kind(node) == Kind::Directory;
        match state.live.find(to) {
            Some(same) if same == node => return Ok(()),
            Some(other) if moves_dir || state.live.kind(other) == Kind::Directory => {
                return Err(failed("rename", from, ErrorKind::IsADirectory));
            }
            Some(_) | None => {}
        }
        if to.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
            return Err(failed("rename", from, ErrorKind::InvalidInput));
        }
        state.issue(to, Action::Rename { from: old, to: new, node });
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<()> {
        check_path(path)?;
        let mut state = self.state.lock();
        let Some(node) = state.live.find(path) else { return Ok(()) };
        if state.live.kind(node) == Kind::Directory {
            return Err(failed("remove", path, ErrorKind::IsADirectory));
        }
        let at = state.entry("remove", path)?;
        state.issue(path, Action::Remove { at });
        Ok(())
    }

    fn create_dir(&self, path: &str) -> Result<()> {
        check_dir(path)?;
        let mut state = self.state.lock();
        match state.live.find(path) {
            Some(node) if state.live.kind(node) == Kind::Directory => Ok(()),
            Some(_) => Err(Error::Exists { path: Path::new(ROOT_NAME).join(path) }),
            None => {
                let (at, node) = (state.entry("create directory", path)?, state.live.fresh());
                state.issue(path, Action::CreateDir { at, node });
                Ok(())
            }
        }
    }

    fn sync_file(&self, path: &str) -> Result<()> {
        check_path(path)?;
        let mut state = self.state.lock();
        let node = state.live.find(path).filter(|node| state.live.kind(*node) == Kind::File);
        let node = node.ok_or_else(|| failed("sync", path, ErrorKind::NotFound))?;
        state.issue(path, Action::Sync { node });
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        check_dir(dir)?;
        let mut state = self.state.lock();
        let node = state.live.find(dir).filter(|node| state.live.names(*node).is_some());
        let node = node.ok_or_else(|| failed("sync directory", dir, ErrorKind::NotFound))?;
        state.issue(dir, Action::SyncDir { node });
        Ok(())
    }

    fn lock_exclusive(&self, path: &str, note: &str) -> Result<Box<dyn Lock>> {
        check_path(path)?;
        let mut state = self.state.lock();
        let file = state.file_or_new("open lock", path)?;
        let lock = state.lock_of(file);
        if lock.exclusive || lock.shared > 0 {
            return Err(lock.held());
        }
        (lock.exclusive, lock.note) = (true, note.to_owned());
        Ok(Box::new(MemLock { mem: self.clone(), node: file, exclusive: true }))
    }

    fn as_read(self: Arc<Self>) -> Arc<dyn ReadVfs> {
        self
    }
}

#[cfg(test)]
mod tests;
