//! Imports by the command: the same bytes for any number of jobs, bad files, empty trees, a waiter whose holder is killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Dir, STORE_ID, copy_tree, files, of_type, read_tree, sample, set_mtime, text};

fn write(dir: &Dir, run: &str, name: &str, bytes: &[u8]) {
    let folder = dir.path("source").join("opencti_data").join(run);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

fn object(number: usize, text: &str) -> Vec<u8> {
    format!(
        r#"{{"objects": [{{"type": "tool", "id": "tool--{number:08x}-1111-4111-8111-111111111111", "x": "{text}"}}]}}"#
    )
    .into_bytes()
}

const RUN: &str = "20240101T000000Z";

#[test]
fn any_number_of_jobs_gives_the_same_store_and_the_same_report() {
    // R1: not the segments alone, but index, hints and dictionary too, and the order of all units.
    let source = Dir::new();
    copy_tree(&sample(), &source.path("source"));
    let mut first: Option<(Vec<_>, Vec<Value>)> = None;
    for jobs in ["1", "2", "8"] {
        let dir = Dir::new();
        let from = source.path("source");
        let mut units = dir.units(3, &["import", text(&from), "--store-id", STORE_ID, "--jobs", jobs]);
        units.retain(|unit| unit["type"] == "file");
        let bytes = read_tree(&dir.store()).into_iter().map(|(path, entry)| (path, entry.bytes));
        let store: Vec<_> = bytes.filter(|(path, _)| path.file_name() != Some("lock".as_ref())).collect();
        assert!(store.iter().any(|(path, _)| text(path).starts_with("index.")) && units.len() > 300);
        let (files, told) = first.get_or_insert_with(|| (store.clone(), units.clone()));
        for ((path, bytes), (other, expect)) in store.iter().zip(&*files) {
            assert!(path == other && bytes == expect, "{jobs} jobs: {}", path.display());
        }
        assert!(store.len() == files.len() && units == *told, "{jobs} jobs");
    }
}

#[test]
fn each_malformed_file_is_named_once_and_the_rest_is_stored() {
    // R3
    let dir = Dir::new();
    let good = object(1, "good");
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let nul = [&good[..20], b"\0", &good[20..]].concat();
    let bad: [(&str, &[u8]); 9] = [
        ("bom", b"\xef\xbb\xbf{}"),
        ("deep", &deep),
        ("empty", b""),
        ("newline", b"\n"),
        ("nul", &nul),
        ("torn", &good[..40]),
        ("trailing", &[&good[..], b"}"].concat()),
        ("two", &[&good[..], &good[..]].concat()),
        ("zeros", &[0; 4096]),
    ];
    for (name, bytes) in bad {
        write(&dir, RUN, &format!("{name}.json"), bytes);
    }
    write(&dir, RUN, "tool--00000001-1111-4111-8111-111111111111.json", &good);
    let twice = br#"{"objects": [{"type": "tool", "type": "tool", "id": "a", "id": "twice"}]}"#;
    write(&dir, RUN, "twice.json", twice);
    let units = dir.import(3, &dir.path("source"));
    let rejected = files(&units, "rejected");
    assert_eq!(rejected, bad.iter().map(|(name, _)| format!("{RUN}/{name}.json")).collect());
    for unit in of_type(&units, "file").iter().filter(|unit| unit["outcome"] == "rejected") {
        assert!(unit["error"]["code"].as_str().is_some_and(|code| !code.is_empty()), "{unit}");
    }
    assert_eq!(files(&units, "added").len(), 2);
    assert!(dir.expect(0, &["get", "twice", "--raw"]) == twice);
    dir.expect(0, &["check", "--level", "content"]);
}

#[test]
fn a_tree_of_nothing_but_bad_files_and_one_without_files_have_their_exit_codes() {
    // R27
    let dir = Dir::new();
    for number in 0..3 {
        write(&dir, RUN, &format!("bad{number}.json"), b"{");
    }
    let units = dir.import(3, &dir.path("source"));
    assert_eq!(files(&units, "rejected").len(), 3);
    dir.expect(0, &["check"]);
    let empty = Dir::new();
    fs::create_dir_all(empty.path("source/opencti_data")).unwrap();
    let units = empty.import(0, &empty.path("source"));
    assert!(of_type(&units, "file").is_empty());
    dir.expect(2, &["import", "nowhere"]);
}

#[test]
fn a_clock_that_was_set_back_changes_neither_what_is_newest_nor_what_is_read() {
    // R27: the log is ordered by its segments' numbers, and no time of a file is compared with another's.
    let dir = Dir::new();
    let name = "tool--00000001-1111-4111-8111-111111111111";
    for (number, text) in ["first", "second", "third"].into_iter().enumerate() {
        write(&dir, RUN, &format!("{name}.json"), &object(1, text));
        // The file's own time goes back with the clock.
        let file = dir.path("source/opencti_data").join(RUN).join(format!("{name}.json"));
        set_mtime(&file, 1_700_000_000 - u64::try_from(number).unwrap() * 1000, 0);
        dir.import(0, &dir.path("source"));
    }
    let segments: Vec<_> = dir.segments().into_keys().collect();
    assert_eq!(segments.len(), 3);
    for (number, path) in segments.iter().enumerate() {
        let seconds = 1_700_000_000 - u64::try_from(number).unwrap() * 1000;
        set_mtime(&dir.store().join("data").join(path.file_name().unwrap()), seconds, 0);
    }
    for entry in fs::read_dir(dir.store()).unwrap().map(|entry| entry.unwrap().path()) {
        if ["/index.", "/hints."].iter().any(|cache| text(&entry).contains(cache)) {
            fs::remove_file(entry).unwrap();
        }
    }
    assert_eq!(dir.expect(0, &["get", name, "--raw"]), object(1, "third"));
    dir.expect(0, &["check"]);
    let units = dir.import(0, &dir.path("source"));
    assert_eq!(files(&units, "unchanged").len(), 1);
}

#[test]
fn a_run_under_two_names_and_contents_stored_twice_are_each_stored_once_and_not_again() {
    // R2
    let dir = Dir::new();
    let same = object(7, "the same in every run");
    for run in [RUN, "20240102T000000Z", "20240102T0000Z"] {
        write(&dir, run, "tool--00000007-1111-4111-8111-111111111111.json", &same);
        write(&dir, run, "tool--00000008-1111-4111-8111-111111111111.json", &object(8, "the same"));
    }
    let units = dir.import(0, &dir.path("source"));
    assert_eq!(files(&units, "added").len(), 6, "each file is a snapshot");
    let before = dir.segments();
    let units = dir.import(0, &dir.path("source"));
    assert_eq!(files(&units, "unchanged").len(), 6);
    assert!(dir.segments() == before, "no new segment");
    dir.expect(0, &["restore", "--tree", "out"]);
    let bytes = |root: &str| {
        let all = read_tree(&dir.path(root).join("opencti_data"));
        all.into_iter().map(|(path, entry)| (path, entry.bytes)).collect::<Vec<_>>()
    };
    assert!(bytes("source") == bytes("out"));
}

#[test]
fn a_waiter_goes_on_within_a_second_when_the_holder_is_killed() {
    // R18: the lock is the system's, so nothing is left to be broken; the waiter recovers before it writes.
    let dir = Dir::new();
    for number in 0..1500 {
        let name = format!("tool--{number:08x}-1111-4111-8111-111111111111.json");
        write(&dir, RUN, &name, &object(number, &"x".repeat(100)));
    }
    let one = Dir::new();
    write(&one, "20240105T000000Z", "tool--00000001-1111-4111-8111-111111111111.json", &object(1, "one"));
    // It stands still because nobody reads its reports.
    let source = dir.path("source");
    let args = ["--json", "import", text(&source)];
    let mut holder = dir.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::with_capacity(1, holder.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"outcome\":\"added\"") {
        assert!(stdout.read_line(&mut line).unwrap() > 0, "{line}");
    }
    let other = one.path("source");
    let args = ["--json", "--lock-wait", "60", "import", text(&other)];
    let mut waiter = dir.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(waiter.try_wait().unwrap(), None, "it waits");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let killed = Instant::now();
    assert!(waiter.wait().unwrap().success());
    // A second to notice, and the import itself, on a machine that may be busy.
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
    dir.expect(0, &["check", "--level", "content"]);
    let units = dir.import(0, &source);
    assert_eq!(files(&units, "unchanged").len(), 1500, "all of it was committed before the first report");
}
