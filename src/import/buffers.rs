//! Buffers that go round: workers fill them, the committer empties them.
//!
//! A buffer that one thread makes and another frees costs more than the copy of what is in it: the allocator locks what the two
//! threads then want at the same time. So they are handed back, many at a time.

use std::sync::Arc;

use parking_lot::Mutex;

/// Buffers handed over at a time.
const BATCH: usize = 64;
/// Most buffers that wait to be filled again.
const WAITING_MAX: usize = 4096;
/// Largest buffer kept, in bytes: with a few large files among many small ones, all of them would grow large.
const KEEP_MAX_BYTES: usize = 4 << 10;

/// A thread's hand in the exchange. Clones share what waits, not what a thread holds.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    waiting: Arc<Mutex<Vec<Vec<u8>>>>,
    own: Vec<Vec<u8>>,
}

impl Clone for Buffers {
    fn clone(&self) -> Buffers {
        Buffers { waiting: Arc::clone(&self.waiting), own: Vec::new() }
    }
}

impl Buffers {
    /// Returns an empty buffer, a new one if none waits.
    pub(super) fn take(&mut self) -> Vec<u8> {
        if self.own.is_empty() {
            let mut waiting = self.waiting.lock();
            let first = waiting.len().saturating_sub(BATCH);
            self.own.extend(waiting.drain(first..));
        }
        self.own.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() == 0 || buffer.capacity() > KEEP_MAX_BYTES {
            return;
        }
        buffer.clear();
        self.own.push(buffer);
        if self.own.len() >= BATCH {
            let mut waiting = self.waiting.lock();
            let room = WAITING_MAX.saturating_sub(waiting.len());
            self.own.truncate(room);
            waiting.append(&mut self.own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_filled_again_by_another_thread() {
        let mut committer = Buffers::default();
        let mut worker = committer.clone();
        assert_eq!(worker.take().capacity(), 0);
        for _ in 0..BATCH {
            committer.give(b"used".to_vec());
        }
        let again: Vec<Vec<u8>> = (0..=BATCH).map(|_| worker.take()).collect();
        assert!(again.iter().all(Vec::is_empty));
        assert_eq!(again.iter().filter(|buffer| buffer.capacity() > 0).count(), BATCH);
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_size() {
        let mut committer = Buffers::default();
        for _ in 0..WAITING_MAX * 2 {
            committer.give(Vec::with_capacity(1));
            committer.give(Vec::with_capacity(KEEP_MAX_BYTES * 2));
        }
        assert_eq!(committer.waiting.lock().len(), WAITING_MAX);
        assert!(committer.waiting.lock().iter().all(|buffer| buffer.capacity() <= KEEP_MAX_BYTES));
    }
}
