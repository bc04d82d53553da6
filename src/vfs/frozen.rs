//! Files as long as they were when first asked: for who must read a log that grows twice and find the same.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::{DirEntry, Lock, Map, ReadFile, ReadVfs, Scratch, join};
use crate::error::Result;

/// A file system whose files below one directory do not grow: each has for good the length that it has when that is
/// asked for the first time, and reads end there, however often it is opened. As files are only ever appended to,
/// what lies before that end stays the same too. All else is as it is below.
#[derive(Debug)]
pub struct Frozen {
    below: Arc<dyn ReadVfs>,
    dir: String,
    hidden: Vec<String>,
    lengths: Mutex<HashMap<String, Arc<OnceLock<u64>>>>,
}

impl Frozen {
    /// Freezes the files of a directory, one by one when their lengths are asked for. Those at the paths `hidden` are not
    /// listed.
    pub fn new(below: Arc<dyn ReadVfs>, dir: &str, hidden: Vec<String>) -> Frozen {
        Frozen { below, dir: format!("{dir}/"), hidden, lengths: Mutex::default() }
    }
}

impl ReadVfs for Frozen {
    fn list(&self, dir: &str) -> Result<Option<Vec<DirEntry>>> {
        let Some(mut entries) = self.below.list(dir)? else { return Ok(None) };
        entries.retain(|entry| !self.hidden.contains(&join(dir, &entry.name)));
        Ok(Some(entries))
    }

    fn open(&self, path: &str) -> Result<Option<Arc<dyn ReadFile>>> {
        let Some(file) = self.below.open(path)? else { return Ok(None) };
        if !path.starts_with(&self.dir) {
            return Ok(Some(file));
        }
        let len = self.lengths.lock().entry(path.to_owned()).or_default().clone();
        Ok(Some(Arc::new(FrozenFile { file, len })))
    }

    fn root(&self) -> &Path {
        self.below.root()
    }

    fn scratch(&self) -> Result<Box<dyn Scratch>> {
        self.below.scratch()
    }

    fn lock_shared(&self, path: &str) -> Result<Option<Box<dyn Lock>>> {
        self.below.lock_shared(path)
    }
}

#[derive(Debug)]
struct FrozenFile {
    file: Arc<dyn ReadFile>,
    len: Arc<OnceLock<u64>>,
}

impl ReadFile for FrozenFile {
    fn len(&self) -> Result<u64> {
        match self.len.get() {
            Some(len) => Ok(*len),
            None => self.file.len().map(|len| *self.len.get_or_init(|| len)),
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let left = self.len.get().map_or(u64::MAX, |len| len.saturating_sub(offset));
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), offset)
    }

    fn will_need(&self, offset: u64, len: u64) {
        self.file.will_need(offset, len);
    }

    fn map(&self, len: u64) -> Result<Map> {
        self.file.map(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::Vfs;
    use crate::vfs::mem::Mem;

    #[test]
    fn a_file_ends_for_good_where_it_ended_when_its_length_was_asked_for() {
        let mem = Mem::new();
        mem.create_dir("d").unwrap();
        for path in ["d/a", "d/b", "c"] {
            mem.set_bytes(path, b"0123".to_vec());
        }
        let frozen = Frozen::new(Arc::new(mem.clone()), "d", Vec::new());
        assert_eq!(frozen.open("d/a").unwrap().unwrap().len().unwrap(), 4);
        assert_eq!(frozen.open("c").unwrap().unwrap().len().unwrap(), 4);
        for path in ["d/a", "d/b", "c"] {
            mem.set_bytes(path, b"0123456".to_vec());
        }
        let read = |path: &str| frozen.read(path, 10).unwrap().unwrap();
        assert_eq!(read("d/a"), b"0123", "opened again");
        assert_eq!(read("d/b"), b"0123456", "nobody had asked yet");
        assert_eq!(read("c"), b"0123456", "not in that directory");
        let mut buffer = [0u8; 4];
        let file = frozen.open("d/a").unwrap().unwrap();
        assert_eq!(file.read_at(&mut buffer, 2).unwrap(), 2);
        assert_eq!(file.read_at(&mut buffer, 9).unwrap(), 0);
    }
}
