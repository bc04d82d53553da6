//! S2 to S6, S23: what damage looks like.

use std::fs;
use std::path::PathBuf;

use super::{change, damage, end, middle, place, remove_index, segment, segments_of, states, store};
use crate::common::{Dir, of_type, read_tree, text};

/// Bytes of a record before its data.
const HEAD_LEN: u64 = 45;

#[test]
fn s2_a_flipped_byte_of_each_field_costs_exactly_its_record() {
    let dir = store(3, 20);
    let at = middle(&dir, 2);
    let healthy = states(&dir.units(0, &["check", "--all"]));
    let intact = fs::read(segment(&dir, 2)).unwrap();
    for (field, offset) in
        [("head crc", 0), ("size", 4), ("tag", 8), ("key", 9), ("data crc", 41), ("payload", HEAD_LEN + 20)]
    {
        change(&segment(&dir, 2), at.1 + offset, |bytes| bytes[0] ^= 0x10);
        let units = dir.units(1, &["check", "--all"]);
        let found = states(&units);
        let mut expect = healthy.clone();
        expect.insert(at, "corrupt".to_owned());
        assert_eq!(found, expect, "{field}");
        assert_eq!(segments_of(&units).len(), 3, "{field}");
        assert_eq!(of_type(&units, "segment")[1]["state"], "corrupt", "{field}");
        assert_eq!(
            (&end(&units)["status"], &end(&units)["known_bad"]),
            (&"complete".into(), &1.into()),
            "{field}"
        );
        fs::write(segment(&dir, 2), &intact).unwrap();
    }
    change(&segment(&dir, 2), 0, |bytes| bytes[0] ^= 0x10);
    let units = dir.units(1, &["check"]);
    let bad = of_type(&units, "result").into_iter().filter(|unit| unit["severity"] == "damage");
    assert!(bad.into_iter().all(|unit| unit["seg"] == 2), "{units:#?}");
}

/// Objects are snapshots, says the schema; deletions that are gone, and damaged records of runs, were counted among them and
/// shown as affected snapshots whose id nobody can read.
#[test]
fn objects_and_what_is_affected_are_snapshots() {
    let dir = store(2, 5);
    let at = middle(&dir, 1);
    dir.expect(0, &["delete", &super::id(1)]);
    fs::remove_file(segment(&dir, 3)).unwrap();
    // The first record of a segment is that of its run.
    change(&segment(&dir, 1), 96 + HEAD_LEN + 2, |bytes| bytes[0] ^= 1);
    let units = dir.units(1, &["check"]);
    let counts = &end(&units)["counts"];
    assert_eq!((&counts["objects"], &counts["ok"]), (&8.into(), &8.into()), "{counts}");
    let said = String::from_utf8(dir.expect(1, &["check"])).unwrap();
    assert!(!said.contains("affected") && said.contains("damaged: "), "{said}");
    super::damage_at(&dir, at);
    let units = dir.units(1, &["check"]);
    let counts = &end(&units)["counts"];
    assert_eq!((&counts["objects"], &counts["ok"]), (&8.into(), &7.into()), "{counts}");
}

#[test]
fn s3_a_missing_segment_is_missing_and_the_others_are_checked() {
    let whole = store(3, 10);
    for number in 1..=3 {
        let path = segment(&whole, number);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let units = whole.units(1, &["check"]);
        let missing = of_type(&units, "result");
        assert!(
            missing.iter().any(|unit| unit["state"] == "missing" && unit["seg"] == number),
            "segment {number}: {missing:#?}"
        );
        let told = segments_of(&units);
        assert!((1..=3).all(|other| other == number || told.contains(&other)), "{told:?}");
        fs::write(&path, bytes).unwrap();
        whole.expect(0, &["check"]);
    }
}

fn index(dir: &Dir) -> PathBuf {
    let names = fs::read_dir(dir.store()).unwrap().map(|entry| entry.unwrap().path());
    let is_index = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("index.");
    names.into_iter().filter(is_index).max().unwrap()
}

/// A segment that ends behind a COMMIT or behind its header was called good, and what it lacks was told behind that. So with
/// `--record` the next check passed it over, and ended with exit code 0.
#[test]
fn s4_a_segment_that_is_cut_is_truncated_there_and_the_records_before_are_good() {
    let dir = store(2, 3);
    let (path, record) = (segment(&dir, 1), dir.path("record"));
    let whole = fs::read(&path).unwrap();
    let manifest = dir.units(0, &["manifest"]);
    let objects = of_type(&manifest, "object").into_iter().filter(|unit| unit["seg"] == 1);
    let objects: Vec<_> = objects.map(|unit| (place(unit).1, unit["len"].as_u64().unwrap())).collect();
    let (last, len) = objects[2];
    let commit = last + len;
    let end_of = |len: u64| usize::try_from(len).unwrap();
    for cut in (last..u64::try_from(whole.len()).unwrap()).chain([96]) {
        fs::write(&path, &whole[..end_of(cut)]).unwrap();
        let units = dir.units(1, &["check"]);
        let at = if cut >= commit { commit } else { last };
        let states = states(&units);
        let expect = if last < cut && cut < commit { "truncated" } else { "missing" };
        let told: Vec<_> = of_type(&units, "result").into_iter().filter(|unit| unit["off"] == at).collect();
        assert!(cut == 96 || told[0]["state"] == expect, "{cut}: {states:?}");
        let good = objects.iter().filter(|(off, len)| off + len <= cut).count() + 3;
        assert_eq!(end(&units)["counts"]["ok"], good, "{cut}");
        let first = of_type(&units, "segment")[0];
        assert_eq!((&first["seg"], &first["state"]), (&1.into(), &"corrupt".into()), "{cut}");
    }
    for cut in [96, last, commit, commit + 1] {
        fs::write(&path, &whole[..end_of(cut)]).unwrap();
        dir.expect(1, &["check", "--record", text(&record)]);
        dir.expect(1, &["check", "--record", text(&record), "--max-age", "30d"]);
    }
}

#[test]
fn s5_a_bad_index_is_a_mismatch_that_check_leaves_and_repair_builds_anew() {
    let dir = store(3, 10);
    let manifest = |code| {
        let units = dir.units(code, &["manifest"]);
        of_type(&units, "object").into_iter().map(place).collect::<Vec<_>>()
    };
    let objects = manifest(0);
    let intact = fs::read(index(&dir)).unwrap();
    let foreign = Dir::new();
    foreign.expect(0, &["init"]);
    super::import_run_as(&foreign, 1, 0..10);
    let cut = intact[..intact.len() / 2].to_vec();
    let flipped: Vec<u8> =
        intact.iter().enumerate().map(|(at, byte)| if at == 4100 { byte ^ 1 } else { *byte }).collect();
    for (what, bytes) in [("cut", cut), ("flipped", flipped), ("foreign", fs::read(index(&foreign)).unwrap())]
    {
        fs::write(index(&dir), bytes).unwrap();
        let before = read_tree(&dir.store());
        let units = dir.units(1, &["check"]);
        assert!(before == read_tree(&dir.store()), "{what}: check writes nothing");
        let bad: Vec<_> =
            of_type(&units, "result").into_iter().filter(|unit| unit["severity"] == "damage").collect();
        assert!(!bad.is_empty());
        for unit in bad {
            assert_eq!(
                (&unit["state"], &unit["fix"]),
                (&"index_mismatch".into(), &"index".into()),
                "{what}: {unit}"
            );
        }
        dir.expect(0, &["repair"]);
        dir.expect(0, &["check", "--level", "content"]);
        assert_eq!(manifest(0), objects, "{what}");
    }
    // An absent index is no damage: the next writer makes it.
    remove_index(&dir);
    dir.expect(0, &["check"]);
    assert_eq!(manifest(0), objects);
}

#[test]
fn s6_a_size_that_no_record_has_is_damage_and_no_more() {
    let dir = store(3, 20);
    let at = middle(&dir, 2);
    let intact = fs::read(segment(&dir, 2)).unwrap();
    for size in [0, 8, u32::MAX, u32::try_from(intact.len()).unwrap() + 1] {
        change(&segment(&dir, 2), at.1 + 4, |bytes| bytes[..4].copy_from_slice(&size.to_le_bytes()));
        for level in ["crc", "content"] {
            let units = dir.units(1, &["check", "--level", level]);
            assert_eq!(segments_of(&units).len(), 3, "{size} at {level}");
            assert_eq!(states(&units).keys().next(), Some(&at), "{size} at {level}");
        }
        fs::write(segment(&dir, 2), &intact).unwrap();
    }
}

#[test]
fn s23_a_compaction_does_not_wash_damage_away() {
    let dir = store(3, 20);
    let at = damage(&dir, 2);
    dir.expect(0, &["delete", &super::id(3)]);
    dir.expect(1, &["compact", "--threshold", "1"]);
    let units = dir.units(1, &["check"]);
    assert_eq!(states(&units).get(&at).map(String::as_str), Some("corrupt"));
}
