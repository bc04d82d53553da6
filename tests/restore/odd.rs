//! Restores in odd circumstances: names that no text has, outputs that end, records that are damaged, signals.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{DAYS, file, lines, put, refers, store_of};
use crate::common::{Dir, of_type, read_stream, read_tree, sample};

/// The ids of all bundles, as the runs have them, in order.
fn sent(bundles: &[Value]) -> Vec<(String, Vec<String>)> {
    bundles.iter().map(super::brief).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn names_that_are_no_text_come_back_and_can_be_asked_for() {
    let dir = Dir::new();
    let run = dir.path("tree/opencti_data").join(DAYS[0]);
    fs::create_dir_all(&run).unwrap();
    let names: [&[u8]; 5] = [b"100%25", b"non\xff\xfeutf", b"new\nline", b"tab\there", b"--dash"];
    for (number, name) in names.iter().enumerate() {
        let path = run.join(OsStr::from_bytes(&[name, &b".json"[..]].concat()));
        fs::write(path, refers(&format!("tool--{number}"), &["a\nb"])).unwrap();
    }
    dir.expect(0, &["import", "tree"]);
    dir.expect(0, &["restore", "--tree", "out"]);
    assert!(read_tree(&dir.path("out/opencti_data")) == read_tree(&dir.path("tree/opencti_data")));
    for (number, name) in names.iter().enumerate() {
        let mut command = dir.command(&["restore", "--bundles", "-", "--id"]);
        let name = if name.starts_with(b"-") { &b"tool--4"[..] } else { name };
        let output = command.arg(OsStr::from_bytes(name)).output().unwrap();
        assert!(output.status.success());
        assert_eq!(sent(&lines(&output.stdout))[0].1, [format!("tool--{number}")]);
    }
    // One that is not there is told of in a line of its own, and to programs byte by byte.
    let mut command = dir.command(&["--json", "restore", "--plan", "--id"]);
    let output = command.arg(OsStr::from_bytes(b"no\xff\n")).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
    let units = read_stream(&output.stdout);
    assert_eq!(of_type(&units, "error")[0]["id"]["b64"], "bm//Cg==");
}

#[test]
fn an_output_that_takes_no_more_is_a_failure_and_moves_no_cursor() {
    let dir = store_of(&[&[("a", &[])], &[("b", &[])]]);
    dir.expect(4, &["restore", "--bundles", "/dev/full"]);
    for args in [&["restore", "--bundles", "-"][..], &["--json", "restore", "--bundles", "-"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = dir.command(args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{args:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = dir.command(args).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{args:?} into a pipe that nobody reads");
    }
    // A file stands where the tree's directory would.
    fs::write(dir.path("in-the-way"), "").unwrap();
    for target in ["--tree", "--directory-bundles"] {
        let args = ["restore", target, "in-the-way", "--applicant-id", "x", "--cursor", "cursor"];
        dir.expect(4, &args);
    }
    assert!(!dir.path("cursor").exists());
    assert_eq!(fs::read(dir.path("in-the-way")).unwrap(), b"");
}

#[test]
fn a_damaged_record_costs_its_own_file_in_every_target() {
    let dir = store_of(&[&[("a", &["b"]), ("b", &[])], &[("c", &["b"])], &[("d", &[])]]);
    let place = &of_type(&dir.units(0, &["history", "b"]), "snapshot")[0].clone();
    let segment = dir.store().join(format!("data/{:010}.seg", place["seg"].as_u64().unwrap()));
    let mut bytes = fs::read(&segment).unwrap();
    let end = place["off"].as_u64().unwrap() + place["len"].as_u64().unwrap();
    bytes[usize::try_from(end).unwrap() - 3] ^= 0x20;
    fs::write(&segment, bytes).unwrap();
    let units = dir.units(1, &["restore", "--bundles", "-"]);
    let bundles: Vec<Value> = of_type(&units, "bundle").iter().map(|unit| unit["bundle"].clone()).collect();
    let ids: Vec<String> = sent(&bundles).into_iter().flat_map(|(_, ids)| ids).collect();
    assert_eq!(ids, ["a", "c", "d"]);
    let error = of_type(&units, "error")[0];
    assert_eq!((&error["code"], &error["run"]), (&"damaged".into(), &DAYS[0].into()));
    assert_eq!(error["off"], place["off"]);
    dir.expect(1, &["restore", "--tree", "out"]);
    let found = read_tree(&dir.path("out"));
    assert_eq!(found.keys().filter(|path| path.extension().is_some()).count(), 3);
    let directory = ["restore", "--directory-bundles", "drop", "--applicant-id", "x", "--cursor", "cursor"];
    dir.expect(1, &directory);
    assert_eq!(fs::read_dir(dir.path("drop")).unwrap().count(), 3);
    assert!(!dir.path("cursor").exists(), "something of the first run was left out");
    dir.expect(1, &["restore", "--plan"]);
}

/// With what was sent before the signal and what a restore behind it sends, all is sent.
#[test]
fn a_signal_ends_a_restore_between_two_bundles_and_it_goes_on_behind_the_last_run() {
    let dir = Dir::new();
    dir.import(3, &sample());
    // So that the pipe is full long before the end.
    put(&dir.path("more"), 3, &[("z", &file("z", &format!(r#", "text": "{}""#, "z".repeat(1 << 20))))]);
    dir.expect(0, &["import", "more"]);
    // What a run refers to may come again behind the place, and in the bundle of another run: so object by object.
    let objects = |units: &[Value]| -> BTreeSet<String> {
        let of_bundle = |unit: &Value| unit["bundle"]["objects"].as_array().unwrap().clone();
        of_type(units, "bundle").into_iter().flat_map(of_bundle).map(|object| object.to_string()).collect()
    };
    let whole = objects(&dir.units(0, &["restore", "--bundles", "-"]));

    let mut command = dir.command(&["--json", "restore", "--bundles", "-"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut text = Vec::new();
    stdout.read_until(b'\n', &mut text).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    stdout.read_to_end(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let units = read_stream(&text);
    let end = &units[units.len() - 1];
    assert_eq!((&end["status"], &end["exit"]), (&"interrupted".into(), &143.into()));
    let settled = of_type(&units, "done").into_iter().rfind(|unit| unit["settles"] == true);
    let behind = settled.map(|unit| unit["run"].as_str().unwrap().to_owned());
    let mut sent = objects(&units);
    assert!(sent.len() < whole.len(), "it was too fast to be stopped");
    let after = behind.iter().flat_map(|run| ["--after", run]).collect::<Vec<_>>();
    sent.extend(objects(&dir.units(0, &[&["restore", "--bundles", "-"][..], &after].concat())));
    assert!(sent == whole, "{} of {}", sent.len(), whole.len());
}
