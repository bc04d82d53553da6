//! A real backup tree goes in and comes out again, held against answers that another program gave
//! (`tests/data/README.md` says where both come from).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stix_store::import::{FileOutcome, FileReport, ImportOptions, ImportSink, import};
use stix_store::progress::Stop;
use stix_store::restore::{PlanUnit, Resolve, RestoreOptions, plan};
use stix_store::{CreateOptions, Store, StoreId, View, WriterOptions};

use crate::common::{
    Dir, Entry, STORE_ID, copy_tree, files, instant, of_type, read_tree, sample, set_mtime, text,
};

/// The file that tests change.
pub(crate) const CHANGED: &str =
    "20190430T134500Z/course-of-action--bcecd036-f40e-4916-9f8e-fd0ccf0ece8d.json";

/// The expected answers of one kind.
pub(crate) fn answers(kind: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sample.answers.ndjson");
    let lines = fs::read_to_string(path).unwrap();
    let all = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<Value> = all.filter(|answer| answer["kind"] == kind).collect();
    assert!(!found.is_empty(), "there are answers of kind {kind}");
    found
}

pub(crate) fn paths(kind: &str) -> BTreeSet<String> {
    answers(kind).iter().map(|answer| string(&answer["path"])).collect()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A copy of the sample with times of its own and with what git cannot hold.
fn tree_with_more(dir: &Dir) -> PathBuf {
    let source = dir.path("backup");
    copy_tree(&sample(), &source);
    let data = source.join("opencti_data");
    fs::create_dir(data.join("20260101T000000Z")).unwrap();
    // The same instant under a second name, as strptime reads it; and a name before 1970.
    for name in ["2018011T125700Z", "19010203T040506Z"] {
        fs::create_dir(data.join(name)).unwrap();
        fs::copy(data.join(CHANGED), data.join(name).join("b7e13ee8-182c-4f19-92a4-a88d7d855d54.json"))
            .unwrap();
        set_mtime(&data.join(name), 77, 1);
    }
    let run = data.join("20220511T140000Z");
    symlink("nowhere.json", run.join("broken.json")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, run.join("fifo.json"), fifo, 0o600.into(), 0).unwrap();
    set_mtime(&run, 1_652_277_600, 999_999_999);
    source
}

/// What a restore of a tree must bring back: all but what import listed.
pub(crate) fn without(tree: &Path, listed: &BTreeSet<String>) -> BTreeMap<PathBuf, Entry> {
    let mut entries = read_tree(&tree.join("opencti_data"));
    entries.retain(|path, _| !listed.iter().any(|listed| path.starts_with(listed)));
    entries
}

pub(crate) fn assert_same_tree(expect: &BTreeMap<PathBuf, Entry>, target: &Path) {
    let actual = read_tree(&target.join("opencti_data"));
    assert_eq!(expect.keys().collect::<Vec<_>>(), actual.keys().collect::<Vec<_>>());
    for (path, entry) in expect {
        assert!(actual[path].bytes == entry.bytes, "{} has other bytes", path.display());
        assert_eq!(actual[path], *entry, "{}", path.display());
    }
}

#[test]
fn import_lists_exactly_what_is_no_snapshot() {
    let dir = Dir::new();
    let units = dir.import(3, &sample());
    assert_eq!(files(&units, "ignored"), paths("ignored"));
    assert_eq!(files(&units, "rejected"), paths("rejected"));
    let snapshots = answers("snapshot");
    let expect: BTreeSet<String> = snapshots
        .iter()
        .map(|answer| format!("{}/{}.json", string(&answer["run"]), string(&answer["id"])))
        .collect();
    assert_eq!(files(&units, "added"), expect);
    let (end, tree) = (&units[units.len() - 1], &answers("tree")[0]);
    assert_eq!(end["counts"]["added"], tree["snapshots"]);
    assert_eq!(end["counts"]["runs"], tree["run_dirs"]);
    assert!(
        of_type(&units, "file")
            .iter()
            .all(|unit| unit["outcome"] != "rejected" || unit["error"]["code"].is_string())
    );

    let stats = dir.units(0, &["stats"]);
    let total: u64 = snapshots.iter().map(|answer| answer["bytes"].as_u64().unwrap()).sum();
    assert!(
        stats.iter().any(|unit| unit["ids"] == tree["ids"] && unit["snapshots"] == tree["snapshots"]),
        "{stats:?}"
    );
    let runs = dir.units(0, &["runs"]);
    assert_eq!(of_type(&runs, "run").iter().map(|run| run["bytes"].as_u64().unwrap()).sum::<u64>(), total);
}

#[test]
fn the_library_imports_as_the_command_does() {
    #[derive(Default)]
    struct Listed(BTreeMap<String, FileOutcome>);
    impl ImportSink for Listed {
        fn file(&mut self, report: &FileReport) -> stix_store::Result<()> {
            let path = String::from_utf8(report.path.join(&b"/"[..])).unwrap();
            assert!(self.0.insert(path, report.outcome).is_none());
            Ok(())
        }
    }
    let (dir, other) = (Dir::new(), Dir::new());
    dir.import(3, &sample());
    let options = CreateOptions { store_id: StoreId::parse(STORE_ID), ..CreateOptions::default() };
    let store = Store::create(other.store(), &options).unwrap();
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    let mut listed = Listed::default();
    let summary =
        import(&sample(), &mut writer, &ImportOptions::default(), &mut listed, &Stop::default()).unwrap();
    writer.close().unwrap();
    let of =
        |outcome| listed.0.iter().filter(move |(_, found)| **found == outcome).map(|(path, _)| path.clone());
    assert_eq!(of(FileOutcome::Ignored).collect::<BTreeSet<_>>(), paths("ignored"));
    assert_eq!(of(FileOutcome::Rejected).collect::<BTreeSet<_>>(), paths("rejected"));
    assert_eq!(summary.added, answers("tree")[0]["snapshots"].as_u64().unwrap());
    assert_eq!(store.view().len(), summary.added);
    assert!(dir.segments() == other.segments(), "the same log");
}

#[test]
fn a_restored_tree_is_the_source_byte_for_byte() {
    let dir = Dir::new();
    let source = tree_with_more(&dir);
    let units = dir.import(3, &source);
    let mut listed = paths("ignored");
    listed.extend(["20220511T140000Z/broken.json", "20220511T140000Z/fifo.json"].map(str::to_owned));
    assert_eq!(files(&units, "ignored"), listed);
    assert_eq!(files(&units, "rejected"), paths("rejected"));
    listed.extend(paths("rejected"));
    dir.expect(0, &["restore", "--tree", "out"]);
    let expect = without(&source, &listed);
    assert!(expect.len() > 300);
    assert_same_tree(&expect, &dir.path("out"));
    // A restore over a restore changes nothing.
    dir.expect(0, &["restore", "--tree", "out"]);
    assert_same_tree(&expect, &dir.path("out"));
}

#[test]
fn the_plan_of_a_closure_is_what_restore_files_sends() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let units = dir.units(0, &["restore", "--plan", "--resolve", "closure"]);
    let mut actual: BTreeMap<String, BTreeSet<[String; 3]>> = BTreeMap::new();
    for unit in of_type(&units, "object").into_iter().chain(of_type(&units, "missing")) {
        let line = if unit["type"] == "object" {
            [string(&unit["why"]), string(&unit["id"]), string(&unit["from"])]
        } else {
            ["missing".to_owned(), string(&unit["ref"]), string(&unit["state"])]
        };
        assert!(actual.entry(string(&unit["run"])).or_default().insert(line), "{unit} comes once");
    }
    let mut expect: BTreeMap<String, BTreeSet<[String; 3]>> = BTreeMap::new();
    for answer in answers("restore") {
        let run = string(&answer["run"]);
        let lines = expect.entry(run.clone()).or_default();
        let pairs = |field: &str| answer[field].as_array().unwrap().clone();
        for own in pairs("own") {
            lines.insert(["own".to_owned(), string(&own), run.clone()]);
        }
        for (why, field) in [("resolved", "resolved"), ("missing", "unresolved")] {
            lines
                .extend(pairs(field).iter().map(|pair| [why.to_owned(), string(&pair[0]), string(&pair[1])]));
        }
    }
    for (run, lines) in &expect {
        assert_eq!(Some(lines), actual.get(run), "{run}");
    }
    assert_eq!(expect.len(), actual.len());
    let all: Vec<&[String; 3]> = expect.values().flatten().collect();
    for kind in [["resolved", ""], ["missing", "earlier"], ["missing", "absent"]] {
        assert!(
            all.iter().any(|line| line[0] == kind[0] && line[2].contains(kind[1])),
            "the sample has {kind:?}"
        );
    }
}

#[test]
fn every_lookup_answers_as_expected() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let view = Store::open_read_only(dir.store()).unwrap().view();
    for answer in answers("id") {
        let (id, runs) = (string(&answer["id"]), answer["runs"].as_array().unwrap());
        let runs: Vec<String> = runs.iter().map(string).collect();
        let history: Vec<String> =
            view.history(&id).unwrap().into_iter().map(|found| name_of_run(&view, &found.unwrap())).collect();
        assert_eq!(history, runs, "history of {id}");
        assert_eq!(name_of_run(&view, &view.latest(&id).unwrap().unwrap()), runs[runs.len() - 1]);
        for run in &runs {
            let file = fs::read(sample().join(format!("opencti_data/{run}/{id}.json"))).unwrap();
            let key = view.run_named(instant(run), run).unwrap().unwrap().key;
            for found in [view.get(&id, key), view.at_or_before(&id, instant(run))] {
                assert!(found.unwrap().unwrap().body().unwrap() == file, "{run}/{id}");
            }
        }
    }
    for answer in answers("closest") {
        let (id, after) = (string(&answer["id"]), string(&answer["after"]));
        let found = view.closest_after(&id, instant(&after)).unwrap();
        let run = found.map_or(Value::Null, |found| name_of_run(&view, &found).into());
        assert_eq!(run, answer["run"], "{id} after {after}");
    }
}

fn name_of_run(view: &View, snapshot: &stix_store::Snapshot<'_>) -> String {
    view.run(snapshot.run()).unwrap().unwrap().name
}

#[test]
fn the_command_looks_up_as_the_library_does() {
    let dir = Dir::new();
    dir.import(3, &sample());
    for answer in answers("id").iter().step_by(17) {
        let (id, runs) = (string(&answer["id"]), answer["runs"].as_array().unwrap());
        let units = dir.units(0, &["history", &id]);
        let told: Vec<&Value> =
            of_type(&units, "snapshot").into_iter().map(|unit| &unit["path"][0]).collect();
        assert_eq!(told, runs.iter().collect::<Vec<_>>());
        let (first, last) = (runs[0].as_str().unwrap(), runs[runs.len() - 1].as_str().unwrap());
        let file = |run: &str| fs::read(sample().join(format!("opencti_data/{run}/{id}.json"))).unwrap();
        assert!(dir.expect(0, &["get", &id, "--raw"]) == file(last));
        assert!(dir.expect(0, &["get", &id, "--raw", "--run", first]) == file(first));
        assert!(dir.expect(0, &["get", &id, "--raw", "--at", "20991231T235959Z"]) == file(last));
        let object: Value = serde_json::from_slice(&dir.expect(0, &["get", &id, "--at", first])).unwrap();
        let bundle: Value = serde_json::from_slice(&file(first)).unwrap();
        assert_eq!(object, bundle["objects"][0], "get prints the object alone");
    }
    let questions = answers("closest");
    for answer in questions.iter().step_by(questions.len() / 20) {
        let (id, after) = (string(&answer["id"]), string(&answer["after"]));
        let code = if answer["run"].is_null() { 5 } else { 0 };
        let units = dir.units(code, &["get", &id, "--after", &after]);
        let told = of_type(&units, "snapshot").first().map_or(&Value::Null, |unit| &unit["path"][0]);
        assert_eq!(*told, answer["run"], "{id} after {after}");
    }
}

#[test]
fn any_number_of_jobs_writes_the_same_bytes() {
    let mut first = None;
    for jobs in ["1", "2", "8"] {
        let dir = Dir::new();
        dir.units(3, &["import", text(&sample()), "--store-id", STORE_ID, "--jobs", jobs]);
        let segments = dir.segments();
        assert!(!segments.is_empty());
        assert!(*first.get_or_insert_with(|| segments.clone()) == segments, "{jobs} jobs");
    }
}

#[test]
fn once_emits_each_snapshot_exactly_once() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let view = Store::open_read_only(dir.store()).unwrap().view();
    let options = RestoreOptions { resolve: Resolve::Once, ..RestoreOptions::default() };
    let mut emitted = BTreeSet::new();
    let mut unit = |unit: &PlanUnit| {
        if let PlanUnit::Object { id, from, .. } = unit {
            let id = String::from_utf8(id.clone()).unwrap();
            assert!(emitted.insert((from.clone(), id.clone())), "{from}/{id} comes once");
        }
        Ok(())
    };
    plan(&view, &options, &mut unit, &mut |_| Ok(()), &Stop::default()).unwrap();
    let expect: BTreeSet<(String, String)> =
        answers("snapshot").iter().map(|answer| (string(&answer["run"]), string(&answer["id"]))).collect();
    assert_eq!(emitted, expect);

    // The bundles hold what the plan says, and the same bytes each time.
    let bundles = dir.expect(0, &["restore", "--bundles", "-"]);
    assert!(bundles == dir.expect(0, &["restore", "--bundles", "-"]));
    let lines: Vec<Value> = bundles
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let objects: usize = lines.iter().map(|bundle| bundle["objects"].as_array().unwrap().len()).sum();
    assert_eq!(objects, expect.len());
    assert!(lines.iter().all(|bundle| bundle["type"] == "bundle" && bundle["x_run"].is_string()));
}

#[test]
fn a_check_of_what_was_imported_finds_nothing() {
    let dir = Dir::new();
    dir.import(3, &sample());
    for level in ["index", "crc", "content"] {
        let units = dir.units(0, &["check", "--level", level]);
        let results = of_type(&units, "result");
        assert!(results.is_empty(), "{level}: {results:?}");
        assert_eq!(units[units.len() - 1]["counts"]["damage"], 0);
    }
}

#[test]
fn exit_codes_are_those_of_the_contract() {
    let dir = Dir::new();
    dir.expect(10, &["runs"]);
    dir.expect(10, &["get", "x"]);
    dir.expect(2, &["restore"]);
    dir.import(3, &sample());
    let clean = dir.path("clean");
    copy_tree(&sample(), &clean);
    for path in paths("rejected") {
        fs::remove_file(clean.join("opencti_data").join(path)).unwrap();
    }
    dir.import(0, &clean);
    dir.import(0, &clean.join("opencti_data"));
    for args in [
        ["get", "malware--00000000-0000-4000-8000-000000000000"],
        ["history", "x"],
        ["ls", "20000101T000000Z"],
    ] {
        dir.expect(5, &args);
    }
    dir.expect(2, &["init"]);
    dir.expect(2, &["get", "x", "--run", "yesterday"]);

    let store = Store::open(dir.store()).unwrap();
    let writer =
        store.writer(&WriterOptions { holder: "a test".to_owned(), ..WriterOptions::default() }).unwrap();
    let output = dir.run(&["import", text(&clean)]);
    assert_eq!(output.status.code(), Some(11));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a test"), "the holder is named");
    dir.expect(0, &["runs"]);
    dir.expect(0, &["check"]);
    drop(writer);
    dir.import(0, &clean);

    let segment = dir.store().join("data/0000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    dir.expect(1, &["check"]);
}
