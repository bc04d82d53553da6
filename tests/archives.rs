//! Backups that come as a tar archive, from a file or a pipe, and plain STIX bundles.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Output, Stdio};

use flate2::write::GzEncoder;
use serde_json::Value;

use crate::common::{Dir, files, of_type, read_stream, sample, text};

const RUN: &str = "20240101T000000Z";

fn counts(units: &[Value]) -> &Value {
    &units[units.len() - 1]["counts"]
}

/// The sample as a tar archive, in the order of the file system, with its links left out.
fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all("backup", sample()).unwrap();
    tar.into_inner().unwrap()
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len().try_into().unwrap());
        header.set_mtime(1_700_000_000);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn pipe(dir: &Dir, args: &[&str], input: &[u8]) -> Output {
    let mut command = dir.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that fails early does not read it all.
    drop(stdin.write_all(input));
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// All snapshots with their bytes.
fn content(dir: &Dir) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for run in of_type(&dir.units(0, &["runs"]), "run") {
        let name = run["run"].as_str().unwrap();
        for unit in of_type(&dir.units(0, &["ls", name]), "snapshot") {
            let id = unit["id"].as_str().unwrap();
            let body = dir.expect(0, &["get", id, "--run", name, "--raw"]);
            found.insert(format!("{name}/{id}: {}", String::from_utf8_lossy(&body)));
        }
    }
    found
}

#[test]
fn an_archive_holds_what_the_tree_holds_however_it_comes() {
    let tree = Dir::new();
    tree.import(3, &sample());
    let expect = counts(&tree.import(3, &sample()))["unchanged"].clone();
    let plain = archive();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    for (name, bytes) in [("tar", &plain), ("tar.zst", &zstd), ("tar.gz", &gzip)] {
        for jobs in ["1", "2"] {
            let dir = Dir::new();
            let output = pipe(&dir, &["import", "-", "--json", "--jobs", jobs], bytes);
            assert_eq!(output.status.code(), Some(3), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            let units = read_stream(&output.stdout);
            assert_eq!(counts(&units)["added"], expect, "{name}");
            let file = dir.path(&format!("backup.{name}"));
            fs::write(&file, bytes).unwrap();
            let units = dir.import(3, &file);
            assert_eq!(
                (&counts(&units)["unchanged"], &counts(&units)["added"]),
                (&expect, &0.into()),
                "{name}"
            );
            let units = dir.import(3, &sample());
            assert_eq!(counts(&units)["unchanged"], expect, "the tree itself brings nothing new: {name}");
            dir.expect(0, &["check", "--level", "content"]);
        }
    }
}

#[test]
fn any_number_of_jobs_stores_an_archive_in_the_same_bytes() {
    let bytes = archive();
    let segments = |jobs: &str| {
        let dir = Dir::new();
        pipe(&dir, &["import", "-", "--jobs", jobs, "--store-id", crate::common::STORE_ID], &bytes);
        dir.segments().into_values().collect::<Vec<_>>()
    };
    let one = segments("1");
    assert!(!one.is_empty() && segments("2") == one && segments("8") == one);
}

/// What came before the archive broke off is stored and told, and the exit code says that it is not all.
#[test]
fn an_archive_that_breaks_off_keeps_what_came() {
    let plain = archive();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    let end = plain.len() - plain.iter().rev().take_while(|byte| **byte == 0).count();
    let block = end.div_ceil(512) * 512;
    for (cut, least) in
        [(&plain[..plain.len() / 2], 20), (&plain[..block], 300), (&zstd[..zstd.len() * 3 / 4], 20)]
    {
        let dir = Dir::new();
        let output = pipe(&dir, &["import", "-", "--json"], cut);
        assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
        let units = read_stream(&output.stdout);
        let added = files(&units, "added").len();
        assert!(added >= least, "{added}");
        let held: u64 = of_type(&dir.units(0, &["runs"]), "run")
            .iter()
            .map(|run| run["snapshots"].as_u64().unwrap())
            .sum();
        assert_eq!(usize::try_from(held).unwrap(), added);
        dir.expect(0, &["check"]);
    }
}

#[test]
fn what_is_no_archive_is_refused_by_its_name() {
    for (bytes, word) in
        [(&b""[..], "no bytes"), (b"BZh91AY&SY", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"PK\x03\x04..", "zip")]
    {
        let dir = Dir::new();
        let output = pipe(&dir, &["import", "-"], bytes);
        assert_eq!(output.status.code(), Some(4));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains(word), "{message}");
        assert!(!dir.store().exists());
    }
    // Noise, plain and compressed, and an archive cut within its first block.
    let noise = [b'x'; 5000];
    let zstd = zstd::encode_all(&noise[..], 1).unwrap();
    let empty = zstd::encode_all(&b""[..], 1).unwrap();
    for bytes in [&noise[..], &zstd, &zstd[..10], &empty, b"\x1f\x8b", &archive()[..300]] {
        let dir = Dir::new();
        let output = pipe(&dir, &["import", "-", "--json"], bytes);
        assert_eq!(output.status.code(), Some(4), "noise");
        let units = read_stream(&output.stdout);
        assert_eq!(units.len(), 3, "begin, error, end");
        assert!(!dir.store().exists(), "an empty store was left behind");
    }
}

/// A file that was no archive left an empty store behind, and what the reader of tar quoted of it went to the terminal as it was.
#[test]
fn what_is_no_archive_leaves_no_store_and_does_not_move_the_cursor() {
    let dir = Dir::new();
    let file = dir.path("x.tar");
    let noise: Vec<u8> =
        (0..4096u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3] | 0x10).collect();
    for bytes in [&b""[..], b"PK\x03\x04..", &noise, &[0x1b; 2000]] {
        fs::write(&file, bytes).unwrap();
        let output = dir.run(&["import", text(&file)]);
        assert_eq!(output.status.code(), Some(4));
        assert!(output.stderr.iter().all(|byte| *byte >= b' ' || *byte == b'\n'), "{:?}", output.stderr);
        assert!(!dir.store().exists());
    }
    dir.expect(4, &["import", text(&dir.path("missing")), "--run", RUN]);
    assert!(!dir.store().exists());
}

/// Without a dictionary yet, what came through a pipe was held back until 1,000 files or the end had come: a backup that sends a
/// file a minute would have lost hours of them in a power cut.
#[test]
fn what_came_through_a_pipe_that_falls_silent_is_durable_and_told() {
    let dir = Dir::new();
    let mut command = dir.command(&["import", "-", "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for number in 0..3 {
        let (path, body) =
            (format!("{RUN}/tool--{number}.json"), format!(r#"{{"objects": [{{"id": "tool--{number}"}}]}}"#));
        let tar = tar_of(&[(&path, body.as_bytes())]);
        // Without the two blocks that end an archive.
        stdin.write_all(&tar[..tar.len() - 1024]).unwrap();
        stdin.flush().unwrap();
        // Nothing more comes until it was told.
        let told =
            lines.find(|line| line.as_ref().unwrap().contains(r#""outcome":"added""#)).unwrap().unwrap();
        assert!(told.contains(&format!("tool--{number}.json")), "{told}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(content(&dir).len(), 3);
    dir.expect(0, &["check"]);
}

#[test]
fn odd_entries_of_an_archive_are_named_and_the_rest_goes_on() {
    let good = |id: &str| format!("{{\"objects\": [{{\"id\": \"{id}\"}}]}}").into_bytes();
    let (first, second) = (good("tool--1"), good("tool--1 "));
    let deep = ["{\"objects\": ".to_owned(), "[".repeat(100_000)].concat();
    let bytes = tar_of(&[
        (&format!("opencti_data/{RUN}/a.json"), &first),
        ("opencti_data/notes.txt", b"x"),
        ("opencti_data/nodate/a.json", &first),
        (&format!("opencti_data/{RUN}/b.txt"), b"x"),
        (&format!("opencti_data/{RUN}/sub/c.json"), &first),
        (&format!("opencti_data/{RUN}/bad.json"), b"{"),
        (&format!("opencti_data/{RUN}/deep.json"), deep.as_bytes()),
        (&format!("./x/opencti_data/{RUN}/d.json"), &first),
        (&format!("opencti_data/{RUN}/a.json"), &second),
        (&format!("{RUN}/e.json"), &first),
    ]);
    let dir = Dir::new();
    let output = pipe(&dir, &["import", "-", "--json"], &bytes);
    assert_eq!(output.status.code(), Some(3));
    let units = read_stream(&output.stdout);
    let codes: Vec<(String, String)> = of_type(&units, "file")
        .iter()
        .filter_map(|unit| {
            let last = unit["path"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
            Some((last, unit["error"]["code"].as_str()?.to_owned()))
        })
        .collect();
    let expect = [
        ("notes.txt", "not_a_directory"),
        ("a.json", "not_a_date"),
        ("b.txt", "not_named_json"),
        ("c.json", "not_a_file"),
        ("bad.json", "not_json"),
        ("deep.json", "too_deep"),
    ];
    let expect: Vec<(String, String)> =
        expect.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(codes, expect);
    assert!(
        dir.expect(0, &["get", "a", "--run", RUN, "--raw"]) == second,
        "of two files of one name the later counts"
    );
    assert!(dir.expect(0, &["get", "d", "--run", RUN, "--raw"]) == first);
    // The first state comes again, and the store holds the second: it must not pass for unchanged.
    let again = tar_of(&[(&format!("{RUN}/a.json"), &first), (&format!("{RUN}/a.json"), &second)]);
    assert_eq!(pipe(&dir, &["import", "-"], &again).status.code(), Some(0));
    assert!(dir.expect(0, &["get", "a", "--run", RUN, "--raw"]) == second);
    dir.expect(0, &["check", "--level", "content"]);
}

/// Archives that were appended to hold names again. Each entry is decided as if it were an import of its own: what stood before
/// it in the archive counts as stored.
#[test]
fn a_name_that_comes_again_is_unchanged_or_updates_what_came_before() {
    let outcomes = |dir: &Dir, versions: &[u32]| {
        let bodies: Vec<String> =
            versions.iter().map(|v| format!(r#"{{"objects": [{{"id": "a", "v": {v}}}]}}"#)).collect();
        let name = format!("{RUN}/a.json");
        let entries: Vec<(&str, &[u8])> =
            bodies.iter().map(|body| (name.as_str(), body.as_bytes())).collect();
        let output = pipe(dir, &["import", "-", "--json"], &tar_of(&entries));
        let units = read_stream(&output.stdout);
        let outcomes =
            of_type(&units, "file").into_iter().map(|unit| unit["outcome"].as_str().unwrap().to_owned());
        (outcomes.collect::<Vec<_>>().join(" "), units[units.len() - 1]["counts"]["commit"].as_u64().unwrap())
    };
    let dir = Dir::new();
    assert_eq!(outcomes(&dir, &[1, 1, 1]), ("added unchanged unchanged".to_owned(), 1));
    assert_eq!(
        outcomes(&dir, &[1, 1, 1]),
        ("unchanged unchanged unchanged".to_owned(), 1),
        "nothing is written"
    );
    assert_eq!(outcomes(&dir, &[1, 2, 2, 3]), ("unchanged updated unchanged updated".to_owned(), 3));
    assert_eq!(dir.expect(0, &["get", "a"]), br#"{"id": "a", "v": 3}"#);
    // That the first is outdated shows at its end only, and then it is stored.
    assert_eq!(outcomes(&dir, &[1, 2, 2, 3]), ("updated updated unchanged updated".to_owned(), 6));
    assert_eq!(dir.expect(0, &["get", "a"]), br#"{"id": "a", "v": 3}"#);
    dir.expect(0, &["check"]);
}

/// A link has its content elsewhere in the archive, or nowhere. To pass over it silently would lose a snapshot.
#[test]
fn a_link_in_the_place_of_a_snapshot_is_rejected() {
    let mut tar = tar::Builder::new(Vec::new());
    for kind in [tar::EntryType::Link, tar::EntryType::Symlink] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        tar.append_link(&mut header, format!("opencti_data/{RUN}/a.json"), "b.json").unwrap();
    }
    let dir = Dir::new();
    let output = pipe(&dir, &["import", "-", "--json"], &tar.into_inner().unwrap());
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(counts(&read_stream(&output.stdout))["rejected"], 2);
}

#[test]
fn a_mirror_of_what_is_no_tree_is_refused() {
    let dir = Dir::new();
    let file = dir.path("x.tar");
    fs::write(&file, tar_of(&[])).unwrap();
    dir.expect(2, &["import", text(&file), "--mirror"]);
}

#[test]
fn objects_of_plain_bundles_become_snapshots_of_a_run() {
    let dir = Dir::new();
    let folder = dir.path("bundles");
    fs::create_dir(&folder).unwrap();
    let (one, two) =
        ("{\"id\": \"tool--1\",  \"n\": 1.10}", "{\"id\":\"tool--2\", \"object_ref\": \"tool--1\"}");
    fs::write(folder.join("a.json"), format!("{{\"type\": \"bundle\", \"objects\": [{one}, {two}]}}"))
        .unwrap();
    fs::write(folder.join("b.json"), format!("{{\"objects\": [{one}]}}")).unwrap();
    fs::write(folder.join("c.json"), "{\"objects\": [").unwrap();
    fs::write(folder.join("notes.txt"), "x").unwrap();
    let units = dir.units(3, &["import", text(&folder), "--run", RUN]);
    let counts = counts(&units);
    assert_eq!(
        (&counts["added"], &counts["rejected"], &counts["ignored"]),
        (&2.into(), &1.into(), &1.into())
    );
    assert_eq!(dir.expect(0, &["get", "tool--1", "--run", RUN]), one.as_bytes(), "exactly its bytes");
    let bundles = dir.expect(0, &["restore", "--bundles", "-"]);
    assert!(String::from_utf8(bundles).unwrap().contains(two));
    dir.expect(0, &["check", "--level", "content"]);
    let again = dir.units(0, &["import", text(&folder.join("a.json")), "--run", RUN]);
    assert_eq!(self::counts(&again)["unchanged"], 2);
    assert_eq!(content(&dir).len(), 2);
    dir.expect(2, &["import", text(&folder), "--run", "yesterday"]);
}

/// A bundle was read whole before the first of its objects was taken: one of 1 GB took as much memory, and one that broke off was
/// refused with all that had come.
#[test]
fn of_a_bundle_that_breaks_off_what_came_is_taken_and_the_file_is_named() {
    let dir = Dir::new();
    let body = br#"{"type": "bundle", "objects": [{"id": "tool--1"}, {"id": "tool--2"}, {"id": "to"#;
    let output = pipe(&dir, &["import", "-", "--run", RUN, "--json"], body);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let units = read_stream(&output.stdout);
    assert_eq!(files(&units, "added").len(), 2);
    let rejected = of_type(&units, "file").into_iter().find(|unit| unit["outcome"] == "rejected").unwrap();
    assert_eq!(rejected["error"]["code"], "not_json");
    assert!(rejected["error"]["msg"].as_str().unwrap().ends_with("; the 2 objects read before are taken"));
    // The whole of it later adds what was missing.
    let whole =
        br#"{"type": "bundle", "objects": [{"id": "tool--1"}, {"id": "tool--2"}, {"id": "tool--3"}]}"#;
    let output = pipe(&dir, &["import", "-", "--run", RUN, "--json"], whole);
    let units = read_stream(&output.stdout);
    assert_eq!((&counts(&units)["added"], &counts(&units)["unchanged"]), (&1.into(), &2.into()));
}

/// One object without an id, and all others of its bundle were refused with it.
#[test]
fn an_object_without_an_id_is_refused_alone_and_named_with_its_place() {
    let dir = Dir::new();
    let file = dir.path("a.json");
    let body = r#"{"objects": [{"id": "tool--1"}, {"name": "x"}, 7, {"id": 8}, {"id": "tool--2"}]}"#;
    fs::write(&file, body).unwrap();
    let units = dir.units(3, &["import", text(&file), "--run", RUN]);
    let names: Vec<String> = files(&units, "rejected").into_iter().collect();
    assert_eq!(names, ["a.json/objects[1]", "a.json/objects[2]", "a.json/objects[3]"]);
    let rejected = of_type(&units, "file").into_iter().find(|unit| unit["outcome"] == "rejected").unwrap();
    assert_eq!(rejected["error"]["code"], "object_without_id");
    assert_eq!(rejected["error"]["msg"], "no string `id`");
    assert_eq!(files(&units, "added").len(), 2);
    for (bytes, code) in [
        (&b"{\"objects\": 7}"[..], "no_objects"),
        (b"[1]", "no_objects"),
        (b"{", "not_json"),
        (b"\xff", "not_json"),
        (b"", "empty"),
    ] {
        fs::write(&file, bytes).unwrap();
        let units = dir.units(3, &["import", text(&file), "--run", RUN]);
        assert_eq!(of_type(&units, "file")[0]["error"]["code"], code);
    }
}
