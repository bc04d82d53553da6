//! Dry runs change nothing, and checks of what a compaction left half done find nothing.

use std::fs;
use std::path::{Path, PathBuf};

use stix_store::{Body, Put, PutKind, Store, WriterOptions};

use crate::common::{Dir, instant, of_type, read_tree, sample, text};

/// The names of the files of a store that begin with something.
fn files(dir: &Dir, prefix: &str) -> Vec<PathBuf> {
    let all = read_tree(&dir.store()).into_keys();
    all.filter(|path| text(path).starts_with(prefix)).collect()
}

fn remove(dir: &Dir, prefix: &str) {
    for path in files(dir, prefix) {
        fs::remove_file(dir.store().join(path)).unwrap();
    }
}

fn put(dir: &Dir, id: &str, run: &str, text_of: &str) {
    let file = dir.path("file.json");
    fs::write(&file, format!(r#"{{"objects": [{{"id": "{id}", "name": "{text_of}"}}]}}"#)).unwrap();
    dir.expect(0, &["put", id, "--run", run, text(&file)]);
}

/// Eight segments, of three of which nothing is live.
fn small_store(dir: &Dir) {
    dir.expect(0, &["init", "--segment-size", "4096"]);
    for number in 1..=8 {
        let run = format!("2024010{number}T000000Z");
        put(dir, &format!("o--{number}"), &run, "own");
        put(dir, "common", &run, "common");
    }
    for number in 1..=3 {
        dir.expect(0, &["delete", &format!("o--{number}")]);
    }
}

/// Copies the caches of a store, or puts them back in place of newer ones.
fn copy_caches(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("index.") || name.starts_with("hints.") {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// Compacts while a reader keeps the old segments, and gives the store its old caches again: what a crash between the
/// COMMIT of a compaction and its checkpoint leaves.
fn compacted_with_old_index(dir: &Dir) {
    small_store(dir);
    let old = dir.path("old");
    fs::create_dir(&old).unwrap();
    copy_caches(&dir.store(), &old);
    let reader = Store::open_read_only(dir.store()).unwrap();
    dir.expect(0, &["compact", "--threshold", "1"]);
    drop(reader);
    remove(dir, "index.");
    remove(dir, "hints.");
    copy_caches(&old, &dir.store());
}

/// After a crash between a compaction's COMMIT and its checkpoint the index still listed the segments that the compaction
/// had emptied: `check` called each of them missing and each DELETE in them a snapshot that is gone, with exit code 1.
/// The same where these segments were unlinked already and a crash brought an older index back.
#[test]
fn what_a_crash_leaves_of_a_compaction_is_no_damage() {
    let dir = Dir::new();
    compacted_with_old_index(&dir);
    dir.expect(0, &["check"]);
    let units = dir.units(0, &["check"]);
    let dead: Vec<&str> = of_type(&units, "result")
        .into_iter()
        .filter(|unit| unit["detail"].as_str().unwrap().starts_with("left behind by a compaction"))
        .map(|unit| unit["file"].as_str().unwrap())
        .collect();
    assert_eq!(dead.len(), 3, "{dead:?}");
    for path in dead {
        fs::remove_file(dir.store().join(path)).unwrap();
    }
    let said = dir.run(&["check"]);
    assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stdout));
    assert_eq!(String::from_utf8(dir.expect(0, &["history", "common"])).unwrap().lines().count(), 8);
    assert!(dir.expect(5, &["get", "o--2"]).is_empty());
}

/// `compact --dry-run` and `import --dry-run` took the writer's lock, unlinked the segments that a compaction had left
/// behind, and published a new index when they closed.
#[test]
fn dry_runs_change_no_byte_and_wait_for_no_writer() {
    let source = sample();
    let check = |dir: &Dir, what: &str| {
        let before = read_tree(&dir.store());
        for args in [&["compact", "--dry-run"][..], &["import", text(&source), "--dry-run"]] {
            let output = dir.run(args);
            let code = if args[0] == "import" { 3 } else { 0 };
            assert_eq!(output.status.code(), Some(code), "{what} {args:?}: {output:?}");
            assert!(before == read_tree(&dir.store()), "{what}: {args:?} changed something");
        }
    };
    let dir = Dir::new();
    compacted_with_old_index(&dir);
    check(&dir, "dead segments behind an old index");

    let dir = Dir::new();
    small_store(&dir);
    let reader = Store::open_read_only(dir.store()).unwrap();
    dir.expect(0, &["compact", "--threshold", "1"]);
    drop(reader);
    check(&dir, "dead segments");

    let dir = Dir::new();
    dir.import(3, &sample());
    check(&dir, "a whole store");
    remove(&dir, "dict.");
    check(&dir, "without the dictionary's own copy");
    remove(&dir, "index.");
    remove(&dir, "hints.");
    check(&dir, "without an index");

    // A transaction after the index, and a writer that is at work on another.
    let store = Store::open(dir.store()).unwrap();
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    let name = "20300101T000000Z";
    let (run, _) = writer.put_run(instant(name), name, &[]).unwrap();
    let put = |number: u32| {
        let body = Body::Raw(&[b'x'; 100]);
        (
            format!("tool--{number}"),
            Put { name: b"", run, kind: PutKind::Snapshot, meta: &[], object: 0..1, body },
        )
    };
    let (name, one) = put(1);
    writer.put(&Put { name: name.as_bytes(), ..one }).unwrap();
    writer.commit().unwrap();
    let (name, two) = put(2);
    writer.put(&Put { name: name.as_bytes(), ..two }).unwrap();
    check(&dir, "beside a writer");
    drop((writer, store));
    check(&dir, "a store that was never closed");
}
