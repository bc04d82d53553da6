//! Removes the segments that a compaction or a repair left behind, once no reader may use them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::inner::{DATA_DIR, READERS_FILE, share_readers};
use super::txn::Writer;
use crate::error::{Error, Result};
use crate::format::segment::file_name;
use crate::id::SegmentId;
use crate::seeded::{self, Bug};
use crate::vfs::Lock;

impl Writer {
    /// Unlinks the segments that a compaction left behind, oldest first, unless a reader may use them. Returns the
    /// bytes that stay for the next writer.
    pub(super) fn remove_dead(&mut self) -> Result<u64> {
        let dead = self.state().dead.clone();
        if dead.is_empty() {
            return Ok(0);
        }
        // Index first: an older one names DELETEs in these segments that the compaction dropped.
        if self.working.is_dirty() && !seeded::has(Bug::UnlinkBeforeIndex) {
            self.checkpoint()?;
        } else if !seeded::has(Bug::UnlinkBeforeIndexSynced) {
            // A killed process may have left it in the system's cache only.
            self.vfs.sync_dir("")?;
        }
        // This handle counts as a reader too, unless nothing but this writer uses it.
        let alone = Arc::strong_count(&self.inner) <= 2;
        let own = if alone { self.inner.readers.lock().take() } else { None };
        drop(own);
        let lock = if alone { self.vfs.lock_exclusive(READERS_FILE, "") } else { self.busy() };
        let waiting = match lock {
            Ok(_lock) => {
                let unlinked = self.unlink(&dead);
                self.guard(unlinked)?;
                self.working.state.dead = Arc::default();
                if let Some(hints) = &mut self.working.hints {
                    hints.dead.clear();
                }
                self.inner.publish(&self.working.state);
                0
            }
            Err(Error::Locked { .. }) => {
                let mut bytes = 0u64;
                for id in dead.iter() {
                    let file = self.vfs.open(&file_name(*id))?;
                    bytes = bytes.saturating_add(file.map_or(Ok(0), |file| file.len())?);
                }
                bytes
            }
            Err(other) => return Err(other),
        };
        if alone {
            // A child that was forked just now may hold what was let go, until it is another program.
            *self.inner.readers.lock() = share_readers(&*self.inner.read)?;
        }
        Ok(waiting)
    }

    fn unlink(&self, dead: &BTreeSet<SegmentId>) -> Result<()> {
        for id in dead {
            self.vfs.remove(&file_name(*id))?;
            // In this order on disk too: a DELETE must not be gone before the PUT that it deletes.
            self.vfs.sync_dir(DATA_DIR)?;
        }
        Ok(())
    }

    fn busy(&self) -> Result<Box<dyn Lock>> {
        let path = self.inner.read.root().to_path_buf();
        Err(Error::Locked { path, holder: "views of this process".to_owned() })
    }
}
