//! Where the time of an import goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Time spent in the steps of an import. Of steps on several threads the sum; the others are the calling thread's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timings {
    /// Listing run directories.
    pub scan: Duration,
    /// Workers: asking whether a file is as an earlier import saw it, and comparing it with what is stored.
    pub prefilter: Duration,
    /// Workers: opening and reading files, and waiting for room in the window.
    pub read: Duration,
    /// Workers: parsing, and finding references.
    pub parse: Duration,
    /// Workers: compressing.
    pub encode: Duration,
    /// Training a dictionary, and compressing what was held back for it.
    pub train: Duration,
    /// Waiting for the result whose turn it is. One thread alone never waits: its own work of the other steps is in here.
    pub reorder_wait: Duration,
    /// Comparing with the store once more, and appending records.
    pub append: Duration,
    /// Commits: two syncs each, and the index files that some of them write.
    pub fsync: Duration,
    /// All of it.
    pub total: Duration,
}

/// Selects a step.
pub(super) type Step = fn(&mut Timings) -> &mut Duration;

/// Measures for one thread, and adds to what the others measured when dropped. A meter that is off reads no clock.
#[derive(Debug)]
pub(super) struct Meter {
    own: Timings,
    all: Option<Arc<Mutex<Timings>>>,
}

impl Meter {
    /// The first meter.
    pub(super) fn new(is_on: bool) -> Meter {
        Meter { own: Timings::default(), all: is_on.then(Arc::default) }
    }

    /// A meter for another thread.
    pub(super) fn another(&self) -> Meter {
        Meter { own: Timings::default(), all: self.all.clone() }
    }

    /// A step begins.
    pub(super) fn start(&self) -> Option<Instant> {
        self.all.as_ref().map(|_| Instant::now())
    }

    /// The step that began then ends.
    pub(super) fn stop(&mut self, begun: Option<Instant>, step: Step) {
        if let Some(begun) = begun {
            add(step(&mut self.own), begun.elapsed());
        }
    }

    /// What all threads have measured that are done. The calling thread's time beside its own steps is waiting.
    pub(super) fn sum(&self) -> Option<Timings> {
        let mut sum = *self.all.as_ref()?.lock();
        let own = &self.own;
        sum.reorder_wait = [own.scan, own.train, own.append, own.fsync]
            .into_iter()
            .fold(own.total, Duration::saturating_sub);
        (sum.scan, sum.train, sum.append) = (own.scan, own.train, own.append);
        (sum.fsync, sum.total) = (own.fsync, own.total);
        Some(sum)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let Some(all) = &self.all else { return };
        let mut all = all.lock();
        add(&mut all.prefilter, self.own.prefilter);
        add(&mut all.read, self.own.read);
        add(&mut all.parse, self.own.parse);
        add(&mut all.encode, self.own.encode);
    }
}

fn add(to: &mut Duration, more: Duration) {
    *to = to.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_measured_adds_up_and_the_rest_of_the_calling_thread_is_waiting() {
        let mut own = Meter::new(true);
        let second = Duration::from_secs(1);
        for _ in 0..2 {
            let mut worker = own.another();
            worker.own.read = second;
        }
        own.own = Timings { total: second * 9, append: second * 2, fsync: second, ..Timings::default() };
        let sum = own.sum().unwrap();
        assert_eq!((sum.read, sum.append, sum.reorder_wait), (second * 2, second * 2, second * 6));
    }

    #[test]
    fn a_meter_that_is_off_reads_no_clock() {
        let mut meter = Meter::new(false);
        assert_eq!(meter.start(), None);
        meter.stop(None, |timings| &mut timings.read);
        assert_eq!(meter.sum(), None);
    }
}
