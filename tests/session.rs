//! A store under test and the map that says what it must hold: every change goes to both.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use stix_store::id::{CommitId, Instant, RunKey, StoreId};
use stix_store::progress::Stop;
use stix_store::store::compact::CompactOptions;
use stix_store::vfs::Vfs;
use stix_store::vfs::mem::{Action, Mem, Op};
use stix_store::{
    Body, Compression, CreateOptions, Error, Outcome, Put, PutKind, Result, Store, Writer, WriterOptions,
};

use crate::expected::{Expected, Record};

/// A session of a program with a store on a file system in memory. What it acknowledged, and what it was about to, is
/// marked in the log of that file system.
#[derive(Debug)]
pub(crate) struct Session {
    mem: Mem,
    vfs: Arc<dyn Vfs>,
    store: Option<Store>,
    pub(crate) writer: Option<Writer>,
    /// What the writer holds, uncommitted changes included.
    pub(crate) model: Expected,
    /// What the store holds after each commit; the first is the empty store.
    pub(crate) states: Vec<Expected>,
}

/// Most transactions that one compaction of a test makes.
const OWN_COMMITS: usize = 8;

/// Marks the place in a log from which on it is simulated.
pub(crate) const FROM_HERE: &str = "from here";

/// Options whose files are the same each time.
pub(crate) fn options(segment_size: u64, compression: Compression) -> CreateOptions {
    CreateOptions { segment_size, compression, store_id: Some(StoreId([7; 16])), dictionary: None }
}

/// A name of the usual form.
pub(crate) fn id(number: u32) -> Vec<u8> {
    format!("malware--{number:08x}-0000-4000-8000-000000000000").into_bytes()
}

/// A run's instant.
pub(crate) fn at(number: u64) -> Instant {
    Instant(63_840_924_000 + number * 60)
}

/// A run's key.
pub(crate) fn run(number: u64) -> RunKey {
    RunKey::new(at(number), 0)
}

/// A payload of a length that no other number has.
pub(crate) fn body(number: u32, len: usize) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < len {
        let salt = u64::try_from(text.len()).unwrap() * 104_729;
        write!(text, "{number} {} ", u64::from(number) * 7919 + salt).unwrap();
    }
    text.truncate(len);
    text.into_bytes()
}

impl Session {
    /// Starts on a file system without a store.
    pub(crate) fn new(mem: &Mem, vfs: Arc<dyn Vfs>) -> Session {
        let states = vec![Expected::default()];
        Session { mem: mem.clone(), vfs, store: None, writer: None, model: Expected::default(), states }
    }

    /// Starts with a store that is there, in one of these states. Its first call is [`open`](Session::open).
    pub(crate) fn resume(mem: &Mem, states: &[Expected]) -> Session {
        let mut session = Session::new(mem, Arc::new(mem.clone()));
        session.states = states.to_vec();
        session
    }

    /// Goes on with another way to the same files.
    pub(crate) fn go_on(&mut self, vfs: Arc<dyn Vfs>) {
        self.leave();
        self.vfs = vfs;
    }

    /// Creates the store.
    pub(crate) fn create(&mut self, options: &CreateOptions) -> Result<()> {
        self.store = Some(Store::create_on(self.vfs.clone(), options)?);
        self.mem.mark("created");
        Ok(())
    }

    /// Opens the store anew, as another process does that finds what the one before has left. What that one was about to
    /// commit is there or is not; the session goes on from what it finds.
    pub(crate) fn open(&mut self) -> Result<()> {
        self.leave();
        let store = Store::open_on(self.vfs.clone())?;
        let commit = usize::try_from(store.view().commit().0).unwrap();
        assert!(commit < self.states.len(), "commit {commit} was never issued");
        self.states.truncate(commit + 1);
        self.model = self.committed().clone();
        self.store = Some(store);
        Ok(())
    }

    /// Goes away without a word, as a killed process does.
    pub(crate) fn leave(&mut self) {
        self.writer = None;
        self.store = None;
        self.model = self.committed().clone();
    }

    /// Tells whether no store is open.
    pub(crate) fn has_left(&self) -> bool {
        self.store.is_none()
    }

    /// The state after the last commit.
    pub(crate) fn committed(&self) -> &Expected {
        self.states.last().unwrap()
    }

    /// The open store.
    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// The writer, taken if there is none.
    pub(crate) fn writer(&mut self) -> Result<&mut Writer> {
        if self.writer.is_none() {
            // On a real disk a child that another test has forked, and that is not yet its command, holds what this process has
            // open, the lock of the writer before included.
            let options = WriterOptions { lock_wait: Duration::from_secs(60), ..WriterOptions::default() };
            self.writer = Some(self.store().writer(&options)?);
        }
        Ok(self.writer.as_mut().unwrap())
    }

    fn put_run(&mut self, number: u64) -> Result<RunKey> {
        let name = at(number).canonical_name();
        let (run, _) = self.writer()?.put_run(at(number), &name, b"run")?;
        self.model.runs.insert(run, name);
        Ok(run)
    }

    /// Puts a run of its own.
    pub(crate) fn put_empty_run(&mut self, number: u64) -> Result<()> {
        self.put_run(number).map(|_| ())
    }

    /// Puts a snapshot.
    pub(crate) fn put(&mut self, number: u32, run: u64, body: &[u8]) -> Result<Outcome> {
        let run = self.put_run(run)?;
        let object = 0..u32::try_from(body.len()).unwrap();
        let (name, kind) = (id(number), PutKind::Snapshot);
        let put = Put { name: &name, run, kind, meta: b"meta", object, body: Body::Raw(body) };
        let outcome = self.writer()?.put(&put)?;
        self.model.records.insert((run, name), Record::Snapshot(body.to_vec()));
        Ok(outcome)
    }

    /// Puts all snapshots once more, as who was not told that they are stored does. Nothing is written, and all of it is
    /// acknowledged.
    pub(crate) fn put_again(&mut self) -> Result<()> {
        let all = self.committed().records.clone();
        for ((run, name), record) in &all {
            let Record::Snapshot(body) = record else { continue };
            let object = 0..u32::try_from(body.len()).unwrap();
            let (run, kind) = (*run, PutKind::Snapshot);
            let put = Put { name, run, kind, meta: b"meta", object, body: Body::Raw(body) };
            assert_eq!(self.writer()?.put(&put)?, Outcome::Unchanged);
        }
        self.commit()
    }

    /// Puts an alias.
    pub(crate) fn alias(&mut self, number: u32, run: u64, target: u32) -> Result<Outcome> {
        let run = self.put_run(run)?;
        let (name, target, kind) = (id(number), id(target), PutKind::Alias);
        let put = Put { name: &name, run, kind, meta: b"", object: 0..0, body: Body::Raw(&target) };
        let outcome = self.writer()?.put(&put)?;
        self.model.records.insert((run, name), Record::Alias(target));
        Ok(outcome)
    }

    /// Deletes a record.
    pub(crate) fn delete(&mut self, number: u32, at: u64) -> Result<bool> {
        self.delete_named(&id(number), run(at))
    }

    /// Deletes a record by its name.
    pub(crate) fn delete_named(&mut self, name: &[u8], run: RunKey) -> Result<bool> {
        let was_there = self.writer()?.delete(name, run)?;
        let removed = self.model.records.remove(&(run, name.to_vec()));
        assert_eq!(was_there, removed.is_some(), "delete tells whether there was something");
        Ok(was_there)
    }

    /// Deletes a run; one that holds something is refused.
    pub(crate) fn delete_run(&mut self, number: u64) -> Result<bool> {
        let holds = self.model.records.keys().any(|(at, _)| *at == run(number));
        match self.writer()?.delete_run(run(number)) {
            Err(Error::BadInput { .. }) if holds => Ok(false),
            deleted => {
                let deleted = deleted?;
                assert!(!holds, "a run with records was deleted");
                assert_eq!(deleted, self.model.runs.remove(&run(number)).is_some(), "of run {number}");
                Ok(deleted)
            }
        }
    }

    /// Lets the writer look at its own open transaction, which sends that to its segment.
    pub(crate) fn look(&mut self) -> Result<()> {
        self.writer()?.view().map(|_| ())
    }

    /// Commits. What is committed is marked before, as issued, and after, as acknowledged.
    pub(crate) fn commit(&mut self) -> Result<()> {
        if self.writer()?.pending() > 0 {
            self.states.push(self.model.clone());
            self.mem.mark(format!("issued {}", self.states.len() - 1));
        }
        let commit = self.writer()?.commit()?;
        assert_eq!(usize::try_from(commit.0), Ok(self.states.len() - 1), "commits are numbered without gaps");
        self.mem.mark(format!("acked {}", commit.0));
        Ok(())
    }

    /// Rolls back.
    pub(crate) fn rollback(&mut self) -> Result<()> {
        self.writer()?.rollback()?;
        self.model = self.committed().clone();
        Ok(())
    }

    /// Compacts segments with at least that many percent of garbage. Each batch is a transaction that changes nothing.
    pub(crate) fn compact(&mut self, threshold: u8) -> Result<()> {
        self.expect_commits_of_its_own();
        let options = CompactOptions { threshold, dry_run: false };
        let done = self.writer()?.compact(&options, &mut |_| {}, &Stop::default());
        // After a failure the writer may go on: then it knows how far it came.
        let writer = self.writer()?;
        if writer.rollback().is_ok() {
            let commit = writer.view()?.commit();
            self.have_committed(commit);
        }
        done.map(|_| ())
    }

    /// Says that what came before is only there to be built on.
    pub(crate) fn simulate_from_here(&self) {
        self.mem.mark(FROM_HERE);
    }

    /// Closes the writer where that is to merge small segments.
    pub(crate) fn close_and_merge(&mut self) -> Result<()> {
        self.expect_commits_of_its_own();
        self.close()?;
        let commit = Store::open_on(self.vfs.clone())?.view().commit();
        self.have_committed(commit);
        Ok(())
    }

    fn expect_commits_of_its_own(&mut self) {
        let state = self.committed().clone();
        self.states.extend(std::iter::repeat_n(state, OWN_COMMITS));
        self.mem.mark(format!("issued {}", self.states.len() - 1));
    }

    fn have_committed(&mut self, commit: CommitId) {
        let state = self.committed().clone();
        self.states.resize(usize::try_from(commit.0).unwrap() + 1, state);
        self.mem.mark(format!("issued {}", commit.0));
        self.mem.mark(format!("acked {}", commit.0));
    }

    /// Closes the writer.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.writer()?;
        let writer = self.writer.take().unwrap();
        self.model = self.committed().clone();
        writer.close()
    }
}

/// What a program had told its caller by some place in the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Promised {
    /// Whether the store was created.
    pub(crate) created: bool,
    /// The last commit acknowledged.
    pub(crate) acked: usize,
    /// The last commit begun.
    pub(crate) issued: usize,
}

impl Promised {
    /// Reads the marks among operations.
    pub(crate) fn by(ops: &[Op]) -> Promised {
        let mut promised = Promised::default();
        for op in ops.iter().filter(|op| op.action == Action::Mark) {
            let number = |word: &str| op.path.strip_prefix(word).map(|rest| rest.trim().parse().unwrap());
            promised.created |= op.path == "created";
            promised.issued = number("issued").unwrap_or(promised.issued);
            promised.acked = number("acked").unwrap_or(promised.acked);
        }
        Promised { issued: promised.issued.max(promised.acked), ..promised }
    }
}
