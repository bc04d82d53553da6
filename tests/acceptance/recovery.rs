//! What follows a crash: whoever comes first, wherever the store is by then, whatever fails meanwhile.

use std::path::Path;
use std::sync::Arc;

use stix_store::vfs::disk::Disk;
use stix_store::vfs::fault::{Fault, FaultPlan, Times};
use stix_store::vfs::mem::{Fate, Mem};
use stix_store::{Compression, Store, WriterOptions};

use super::{assert_holds, compact, damage, open, paths, read_only, repair, session};
use crate::common::{copy_tree, read_tree};
use crate::crash::fates::Noise;
use crate::session::{Session, body, options};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A store that a killed process has left: a base index, a commit behind it, and a transaction that was not committed.
fn crashed() -> (Mem, Session) {
    let (mem, mut session) = session(512, Compression::Zstd);
    for number in 0..6 {
        session.put(number, 1, &body(number, 200)).unwrap();
    }
    session.commit().unwrap();
    session.close().unwrap();
    session.put(1, 1, &body(10, 150)).unwrap();
    session.delete(2, 1).unwrap();
    session.commit().unwrap();
    session.put(1, 1, b"never").unwrap();
    session.put(9, 2, b"never").unwrap();
    session.delete(3, 1).unwrap();
    session.look().unwrap();
    session.leave();
    (mem, session)
}

#[test]
fn readers_of_a_crashed_store_write_nothing_and_whoever_writes_first_recovers_it() {
    // R8: a query saw what was half applied, and the recovery that came after it undid later work.
    let (mem, session) = crashed();
    for first in ["put", "delete", "compact", "repair", "nothing"] {
        let mem = mem.snapshot_all();
        session.committed().compare(&read_only(&mem), &[].into()).unwrap();
        assert_eq!(damage(&mem), Vec::<String>::new());
        drop(open(&mem));
        assert!(mem.ops().is_empty(), "readers write nothing: {:?}", mem.ops());
        let mut session = Session::resume(&mem, &session.states);
        session.open().unwrap();
        match first {
            "put" => drop(session.put(7, 3, b"first").unwrap()),
            "delete" => assert!(session.delete(1, 1).unwrap()),
            "compact" => session.compact(1).unwrap(),
            "repair" => assert!(repair(&mem).segments.is_empty()),
            _ => {}
        }
        if first == "put" || first == "delete" {
            session.commit().unwrap();
        }
        session.close().unwrap();
        session.leave();
        assert_holds(&mem, session.committed());
        assert_holds(&mem.crash(), session.committed());
    }
}

#[test]
fn a_recovery_that_is_cut_off_again_and_again_ends_as_the_first_one_would_have() {
    // R7: three crashes, one in the recovery from the other, at each operation.
    let (mem, session) = crashed();
    let recover = |mem: &Mem| {
        let mut session = Session::resume(mem, &session.states);
        session.open().unwrap();
        session.close().unwrap();
    };
    let holds = |mem: &Mem| session.committed().compare(&read_only(mem), &[].into()).unwrap();
    let mut images = vec![mem.crash(), mem.snapshot_all()];
    let mut seen = std::collections::HashSet::new();
    for _ in 0..3 {
        let mut next = Vec::new();
        for image in images {
            let run = image.snapshot_all();
            recover(&run);
            holds(&run);
            for count in 0..=run.ops().len() {
                for kept in [Fate::Drop, Fate::Apply] {
                    let left = run.crash_at(count, |_, _| kept.clone());
                    if seen.insert(crate::crash::verify::hash_of(&left)) {
                        holds(&left);
                        next.push(left);
                    }
                }
            }
        }
        images = next;
    }
    assert!(seen.len() > 3, "{}", seen.len());
    for image in images {
        recover(&image);
        assert_holds(&image, session.committed());
    }
}

#[test]
fn a_recovery_that_fails_each_time_gives_up_nothing_and_succeeds_when_the_fault_is_gone() {
    // R10, R17: what counted its attempts discarded its evidence after five; what wanted to write the count failed on a full
    // disk. Here is no count: each writer tries once, and says why it could not.
    let (mem, session) = crashed();
    for errno in [ENOSPC, EIO] {
        let mem = mem.snapshot_all();
        let fault = Fault::new(Arc::new(mem.clone()), None);
        let store = Store::open_on(Arc::new(fault.clone())).unwrap();
        let reads = fault.count();
        drop(store.writer(&WriterOptions::default()).unwrap());
        let calls = fault.count() - reads;
        let mut refused = 0;
        for at in 0..calls {
            for _ in 0..10 {
                fault.set_plan(None);
                let store = Store::open_on(Arc::new(fault.clone())).unwrap();
                let plan = FaultPlan { at: fault.count() + at, errno, times: Times::Always, written: 0 };
                fault.set_plan(Some(plan));
                if let Err(error) = store.writer(&WriterOptions::default()) {
                    assert!(error.to_string().contains(&format!("os error {errno}")), "{error}");
                    refused += 1;
                }
                fault.set_plan(None);
                session.committed().compare(&store.view(), &[].into()).unwrap();
            }
        }
        assert!(refused >= 10, "{refused}");
        let mut session = Session::resume(&mem, &session.states);
        session.open().unwrap();
        session.put(8, 1, b"at last").unwrap();
        session.commit().unwrap();
        session.close().unwrap();
        assert_holds(&mem, session.committed());
    }
}

fn on_disk(path: &Path, of: &[crate::expected::Expected]) -> Session {
    let mut session = Session::new(&Mem::new(), Arc::new(Disk::new(path)));
    session.states = of.to_vec();
    session
}

#[test]
fn a_crashed_store_that_was_moved_or_copied_recovers_where_it_is_and_touches_nothing_else() {
    // R25: the journals of others held absolute paths, so a moved base could not recover, and a received one deleted
    // directories beside it.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut session = on_disk(&at("origin"), &[crate::expected::Expected::default()]);
    session.create(&options(512, Compression::Zstd)).unwrap();
    for number in 0..4 {
        session.put(number, 1, &body(number, 200)).unwrap();
    }
    session.commit().unwrap();
    session.close().unwrap();
    session.put(1, 1, b"the last commit").unwrap();
    session.commit().unwrap();
    session.put(2, 1, b"never").unwrap();
    session.look().unwrap();
    session.leave();
    copy_tree(&at("origin"), &at("copy"));
    std::fs::rename(at("origin"), at("moved")).unwrap();
    let moved = read_tree(&at("moved"));
    // As it comes back from a backup: other times, and no locks.
    copy_tree(&at("copy"), &at("restored"));
    for name in ["lock", "readers"] {
        std::fs::remove_file(at("restored").join(name)).unwrap();
    }
    for name in ["copy", "restored", "moved"] {
        assert!(read_tree(&at("moved")) == moved, "{name}");
        let mut session = on_disk(&at(name), &session.states);
        session.open().unwrap();
        session.put(3, 2, b"in the new place").unwrap();
        session.commit().unwrap();
        session.compact(1).unwrap();
        session.close().unwrap();
        let view = Store::open(at(name)).unwrap().view();
        session.committed().compare(&view, &[].into()).unwrap();
        assert!(!at("origin").exists(), "{name}");
    }
}

#[test]
fn a_history_of_crashes_and_full_disks_leaves_a_store_that_lists_and_repairs() {
    // [27], R9: Borg's test of a disk that fills up, a hundred rounds of it. Space is freed after each.
    let (mem, mut session) = session(2048, Compression::Zstd);
    let fault = Fault::new(Arc::new(mem.clone()), None);
    session.go_on(Arc::new(fault.clone()));
    let mut noise = Noise(27);
    let mut full = 0;
    for round in 0..100u32 {
        session.open().unwrap();
        let at = fault.count() + u64::try_from(noise.below(60)).unwrap();
        let written = noise.below(300);
        fault.set_plan(Some(FaultPlan { at, errno: ENOSPC, times: Times::Always, written }));
        let mut filled = || {
            for step in 0..6 {
                let number = u32::try_from(noise.below(30)).unwrap();
                session.put(number, 1, &body(round * 10 + step, 300))?;
                if step % 2 == 1 {
                    session.commit()?;
                }
            }
            session.compact(20)?;
            session.close()
        };
        if filled().is_err() {
            full += 1;
        }
        fault.set_plan(None);
        session.open().unwrap();
        session.leave();
        // The next one lists, and a repair finds nothing to do.
        session.committed().compare(&read_only(&mem), &[].into()).unwrap();
        let report = repair(&mem);
        assert!(!report.has_losses() && report.remaining == 0, "round {round}: {report:?}");
        assert_eq!(damage(&mem), Vec::<String>::new(), "round {round}");
    }
    assert!(full > 30, "{full} of 100 were full");
    compact(&mem, 1);
    assert_holds(&mem, session.committed());
    let strays: Vec<String> = mem.paths().into_iter().filter(|path| path.contains(".tmp")).collect();
    assert_eq!(strays, Vec::<String>::new());
    assert_eq!(paths(&mem, "quarantine"), Vec::<String>::new());
    assert!(session.committed().records.len() > 10);
}
