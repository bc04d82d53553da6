//! One measurement of one store. One question in 97 is asked first, untimed, and its answers compared with the files' bytes.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use crate::data::{Data, Question};
use crate::peers::{Kind, Peer, Session};

/// Lookups timed together: shorter than what the scheduler gives a process at a time, so that the median of the slices is that of
/// undisturbed ones.
const SLICE: usize = 400;

/// What is asked of each store, in this order.
pub(crate) const LOOKUPS: [&str; 5] = ["newest", "by run", "closest later", "absent", "batch"];

/// Compares the answers to some questions with what was stored.
pub(crate) fn verify(kind: &Kind, peer: &dyn Peer, data: &Data) {
    let mut session = peer.session();
    for question in data.questions.iter().step_by(97) {
        let expect = |number: usize| &data.records[number].body;
        let mut seen = 0;
        let mut compare = |body: &[u8], number: usize| {
            // A compressed record that was not decoded is not to be had here.
            assert!(body == expect(number).as_slice(), "{}: another answer for {}", kind.name, question.id);
            seen += 1;
        };
        session.at(&question.id, question.run, &mut |body| compare(body, question.exact));
        let answers = session.newest(&question.id, &mut |body| compare(body, question.newest));
        let later = session.after(&question.id, question.before, &mut |body| compare(body, question.exact));
        let batch = session.batch(&[&question.id], &mut |body| compare(body, question.newest));
        let told = [answers, later, batch].iter().filter(|told| told.is_some()).count();
        assert_eq!(seen, 1 + told, "{}: an answer is missing for {}", kind.name, question.id);
        session.absent(&question.absent, &mut |_| panic!("{}: {} is not there", kind.name, question.absent));
    }
}

/// What a reader makes of an answer: its length and its first bytes.
fn touch(sum: &mut usize, body: &[u8]) {
    *sum = sum.wrapping_add(body.len()).wrapping_add(usize::from(body[0])).wrapping_add(usize::from(body[7]));
}

fn ask(session: &mut dyn Session, what: &str, slice: &[Question]) -> Option<()> {
    let mut sum = 0;
    let mut see = |body: &[u8]| touch(&mut sum, body);
    for question in slice {
        match what {
            "newest" => session.newest(&question.id, &mut see)?,
            "by run" => session.at(&question.id, question.run, &mut see),
            "closest later" => session.after(&question.id, question.before, &mut see)?,
            _ => session.absent(&question.absent, &mut see)?,
        }
    }
    black_box(sum);
    Some(())
}

fn batch(session: &mut dyn Session, slice: &[Question]) -> Option<()> {
    let ids: Vec<&str> = slice.iter().map(|question| question.id.as_str()).collect();
    let mut sum = 0;
    session.batch(&ids, &mut |body| touch(&mut sum, body))?;
    black_box(sum);
    Some(())
}

/// Nanoseconds a lookup: the median of slices.
pub(crate) fn lookups(peer: &dyn Peer, what: &str, questions: &[Question]) -> Option<f64> {
    let mut session = peer.session();
    let mut slices = Vec::new();
    for slice in questions.chunks(SLICE) {
        let start = Instant::now();
        if what == "batch" {
            batch(&mut *session, slice)?
        } else {
            ask(&mut *session, what, slice)?
        }
        slices.push(start.elapsed().as_nanos() as f64 / slice.len() as f64);
    }
    Some(median(&mut slices))
}

/// Nanoseconds a lookup of the newest, with as many threads, each with questions of its own: wall time by all lookups.
pub(crate) fn threads(peer: &dyn Peer, questions: &[Question], threads: usize) -> Option<f64> {
    peer.session().newest(&questions[0].id, &mut |_| {})?;
    let each = questions.len() / threads;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for questions in questions.chunks(each) {
            scope.spawn(|| ask(&mut *peer.session(), "newest", questions));
        }
    });
    Some(start.elapsed().as_nanos() as f64 / questions.len() as f64)
}

/// Microseconds from nothing to the first answer, in this process.
pub(crate) fn open(kind: &Kind, dir: &Path, questions: &[Question]) -> f64 {
    let mut times = Vec::new();
    for question in questions.iter().take(15) {
        let start = Instant::now();
        let peer = (kind.open)(dir);
        let mut sum = 0;
        peer.session().at(&question.id, question.run, &mut |body| touch(&mut sum, body));
        times.push(start.elapsed().as_nanos() as f64 / 1000.0);
        black_box(sum);
        drop(peer);
    }
    median(&mut times)
}

/// Megabytes of files a second, each with its CRC: taken here of every value, unless the store verifies its own.
pub(crate) fn scan(kind: &Kind, peer: &dyn Peer, data: &Data) -> Option<f64> {
    let start = Instant::now();
    let (mut sum, mut count) = (0u32, 0usize);
    peer.session().scan(&mut |body| {
        count += 1;
        if !kind.verifies {
            sum = sum.wrapping_add(crc32fast::hash(body));
        }
    })?;
    black_box(sum);
    assert!(count >= data.records.len(), "{}: {count} of {} were seen", kind.name, data.records.len());
    Some(data.bytes as f64 / start.elapsed().as_secs_f64() / 1e6)
}

/// Megabytes of files a second that the store itself verifies.
pub(crate) fn check(peer: &dyn Peer, data: &Data) -> Option<f64> {
    let start = Instant::now();
    peer.session().check()?;
    Some(data.bytes as f64 / start.elapsed().as_secs_f64() / 1e6)
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
