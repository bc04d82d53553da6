//! An import that finds files as an earlier one saw them: it does not open them, and is never wrong about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::common::{Dir, copy_tree, files, sample, set_mtime, text};
use crate::sample::CHANGED;

/// A change must be two seconds old to be told from the next one.
const SETTLED: Duration = Duration::from_millis(2100);

fn counts(units: &[Value]) -> &Value {
    &units[units.len() - 1]["counts"]
}

/// A copy of the sample whose files may be taken for what they look like, imported once.
fn settled() -> (Dir, PathBuf) {
    let dir = Dir::new();
    let source = dir.path("backup");
    copy_tree(&sample(), &source);
    thread::sleep(SETTLED);
    dir.import(3, &source);
    (dir, source)
}

fn notes(dir: &Dir) -> PathBuf {
    let entries = fs::read_dir(dir.store()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| text(path).contains("/sources.")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn id_and_run() -> (&'static str, &'static str) {
    let (run, name) = CHANGED.split_once('/').unwrap();
    (name.trim_end_matches(".json"), run)
}

fn rewrite(file: &Path) -> String {
    let changed = fs::read_to_string(file).unwrap().replace("\"type\"", "\"typ_\"");
    fs::write(file, &changed).unwrap();
    changed
}

#[test]
fn a_second_import_opens_no_file_that_is_as_it_was() {
    let (dir, source) = settled();
    for jobs in ["1", "2"] {
        let units = dir.units(3, &["import", text(&source), "--jobs", jobs]);
        assert!(counts(&units)["unchanged"].as_u64().unwrap() > 50);
        assert_eq!(counts(&units)["unopened"], counts(&units)["unchanged"]);
        assert_eq!(counts(&units)["unchanged"], files(&units, "unchanged").len());
    }
    let units = dir.units(3, &["import", text(&source), "--force-read"]);
    assert_eq!(counts(&units)["unopened"], 0);
    let units = dir.import(3, &source);
    assert_eq!(
        counts(&units)["unopened"],
        counts(&units)["unchanged"],
        "reading all of them notes them again"
    );
}

#[test]
fn a_file_written_just_now_is_read_again() {
    let dir = Dir::new();
    let source = dir.path("backup");
    copy_tree(&sample(), &source);
    dir.import(3, &source);
    let units = dir.import(3, &source);
    assert_eq!(counts(&units)["unopened"], 0, "a rewrite within one tick of the clock would not show");
    thread::sleep(SETTLED);
    dir.import(3, &source);
    let units = dir.import(3, &source);
    assert_eq!(counts(&units)["unopened"], counts(&units)["unchanged"]);
}

#[test]
fn a_rewrite_that_keeps_length_and_time_is_seen() {
    let (dir, source) = settled();
    let file = source.join("opencti_data").join(CHANGED);
    set_mtime(&file, 1_700_000_000, 5);
    dir.import(3, &source);
    thread::sleep(SETTLED);
    dir.import(3, &source);
    let changed = rewrite(&file);
    set_mtime(&file, 1_700_000_000, 5);
    let units = dir.import(3, &source);
    assert_eq!(files(&units, "updated").into_iter().collect::<Vec<_>>(), [CHANGED]);
    let (id, run) = id_and_run();
    assert!(dir.expect(0, &["get", id, "--run", run, "--raw"]) == changed.as_bytes());
}

/// The notes say what was seen, the store says what it holds. If the notes were believed, a snapshot would be missing for good
/// after each of these.
#[test]
fn what_the_store_lost_since_is_stored_again() {
    let (dir, source) = settled();
    let (id, run) = id_and_run();
    let body = dir.expect(0, &["get", id, "--run", run, "--raw"]);

    dir.expect(0, &["delete", id, "--run", run]);
    let units = dir.import(3, &source);
    assert_eq!(files(&units, "added").into_iter().collect::<Vec<_>>(), [CHANGED], "deleted");

    // Of a store that is as it was nothing is looked up: what rots in it is for `check` to find, and for `--force-read` to heal.
    flip_a_bit(&dir, id, run);
    dir.expect(1, &["get", id, "--run", run]);
    dir.import(3, &source);
    dir.expect(1, &["check"]);
    let units = dir.units(3, &["import", text(&source), "--force-read"]);
    assert_eq!(files(&units, "updated").into_iter().collect::<Vec<_>>(), [CHANGED], "damaged, and read");
    assert!(dir.expect(0, &["get", id, "--run", run, "--raw"]) == body);

    // Once anything was committed since, each record is looked up, and verified.
    flip_a_bit(&dir, id, run);
    let other = dir.path("other.json");
    fs::write(&other, &body).unwrap();
    dir.expect(0, &["put", id, "--run", "20300101T000000Z", text(&other)]);
    let units = dir.import(3, &source);
    assert_eq!(files(&units, "updated").into_iter().collect::<Vec<_>>(), [CHANGED], "damaged, and looked up");
    assert!(dir.expect(0, &["get", id, "--run", run, "--raw"]) == body);
}

/// A store as it was, but for a segment that is not there any more: that it is missing is known when it is opened.
#[test]
fn what_a_missing_segment_held_is_stored_again() {
    let (dir, source) = settled();
    let (id, run) = id_and_run();
    let body = dir.expect(0, &["get", id, "--run", run, "--raw"]);
    // Another segment, in which the last commit stands.
    let other = dir.path("other.json");
    fs::write(&other, &body).unwrap();
    dir.expect(0, &["put", id, "--run", "20300101T000000Z", text(&other)]);
    dir.import(3, &source);
    let held = files(&dir.import(3, &source), "unchanged").len();
    fs::remove_file(dir.store().join("data/0000000001.seg")).unwrap();
    let units = dir.import(3, &source);
    assert_eq!(counts(&units)["unopened"], 0);
    assert_eq!(files(&units, "updated").len() + files(&units, "added").len(), held);
    assert!(dir.expect(0, &["get", id, "--run", run, "--raw"]) == body);
}

/// Flips the last bit of what is stored of a snapshot.
fn flip_a_bit(dir: &Dir, id: &str, run: &str) {
    let history = dir.units(0, &["history", id]);
    let at = history.iter().find(|unit| unit["type"] == "snapshot" && unit["path"][0] == run).unwrap();
    let (seg, off, len) =
        (at["seg"].as_u64().unwrap(), at["off"].as_u64().unwrap(), at["len"].as_u64().unwrap());
    let segment = dir.store().join(format!("data/{seg:010}.seg"));
    let mut bytes = fs::read(&segment).unwrap();
    bytes[usize::try_from(off + len - 1).unwrap()] ^= 1;
    fs::write(&segment, &bytes).unwrap();
}

/// The store is set back to an older copy of itself and the notes are not: the commits that they came with are gone, and later
/// ones have the same numbers.
#[test]
fn notes_of_a_later_time_than_the_store_hide_nothing() {
    let (dir, source) = settled();
    let copy = dir.path("copy");
    copy_tree(&dir.store(), &copy);
    let file = source.join("opencti_data").join(CHANGED);
    let changed = rewrite(&file);
    thread::sleep(SETTLED);
    dir.import(3, &source);
    let late = fs::read(notes(&dir)).unwrap();
    fs::remove_dir_all(dir.store()).unwrap();
    copy_tree(&copy, &dir.store());
    // Another change of the same kind, so that its commit has the number and nearly the place of the one that is gone.
    let (id, run) = id_and_run();
    let other = dir.path("other.json");
    fs::write(&other, changed.replace("\"typ_\"", "\"tpy_\"")).unwrap();
    dir.expect(0, &["put", id, "--run", run, text(&other)]);
    fs::write(notes(&dir), late).unwrap();
    let units = dir.import(3, &source);
    assert_eq!(files(&units, "updated").into_iter().collect::<Vec<_>>(), [CHANGED]);
    assert!(dir.expect(0, &["get", id, "--run", run, "--raw"]) == changed.as_bytes());
}

#[test]
fn damaged_lost_and_foreign_notes_cost_one_reading() {
    let (dir, source) = settled();
    let path = notes(&dir);
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bad in [Some(flipped), Some(good[..good.len() - 1].to_vec()), Some(Vec::new()), None] {
        match &bad {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let units = dir.import(3, &source);
        assert_eq!(counts(&units)["unopened"], 0);
        let units = dir.import(3, &source);
        assert_eq!(counts(&units)["unopened"], counts(&units)["unchanged"]);
    }
    dir.expect(0, &["check"]);
}

#[test]
fn what_compaction_moved_is_read_once_more() {
    let (dir, source) = settled();
    // Something to reclaim, so that the rest of the segment moves.
    let held = files(&dir.import(3, &source), "unchanged");
    for path in held.iter().take(20) {
        let (run, name) = path.split_once('/').unwrap();
        dir.expect(0, &["delete", name.trim_end_matches(".json"), "--run", run]);
    }
    dir.expect(0, &["compact", "--threshold", "1"]);
    let units = dir.import(3, &source);
    assert_eq!(counts(&units)["unopened"], 0, "all of it was moved");
    let units = dir.import(3, &source);
    assert_eq!(counts(&units)["unopened"], counts(&units)["unchanged"]);
}

#[test]
fn only_the_sources_imported_last_are_remembered() {
    let dir = Dir::new();
    let run = "20240101T000000Z";
    for number in 0..20 {
        let source = dir.path(&format!("source-{number}"));
        let folder = source.join("opencti_data").join(run);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(sample().join("opencti_data").join(CHANGED), folder.join(format!("a-{number}.json")))
            .unwrap();
    }
    thread::sleep(SETTLED);
    for number in 0..20 {
        dir.import(0, &dir.path(&format!("source-{number}")));
    }
    let entries = fs::read_dir(dir.store()).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(entries.filter(|path| text(path).contains("/sources.")).count(), 16);
    let last = dir.import(0, &dir.path("source-19"));
    assert_eq!(counts(&last)["unopened"], 1);
    let first = dir.import(0, &dir.path("source-0"));
    assert_eq!(counts(&first)["unopened"], 0);
}

#[test]
fn timings_name_every_step_once() {
    let (dir, source) = settled();
    let units = dir.units(3, &["import", text(&source), "--force-read", "--timings"]);
    let timing = units.iter().find(|unit| unit["type"] == "timing").unwrap();
    let steps =
        ["lock_wait", "recovery", "scan", "prefilter", "read", "parse", "encode", "train", "reorder_wait"];
    for step in steps.into_iter().chain(["append", "fsync", "index", "total"]) {
        assert!(timing[format!("{step}_us")].is_u64(), "{step}: {timing}");
    }
    assert!(timing["read_us"].as_u64() > Some(0) && timing["total_us"].as_u64() > Some(0));
    let table = dir.expect(3, &["import", text(&source), "--timings"]);
    assert!(String::from_utf8(table).unwrap().contains("reorder wait"));
    assert!(!dir.import(3, &source).iter().any(|unit| unit["type"] == "timing"));
}
