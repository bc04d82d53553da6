//! The cases that need an import, by number.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use super::{DAYS, bundles, file, ids, lines, pairs, put, refers, store_of, told};
use crate::common::{Dir, of_type, read_tree, text};
use crate::sample::assert_same_tree;

#[test]
fn e01_to_e06_the_command_answers_as_the_connector() {
    let closure = |dir: &Dir| bundles(dir, 0, &["--resolve", "closure"]);
    let dir = store_of(&[&[("m", &["i", "k"])], &[("k", &[])], &[("i", &[])]]);
    assert_eq!(ids(&closure(&dir)), ["i", "k", "m", "k", "i"]);
    let dir = store_of(&[&[("i", &[])], &[("m", &["i"])]]);
    assert_eq!(ids(&closure(&dir)), ["i", "m"]);
    let dir = store_of(&[&[("m", &["i"])], &[("i", &["two"])], &[("i", &["three"])], &[("i", &["four"])]]);
    let out = dir.expect(0, &["restore", "--bundles", "-", "--resolve", "closure"]);
    assert_eq!(lines(&out)[0]["objects"][0]["object_refs"][0], "two");
    let dir = store_of(&[&[("m", &["nowhere"])]]);
    assert_eq!(ids(&closure(&dir)), ["m"]);
    let dir = store_of(&[&[("r1", &["r2"])], &[("r2", &["r3"])], &[("r3", &["r2", "r1"])]]);
    let found = closure(&dir);
    assert_eq!((found[0].1.len(), found[1].1.len(), found[2].1.len()), (3, 2, 1));
    let dir = store_of(&[&[("r", &["m", "i"])], &[("m", &["i"]), ("i", &[])]]);
    assert_eq!(closure(&dir)[0].1, ["i", "m", "r"]);
}

#[test]
fn e12_what_is_no_snapshot_in_a_run_is_listed_and_the_rest_restored() {
    let dir = Dir::new();
    put(&dir.path("tree"), 0, &[("a", &file("a", ""))]);
    let run = dir.path("tree/opencti_data").join(DAYS[0]);
    fs::write(run.join("manifest.txt"), "x").unwrap();
    fs::write(run.join("x.JSON"), file("x", "")).unwrap();
    fs::create_dir(run.join("sub.json")).unwrap();
    symlink("nowhere", run.join("broken.json")).unwrap();
    let units = dir.units(0, &["import", "tree"]);
    let at = |name: &str| format!("{}/{name}", DAYS[0]);
    assert_eq!(
        told(&units),
        pairs(&[
            (&at("manifest.txt"), "not_named_json"),
            (&at("x.JSON"), "not_named_json"),
            (&at("sub.json"), "not_a_file"),
            (&at("broken.json"), "not_a_file"),
        ])
    );
    assert_eq!(ids(&bundles(&dir, 0, &[])), ["a"]);
}

#[test]
fn e13_what_is_no_run_is_listed_and_the_rest_restored() {
    let dir = Dir::new();
    put(&dir.path("tree"), 0, &[("a", &file("a", ""))]);
    let data = dir.path("tree/opencti_data");
    fs::write(data.join("README"), "x").unwrap();
    fs::create_dir(data.join("lost+found")).unwrap();
    fs::write(data.join(DAYS[1]), "a file named like a run").unwrap();
    let units = dir.units(0, &["import", "tree"]);
    assert_eq!(
        told(&units),
        pairs(&[("README", "not_a_directory"), ("lost+found", "not_a_date"), (DAYS[1], "not_a_directory")])
    );
    assert_eq!(ids(&bundles(&dir, 0, &[])), ["a"]);
}

#[test]
fn e14_a_torn_file_is_rejected_by_name_and_everything_else_restored() {
    let whole = file("t", "");
    for (torn, code) in [
        (whole.as_bytes()[..20].to_vec(), "not_json"),
        (Vec::new(), "empty"),
        ([whole.as_bytes(), &[0; 64]].concat(), "not_json"),
        ([whole.as_bytes(), b"garbage"].concat(), "not_json"),
    ] {
        let dir = Dir::new();
        put(&dir.path("tree"), 0, &[("a", &refers("a", &["t"]))]);
        put(&dir.path("tree"), 1, &[("b", &file("b", ""))]);
        put(&dir.path("tree"), 2, &[("c", &file("c", ""))]);
        fs::write(dir.path("tree/opencti_data").join(DAYS[1]).join("t.json"), torn).unwrap();
        let units = dir.units(3, &["import", "tree"]);
        assert_eq!(told(&units), pairs(&[(&format!("{}/t.json", DAYS[1]), code)]));
        assert_eq!(ids(&bundles(&dir, 0, &[])), ["a", "b", "c"]);
    }
}

#[test]
fn e15_what_is_no_backup_of_an_object_is_rejected_and_never_ends_anything() {
    for (bytes, code) in [
        (&b"\xef\xbb\xbf{\"objects\": [{\"id\": \"t\"}]}"[..], "bom"),
        (b"{\"objects\": [{\"id\": \"t\", \"n\": \"\xe9\"}]}", "not_utf8"),
        (b"{\"type\": \"bundle\"}", "no_objects"),
        (b"{\"objects\": [{\"type\": \"tool\"}]}", "object_without_id"),
        (b"{\"objects\": []}", "no_object"),
    ] {
        let dir = Dir::new();
        put(&dir.path("tree"), 0, &[("a", &refers("a", &["t"]))]);
        put(&dir.path("tree"), 1, &[("b", &file("b", ""))]);
        fs::write(dir.path("tree/opencti_data").join(DAYS[1]).join("t.json"), bytes).unwrap();
        let units = dir.units(3, &["import", "tree"]);
        assert_eq!(told(&units), pairs(&[(&format!("{}/t.json", DAYS[1]), code)]));
        let units = dir.units(0, &["restore", "--plan", "--resolve", "closure"]);
        assert_eq!(of_type(&units, "missing")[0]["state"], "absent");
        assert_eq!(ids(&bundles(&dir, 0, &[])), ["a", "b"]);
    }
}

#[test]
fn e16_references_that_are_no_text_are_passed_over_and_the_object_kept() {
    let rest = r#", "created_by_ref": null, "object_refs": null, "a_ref": 5, "b_ref": {}, "c_refs": [null, 7, "x", {}]"#;
    let dir = Dir::new();
    put(&dir.path("tree"), 0, &[("a", &file("a", rest))]);
    put(&dir.path("tree"), 1, &[("x", &file("x", ""))]);
    dir.expect(0, &["import", "tree"]);
    let out = dir.expect(0, &["restore", "--bundles", "-", "--resolve", "closure"]);
    let bundle = &lines(&out)[0];
    assert_eq!(bundle["objects"][0]["id"], "x");
    assert!(bundle["objects"][1]["created_by_ref"].is_null() && bundle["objects"][1]["a_ref"] == 5);
}

#[test]
fn e17_a_list_of_references_that_is_a_text_is_warned_of_and_passed_over() {
    let dir = Dir::new();
    put(&dir.path("tree"), 0, &[("a", &file("a", r#", "object_refs": "malware--x""#))]);
    put(&dir.path("tree"), 1, &[("malware--x", &file("malware--x", "")), ("m", &file("m", ""))]);
    let output = dir.run(&["import", "tree"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("object_refs") && said.contains("a.json"), "{said}");
    assert_eq!(bundles(&dir, 0, &["--resolve", "closure"])[0].1, ["a"]);
}

#[test]
fn e18_references_in_other_places_are_followed_only_on_demand_in_extensions() {
    let rest = r#", "x_some_ref": "x", "extensions": {"e": {"granted_refs": ["g"], "deep": {"created_by_ref": "d"}}},
        "granular_markings": [{"marking_ref": "n"}]"#;
    let dir = Dir::new();
    put(&dir.path("tree"), 0, &[("a", &file("a", rest))]);
    let later = ["x", "g", "d", "n"].map(|id| (id, file(id, "")));
    let later: Vec<(&str, &str)> = later.iter().map(|(id, body)| (*id, body.as_str())).collect();
    put(&dir.path("tree"), 1, &later);
    dir.expect(0, &["import", "tree"]);
    assert_eq!(bundles(&dir, 0, &["--resolve", "closure"])[0].1, ["a"]);
    assert_eq!(bundles(&dir, 0, &["--resolve", "closure", "--extension-refs"])[0].1, ["d", "g", "a"]);
}

#[test]
fn e24_directories_whose_names_are_no_date_are_listed() {
    let dir = Dir::new();
    put(&dir.path("tree"), 0, &[("a", &file("a", ""))]);
    for name in ["20240230T000000Z", "20240115T240000Z"] {
        crate::runs::write(&dir.path("tree"), name, &[("b", &file("b", ""))]);
    }
    let units = dir.units(0, &["import", "tree"]);
    assert_eq!(
        told(&units),
        pairs(&[("20240230T000000Z", "not_a_date"), ("20240115T240000Z", "not_a_date")])
    );
    assert_eq!(ids(&bundles(&dir, 0, &[])), ["a"]);
}

#[test]
fn e25_bytes_come_out_exactly_and_what_is_not_json_is_rejected() {
    let exact =
        r#", "n": 123456789012345678901234567890, "m": 1.10, "k": 1, "k": 2, "s": "\ud800", "e": 1E+5"#;
    let dir = Dir::new();
    put(&dir.path("tree"), 0, &[("a", &file("a", exact))]);
    put(
        &dir.path("tree"),
        1,
        &[("nan", &file("nan", r#", "n": NaN"#)), ("inf", &file("inf", r#", "n": -Infinity"#))],
    );
    let units = dir.units(3, &["import", "tree"]);
    let at = |name: &str| format!("{}/{name}.json", DAYS[1]);
    assert_eq!(told(&units), pairs(&[(&at("nan"), "not_json"), (&at("inf"), "not_json")]));
    dir.expect(0, &["restore", "--tree", "out"]);
    let path = format!("opencti_data/{}/a.json", DAYS[0]);
    assert_eq!(
        fs::read(dir.path("out").join(&path)).unwrap(),
        fs::read(dir.path("tree").join(&path)).unwrap()
    );
    let out = String::from_utf8(dir.expect(0, &["restore", "--bundles", "-"])).unwrap();
    assert!(out.contains(exact), "{out}");
}

#[test]
fn e27_a_second_import_of_the_same_tree_brings_nothing() {
    let dir = store_of(&[&[("m", &["i"])], &[("i", &[])]]);
    let before = dir.segments();
    let units = dir.units(0, &["import", "tree"]);
    let counts = &units[units.len() - 1]["counts"];
    assert_eq!((&counts["added"], &counts["unchanged"]), (&0.into(), &2.into()));
    assert_eq!(dir.segments(), before, "not even a commit");
}

#[test]
fn e28_a_file_of_an_old_run_that_changed_shows_up_in_the_next_restore() {
    let dir = store_of(&[&[("a", &["old"])], &[("b", &[])]]);
    put(&dir.path("tree"), 0, &[("a", &refers("a", &["new"]))]);
    dir.expect(0, &["import", "tree"]);
    let out = dir.expect(0, &["restore", "--bundles", "-"]);
    assert_eq!(lines(&out)[0]["objects"][0]["object_refs"][0], "new");
}

#[test]
fn e29_a_file_that_went_is_kept_or_deleted_as_the_import_was_told() {
    let dir = store_of(&[&[("a", &[]), ("b", &[])]]);
    fs::remove_file(dir.path("tree/opencti_data").join(DAYS[0]).join("b.json")).unwrap();
    dir.expect(0, &["import", "tree"]);
    assert_eq!(ids(&bundles(&dir, 0, &[])), ["a", "b"]);
    dir.expect(0, &["import", "tree", "--mirror=force"]);
    assert_eq!(ids(&bundles(&dir, 0, &[])), ["a"]);
}

#[test]
fn e32_a_missing_attachment_is_kept_as_it_is_and_listed_by_plan_and_check() {
    let files = r#", "extensions": {"extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba":
        {"files": [{"name": "kept.pdf", "data": "QQ=="}, {"name": "lost.pdf", "data": null}]}}"#;
    let dir = Dir::new();
    put(
        &dir.path("tree"),
        0,
        &[("report--a", &file("report--a", files)), ("b", &refers("b", &["report--late"]))],
    );
    put(&dir.path("tree"), 1, &[("report--late", &file("report--late", files))]);
    dir.expect(0, &["import", "tree"]);
    let out = dir.expect(0, &["restore", "--bundles", "-"]);
    assert!(String::from_utf8(out).unwrap().contains(r#"{"name": "lost.pdf", "data": null}"#));
    let units = dir.units(0, &["restore", "--plan"]);
    let listed: Vec<&Value> = of_type(&units, "attachment");
    assert_eq!(
        (listed.len(), &listed[0]["name"], &listed[0]["run"]),
        (2, &"lost.pdf".into(), &DAYS[0].into())
    );
    assert_eq!(units[units.len() - 1]["counts"]["attachments"], 2);
    let table = String::from_utf8(dir.expect(0, &["restore", "--plan"])).unwrap();
    assert!(table.contains(&format!("lacking\t{}\treport--a\tlost.pdf\n", DAYS[0])), "{table}");
    // Nothing is damaged: what the backup had is what the store has.
    let units = dir.units(0, &["check", "--level", "content"]);
    let found = of_type(&units, "attachment");
    assert_eq!(
        (found.len(), &found[0]["id"], &found[0]["name"]),
        (2, &"report--a".into(), &"lost.pdf".into())
    );
    let said = String::from_utf8(dir.expect(0, &["check", "--level", "content"])).unwrap();
    assert!(said.contains("report--a") && said.contains("lost.pdf"), "{said}");
    assert_eq!(of_type(&dir.units(0, &["check"]), "attachment").len(), 0, "only who reads contents can tell");
}

#[test]
fn e34_each_run_sends_its_own_version_of_an_id() {
    let dir = store_of(&[&[("a", &["one"])], &[("a", &["two"])], &[("a", &["three"])]]);
    for how in ["once", "closure", "none"] {
        let out = dir.expect(0, &["restore", "--bundles", "-", "--resolve", how]);
        let sent: Vec<Value> =
            lines(&out).iter().map(|bundle| bundle["objects"][0]["object_refs"][0].clone()).collect();
        assert_eq!(sent, ["one", "two", "three"], "{how}");
    }
}

#[test]
fn e35_two_restores_of_one_store_are_byte_identical() {
    let dir = Dir::new();
    dir.import(3, &crate::common::sample());
    for args in [
        &["--resolve", "closure"][..],
        &["--resolve", "once", "--order", "name"],
        &["--resolve", "none", "--max-bundle-objects", "3"],
        &["--type", "malware"],
    ] {
        let restore = [&["restore", "--bundles", "-"][..], args].concat();
        let first = dir.expect(0, &restore);
        assert!(!first.is_empty() && first == dir.expect(0, &restore), "{args:?}");
    }
    for target in ["one", "two"] {
        dir.expect(0, &["restore", "--tree", target]);
    }
    assert_same_tree(&read_tree(&dir.path("one/opencti_data")), &dir.path("two"));
    // Another store, into which the same tree came in another way, gives the same too.
    let other = Dir::new();
    other.units(3, &["import", text(&crate::common::sample()), "--jobs", "1"]);
    let restore = ["restore", "--bundles", "-", "--resolve", "closure"];
    assert!(dir.expect(0, &restore) == other.expect(0, &restore));
}
