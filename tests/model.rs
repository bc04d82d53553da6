//! Random histories against a map: puts, overwrites, aliases, deletes, commits, rollbacks, closes, reopenings, crashes, with
//! segments so small that every border is met. After each step the live view, the committed view, and what the log alone
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
use stix_store::vfs::mem::{Fate, Mem};
use stix_store::{Compression, CreateOptions, Store};

use crate::expected::{Compared, damage_of, ensure, said};
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
    Put { name: u32, run: u64, body: Vec<u8> },
    PutAgain { name: u32, run: u64 },
    Alias { name: u32, run: u64, target: u32 },
    EmptyRun(u64),
    Delete { name: u32, run: u64 },
    DeleteRun(u64),
    Commit,
    Rollback,
    Look,
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
