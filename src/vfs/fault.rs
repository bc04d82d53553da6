//! A file system that fails on purpose, for tests.
//!
//! It counts every call that goes to the file system below, reads and locks included, and fails those
//! that the plan names. A test runs its work once to learn the count, then once for each number.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, File, Lock, Map, ReadFile, ReadVfs, Scratch, Vfs};
use crate::error::{Error, Result};

/// Which operations fail, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultPlan {
    /// The number of the first operation that fails, from 0.
    pub at: u64,
    /// The error number of the system that it fails with.
    pub errno: i32,
    /// How often.
    pub times: Times,
    /// How many bytes of a failing append still reach the file.
    pub written: usize,
}

/// How often a fault strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Times {
    /// Once; later operations work.
    Once,
    /// From then on.
    Always,
}

/// Wraps a file system and makes it fail by plan. Clones share the count and the plan.
#[derive(Clone, Debug)]
pub struct Fault {
    inner: Arc<dyn Vfs>,
    counter: Counter,
}

/// What the wrapper and its open files share.
#[derive(Clone, Debug)]
struct Counter(Arc<Mutex<Count>>);

#[derive(Debug)]
struct Count {
    next: u64,
    plan: Option<FaultPlan>,
    hits: Vec<String>,
}

impl Fault {
    /// Wraps a file system; without a plan it only counts.
    pub fn new(inner: Arc<dyn Vfs>, plan: Option<FaultPlan>) -> Fault {
        let count = Count { next: 0, plan, hits: Vec::new() };
        Fault { inner, counter: Counter(Arc::new(Mutex::new(count))) }
    }

    /// Returns how many operations there were.
    pub fn count(&self) -> u64 {
        self.counter.0.lock().next
    }

    /// Returns the operations that were made to fail, for messages: number, call and path.
    pub fn hits(&self) -> Vec<String> {
        self.counter.0.lock().hits.clone()
    }

    /// Replaces the plan. The count goes on.
    pub fn set_plan(&self, plan: Option<FaultPlan>) {
        self.counter.0.lock().plan = plan;
    }

    fn step(&self, op: &'static str, path: &str) -> Result<()> {
        self.counter.step(op, &self.inner.root().join(path)).map_err(|(error, _)| error)
    }

    fn wrap<T>(&self, path: &str, inner: T) -> Wrapped<T> {
        let path = self.inner.root().join(path);
        Wrapped { inner, path, counter: self.counter.clone(), poisoned: None }
    }
}

impl Counter {
    /// Counts an operation. A planned failure comes with the number of bytes that are still written.
    fn step(&self, op: &'static str, path: &Path) -> std::result::Result<(), (Error, usize)> {
        let mut count = self.0.lock();
        let number = count.next;
        count.next = number.saturating_add(1);
        let strikes = |plan: &FaultPlan| match plan.times {
            Times::Once => number == plan.at,
            Times::Always => number >= plan.at,
        };
        let Some(plan) = count.plan.filter(strikes) else { return Ok(()) };
        count.hits.push(format!("{number}: {op} {}", path.display()));
        Err((Error::io(op, path, io::Error::from_raw_os_error(plan.errno)), plan.written))
    }
}

impl ReadVfs for Fault {
    fn list(&self, dir: &str) -> Result<Option<Vec<DirEntry>>> {
        self.step("list", dir)?;
        self.inner.list(dir)
    }

    fn open(&self, path: &str) -> Result<Option<Arc<dyn ReadFile>>> {
        self.step("open", path)?;
        let file = self.inner.open(path)?;
        Ok(file.map(|file| -> Arc<dyn ReadFile> { Arc::new(self.wrap(path, file)) }))
    }

    fn root(&self) -> &Path {
        self.inner.root()
    }

    fn scratch(&self) -> Result<Box<dyn Scratch>> {
        self.step("scratch", "")?;
        Ok(Box::new(self.wrap("", self.inner.scratch()?)))
    }

    fn lock_shared(&self, path: &str) -> Result<Option<Box<dyn Lock>>> {
        self.step("lock", path)?;
        self.inner.lock_shared(path)
    }
}

impl Vfs for Fault {
    fn create_new(&self, path: &str) -> Result<Box<dyn File>> {
        self.step("create", path)?;
        Ok(Box::new(self.wrap(path, self.inner.create_new(path)?)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.step("rename", from)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.step("remove", path)?;
        self.inner.remove(path)
    }

    fn create_dir(&self, path: &str) -> Result<()> {
        self.step("create directory", path)?;
        self.inner.create_dir(path)
    }

    fn sync_file(&self, path: &str) -> Result<()> {
        self.step("sync", path)?;
        self.inner.sync_file(path)
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        self.step("sync directory", dir)?;
        self.inner.sync_dir(dir)
    }

    fn lock_exclusive(&self, path: &str, note: &str) -> Result<Box<dyn Lock>> {
        self.step("lock", path)?;
        self.inner.lock_exclusive(path, note)
    }

    fn as_read(self: Arc<Self>) -> Arc<dyn ReadVfs> {
        self
    }
}

/// An open file whose operations are counted.
#[derive(Debug)]
struct Wrapped<T> {
    inner: T,
    path: PathBuf,
    counter: Counter,
    poisoned: Option<String>,
}

impl<T> Wrapped<T> {
    fn step(&self, op: &'static str) -> Result<()> {
        self.counter.step(op, &self.path).map_err(|(error, _)| error)
    }

    fn check(&self) -> Result<()> {
        self.poisoned.as_ref().map_or(Ok(()), |reason| Err(Error::Poisoned { reason: reason.clone() }))
    }
}

impl ReadFile for Wrapped<Arc<dyn ReadFile>> {
    fn len(&self) -> Result<u64> {
        self.step("stat")?;
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.step("read")?;
        self.inner.read_at(buffer, offset)
    }

    fn map(&self, len: u64) -> Result<Map> {
        self.step("map")?;
        self.inner.map(len)
    }
}

impl Scratch for Wrapped<Box<dyn Scratch>> {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.step("write")?;
        self.inner.append(bytes)
    }

    fn into_map(self: Box<Self>) -> Result<Map> {
        self.step("map")?;
        self.inner.into_map()
    }
}

impl File for Wrapped<Box<dyn File>> {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        let Err((error, written)) = self.counter.step("write", &self.path) else {
            return self.inner.append(bytes);
        };
        self.poisoned = Some(error.to_string());
        self.inner.append(bytes.get(..written).unwrap_or(bytes))?;
        Err(error)
    }

    fn flush_hint(&mut self) {
        self.inner.flush_hint();
    }

    fn sync(&mut self) -> Result<()> {
        self.check()?;
        if let Err(error) = self.step("sync") {
            self.poisoned = Some(error.to_string());
            return Err(error);
        }
        self.inner.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::super::mem::Mem;
    use super::*;

    const EIO: i32 = 5;

    fn work(vfs: &dyn Vfs) -> Result<()> {
        vfs.create_dir("d")?;
        let mut file = vfs.create_new("d/a")?;
        file.append(b"12345678")?;
        file.sync()?;
        vfs.rename("d/a", "d/b")?;
        vfs.sync_dir("d")?;
        vfs.read("d/b", 100)?;
        vfs.remove("d/b")
    }

    #[test]
    fn each_operation_fails_once_at_its_number_and_later_ones_work() {
        let fault = Fault::new(Arc::new(Mem::new()), None);
        work(&fault).unwrap();
        assert_eq!(fault.count(), 10);
        for at in 0..10 {
            let plan = FaultPlan { at, errno: EIO, times: Times::Once, written: 0 };
            let fault = Fault::new(Arc::new(Mem::new()), Some(plan));
            let error = work(&fault).unwrap_err().to_string();
            assert!(error.contains("mem") && error.contains("os error 5"), "{error}");
            assert_eq!(fault.hits().len(), 1);
            fault.list("").unwrap();
        }
    }

    #[test]
    fn a_lasting_fault_fails_everything_until_the_plan_is_replaced() {
        let plan = FaultPlan { at: 3, errno: EIO, times: Times::Always, written: 0 };
        let fault = Fault::new(Arc::new(Mem::new()), Some(plan));
        work(&fault).unwrap_err();
        fault.list("").unwrap_err();
        fault.lock_exclusive("lock", "me").unwrap_err();
        fault.set_plan(None);
        fault.list("").unwrap();
    }

    #[test]
    fn a_failing_append_leaves_a_part_and_poisons_the_file() {
        let mem = Mem::new();
        let plan = FaultPlan { at: 2, errno: 28, times: Times::Once, written: 3 };
        let fault = Fault::new(Arc::new(mem.clone()), Some(plan));
        let mut file = fault.create_new("a").unwrap();
        file.append(b"1234").unwrap();
        assert!(matches!(file.append(b"5678"), Err(Error::Io { op: "write", .. })));
        assert_eq!(mem.bytes("a").unwrap(), b"1234567");
        assert!(matches!(file.append(b"x"), Err(Error::Poisoned { .. })));
        assert!(matches!(file.sync(), Err(Error::Poisoned { .. })));
    }

    #[test]
    fn a_failed_sync_is_never_followed_by_a_good_one() {
        let plan = FaultPlan { at: 2, errno: EIO, times: Times::Once, written: 0 };
        let fault = Fault::new(Arc::new(Mem::new()), Some(plan));
        let mut file = fault.create_new("a").unwrap();
        file.append(b"1234").unwrap();
        assert!(matches!(file.sync(), Err(Error::Io { op: "sync", .. })));
        assert!(matches!(file.sync(), Err(Error::Poisoned { .. })));
    }
}
