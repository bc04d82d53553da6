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
    /// What was wrong with the first answer that was damaged, and how many were: they count as answers without bytes.
    pub(super) damage: Option<Error>,
    pub(super) damaged: u64,
    times: Histogram<u64>,
}

/// Answers being measured.
struct Answers {
    times: Histogram<u64>,
    bytes: u64,
    damage: Option<Error>,
    damaged: u64,
}

impl Answers {
    fn new() -> Result<Answers> {
        Ok(Answers { times: histogram()?, bytes: 0, damage: None, damaged: 0 })
    }

    /// Takes the bytes of an answer, or its damage.
    ///
    /// # Errors
    /// Any but damage.
    fn take(&mut self, answer: Result<u64>) -> Result<()> {
        match answer {
            Ok(bytes) => self.bytes = self.bytes.saturating_add(bytes),
            Err(error) if error.is_damage() => {
                self.damaged = self.damaged.saturating_add(1);
                self.damage.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Counts `count` answers that took so long each.
    fn took(&mut self, nanoseconds: u64, count: u64) -> Result<()> {
        self.times.record_n(nanoseconds, count).map_err(|error| unusable(&error.to_string()))
    }

    fn add(&mut self, more: Answers) -> Result<()> {
        self.times.add(more.times).map_err(|error| unusable(&error.to_string()))?;
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.damaged = self.damaged.saturating_add(more.damaged);
        self.damage = self.damage.take().or(more.damage);
        Ok(())
    }

    fn measured(self, name: String, threads: u16, nanoseconds: u64) -> Measured {
        let Answers { times, bytes, damage, damaged } = self;
        Measured { name, threads, count: times.len(), bytes, nanoseconds, damage, damaged, times }
    }
}

impl Measured {
    /// Returns the time that a part of the answers, in hundredths of a percent, did not exceed, in nanoseconds.
    pub(super) fn at(&self, part: u32) -> u64 {
        self.times.value_at_quantile(f64::from(part) / 10_000.0)
    }
}

fn histogram() -> Result<Histogram<u64>> {
    // Two digits that count: a bucket is at most 1 % wide. It grows with what is recorded.
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
/// Failures of reading.
pub(super) fn lookups(view: &View, questions: &[Question], what: What, threads: u16) -> Result<Measured> {
    let each = questions.len().div_ceil(usize::from(threads)).max(1);
    let work = |questions: &[Question]| -> Result<Answers> {
        let mut answers = Answers::new()?;
        for question in questions {
            let start = Clock::now();
            let answer = ask(view, question, what);
            answers.took(elapsed(start), 1)?;
            answers.take(answer)?;
        }
        Ok(answers)
    };
    // What is asked first pays for the maps.
    let mut warm = Answers::new()?;
    questions.iter().take(1000).try_for_each(|question| warm.take(ask(view, question, what)))?;
    let start = Clock::now();
    let parts: Vec<Result<Answers>> = std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = questions.chunks(each).map(|part| scope.spawn(move || work(part))).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let nanoseconds = elapsed(start);
    let threads = u16::try_from(parts.len()).unwrap_or(threads);
    let mut answers = Answers::new()?;
    parts.into_iter().try_for_each(|part| answers.add(part?))?;
    Ok(answers.measured(what.name().to_owned(), threads, nanoseconds))
}

/// Looks up many at a time. The times are those of one id: the time of a batch by its ids.
///
/// # Errors
/// Failures of reading.
pub(super) fn batches(view: &View, questions: &[Question], batch: u32) -> Result<Measured> {
    let mut answers = Answers::new()?;
    let begin = Clock::now();
    for questions in questions.chunks(usize::try_from(batch).unwrap_or(usize::MAX).max(1)) {
        let ids: Vec<&[u8]> = questions.iter().map(|question| question.id.as_slice()).collect();
        let start = Clock::now();
        view.each_of_many(&ids, When::Newest, |_, found| answers.take(found.and_then(len)))?;
        let count = u64::try_from(ids.len()).unwrap_or(1);
        answers.took(elapsed(start).checked_div(count).unwrap_or(0), count)?;
    }
    let nanoseconds = elapsed(begin);
    Ok(answers.measured(format!("newest, {batch} at a time, mean"), 1, nanoseconds))
}

/// Opens the store and looks one snapshot up, again and again.
///
/// # Errors
/// As opening the store, and failures of reading.
pub(super) fn opens(path: &Path, questions: &[Question]) -> Result<Measured> {
    let mut answers = Answers::new()?;
    let begin = Clock::now();
    for question in questions.iter().cycle().take(OPENS) {
        let start = Clock::now();
        let view = Store::open_read_only(path)?.view();
        let answer = view.latest(&question.id).and_then(len);
        answers.took(elapsed(start), 1)?;
        answers.take(answer)?;
    }
    let nanoseconds = elapsed(begin);
    Ok(answers.measured("open and first answer".to_owned(), 1, nanoseconds))
}

/// Reads every snapshot, run by run, and decodes it.
///
/// # Errors
/// Failures of reading.
pub(super) fn scan(view: &View) -> Result<Measured> {
    let mut answers = Answers::new()?;
    let begin = Clock::now();
    for run in view.runs()? {
        let mut start = Clock::now();
        for snapshot in view.iter_run(run.key)? {
            let answer = snapshot.and_then(|snapshot| len(Some(snapshot)));
            answers.took(elapsed(start), 1)?;
            answers.take(answer)?;
            start = Clock::now();
        }
    }
    let nanoseconds = elapsed(begin);
    Ok(answers.measured("scan, by run".to_owned(), 1, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A histogram that does not grow clamps: every time was told as 2 ns.
    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut answers = Answers::new().unwrap();
        (1..=1000).for_each(|time| answers.took(time * 1000, 1).unwrap());
        let mut more = Answers::new().unwrap();
        more.took(1 << 40, 1000).unwrap();
        let one = answers.measured(String::new(), 1, 1);
        for (part, expect) in [(5000, 500_000), (9900, 990_000), (10_000, 1_000_000)] {
            let actual = one.at(part);
            assert!(actual.abs_diff(expect) <= expect / 100, "{part}: {actual}");
        }
        let mut both = Answers::new().unwrap();
        both.took(1, 1).unwrap();
        both.add(more).unwrap();
        let both = both.measured(String::new(), 1, 1);
        assert_eq!(both.count, 1001);
        assert!(both.at(5000).abs_diff(1 << 40) <= (1 << 40) / 100);
    }

    #[test]
    fn damaged_answers_are_counted_and_any_other_failure_ends_it() {
        let mut answers = Answers::new().unwrap();
        answers.take(Ok(7)).unwrap();
        for at in [1, 2] {
            let place = crate::error::Place::at("data/x", at);
            answers.take(Err(Error::damaged(place, crate::error::Damage::Gone))).unwrap();
        }
        answers.take(Err(Error::Cancelled)).unwrap_err();
        let one = answers.measured(String::new(), 1, 1);
        assert_eq!((one.bytes, one.damaged), (7, 2));
        assert!(one.damage.unwrap().to_string().starts_with("data/x at 1"));
    }
}
