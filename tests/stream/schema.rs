//! What the program writes is what the schema says it writes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{change, damage, middle, remove_index, segment, store};
use crate::common::{Dir, sample, text};

fn schema() -> Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/stream/schema-1.json");
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// Every type of unit that there is.
const ALL: [&str; 24] = [
    "begin",
    "object",
    "result",
    "segment",
    "checkpoint",
    "repair",
    "lost",
    "error",
    "end",
    "file",
    "snapshot",
    "run",
    "missing",
    "bundle",
    "compact",
    "stats",
    "line",
    "unknown",
    "broken",
    "done",
    "timing",
    "why",
    "difference",
    "edit",
];

#[test]
fn every_unit_of_every_command_is_as_the_schema_says() {
    let schema = schema();
    let mut seen = BTreeSet::new();
    let mut hold = |dir: &Dir, args: &[&str]| {
        let output = dir.run(&[&["--json"], args].concat());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let unit: Value = serde_json::from_str(line).unwrap();
            assert!(schema.is_valid(&unit), "{args:?}: {line}");
            assert!(line.len() < 64 << 10 || unit["type"] == "bundle" || args[0] == "get");
            let is_scan = ["check", "manifest"].contains(&args[0]) && unit["type"] == "begin";
            assert!(!is_scan || unit["gen"].is_object() || output.status.code() == Some(2), "{line}");
            seen.insert(unit["type"].as_str().unwrap().to_owned());
        }
    };
    let dir = store(3, 12);
    let id = super::id(1);
    hold(&dir, &["import", "--timings", text(&sample())]);
    for args in [
        &["manifest"][..],
        &["manifest", "--shard", "1/2", "--max-duration", "0"],
        &["check"],
        &["check", "--all", "--level", "content"],
        &["check", "--level", "index", "--shard", "2/3"],
        &["runs"],
        &["ls", "20240101T000100Z"],
        &["get", &id],
        &["get", "nothing"],
        &["history", &id],
        &["stats"],
        &["dump", "1"],
        &["restore", "--plan", "--resolve", "closure"],
        &["restore", "--bundles", "-"],
        &["explain", "malware--d05f7357-4cbe-47ea-bf83-b8604226d533"],
        &["diff", "malware--d05f7357-4cbe-47ea-bf83-b8604226d533"],
        &["diff", "20180117T125700Z", "20180418T175900Z"],
        &["delete", &id],
        &["compact", "--threshold", "1"],
        &["check", "--resume", "nowhere"],
    ] {
        hold(&dir, args);
    }
    let file = dir.path("results");
    fs::write(&file, dir.run(&["--json", "check", "--max-duration", "0"]).stdout).unwrap();
    hold(&dir, &["check", "--resume", text(&file)]);
    damaged(&mut hold);
    assert_eq!(seen, ALL.map(str::to_owned).into());
}

/// Stores with damage of each kind, checked and repaired.
fn damaged(hold: &mut dyn FnMut(&Dir, &[&str])) {
    for kind in 0..6 {
        let dir = store(3, 12);
        match kind {
            0 => fs::remove_file(segment(&dir, 2)).unwrap(),
            1 => change(&segment(&dir, 2), 0, |bytes| bytes[0] ^= 1),
            2 => {
                // A head that nothing is left of, and no index that knows whose it was.
                let at = middle(&dir, 2);
                change(&segment(&dir, 2), at.1, |bytes| bytes[..45].fill(0));
                remove_index(&dir);
            }
            3 => fs::write(dir.store().join("config"), "x").unwrap(),
            4 => {
                let bytes = fs::read(segment(&dir, 3)).unwrap();
                fs::write(segment(&dir, 3), &bytes[..bytes.len() / 2]).unwrap();
                remove_index(&dir);
                fs::write(dir.store().join("data/stray"), "x").unwrap();
            }
            _ => {
                damage(&dir, 2);
            }
        }
        let file = dir.path("results");
        fs::write(&file, dir.run(&["--json", "check"]).stdout).unwrap();
        for args in [
            &["check", "--all"][..],
            &["manifest"],
            &["repair", "--dry-run"],
            &["repair", "--from", text(&file)],
            &["repair", "--from", text(&file)],
            &["check", "--repair"],
            &["check"],
        ] {
            hold(&dir, args);
        }
    }
}

#[test]
fn the_schema_does_not_take_everything() {
    let schema = schema();
    let good = json!({"v": 1, "type": "segment", "seq": 3, "seg": 1, "bytes": 2, "records": 3, "live": 1, "ok": 1,
        "bad": 0, "sealed": true, "state": "ok"});
    assert!(schema.is_valid(&good));
    for (name, value) in [
        ("v", json!(2)),
        ("state", json!("fine")),
        ("seg", json!(-1)),
        ("bytes", json!("2")),
        ("more", json!(0)),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        assert!(!schema.is_valid(&bad), "{name}");
    }
    let mut bad = good.clone();
    bad.as_object_mut().unwrap().remove("ok");
    assert!(!schema.is_valid(&bad) && !schema.is_valid(&json!({})) && !schema.is_valid(&json!([])));
}
