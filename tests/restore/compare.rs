//! What explains a restore, and what compares states.

use std::fs;

use stix_store::{CommitId, Error, Store};

use super::{DAYS, put, refers, store_of};
use crate::common::{Dir, of_type};
use crate::expected::Expected;

fn lines(dir: &Dir, args: &[&str]) -> Vec<String> {
    let text = String::from_utf8(dir.expect(0, args)).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn explain_shows_the_references_that_lead_to_an_object() {
    let dir = store_of(&[
        &[("m", &["i", "gone"]), ("also", &["i"])],
        &[("i", &["k"])],
        &[("k", &["nowhere", "m"])],
        &[("n", &["k"])],
    ]);
    let explain = |args: &[&str]| lines(&dir, &[&["explain"], args].concat());
    let carried = "an object of the run, emitted already with an earlier one that refers to it";
    assert_eq!(
        explain(&["k"]),
        [format!("{}\tfrom {}: also -> i -> k", DAYS[0], DAYS[2]), format!("{}\t{carried}", DAYS[2])]
    );
    let all = explain(&["k", "--resolve", "closure"]);
    assert_eq!(all.len(), 4);
    assert_eq!(all[1], format!("{}\tfrom {}: i -> k", DAYS[1], DAYS[2]));
    assert_eq!(all[2], format!("{}\tan object of the run", DAYS[2]));
    assert_eq!(all[3], format!("{}\tnot in it, as only runs not later hold it: n -> k", DAYS[3]));
    assert_eq!(explain(&["k", "--resolve", "closure", "--run", DAYS[1]]), all[1..2]);
    assert_eq!(
        explain(&["nowhere", "--run", DAYS[0]]),
        [format!("{}\tnot in it, as the store does not hold it: also -> i -> k -> nowhere", DAYS[0])]
    );
    let units = dir.units(0, &["explain", "gone"]);
    let why = of_type(&units, "why")[0];
    assert_eq!((&why["why"], &why["chain"]), (&"absent".into(), &["m", "gone"].into()));
    dir.expect(5, &["explain", "no-such"]);
    dir.expect(2, &["explain", "k", "--run", "20200101T000000Z"]);
}

#[test]
fn two_runs_differ_in_what_a_platform_would_be_left_with() {
    let dir = store_of(&[
        &[("a", &["1"]), ("same", &[]), ("gone on", &["1"])],
        &[("a", &["2"]), ("same", &[]), ("new", &["1"])],
        &[("new", &["2"]), ("a", &["1"])],
    ]);
    let diff = |from: usize, to: usize| lines(&dir, &["diff", DAYS[from], DAYS[to]]);
    let line = |what: &str, from: Option<usize>, to: Option<usize>, id: &str| {
        let run = |day: Option<usize>| day.map_or("-", |day| DAYS[day]);
        format!("{what}\t{}\t{}\t{id}", run(from), run(to))
    };
    assert_eq!(diff(0, 1), [line("changed", Some(0), Some(1), "a"), line("added", None, Some(1), "new")]);
    // `a` is again what it was.
    assert_eq!(diff(0, 2), [line("added", None, Some(2), "new")]);
    assert_eq!(diff(2, 0), [line("removed", Some(2), None, "new")]);
    assert_eq!(diff(1, 1), [""; 0]);
    let units = dir.units(0, &["diff", DAYS[0], DAYS[1]]);
    let found = of_type(&units, "difference");
    assert_eq!(
        (found.len(), &found[0]["change"], &found[1]["from"]),
        (2, &"changed".into(), &serde_json::Value::Null)
    );
}

#[test]
fn two_commits_differ_in_what_came_and_went_between_them() {
    let dir = store_of(&[&[("a", &["1"]), ("same", &[]), ("old", &[])]]);
    put(&dir.path("tree"), 0, &[("a", &refers("a", &["2"])), ("new", &refers("new", &[]))]);
    fs::remove_file(dir.path("tree/opencti_data").join(DAYS[0]).join("old.json")).unwrap();
    dir.expect(0, &["import", "tree", "--mirror"]);
    put(&dir.path("tree"), 0, &[("a", &refers("a", &["1"]))]);
    dir.expect(0, &["import", "tree"]);
    let diff = |from: &str, to: &str| {
        let lines = lines(&dir, &["diff", from, to]);
        lines.iter().map(|line| line.replace(DAYS[0], "D").replace('\t', " ")).collect::<Vec<_>>()
    };
    assert_eq!(diff("1", "2"), ["changed D D a", "added - D new", "removed D - old"]);
    assert_eq!(diff("2", "1"), ["changed D D a", "added - D old", "removed D - new"]);
    assert_eq!(diff("1", "3"), ["added - D new", "removed D - old"]);
    assert_eq!(diff("0", "1"), ["added - D a", "added - D old", "added - D same"]);
    assert_eq!(diff("3", "3"), [""; 0]);
    for args in [["3", "4"], ["1", DAYS[0]], ["1", "x"], ["yesterday", DAYS[0]]] {
        dir.expect(2, &["diff", args[0], args[1]]);
    }
}

#[test]
fn the_state_after_each_commit_is_what_it_was_until_a_compaction_takes_its_records() {
    let dir = store_of(&[&[("a", &["1"]), ("b", &[])]]);
    let view = || Store::open_read_only(dir.store()).unwrap().view();
    let mut states = vec![Expected::default(), Expected::of(&view()).unwrap()];
    for (version, day) in ["2", "3", "4"].into_iter().zip([1, 0, 0]) {
        put(&dir.path("tree"), day, &[("a", &refers("a", &[version])), (version, &refers(version, &[]))]);
        dir.expect(0, &["import", "tree"]);
        states.push(Expected::of(&view()).unwrap());
    }
    dir.expect(0, &["delete", "a", "--run", DAYS[0]]);
    states.push(Expected::of(&view()).unwrap());
    for (commit, state) in (0..).zip(&states) {
        let then = view().as_of(CommitId(commit)).unwrap();
        assert_eq!((then.commit(), &Expected::of(&then).unwrap()), (CommitId(commit), state));
    }
    assert!(matches!(view().as_of(CommitId(99)), Err(Error::BadInput { .. })));
    dir.expect(0, &["compact", "--threshold", "1"]);
    let now = view();
    assert!(now.commit() > CommitId(5));
    let lost = now.as_of(CommitId(3));
    assert!(
        matches!(lost, Err(Error::CompactedAway { commit: CommitId(3), by }) if by > CommitId(5)),
        "{lost:?}"
    );
    let units = dir.units(2, &["diff", "3", "4"]);
    assert_eq!(of_type(&units, "error")[0]["code"], "compacted_away");
    // From the compaction on everything is known again.
    let before = now.commit();
    put(&dir.path("tree"), 0, &[("a", &refers("a", &["5"]))]);
    dir.expect(0, &["import", "tree"]);
    let found = lines(&dir, &["diff", &before.to_string(), &(before.0 + 1).to_string()]);
    assert_eq!(found, [format!("added\t-\t{}\ta", DAYS[0])]);
}

#[test]
fn an_object_is_compared_from_snapshot_to_snapshot_place_by_place() {
    let dir = Dir::new();
    let bodies =
        [r#", "name": "old", "n": 1.10, "list": ["x", "y"]"#, r#", "name": "new", "n": 1.1, "list": ["y"]"#];
    for (day, rest) in bodies.iter().enumerate() {
        put(&dir.path("tree"), day, &[("a", &super::file("a", rest))]);
    }
    put(&dir.path("tree"), 2, &[("a", &super::file("a", bodies[1]))]);
    dir.expect(0, &["import", "tree"]);
    assert_eq!(
        lines(&dir, &["diff", "a"]),
        [
            &format!("{} -> {}", DAYS[0], DAYS[1]),
            "  - /list/0: \"x\"",
            "  ~ /n: 1.10 -> 1.1",
            "  ~ /name: \"old\" -> \"new\"",
            &format!("{} -> {}: no change", DAYS[1], DAYS[2]),
        ]
    );
    let units = dir.units(0, &["diff", "a"]);
    let found = of_type(&units, "edit");
    assert_eq!((found.len(), &found[1]["at"], &found[2]["after"]), (3, &"/n".into(), &"new".into()));
    dir.expect(5, &["diff", "no-such"]);
}
