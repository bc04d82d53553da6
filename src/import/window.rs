//! The ordered window: jobs go out to N workers, what they made comes back in the order it went out.
//!
//! Feeding and taking both happen on the calling thread. The results waiting for their turn are bounded
//! twice: in items by [`AHEAD_MAX_ITEMS`], in bytes by the [`Gate`]. The item whose turn it is passes the gate
//! whatever its size, so a huge or slow file delays the others and never blocks them for good.
//! Knows nothing of files and stores.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::vec;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, unbounded};

use super::gate::{Gate, Ticket};
use crate::error::{Error, Result};
use crate::progress::Stop;

/// Most items between the one whose turn it is and the last one handed out.
const AHEAD_MAX_ITEMS: u64 = 16_384;
/// Batches waiting for the workers: enough to keep them busy while the calling thread commits. Each holds a directory open, so in a
/// tree with a file a run 64 are, and one more for each worker: far below the usual limit of open files, 1,024.
const QUEUE_BATCHES: usize = 64;
/// How often a waiting calling thread looks at the stop flag.
const STOP_POLL: Duration = Duration::from_millis(50);
/// The same while there is nothing to hand out, but may be soon.
const FEED_POLL: Duration = Duration::from_millis(1);

/// Both ends of the window, on the calling thread.
pub(super) trait Flow {
    /// What goes to the workers.
    type Job: Send;
    /// What comes back.
    type Done: Send;

    /// Returns the next jobs in order.
    fn feed(&mut self) -> Result<Feed<Self::Job>>;

    /// Takes a result, in the order of the jobs.
    fn take(&mut self, done: Self::Done) -> Result<()>;
}

/// What there is to hand out.
pub(super) enum Feed<J> {
    /// Jobs, at least one.
    Jobs(Vec<J>),
    /// Nothing at the moment.
    Later,
    /// Nothing any more.
    End,
}

/// The work between the ends; each thread has one.
pub(super) trait Worker<J, D> {
    /// Does one job. `admit` is to be called once the job's size is known, before more memory goes into it;
    /// it waits, and its `None` means that the window has closed: then so is the return value.
    fn work(&mut self, job: J, admit: &mut dyn FnMut(u64) -> Option<Ticket>) -> Option<D>;
}

struct Batch<J> {
    first: u64,
    jobs: Vec<J>,
}

/// A result, or the message of the panic that came instead of it.
type Outcome<D> = std::result::Result<D, String>;

struct Chunk<D> {
    first: u64,
    items: Vec<Outcome<D>>,
}

/// Runs a flow to its end on `threads` workers; with one, on the calling thread alone.
///
/// # Errors
/// The flow's first error, `Cancelled`, or an `Io` error that tells of a worker's panic. All workers have
/// ended by then.
pub(super) fn run<F, W>(
    flow: &mut F,
    make_worker: &mut dyn FnMut() -> W,
    threads: usize,
    gate: &Arc<Gate>,
    stop: &Stop,
) -> Result<()>
where
    F: Flow,
    W: Worker<F::Job, F::Done> + Send,
{
    if threads <= 1 {
        return run_inline(flow, &mut make_worker(), gate, stop);
    }
    thread::scope(|scope| {
        // However this ends, no worker is to wait at the gate for ever.
        let _closing = CloseOnDrop(gate);
        let (job_sender, jobs) = bounded(QUEUE_BATCHES);
        // Unbounded, so that no worker ever waits for the calling thread here; the window bounds it.
        let (done_sender, done) = unbounded();
        (0..threads)
            .try_for_each(|number| {
                let (mut worker, jobs, done) = (make_worker(), jobs.clone(), done_sender.clone());
                thread::Builder::new()
                    .name(format!("prepare-{number}"))
                    .spawn_scoped(scope, move || serve(&mut worker, &jobs, &done, gate))
                    .map(drop)
                    .map_err(|source| Error::io("start", "a worker thread", source))
            })
            .and_then(|()| {
                drop(done_sender);
                drive(flow, &job_sender, &done, gate, stop)
            })
    })
}

struct CloseOnDrop<'a>(&'a Gate);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn run_inline<F: Flow, W: Worker<F::Job, F::Done>>(
    flow: &mut F,
    worker: &mut W,
    gate: &Gate,
    stop: &Stop,
) -> Result<()> {
    let _closing = CloseOnDrop(gate);
    let mut taken = 0u64;
    loop {
        stop.check()?;
        let jobs = match flow.feed()? {
            Feed::Jobs(jobs) => jobs,
            Feed::Later => {
                thread::sleep(FEED_POLL);
                continue;
            }
            Feed::End => break,
        };
        for job in jobs {
            stop.check()?;
            match guarded(|| worker.work(job, &mut |_| Some(Ticket::free()))) {
                Ok(Some(done)) => flow.take(done)?,
                Ok(None) => {}
                Err(message) => return Err(panicked(&message)),
            }
            taken = taken.saturating_add(1);
            gate.advance(taken);
        }
    }
    stop.check()
}

/// The calling thread's half: hands out, puts in order, takes.
fn drive<F: Flow>(
    flow: &mut F,
    jobs: &Sender<Batch<F::Job>>,
    done: &Receiver<Chunk<F::Done>>,
    gate: &Gate,
    stop: &Stop,
) -> Result<()> {
    let mut reorder = Reorder::new();
    let mut waiting: Option<Batch<F::Job>> = None;
    let mut handed_out = 0u64;
    let mut ended = false;
    loop {
        stop.check()?;
        while let Ok(chunk) = done.try_recv() {
            reorder.insert(chunk);
        }
        let mut poll = STOP_POLL;
        // One batch out, one item in, and so on: neither end starves the other.
        if waiting.is_none() && !ended && handed_out.saturating_sub(reorder.next) < AHEAD_MAX_ITEMS {
            match flow.feed()? {
                Feed::Jobs(batch) => {
                    let first = handed_out;
                    handed_out = handed_out.saturating_add(u64::try_from(batch.len()).unwrap_or(u64::MAX));
                    waiting = Some(Batch { first, jobs: batch });
                }
                Feed::Later => poll = FEED_POLL,
                Feed::End => ended = true,
            }
        }
        let mut idle = true;
        if let Some(batch) = waiting.take() {
            match jobs.try_send(batch) {
                Ok(()) => idle = false,
                Err(TrySendError::Full(batch)) => waiting = Some(batch),
                Err(TrySendError::Disconnected(_)) => return Err(panicked("all workers ended")),
            }
        }
        if let Some(outcome) = reorder.pop() {
            flow.take(outcome.map_err(|message| panicked(&message))?)?;
            // Only now, so that no more than one item at a time stands on top of a full budget.
            gate.advance(reorder.next);
            idle = false;
        }
        if ended && waiting.is_none() && reorder.next == handed_out {
            return Ok(());
        }
        if idle {
            match done.recv_timeout(poll) {
                Ok(chunk) => reorder.insert(chunk),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(panicked("all workers ended")),
            }
        }
    }
}

/// A worker thread: batch after batch, until there are no more or the window closes.
fn serve<J, D>(
    worker: &mut dyn Worker<J, D>,
    jobs: &Receiver<Batch<J>>,
    done: &Sender<Chunk<D>>,
    gate: &Arc<Gate>,
) {
    for batch in jobs {
        let mut sequence = batch.first;
        let mut chunk = Chunk { first: batch.first, items: Vec::with_capacity(batch.jobs.len()) };
        for job in batch.jobs {
            if gate.is_closed() {
                return;
            }
            let outcome =
                guarded(|| worker.work(job, &mut |bytes| admit(gate, sequence, bytes, &mut chunk, done)));
            sequence = sequence.saturating_add(1);
            match outcome {
                Ok(Some(item)) => chunk.items.push(Ok(item)),
                Ok(None) => return,
                Err(message) => {
                    // The worker may be in any state now. The calling thread ends when it gets here.
                    chunk.items.push(Err(message));
                    flush(&mut chunk, done);
                    return;
                }
            }
        }
        if !flush(&mut chunk, done) {
            return;
        }
    }
}

/// Waits at the gate; what this worker has ready goes out first, for the gate may be waiting for it.
fn admit<D>(
    gate: &Arc<Gate>,
    sequence: u64,
    bytes: u64,
    chunk: &mut Chunk<D>,
    done: &Sender<Chunk<D>>,
) -> Option<Ticket> {
    if let Some(ticket) = Gate::try_admit(gate, sequence, bytes) {
        return Some(ticket);
    }
    if !flush(chunk, done) {
        return None;
    }
    Gate::admit(gate, sequence, bytes)
}

fn flush<D>(chunk: &mut Chunk<D>, done: &Sender<Chunk<D>>) -> bool {
    if chunk.items.is_empty() {
        return true;
    }
    let items = std::mem::take(&mut chunk.items);
    let first = chunk.first;
    chunk.first = first.saturating_add(u64::try_from(items.len()).unwrap_or(u64::MAX));
    done.send(Chunk { first, items }).is_ok()
}

fn guarded<T>(work: impl FnOnce() -> T) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
    })
}

fn panicked(message: &str) -> Error {
    Error::io("prepare", "files", std::io::Error::other(format!("a worker panicked: {message}")))
}

/// Puts chunks back into the order of their jobs.
struct Reorder<D> {
    /// The number of the item whose turn it is.
    next: u64,
    current: vec::IntoIter<Outcome<D>>,
    later: BTreeMap<u64, Vec<Outcome<D>>>,
}

impl<D> Reorder<D> {
    fn new() -> Reorder<D> {
        Reorder { next: 0, current: Vec::new().into_iter(), later: BTreeMap::new() }
    }

    fn insert(&mut self, chunk: Chunk<D>) {
        let before = self.later.insert(chunk.first, chunk.items);
        debug_assert!(before.is_none(), "two chunks begin at {}", chunk.first);
    }

    fn pop(&mut self) -> Option<Outcome<D>> {
        if self.current.len() == 0 {
            self.current = self.later.remove(&self.next)?.into_iter();
        }
        let item = self.current.next()?;
        self.next = self.next.saturating_add(1);
        Some(item)
    }
}

#[cfg(test)]
mod tests;
