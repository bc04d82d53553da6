//! Where a restore goes: a directory that a platform reads.

use std::collections::BTreeSet;
use std::fs;
use std::time::SystemTime;

use serde_json::Value;

use super::{brief, bundles, store_of};
use crate::common::{Dir, sample};

const APPLICANT: &str = "88ec0c6a-13ce-5e39-b486-354fe4a7084f";

/// The files of a directory by time of modification, as the directory import reads them.
fn delivered(dir: &Dir, name: &str) -> Vec<(SystemTime, String, Value)> {
    let mut found: Vec<_> = fs::read_dir(dir.path(name))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let time = path.metadata().unwrap().modified().unwrap();
            let content = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            (time, path.file_name().unwrap().to_str().unwrap().to_owned(), content)
        })
        .collect();
    found.sort_by_key(|(time, ..)| *time);
    found
}

#[test]
fn a_directory_holds_one_file_for_each_bundle_in_the_order_of_their_times() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let restore =
        ["restore", "--directory-bundles", "drop", "--applicant-id", APPLICANT, "--resolve", "closure"];
    let more = [
        "--max-bundle-objects",
        "4",
        "--connector-name",
        "My Store",
        "--connector-id",
        "c-1",
        "--cursor",
        "cursor",
    ];
    dir.expect(0, &[&restore[..], &more].concat());
    let files = delivered(&dir, "drop");
    let times: BTreeSet<SystemTime> = files.iter().map(|(time, ..)| *time).collect();
    assert_eq!(times.len(), files.len(), "times rise strictly");
    let sent: Vec<_> = files.iter().map(|(.., content)| brief(&content["bundle"])).collect();
    assert_eq!(sent, bundles(&dir, 0, &["--resolve", "closure", "--max-bundle-objects", "4"]));
    let mut names: Vec<&String> = files.iter().map(|(_, name, _)| name).collect();
    for name in &names {
        assert!(name.starts_with("my_store-20") && name.split('.').next_back() == Some("json"), "{name}");
    }
    assert!(names.is_sorted(), "names rise too");
    names.dedup();
    assert_eq!(names.len(), files.len());
    for (.., content) in &files {
        assert_eq!(content["bundle_type"], "DIRECTORY_BUNDLE");
        assert_eq!(content["applicant_id"], APPLICANT);
        assert_eq!(
            (&content["connector"]["id"], &content["connector"]["name"]),
            (&"c-1".into(), &"My Store".into())
        );
        assert!(
            content["connector"]["scope"].is_string() && content["connector"]["type"] == "EXTERNAL_IMPORT"
        );
    }
    // A second restore adds later ones only, even if a file there is from the future.
    let future = SystemTime::now() + std::time::Duration::from_secs(3600);
    fs::File::open(dir.path("drop").join(&files[0].1)).unwrap().set_modified(future).unwrap();
    dir.expect(0, &[&restore[..], &["--until", "20180117T125700Z"]].concat());
    let again = delivered(&dir, "drop");
    assert!(again.len() > files.len());
    assert!(again[files.len()..].iter().all(|(time, ..)| *time > future), "later than all that was there");
}

#[test]
fn a_directory_needs_an_applicant_and_a_name_that_files_can_have() {
    let dir = store_of(&[&[("a", &[])]]);
    dir.expect(2, &["restore", "--directory-bundles", "drop"]);
    for (applicant, name) in [("", "store"), ("x", "a/b"), ("x", ""), ("x", "."), ("x", "a\nb")] {
        let sender = ["--applicant-id", applicant, "--connector-name", name];
        dir.expect(2, &[&["restore", "--directory-bundles", "drop"][..], &sender].concat());
    }
    assert!(!dir.path("drop").exists());
}

#[test]
fn the_stream_says_when_a_run_is_out() {
    let dir = store_of(&[&[("a", &[]), ("b", &[])], &[], &[("c", &[])]]);
    let units = dir.units(0, &["restore", "--bundles", "-", "--max-bundle-objects", "1"]);
    let kinds: Vec<&str> = units.iter().map(|unit| unit["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["begin", "bundle", "bundle", "done", "done", "bundle", "done", "end"]);
}

/// A restore that is killed leaves what it was writing under a temporary name, in whichever target.
#[test]
fn what_a_killed_restore_left_half_written_goes_with_the_next_one() {
    let dir = store_of(&[&[("a", &[])], &[("b", &[])]]);
    // No process has a number beyond the system's largest, 2^22.
    let leftover = format!(".store-{}-0.tmp", i32::MAX);
    let places = [format!("tree-out/opencti_data/{}", super::DAYS[1]), "drop".to_owned(), "files".to_owned()];
    for place in &places {
        fs::create_dir_all(dir.path(place)).unwrap();
        fs::write(dir.path(place).join(&leftover), "half").unwrap();
    }
    fs::create_dir(dir.path("cursors")).unwrap();
    fs::write(dir.path("cursors").join(&leftover), "half").unwrap();
    dir.expect(0, &["restore", "--plan", "--cursor", "cursors/c"]);
    assert!(dir.path("cursors").join(&leftover).exists(), "a plan changes nothing");
    dir.expect(0, &["restore", "--tree", "tree-out", "--cursor", "cursors/c"]);
    dir.expect(0, &["restore", "--directory-bundles", "drop", "--applicant-id", APPLICANT]);
    dir.expect(0, &["restore", "--bundles", "files/out"]);
    for place in places.iter().map(String::as_str).chain(["cursors"]) {
        assert!(!dir.path(place).join(&leftover).exists(), "{place}");
    }
    assert_eq!(delivered(&dir, "drop").len(), 2);
}

/// In the order of references the objects of two files alternate, and each was read for each of its objects. The second
/// file's were each found by an alias, and it was read for that too.
#[test]
fn objects_of_long_files_that_alternate_come_out_in_order() {
    const COUNT: usize = 1500;
    let dir = Dir::new();
    let object = |file: &str, number: usize, to: &str| {
        format!(r#"{{"id": "{file}{number:05}", "object_refs": ["{to}{number:05}"]}}"#)
    };
    let file = |name: &str, to: &str| {
        let objects: Vec<String> = (0..COUNT).map(|number| object(name, number, to)).collect();
        format!(r#"{{"objects": [{}]}}"#, objects.join(","))
    };
    super::put(&dir.path("tree"), 0, &[("f", &file("a", "b")), ("g", &file("b", "c"))]);
    super::put(&dir.path("tree"), 1, &[("h", &file("c", "none"))]);
    dir.expect(0, &["import", "tree"]);
    let sent = bundles(&dir, 0, &["--resolve", "closure"]);
    assert_eq!(sent.iter().map(|(_, ids)| ids.len()).collect::<Vec<_>>(), [3 * COUNT, COUNT]);
    let expect: Vec<String> =
        (0..COUNT).flat_map(|at| ["c", "b", "a"].map(|it| format!("{it}{at:05}"))).collect();
    let mut found = sent[0].1.clone();
    assert!(expect.chunks(3).all(|three| {
        let places: Vec<usize> =
            three.iter().map(|id| found.iter().position(|it| it == id).unwrap()).collect();
        places.is_sorted()
    }));
    found.sort();
    let mut sorted = expect;
    sorted.sort();
    assert_eq!(found, sorted);
}

/// `--bundles data/0000000001.seg` once replaced the segment, and said that all was well.
#[test]
fn no_output_is_written_into_the_store() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let segment = dir.path("store/data/0000000001.seg");
    let before = fs::read(&segment).unwrap();
    for target in ["--bundles", "--tree", "--directory-bundles"] {
        let sender = ["--applicant-id", APPLICANT];
        let more = if target == "--directory-bundles" { &sender[..] } else { &[] };
        for path in ["store/data/0000000001.seg", "store/config", "store/new", "store"] {
            dir.expect(2, &[&["restore", target, path][..], more].concat());
        }
    }
    dir.expect(2, &["restore", "--bundles", "out", "--cursor", "store/config"]);
    assert_eq!(fs::read(&segment).unwrap(), before);
    assert!(!dir.path("store/new").exists());
    dir.expect(0, &["check"]);
}
