//! What people and programs are told beside the data: findings, next commands, messages as units, empty variables.

use std::fs;

use serde_json::Value;

use crate::common::{Dir, STORE_ID, of_type, sample, text};

const ID: &str = "malware--11111111-1111-4111-8111-111111111111";

/// A store of two commits without an index; returns the bytes of its last segment.
fn small_store(dir: &Dir) -> Vec<u8> {
    dir.expect(0, &["init", "--compression", "none", "--store-id", STORE_ID]);
    for (run, name) in [("20240101T000000Z", "older"), ("20240102T000000Z", "newer")] {
        let file = dir.path("file");
        fs::write(&file, format!(r#"{{"objects": [{{"id": "{ID}", "name": "{name}"}}]}}"#)).unwrap();
        dir.expect(0, &["put", ID, "--run", run, text(&file)]);
    }
    fs::read(dir.store().join("data/0000000002.seg")).unwrap()
}

fn flip(dir: &Dir, bytes: &[u8], what: &[u8]) {
    let mut bytes = bytes.to_vec();
    let at = bytes.windows(what.len()).position(|window| window == what).unwrap();
    bytes[at] ^= 0x10;
    fs::write(dir.store().join("data/0000000002.seg"), bytes).unwrap();
}

/// Each finding said "X (X)". The next command that was offered showed the bytes of a file, also of one that is missing.
#[test]
fn a_check_with_damage_ends_with_what_is_wrong_whom_it_concerns_and_what_to_do() {
    let dir = Dir::new();
    let bytes = small_store(&dir);
    flip(&dir, &bytes, b"newer");
    let said = String::from_utf8(dir.expect(1, &["check"])).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0].matches("data checksum").count(), 1, "{said}");
    let store = dir.store();
    let next = format!("next: store -s {} repair --dry-run  ", text(&store));
    let then = format!("then: store -s {} repair --source TREE  ", text(&store));
    let affected = format!("affected: 20240102T000000Z/{ID}.json");
    let end = &lines[lines.len() - 4..];
    assert_eq!(end[..2], ["damaged: data/0000000002.seg", affected.as_str()], "{said}");
    assert!(end[2].starts_with(&next) && end[3].starts_with(&then), "{said}");
    let units = dir.units(1, &["check"]);
    let result = of_type(&units, "result")[0];
    assert!(!result["detail"].as_str().unwrap().contains('('), "{result}");

    fs::remove_file(dir.store().join("data/0000000002.seg")).unwrap();
    let said = String::from_utf8(dir.expect(1, &["check"])).unwrap();
    assert!(said.contains("affected: ") && said.contains("\nnext: ") && !said.contains(" dump "), "{said}");
}

/// A record with one wrong bit in its head counted as live but not as a record: "records 2, live 3".
#[test]
fn a_segment_never_has_more_live_records_than_records() {
    let dir = Dir::new();
    let mut bytes = small_store(&dir);
    // The size of the second record, behind that of the run.
    let len = u32::from_le_bytes(bytes[100..104].try_into().unwrap());
    bytes[96 + usize::try_from(len).unwrap() + 9] ^= 1;
    fs::write(dir.store().join("data/0000000002.seg"), bytes).unwrap();
    let units = dir.units(1, &["check"]);
    for segment in of_type(&units, "segment") {
        assert!(segment["live"].as_u64() <= segment["records"].as_u64(), "{segment}");
    }
}

/// The numbers of commits came as Rust's debug form, "transaction CommitId(1)", and the places of records as
/// "segment 0000000002 at 0" in warnings and as "data/0000000002.seg at 0" in findings.
#[test]
fn numbers_and_places_look_the_same_everywhere() {
    let dir = Dir::new();
    let bytes = small_store(&dir);
    let commit = bytes.len() - 60;
    fs::write(dir.store().join("data/0000000002.seg"), &bytes[..commit]).unwrap();
    for args in [&["check"][..], &["runs"], &["--json", "check"], &["-v", "stats"]] {
        let output = dir.run(args);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains("CommitId") && !said.contains("segment 0000"), "{args:?}: {said}");
    }
}

/// With `--json-progress` warnings and errors came as lines of text between the units, and what the library logs came
/// with a time stamp even to those who had not asked for a log.
#[test]
fn with_json_progress_every_line_on_standard_error_is_a_unit() {
    let dir = Dir::new();
    let output = dir.run(&["--json-progress", "import", text(&sample())]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    let units: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for (seq, unit) in units.iter().enumerate() {
        assert_eq!((&unit["v"], &unit["seq"]), (&1.into(), &seq.into()), "{unit}");
    }
    let level = |level: &str| units.iter().filter(|unit| unit["level"] == level).count();
    assert_eq!((level("error"), level("note")), (3, 7), "{said}");
    assert!(units.iter().any(|unit| unit["type"] == "progress"), "{said}");
    let output = dir.run(&["--json-progress", "-v", "get", "tool--none"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.lines().all(|line| line.starts_with(r#"{"v":1,"type":"message","#)), "{said}");

    // A warning of the library: a page of the index is damaged.
    let name = fs::read_dir(dir.store()).unwrap().map(|entry| entry.unwrap().path());
    let index = name.into_iter().find(|path| text(path).contains("/index.")).unwrap();
    let mut bytes = fs::read(&index).unwrap();
    bytes[4096..].iter_mut().for_each(|byte| *byte ^= 1);
    fs::write(&index, bytes).unwrap();
    let output = dir.run(&["history", "malware--d05f7357-4cbe-47ea-bf83-b8604226d533"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("checksum") && said.lines().all(|line| line.starts_with("warning: ")), "{said}");
}

/// What a writer beside had not committed yet was a warning to everybody who read.
#[test]
fn an_uncommitted_tail_is_told_only_to_those_who_ask() {
    let dir = Dir::new();
    let bytes = small_store(&dir);
    // Another segment without its COMMIT: a number, and so a header, of its own.
    let file = dir.path("file");
    fs::write(&file, format!(r#"{{"objects": [{{"id": "{ID}", "name": "third"}}]}}"#)).unwrap();
    dir.expect(0, &["put", ID, "--run", "20240103T000000Z", text(&file)]);
    for entry in fs::read_dir(dir.store()).unwrap().map(|entry| entry.unwrap().path()) {
        if text(&entry).contains("/index.") || text(&entry).contains("/hints.") {
            fs::remove_file(entry).unwrap();
        }
    }
    let third = dir.store().join("data/0000000003.seg");
    let torn = fs::read(&third).unwrap();
    fs::write(&third, &torn[..bytes.len() - 60]).unwrap();
    let said = |args: &[&str]| String::from_utf8(dir.run(args).stderr).unwrap();
    assert!(!said(&["get", ID]).contains("never committed"));
    assert!(said(&["-v", "get", ID]).contains("data/0000000003.seg at 96: "), "{}", said(&["-v", "get", ID]));
}

/// A container tool passes the variables that nobody gave a value as empty ones: each was exit code 2.
#[test]
fn a_variable_that_is_set_but_empty_is_not_set() {
    let dir = Dir::new();
    let names = [
        "STORE_PATH",
        "STORE_JSON",
        "STORE_QUIET",
        "STORE_LOCK_WAIT",
        "STORE_PROGRESS_INTERVAL",
        "STORE_LOG",
        "STORE_NO_PROGRESS",
        "STORE_JSON_PROGRESS",
        "STORE_JOBS",
        "STORE_MIRROR",
        "STORE_SEGMENT_SIZE",
        "STORE_COMPRESSION",
        "STORE_ID",
        "STORE_RESOLVE",
        "STORE_MAX_BUNDLE_BYTES",
        "STORE_INCLUDE_EARLIER",
        "STORE_EXTENSION_REFS",
        "STORE_LEVEL",
        "STORE_THRESHOLD",
        "BACKUP_PATH",
    ];
    let source = sample();
    let args: [&[&str]; 5] =
        [&["import", text(&source)], &["runs"], &["check"], &["compact"], &["restore", "--plan"]];
    for args in args {
        let mut command = dir.command(args);
        command.envs(names.map(|name| (name, "")));
        let output = command.output().unwrap();
        let expect = if args[0] == "import" { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(expect), "{args:?}: {output:?}");
    }
    assert!(dir.path("opencti.store").exists(), "the default path");
    assert_eq!(dir.command(&["import"]).env("BACKUP_PATH", "").status().unwrap().code(), Some(2));
}

/// Nothing in the help said what a run looks like.
#[test]
fn the_help_says_what_a_run_looks_like() {
    let dir = Dir::new();
    for command in ["put", "delete", "get", "ls", "restore"] {
        for flag in ["-h", "--help"] {
            let help = String::from_utf8(dir.expect(0, &[command, flag])).unwrap();
            assert!(help.contains("20240115T140000Z"), "{command} {flag}: {help}");
        }
    }
}
