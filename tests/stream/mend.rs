//! S20, S21, S22: repairing what a check has named.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use stix_store::{Body, CreateOptions, Put, PutKind, Store, WriterOptions};

use super::{change, damage, id, run, segment, store, write_run};
use crate::common::{Dir, instant, of_type, read_tree, sample, text};

/// Checks, and returns the file with the results.
fn results(dir: &Dir, code: i32) -> PathBuf {
    let file = dir.path("results");
    fs::write(&file, dir.expect(code, &["--json", "check"])).unwrap();
    file
}

/// Of each `repair` unit: `pre`, `action`, `ok`, `post`.
fn repairs(units: &[Value]) -> Vec<Value> {
    let fields = |unit: &&Value| json!([unit["pre"], unit["action"], unit["ok"], unit["post"]]);
    of_type(units, "repair").iter().map(fields).collect()
}

#[test]
fn s20_what_was_replaced_since_is_looked_at_again_and_nothing_is_lost() {
    let dir = store(3, 10);
    let at = damage(&dir, 2);
    let file = results(&dir, 1);
    // The same file of the same run with other bytes: a newer import replaces the damaged object.
    write_run(&dir.path("tree"), 2, 0..10, "newer");
    dir.expect(0, &["import", text(&dir.path("tree")), "-q"]);
    let units = dir.units(0, &["repair", "--from", text(&file)]);
    assert!(of_type(&units, "lost").is_empty(), "{units:#?}");
    assert_eq!(repairs(&units), [json!(["corrupt", "salvage", true, "ok"])]);
    assert_eq!(of_type(&units, "repair")[0]["seg"], at.0);
    dir.expect(0, &["check", "--level", "content"]);
    let newest = String::from_utf8(dir.expect(0, &["get", &id(5), "--run", &run(2)])).unwrap();
    assert!(newest.contains("newer"), "{newest}");
}

#[test]
fn s21_the_same_results_a_second_time_change_nothing() {
    let dir = store(3, 10);
    damage(&dir, 2);
    let original = fs::read(segment(&dir, 2)).unwrap();
    let file = results(&dir, 1);
    let first = dir.units(1, &["repair", "--from", text(&file)]);
    assert_eq!(repairs(&first), [json!(["corrupt", "salvage", true, "ok"])]);
    let kept = of_type(&first, "repair")[0]["quarantine"].as_str().unwrap();
    assert!(fs::read(dir.store().join(kept).join("0000000002.seg")).unwrap() == original);
    let before = read_tree(&dir.store());
    let again = dir.units(0, &["repair", "--from", text(&file)]);
    assert_eq!(repairs(&again), [json!(["ok", "none", true, "ok"])]);
    let after = read_tree(&dir.store());
    assert!(before.keys().eq(after.keys()));
    for (path, entry) in &before {
        assert!(after[path].bytes == entry.bytes, "{} has other bytes", path.display());
    }
    let healthy = results(&dir, 0);
    assert!(repairs(&dir.units(0, &["repair", "--from", text(&healthy)])).is_empty());
}

#[test]
fn s22_a_lost_object_comes_from_the_source_or_an_older_one_answers_or_it_stays_lost() {
    let lost = |more: &[&str], code: i32| {
        let dir = store(3, 10);
        damage(&dir, 3);
        let file = results(&dir, 1);
        let args = [&["repair", "--from", text(&file)], more].concat();
        let units = dir.units(code, &args);
        let lost = of_type(&units, "lost")[0].clone();
        dir.expect(0, &["check", "--level", "content"]);
        (dir, lost)
    };
    let (dir, unit) = lost(&[], 1);
    assert_eq!(
        (&unit["outcome"], &unit["action"], &unit["ok"]),
        (&"lost".into(), &"declare_lost".into(), &false.into())
    );
    let name = unit["id"].as_str().unwrap().to_owned();
    dir.expect(5, &["get", &name, "--run", &run(3)]);
    dir.expect(5, &["get", &name]);
    let (dir, unit) = lost(&["--accept-older"], 1);
    assert_eq!((&unit["outcome"], &unit["action"]), (&"older".into(), &"accept_older".into()));
    let older = String::from_utf8(dir.expect(0, &["get", &name])).unwrap();
    assert!(older.contains("\"2 \""), "{older}");
    let tree = Dir::new();
    write_run(&tree.path("tree"), 3, 0..10, "");
    let (dir, unit) = lost(&["--source", text(&tree.path("tree"))], 0);
    assert_eq!(
        (&unit["outcome"], &unit["action"], &unit["post"]),
        (&"healed".into(), &"reput_from_source".into(), &"ok".into())
    );
    let same = String::from_utf8(dir.expect(0, &["get", &name])).unwrap();
    assert!(same.contains("\"3 \""), "{same}");
}

/// The whole way of an operator: check to a file, repair from that file and the backup, check again.
#[test]
fn a_damaged_copy_of_a_real_store_is_healed_from_its_results_and_its_source() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let manifest = dir.units(0, &["manifest"]);
    let objects = of_type(&manifest, "object");
    for unit in objects.iter().step_by(40) {
        let at = unit["off"].as_u64().unwrap() + 70;
        change(&segment(&dir, unit["seg"].as_u64().unwrap()), at, |bytes| bytes[0] ^= 0x55);
    }
    let file = results(&dir, 1);
    let bad = super::units_of(&fs::read(&file).unwrap());
    assert_eq!(of_type(&bad, "result").len(), objects.len().div_ceil(40));
    let units = dir.units(0, &["repair", "--from", text(&file), "--source", text(&sample())]);
    assert!(of_type(&units, "lost").iter().all(|unit| unit["outcome"] == "healed"));
    dir.expect(0, &["check", "--level", "content"]);
    let healed = dir.units(0, &["manifest"]);
    let keys = |units: &[Value]| {
        let objects = of_type(units, "object").into_iter();
        objects
            .map(|unit| (unit["key"].to_string(), unit["path"].clone()))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(keys(&healed), keys(&manifest));
}

/// A payload whose bytes hold and that is no backup file: only a library user can have put it. The repair, which is about bytes,
/// said that nothing was wrong with it.
#[test]
fn what_no_repair_can_change_is_said_to_be_so() {
    let dir = Dir::new();
    let store = Store::create(dir.store(), &CreateOptions::default()).unwrap();
    // A child that another test has just forked may hold the lock of the creation for a moment.
    let options = WriterOptions { lock_wait: std::time::Duration::from_secs(60), ..WriterOptions::default() };
    let mut writer = store.writer(&options).unwrap();
    let name = run(1);
    let (key, _) = writer.put_run(instant(&name), &name, &[]).unwrap();
    let (kind, body) = (PutKind::Snapshot, Body::Raw(b"[]"));
    let name = id(1);
    let put = Put { name: name.as_bytes(), run: key, kind, meta: b"\x80", object: 0..2, body };
    writer.put(&put).unwrap();
    writer.commit().unwrap();
    writer.close().unwrap();
    dir.expect(0, &["check"]);
    let file = dir.path("results");
    fs::write(&file, dir.expect(1, &["--json", "check", "--level", "content"])).unwrap();
    let units = dir.units(1, &["repair", "--from", text(&file)]);
    assert_eq!(repairs(&units), [json!(["corrupt", "none", false, "corrupt"])]);
    dir.expect(1, &["check", "--level", "content", "--repair"]);
}

#[test]
fn check_with_repair_tells_the_state_before_and_after() {
    let dir = store(2, 10);
    damage(&dir, 1);
    let units = dir.units(1, &["check", "--repair"]);
    assert_eq!(repairs(&units), [json!(["corrupt", "salvage", true, "ok"])]);
    assert_eq!(super::end(&units)["known_bad"], 0);
    let order: Vec<&str> = units.iter().map(|unit| unit["type"].as_str().unwrap()).collect();
    assert!(
        order.iter().position(|kind| *kind == "repair") > order.iter().rposition(|kind| *kind == "segment")
    );
    dir.expect(0, &["check", "--repair"]);
}
