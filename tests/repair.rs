//! `store repair` and `check --repair` as a user runs them: exit codes, what is told, and what is left behind.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::common::{Dir, of_type, read_tree, sample, text};

/// An id with eleven snapshots; the newest is in the first run of these, the one before it in the second.
const ID: &str = "malware--d05f7357-4cbe-47ea-bf83-b8604226d533";
const RUN: &str = "20250506T140000Z";

/// The sample in a store whose newest snapshot of an id is damaged.
fn damaged() -> Dir {
    let dir = Dir::new();
    dir.import(3, &sample());
    let units = dir.units(0, &["get", ID]);
    let snapshot = of_type(&units, "snapshot")[0].clone();
    assert_eq!(snapshot["path"][0], RUN);
    let at = usize::try_from(snapshot["off"].as_u64().unwrap()).unwrap() + 300;
    let path = dir.store().join(format!("data/{:010}.seg", snapshot["seg"].as_u64().unwrap()));
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    dir
}

fn said(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

fn stats(dir: &Dir) -> Value {
    of_type(&dir.units(0, &["stats"]), "stats")[0].clone()
}

#[test]
fn a_repair_with_losses_says_so_once_and_stats_goes_on_saying_it() {
    let dir = damaged();
    let before = read_tree(&dir.store());
    dir.expect(1, &["check"]);
    let told = said(&dir.expect(1, &["repair", "--dry-run"]));
    assert!(told.contains(&format!("lost: {RUN}/{ID}.json")), "{told}");
    assert!(before == read_tree(&dir.store()), "a dry run writes nothing");

    let units = dir.units(1, &["repair"]);
    let lost = of_type(&units, "lost");
    assert_eq!(lost.len(), 1);
    assert_eq!(
        (&lost[0]["id"], &lost[0]["run"], &lost[0]["outcome"]),
        (&ID.into(), &RUN.into(), &"lost".into())
    );
    let evidence = of_type(&units, "repair")[0]["evidence"].as_str().unwrap().to_owned();
    let kept = fs::read(dir.store().join(&evidence).join("0000000001.seg")).unwrap();
    let original = before.iter().find(|(path, _)| path.ends_with("0000000001.seg")).unwrap();
    assert!(kept == original.1.bytes, "the original is kept as it was");
    let report: Value =
        serde_json::from_slice(&fs::read(dir.store().join(&evidence).join("report.json")).unwrap()).unwrap();
    assert_eq!(report["lost"][0]["id"], ID);

    dir.expect(0, &["check"]);
    let said = said(&dir.expect(0, &["repair"]));
    assert!(said.contains("nothing to repair"), "{said}");
    let stats = stats(&dir);
    assert_eq!((&stats["lost"], &stats["evidence"][0]["path"]), (&1.into(), &evidence.as_str().into()));
    let plain = String::from_utf8(dir.expect(0, &["stats"])).unwrap();
    assert!(plain.contains(&format!("1; set aside: {evidence}")), "{plain}");
    let refused = dir.run(&["get", ID]);
    assert_eq!(refused.status.code(), Some(5));
    let refused = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.contains(&format!("was lost in run {RUN}")), "{refused}");
    assert!(dir.expect(0, &["get", ID, "--at", "20250101T000000Z"]).starts_with(b"{"));
}

#[test]
fn a_backup_tree_heals_what_it_still_has() {
    let dir = damaged();
    let units = dir.units(0, &["repair", "--source", text(&sample())]);
    assert_eq!(of_type(&units, "lost")[0]["outcome"], "healed");
    dir.expect(0, &["check", "--level", "content"]);
    assert_eq!(stats(&dir)["lost"], 0);
    dir.expect(0, &["restore", "--tree", "out"]);
    let intact = Dir::new();
    intact.import(3, &sample());
    intact.expect(0, &["restore", "--tree", "out"]);
    let below = |root: PathBuf| read_tree(&root.join("opencti_data"));
    assert!(below(dir.path("out")) == below(intact.path("out")), "byte for byte");
}

#[test]
fn a_tree_heals_a_store_that_has_lost_its_whole_log() {
    let dir = Dir::new();
    dir.import(3, &sample());
    fs::remove_file(dir.store().join("data/0000000001.seg")).unwrap();
    let units = dir.units(0, &["repair", "--source", text(&sample())]);
    assert!(of_type(&units, "lost").len() > 300);
    dir.expect(0, &["check", "--level", "content"]);
    dir.expect(0, &["restore", "--tree", "out"]);
    let intact = Dir::new();
    intact.import(3, &sample());
    intact.expect(0, &["restore", "--tree", "out"]);
    let below = |root: PathBuf| read_tree(&root.join("opencti_data"));
    assert!(below(dir.path("out")) == below(intact.path("out")), "byte for byte");
}

/// [44]: the whole directory of the log is gone. Without an index a store was empty then, and yet took nothing in.
#[test]
fn a_store_without_its_data_directory_says_what_is_lost_or_begins_again() {
    for indexed in [true, false] {
        let dir = Dir::new();
        dir.import(3, &sample());
        fs::remove_dir_all(dir.store().join("data")).unwrap();
        if indexed {
            dir.expect(1, &["check"]);
            dir.expect(1, &["import", text(&sample())]);
            let units = dir.units(1, &["repair"]);
            assert!(of_type(&units, "lost").len() > 300);
        } else {
            for entry in fs::read_dir(dir.store()).unwrap().map(|entry| entry.unwrap().path()) {
                if ["index.", "hints."].iter().any(|name| text(&entry).contains(name)) {
                    fs::remove_file(entry).unwrap();
                }
            }
        }
        dir.expect(0, &["check"]);
        dir.expect(0, &["repair"]);
        // What was lost comes back from the tree, though an earlier import has seen all of its files.
        dir.expect(3, &["import", text(&sample())]);
        dir.expect(0, &["check", "--level", "content"]);
        let units = dir.units(0, &["restore", "--plan"]);
        assert_eq!(of_type(&units, "object").len(), 316, "indexed {indexed}");
    }
}

#[test]
fn check_repairs_what_it_finds_if_asked_to() {
    let dir = damaged();
    let told = said(&dir.expect(1, &["check", "--repair"]));
    assert!(told.contains("repaired: no damage found any more"), "{told}");
    assert!(said(&dir.expect(0, &["check", "--repair"])).contains("no damage found"));
    // Nothing is lost by a damaged index.
    let index = fs::read_dir(dir.store()).unwrap().map(|entry| entry.unwrap().path());
    let index = index.into_iter().find(|path| text(path).contains("/index.")).unwrap();
    let mut bytes = fs::read(&index).unwrap();
    bytes[4100] ^= 1;
    fs::write(&index, bytes).unwrap();
    dir.expect(1, &["check"]);
    let units = dir.units(0, &["check", "--repair"]);
    assert!(of_type(&units, "lost").is_empty() && of_type(&units, "repair").len() == 1);
    dir.expect(0, &["check"]);
}

#[test]
fn the_older_snapshot_answers_if_that_is_accepted() {
    let dir = damaged();
    dir.expect(1, &["repair", "--accept-older"]);
    let units = dir.units(0, &["get", ID]);
    assert_ne!(of_type(&units, "snapshot")[0]["path"][0], RUN);
    assert_eq!(stats(&dir)["lost"], 1);
    dir.expect(0, &["check"]);
    dir.expect(2, &["repair", "--dry-run", "--source", "x"]);
    dir.expect(2, &["repair", "--source", "nowhere"]);
}

#[test]
fn a_run_whose_record_was_lost_is_restored_without_a_complaint() {
    // A repair wrote the run's record anew without its time, and each restore after that ended with 1: the record did not decode.
    let dir = Dir::new();
    dir.import(3, &sample());
    let restored = |name: &str| {
        dir.expect(0, &["restore", "--tree", name]);
        let tree = read_tree(&dir.path(name));
        tree.into_iter().map(|(path, entry)| (path, entry.bytes)).collect::<Vec<_>>()
    };
    let before = restored("before");
    let dump = said(&dir.expect(0, &["dump", "1"]));
    let mut place = "";
    let of_run = |line: &&str| line.trim().starts_with("kind") && line.ends_with(" run");
    for line in dump.lines().take_while(|line| !of_run(line)) {
        place = if line.contains("  PUT, ") { line } else { place };
    }
    let mut numbers = place.split([' ', ',']).filter_map(|word| word.parse::<usize>().ok());
    let end = numbers.next().unwrap() + numbers.next().unwrap();
    let path = dir.store().join("data/0000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[end - 1] ^= 1;
    fs::write(&path, bytes).unwrap();
    let units = dir.units(1, &["check", "--repair"]);
    assert_eq!(of_type(&units, "lost").len(), 1);
    dir.expect(0, &["check", "--level", "content"]);
    assert!(restored("after") == before, "the files are the same");
}
