//! Open files and held locks of a file system in memory.

use std::sync::Arc;

use super::super::{File, Lock, Map, ReadFile};
use super::{Action, LockState, Mem, NodeId};
use crate::error::{Damage, Error, Place, Result};

/// An open file: it keeps its bytes when its name goes.
#[derive(Debug)]
pub(super) struct MemFile {
    pub(super) mem: Mem,
    pub(super) node: NodeId,
    pub(super) path: String,
}

impl MemFile {
    fn bytes(&self) -> Arc<Vec<u8>> {
        self.mem.state.lock().live.bytes(self.node).cloned().unwrap_or_default()
    }
}

impl ReadFile for MemFile {
    fn len(&self) -> Result<u64> {
        Ok(u64::try_from(self.bytes().len()).unwrap_or(u64::MAX))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let bytes = self.bytes();
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(count)
    }

    fn map(&self, len: u64) -> Result<Map> {
        let bytes = self.bytes();
        let actual = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match usize::try_from(len).ok().and_then(|len| bytes.get(..len)) {
            Some(bytes) => Ok(Map::copied(bytes.to_vec())),
            None => Err(Error::damaged(Place::whole(&self.path), Damage::Truncated { expect: len, actual })),
        }
    }
}

impl File for MemFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let mut state = self.mem.state.lock();
        let offset = state.live.bytes(self.node).map_or(0, |bytes| bytes.len());
        let action = Action::Append { node: self.node, offset, bytes: bytes.into() };
        state.issue(&self.path, action);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.mem.state.lock().issue(&self.path, Action::Sync { node: self.node });
        Ok(())
    }
}

/// A lock, released when dropped.
#[derive(Debug)]
pub(super) struct MemLock {
    pub(super) mem: Mem,
    pub(super) node: NodeId,
    pub(super) exclusive: bool,
}

impl Lock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        let mut state = self.mem.state.lock();
        let lock = state.lock_of(self.node);
        if self.exclusive {
            *lock = LockState::default();
        } else {
            lock.shared = lock.shared.saturating_sub(1);
        }
    }
}
