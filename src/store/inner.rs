//! What all handles of a store share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::state::State;
use crate::error::{Error, Result};
use crate::format::config::Config;
use crate::segment::Dictionary;
use crate::segment::dictionary;
use crate::vfs::{Lock, ReadVfs, Vfs, publish};

/// What all handles of a store share.
#[derive(Debug)]
pub(crate) struct Inner {
    /// What the store is.
    pub(crate) config: Config,
    /// Reading.
    pub(crate) read: Arc<dyn ReadVfs>,
    /// Writing, unless opened read-only.
    pub(crate) write: Option<Arc<dyn Vfs>>,
    /// The last committed state known.
    pub(crate) state: RwLock<Arc<State>>,
    /// What was noticed at open.
    pub(crate) notices: Vec<String>,
    /// Why nothing may be written: the index proved a loss.
    pub(crate) loss: Option<String>,
    /// Held shared as long as a handle lives, so that compaction unlinks nothing under it. `None` on
    /// read-only media, where nothing is unlinked.
    pub(crate) readers: Mutex<Option<Box<dyn Lock>>>,
}

impl Inner {
    /// Returns the writing half.
    pub(crate) fn vfs(&self) -> Result<Arc<dyn Vfs>> {
        let reason = || Error::ReadOnly { reason: "it was opened read-only".to_owned() };
        self.write.clone().ok_or_else(reason)
    }

    /// Lets new views see a state.
    pub(crate) fn publish(&self, state: &State) {
        *self.state.write() = Arc::new(state.clone());
    }
}

/// Writes a dictionary's own copy, durably, before any segment uses it.
pub(crate) fn publish_dictionary(vfs: &dyn Vfs, dictionary: &Dictionary) -> Result<()> {
    replace_file(vfs, &dictionary::file_name(dictionary.id()), &dictionary::encode_file(dictionary))
}

/// Name of the lock that the writer holds.
pub(crate) const LOCK_FILE: &str = "lock";
/// Name of the lock that readers share.
pub(crate) const READERS_FILE: &str = "readers";
/// How long a reader waits while segments are being unlinked. Longer than that takes, unless someone holds the lock for good.
const UNLINK_WAIT: Duration = Duration::from_secs(10);
/// Time between two tries.
const UNLINK_POLL: Duration = Duration::from_millis(5);

/// Takes a reader's share of the lock that keeps segments from being unlinked. `None` where nothing can be locked, as on
/// read-only media. This is the one moment in which a reader waits: without its share it would lose segments later on.
pub(crate) fn share_readers(vfs: &dyn ReadVfs) -> Result<Option<Box<dyn Lock>>> {
    // Waiting is measured, nothing that is written depends on it.
    let start = Instant::now();
    loop {
        match vfs.lock_shared(READERS_FILE) {
            Err(Error::Locked { .. }) if start.elapsed() < UNLINK_WAIT => std::thread::sleep(UNLINK_POLL),
            result => return result,
        }
    }
}

/// Name of the directory of segments.
pub(crate) const DATA_DIR: &str = "data";

/// Replaces a small file of the store's own directory, durably and whole.
pub(crate) fn replace_file(vfs: &dyn Vfs, name: &str, bytes: &[u8]) -> Result<()> {
    publish(vfs, "", &format!("{name}.tmp"), name, bytes)
}
