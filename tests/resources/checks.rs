//! The memory that manifest, check and repair take, which is not to grow with the records.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use stix_store::Compression;

use super::{figure, figures, generate, number_of, start};

/// Runs the program to its end, and returns the most memory seen that is no part of a file, in bytes.
fn peak_without_files(args: &[&str], code: i32) -> u64 {
    let mut child = start(args);
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(figure(&figures(&child, "status"), "RssAnon:").unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(child.wait().unwrap().code(), Some(code), "{args:?}");
    peak
}

/// Most bytes by which three times the records, or more, may raise a peak: what is full only with the larger store.
const MORE_BYTES_MAX: u64 = 10 << 20;
/// The same of a repair of damaged segments: half a million of their records, and the records of one segment.
const MORE_BYTES_OF_DAMAGE_MAX: u64 = 40 << 20;

/// What has become of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Its config is lost: no more than a reason to repair it.
    Sound,
    /// Each segment has a wrong byte.
    Damaged,
}

#[expect(clippy::disallowed_methods, reason = "the damage does not go through the store")]
fn befall(store: &str, fate: Fate, has_index: bool) {
    for file in std::fs::read_dir(store).unwrap().map(Result::unwrap) {
        if !has_index && file.file_name().to_str().unwrap().starts_with("index.") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    if fate == Fate::Sound {
        return std::fs::write(format!("{store}/config"), "nothing").unwrap();
    }
    for file in std::fs::read_dir(format!("{store}/data")).unwrap().map(Result::unwrap) {
        let mut bytes = std::fs::read(file.path()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(file.path(), bytes).unwrap();
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the results of a check are no part of the store")]
fn s17_the_memory_of_manifest_check_and_repair_does_not_grow_with_the_records() {
    // A repair made the index anew in memory: 6.6 MB for 10,000 snapshots, 226 MB for a million. Later a check and a repair
    // of a log without an index still held an entry for each record, and a repair what the index had on all damaged segments:
    // 101 MB for 300,000 with one wrong byte in each of five segments.
    let dir = tempfile::tempdir().unwrap();
    let path = |name: String| dir.path().join(name).to_str().unwrap().to_owned();
    let peaks = |snapshots: u64, fate: Fate, has_index: bool| {
        let (store, found) = (path(format!("store-{snapshots}")), path(format!("found-{snapshots}")));
        generate::store(Path::new(&store), snapshots, Compression::None).unwrap();
        befall(&store, fate, has_index);
        let list = peak_without_files(&["-q", "-s", &store, "manifest", "--json"], 1);
        let check = peak_without_files(&["-q", "-s", &store, "check", "--all", "--json"], 1);
        let mut results = Command::new(env!("CARGO_BIN_EXE_store"));
        let results = results.args(["-q", "-s", &store, "check", "--json"]).env_clear();
        std::fs::write(&found, results.output().unwrap().stdout).unwrap();
        let code = i32::from(fate == Fate::Damaged);
        let repair = peak_without_files(&["-q", "-s", &store, "repair", "--from", &found], code);
        peak_without_files(&["-q", "-s", &store, "check"], 0);
        std::fs::remove_dir_all(&store).unwrap();
        [("manifest", list), ("check", check), ("repair", repair)]
    };
    // More than a replay holds in memory.
    let few = 40_000;
    let many = number_of("RESOURCES_SNAPSHOTS", 3 * few);
    for (fate, has_index) in
        [(Fate::Sound, true), (Fate::Sound, false), (Fate::Damaged, true), (Fate::Damaged, false)]
    {
        let all = peaks(few, fate, has_index).into_iter().zip(peaks(many, fate, has_index));
        for ((name, less), (_, more)) in all {
            let index = if has_index { "with an index" } else { "without one" };
            println!(
                "{fate:?}, {index}: {name}: {} kB for {few} snapshots, {} kB for {many}",
                less / 1024,
                more / 1024
            );
            let is_of_damage = name == "repair" && fate == Fate::Damaged;
            let max = if is_of_damage { MORE_BYTES_OF_DAMAGE_MAX } else { MORE_BYTES_MAX };
            assert!(more.saturating_sub(less) <= max, "{name}: {} more bytes", more.saturating_sub(less));
        }
    }
}
