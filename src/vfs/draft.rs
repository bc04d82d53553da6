//! A file system whose changes stay in memory: for work that is to be tried and must leave no trace.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::mem::Mem;
use super::{DirEntry, File, Kind, Lock, ReadFile, ReadVfs, Scratch, Vfs, check_dir, check_path};
use crate::error::{Error, Result};

/// Shows the files of another file system, which it can only read, as if everything that is written here had been
/// written there. Nobody else is kept from anything: exclusive locks hold here only, shared ones below too, so that
/// what is read stays. Memory: what is written.
#[derive(Debug)]
pub struct Draft {
    below: Arc<dyn ReadVfs>,
    own: Mem,
    /// Files of `below` that were removed here.
    gone: Mutex<BTreeSet<String>>,
}

impl Draft {
    /// Begins with no change.
    pub fn new(below: Arc<dyn ReadVfs>) -> Draft {
        Draft { below, own: Mem::new(), gone: Mutex::default() }
    }

    /// Tells what there is of a name.
    fn kind(&self, path: &str) -> Result<Option<Kind>> {
        if path.is_empty() {
            return Ok(Some(Kind::Directory));
        }
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entries = self.list(dir)?.unwrap_or_default();
        Ok(entries.into_iter().find(|entry| entry.name == name).map(|entry| entry.kind))
    }

    /// Prepares for a file of that path: its directory, if there is one, is in memory too then.
    fn make_room(&self, op: &'static str, path: &str) -> Result<()> {
        let Some((dir, _)) = path.rsplit_once('/') else { return Ok(()) };
        if self.kind(dir)? != Some(Kind::Directory) {
            return Err(self.failed(op, path, ErrorKind::NotFound));
        }
        self.make_room(op, dir)?;
        self.own.create_dir(dir)
    }

    /// Hides a file of below.
    fn hide(&self, path: &str) {
        self.gone.lock().insert(path.to_owned());
    }

    /// Tells whether all there is of a name is of this draft.
    fn is_own(&self, path: &str) -> Result<bool> {
        let is_dir = self.own.list(path)?.is_some() && self.below.list(path)?.is_none();
        Ok(is_dir || self.own.open(path)?.is_some())
    }

    fn failed(&self, op: &'static str, path: &str, kind: ErrorKind) -> Error {
        Error::io(op, self.root().join(path), io::Error::from(kind))
    }
}

impl ReadVfs for Draft {
    fn list(&self, dir: &str) -> Result<Option<Vec<DirEntry>>> {
        let (own, below) = (self.own.list(dir)?, self.below.list(dir)?);
        if own.is_none() && below.is_none() {
            return Ok(None);
        }
        let mut entries = own.unwrap_or_default();
        let gone = self.gone.lock();
        for entry in below.unwrap_or_default() {
            let is_hidden = gone.contains(&super::join(dir, &entry.name));
            if !is_hidden && !entries.iter().any(|own| own.name == entry.name) {
                entries.push(entry);
            }
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Some(entries))
    }

    fn open(&self, path: &str) -> Result<Option<Arc<dyn ReadFile>>> {
        if let Some(file) = self.own.open(path)? {
            return Ok(Some(file));
        }
        if self.gone.lock().contains(path) { Ok(None) } else { self.below.open(path) }
    }

    fn root(&self) -> &Path {
        self.below.root()
    }

    fn scratch(&self) -> Result<Box<dyn Scratch>> {
        self.below.scratch()
    }

    fn lock_shared(&self, path: &str) -> Result<Option<Box<dyn Lock>>> {
        let (own, below) = (self.own.lock_shared(path)?, self.below.lock_shared(path)?);
        Ok(if own.is_none() && below.is_none() {
            None
        } else {
            Some(Box::new(Both { _locks: [own, below] }))
        })
    }
}

impl Vfs for Draft {
    fn create_new(&self, path: &str) -> Result<Box<dyn File>> {
        check_path(path)?;
        if self.kind(path)?.is_some() {
            return Err(Error::Exists { path: self.root().join(path) });
        }
        self.make_room("create", path)?;
        self.own.create_new(path)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        check_path(from)?;
        check_path(to)?;
        if !self.is_own(from)? {
            match self.kind(from)? {
                // What is there already is not moved: nobody needs that.
                Some(_) => return Err(self.failed("rename", from, ErrorKind::Unsupported)),
                None => return Err(self.failed("rename", from, ErrorKind::NotFound)),
            }
        }
        if self.kind(to)? == Some(Kind::Directory) {
            return Err(self.failed("rename", from, ErrorKind::IsADirectory));
        }
        self.make_room("rename", to)?;
        self.own.rename(from, to)
    }

    fn remove(&self, path: &str) -> Result<()> {
        check_path(path)?;
        if self.kind(path)? == Some(Kind::Directory) {
            return Err(self.failed("remove", path, ErrorKind::IsADirectory));
        }
        self.own.remove(path)?;
        self.hide(path);
        Ok(())
    }

    fn create_dir(&self, path: &str) -> Result<()> {
        check_dir(path)?;
        match self.kind(path)? {
            Some(Kind::Directory) => Ok(()),
            Some(_) => Err(Error::Exists { path: self.root().join(path) }),
            None => {
                self.make_room("create directory", path)?;
                self.own.create_dir(path)
            }
        }
    }

    fn sync_file(&self, path: &str) -> Result<()> {
        check_path(path)?;
        match self.kind(path)? {
            Some(Kind::File) => Ok(()),
            Some(_) | None => Err(self.failed("sync", path, ErrorKind::NotFound)),
        }
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        check_dir(dir)?;
        match self.kind(dir)? {
            Some(Kind::Directory) => Ok(()),
            Some(_) | None => Err(self.failed("sync directory", dir, ErrorKind::NotFound)),
        }
    }

    fn lock_exclusive(&self, path: &str, note: &str) -> Result<Box<dyn Lock>> {
        check_path(path)?;
        self.make_room("open lock", path)?;
        self.own.lock_exclusive(path, note)
    }

    fn as_read(self: Arc<Self>) -> Arc<dyn ReadVfs> {
        self
    }
}

#[derive(Debug)]
struct Both {
    _locks: [Option<Box<dyn Lock>>; 2],
}

impl Lock for Both {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::publish;

    #[test]
    fn what_is_written_shows_and_what_is_below_stays() {
        let below = Mem::new();
        below.create_dir("d").unwrap();
        below.set_bytes("d/old", b"old".to_vec());
        below.set_bytes("config", b"1".to_vec());
        below.set_bytes("readers", Vec::new());
        let before = below.ops().len();
        let draft = Draft::new(Arc::new(below.clone()));
        let names = |dir: &str| {
            let entries = draft.list(dir).unwrap().unwrap();
            entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
        };
        draft.create_new("d/new").unwrap().append(b"new").unwrap();
        assert_eq!(names("d"), ["new", "old"]);
        assert!(matches!(draft.create_new("d/old"), Err(Error::Exists { .. })));
        draft.remove("d/old").unwrap();
        assert_eq!(names("d"), ["new"]);
        assert!(draft.open("d/old").unwrap().is_none());
        publish(&draft, "", "config.tmp", "config", b"2").unwrap();
        assert_eq!(draft.read("config", 9).unwrap().unwrap(), b"2");
        assert_eq!(names(""), ["config", "d", "readers"]);
        draft.create_new("d/old").unwrap();
        assert_eq!(draft.read("d/old", 9).unwrap().unwrap(), b"");
        drop(draft.lock_exclusive("readers", "me").unwrap());
        let share = draft.lock_shared("readers").unwrap();
        assert!(share.is_some() && matches!(below.lock_exclusive("readers", ""), Err(Error::Locked { .. })));
        drop(share);
        assert_eq!(below.ops().len(), before, "nothing was done below");
        assert_eq!(below.bytes("config").unwrap(), b"1");
    }
}
