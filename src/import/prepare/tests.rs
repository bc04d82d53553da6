//! Scan, workers, window and committer on real files, with a store in memory and payloads unencoded.
#![expect(clippy::disallowed_methods, reason = "the tests build trees")]

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::super::commit::Committer;
use super::super::fake::{Collect, Fake};
use super::super::gate::Gate;
use super::super::mirror::Removals;
use super::super::scan::{Scan, Tree};
use super::super::seen::Seen;
use super::super::window::{self, Feed, Flow};
use super::super::{ImportSummary, Mirror};
use super::*;
use crate::error::Result;
use crate::id::{Instant, RunKey};
use crate::progress::Stop;

mod races;

struct Whole<'a> {
    scan: Scan,
    committer: Committer<'a, Fake>,
}

impl Flow for Whole<'_> {
    type Job = Job;
    type Done = Done;

    fn feed(&mut self) -> Result<Feed<Job>> {
        Ok(self.scan.next_batch().map_or(Feed::End, Feed::Jobs))
    }

    fn take(&mut self, done: Done) -> Result<()> {
        self.committer.take(done)
    }
}

/// Imports a tree; returns the store, the reports and the counts, or the error and the store.
fn import(fake: Fake, tree: &Path, jobs: usize, mirror: Mirror) -> (Fake, Collect, Result<ImportSummary>) {
    let (stop, gate) = (Stop::default(), Gate::new(10_000));
    let tree = Tree::open(tree).unwrap();
    let mut sink = Collect::default();
    let removals = match Removals::plan(mirror, &tree, &fake, &stop) {
        Ok(removals) => removals,
        Err(error) => return (fake, sink, Err(error)),
    };
    let before = fake.before.clone();
    let committer = Committer::new(fake, &mut sink, false, removals);
    let mut flow = Whole { scan: Scan::new(tree, Seen::default()), committer };
    let mut make = || {
        Preparer::new(
            before.clone(),
            Arc::new(EncoderSlot::default()),
            Buffers::default(),
            false,
            Meter::new(false),
        )
    };
    window::run(&mut flow, &mut make, jobs, &gate, &stop).unwrap();
    let names = flow.scan.run_names();
    flow.committer.remove_gone_runs(|name| names.contains(name), &stop).unwrap();
    let (fake, summary) = flow.committer.finish_with_target().unwrap();
    (fake, sink, Ok(summary))
}

fn tree(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        write(&dir, path, content);
    }
    dir
}

fn write(dir: &TempDir, path: &str, content: &[u8]) {
    let full = dir.path().join("opencti_data").join(path);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    fs::write(full, content).unwrap();
}

fn remove(dir: &TempDir, path: &str) {
    let full = dir.path().join("opencti_data").join(path);
    if full.is_dir() { fs::remove_dir_all(full).unwrap() } else { fs::remove_file(full).unwrap() }
}

/// A bundle with objects of these ids.
fn bundle(ids: &[&str]) -> Vec<u8> {
    let objects: Vec<String> =
        ids.iter().map(|id| format!("{{\"type\": \"malware\", \"id\": \"{id}\"}}")).collect();
    format!("{{\"type\": \"bundle\", \"objects\": [{}]}}", objects.join(", ")).into_bytes()
}

const D1: &str = "20240115T140000Z";

#[test]
fn any_number_of_workers_writes_the_same_in_the_same_order() {
    let dir = tempfile::tempdir().unwrap();
    for run in 0..20u32 {
        for file in 0..run * 5 {
            let name = format!("202401{:02}T000000Z/f{file:03}.json", run + 1);
            let pad = " ".repeat(usize::try_from((file * 7919) % 3000).unwrap());
            let content = match file % 7 {
                0 => b"{ torn".to_vec(),
                1 => bundle(&["other", "another"]),
                _ => bundle(&[&format!("f{file:03}")]),
            };
            write(&dir, &name, &[content, pad.into_bytes()].concat());
        }
    }
    let (one, reports, summary) = import(Fake::default(), dir.path(), 1, Mirror::Keep);
    assert!(reports.reports.len() == 950 && one.log.len() > 800);
    for jobs in [2, 8] {
        let (fake, sink, counts) = import(Fake::default(), dir.path(), jobs, Mirror::Keep);
        assert!(fake.log == one.log, "{jobs} jobs");
        assert!(sink.reports == reports.reports, "{jobs} jobs");
        assert_eq!(counts.unwrap(), *summary.as_ref().unwrap());
    }
    // E27: a second time nothing is written.
    let (again, sink, summary) = import(one.reopen(), dir.path(), 2, Mirror::Tombstone);
    let summary = summary.unwrap();
    assert!(again.log.is_empty() && sink.reports.len() == reports.reports.len());
    assert_eq!((summary.added, summary.updated, summary.removed), (0, 0, 0));
}

#[test]
fn e14_e15_each_bad_file_is_one_named_rejection_and_the_rest_goes_in() {
    let bad: [(&str, &[u8], &str); 7] = [
        ("bom", b"\xef\xbb\xbf{\"objects\": [{\"id\": \"x\"}]}", "bom"),
        ("empty", b"", "empty"),
        ("latin", b"{\"objects\": [{\"id\": \"\xe9\"}]}", "not_utf8"),
        ("no-id", b"{\"objects\": [{}]}", "object_without_id"),
        ("none", b"{\"objects\": []}", "no_object"),
        ("nothing", b"{}", "no_objects"),
        ("torn", b"{\"objects\": [{\"id\": \"to", "not_json"),
    ];
    let dir = tree(&[(&format!("{D1}/good.json"), &bundle(&["good"]))]);
    for (name, content, _) in bad {
        write(&dir, &format!("{D1}/{name}.json"), content);
    }
    let (fake, sink, summary) = import(Fake::default(), dir.path(), 2, Mirror::Keep);
    let summary = summary.unwrap();
    assert_eq!((summary.added, summary.rejected), (1, 7));
    for (name, _, code) in bad {
        let path = [D1.into(), format!("{name}.json").into_bytes()];
        let report = sink.reports.iter().find(|report| report.path == path).unwrap();
        assert_eq!(report.reason.as_ref().map(|reason| reason.0), Some(code), "{name}");
    }
    let (key, name) = fake.committed.runs.first_key_value().unwrap();
    assert_eq!((name.as_str(), fake.names(*key)), (D1, vec!["good".to_owned()]));
}

#[test]
fn e19_e20_e21_files_are_found_by_what_they_hold_and_warned_of() {
    let dir = tree(&[
        (&format!("{D1}/a.json"), &bundle(&["a", "second"])),
        (&format!("{D1}/b.json"), &bundle(&["odd"])),
        (&format!("{D1}/c.json"), &bundle(&["odd"])),
        (&format!("{D1}/d.json"), &bundle(&["a"])),
    ]);
    for _ in 0..2 {
        let (fake, sink, _) = import(Fake::default(), dir.path(), 1, Mirror::Keep);
        let key = *fake.committed.runs.first_key_value().unwrap().0;
        assert_eq!(fake.names(key), ["a", "b", "c", "d", "odd->c", "second->a"]);
        let warned: Vec<usize> = sink.reports.iter().map(|report| report.warnings.len()).collect();
        assert_eq!(warned, [1, 1, 2, 2]);
        // Unchanged files are warned of as new ones are.
        let (again, second, _) = import(fake.reopen(), dir.path(), 1, Mirror::Keep);
        assert!(again.log.is_empty());
        let warnings = |sink: &Collect| sink.reports.iter().map(|it| it.warnings.clone()).collect::<Vec<_>>();
        assert_eq!(warnings(&second), warnings(&sink));
    }
}

#[test]
fn e29_mirroring_counts_before_it_deletes() {
    let names = ["a", "b", "c", "d"];
    let paths: Vec<String> = names.iter().map(|name| format!("{D1}/{name}.json")).collect();
    let dir = tempfile::tempdir().unwrap();
    for (name, path) in names.iter().zip(&paths) {
        write(&dir, path, &bundle(&[name]));
    }
    write(&dir, "20240116T000000Z/e.json", &bundle(&["e"]));
    let (fake, _, _) = import(Fake::default(), dir.path(), 2, Mirror::Keep);
    // Two of five are gone, one in a run that is gone; a torn file is not.
    remove(&dir, &paths[0]);
    remove(&dir, "20240116T000000Z");
    write(&dir, &paths[1], b"{");
    let (fake, sink, summary) = import(fake.reopen(), dir.path(), 2, Mirror::Tombstone);
    assert_eq!(summary.unwrap().removed, 2);
    let expect = [
        format!("{} Rejected", paths[1]),
        format!("{} Unchanged", paths[2]),
        format!("{} Unchanged", paths[3]),
        format!("{} Removed", paths[0]),
        "20240116T000000Z/e.json Removed".to_owned(),
    ];
    assert_eq!(sink.lines(), expect);
    assert_eq!(fake.committed.runs.len(), 1);
    // Of the three that are left two more go: too many, so nothing at all happens, nor is anything added.
    remove(&dir, &paths[2]);
    remove(&dir, &paths[3]);
    write(&dir, &format!("{D1}/new.json"), &bundle(&["new"]));
    let (fake, sink, result) = import(fake.reopen(), dir.path(), 2, Mirror::Tombstone);
    assert!(matches!(result, Err(Error::BadInput { .. })));
    assert!(fake.log.is_empty() && sink.reports.is_empty());
    let (fake, _, summary) = import(fake, dir.path(), 2, Mirror::Force);
    assert_eq!(summary.unwrap().removed, 2);
    assert_eq!(fake.names(RunKey::new(Instant(63_840_924_000), 0)), ["b", "new"]);
}
