//! S24, and what people are told of a long run.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use super::{end, import_run, segments_of, store};
use crate::common::{of_type, read_stream};

/// A check beside a writer that puts, compacts and closes is in `process/checks.rs`; this is the stream of one.
#[test]
fn s24_a_check_beside_an_import_ends_where_the_log_ended_when_it_began() {
    let dir = store(4, 400);
    let mut child = dir
        .command(&["--json", "check", "--all"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::with_capacity(1, child.stdout.take().unwrap());
    let mut out = Vec::new();
    stdout.read_until(b'\n', &mut out).unwrap();
    // It stands still, as nobody reads on; the log grows.
    import_run(&dir, 5, 0..400);
    stdout.read_to_end(&mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let units = read_stream(&out);
    assert_eq!(segments_of(&units).into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((&units[0]["gen"]["seg"], &end(&units)["counts"]["ok"]), (&4.into(), &1600.into()));
    for checkpoint in of_type(&units, "checkpoint") {
        assert_eq!(checkpoint["gen"], units[0]["gen"]);
    }
}

#[test]
fn progress_has_rate_and_findings_and_the_summary_says_what_to_do_next() {
    let dir = store(3, 20);
    super::damage(&dir, 2);
    let output = dir.run(&["check", "--json-progress"]);
    let told = String::from_utf8(output.stderr).unwrap();
    let progress: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&progress["type"], &progress["findings"], &progress["items"]),
        (&"progress".into(), &1.into(), &63.into())
    );
    assert_eq!(progress["bytes"], progress["bytes_total"]);
    assert!(progress["bytes_per_second"].is_u64());
    let said = String::from_utf8(output.stdout).unwrap();
    for part in [
        "damage: data/0000000002.seg at ",
        "affected: 20240101T000200Z/malware--",
        "next: store -s ",
        "repair --dry-run",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let next = said.lines().find_map(|line| line.strip_prefix("next: store ")).unwrap();
    let command = next.split("      ").next().unwrap();
    dir.expect(1, &command.split(' ').collect::<Vec<_>>());
    assert!(fs::exists(dir.store().join("quarantine")).is_ok_and(|there| !there), "a dry run writes nothing");
}
