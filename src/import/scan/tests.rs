#![expect(clippy::disallowed_methods, reason = "the tests build trees")]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

/// A backup tree with files of no content: paths below `opencti_data`; a name that ends in `/` is a directory.
fn tree(paths: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join(DATA_DIR);
    fs::create_dir(&data).unwrap();
    for path in paths {
        let full = data.join(path);
        if path.ends_with('/') {
            fs::create_dir_all(full).unwrap();
        } else {
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            fs::write(full, b"").unwrap();
        }
    }
    dir
}

/// All jobs of a tree as text, in order.
fn jobs(path: &Path) -> Vec<String> {
    let mut scan = Scan::new(Tree::open(path).unwrap(), Seen::default());
    let mut lines = Vec::new();
    while let Some(batch) = scan.next_batch() {
        assert!((1..=BATCH_MAX_JOBS).contains(&batch.len()));
        lines.extend(batch.iter().map(|job| match job {
            Job::Report(report) => {
                let path: Vec<_> = report.path.iter().map(|part| String::from_utf8_lossy(part)).collect();
                format!("{} {:?}", path.join("/"), report.reason.as_ref().map_or("", |reason| reason.0))
            }
            Job::Begin(run) => format!("begin {}", run.entry.name),
            Job::File { run, index, .. } => {
                format!("file {}", String::from_utf8_lossy(run.snapshot_name(*index)))
            }
            Job::Arrived { .. } => panic!("a tree is listed"),
            Job::End(run) => format!("end {}", run.entry.name),
        }));
    }
    lines
}

#[test]
fn a_tree_is_walked_by_instant_and_by_name() {
    let dir = tree(&[
        "20240201T000000Z/malware--b.json",
        "20240201T000000Z/malware--a.json",
        "20240201T000000Z/malware.json",
        "20240101T120000Z/x.json",
        "20230101T000000Z/",
    ]);
    assert_eq!(
        jobs(dir.path()),
        [
            "begin 20230101T000000Z",
            "end 20230101T000000Z",
            "begin 20240101T120000Z",
            "file x",
            "end 20240101T120000Z",
            "begin 20240201T000000Z",
            "file malware--a",
            "file malware--b",
            "file malware",
            "end 20240201T000000Z",
        ]
    );
}

#[test]
fn e12_e13_e24_what_is_no_snapshot_is_ignored_with_a_code() {
    let dir = tree(&[
        "README",
        "lost+found/",
        "20240230/",
        "20240101T000000Z",
        "20240102T000000Z/manifest.txt",
        "20240102T000000Z/x.JSON",
        "20240102T000000Z/x.json/",
        "20240102T000000Z/a.json",
    ]);
    let run = dir.path().join("opencti_data/20240102T000000Z");
    symlink("nowhere", run.join("broken.json")).unwrap();
    symlink("a.json", run.join("link.json")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, run.join("fifo.json"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::create_dir(dir.path().join("opencti_data").join(OsStr::from_bytes(b"20240101T\xff"))).unwrap();
    assert_eq!(
        jobs(dir.path()),
        [
            "20240101T000000Z \"not_a_directory\"",
            "20240101T\u{fffd} \"not_a_date\"",
            "20240230 \"not_a_date\"",
            "README \"not_a_directory\"",
            "lost+found \"not_a_date\"",
            "begin 20240102T000000Z",
            "file a",
            "20240102T000000Z/broken.json \"not_a_file\"",
            "20240102T000000Z/fifo.json \"not_a_file\"",
            "file link",
            "20240102T000000Z/manifest.txt \"not_named_json\"",
            "20240102T000000Z/x.JSON \"not_named_json\"",
            "20240102T000000Z/x.json \"not_a_file\"",
            "end 20240102T000000Z",
        ]
    );
}

#[test]
fn e23_two_names_of_one_instant_stand_in_byte_order_and_the_later_is_warned_of() {
    let dir = tree(&["20240115T1400Z/", "20240115T140000Z/"]);
    let runs = Tree::open(dir.path()).unwrap().runs;
    let names: Vec<_> = runs.iter().map(|run| (run.name.as_str(), run.warning.is_some())).collect();
    assert_eq!(names, [("20240115T140000Z", false), ("20240115T1400Z", true)]);
    assert_eq!(runs[0].at, runs[1].at);
}

#[test]
fn a_run_of_many_files_comes_in_batches() {
    let names: Vec<String> = (0..100).map(|n| format!("20240101T000000Z/{n:03}.json")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let dir = tree(&names);
    let lines = jobs(dir.path());
    assert_eq!(lines.len(), 102);
    assert!(lines[1..101].is_sorted());
}

#[test]
fn a_tree_is_found_by_its_folder_or_by_itself() {
    let dir = tree(&["20240101T000000Z/a.json"]);
    let data = dir.path().join(DATA_DIR);
    assert_eq!(jobs(&data), jobs(dir.path()));
    let renamed = dir.path().join("renamed");
    fs::rename(&data, &renamed).unwrap();
    assert_eq!(jobs(&renamed).len(), 3);
    // Beside `opencti_data` a directory named like a date is no run.
    let dir = tree(&["20240101T000000Z/a.json"]);
    fs::create_dir(dir.path().join("20200101T000000Z")).unwrap();
    assert_eq!(jobs(dir.path())[0], "begin 20240101T000000Z");
}

#[test]
fn a_folder_without_a_tree_is_bad_input() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    fs::create_dir(dir.path().join("other")).unwrap();
    for path in [dir.path().to_path_buf(), dir.path().join("absent"), dir.path().join("file")] {
        assert!(matches!(Tree::open(&path), Err(Error::BadInput { .. })), "{path:?}");
    }
    // An empty one that is named right is a tree without runs.
    assert_eq!(jobs(&tree(&[]).path().join(DATA_DIR)), [""; 0]);
}

#[test]
fn an_unreadable_run_directory_is_rejected_and_the_rest_goes_on() {
    let dir = tree(&["20240101T000000Z/a.json", "20240102T000000Z/b.json"]);
    let locked = dir.path().join("opencti_data/20240101T000000Z");
    if fs::metadata(&locked).unwrap().uid() == 0 {
        // Mode bits do not bind root: take the directory away between listing and opening instead.
        let mut scan = Scan::new(Tree::open(dir.path()).unwrap(), Seen::default());
        fs::remove_dir_all(&locked).unwrap();
        let batch = scan.next_batch().unwrap();
        let Job::Report(report) = &batch[0] else { panic!("{batch:?}") };
        assert_eq!(report.outcome, FileOutcome::Rejected);
        assert_eq!(report.reason.as_ref().map(|reason| reason.0), Some(reason::VANISHED));
        assert!(matches!(scan.next_batch().unwrap()[0], Job::Begin(_)));
        return;
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let lines = jobs(dir.path());
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(lines[0], "20240101T000000Z \"unreadable\"");
    assert_eq!(lines[1], "begin 20240102T000000Z");
}

#[test]
fn a_listing_knows_its_files_by_snapshot_name() {
    let dir = tree(&["20240101T000000Z/a.json", "20240101T000000Z/a-b.json", "20240101T000000Z/d.json/"]);
    let tree = Tree::open(dir.path()).unwrap();
    let (_, run) = tree.runs[0].open(&tree.root).unwrap();
    assert!(run.has_file(b"a") && run.has_file(b"a-b"));
    assert!(!run.has_file(b"d") && !run.has_file(b"a.json") && !run.has_file(b""));
}
