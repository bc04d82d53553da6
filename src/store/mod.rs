//! Floor 3: the store: open, read, write, check. Payloads are opaque bytes here.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::error::{Error, Result};
use crate::format::config::{self, CONFIG_FILE, Config};
use crate::id::{DictionaryId, SegmentId, StoreId};
use crate::limits::{DICTIONARY_MAX_BYTES, SEGMENT_SIZE_MAX_BYTES, SEGMENT_SIZE_MIN_BYTES};
use crate::segment::dictionary::{self, Dictionary};
use crate::vfs::disk::Disk;
use crate::vfs::draft::Draft;
use crate::vfs::{Lock, ReadVfs, Vfs};

use inner::{DATA_DIR, Inner, LOCK_FILE, READERS_FILE, publish_dictionary, replace_file};
use open::{Loaded, UseIndex, load};
use recover::{proven_loss, recover};

mod append;
mod aside;
mod beside;
pub mod check;
mod checkpoint;
pub mod compact;
mod compare;
mod direct;
pub mod dump;
mod identity;
mod index_file;
mod inner;
mod lead;
mod log;
mod lookup;
mod many;
mod open;
mod past;
mod proof;
mod recover;
pub mod repair;
mod replay;
mod runs;
mod since;
mod snapshot;
mod sources;
mod stage;
mod state;
pub mod stats;
mod txn;
mod unlink;
mod view;
mod working;

#[cfg(test)]
mod tests;

pub use crate::format::put::PutKind;
pub(crate) use lead::{Bound, Lead};
pub use many::When;
pub use replay::is_harmless;
pub use runs::RunInfo;
pub use snapshot::Snapshot;
pub use sources::SourceNotes;
pub use txn::{Body, Outcome, Put, Writer, WriterOptions};
pub use view::View;

/// How often a waiting writer tries the lock.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// How new payloads are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// As they are: zero-copy reads.
    None,
    /// zstd, with a dictionary once there is one.
    #[default]
    Zstd,
}

/// What a new store is like. Fixed for its life.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Size at which a segment is sealed, in bytes.
    pub segment_size: u64,
    /// How payloads are stored.
    pub compression: Compression,
    /// The store's identity; random if not given. Give one for reproducible files.
    pub store_id: Option<StoreId>,
    /// A compression dictionary to start with; else the first large import trains one.
    pub dictionary: Option<Vec<u8>>,
}

impl Default for CreateOptions {
    fn default() -> Self {
        CreateOptions {
            segment_size: crate::limits::SEGMENT_SIZE_DEFAULT_BYTES,
            compression: Compression::default(),
            store_id: None,
            dictionary: None,
        }
    }
}

/// A store. Cheap to clone; clones share one state. `Send + Sync`.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

impl Store {
    /// Creates a store in a directory that is absent or empty. On return it is on disk.
    ///
    /// # Errors
    /// `Exists` if there is something, `BadInput` for an impossible segment size, failures of the file system.
    pub fn create(path: impl AsRef<Path>, options: &CreateOptions) -> Result<Store> {
        Store::create_on(Arc::new(Disk::new(path.as_ref())), options)
    }

    /// Opens a store for reading and, through [`writer`](Store::writer), writing. O(1) in its size; takes no
    /// write lock and writes nothing.
    ///
    /// # Errors
    /// `NoStore`, `UnsupportedVersion`, failures of reading. A damaged index or config is a notice.
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        Store::open_on(Arc::new(Disk::new(path.as_ref())))
    }

    /// Opens a store for reading only; works on read-only media.
    ///
    /// # Errors
    /// As for [`open`](Store::open).
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Store> {
        Store::open_read_only_on(Arc::new(Disk::new(path.as_ref())))
    }

    /// Opens a store to try something on it: what a writer of this handle does is in memory and seen by this handle
    /// alone. Nothing is changed on disk, and no writer there is waited for or kept from anything.
    ///
    /// # Errors
    /// As for [`open`](Store::open).
    pub fn open_draft(path: impl AsRef<Path>) -> Result<Store> {
        Store::open_on(Arc::new(Draft::new(Arc::new(Disk::new(path.as_ref())))))
    }

    /// [`create`](Store::create) on a given file system.
    ///
    /// # Errors
    /// As for `create`.
    #[expect(clippy::needless_pass_by_value, reason = "the store keeps a share, as with open_on")]
    pub fn create_on(vfs: Arc<dyn Vfs>, options: &CreateOptions) -> Result<Store> {
        let size = options.segment_size;
        if !(SEGMENT_SIZE_MIN_BYTES..=SEGMENT_SIZE_MAX_BYTES).contains(&size) {
            let reason =
                format!("{size} is not between {SEGMENT_SIZE_MIN_BYTES} and {SEGMENT_SIZE_MAX_BYTES}");
            return Err(Error::BadInput { what: "segment size".to_owned(), reason });
        }
        vfs.create_dir("")?;
        // What a creation that was cut off leaves behind may be finished; anything else is somebody's.
        let ours = |name: &str| [DATA_DIR, LOCK_FILE, READERS_FILE, "config.tmp"].contains(&name);
        let entries = vfs.list("")?.unwrap_or_default();
        let segments = vfs.list(DATA_DIR)?.unwrap_or_default();
        if entries.iter().any(|entry| !ours(&entry.name)) || !segments.is_empty() {
            return Err(Error::Exists { path: vfs.root().to_path_buf() });
        }
        let lock = vfs.lock_exclusive(LOCK_FILE, "")?;
        drop(vfs.lock_exclusive(READERS_FILE, "")?);
        vfs.create_dir(DATA_DIR)?;
        // The config makes it a store, so what a store needs is durable before it.
        vfs.sync_dir("")?;
        let config = Config {
            store: options.store_id.map_or_else(random_id, Ok)?,
            segment_size: size,
            compressed: options.compression == Compression::Zstd,
        };
        replace_file(&*vfs, CONFIG_FILE, config::encode(&config).as_bytes())?;
        drop(lock);
        let store = Store::open_on(vfs.clone())?;
        if let Some(content) = options.dictionary.as_ref().filter(|_| config.compressed) {
            if content.len() > DICTIONARY_MAX_BYTES {
                let (len, max) = (content.len(), DICTIONARY_MAX_BYTES);
                let to_u64 = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
                return Err(Error::TooLarge { what: "dictionary", len: to_u64(len), max: to_u64(max) });
            }
            publish_dictionary(&*vfs, &Dictionary::new(content.clone()))?;
        }
        Ok(store)
    }

    /// [`open`](Store::open) on a given file system.
    ///
    /// # Errors
    /// As for `open`.
    pub fn open_on(vfs: Arc<dyn Vfs>) -> Result<Store> {
        Store::with(vfs.clone().as_read(), Some(vfs))
    }

    /// [`open_read_only`](Store::open_read_only) on a given file system.
    ///
    /// # Errors
    /// As for `open`.
    pub fn open_read_only_on(vfs: Arc<dyn ReadVfs>) -> Result<Store> {
        Store::with(vfs, None)
    }

    fn with(read: Arc<dyn ReadVfs>, write: Option<Arc<dyn Vfs>>) -> Result<Store> {
        let Loaded { config, working, notices, readers } = load(&read, UseIndex::Newest, false)?;
        let loss = proven_loss(&working)?;
        let state = RwLock::new(Arc::new(working.state));
        Ok(Store {
            inner: Arc::new(Inner {
                config,
                read,
                write,
                state,
                notices,
                loss,
                readers: Mutex::new(readers),
            }),
        })
    }

    /// Returns the store's identity.
    pub fn id(&self) -> StoreId {
        self.inner.config.store
    }

    /// Returns how payloads are stored.
    pub fn compression(&self) -> Compression {
        if self.inner.config.compressed { Compression::Zstd } else { Compression::None }
    }

    /// Returns the last committed state that this handle knows. O(1), never waits for a writer's disk.
    pub fn view(&self) -> View {
        View::new(self.inner.clone(), self.inner.state.read().clone())
    }

    /// Takes the store's write lock, recovers, and returns the one writer. Recovery deletes and truncates nothing:
    /// the new writer goes on in a new segment.
    ///
    /// # Errors
    /// `Locked` when another writer holds it longer than `options.lock_wait`, `Cancelled` when `options.stop` is raised
    /// meanwhile; `ReadOnly` when the index
    /// proves that an acknowledged commit is gone from the log.
    pub fn writer(&self, options: &WriterOptions) -> Result<Writer> {
        let vfs = self.inner.vfs()?;
        let begun = Instant::now();
        let lock = lock_patiently(&*vfs, options)?;
        let waited = begun.elapsed();
        let mut loaded = recover(&self.inner.read, &*vfs)?;
        // This handle holds that lock already; a second share would keep dead segments from being removed.
        drop(loaded.readers.take());
        let dictionary = current_dictionary(&loaded, &*vfs)?;
        self.inner.publish(&loaded.working.state);
        let mut writer = Writer::new(self.inner.clone(), vfs, loaded.working, dictionary, lock);
        writer.waited = waited;
        writer.remove_dead()?;
        Ok(writer)
    }

    /// Why nothing may be written, if the index proved at open that acknowledged commits are gone from the log. What is left is
    /// readable; [`writer`](Store::writer) refuses.
    pub fn loss(&self) -> Option<&str> {
        self.inner.loss.as_deref()
    }

    /// What was noticed at open and is not an error: an absent index, an ignored tail, ...
    pub fn notices(&self) -> Vec<String> {
        self.inner.notices.clone()
    }
}

/// Returns the dictionary that new records use: the one that has a file of its own, or the newest that a
/// segment carries, which then gets its file again.
fn current_dictionary(loaded: &Loaded, vfs: &dyn Vfs) -> Result<Option<Arc<Dictionary>>> {
    if !loaded.config.compressed {
        return Ok(None);
    }
    let segments = &loaded.working.state.segments;
    let entries = vfs.list("")?.unwrap_or_default();
    let ids: Vec<DictionaryId> =
        entries.iter().filter_map(|entry| dictionary::parse_file_name(&entry.name)).collect();
    for id in ids {
        match segments.dictionary(id) {
            Ok(dictionary) => return Ok(Some(dictionary.clone())),
            Err(error) if error.is_damage() => tracing::warn!("{error}"),
            Err(other) => return Err(other),
        }
    }
    let newest_first: Vec<SegmentId> = segments.ids().iter().rev().copied().collect();
    for id in newest_first {
        let Some(segment) = segments.get(id)? else { continue };
        match segment.dictionary() {
            Ok(Some(dictionary)) => {
                publish_dictionary(vfs, &dictionary)?;
                return Ok(Some(dictionary));
            }
            Ok(None) => {}
            Err(error) if error.is_damage() => tracing::warn!("{error}"),
            Err(other) => return Err(other),
        }
    }
    Ok(None)
}

fn lock_patiently(vfs: &dyn Vfs, options: &WriterOptions) -> Result<Box<dyn Lock>> {
    // Waiting is measured, nothing that is written depends on it.
    let start = Instant::now();
    loop {
        match vfs.lock_exclusive(LOCK_FILE, &options.holder) {
            Err(Error::Locked { .. }) if start.elapsed() < options.lock_wait => {
                options.stop.check()?;
                std::thread::sleep(LOCK_POLL);
            }
            result => return result,
        }
    }
}

fn random_id() -> Result<StoreId> {
    let mut id = [0u8; 16];
    let failed = |error: getrandom::Error| {
        Error::io("read", "the system's random source", std::io::Error::other(error.to_string()))
    };
    getrandom::fill(&mut id).map_err(failed)?;
    Ok(StoreId(id))
}
