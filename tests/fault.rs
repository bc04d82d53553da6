//! The fault pass: each call of each workload to the file system fails, once or from then on, with each error that systems
//! are known to give, writes also in part. Nothing may panic, the failure must come out, a writer whose write or sync failed
//! must never acknowledge anything again, and what was acknowledged must be there when the store is opened without faults.
//!
//! The scheme is that of `SQLite`: the number of the failing call grows until a run meets none. Interrupted and short calls
//! of the system itself are retried below this line, in `vfs/disk.rs`; here an interruption is an error like others.

use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use stix_store::progress::Stop;
use stix_store::store::check::{CheckOptions, Level, check};
use stix_store::vfs::ReadVfs;
use stix_store::vfs::fault::{Fault, FaultPlan, Times};
use stix_store::vfs::mem::Mem;
use stix_store::{Error, Store};

use crate::crash::verify::{Known, hash_of, judge};
use crate::crash::workloads::{ALL, Workload};
use crate::expected::{Compared, Expected, Found, ensure};
use crate::session::{Promised, Session};

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const ERRORS: [i32; 6] = [EIO, ENOSPC, EACCES, EROFS, EMFILE, EINTR];

/// Every plan for a call: each error once and from then on, and writes that get out a part.
fn plans(at: u64) -> Vec<FaultPlan> {
    let whole = ERRORS.into_iter().flat_map(|errno| {
        [Times::Once, Times::Always].map(|times| FaultPlan { at, errno, times, written: 0 })
    });
    let parts =
        [1, 50, 100, usize::MAX].map(|written| FaultPlan { at, errno: ENOSPC, times: Times::Once, written });
    whole.chain(parts).collect()
}

/// A workload under faults.
struct Pass<'p> {
    workload: &'p Workload,
    /// Images judged before, with what was promised of them.
    judged: HashSet<(u64, Promised)>,
}

impl Pass<'_> {
    /// Runs the workload with one plan. Returns whether the fault struck.
    fn run(&mut self, plan: FaultPlan) -> Compared<bool> {
        let mem = Mem::new();
        let fault = Fault::new(self.workload.vfs(&mem), Some(plan));
        let mut session = Session::new(&mem, Arc::new(fault.clone()));
        let run = catch_unwind(AssertUnwindSafe(|| (self.workload.run)(&mut session)));
        let run = run.map_err(|panic| format!("panicked: {:?}", panic.downcast_ref::<String>()))?;
        let hits = fault.hits();
        if hits.is_empty() {
            return Ok(false);
        }
        let error = run.err().ok_or_else(|| format!("nobody was told of {hits:?}"))?;
        let told = error.to_string().contains(&format!("os error {}", plan.errno));
        ensure(told, || format!("{hits:?} came out as: {error}"))?;
        go_on(&mut session, &fault, plan)?;
        session.leave();
        for image in [mem.snapshot_all(), mem.crash()] {
            self.judge(&image, &session, Promised::by(&mem.ops()))?;
        }
        Ok(true)
    }

    fn judge(&mut self, image: &Mem, session: &Session, promised: Promised) -> Compared {
        if self.judged.insert((hash_of(image), promised)) {
            judge(image, &Known { states: &session.states, promised, torn: false, forgiven: &[] })?;
        }
        Ok(())
    }
}

/// Goes on with the writer that met the fault. After a failed write or sync it must refuse; after a failed read it may go
/// on, and what it acknowledges then must hold.
fn go_on(session: &mut Session, fault: &Fault, plan: FaultPlan) -> Compared {
    if session.writer.is_none() {
        return Ok(());
    }
    let writing = ["create ", "write ", "sync ", "sync directory "];
    let wrote = fault.hits().iter().any(|hit| {
        let call = hit.split_once(": ").unwrap().1;
        call.contains("mem/data") && writing.iter().any(|word| call.starts_with(word))
    });
    let rolled_back = session.rollback();
    if wrote {
        let refused = |result: stix_store::Result<()>, what: &str| {
            let poisoned = matches!(result, Err(Error::Poisoned { .. }));
            ensure(poisoned, || format!("after {:?}, {what} gives {result:?}", fault.hits()))
        };
        refused(rolled_back, "rollback")?;
        let writer = session.writer.as_mut().unwrap();
        refused(writer.commit().map(|_| ()), "commit")?;
        refused(writer.view().map(|_| ()), "view")?;
        refused(writer.delete(b"x", stix_store::RunKey::MAX).map(|_| ()), "delete")?;
        return refused(session.close(), "close");
    }
    let more = rolled_back.and_then(|()| session.put(800, 800, b"after the fault").map(|_| ()));
    let more = more.and_then(|()| session.commit());
    // A read that failed while a durable commit was taken in poisons too: what the store holds is then not known.
    let may_fail = plan.times == Times::Always || matches!(more, Err(Error::Poisoned { .. }));
    ensure(more.is_ok() || may_fail, || format!("after {:?}, going on gives {more:?}", fault.hits()))
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of runs is part of what the test shows")]
fn every_failing_call_is_told_and_costs_nothing_acknowledged() {
    let mut runs = 0;
    for workload in ALL {
        let mut pass = Pass { workload, judged: HashSet::new() };
        let mut at = 0;
        while plans(at).into_iter().fold(false, |struck, plan| {
            runs += 1;
            let complain = |complaint| panic!("{} with {plan:?}: {complaint}", workload.name);
            pass.run(plan).unwrap_or_else(complain) || struck
        }) {
            at += 1;
        }
    }
    println!("fault pass: {runs} runs");
}

/// A store with an index, a delta, a tail behind them and a dictionary.
fn store_to_read(workload: &Workload) -> (Mem, Expected) {
    let mem = Mem::new();
    let mut session = Session::new(&mem, workload.vfs(&mem));
    (workload.run)(&mut session).unwrap();
    session.put(700, 700, b"behind the index").unwrap();
    session.commit().unwrap();
    session.leave();
    (mem.snapshot_all(), session.committed().clone())
}

#[test]
fn a_reader_that_meets_a_fault_gets_an_error_or_the_right_answer() {
    for workload in ALL {
        let (mem, expect) = store_to_read(workload);
        for times in [Times::Once, Times::Always] {
            for at in 0.. {
                let plan = FaultPlan { at, errno: EIO, times, written: 0 };
                let fault = Fault::new(Arc::new(mem.clone()), Some(plan));
                let read = || -> Compared {
                    let vfs: Arc<dyn ReadVfs> = Arc::new(fault.clone());
                    let store = Store::open_read_only_on(vfs).map_err(|error| error.to_string())?;
                    expect.compare(&store.view(), &BTreeSet::new())
                };
                let read = catch_unwind(AssertUnwindSafe(read)).unwrap();
                if fault.hits().is_empty() {
                    read.unwrap();
                    break;
                }
                if let Err(complaint) = read {
                    assert!(complaint.contains("os error 5"), "{}, {at}: {complaint}", workload.name);
                }
            }
        }
    }
}

#[test]
fn a_check_that_cannot_read_says_so_and_calls_nothing_damaged() {
    for workload in ALL {
        let (mem, _) = store_to_read(workload);
        for (at, times) in (0..).flat_map(|at| [(at, Times::Once), (at, Times::Always)]) {
            let plan = FaultPlan { at, errno: EIO, times, written: 0 };
            let fault = Fault::new(Arc::new(mem.clone()), Some(plan));
            let vfs: Arc<dyn ReadVfs> = Arc::new(fault.clone());
            let mut found = Found::default();
            let checked = check(
                &vfs,
                &CheckOptions { level: Level::Content, ..CheckOptions::default() },
                &mut found,
                &Stop::default(),
            );
            assert!(found.damage.is_empty(), "{}, {at}: {found:?}", workload.name);
            if fault.hits().is_empty() {
                checked.unwrap();
                break;
            }
            match checked {
                Err(error) => {
                    assert!(error.to_string().contains("os error 5"), "{}, {at}: {error}", workload.name);
                }
                // It was told, or reading a second time has helped.
                Ok(_) => {
                    assert!(times == Times::Once || !found.refused.is_empty(), "{}, {at}", workload.name);
                }
            }
        }
    }
}

#[test]
fn a_full_disk_does_not_keep_a_store_from_being_read_or_recovered() {
    // Recovery needs no space: with every write refused, a store with an uncommitted tail opens, and a writer can be taken.
    for workload in ALL {
        let (mem, expect) = store_to_read(workload);
        // Which commit this is does not matter here.
        let mut session = Session::resume(&mem, &vec![expect.clone(); 20]);
        session.open().unwrap();
        session.put(701, 700, b"never committed").unwrap();
        session.look().unwrap();
        session.leave();
        let writes = mem.ops().len();
        let store = Store::open_on(Arc::new(mem.clone())).unwrap();
        expect.compare(&store.view(), &BTreeSet::new()).unwrap();
        drop(store.writer(&stix_store::WriterOptions::default()).unwrap());
        let made = mem.ops();
        let made: Vec<_> = made[writes..].iter().map(|op| format!("{:?}", op.action)).collect();
        assert!(made.iter().all(|action| action.starts_with("Sync")), "{}: {made:?}", workload.name);
    }
}
