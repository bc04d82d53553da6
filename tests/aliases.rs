//! What `put` and `delete` do to the ids by which files are found; what restore does where something stands in its way.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::{Dir, of_type, text};
use crate::runs::{RUNS, object, write};

fn put(dir: &Dir, name: &str, run: &str, body: &str) {
    let file = dir.path("file");
    fs::write(&file, body).unwrap();
    dir.expect(0, &["put", name, "--run", run, text(&file)]);
}

#[track_caller]
fn expect(dir: &Dir, id: &str, version: &str) {
    let found = String::from_utf8(dir.expect(0, &["get", id])).unwrap();
    assert!(found.contains(&format!("{version:?}")), "{id}: {found}");
}

/// When the file went under which an id was found, nobody looked whether another file of the run holds the id: it was found no
/// more, or in an older run. An import of the tree gave it back, `put` and `delete` did not.
#[test]
fn an_id_is_found_in_the_next_file_of_the_run_when_one_goes() {
    let dir = Dir::new();
    dir.expect(0, &["init"]);
    put(&dir, "p0", RUNS[0], &object("Z", "older"));
    for name in ["p1", "p2"] {
        put(&dir, name, RUNS[2], &object("Z", name));
    }
    expect(&dir, "Z", "p2");
    dir.expect(0, &["delete", "p2"]);
    expect(&dir, "Z", "p1");
    put(&dir, "p3", RUNS[2], &object("Z", "p3"));
    expect(&dir, "Z", "p3");
    put(&dir, "p3", RUNS[2], &object("Y", "p3"));
    expect(&dir, "Z", "p1");
    expect(&dir, "Y", "p3");
    // A file of that name wins, and leaves the id to the others when it goes.
    put(&dir, "Z", RUNS[2], &object("Z", "own file"));
    expect(&dir, "Z", "own file");
    dir.expect(0, &["delete", "Z", "--run", RUNS[2]]);
    expect(&dir, "Z", "p1");
    dir.expect(0, &["delete", "p1"]);
    expect(&dir, "Z", "older");
    dir.expect(0, &["delete", "p0"]);
    dir.expect(5, &["get", "Z"]);
    dir.expect(0, &["check", "--level", "content"]);
}

/// What an import of a tree, of a tree mirrored, and puts and deletes one by one come to is the same.
#[test]
fn mirroring_and_deleting_leave_the_same_aliases() {
    let dir = Dir::new();
    let files = [("p1", object("Z", "p1")), ("p2", object("Z", "p2")), ("Z", object("Z", "own file"))];
    for left in [3, 2, 1] {
        let tree = dir.path(&format!("tree {left}"));
        let files: Vec<(&str, &str)> = files.iter().map(|(name, body)| (*name, body.as_str())).collect();
        write(&tree, RUNS[0], &files[..left]);
        dir.expect(0, &["import", text(&tree), "--mirror"]);
        expect(&dir, "Z", ["p1", "p2", "own file"][left - 1]);
    }
}

/// A directory named like a file, or a link in the place of a run directory, ended the whole restore with exit 4.
#[test]
fn what_stands_in_the_way_of_a_restored_tree_costs_that_file_or_run_only() {
    let dir = Dir::new();
    for run in RUNS {
        for name in ["a", "b"] {
            write(&dir.path("tree"), run, &[(name, &object(name, run))]);
        }
    }
    dir.import(0, &dir.path("tree"));
    let out = dir.path("out/opencti_data");
    fs::create_dir_all(out.join(RUNS[0]).join("a.json")).unwrap();
    fs::create_dir(dir.path("elsewhere")).unwrap();
    symlink(dir.path("elsewhere"), out.join(RUNS[1])).unwrap();
    let units = dir.units(3, &["restore", "--tree", "out"]);
    let errors = of_type(&units, "error");
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0]["msg"].as_str().unwrap().contains("a directory stands in its place"), "{errors:?}");
    assert_eq!((&errors[0]["run"], &errors[1]["run"]), (&RUNS[0].into(), &RUNS[1].into()));
    let counts = &units[units.len() - 1]["counts"];
    assert_eq!((&counts["own"], &counts["skipped"]), (&3.into(), &3.into()));
    assert_eq!(fs::read_dir(dir.path("elsewhere")).unwrap().count(), 0, "no link is followed");
    for path in [format!("{}/b.json", RUNS[0]), format!("{}/a.json", RUNS[2]), format!("{}/b.json", RUNS[2])]
    {
        assert_eq!(
            fs::read(out.join(&path)).unwrap(),
            fs::read(dir.path("tree/opencti_data").join(&path)).unwrap()
        );
    }
}

/// A file too large for any record was told as a wrong command line, exit 2; any other bad file as exit 3.
#[test]
fn a_file_too_large_to_put_is_a_rejected_input() {
    let dir = Dir::new();
    dir.expect(0, &["init"]);
    let file = fs::File::create(dir.path("large")).unwrap();
    file.set_len(stix_store::limits::FILE_MAX_BYTES + 1).unwrap();
    let units = dir.units(3, &["put", "a", "--run", RUNS[0], "large"]);
    let told = of_type(&units, "file")[0];
    assert_eq!((&told["outcome"], &told["error"]["code"]), (&"rejected".into(), &"too_large".into()));
}
