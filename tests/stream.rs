//! Manifest, check and repair as streams: the scenarios S1 to S24, each named in its tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{Dir, STORE_ID, of_type, text};

mod consumer;
mod damage;
mod healthy;
mod mend;
mod pace;
mod record;
mod resume;
mod schema;
mod stop;

/// Where a record lies.
type At = (u64, u64);

/// The name of a run, by number.
fn run(number: u32) -> String {
    format!("20240101T{:02}{:02}00Z", number / 60, number % 60)
}

/// The id of an object, by number.
fn id(number: u32) -> String {
    format!("malware--{number:08x}-1111-4111-8111-111111111111")
}

/// Writes a run of a backup tree: objects with these numbers.
fn write_run(tree: &Path, at: u32, objects: Range<u32>, more: &str) {
    let folder = tree.join("opencti_data").join(run(at));
    fs::create_dir_all(&folder).unwrap();
    for number in objects {
        let id = id(number);
        let file = format!(
            r#"{{"type": "bundle", "objects": [{{"type": "malware", "id": "{id}", "name": "{at} {more}"}}]}}"#
        );
        fs::write(folder.join(format!("{id}.json")), file).unwrap();
    }
}

/// Imports one more run, which gets a segment of its own.
fn import_run(dir: &Dir, at: u32, objects: Range<u32>) {
    write_run(&dir.path("tree"), at, objects, "");
    let tree = dir.path("tree");
    dir.expect(0, &["import", text(&tree), "--store-id", STORE_ID, "--compression", "none", "-q"]);
}

/// A store of as many segments as runs, each with as many objects, that are the same in each run.
fn store(segments: u32, objects: u32) -> Dir {
    let dir = Dir::new();
    (1..=segments).for_each(|at| import_run(&dir, at, 0..objects));
    assert_eq!(dir.segments().len(), usize::try_from(segments).unwrap());
    dir
}

/// The path of a segment.
fn segment(dir: &Dir, number: u64) -> PathBuf {
    dir.store().join(format!("data/{number:010}.seg"))
}

/// Changes bytes of a file.
fn change(path: &Path, at: u64, change: impl Fn(&mut [u8])) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes[usize::try_from(at).unwrap()..]);
    fs::write(path, bytes).unwrap();
}

/// The place of the middle object of a segment.
fn middle(dir: &Dir, number: u64) -> At {
    let manifest = dir.units(0, &["manifest"]);
    let objects: Vec<At> =
        of_type(&manifest, "object").into_iter().map(place).filter(|(seg, _)| *seg == number).collect();
    objects[objects.len() / 2]
}

/// Damages the payload of the middle object of a segment; returns where it lies.
fn damage(dir: &Dir, number: u64) -> At {
    let at = middle(dir, number);
    damage_at(dir, at);
    at
}

fn damage_at(dir: &Dir, at: At) {
    change(&segment(dir, at.0), at.1 + 60, |bytes| bytes[0] ^= 1);
}

/// Takes the index away: the log alone has to tell.
fn remove_index(dir: &Dir) {
    for path in fs::read_dir(dir.store()).unwrap().map(|entry| entry.unwrap().path()) {
        if path.file_name().unwrap().to_str().unwrap().starts_with("index.") {
            fs::remove_file(path).unwrap();
        }
    }
}

fn place(unit: &Value) -> At {
    (unit["seg"].as_u64().unwrap(), unit["off"].as_u64().unwrap())
}

/// The units of all runs in a file, those that were cut off as well.
fn units_of(bytes: &[u8]) -> Vec<Value> {
    let begin = r#"{"v":1,"type":"begin","seq":0,"#;
    let text = String::from_utf8_lossy(bytes).replace(begin, &format!("\n{begin}"));
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The last state of each place that results tell of.
fn states(units: &[Value]) -> BTreeMap<At, String> {
    let results = of_type(units, "result").into_iter().filter(|unit| unit["off"].is_u64());
    results.map(|unit| (place(unit), unit["state"].as_str().unwrap().to_owned())).collect()
}

/// The segments that a stream tells of.
fn segments_of(units: &[Value]) -> BTreeSet<u64> {
    of_type(units, "segment").into_iter().map(|unit| unit["seg"].as_u64().unwrap()).collect()
}

/// The last unit.
fn end(units: &[Value]) -> &Value {
    &units[units.len() - 1]
}

/// A stream without what differs from run to run.
fn without_chance(units: &[Value]) -> Vec<Value> {
    let mut units = units.to_vec();
    for unit in &mut units {
        let fields = unit.as_object_mut().unwrap();
        fields.retain(|name, _| !["run", "time", "digest"].contains(&name.as_str()));
    }
    units
}

/// Imports a run into a store that has an identity of its own.
fn import_run_as(dir: &Dir, at: u32, objects: Range<u32>) {
    write_run(&dir.path("tree"), at, objects, "");
    dir.expect(0, &["import", text(&dir.path("tree")), "-q"]);
}
