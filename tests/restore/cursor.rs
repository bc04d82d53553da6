//! Restores in pieces: the cursor, and what changed since.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use super::{DAYS, bundles, file, ids, lines, put, refers, store_of};
use crate::common::{Dir, Entry, instant, of_type, read_tree, sample};
use crate::sample::{assert_same_tree, paths, without};

fn cursor(dir: &Dir) -> String {
    fs::read_to_string(dir.path("cursor")).unwrap()
}

fn to_file(dir: &Dir, code: i32, args: &[&str]) -> Vec<String> {
    dir.expect(code, &[&["restore", "--bundles", "out", "--cursor", "cursor"], args].concat());
    let bundles = lines(&fs::read(dir.path("out")).unwrap());
    bundles.iter().map(|bundle| bundle["x_run"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn e07_a_restore_goes_on_behind_its_cursor() {
    let dir = store_of(&[&[("a", &[])], &[("b", &[])]]);
    assert_eq!(to_file(&dir, 0, &["--until", DAYS[0]]), [DAYS[0]]);
    let store = dir.units(0, &["runs"])[0]["store"].as_str().unwrap().to_owned();
    let expect = format!("{{\"current\":\"{}\",\"commit\":1,\"store\":\"{store}\"}}\n", DAYS[0]);
    assert_eq!(cursor(&dir), expect);
    let units = dir.units(0, &["restore", "--plan", "--cursor", "cursor"]);
    assert_eq!(of_type(&units, "timing")[0]["skipped_runs"], 1);
    assert_eq!(of_type(&units, "object").len(), 1);
    assert!(cursor(&dir).contains(DAYS[0]), "a plan moves nothing");
    assert_eq!(to_file(&dir, 0, &[]), [DAYS[1]]);
    assert!(cursor(&dir).contains(DAYS[1]));
}

/// A daily restore that found nothing new replaced the last one's output by an empty file, fetched or not.
#[test]
fn nothing_to_restore_behind_the_cursor_leaves_the_last_output_as_it_is() {
    let dir = store_of(&[&[("a", &[])], &[("b", &[])]]);
    assert_eq!(to_file(&dir, 0, &[]), DAYS[..2]);
    let output = dir.run(&["restore", "--bundles", "out", "--cursor", "cursor"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("out stays as it is"), "{said}");
    assert_eq!(lines(&fs::read(dir.path("out")).unwrap()).len(), 2);
    // A run without objects is passed all the same.
    crate::runs::write(&dir.path("tree"), DAYS[2], &[]);
    dir.expect(0, &["import", "tree"]);
    assert_eq!(to_file(&dir, 0, &[]), DAYS[..2]);
    assert!(cursor(&dir).contains(DAYS[2]));
    // Without a cursor the output is what there is, and a file that is not there is made.
    dir.expect(0, &["restore", "--bundles", "out", "--after", DAYS[2]]);
    assert_eq!(fs::read(dir.path("out")).unwrap(), b"");
    fs::remove_file(dir.path("out")).unwrap();
    assert!(to_file(&dir, 0, &[]).is_empty());
}

/// The state of the connector takes its place.
#[test]
fn e08_what_only_runs_behind_the_cursor_hold_comes_on_demand() {
    let dir = store_of(&[&[("i", &[])], &[("m", &["i"])]]);
    let state = format!("{{\"current\": \"{}\"}}", DAYS[0]);
    fs::write(dir.path("cursor"), &state).unwrap();
    let units = dir.units(0, &["restore", "--plan", "--cursor", "cursor"]);
    assert_eq!(of_type(&units, "missing")[0]["state"], "earlier");
    dir.expect(0, &["restore", "--bundles", "out", "--cursor", "cursor", "--include-earlier"]);
    assert_eq!(super::brief(&lines(&fs::read(dir.path("out")).unwrap())[0]).1, ["i", "m"]);
}

#[test]
fn e09_and_e10_a_state_without_a_run_is_a_full_restore_and_one_of_nonsense_none() {
    let dir = store_of(&[&[("a", &[])], &[("b", &[])]]);
    for state in ["{}", "null", "{\"current\": null}"] {
        fs::write(dir.path("cursor"), state).unwrap();
        assert_eq!(to_file(&dir, 0, &[]), DAYS[..2], "{state}");
    }
    fs::remove_file(dir.path("out")).unwrap();
    for state in ["{\"current\": \"yesterday\"}", "", "{\"current\": 5}", "\u{0}\u{0}"] {
        fs::write(dir.path("cursor"), state).unwrap();
        let units = dir.units(2, &["restore", "--bundles", "out", "--cursor", "cursor"]);
        assert_eq!(of_type(&units, "error")[0]["code"], "bad_input", "{state}");
        assert!(!dir.path("out").exists(), "nothing was sent");
        assert_eq!(cursor(&dir), state, "and nothing was changed");
    }
}

#[test]
fn e11_a_run_without_objects_moves_the_cursor() {
    let dir = store_of(&[&[("a", &[])], &[]]);
    let units = dir.units(0, &["restore", "--bundles", "out", "--cursor", "cursor"]);
    let done = of_type(&units, "done");
    assert_eq!(
        (&done[1]["run"], &done[1]["own"], &done[1]["bundles"]),
        (&DAYS[1].into(), &0.into(), &0.into())
    );
    assert!(cursor(&dir).contains(DAYS[1]), "{}", cursor(&dir));
}

/// An alias of the instant at which the cursor stands would be skipped for ever.
#[test]
fn a_cursor_moves_to_an_instant_when_all_its_runs_are_out() {
    let dir = Dir::new();
    for run in crate::runs::RUNS {
        crate::runs::write(&dir.path("tree"), run, &[("a", &file("a", ""))]);
    }
    dir.expect(0, &["import", "tree"]);
    let units = dir.units(0, &["restore", "--tree", "out", "--cursor", "cursor"]);
    let settles: Vec<bool> =
        of_type(&units, "done").iter().map(|unit| unit["settles"].as_bool().unwrap()).collect();
    assert_eq!(settles, [false, true, true]);
}

#[test]
fn a_cursor_needs_an_output_that_is_known_to_be_on_disk() {
    let dir = store_of(&[&[("a", &[])]]);
    for args in [
        &["restore", "--bundles", "-", "--cursor", "cursor"][..],
        &["restore", "--bundles", "/dev/null", "--cursor", "cursor"],
        &["restore", "--tree", "out", "--cursor", "-"],
        &["restore", "--tree", "out", "--cursor", "cursor", "--after", DAYS[0]],
        &["restore", "--tree", "out", "--cursor", "cursor", "--run", DAYS[0]],
    ] {
        dir.expect(2, args);
    }
    assert!(!dir.path("cursor").exists() && !dir.path("out").exists());
    // An output that cannot be written leaves the cursor where it was.
    dir.expect(4, &["restore", "--bundles", "no/such/out", "--cursor", "cursor"]);
    assert!(!dir.path("cursor").exists());
}

fn assert_restored_up_to_the_cursor(dir: &Dir, expect: &BTreeMap<PathBuf, Entry>) -> bool {
    let Ok(text) = fs::read_to_string(dir.path("cursor")) else { return false };
    let state: serde_json::Value = serde_json::from_str(&text).expect("a cursor is always whole");
    let current = instant(state["current"].as_str().unwrap());
    let found = read_tree(&dir.path("out/opencti_data"));
    for (path, entry) in expect.iter().filter(|(_, entry)| !entry.is_dir) {
        let run = path.iter().next().unwrap().to_str().unwrap();
        if instant(run) <= current {
            assert_eq!(found.get(path), Some(entry), "{} at {current:?}", path.display());
        }
    }
    true
}

#[test]
fn e26_a_cursor_never_says_more_than_is_on_disk_whenever_the_restore_is_killed() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let listed = paths("ignored").union(&paths("rejected")).cloned().collect();
    let expect = without(&sample(), &listed);
    let (mut seen, mut finished) = (0, false);
    for round in 0..400u64 {
        let mut child = dir
            .command(&["restore", "--tree", "out", "--cursor", "cursor"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(1500 + 700 * (round % 40)));
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        seen += u32::from(assert_restored_up_to_the_cursor(&dir, &expect));
        if ended.is_some_and(|status| status.success()) {
            finished = true;
            break;
        }
    }
    if !finished {
        dir.expect(0, &["restore", "--tree", "out", "--cursor", "cursor"]);
        seen += 1;
    }
    assert!(seen > 0);
    // What the killed ones left half written goes with the next restore.
    dir.expect(0, &["restore", "--tree", "out"]);
    assert_same_tree(&expect, &dir.path("out"));
}

#[test]
fn e28_what_changed_behind_the_cursor_is_noticed_and_restored_by_its_own_option() {
    let dir = store_of(&[&[("a", &["old"]), ("same", &[])], &[("b", &[])]]);
    dir.expect(0, &["restore", "--bundles", "out", "--cursor", "cursor"]);
    put(&dir.path("tree"), 0, &[("a", &refers("a", &["new"])), ("added", &refers("added", &[]))]);
    put(&dir.path("tree"), 2, &[("c", &refers("c", &[]))]);
    dir.expect(0, &["import", "tree"]);
    let output = dir.run(&["restore", "--bundles", "out", "--cursor", "cursor"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("2 snapshots behind the cursor") && said.contains("--changed-since 1"), "{said}");
    assert_eq!(super::brief(&lines(&fs::read(dir.path("out")).unwrap())[0]).1, ["c"]);
    dir.expect(0, &["restore", "--bundles", "out", "--cursor", "cursor", "--changed-since", "1"]);
    let changed: Vec<_> = lines(&fs::read(dir.path("out")).unwrap()).iter().map(super::brief).collect();
    assert_eq!(ids(&changed), ["a", "added", "c"]);
    assert!(cursor(&dir).contains("\"commit\":2"), "{}", cursor(&dir));
    let output = dir.run(&["restore", "--bundles", "out", "--cursor", "cursor"]);
    assert!(!String::from_utf8(output.stderr).unwrap().contains("came or changed since"));
    // It would forget what changed between the two.
    dir.expect(2, &["restore", "--bundles", "out", "--cursor", "cursor", "--changed-since", "3"]);
}

#[test]
fn what_changed_since_a_commit_is_known_through_a_compaction_too() {
    let dir = store_of(&[&[("a", &["old"]), ("same", &[])], &[("b", &[])]]);
    for version in ["x", "y", "new"] {
        put(&dir.path("tree"), 0, &[("a", &refers("a", &[version]))]);
        dir.expect(0, &["import", "tree"]);
    }
    let changed = |since: &str| {
        let found = bundles(&dir, 0, &["--changed-since", since, "--resolve", "none"]);
        ids(&found).join(" ")
    };
    let expect = [("0", "a same b"), ("1", "a"), ("3", "a"), ("4", "")];
    for (since, ids) in expect {
        assert_eq!(changed(since), ids, "since {since}");
    }
    let units = dir.units(0, &["compact", "--threshold", "1"]);
    assert!(!of_type(&units, "compact").is_empty(), "{units:?}");
    for (since, ids) in expect {
        assert_eq!(changed(since), ids, "since {since}, compacted");
    }
    let behind = |commit: u64| {
        fs::write(dir.path("cursor"), format!("{{\"current\":\"{}\",\"commit\":{commit}}}", DAYS[0]))
            .unwrap();
        let units = dir.units(0, &["restore", "--plan", "--cursor", "cursor"]);
        of_type(&units, "timing")[0]["changed_behind"].as_u64().unwrap()
    };
    assert_eq!([0, 1, 3, 4].map(behind), [2, 1, 1, 0], "the compaction changed nothing");
    let newest = dir.units(0, &["runs"])[0]["commit"].as_u64().unwrap();
    assert!(newest > 4, "the compaction is a commit of its own: {newest}");
    let units = dir.units(2, &["restore", "--plan", "--changed-since", &(newest + 1).to_string()]);
    assert_eq!(of_type(&units, "error")[0]["code"], "bad_input");
}

/// With `--until`, `--type` or `--id` only a part of what had changed was restored, and the cursor said all of it: the rest
/// never came, and no word was said.
#[test]
fn a_part_of_what_changed_moves_no_cursor() {
    let dir = store_of(&[&[("a", &["old"])], &[("b", &["old"])], &[("c", &[])]]);
    dir.expect(0, &["restore", "--bundles", "out", "--cursor", "cursor"]);
    put(&dir.path("tree"), 0, &[("a", &refers("a", &["new"]))]);
    put(&dir.path("tree"), 1, &[("b", &refers("b", &["new"]))]);
    dir.expect(0, &["import", "tree"]);
    for part in [&["--until", DAYS[0]][..], &["--type", "nothing"], &["--id", "a"]] {
        dir.run(&[&RESTORE[..], part].concat());
        assert!(cursor(&dir).contains("\"commit\":1"), "{part:?}: {}", cursor(&dir));
    }
    dir.expect(0, &RESTORE);
    assert!(cursor(&dir).contains("\"commit\":2"), "{}", cursor(&dir));
}

const RESTORE: [&str; 7] = ["restore", "--bundles", "out", "--cursor", "cursor", "--changed-since", "1"];

/// Runs of which something was left out were passed by the cursor; the next restore had nothing to do and exited 0.
#[test]
fn a_cursor_stays_before_a_run_of_which_something_was_left_out() {
    let dir = store_of(&[&[("a", &[])], &[("b", &[])], &[("c", &[])]]);
    let target = dir.path("target/opencti_data");
    fs::create_dir_all(&target).unwrap();
    // In the way of the second run.
    fs::write(target.join(DAYS[1]), "").unwrap();
    let restore = ["restore", "--tree", "target", "--cursor", "cursor"];
    dir.expect(3, &restore);
    assert!(cursor(&dir).contains(DAYS[0]), "{}", cursor(&dir));
    // It was named twice: as the run, and as a snapshot of the run.
    let output = dir.run(&restore);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(said.contains(&format!("skipped {}: ", DAYS[1])), "{said}");
    fs::remove_file(target.join(DAYS[1])).unwrap();
    dir.expect(0, &restore);
    assert!(cursor(&dir).contains(DAYS[2]), "{}", cursor(&dir));
    assert!(DAYS[..3].iter().all(|day| target.join(day).is_dir()));
}

/// It was taken for one of this store: the runs before it were skipped, and its commit said what had changed.
#[test]
fn a_cursor_of_another_store_is_refused_until_nothing_but_its_run_is_left() {
    let other = store_of(&[&[("a", &[])], &[("b", &[])]]);
    assert_eq!(to_file(&other, 0, &["--until", DAYS[0]]), [DAYS[0]]);
    let dir = store_of(&[&[("c", &[])], &[("d", &[])]]);
    fs::write(dir.path("cursor"), cursor(&other)).unwrap();
    let units = dir.units(2, &["restore", "--bundles", "out", "--cursor", "cursor"]);
    assert_eq!(of_type(&units, "error")[0]["code"], "bad_input");
    assert_eq!(cursor(&dir), cursor(&other), "and it is as it was");
    assert!(!dir.path("out").exists());
    fs::write(dir.path("cursor"), format!("{{\"current\":\"{}\"}}", DAYS[0])).unwrap();
    assert_eq!(to_file(&dir, 0, &[]), [DAYS[1]]);
    // From a state that the store does not have: it is an older copy.
    fs::write(dir.path("cursor"), format!("{{\"current\":\"{}\",\"commit\":9}}", DAYS[0])).unwrap();
    dir.expect(2, &["restore", "--plan", "--cursor", "cursor"]);
}
