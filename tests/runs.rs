//! Runs whose directory names mean one instant, by the command: none is lost, none is stored twice, and none comes back in
//! the place of another.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{Dir, of_type, read_tree};
use crate::sample::assert_same_tree;

/// Two directory names of one instant, and a later one.
pub(crate) const RUNS: [&str; 3] = ["20240115T140000Z", "20240115T1400Z", "20240116T000000Z"];

/// Writes files of a run directory of a tree.
pub(crate) fn write(tree: &Path, run: &str, files: &[(&str, &str)]) {
    let run = tree.join("opencti_data").join(run);
    fs::create_dir_all(&run).unwrap();
    for (name, body) in files {
        fs::write(run.join(format!("{name}.json")), body).unwrap();
    }
}

/// A bundle with one object.
pub(crate) fn object(id: &str, version: &str) -> String {
    format!(r#"{{"objects": [{{"id": "{id}", "x": "{version}"}}]}}"#)
}

/// A tree in which each run has two files; `id` gives the id in a file.
fn tree(dir: &Dir, name: &str, runs: &[&str], id: impl Fn(u32) -> String) {
    for run in runs {
        for number in [1, 2] {
            let body = object(&id(number), run);
            write(&dir.path(name), run, &[(&format!("a--{number}"), &body)]);
        }
    }
}

fn counts(units: &[Value]) -> &Value {
    &units[units.len() - 1]["counts"]
}

fn names(dir: &Dir, code: i32) -> Vec<String> {
    let units = dir.units(code, &["runs"]);
    of_type(&units, "run").iter().map(|unit| unit["run"].as_str().unwrap().to_owned()).collect()
}

fn expect_restored(dir: &Dir, code: i32, tree: &str, target: &str) {
    dir.expect(code, &["restore", "--tree", target]);
    assert_same_tree(&read_tree(&dir.path(tree).join("opencti_data")), &dir.path(target));
}

/// Changes the last byte of a run's record, which belongs to its meta; returns where the record begins.
fn damage_record(dir: &Dir, name: &str) -> usize {
    let at = stix_store::snapshot::run::parse(name).unwrap();
    let discriminator = RUNS[..2].iter().position(|run| *run == name).unwrap();
    let key = stix_store::RunKey::new(at, u16::try_from(discriminator).unwrap());
    let pattern = [&[0u8; 25][..], &key.0.swap_bytes().to_le_bytes()].concat();
    let path = dir.store().join("data/0000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    let start = bytes.windows(pattern.len()).position(|window| window == pattern).unwrap() - 8;
    let size = usize::try_from(u32::from_le_bytes(bytes[start + 4..start + 8].try_into().unwrap())).unwrap();
    bytes[start + size - 1] ^= 1;
    fs::write(&path, bytes).unwrap();
    start
}

/// Files whose ids need aliases, or more than 1 MiB of files, made the import forget the first directory name before it came
/// to the second one of the same instant: that run went over the first one, without a word.
#[test]
fn two_directory_names_of_one_instant_both_come_back() {
    let (odd, large) = (Dir::new(), Dir::new());
    tree(&odd, "odd", &RUNS[..2], |number| format!("b--{number}"));
    for (number, run) in (1u64..).zip(RUNS[..2].iter()) {
        let mut noise = number;
        let files: Vec<(String, String)> = (0..3)
            .map(|file| {
                let words = (0..50_000).map(|_| {
                    noise =
                        noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    format!("{:016x}", noise ^ (noise >> 31))
                });
                (format!("a--{file}"), object(&format!("a--{file}"), &words.collect::<String>()))
            })
            .collect();
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, body)| (name.as_str(), body.as_str())).collect();
        write(&large.path("large"), run, &files);
    }
    for (dir, name, files) in [(odd, "odd", 4), (large, "large", 6)] {
        let units = dir.import(0, &dir.path(name));
        assert_eq!(counts(&units)["added"], files, "{name}");
        assert_eq!(names(&dir, 0), RUNS[..2], "{name}");
        expect_restored(&dir, 0, name, &format!("{name} restored"));
        let units = dir.import(0, &dir.path(name));
        assert_eq!((&counts(&units)["added"], &counts(&units)["unchanged"]), (&0.into(), &files.into()));
        dir.expect(0, &["check", "--level", "content"]);
    }
}

/// Once the first of two directories of an instant was gone from tree, store and log, an import stored the second one again,
/// as a second run of the same name.
#[test]
fn a_run_behind_a_gone_one_of_its_instant_is_not_stored_twice() {
    let dir = Dir::new();
    tree(&dir, "all", &RUNS, |number| format!("a--{number}"));
    tree(&dir, "less", &RUNS[1..], |number| format!("a--{number}"));
    dir.import(0, &dir.path("all"));
    let units = dir.units(0, &["import", "less", "--mirror"]);
    assert_eq!(counts(&units)["removed"], 2);
    dir.expect(0, &["compact", "--threshold", "1"]);
    for tree in ["less", "less", "all"] {
        let units = dir.units(0, &["import", tree]);
        assert_eq!(counts(&units)["added"], if tree == "all" { 2 } else { 0 }, "{tree}");
    }
    assert_eq!(names(&dir, 0), RUNS);
    expect_restored(&dir, 0, "all", "restored");
}

/// A damaged record of a run ended every import, and every `put` into that run, with exit 1.
#[test]
fn a_run_whose_record_is_damaged_is_healed_by_an_import_of_its_directory() {
    for (way, hurt) in [("import", RUNS[0]), ("import", RUNS[1]), ("mirror", RUNS[1]), ("put", RUNS[1])] {
        let dir = Dir::new();
        tree(&dir, "all", &RUNS, |number| format!("b--{number}"));
        dir.import(0, &dir.path("all"));
        damage_record(&dir, hurt);
        match way {
            "put" => {
                let file = format!("all/opencti_data/{hurt}/a--1.json");
                dir.expect(0, &["put", "a--1", "--run", hurt, &file]);
            }
            "mirror" => {
                let units = dir.units(0, &["import", "all", "--mirror"]);
                assert_eq!((&counts(&units)["added"], &counts(&units)["removed"]), (&0.into(), &0.into()));
            }
            _ => assert_eq!(counts(&dir.units(0, &["import", "all"]))["added"], 0),
        }
        assert_eq!(names(&dir, 0), RUNS, "{way} {hurt}");
        if way != "put" {
            expect_restored(&dir, 0, "all", "restored");
        }
        dir.expect(0, &["get", "b--1", "--run", hurt]);
        dir.expect(0, &["restore", "--tree", "once more"]);
    }
}

/// A run whose record is damaged was shown under the canonical name of its instant, also where another run had it. A restore
/// then wrote both into one directory, the damaged one over the intact one; no command could ask for either; and `runs` said
/// nothing of it.
#[test]
fn a_run_whose_record_is_damaged_comes_back_beside_the_one_of_its_instant() {
    let dir = Dir::new();
    tree(&dir, "all", &RUNS, |number| format!("b--{number}"));
    dir.import(0, &dir.path("all"));
    let start = damage_record(&dir, RUNS[1]);
    let spare = "20240115T140000z";
    let output = dir.run(&["runs"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains(&format!("data/0000000001.seg at {start}: ")) && said.contains("checksum"),
        "{said}"
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains(spare));
    let units = dir.units(1, &["runs"]);
    let errors = of_type(&units, "error");
    assert_eq!((errors.len(), &errors[0]["seg"], &errors[0]["off"]), (1, &1.into(), &start.into()));
    assert_eq!(names(&dir, 1), [RUNS[0], spare, RUNS[2]]);
    for (run, code) in [(RUNS[0], 0), (spare, 1)] {
        dir.expect(code, &["ls", run]);
        let expect = if run == spare { RUNS[1] } else { run };
        let found = dir.expect(0, &["get", "b--1", "--run", run]);
        assert!(String::from_utf8_lossy(&found).contains(expect), "{run}");
    }
    let output = dir.run(&["restore", "--tree", "out"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains(&format!("data/0000000001.seg at {start}: ")) && !said.contains("decode"),
        "{said}"
    );
    for (from, to) in [(RUNS[0], RUNS[0]), (RUNS[1], spare), (RUNS[2], RUNS[2])] {
        for number in [1, 2] {
            let file =
                |tree: &str, run: &str| dir.path(tree).join(format!("opencti_data/{run}/a--{number}.json"));
            assert_eq!(fs::read(file("all", from)).unwrap(), fs::read(file("out", to)).unwrap());
        }
    }
    dir.expect(1, &["restore", "--bundles", "-"]);
}
