//! The restore as a user has it: the cases in which it must answer like the restore-files connector or better (E01 to E35; those
//! that a model of a store shows are beside the resolver), selections, cursors, targets, and what explains them.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::common::{Dir, of_type, text};
use crate::runs::write;

mod cases;
mod compare;
mod cursor;
mod odd;
mod targets;

/// Run directories, ascending.
const DAYS: [&str; 4] = ["20240101T000000Z", "20240102T000000Z", "20240103T000000Z", "20240104T000000Z"];

/// A file with one object, whose references are given as JSON behind the id.
fn file(id: &str, rest: &str) -> String {
    format!(r#"{{"type": "bundle", "objects": [{{"id": "{id}"{rest}}}]}}"#)
}

/// A file with one object that refers to others.
fn refers(id: &str, to: &[&str]) -> String {
    file(id, &format!(r#", "object_refs": {to:?}"#))
}

/// Writes files of a run: name and content.
fn put(tree: &Path, day: usize, files: &[(&str, &str)]) {
    write(tree, DAYS[day], files);
}

/// A directory whose store holds a tree of these runs, a file for each id with its references.
fn store_of(runs: &[&[(&str, &[&str])]]) -> Dir {
    let dir = Dir::new();
    for (day, files) in runs.iter().enumerate() {
        write(&dir.path("tree"), DAYS[day], &[]);
        for (id, to) in *files {
            put(&dir.path("tree"), day, &[(*id, refers(id, to).as_str())]);
        }
    }
    dir.expect(0, &["import", "tree"]);
    dir
}

/// The bundles of a restore to standard output, each as its run and its ids in order.
fn bundles(dir: &Dir, code: i32, args: &[&str]) -> Vec<(String, Vec<String>)> {
    let out = dir.expect(code, &[&["restore", "--bundles", "-"], args].concat());
    lines(&out).iter().map(brief).collect()
}

/// The lines of NDJSON.
fn lines(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn brief(bundle: &Value) -> (String, Vec<String>) {
    let ids =
        bundle["objects"].as_array().unwrap().iter().map(|object| object["id"].as_str().unwrap().to_owned());
    (bundle["x_run"].as_str().unwrap().to_owned(), ids.collect())
}

/// The ids of all bundles, in order.
fn ids(bundles: &[(String, Vec<String>)]) -> Vec<&str> {
    bundles.iter().flat_map(|(_, ids)| ids.iter().map(String::as_str)).collect()
}

/// The outcome and reason codes of an import's `file` units, by path.
fn told(units: &[Value]) -> BTreeSet<(String, String)> {
    let path = |unit: &Value| {
        unit["path"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part.as_str().unwrap())
            .collect::<Vec<_>>()
            .join("/")
    };
    let units = of_type(units, "file").into_iter().filter(|unit| unit["outcome"] != "added");
    units.map(|unit| (path(unit), unit["error"]["code"].as_str().unwrap_or_default().to_owned())).collect()
}

fn pairs(expect: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    expect.iter().map(|(path, code)| ((*path).to_owned(), (*code).to_owned())).collect()
}

#[test]
fn a_selection_by_run_type_and_id_comes_with_or_without_what_it_refers_to() {
    let dir = store_of(&[
        &[("malware--a", &["tool--b", "tool--late"]), ("tool--b", &[])],
        &[("malware--c", &["tool--b", "tool--d"]), ("tool--d", &[])],
        &[("tool--late", &["tool--d"])],
    ]);
    let all = |args: &[&str]| {
        let bundles = bundles(&dir, 0, args);
        bundles.iter().map(|(run, ids)| format!("{}: {}", &run[6..8], ids.join(" "))).collect::<Vec<_>>()
    };
    assert_eq!(all(&["--run", DAYS[1]]), ["02: tool--d malware--c"]);
    assert_eq!(all(&["--run", DAYS[0], "--resolve", "none"]), ["01: tool--b malware--a"]);
    assert_eq!(
        all(&["--type", "malware", "--resolve", "none"]),
        ["01: malware--a", "02: malware--c"],
        "without what they refer to"
    );
    assert_eq!(
        all(&["--type", "malware"]),
        ["01: tool--b tool--d tool--late malware--a", "02: malware--c"],
        "what stands in the same run comes along, each object once"
    );
    assert_eq!(
        all(&["--type", "malware", "--resolve", "closure", "--include-earlier"]),
        ["01: tool--b tool--d tool--late malware--a", "02: tool--b tool--d malware--c"]
    );
    assert_eq!(
        all(&["--type", "malware,tool", "--until", DAYS[0], "--resolve", "none"]),
        ["01: tool--b malware--a"]
    );
    assert_eq!(
        all(&["--id", "malware--c", "tool--b", "--resolve", "none"]),
        ["01: tool--b", "02: malware--c"]
    );
    assert_eq!(all(&["--id", "malware--c"]), ["02: tool--d malware--c"]);
    std::fs::write(dir.path("ids"), "malware--c\n\n  tool--b  \r\n").unwrap();
    assert_eq!(all(&["--id", "ids", "--resolve", "none"]), ["01: tool--b", "02: malware--c"]);
    assert_eq!(all(&["--after", DAYS[0], "--until", DAYS[1]]), ["02: tool--d malware--c"]);
    // A tree of a selection.
    dir.expect(0, &["restore", "--tree", "some", "--type", "malware"]);
    let found = crate::common::read_tree(&dir.path("some"));
    assert_eq!(found.keys().filter(|path| path.extension().is_some()).count(), 2);
    // What is not there is said, and the rest is done.
    assert_eq!(bundles(&dir, 3, &["--id", "malware--c", "no-such", "--resolve", "none"]).len(), 1);
    // Programs were not told which.
    let units = dir.units(3, &["restore", "--plan", "--id", "malware--c", "no-such"]);
    let error = of_type(&units, "error")[0];
    assert_eq!((&error["code"], &error["id"]), (&"not_found".into(), &"no-such".into()));
    dir.expect(2, &["restore", "--plan", "--type", ""]);
    // A type that nobody has is no error, and yet nobody means it.
    let output = dir.run(&["restore", "--bundles", "-", "--type", "Malware"]);
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("no object of these runs is selected"));
    dir.expect(2, &["restore", "--plan", "--run", "20200101T000000Z"]);
    dir.expect(2, &["restore", "--plan", "--run", DAYS[0], "--after", DAYS[0]]);
}

#[test]
fn a_plan_is_a_table_for_people_and_units_for_programs() {
    let dir =
        store_of(&[&[("a--1", &["b--2", "a--1", "gone"]), ("c--3", &["a--1"])], &[("b--2", &["c--3"])]]);
    let table = String::from_utf8(dir.expect(0, &["restore", "--plan", "--resolve", "closure"])).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(
        rows[0][..9],
        ["RUN", "OWN", "RESOLVED", "EARLIER", "ABSENT", "CYCLES", "AHEAD", "LACKING", "BYTES"]
    );
    assert_eq!(rows[1][..8], [DAYS[0], "2", "1", "0", "1", "1", "1", "0"]);
    assert_eq!(rows[1][9], format!("{} 1", DAYS[1]));
    assert_eq!(rows[2][..8], [DAYS[1], "1", "0", "1", "0", "0", "0", "0"]);
    assert_eq!(rows[3], ["ahead", DAYS[0], "a--1", "b--2"], "the reference that no order keeps");
    let units = dir.units(0, &["restore", "--plan", "--resolve", "closure"]);
    let done = of_type(&units, "done");
    assert_eq!((done.len(), &done[0]["from"][DAYS[1]], &done[0]["absent"]), (2, &1.into(), &1.into()));
    let broken = of_type(&units, "broken");
    assert_eq!((broken.len(), &broken[0]["id"], &broken[0]["ref"]), (1, &"a--1".into(), &"b--2".into()));
    let timing = of_type(&units, "timing")[0];
    assert!(timing["open_ms"].is_u64() && timing["resolve_ms"].is_u64() && timing["emit_ms"].is_u64());
    assert_eq!(of_type(&units, "missing").len(), 2);
}

#[test]
fn a_file_that_is_one_object_of_several_is_read_in_any_order() {
    let dir = Dir::new();
    let many = r#"{"objects": [{"id": "z"}, {"id": "a", "x_ref": "n"}, {"id": "m", "k_ref": "o"}]}"#;
    put(&dir.path("tree"), 0, &[("f", many), ("n", &refers("n", &["m"])), ("o", &file("o", ""))]);
    dir.expect(0, &["import", text(&dir.path("tree"))]);
    // References in `x_` keys count for the order, though they are not followed.
    assert_eq!(bundles(&dir, 0, &[])[0].1, ["o", "m", "n", "a", "z"]);
    assert_eq!(bundles(&dir, 0, &["--order", "name"])[0].1, ["z", "a", "m", "n", "o"]);
}
