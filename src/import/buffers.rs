//! Buffers that go round: workers fill them, the committer empties them.
//!
//! A buffer that one thread makes and another frees costs more than the copy of what is in it: the allocator locks what the two
//! threads then want at the same time. So they are handed back, many at a time.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::segment::Encoded;

/// Buffers handed over at a time.
const BATCH: usize = 64;
/// Most buffers that wait to be filled again.
const WAITING_MAX: usize = 4096;
/// Largest buffer kept, in bytes: with a few large files among many small ones, all of them would grow large.
const KEEP_MAX_BYTES: usize = 4 << 10;
/// Most bytes of a buffer beyond its payload that go to the committer with it: the budget counts payloads.
const SPARE_MAX_BYTES: usize = 64 << 10;

/// A file's bytes.
#[derive(Debug)]
pub(super) enum Payload {
    /// As they are: there is no encoder yet, because there is no dictionary yet.
    Raw(Vec<u8>),
    /// As the store wants them.
    Encoded(Encoded),
}

impl Payload {
    /// The same without a buffer that is much larger: a short file may come in that of a long one.
    pub(super) fn trimmed(mut self) -> Payload {
        let (Payload::Raw(bytes) | Payload::Encoded(Encoded { bytes, .. })) = &mut self;
        if bytes.capacity().saturating_sub(bytes.len()) > SPARE_MAX_BYTES {
            bytes.shrink_to_fit();
        }
        self
    }

    /// Its buffer, to be filled again.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        match self {
            Payload::Raw(bytes) | Payload::Encoded(Encoded { bytes, .. }) => bytes,
        }
    }
}

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
    fn a_short_payload_does_not_take_a_long_buffer_along() {
        // Behind files of 900 kB that were unchanged, each new one of 1 kB went to the committer in a buffer of a megabyte, counted
        // as its length: 16,384 may wait there.
        let mut bytes = Vec::with_capacity(1 << 20);
        bytes.extend_from_slice(b"short");
        let kept = Payload::Raw(bytes).trimmed().into_buffer();
        assert_eq!(kept, b"short");
        assert!(kept.capacity() <= SPARE_MAX_BYTES);
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
