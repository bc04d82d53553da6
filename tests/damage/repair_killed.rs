//! A repair that is cut off at any place and begun again ends where an undisturbed one ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use stix_store::store::check::Severity;
use stix_store::store::repair::RepairOptions;
use stix_store::vfs::fault::{Fault, FaultPlan, Times};
use stix_store::vfs::mem::{Fate, Mem};
use stix_store::{Key, RunKey, Store, WriterOptions};

use super::fixture::{Covered, Fixture, build, build_as};
use super::judge::findings;
use super::repair::{Judged, evidence_is_kept, files, repair, repair_on};

/// What a store answers, and what it says of its losses.
#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    answers: BTreeMap<(Vec<u8>, RunKey), Option<Vec<u8>>>,
    newest: BTreeMap<Vec<u8>, Option<RunKey>>,
    runs: Vec<(RunKey, String, u64)>,
    keys: Vec<Key>,
    lost: u64,
}

fn outcome(fixture: &Fixture, mem: &Mem) -> Outcome {
    let store = Store::open_read_only_on(Arc::new(mem.clone())).unwrap();
    let view = store.view();
    let body =
        |name: &[u8], run| view.get(name, run).unwrap().map(|found| found.body().unwrap().into_owned());
    let mut answers = BTreeMap::new();
    let mut newest = BTreeMap::new();
    for name in &fixture.names {
        for run in &fixture.runs {
            answers.insert((name.clone(), *run), body(name, *run));
        }
        newest.insert(name.clone(), view.latest(name).unwrap().map(|found| found.run()));
    }
    let runs = view.runs().unwrap().into_iter().map(|run| (run.key, run.name, run.snapshots)).collect();
    let mut keys = view.list(usize::MAX, None).unwrap();
    keys.sort_unstable();
    Outcome { answers, newest, runs, keys, lost: store.stats().unwrap().lost }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Ends a repair that was cut off, in whatever way the file system was left.
fn finish(fixture: &Fixture, left: &Mem, before: &BTreeMap<String, Vec<u8>>, expect: &Outcome) -> Judged {
    let report = repair(left, RepairOptions::default()).map_err(|error| error.to_string())?;
    evidence_is_kept(left, before)?;
    let found = findings(left)?;
    if report.remaining > 0 || found.iter().any(|one| one.severity == Severity::Damage) {
        return Err(format!("still damaged: {report:?}"));
    }
    let actual = outcome(fixture, left);
    if actual != *expect {
        let differ = |key: &&(Vec<u8>, RunKey)| actual.answers[*key] != expect.answers[*key];
        let answers: Vec<_> =
            expect.answers.keys().filter(differ).map(|(name, run)| (text(name), run)).collect();
        let differ = |key: &&Vec<u8>| actual.newest[*key] != expect.newest[*key];
        let newest: Vec<_> = expect.newest.keys().filter(differ).map(|name| text(name)).collect();
        return Err(format!(
            "other answers for {answers:?}, {newest:?}; {} lost instead of {}; {:?} instead of {:?}",
            actual.lost, expect.lost, actual.runs, expect.runs
        ));
    }
    Ok(())
}

fn kill_everywhere(label: &str, fixture: &Fixture, damaged: &Mem) -> usize {
    let damaged = damaged.snapshot_all();
    let before = files(&damaged);
    let whole = damaged.snapshot_all();
    repair(&whole, RepairOptions::default()).unwrap();
    let expect = outcome(fixture, &whole);
    let ops = whole.ops();
    for count in 0..=ops.len() {
        let last = ops[..count].last();
        let fates = [
            // The process ends: all it issued is there. The power fails: what was not synced is not. And in between.
            whole.crash_at(count, |_, _| Fate::Apply),
            whole.crash_at(count, |_, _| Fate::Drop),
            whole.crash_at(count, |number, _| if number % 2 == 0 { Fate::Apply } else { Fate::Drop }),
        ];
        // Another command comes first, and does what a writer does before and after its work. Not where there was no
        // index: what it builds from the damaged log takes the unreadable records for superseded ones.
        let served = whole.crash_at(count, |_, _| Fate::Apply);
        let store = Store::open_on(Arc::new(served.clone())).unwrap();
        let is_fit = fixture.covered != Covered::None;
        let writer = is_fit.then(|| store.writer(&WriterOptions::default()));
        if let Some(Ok(writer)) = writer {
            writer.close().unwrap();
        }
        drop(store);
        for (number, left) in fates.iter().chain([&served]).enumerate() {
            finish(fixture, left, &before, &expect)
                .unwrap_or_else(|why| panic!("{label}, fate {number} after {count} ({last:?}): {why}"));
        }
    }
    ops.len()
}

fn flip(fixture: &Fixture, mem: &Mem, path: &str, at: u64) {
    let _: &Fixture = fixture;
    let mut bytes = mem.bytes(path).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 0x55;
    assert!(mem.set_bytes(path, bytes));
}

/// Damage of each kind: what is done to a copy of the store.
fn damages(fixture: &Fixture) -> Vec<(&'static str, Mem)> {
    let segments = fixture.segments();
    let foreign = build_as(fixture.covered, stix_store::StoreId([9; 16]));
    let mut all = Vec::new();
    let mut add = |label, damage: &dyn Fn(&Mem)| {
        let mem = fixture.mem.snapshot_all();
        damage(&mem);
        all.push((label, mem));
    };
    let unit = |number: usize| fixture.units[number].range.start;
    add("data of one record", &|mem| flip(fixture, mem, &segments[0], unit(6) + 60));
    add("heads of two records", &|mem| {
        flip(fixture, mem, &segments[0], unit(6) + 3);
        flip(fixture, mem, &segments[0], unit(9) + 3);
    });
    add("two segments", &|mem| {
        flip(fixture, mem, &segments[0], unit(7) + 3);
        flip(fixture, mem, &segments[1], 96 + 3);
    });
    add("a header", &|mem| flip(fixture, mem, &segments[1], 20));
    add("a segment missing", &|mem| assert!(mem.remove_raw(&segments[0])));
    add("two segments missing", &|mem| {
        mem.remove_raw(&segments[0]);
        mem.remove_raw(&segments[1]);
    });
    add("a missing and a damaged one", &|mem| {
        mem.remove_raw(&segments[1]);
        flip(fixture, mem, &segments[0], unit(6) + 3);
    });
    add("a foreign segment", &|mem| {
        assert!(mem.set_bytes(&segments[1], foreign.file(&foreign.segments()[1]).to_vec()));
    });
    add("swapped segments", &|mem| {
        assert!(mem.set_bytes(&segments[0], fixture.file(&segments[1]).to_vec()));
        assert!(mem.set_bytes(&segments[1], fixture.file(&segments[0]).to_vec()));
    });
    add("config", &|mem| flip(fixture, mem, "config", 3));
    add("small files and a segment", &|mem| {
        for path in
            mem.paths().iter().filter(|path| !path.contains('/') && mem.bytes(path).unwrap().len() > 9)
        {
            flip(fixture, mem, path, 5);
        }
        flip(fixture, mem, &segments[0], unit(6) + 60);
    });
    all
}

#[test]
fn a_repair_killed_at_any_operation_ends_as_an_undisturbed_one_when_run_again() {
    for covered in [Covered::All, Covered::Part, Covered::None] {
        let fixture = build(covered);
        for (label, mem) in damages(&fixture) {
            let ops = kill_everywhere(label, &fixture, &mem);
            println!("{covered:?}, {label}: killed at {ops} operations");
        }
    }
}

/// An error of the disk is no loss: what cannot be read today may be read tomorrow.
#[test]
fn a_repair_in_which_any_call_fails_once_ends_as_an_undisturbed_one_when_run_again() {
    for covered in [Covered::All, Covered::None] {
        let fixture = build(covered);
        for (label, mem) in damages(&fixture) {
            let damaged = mem.snapshot_all();
            let before = files(&damaged);
            let whole = damaged.snapshot_all();
            let counting = Fault::new(Arc::new(whole.clone()), None);
            repair_on(Arc::new(counting.clone()), RepairOptions::default()).unwrap();
            let expect = outcome(&fixture, &whole);
            for at in 0..counting.count() {
                let left = damaged.snapshot_all();
                let plan = FaultPlan { at, errno: 5, times: Times::Once, written: 3 };
                let fault = Fault::new(Arc::new(left.clone()), Some(plan));
                // It fails, or it does without what it could not read.
                drop(repair_on(Arc::new(fault.clone()), RepairOptions::default()));
                finish(&fixture, &left.snapshot_all(), &before, &expect)
                    .unwrap_or_else(|why| panic!("{covered:?}, {label}, {:?}: {why}", fault.hits()));
            }
        }
    }
}
