//! A disk whose sync does nothing.

use std::path::Path;
use std::sync::Arc;

use stix_store::vfs::mem::{Fate, Mem};
use stix_store::vfs::{DirEntry, File, Lock, ReadFile, ReadVfs, Vfs};
use stix_store::{Compression, Result, Store};

use super::damage;
use crate::crash::fates::Noise;
use crate::expected::Expected;
use crate::session::{Session, body, options};

/// A file system that says that it has synced.
#[derive(Clone, Debug)]
struct Lying(Mem);

#[derive(Debug)]
struct LyingFile(Box<dyn File>);

impl ReadVfs for Lying {
    fn list(&self, dir: &str) -> Result<Option<Vec<DirEntry>>> {
        self.0.list(dir)
    }
    fn open(&self, path: &str) -> Result<Option<Arc<dyn ReadFile>>> {
        self.0.open(path)
    }
    fn root(&self) -> &Path {
        self.0.root()
    }
    fn lock_shared(&self, path: &str) -> Result<Option<Box<dyn Lock>>> {
        self.0.lock_shared(path)
    }
}

impl Vfs for Lying {
    fn create_new(&self, path: &str) -> Result<Box<dyn File>> {
        Ok(Box::new(LyingFile(self.0.create_new(path)?)))
    }
    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &str) -> Result<()> {
        self.0.remove(path)
    }
    fn create_dir(&self, path: &str) -> Result<()> {
        self.0.create_dir(path)
    }
    fn sync_file(&self, _: &str) -> Result<()> {
        Ok(())
    }
    fn sync_dir(&self, _: &str) -> Result<()> {
        Ok(())
    }
    fn lock_exclusive(&self, path: &str, note: &str) -> Result<Box<dyn Lock>> {
        self.0.lock_exclusive(path, note)
    }
    fn as_read(self: Arc<Self>) -> Arc<dyn ReadVfs> {
        self
    }
}

impl File for LyingFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.append(bytes)
    }
    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_lying_disk_loses_is_told_or_never_there_and_no_wrong_bytes_are_served() {
    // R29: nobody can keep a promise on such a disk. But what is answered without a word must be a state that there was.
    let mem = Mem::new();
    let mut session = Session::new(&mem, Arc::new(Lying(mem.clone())));
    session.create(&options(512, Compression::Zstd)).unwrap();
    // From here on it lies; the store itself is there.
    let mem = mem.snapshot_all();
    let mut session = {
        session.leave();
        Session::resume(&mem, &session.states)
    };
    session.go_on(Arc::new(Lying(mem.clone())));
    session.open().unwrap();
    for round in 0..5 {
        for number in 0..4 {
            session.put(number, u64::from(round % 2), &body(round * 10 + number, 150)).unwrap();
        }
        session.delete(round % 4, u64::from(round % 2)).unwrap();
        session.commit().unwrap();
        if round % 2 == 1 {
            session.close().unwrap();
            session.open().unwrap();
        }
    }
    session.close().unwrap();
    session.leave();
    let mut noise = Noise(29);
    let (mut told, mut whole) = (0, 0);
    for count in 0..=mem.ops().len() {
        for _ in 0..6 {
            let (keep, tear) = (2 + noise.below(12), noise.below(4) == 0);
            let image = mem.crash_at(count, |_, op| match (&op.action, noise.below(keep)) {
                (stix_store::vfs::mem::Action::Append { bytes, .. }, 1) if tear => {
                    Fate::Bytes(bytes[..bytes.len() / 2].to_vec())
                }
                (_, 0) => Fate::Drop,
                _ => Fate::Apply,
            });
            let Ok(store) = Store::open_read_only_on(Arc::new(image.clone())) else { continue };
            let view = store.view();
            // Whatever is found under a name in a run was once put there.
            if let Ok(state) = &Expected::of(&view) {
                for (key, record) in &state.records {
                    let known = session.states.iter().any(|past| past.records.get(key) == Some(record));
                    assert!(known, "{key:?} after {count} operations");
                }
            }
            let is_state = Expected::of(&view).is_ok_and(|found| session.states.contains(&found));
            if is_state {
                whole += 1;
            } else {
                let warned = store.loss().is_some() || view.gaps() > 0 || !damage(&image).is_empty();
                assert!(warned, "a state that never was, and nobody is told, after {count} operations");
                told += 1;
            }
        }
    }
    assert!(told > 20 && whole > 20, "{told} were told, {whole} were whole");
}
