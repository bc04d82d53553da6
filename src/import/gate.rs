//! The byte budget of the ordered window: who is too far ahead waits here.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use parking_lot::{Condvar, Mutex};

/// Counts the bytes between the workers and the committer.
///
/// Every file passes it twice, on different threads, so that costs no lock: a lock that two cores want at once sends one of them to
/// sleep. Only who has to wait takes one, and says so in `waiting` before it looks once more; who makes room looks there after it
/// did. All of that is in one order (`SeqCst`), so one of the two sees the other.
#[derive(Debug)]
pub(super) struct Gate {
    /// Bytes admitted and not yet released.
    used: AtomicU64,
    /// Bytes that may be admitted out of turn.
    limit: u64,
    /// The number of the item whose turn it is: it always passes.
    next: AtomicU64,
    closed: AtomicBool,
    /// Threads in [`admit`](Gate::admit).
    waiting: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Gate {
    /// A gate that holds about `limit` bytes.
    pub(super) fn new(limit: u64) -> Arc<Gate> {
        Arc::new(Gate {
            used: AtomicU64::new(0),
            limit,
            next: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            lock: Mutex::new(()),
            changed: Condvar::new(),
        })
    }

    /// Admits an item if there is room or it is its turn. `None`: not now, or closed.
    pub(super) fn try_admit(gate: &Arc<Gate>, sequence: u64, bytes: u64) -> Option<Ticket> {
        let admitted = !gate.is_closed() && gate.takes(sequence, bytes);
        admitted.then(|| Ticket { gate: Some(Arc::clone(gate)), bytes })
    }

    /// Waits until the item is admitted. `None`: the gate was closed.
    pub(super) fn admit(gate: &Arc<Gate>, sequence: u64, bytes: u64) -> Option<Ticket> {
        let mut lock = gate.lock.lock();
        gate.waiting.fetch_add(1, SeqCst);
        let ticket = loop {
            let ticket = Gate::try_admit(gate, sequence, bytes);
            if ticket.is_some() || gate.is_closed() {
                break ticket;
            }
            gate.changed.wait(&mut lock);
        };
        gate.waiting.fetch_sub(1, SeqCst);
        ticket
    }

    /// Says whose turn it is.
    pub(super) fn advance(&self, next: u64) {
        self.next.store(next, SeqCst);
        self.wake();
    }

    /// Sends everybody away, now and from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.wake();
    }

    /// Tells whether it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used.load(SeqCst)
    }

    /// Takes the bytes of an item in, if it may pass.
    fn takes(&self, sequence: u64, bytes: u64) -> bool {
        let add = |used: u64| {
            let sum = used.saturating_add(bytes);
            (sequence == self.next.load(SeqCst) || sum <= self.limit).then_some(sum)
        };
        self.used.fetch_update(SeqCst, SeqCst, add).is_ok()
    }

    /// Lets those who wait look again.
    fn wake(&self) {
        if self.waiting.load(SeqCst) > 0 {
            // Whoever said that it waits holds the lock until it does, and so will hear the call.
            drop(self.lock.lock());
            self.changed.notify_all();
        }
    }
}

/// The right to hold bytes. Dropping it gives them back.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Option<Arc<Gate>>,
    bytes: u64,
}

impl Ticket {
    /// A ticket that counts nowhere.
    pub(super) fn free() -> Ticket {
        Ticket { gate: None, bytes: 0 }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.used.fetch_sub(self.bytes, SeqCst);
            gate.wake();
        }
    }
}
