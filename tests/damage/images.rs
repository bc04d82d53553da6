//! Damaged copies of a store, and the run of a driver over many of them.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use std::time::Instant;

use parking_lot::Mutex;
use stix_store::vfs::mem::Mem;

use super::fixture::Fixture;
use super::judge::{Tally, judge};

/// Failures that a driver lists before it gives up.
const FAILURES_MAX: usize = 12;

/// A damaged copy.
pub(crate) struct Image<'f> {
    pub(crate) fixture: &'f Fixture,
    pub(crate) mem: Mem,
    /// What was done to it, for messages.
    pub(crate) label: String,
    /// Bytes of the intact files that are no longer where they were, or not what they were.
    pub(crate) touched: Vec<(String, Range<u64>)>,
    /// Files that were added, and are no part of the store.
    pub(crate) added: Vec<String>,
    /// Whether to commit to it, too.
    pub(crate) write: bool,
    pub(crate) ask: Ask,
}

/// Which lookups to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    /// All that there are.
    Everything,
    /// Each name and each run once.
    Each,
    /// One name, by number.
    One(usize),
}

impl<'f> Image<'f> {
    /// A copy with nothing wrong yet.
    pub(crate) fn of(fixture: &'f Fixture, label: impl Into<String>) -> Image<'f> {
        let mem = fixture.mem.snapshot_all();
        let (touched, added) = (Vec::new(), Vec::new());
        Image { fixture, mem, label: label.into(), touched, added, write: true, ask: Ask::Everything }
    }

    /// Gives a file other bytes, of which `touched` are not those that were there.
    pub(crate) fn with(mut self, path: &str, bytes: Vec<u8>, mut touched: Range<u64>) -> Image<'f> {
        let then = self.fixture.file(path);
        if then.len() == bytes.len() {
            // What was given the value it had is not touched.
            let mut changed =
                (0..).zip(then.iter().zip(&bytes)).filter(|(_, (a, b))| a != b).map(|(at, _)| at);
            let first = changed.next();
            touched = first.map_or(0..0, |first| first..changed.last().unwrap_or(first) + 1);
        }
        assert!(self.mem.set_bytes(path, bytes));
        self.touched.push((path.to_owned(), touched));
        self
    }

    /// Adds a file that the store does not have.
    pub(crate) fn and_file(mut self, path: &str, bytes: Vec<u8>) -> Image<'f> {
        assert!(self.mem.bytes(path).is_none(), "{path} is there already");
        assert!(self.mem.set_bytes(path, bytes));
        self.added.push(path.to_owned());
        self
    }

    pub(crate) fn without(mut self, path: &str) -> Image<'f> {
        assert!(self.mem.remove_raw(path));
        self.touched.push((path.to_owned(), 0..u64::MAX));
        self
    }

    /// Of many images that are much alike, asks everything of few and writes to fewer: that is where the time goes.
    pub(crate) fn sampled(mut self, number: usize) -> Image<'f> {
        self.write = number.is_multiple_of(61);
        self.ask = if number.is_multiple_of(17) { Ask::Everything } else { Ask::Each };
        self
    }

    /// Of very many images that differ in one bit of a page whose checksum covers all.
    pub(crate) fn rarely_sampled(mut self, number: usize) -> Image<'f> {
        self = self.sampled(number);
        self.write = number.is_multiple_of(1009);
        if !number.is_multiple_of(101) {
            self.ask = Ask::One(number);
        }
        self
    }

    pub(crate) fn touches(&self, path: &str, range: &Range<u64>) -> bool {
        self.touched
            .iter()
            .any(|(file, touched)| file == path && touched.start < range.end && range.start < touched.end)
    }
}

/// Judges `count` images on all processors and fails with the first that did not hold.
pub(crate) fn drive<'f>(driver: &str, count: usize, image: impl Fn(usize) -> Image<'f> + Sync) -> Tally {
    drive_with(driver, count, image, judge)
}

/// The same with a judge of one's own.
pub(crate) fn drive_with<'f>(
    driver: &str,
    count: usize,
    image: impl Fn(usize) -> Image<'f> + Sync,
    judge: impl Fn(&Image<'_>, &mut Tally) -> Result<(), String> + Sync,
) -> Tally {
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let total = Mutex::new(Tally::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut tally = Tally::default();
                while failures.lock().len() < FAILURES_MAX {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let image = image(number);
                    let judged = catch_unwind(AssertUnwindSafe(|| judge(&image, &mut tally)));
                    let failed = match judged {
                        Ok(Ok(())) => continue,
                        Ok(Err(reason)) => reason,
                        Err(panic) => format!("PANIC {}", text_of(&*panic)),
                    };
                    failures.lock().push(format!("{:?}, {}: {failed}", image.fixture.covered, image.label));
                }
                total.lock().add(&tally);
            });
        }
    });
    let failures = failures.into_inner();
    let mut total = total.into_inner();
    total.images = next.into_inner().min(count);
    println!("{driver}: {total:?} in {:.1?}", start.elapsed());
    assert!(failures.is_empty(), "{driver}: {} or more\n{}", failures.len(), failures.join("\n"));
    total
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of another kind")
}
