//! A writer and twenty readers, each a process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::fs;
use crate::common::{Dir, text};

const READERS: u64 = 20;
const IDS: u64 = 12;
const ROUNDS: u64 = 24;

fn id(number: u64) -> String {
    format!("tool--{number:08x}-1111-4111-8111-111111111111")
}

/// An object that says which version it is, long enough to be torn and the same all through.
fn object(number: u64, version: u64) -> String {
    let filler = format!("{number}.{version} ").repeat(200);
    format!(r#"{{"type": "tool", "id": "{}", "version": {version}, "x": "{filler}"}}"#, id(number))
}

/// Reads an object over and over: each answer must be one of its versions, whole, never older than what was acknowledged
/// before the question, nor than the answer before.
fn read(dir: &Dir, reader: u64, acked: &[AtomicU64], is_done: &AtomicBool) -> u64 {
    let mut newest = vec![0; acked.len()];
    let mut count = 0;
    while !is_done.load(Ordering::Acquire) {
        let number = (reader + count) % IDS;
        let at = usize::try_from(number).unwrap();
        let before = acked[at].load(Ordering::Acquire);
        let answer = String::from_utf8(dir.expect(0, &["get", &id(number)])).unwrap();
        let version: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let version = version["version"].as_u64().unwrap();
        assert_eq!(answer.trim_end(), object(number, version), "a torn answer");
        assert!(version >= before.max(newest[at]), "{number}: {version} after {before}, {}", newest[at]);
        newest[at] = version;
        let history = String::from_utf8(dir.expect(0, &["history", &id(number)])).unwrap();
        assert!(!history.is_empty(), "{number}");
        count += 1;
    }
    count
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of lookups is part of what the test shows")]
fn twenty_readers_beside_a_writer_that_commits_and_compacts_get_whole_and_current_answers() {
    let dir = Dir::new();
    let put = |number: u64, version: u64| {
        let file = dir.path("file.json");
        fs::write(&file, format!(r#"{{"objects": [{}]}}"#, object(number, version))).unwrap();
        // Some versions replace one in its run, some come in a new run.
        let run = format!("20240101T0{}0000Z", version / 4 % 8);
        dir.expect(0, &["put", &id(number), "--run", &run, text(&file)]);
    };
    dir.expect(0, &["init", "--segment-size", "8192"]);
    (0..IDS).for_each(|number| put(number, 0));
    let acked: Vec<AtomicU64> = (0..IDS).map(|_| AtomicU64::new(0)).collect();
    let is_done = AtomicBool::new(false);
    let count: u64 = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (dir, acked, is_done) = (&dir, &acked, &is_done);
                scope.spawn(move || read(dir, reader, acked, is_done))
            })
            .collect();
        // Ended however it ends, or the readers would never.
        let writing = scope.spawn(|| {
            for version in 1..=ROUNDS {
                for number in (0..IDS).filter(|number| (number + version) % 3 == 0) {
                    put(number, version);
                    acked[usize::try_from(number).unwrap()].store(version, Ordering::Release);
                }
                if version % 4 == 0 {
                    dir.expect(0, &["compact", "--threshold", "1"]);
                }
            }
        });
        let written = writing.join();
        is_done.store(true, Ordering::Release);
        written.unwrap();
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    println!("{READERS} readers asked {count} times beside {ROUNDS} rounds of a writer");
    assert!(count >= READERS, "only {count}");
    dir.expect(0, &["check", "--level", "content"]);
}
