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

/// The command that was suggested did not quote the path, and dropped which part of the store it was about and what was to be
/// told; a run that writes units said nothing of how to go on.
#[test]
fn the_command_to_run_next_is_one_that_a_shell_takes_and_has_all_that_this_one_had() {
    let dir = store(4, 5);
    let path = dir.path("it's a \"store\" $HOME");
    fs::rename(dir.store(), &path).unwrap();
    let record = dir.path("my record");
    let run = |args: &[&str]| {
        let all = [&["-s", crate::common::text(&path)], args].concat();
        let output = dir.command(&all).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    let next = |output: &std::process::Output| {
        let told = [&output.stdout[..], &output.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        let line = told.lines().find_map(|line| line.split_once("next: ")).unwrap().1.to_owned();
        line.split("      ").next().unwrap().to_owned()
    };
    let args = ["check", "--all", "--shard", "1/2", "--max-duration", "0"];
    let kept = run(&[&args[..], &["--record", crate::common::text(&record)]].concat());
    let command = next(&kept).replacen("store", env!("CARGO_BIN_EXE_store"), 1);
    assert!(command.contains("--all --shard 1/2 --max-duration 0"), "{command}");
    let again = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{command}: {}", String::from_utf8_lossy(&again.stderr));

    let streamed = run(&[&["--json"], &args[..]].concat());
    let units = read_stream(&streamed.stdout);
    let words: Vec<&str> =
        end(&units)["next"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let file = dir.path("results");
    fs::write(&file, &streamed.stdout).unwrap();
    assert_eq!(words.last(), Some(&"FILE"), "{words:?}");
    assert!(next(&streamed).ends_with("--json --resume FILE"));
    let mut words = words[1..].to_vec();
    *words.last_mut().unwrap() = crate::common::text(&file);
    let again = dir.command(&words).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{words:?}");
}

/// At the level that reads no records `--max-duration` did nothing, and what the record let it pass over had no unit.
#[test]
fn a_check_of_the_index_alone_ends_when_the_time_is_up_and_tells_what_it_passes_over() {
    let dir = store(3, 5);
    let path = dir.path("record");
    let args = ["check", "--level", "index", "--record", crate::common::text(&path)];
    let units = dir.units(3, &[&args[..], &["--max-duration", "0"]].concat());
    assert_eq!((segments_of(&units).len(), end(&units)["cursor"]["seg"].as_u64()), (1, Some(2)));
    let units = dir.units(0, &[&args[..], &["--max-age", "1d"]].concat());
    let states: Vec<&str> =
        of_type(&units, "segment").into_iter().map(|unit| unit["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["skipped", "ok", "ok"]);
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

/// It said how many bytes were checked and how many snapshots were good, where only the index had been looked at: of a store
/// with damaged records too.
#[test]
fn a_check_of_the_index_alone_does_not_call_records_good() {
    let dir = store(3, 5);
    let told = String::from_utf8(dir.expect(0, &["check", "--level", "index"])).unwrap();
    let first = told.lines().next().unwrap();
    assert!(first.starts_with("checked the index of 3 segments, no records: "), "{told}");
    assert!(first.contains(" snapshots in place, ") && !first.contains("good"), "{told}");
}

/// What to run next was `--max-duration 0` behind a run that had been given half a second.
#[test]
fn the_command_that_goes_on_has_as_much_time_as_the_one_before() {
    let dir = store(3, 5);
    let record = dir.path("record");
    let args = ["check", "--max-duration", "0.000001", "--max-age", "1.5d", "--record"];
    let output = dir.run(&[&args[..], &[crate::common::text(&record)]].concat());
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(told.contains("--max-duration 0.000001 ") && told.contains("--max-age 36h "), "{told}");
}
