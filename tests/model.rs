//! Random histories against a map: puts, overwrites, aliases, deletes, commits, rollbacks, compactions, closes, reopenings,
//! crashes, flipped bits and repairs, with segments so small that every border is met. After each step the live view, the committed view, and what the log alone
//! says are compared with the map. Attic fails 15 % of
//! such histories (acceptance test 54); of ours none may.
//!
//! `STORE_MODEL_CASES=10000` runs that many histories. One that fails is shrunk, and its seed is kept in
//! `model.regressions` beside this file, which is committed.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};
use stix_store::id::CommitId;
use stix_store::progress::Stop;
use stix_store::store::repair::RepairOptions;
use stix_store::vfs::mem::{Fate, Mem};
use stix_store::{Compression, CreateOptions, Error, Store, View, WriterOptions};

use crate::expected::{Compared, Record, damage_of, ensure, said};
use crate::session::{Promised, Session, body, id, options, run as run_key};

/// Histories of an ordinary run.
const CASES: u32 = 256;
/// Names and runs are few, so that histories meet themselves.
const NAMES: u32 = 6;
const RUNS: u64 = 4;

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It closes its writer.
    Clean,
    /// It is killed: what it wrote is there.
    Killed,
    /// The power fails: what was not synced is gone, or, by the bits of the number, is not.
    Power(u64),
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Put {
        name: u32,
        run: u64,
        body: Vec<u8>,
    },
    PutAgain {
        name: u32,
        run: u64,
    },
    Alias {
        name: u32,
        run: u64,
        target: u32,
    },
    EmptyRun(u64),
    Delete {
        name: u32,
        run: u64,
    },
    DeleteRun(u64),
    Commit,
    Rollback,
    Look,
    Compact {
        threshold: u8,
    },
    /// A flipped bit, in a copy: nothing wrong is ever served, and a repair leaves what was not hit.
    Corrupt {
        file: usize,
        at: usize,
        bit: u8,
    },
    Reopen(End),
}

fn step() -> impl Strategy<Value = Step> {
    let (name, run) = (0..NAMES, 0..RUNS);
    let len = prop_oneof![6 => 0..90usize, 2 => 90..600usize];
    let put = (name.clone(), run.clone(), 0..1000u32, len);
    let end = prop_oneof![
        3 => Just(End::Clean),
        2 => Just(End::Killed),
        1 => Just(End::Power(0)),
        2 => any::<u64>().prop_map(End::Power),
    ];
    prop_oneof![
        9 => put.prop_map(|(name, run, seed, len)| Step::Put { name, run, body: body(seed, len) }),
        1 => (name.clone(), run.clone()).prop_map(|(name, run)| Step::PutAgain { name, run }),
        2 => (name.clone(), run.clone(), name.clone())
            .prop_map(|(name, run, target)| Step::Alias { name, run, target }),
        1 => run.clone().prop_map(Step::EmptyRun),
        4 => (name, run.clone()).prop_map(|(name, run)| Step::Delete { name, run }),
        1 => run.prop_map(Step::DeleteRun),
        6 => Just(Step::Commit),
        1 => Just(Step::Rollback),
        1 => Just(Step::Look),
        1 => (1..100u8).prop_map(|threshold| Step::Compact { threshold }),
        1 => (any::<usize>(), any::<usize>(), 0..8u8)
            .prop_map(|(file, at, bit)| Step::Corrupt { file, at, bit }),
        3 => end.prop_map(Step::Reopen),
    ]
}

fn create_options() -> impl Strategy<Value = CreateOptions> {
    let size = prop_oneof![Just(512u64), 512..4096u64];
    (size, any::<bool>()).prop_map(|(size, compressed)| {
        options(size, if compressed { Compression::Zstd } else { Compression::None })
    })
}

/// A store in the middle of a history.
struct History {
    mem: Mem,
    session: Session,
    /// Whether the writer's own view is compared after each step too. That sends each change to its segment at once, so
    /// half of the histories do without.
    looks: bool,
    names: BTreeSet<Vec<u8>>,
    /// The commit that the last power cut has left.
    durable: usize,
}

impl History {
    fn begin(options: &CreateOptions, looks: bool) -> Compared<History> {
        let mem = Mem::new();
        let mut session = Session::new(&mem, Arc::new(mem.clone()));
        said("create", session.create(options))?;
        Ok(History { mem, session, looks, names: (0..NAMES).map(id).collect(), durable: 0 })
    }

    fn step(&mut self, step: &Step) -> Compared {
        let session = &mut self.session;
        let done = match step {
            Step::Put { name, run, body } => session.put(*name, *run, body).map(|_| ()),
            Step::PutAgain { name, run } => match session.committed().snapshot(&id(*name), run_key(*run)) {
                Some(body) => session.put(*name, *run, &body).map(|_| ()),
                None => Ok(()),
            },
            Step::Alias { name, run, target } => session.alias(*name, *run, *target).map(|_| ()),
            Step::EmptyRun(run) => session.put_empty_run(*run),
            Step::Delete { name, run } => session.delete(*name, *run).map(|_| ()),
            Step::DeleteRun(run) => session.delete_run(*run).map(|_| ()),
            Step::Commit => session.commit(),
            Step::Rollback => session.rollback(),
            Step::Look => session.look(),
            Step::Compact { threshold } => session.rollback().and_then(|()| session.compact(*threshold)),
            Step::Corrupt { file, at, bit } => return self.corrupt(*file, *at, *bit),
            Step::Reopen(end) => return self.reopen(*end),
        };
        said("the step", done)?;
        if self.looks {
            let view = said("the writer's view", said("writer", self.session.writer())?.view())?;
            let model = &self.session.model;
            model.compare(&view, &self.names).map_err(|why| format!("live view: {why}"))?;
        }
        let view = self.session.store().view();
        self.session
            .committed()
            .compare(&view, &self.names)
            .map_err(|why| format!("committed view: {why}"))?;
        self.log_alone()
    }

    /// Compares what the log alone says with the map.
    fn log_alone(&self) -> Compared {
        let copy = self.mem.snapshot_all();
        for path in
            copy.paths().iter().filter(|path| path.starts_with("index.") || path.starts_with("hints."))
        {
            copy.remove_raw(path);
        }
        let view = said("replay", Store::open_on(Arc::new(copy)))?.view();
        let compared = self.session.committed().compare(&view, &self.names);
        compared.map_err(|why| format!("the log alone: {why}"))
    }

    fn corrupt(&self, file: usize, at: usize, bit: u8) -> Compared {
        let copy = self.mem.snapshot_all();
        let files: Vec<(String, Vec<u8>)> =
            copy.paths().into_iter().filter_map(|path| Some((path.clone(), copy.bytes(&path)?))).collect();
        let (path, mut bytes) = files[file % files.len()].clone();
        if path == "lock" || bytes.is_empty() {
            return Ok(());
        }
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        copy.set_bytes(&path, bytes);
        let place = || format!("bit {bit} of byte {at} of {path} flipped");
        let opened = Store::open_read_only_on(Arc::new(copy.clone()));
        if path == "config" && self.session.states.len() == 1 {
            // Nothing else says what an empty store is.
            let damaged = matches!(opened, Ok(_) | Err(Error::Damaged { .. }));
            return ensure(damaged, || format!("{}: {opened:?}", place()));
        }
        let store = said("open", opened)?;
        self.nothing_wrong(&store.view(), false).map_err(|why| format!("{}: {why}", place()))?;
        drop(store);
        damage_of(&copy).map_err(|why| format!("{}: {why}", place()))?;
        let store = said("open to repair", Store::open_on(Arc::new(copy.clone())))?;
        let (options, how) = (WriterOptions::default(), RepairOptions::default());
        let report = said("repair", store.repair(&options, how, None, &mut |_| {}, &Stop::default()))?;
        let view = said("open", Store::open_read_only_on(Arc::new(copy.clone())))?.view();
        let unknown = !report.unknown.is_empty();
        self.nothing_wrong(&view, unknown).map_err(|why| format!("{}, repaired: {why}", place()))?;
        let left = damage_of(&copy)?.damage;
        ensure(left.is_empty(), || format!("{}: after the repair: {left:?}", place()))
    }

    /// Complains of a record that is not the one committed: it may be told as damaged, or be gone after a repair or where the
    /// view says that somebody's records are.
    fn nothing_wrong(&self, view: &View, unknown: bool) -> Compared {
        for ((run, name), record) in &self.session.committed().records {
            let Record::Snapshot(expect) = record else { continue };
            let found = match view.get(name, *run) {
                Ok(Some(found)) => found.body().map(|body| Some(body.into_owned())),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            let name = String::from_utf8_lossy(name);
            match found {
                Ok(Some(found)) if found == *expect => {}
                Ok(Some(_)) => return Err(format!("{name} in {run:?} has other bytes")),
                // A repair commits what it has given up.
                Ok(None) if view.gaps() > 0 || unknown || view.commit() > self.commit() => {}
                Ok(None) => return Err(format!("{name} in {run:?} is gone")),
                Err(Error::Damaged { .. }) => {}
                Err(other) => return Err(format!("{name} in {run:?}: {other}")),
            }
        }
        Ok(())
    }

    fn commit(&self) -> CommitId {
        CommitId(u64::try_from(self.session.states.len() - 1).unwrap())
    }

    fn reopen(&mut self, end: End) -> Compared {
        // Since the last power cut, that is; what was there after that one is durable.
        let acked = Promised::by(&self.mem.ops()).acked.max(self.durable);
        match end {
            End::Clean => said("close", self.session.close())?,
            End::Killed => self.session.leave(),
            End::Power(bits) => {
                let states = self.session.states.clone();
                let fate =
                    |number: usize| if bits >> (number % 64) & 1 == 1 { Fate::Apply } else { Fate::Drop };
                self.mem = self.mem.crash_at(usize::MAX, |number, _| fate(number));
                self.session = Session::resume(&self.mem, &states);
            }
        }
        said("open", self.session.open())?;
        let commit = self.session.states.len() - 1;
        ensure(commit >= acked, || format!("commit {commit} is newest, but {acked} was acknowledged"))?;
        if let End::Power(_) = end {
            self.durable = commit;
        }
        self.session.committed().compare(&self.session.store().view(), &self.names)?;
        let found = damage_of(&self.mem)?.damage;
        ensure(found.is_empty(), || format!("check finds damage: {found:?}"))?;
        self.log_alone()
    }
}

fn cases() -> u32 {
    std::env::var("STORE_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

fn config() -> Config {
    Config {
        cases: cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn live_view_and_committed_view_and_replay_agree_with_a_map_after_each_step(
        options in create_options(),
        looks in any::<bool>(),
        steps in vec(step(), 1..60),
    ) {
        let mut history = History::begin(&options, looks).map_err(TestCaseError::fail)?;
        for (number, step) in steps.iter().enumerate() {
            let done = history.step(step);
            done.map_err(|why| TestCaseError::fail(format!("step {number}, {step:?}: {why}")))?;
        }
        for end in [End::Power(0), End::Clean] {
            history.reopen(end).map_err(|why| TestCaseError::fail(format!("{end:?} at the end: {why}")))?;
        }
    }
}
