//! S13, S14, S15: going on with what an earlier run wrote.

use std::fs;
use std::path::PathBuf;

use super::{damage, end, id, import_run, place, segments_of, states, store, units_of};
use crate::common::{Dir, of_type, read_tree, text};

/// Runs a check until the time is up, which is after the first segment; returns the file with what it wrote.
fn begun(dir: &Dir, code: i32, more: &[&str]) -> PathBuf {
    let file = dir.path("results");
    fs::write(
        &file,
        dir.expect(code, &[&["--json", "check", "--all", "--max-duration", "0"], more].concat()),
    )
    .unwrap();
    file
}

/// The places of all objects, as the manifest has them.
fn objects(dir: &Dir) -> Vec<super::At> {
    of_type(&dir.units(0, &["manifest"]), "object").into_iter().map(place).collect()
}

#[test]
fn s13_a_file_that_is_cut_anywhere_goes_on_from_its_last_whole_checkpoint_and_is_not_repaired_from() {
    let dir = store(3, 5);
    damage(&dir, 2);
    let whole = dir.expect(1, &["--json", "check", "--all"]);
    let starts: Vec<usize> = (0..whole.len()).filter(|at| *at == 0 || whole[at - 1] == b'\n').collect();
    let (checkpoint, last) = (starts[starts.len() - 2], starts[starts.len() - 1]);
    let file = dir.path("cut");
    let expect = states(&units_of(&whole));
    let before = read_tree(&dir.store());
    // Every byte is the business of the reader's own tests.
    for cut in (checkpoint..whole.len()).step_by(9).chain([last - 1, last, whole.len() - 1]) {
        fs::write(&file, &whole[..cut]).unwrap();
        let rest = dir.units(1, &["check", "--all", "--resume", text(&file)]);
        // What was found damaged is read again, so that it is known whether it still is.
        let expect_segments = if cut < last { vec![2, 3] } else { vec![2] };
        assert_eq!(segments_of(&rest).into_iter().collect::<Vec<_>>(), expect_segments, "cut at {cut}");
        assert_eq!(end(&rest)["known_bad"], 1);
        let mut all = states(&units_of(&whole[..cut]));
        all.extend(states(&rest));
        assert_eq!(all, expect);
        let told = dir.run(&["repair", "--from", text(&file)]);
        assert_eq!(told.status.code(), Some(2), "cut at {cut}");
        assert!(String::from_utf8_lossy(&told.stderr).contains("--allow-incomplete"));
    }
    assert!(before.keys().eq(read_tree(&dir.store()).keys()), "nothing was repaired");
    fs::write(&file, &whole[..last]).unwrap();
    dir.expect(1, &["repair", "--from", text(&file), "--allow-incomplete"]);
    dir.expect(0, &["check"]);
}

#[test]
fn s14_after_an_import_a_compaction_or_a_repair_nothing_new_or_moved_is_passed_over() {
    let dir = store(4, 10);
    let file = begun(&dir, 3, &[]);
    import_run(&dir, 5, 0..10);
    dir.expect(0, &["delete", &id(1)]);
    let gone_on = |code: i32| {
        let rest = dir.units(code, &["check", "--all", "--resume", text(&file)]);
        let told = states(&[units_of(&fs::read(&file).unwrap()), rest].concat());
        assert!(objects(&dir).iter().all(|at| told.get(at).is_some_and(|state| state == "ok")));
    };
    gone_on(0);
    // All that was checked moves behind what was not.
    dir.expect(0, &["compact", "--threshold", "1"]);
    let (first, _) = objects(&dir)[0];
    assert!(first > 4, "{first}");
    gone_on(0);
    let file = begun(&dir, 3, &[]);
    let last = objects(&dir).last().unwrap().0;
    damage(&dir, last);
    dir.expect(1, &["repair"]);
    let rest = dir.units(0, &["check", "--all", "--resume", text(&file)]);
    let told = states(&[units_of(&fs::read(&file).unwrap()), rest].concat());
    assert!(objects(&dir).iter().all(|at| told.get(at).is_some_and(|state| state == "ok")));
}

#[test]
fn s15_a_file_of_another_store_level_part_or_command_is_refused() {
    let dir = store(2, 5);
    let file = begun(&dir, 3, &[]);
    let path = text(&file);
    let other = Dir::new();
    other.expect(0, &["init"]);
    let before = (read_tree(&dir.store()), fs::read(&file).unwrap());
    let refused = |dir: &Dir, args: &[&str], why: &str| {
        let output = dir.run(args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains(why), "{args:?}: {told}");
    };
    refused(&dir, &["check", "--resume", path, "--level", "content"], "level crc, not content");
    refused(&dir, &["check", "--resume", path, "--shard", "1/2"], "shard none, not 1/2");
    refused(&dir, &["manifest", "--resume", path], "command check, not manifest");
    refused(&other, &["check", "--resume", path], "is of store");
    refused(&other, &["repair", "--from", path], "another store");
    refused(&dir, &["check", "--resume", "nowhere"], "no such file");
    refused(&dir, &["check", "--resume", text(&dir.store())], "is a directory");
    refused(&dir, &["repair", "--from", "nowhere"], "no such file");
    for (content, why) in [("{}\n{}\n", "line 1"), ("\u{0}", "no run"), ("\n", "line 1")] {
        let bad = dir.path("bad");
        fs::write(&bad, content).unwrap();
        refused(&dir, &["check", "--resume", text(&bad)], why);
    }
    let manifest = dir.path("manifest");
    fs::write(&manifest, dir.expect(0, &["--json", "manifest"])).unwrap();
    refused(&dir, &["repair", "--from", text(&manifest)], "no results of a check");
    assert!(before == (read_tree(&dir.store()), fs::read(&file).unwrap()), "nothing was changed");
}

/// An error said that an empty file holds no run, so `--resume results >> results`, which makes the file, could not be the command
/// of the first night too. It was the same after a run that was killed before its first line was whole.
#[test]
fn a_file_to_which_nothing_was_written_yet_begins_from_the_start() {
    let dir = store(2, 5);
    let file = dir.path("results");
    let whole = dir.expect(0, &["--json", "check", "--all"]);
    for cut in [0, 5, 40, 200] {
        fs::write(&file, &whole[..cut]).unwrap();
        let units = dir.units(0, &["check", "--all", "--resume", text(&file)]);
        assert_eq!((&units[0]["resumed"], segments_of(&units).len()), (&serde_json::Value::Null, 2), "{cut}");
    }
}

/// Who kept the output of the last run only, and not of all in one file, had the number of damaged places of the runs before and
/// not their segments: after a repair each run that went on ended with exit code 1, until one began anew.
#[test]
fn damage_of_earlier_runs_is_forgotten_once_repaired_where_only_the_last_output_is_kept() {
    let dir = store(5, 5);
    let places = [1, 3].map(|number| super::middle(&dir, number));
    for at in places {
        super::damage_at(&dir, at);
    }
    let file = dir.path("results");
    fs::write(&file, "").unwrap();
    let replace = |code: i32, more: &[&str]| {
        let new = dir.expect(code, &[&["--json", "check", "--resume", text(&file)], more].concat());
        fs::write(&file, &new).unwrap();
        units_of(&new)
    };
    let one = ["--max-duration", "0"];
    for known in [1, 1, 2, 2] {
        assert_eq!(end(&replace(1, &one))["known_bad"], known);
    }
    dir.expect(1, &["repair"]);
    let last = replace(0, &[]);
    let first = of_type(&last, "checkpoint")[0];
    assert_eq!(first["again"], serde_json::json!([{ "seg": 1, "bad": 1 }, { "seg": 3, "bad": 1 }]));
    assert_eq!((&end(&last)["known_bad"], &end(&last)["exit"]), (&0.into(), &0.into()));
}

/// The damage that a run had found was carried from run to run as a number. So after a repair each run that went on from there
/// still ended with exit code 1, for damage that was nowhere.
#[test]
fn damage_that_a_run_before_has_found_is_looked_at_again_and_forgotten_once_repaired() {
    let dir = store(4, 5);
    let places = [1, 2].map(|number| super::middle(&dir, number));
    for at in places {
        super::damage_at(&dir, at);
    }
    let file = dir.path("results");
    let append = |code: i32, more: &[&str]| {
        let before = fs::read(&file).unwrap_or_default();
        fs::write(&file, &before).unwrap();
        let args = [&["--json", "check", "--resume", text(&file)], more].concat();
        let new = dir.expect(code, &args);
        fs::write(&file, [before, new.clone()].concat()).unwrap();
        units_of(&new)
    };
    let one = ["--max-duration", "0"];
    assert_eq!(end(&append(1, &one))["known_bad"], 1);
    let second = append(1, &one);
    assert_eq!((end(&second)["known_bad"].as_u64(), segments_of(&second).len()), (Some(2), 2));
    let third = append(1, &one);
    assert_eq!((end(&third)["known_bad"].as_u64(), segments_of(&third).len()), (Some(2), 3));
    assert_eq!(end(&third)["cursor"]["seg"], 4, "what is read again does not keep it from coming further");
    dir.expect(1, &["repair"]);
    let last = append(0, &[]);
    assert_eq!((end(&last)["known_bad"].as_u64(), end(&last)["exit"].as_u64()), (Some(0), Some(0)));
    let places: Vec<_> = of_type(&last, "segment").into_iter().map(|unit| unit["seg"].as_u64()).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn a_manifest_goes_on_too() {
    let dir = store(3, 10);
    let whole = objects(&dir);
    let file = dir.path("list");
    fs::write(&file, dir.expect(3, &["--json", "manifest", "--max-duration", "0"])).unwrap();
    for _ in 0..2 {
        let more = dir.run(&["--json", "manifest", "--max-duration", "0", "--resume", text(&file)]).stdout;
        let all = [fs::read(&file).unwrap(), more].concat();
        fs::write(&file, all).unwrap();
    }
    let units = units_of(&fs::read(&file).unwrap());
    assert_eq!(of_type(&units, "object").into_iter().map(place).collect::<Vec<_>>(), whole);
    assert_eq!(end(&units)["status"], "complete");
    let runs = of_type(&units, "begin");
    assert_eq!((runs.len(), &runs[2]["resumed"]), (3, &runs[1]["run"]));
    let plain = String::from_utf8(dir.expect(0, &["manifest"])).unwrap();
    assert_eq!(plain.lines().count(), 30);
    assert!(plain.starts_with(&format!("20240101T000100Z\t{}\t", id(0))), "{plain}");
}
