//! The byte budget of the ordered window: who is too far ahead waits here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

/// Counts the bytes between the workers and the committer.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    closed: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// Bytes admitted and not yet released.
    used: u64,
    /// Bytes that may be admitted out of turn.
    limit: u64,
    /// The number of the item whose turn it is: it always passes.
    next: u64,
}

impl Gate {
    /// A gate that holds about `limit` bytes.
    pub(super) fn new(limit: u64) -> Arc<Gate> {
        Arc::new(Gate {
            state: Mutex::new(State { used: 0, limit, next: 0 }),
            changed: Condvar::new(),
            closed: AtomicBool::new(false),
        })
    }

    /// Admits an item if there is room or it is its turn. `None`: not now, or closed.
    pub(super) fn try_admit(gate: &Arc<Gate>, sequence: u64, bytes: u64) -> Option<Ticket> {
        let admitted = !gate.is_closed() && gate.state.lock().admit(sequence, bytes);
        admitted.then(|| Ticket { gate: Some(Arc::clone(gate)), bytes })
    }

    /// Waits until the item is admitted. `None`: the gate was closed.
    pub(super) fn admit(gate: &Arc<Gate>, sequence: u64, bytes: u64) -> Option<Ticket> {
        let mut state = gate.state.lock();
        loop {
            if gate.is_closed() {
                return None;
            }
            if state.admit(sequence, bytes) {
                return Some(Ticket { gate: Some(Arc::clone(gate)), bytes });
            }
            gate.changed.wait(&mut state);
        }
    }

    /// Says whose turn it is.
    pub(super) fn advance(&self, next: u64) {
        self.state.lock().next = next;
        self.changed.notify_all();
    }

    /// Changes how much it holds.
    pub(super) fn set_limit(&self, limit: u64) {
        self.state.lock().limit = limit;
        self.changed.notify_all();
    }

    /// Sends everybody away, now and from now on.
    pub(super) fn close(&self) {
        // Under the lock: a thread between its look at the flag and its wait would miss the call.
        let state = self.state.lock();
        self.closed.store(true, Ordering::Release);
        drop(state);
        self.changed.notify_all();
    }

    /// Tells whether it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.state.lock().used
    }
}

impl State {
    fn admit(&mut self, sequence: u64, bytes: u64) -> bool {
        let used = self.used.saturating_add(bytes);
        let fits = sequence == self.next || used <= self.limit;
        if fits {
            self.used = used;
        }
        fits
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
            let mut state = gate.state.lock();
            state.used = state.used.saturating_sub(self.bytes);
            drop(state);
            gate.changed.notify_all();
        }
    }
}
