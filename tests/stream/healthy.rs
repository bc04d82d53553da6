//! S1, S7, S16: stores without damage.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use super::{
    end, import_run, place, segment, segments_of, states, store, units_of, without_chance, write_run,
};
use crate::common::{Dir, of_type, read_stream, text};

#[test]
fn s1_a_healthy_store_is_told_from_begin_to_end_and_counts_agree_with_the_manifest() {
    let dir = store(3, 400);
    let check = dir.units(0, &["check", "--all"]);
    let manifest = dir.units(0, &["manifest"]);
    let begin = &check[0];
    assert_eq!(begin["expect"]["segments"], 3);
    assert_eq!(begin["expect"]["live"], 1200);
    assert_eq!((end(&check)["status"].as_str(), &end(&check)["cursor"]), (Some("complete"), &().into()));
    let objects = of_type(&manifest, "object");
    let keys = |units: &[&Value]| {
        units.iter().map(|unit| (place(unit), unit["key"].clone(), unit["path"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&objects),
        keys(&of_type(&check, "result")),
        "each object has its result, in the same order"
    );
    assert!(objects.is_sorted_by_key(|unit| place(unit)));
    for units in [&check, &manifest] {
        let counts = &end(units)["counts"];
        assert_eq!(
            (&counts["objects"], &counts["ok"], &counts["corrupt"]),
            (&1200.into(), &1200.into(), &0.into())
        );
        let sizes = end(units)["stats"]["size_hist"].as_array().unwrap();
        assert_eq!(sizes.iter().map(|class| class[2].as_u64().unwrap()).sum::<u64>(), 1200);
        assert_eq!(end(units)["known_bad"], 0);
    }
    let bytes: u64 = dir.segments().values().map(|bytes| u64::try_from(bytes.len()).unwrap()).sum();
    assert_eq!(end(&check)["counts"]["bytes"], bytes);
    assert_eq!(begin["expect"]["bytes"], bytes);
}

#[test]
fn s1_an_empty_store_and_one_without_objects_have_counts_of_zero() {
    let dir = Dir::new();
    dir.expect(0, &["init"]);
    for command in ["check", "manifest"] {
        let units = dir.units(0, &[command]);
        assert_eq!((units.len(), &end(&units)["counts"]["objects"]), (2, &0.into()), "{command}");
    }
    // Runs without a snapshot: only their own records, and COMMITs.
    for at in 1..=3 {
        write_run(&dir.path("tree"), at, 0..0, "");
        dir.expect(0, &["import", text(&dir.path("tree")), "-q"]);
    }
    for command in ["check", "manifest"] {
        let units = dir.units(0, &[command]);
        assert_eq!(segments_of(&units).len(), 3);
        assert_eq!(
            (&end(&units)["counts"]["objects"], &end(&units)["status"]),
            (&0.into(), &"complete".into())
        );
    }
}

#[test]
fn s7_a_name_that_is_no_segment_s_is_unknown_and_the_rest_is_checked() {
    let dir = store(2, 5);
    let data = dir.store().join("data");
    fs::write(data.join("notes.txt"), "x").unwrap();
    fs::write(data.join(".hidden"), "x").unwrap();
    fs::write(data.join("0000000001.seg.tmp"), "x").unwrap();
    fs::write(data.join(OsStr::from_bytes(b"\xff\xfe.seg")), "x").unwrap();
    fs::create_dir(data.join("0000000077.seg")).unwrap();
    symlink("0000000001.seg", data.join("0000000078.seg")).unwrap();
    let units = dir.units(0, &["check"]);
    let unknown: Vec<_> =
        of_type(&units, "result").into_iter().filter(|unit| unit["file"] != "lock").collect();
    assert_eq!(unknown.len(), 6, "{unknown:#?}");
    for unit in &unknown {
        let expect = if unit["seg"].is_u64() { "orphan" } else { "unknown" };
        assert_eq!((&unit["state"], &unit["severity"]), (&expect.into(), &"notice".into()), "{unit}");
    }
    assert_eq!(end(&units)["counts"]["ok"], 10);
}

#[test]
fn s16_the_number_of_threads_changes_no_unit() {
    let dir = store(4, 60);
    super::damage(&dir, 2);
    for command in [&["check", "--all"][..], &["check", "--level", "content", "--all"], &["manifest"]] {
        let told = |jobs: &str| without_chance(&dir.units(1, &[command, &["--jobs", jobs]].concat()));
        let one = told("1");
        for jobs in ["2", "8", "64", "0"] {
            assert_eq!(told(jobs), one, "{command:?} with {jobs}");
        }
    }
}

#[test]
fn s16_the_parts_together_are_the_whole() {
    let dir = store(5, 20);
    super::damage(&dir, 4);
    let whole = dir.units(1, &["check", "--all"]);
    for of in [2, 3, 7] {
        let (mut results, mut segments, mut bad) = (std::collections::BTreeMap::new(), Vec::new(), 0);
        for part in 1..=of {
            let shard = format!("{part}/{of}");
            let args = ["--json", "check", "--all", "--shard", &shard];
            let units = read_stream(&dir.run(&args).stdout);
            assert_eq!(units[0]["shard"], shard.as_str());
            bad += of_type(&units, "segment").iter().map(|unit| unit["bad"].as_u64().unwrap()).sum::<u64>();
            results.extend(states(&units));
            segments.extend(segments_of(&units));
        }
        segments.sort_unstable();
        assert_eq!(
            (results, segments),
            (states(&whole), segments_of(&whole).into_iter().collect()),
            "of {of}"
        );
        assert_eq!(bad, 1);
    }
}

/// A segment that an index does not list yet, as it is of an earlier commit, was missed by a check of the whole only, and there
/// behind all others.
#[test]
fn s16_the_parts_and_a_resumed_check_miss_a_segment_behind_the_index_as_the_whole_does() {
    let dir = store(2, 5);
    let is_of_index = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("index.") || name.starts_with("hints.")
    };
    let files = || fs::read_dir(dir.store()).unwrap().map(|entry| entry.unwrap().path());
    let old: Vec<_> = files().filter(|path| is_of_index(path)).collect();
    let old: Vec<_> = old.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    (3..=6).for_each(|at| import_run(&dir, at, 0..5));
    files().filter(|path| is_of_index(path)).for_each(|path| fs::remove_file(path).unwrap());
    for (bytes, path) in &old {
        fs::write(path, bytes).unwrap();
    }
    fs::remove_file(segment(&dir, 4)).unwrap();

    let told = |units: &[Value]| -> Vec<String> {
        let mut told: Vec<_> = units.to_vec();
        told.retain(|unit| ["result", "segment"].contains(&unit["type"].as_str().unwrap()));
        for unit in &mut told {
            unit.as_object_mut().unwrap().remove("seq");
        }
        let mut lines: Vec<_> = told.iter().map(ToString::to_string).collect();
        lines.sort_unstable();
        lines
    };
    let whole = dir.run(&["--json", "check", "--all"]).stdout;
    let units = read_stream(&whole);
    assert_eq!(segments_of(&units), (1..=6).collect());
    let missing = of_type(&units, "segment").into_iter().filter(|unit| unit["state"] == "missing");
    assert_eq!(missing.map(|unit| unit["seg"].as_u64()).collect::<Vec<_>>(), [Some(4)]);
    for of in 1..=4 {
        let parts: Vec<_> = (1..=of)
            .flat_map(|part| {
                let shard = format!("{part}/{of}");
                let output = dir.run(&["--json", "check", "--all", "--shard", &shard]);
                read_stream(&output.stdout)
            })
            .collect();
        assert_eq!(told(&parts), told(&units), "of {of}");
    }
    let file = dir.path("cut");
    let ends = of_type(&units, "checkpoint").into_iter().map(|unit| unit["seq"].as_u64().unwrap());
    for end in ends {
        let lines = whole.split_inclusive(|byte| *byte == b'\n').take(usize::try_from(end).unwrap() + 1);
        let mut before: Vec<u8> = lines.flatten().copied().collect();
        let first = units_of(&before);
        before.extend(b"{\"v\":1,\"ty");
        fs::write(&file, &before).unwrap();
        let rest = dir.run(&["--json", "check", "--all", "--resume", text(&file)]).stdout;
        let mut all = told(&[first, read_stream(&rest)].concat());
        // What was found damaged is looked at again.
        all.dedup();
        assert_eq!(all, told(&units), "resumed behind unit {end}");
    }
}
