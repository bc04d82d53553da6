//! Measures one thing, and keeps how long each answer took.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant as Clock;

use hdrhistogram::Histogram;

use crate::error::{Error, Result};
use crate::store::{Snapshot, Store, View, When};

use super::sample::Question;

/// Openings that are timed.
const OPENS: usize = 50;

/// What is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Newest,
    InRun,
    After,
    Absent,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Newest => "newest",
            What::InRun => "by run",
            What::After => "closest later",
            What::Absent => "absent",
        }
    }
}

/// The times of many answers.
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) threads: u16,
    /// Answers.
    pub(super) count: u64,
    /// Bytes of the files they gave.
    pub(super) bytes: u64,
    /// From the first question to the last answer.
    pub(super) nanoseconds: u64,
    times: Histogram<u64>,
}

impl Measured {
    /// Returns the time that a part of the answers, in hundredths of a percent, did not exceed, in nanoseconds.
    pub(super) fn at(&self, part: u32) -> u64 {
        self.times.value_at_quantile(f64::from(part) / 10_000.0)
    }
}

fn histogram() -> Result<Histogram<u64>> {
    // Two digits that count: a bucket is at most 1 % wide.
    Histogram::new(2).map_err(|error| unusable(&error.to_string()))
}

fn unusable(reason: &str) -> Error {
    Error::BadInput { what: "histogram".to_owned(), reason: reason.to_owned() }
}

fn elapsed(since: Clock) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Decodes an answer, as its reader would; returns its bytes.
fn len(found: Option<Snapshot<'_>>) -> Result<u64> {
    let Some(found) = found else { return Ok(0) };
    let body = found.body()?;
    black_box(body.first());
    Ok(u64::try_from(body.len()).unwrap_or(u64::MAX))
}

fn ask(view: &View, question: &Question, what: What) -> Result<u64> {
    len(match what {
        What::Newest => view.latest(&question.id)?,
        What::InRun => view.get(&question.id, question.run)?,
        What::After => view.closest_after(&question.id, question.before)?,
        What::Absent => view.latest(&question.absent)?,
    })
}

/// Looks up one after the other, in each of some threads, which share the questions.
///
/// # Errors
/// Damage, and failures of reading.
pub(super) fn lookups(view: &View, questions: &[Question], what: What, threads: u16) -> Result<Measured> {
    let each = questions.len().div_ceil(usize::from(threads)).max(1);
    let work = |questions: &[Question]| -> Result<(Histogram<u64>, u64)> {
        let (mut times, mut bytes) = (histogram()?, 0u64);
        for question in questions {
            let start = Clock::now();
            bytes = bytes.saturating_add(ask(view, question, what)?);
            times.saturating_record(elapsed(start));
        }
        Ok((times, bytes))
    };
    // What is asked first pays for the maps.
    for question in questions.iter().take(1000) {
        ask(view, question, what)?;
    }
    let start = Clock::now();
    let parts: Vec<Result<(Histogram<u64>, u64)>> = std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = questions.chunks(each).map(|part| scope.spawn(move || work(part))).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let nanoseconds = elapsed(start);
    let (mut times, mut bytes) = (histogram()?, 0u64);
    for part in parts {
        let (more, read) = part?;
        times.add(more).map_err(|error| unusable(&error.to_string()))?;
        bytes = bytes.saturating_add(read);
    }
    let name = what.name().to_owned();
    Ok(Measured { name, threads, count: times.len(), bytes, nanoseconds, times })
}

/// Looks up many at a time. The times are those of one id: the time of a batch by its ids.
///
/// # Errors
/// Damage, and failures of reading.
pub(super) fn batches(view: &View, questions: &[Question], batch: u32) -> Result<Measured> {
    let (mut times, mut bytes) = (histogram()?, 0u64);
    let begin = Clock::now();
    for questions in questions.chunks(usize::try_from(batch).unwrap_or(usize::MAX).max(1)) {
        let ids: Vec<&[u8]> = questions.iter().map(|question| question.id.as_slice()).collect();
        let start = Clock::now();
        for found in view.get_many(&ids, When::Newest) {
            bytes = bytes.saturating_add(len(found?)?);
        }
        let count = u64::try_from(ids.len()).unwrap_or(1);
        times.saturating_record_n(elapsed(start).checked_div(count).unwrap_or(0), count);
    }
    let name = format!("newest, {batch} at a time");
    Ok(Measured { name, threads: 1, count: times.len(), bytes, nanoseconds: elapsed(begin), times })
}

/// Opens the store and looks one snapshot up, again and again.
///
/// # Errors
/// As opening the store; damage, and failures of reading.
pub(super) fn opens(path: &Path, questions: &[Question]) -> Result<Measured> {
    let (mut times, mut bytes) = (histogram()?, 0u64);
    let begin = Clock::now();
    for question in questions.iter().cycle().take(OPENS) {
        let start = Clock::now();
        let view = Store::open_read_only(path)?.view();
        bytes = bytes.saturating_add(len(view.latest(&question.id)?)?);
        times.saturating_record(elapsed(start));
    }
    let name = "open and first answer".to_owned();
    Ok(Measured { name, threads: 1, count: times.len(), bytes, nanoseconds: elapsed(begin), times })
}

/// Reads every snapshot, run by run, and decodes it.
///
/// # Errors
/// Damage, and failures of reading.
pub(super) fn scan(view: &View) -> Result<Measured> {
    let (mut times, mut bytes) = (histogram()?, 0u64);
    let begin = Clock::now();
    for run in view.runs()? {
        let mut start = Clock::now();
        for snapshot in view.iter_run(run.key)? {
            bytes = bytes.saturating_add(len(Some(snapshot?))?);
            times.saturating_record(elapsed(start));
            start = Clock::now();
        }
    }
    let name = "scan, by run".to_owned();
    Ok(Measured { name, threads: 1, count: times.len(), bytes, nanoseconds: elapsed(begin), times })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut times = histogram().unwrap();
        (1..=1000).for_each(|time| times.record(time).unwrap());
        let name = String::new();
        let one = Measured { name, threads: 1, count: 1000, bytes: 0, nanoseconds: 1, times };
        for (part, expect) in [(5000, 500), (9900, 990), (10_000, 1000)] {
            let actual = one.at(part);
            assert!(actual.abs_diff(expect) <= expect / 100, "{part}: {actual}");
        }
    }
}
