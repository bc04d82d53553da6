//! S19, and the record of what was checked when.

use std::fs;

use super::{damage, end, import_run, segments_of, store};
use crate::common::{Dir, STORE_ID, of_type, text};

fn check(dir: &Dir, code: i32, more: &[&str]) -> Vec<serde_json::Value> {
    let record = dir.path("record");
    dir.units(code, &[&["check", "--record", text(&record)], more].concat())
}

fn skipped(units: &[serde_json::Value]) -> Vec<u64> {
    let segments = of_type(units, "segment").into_iter().filter(|unit| unit["state"] == "skipped");
    segments.map(|unit| unit["seg"].as_u64().unwrap()).collect()
}

#[test]
fn s19_damage_that_is_known_and_not_reached_keeps_the_exit_code() {
    let dir = store(3, 10);
    damage(&dir, 3);
    assert_eq!(end(&check(&dir, 1, &[]))["known_bad"], 1);
    let units = check(&dir, 1, &["--max-duration", "0"]);
    assert_eq!(segments_of(&units).len(), 1);
    let last = end(&units);
    assert_eq!(
        (&last["status"], &last["known_bad"], &last["cursor"]["seg"]),
        (&"partial".into(), &1.into(), &2.into())
    );
    // It is never passed over, however short ago it was found.
    let units = check(&dir, 1, &["--max-age", "30d"]);
    assert_eq!((skipped(&units), &end(&units)["known_bad"]), (vec![1, 2], &1.into()));
    let told = String::from_utf8(
        dir.expect(1, &["check", "--record", text(&dir.path("record")), "--max-duration", "0"]),
    );
    let told = told.unwrap();
    assert!(
        told.contains("1 damaged places that were found before") && !told.contains("no damage"),
        "{told}"
    );
    assert!(told.contains("the time is up") && told.contains("--max-age 30d"), "{told}");
    dir.expect(1, &["repair"]);
    assert_eq!(end(&check(&dir, 0, &["--max-age", "30d"]))["known_bad"], 0);
}

#[test]
fn what_was_found_good_lately_is_passed_over_and_what_is_new_or_moved_never() {
    let dir = store(3, 10);
    check(&dir, 3, &["--max-duration", "0"]);
    assert_eq!(skipped(&check(&dir, 3, &["--max-age", "1d", "--max-duration", "0"])), [1]);
    assert_eq!(skipped(&check(&dir, 0, &["--max-age", "1d"])), [1, 2]);
    assert_eq!(skipped(&check(&dir, 0, &["--max-age", "1d"])), [1, 2, 3]);
    assert!(skipped(&check(&dir, 0, &["--max-age", "1d", "--level", "content"])).is_empty(), "not so deep");
    assert!(skipped(&check(&dir, 0, &[])).is_empty());
    import_run(&dir, 4, 0..10);
    assert_eq!(skipped(&check(&dir, 0, &["--max-age", "1d"])), [1, 2, 3]);
    dir.expect(0, &["delete", &super::id(2)]);
    dir.expect(0, &["compact", "--threshold", "1"]);
    let units = check(&dir, 0, &["--max-age", "1d", "--all"]);
    assert!(skipped(&units).is_empty() && of_type(&units, "result").len() == 36, "{units:#?}");
}

/// Without an index, and hints, a segment that is gone is known by the COMMITs around it only, which belong to segments that are good: the next
/// check passed these over, and ended with exit code 0.
#[test]
fn a_segment_that_is_gone_is_not_forgotten_where_no_index_names_it() {
    let dir = store(3, 4);
    super::remove_index(&dir);
    fs::remove_file(dir.store().join("hints.3")).unwrap();
    fs::remove_file(super::segment(&dir, 2)).unwrap();
    let twice = |good: i32| {
        for more in [&[][..], &["--max-age", "30d"], &["--max-age", "30d"]] {
            let units = check(&dir, good, more);
            assert_eq!(end(&units)["known_bad"], good, "{more:?}");
            assert!(good == 0 || skipped(&units).is_empty(), "{more:?}");
        }
    };
    twice(1);
    // An index that is made now does not know of that segment either.
    import_run(&dir, 4, 0..4);
    twice(1);
    dir.expect(1, &["repair"]);
    twice(0);
}

#[test]
fn a_record_that_is_damaged_foreign_or_of_the_future_means_to_start_over() {
    let dir = store(2, 5);
    let path = dir.path("record");
    check(&dir, 0, &[]);
    let whole = fs::read_to_string(&path).unwrap();
    assert_eq!(skipped(&check(&dir, 0, &["--max-age", "1d"])), [1, 2]);
    for bad in [whole.replace("\"seg\":2", "\"seg\":3"), whole[..whole.len() - 2].to_owned(), "x".to_owned()]
    {
        fs::write(&path, bad).unwrap();
        let output = dir.run(&["check", "--record", text(&path), "--max-age", "1d"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("starting a new one") && output.status.success(), "{told}");
        assert_eq!(skipped(&check(&dir, 0, &["--max-age", "1d"])), [1, 2], "it is whole again");
    }
    let other = Dir::new();
    super::import_run_as(&other, 1, 0..5);
    let output = other.run(&["check", "--record", text(&path), "--max-age", "1d"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("another store") && output.status.success(), "{told}");
    assert!(!fs::read_to_string(&path).unwrap().contains(STORE_ID));
}

#[test]
fn a_record_in_the_store_is_refused_and_one_that_cannot_be_written_does_not_end_the_check() {
    let dir = store(2, 5);
    for path in [dir.store().join("record"), dir.store().join("data/../record")] {
        let output = dir.run(&["check", "--record", text(&path)]);
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!path.exists());
    }
    let units = dir.units(4, &["check", "--record", "/dev/full/record"]);
    assert_eq!(of_type(&units, "error").len(), 1, "{units:#?}");
}
