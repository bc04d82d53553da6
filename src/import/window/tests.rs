use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::*;

/// Jobs are sizes. Takes note of the order in which results come back.
struct Sizes {
    batches: vec::IntoIter<Vec<(u64, u64)>>,
    taken: Vec<u64>,
    /// Tickets kept, as the committer keeps those of items held back.
    kept: Vec<Ticket>,
    keep_below: u64,
    fail_at: Option<u64>,
}

impl Sizes {
    fn new(sizes: &[u64], batch: usize) -> Sizes {
        let jobs: Vec<(u64, u64)> = (0..).zip(sizes.iter().copied()).collect();
        let batches: Vec<_> = jobs.chunks(batch).map(<[_]>::to_vec).collect();
        Sizes {
            batches: batches.into_iter(),
            taken: Vec::new(),
            kept: Vec::new(),
            keep_below: 0,
            fail_at: None,
        }
    }
}

impl Flow for Sizes {
    type Job = (u64, u64);
    type Done = (u64, Ticket);

    fn feed(&mut self) -> Result<Feed<(u64, u64)>> {
        Ok(self.batches.next().map_or(Feed::End, Feed::Jobs))
    }

    fn take(&mut self, (number, ticket): (u64, Ticket)) -> Result<()> {
        if self.fail_at == Some(number) {
            return Err(Error::BadInput { what: "sink".to_owned(), reason: "gone".to_owned() });
        }
        if number < self.keep_below {
            self.kept.push(ticket);
        }
        self.taken.push(number);
        Ok(())
    }
}

/// Sleeps as told before or after it was admitted.
struct Sleeper<'a> {
    sleep: &'a (dyn Fn(u64) -> u64 + Sync),
    most_used: &'a AtomicU64,
    gate: Arc<Gate>,
}

impl Worker<(u64, u64), (u64, Ticket)> for Sleeper<'_> {
    fn work(
        &mut self,
        (number, bytes): (u64, u64),
        admit: &mut dyn FnMut(u64) -> Option<Ticket>,
    ) -> Option<(u64, Ticket)> {
        let micros = (self.sleep)(number);
        if micros > 0 {
            thread::sleep(Duration::from_micros(micros));
        }
        let ticket = admit(bytes)?;
        self.most_used.fetch_max(self.gate.used(), Ordering::Relaxed);
        Some((number, ticket))
    }
}

/// Runs the sizes through a window; returns the result and the most bytes that were in it.
fn run_sizes(
    flow: &mut Sizes,
    threads: usize,
    limit: u64,
    sleep: &(dyn Fn(u64) -> u64 + Sync),
    stop: &Stop,
) -> (Result<()>, u64) {
    let (gate, most_used) = (Gate::new(limit), AtomicU64::new(0));
    let mut make = || Sleeper { sleep, most_used: &most_used, gate: Arc::clone(&gate) };
    let result = run(flow, &mut make, threads, &gate, stop);
    (result, most_used.into_inner())
}

fn is_in_order(flow: &Sizes, count: u64) -> bool {
    flow.taken == (0..count).collect::<Vec<_>>()
}

#[test]
fn results_come_back_in_order_for_any_number_of_workers() {
    for threads in [1, 2, 3, 8] {
        for batch in [1, 7, 32] {
            let mut flow = Sizes::new(&[10; 500], batch);
            let uneven = |number: u64| (number.wrapping_mul(2_654_435_761) >> 7) % 60;
            let (result, _) = run_sizes(&mut flow, threads, 1000, &uneven, &Stop::default());
            assert!(result.is_ok() && is_in_order(&flow, 500), "{threads} threads, batches of {batch}");
        }
    }
}

#[test]
fn an_empty_flow_ends() {
    for threads in [1, 4] {
        assert!(run_sizes(&mut Sizes::new(&[], 1), threads, 0, &|_| 0, &Stop::default()).0.is_ok());
    }
}

#[test]
fn more_items_than_the_window_holds_pass() {
    let count = AHEAD_MAX_ITEMS * 3;
    let mut flow = Sizes::new(&vec![0; usize::try_from(count).unwrap()], 32);
    let (result, _) = run_sizes(&mut flow, 2, 0, &|_| 0, &Stop::default());
    assert!(result.is_ok() && is_in_order(&flow, count));
}

#[test]
fn bytes_ahead_of_a_slow_item_stay_within_the_budget() {
    let mut sizes = vec![10; 400];
    sizes[0] = 5;
    let mut flow = Sizes::new(&sizes, 4);
    let slow_first = |number: u64| if number == 0 { 30_000 } else { 0 };
    let (result, most_used) = run_sizes(&mut flow, 4, 100, &slow_first, &Stop::default());
    assert!(result.is_ok() && is_in_order(&flow, 400));
    // The item whose turn it is may stand on top of a full budget.
    assert!(most_used <= 100 + 10, "{most_used}");
}

#[test]
fn a_huge_slow_first_item_blocks_nobody_for_good() {
    let mut sizes = vec![1; 200];
    sizes[0] = 1 << 40;
    sizes[100] = 1 << 40;
    let mut flow = Sizes::new(&sizes, 8);
    let slow = |number: u64| if number.is_multiple_of(100) { 20_000 } else { 0 };
    let (result, _) = run_sizes(&mut flow, 3, 16, &slow, &Stop::default());
    assert!(result.is_ok() && is_in_order(&flow, 200));
}

#[test]
fn items_that_are_all_larger_than_the_budget_pass_one_by_one() {
    let mut flow = Sizes::new(&[1000; 100], 32);
    let (result, most_used) = run_sizes(&mut flow, 4, 10, &|_| 0, &Stop::default());
    assert!(result.is_ok() && is_in_order(&flow, 100));
    assert!(most_used <= 2000, "{most_used}");
}

#[test]
fn a_full_gate_that_all_workers_stand_at_loses_no_call() {
    // Who waits and who makes room agree without a lock: a lost call would end this test never.
    for threads in [2, 3, 8] {
        let mut flow = Sizes::new(&vec![10; 20_000], 3);
        let (result, most_used) = run_sizes(&mut flow, threads, 25, &|_| 0, &Stop::default());
        result.unwrap();
        assert!(is_in_order(&flow, 20_000), "{threads} threads");
        // The limit, and one whose turn it was.
        assert!(most_used <= 35, "{most_used}");
    }
}

#[test]
fn a_taker_that_holds_items_back_beyond_the_budget_still_gets_the_next() {
    let mut flow = Sizes::new(&[10; 300], 16);
    flow.keep_below = 200;
    let (result, _) = run_sizes(&mut flow, 4, 50, &|_| 0, &Stop::default());
    assert!(result.is_ok() && is_in_order(&flow, 300));
    assert_eq!(flow.kept.len(), 200);
}

/// Panics at one item.
struct Panicker;

impl Worker<(u64, u64), (u64, Ticket)> for Panicker {
    fn work(
        &mut self,
        (number, bytes): (u64, u64),
        admit: &mut dyn FnMut(u64) -> Option<Ticket>,
    ) -> Option<(u64, Ticket)> {
        assert!(number != 100, "item 100 is cursed");
        Some((number, admit(bytes)?))
    }
}

#[test]
fn a_panic_of_a_worker_ends_the_run_with_an_error_after_the_items_before_it() {
    for threads in [1, 2, 8] {
        let mut flow = Sizes::new(&[10; 2000], 16);
        let gate = Gate::new(50);
        let error = run(&mut flow, &mut || Panicker, threads, &gate, &Stop::default()).unwrap_err();
        assert!(error.to_string().contains("item 100 is cursed"), "{error}");
        assert!(is_in_order(&flow, 100), "{threads} threads: {}", flow.taken.len());
    }
}

#[test]
fn an_error_of_the_taker_sends_waiting_workers_home() {
    for threads in [1, 4] {
        let mut flow = Sizes::new(&[10; 2000], 16);
        flow.keep_below = u64::MAX;
        flow.fail_at = Some(70);
        let (result, _) = run_sizes(&mut flow, threads, 20, &|_| 0, &Stop::default());
        assert!(matches!(result, Err(Error::BadInput { .. })));
        assert!(is_in_order(&flow, 70));
    }
}

#[test]
fn the_stop_flag_ends_the_run_while_a_worker_is_slow() {
    for threads in [1, 4] {
        let (stop, seen) = (Stop::default(), AtomicUsize::new(0));
        let mut flow = Sizes::new(&vec![1; 10_000], 8);
        let raise = |number: u64| {
            seen.fetch_add(1, Ordering::Relaxed);
            if number == 50 {
                stop.raise();
            }
            200
        };
        let (result, _) = run_sizes(&mut flow, threads, 1 << 20, &raise, &stop);
        assert!(matches!(result, Err(Error::Cancelled)), "{threads} threads");
        assert!(seen.into_inner() < 1000 && flow.taken.len() < 1000);
    }
}

#[test]
fn tickets_give_their_bytes_back() {
    let gate = Gate::new(10);
    let first = Gate::try_admit(&gate, 0, 100).unwrap();
    assert!(Gate::try_admit(&gate, 1, 1).is_none());
    drop(first);
    let second = Gate::try_admit(&gate, 1, 10).unwrap();
    assert!(Gate::try_admit(&gate, 2, 1).is_none());
    gate.advance(2);
    assert!(Gate::try_admit(&gate, 2, 1).is_some());
    drop(second);
    assert_eq!(gate.used(), 0);
    gate.close();
    assert!(Gate::try_admit(&gate, 2, 0).is_none());
}

/// Panics where it takes an item.
struct PanickingTaker(Sizes);

impl Flow for PanickingTaker {
    type Job = (u64, u64);
    type Done = (u64, Ticket);

    fn feed(&mut self) -> Result<Feed<(u64, u64)>> {
        self.0.feed()
    }

    fn take(&mut self, done: (u64, Ticket)) -> Result<()> {
        assert!(done.0 < 50, "a bug in the committer");
        self.0.take(done)
    }
}

#[test]
fn a_panic_of_the_taker_leaves_no_worker_waiting() {
    let mut flow = PanickingTaker(Sizes::new(&[10; 2000], 16));
    flow.0.keep_below = u64::MAX;
    let gate = Gate::new(20);
    let mut make =
        || Sleeper { sleep: &|_| 0, most_used: Box::leak(Box::default()), gate: Arc::clone(&gate) };
    let result = guarded(|| run(&mut flow, &mut make, 4, &gate, &Stop::default()));
    assert!(result.is_err());
}
