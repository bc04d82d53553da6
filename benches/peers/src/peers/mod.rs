//! The stores that are compared: each loaded by its fastest bulk path, each asked in its fastest way.

use std::path::Path;

use stix_store::{Instant, ObjectKey, RunKey};

use crate::data::Data;

mod cdb;
mod lmdb;
mod odht_log;
mod ours;
pub(crate) mod own;
mod redb_file;
#[cfg(feature = "rocksdb")]
mod rocks;
mod sqlite;
mod tree;

/// What is done with an answer, while it is borrowed from the store.
pub(crate) type See<'a> = &'a mut dyn FnMut(&[u8]);

/// A store that is open.
pub(crate) trait Peer: Sync {
    /// What one thread asks through.
    fn session(&self) -> Box<dyn Session + '_>;
}

/// One thread's way to a store. An absent answer is not seen. `None` where a store has no way to answer.
pub(crate) trait Session {
    fn at(&mut self, id: &str, run: RunKey, see: See<'_>);

    fn newest(&mut self, id: &str, see: See<'_>) -> Option<()>;

    fn after(&mut self, id: &str, after: Instant, see: See<'_>) -> Option<()>;

    /// An id that is not there, in the fastest way to find that out.
    fn absent(&mut self, id: &str, see: See<'_>) -> Option<()> {
        self.newest(id, see)
    }

    /// Many newest ones.
    fn batch(&mut self, ids: &[&str], see: See<'_>) -> Option<()> {
        ids.iter().try_for_each(|id| self.newest(id, see))
    }

    /// Every snapshot once, in whatever order is fastest.
    fn scan(&mut self, see: See<'_>) -> Option<()>;

    /// The store's own verification of all that it holds, on all cores if it can.
    fn check(&mut self) -> Option<()> {
        None
    }
}

/// A kind of store.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Stores everything in an empty directory. On return it is durable.
    pub(crate) load: fn(&Path, &Data),
    /// Takes a backup tree (the first path) in by itself. The others are given what was read of it.
    pub(crate) import: Option<fn(&Path, &Path)>,
    pub(crate) open: fn(&Path) -> Box<dyn Peer>,
    /// Reads what another kind has loaded.
    pub(crate) data_of: Option<&'static str>,
    /// The scan verifies checksums by itself.
    pub(crate) verifies: bool,
}

const fn kind(name: &'static str, load: fn(&Path, &Data), open: fn(&Path) -> Box<dyn Peer>) -> Kind {
    Kind { name, load, import: None, open, data_of: None, verifies: false }
}

/// All kinds. Ours are first: verified, located only, and compressed.
pub(crate) const KINDS: &[Kind] = &[
    Kind { verifies: true, import: Some(ours::import_raw), ..kind("store", ours::load_raw, ours::open) },
    Kind { data_of: Some("store"), ..kind("store unverified", ours::load_raw, ours::open_unverified) },
    Kind {
        verifies: true,
        import: Some(ours::import_zstd),
        ..kind("store zstd", ours::load_zstd, ours::open)
    },
    kind("lmdb", lmdb::load, lmdb::open),
    kind("redb", redb_file::load, redb_file::open),
    #[cfg(feature = "rocksdb")]
    Kind { verifies: true, ..kind("rocksdb", rocks::load, rocks::open) },
    kind("sqlite", sqlite::load, sqlite::open),
    kind("cdb64", cdb::load, cdb::open),
    kind("odht log", odht_log::load, odht_log::open),
    kind("tree", tree::load, tree::open),
];

fn object(id: &str) -> [u8; 24] {
    ObjectKey::of(id.as_bytes()).0
}

/// The largest run that is not after an instant.
fn last_of(after: Instant) -> RunKey {
    RunKey::last_of(after)
}

/// Makes a directory's entries durable.
fn sync_dir(dir: &Path) {
    std::fs::File::open(dir).unwrap().sync_all().unwrap();
}
