//! The judge: what must hold of a file system that a crash has left.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use stix_store::limits::SEGMENT_SIZE_MIN_BYTES;
use stix_store::vfs::mem::{Action, Mem, Op};
use stix_store::vfs::{ReadVfs, Vfs};
use stix_store::{Compression, Damage, Error, Store, WriterOptions};

use crate::expected::{Compared, Expected, damage_of, ensure, said};
use crate::session::{Promised, Session, id, options};

/// Numbers that no workload uses, for the transaction that follows a recovery.
const FRESH: (u32, u64) = (900, 900);

/// What is known of an image beside its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Known<'k> {
    /// What the store held after each commit.
    pub(crate) states: &'k [Expected],
    /// What the program had told its caller.
    pub(crate) promised: Promised,
    /// Whether a write arrived in part or as something else.
    pub(crate) torn: bool,
    /// Damage that an earlier crash was forgiven.
    pub(crate) forgiven: &'k [Damage],
}

/// Judges an image. Returns the commit that it holds, if it holds a store, or what is wrong.
///
/// The invariants, as numbered in the design: the state is that after some commit (I1), no older than the last
/// acknowledged one (I2), whole transactions only (I3), and the bytes are those put (I4); a check after recovery finds no
/// damage (I5); readers see before recovery what they see after it (I6); a second recovery changes nothing (I7); the next
/// close leaves no file behind that is not part of the store (I8); no byte of the log is changed or removed (I9); the next
/// commits work (I10); the index says what the log says (I11).
pub(crate) fn judge(image: &Mem, known: &Known<'_>) -> Compared<Option<usize>> {
    let of_state = |state: &Expected| state.records.keys().map(|(_, name)| name.clone()).collect::<Vec<_>>();
    let mut names: BTreeSet<Vec<u8>> = known.states.iter().flat_map(of_state).collect();
    names.insert(id(FRESH.0));
    let judge = Judge { image, known, names };
    let Some(commit) = judge.before_recovery()? else { return judge.creation_can_be_repeated() };
    judge.log_alone(commit)?;
    judge.recovery(commit, false)?;
    judge.recovery(commit, true)?;
    judge.next_commits(commit)?;
    Ok(Some(commit))
}

struct Judge<'j> {
    image: &'j Mem,
    known: &'j Known<'j>,
    names: BTreeSet<Vec<u8>>,
}

impl Judge<'_> {
    fn state(&self, commit: usize) -> &Expected {
        &self.known.states[commit]
    }

    /// I1 to I4. `None`: there is no store yet, and none was promised.
    fn before_recovery(&self) -> Compared<Option<usize>> {
        let copy = self.image.snapshot_all();
        let vfs: Arc<dyn ReadVfs> = Arc::new(copy.clone());
        let view = match Store::open_read_only_on(vfs) {
            Ok(store) => store.view(),
            Err(Error::NoStore { .. }) if !self.known.promised.created => return Ok(None),
            Err(error) => return Err(format!("opening read-only: {error}")),
        };
        let commit = usize::try_from(view.commit().0).unwrap();
        let Promised { acked, issued, .. } = self.known.promised;
        let range = acked..=issued.min(self.known.states.len() - 1);
        ensure(range.contains(&commit), || format!("commit {commit} is newest, expected one of {range:?}"))?;
        self.state(commit).compare(&view, &self.names).map_err(|why| format!("commit {commit}: {why}"))?;
        ensure(copy.ops().is_empty(), || format!("reading wrote: {:?}", copy.ops()))?;
        Ok(Some(commit))
    }

    /// I11: the same without index and hints.
    fn log_alone(&self, commit: usize) -> Compared {
        let copy = self.image.snapshot_all();
        for path in
            copy.paths().iter().filter(|path| path.starts_with("index.") || path.starts_with("hints."))
        {
            copy.remove_raw(path);
        }
        let view = said("opening without an index", Store::open_on(Arc::new(copy.clone())))?.view();
        self.state(commit).compare(&view, &self.names).map_err(|why| format!("without an index: {why}"))?;
        self.no_damage(&copy, commit, "without an index")
    }

    /// I5: no damage. What a torn write may look like is forgiven where it cannot be told from rot: the COMMIT of a
    /// transaction that nobody acknowledged, almost whole and so adopted; and the start of another segment in the place of a
    /// new one, which is what two swapped files look like.
    fn no_damage(&self, mem: &Mem, commit: usize, when: &str) -> Compared {
        let Known { promised, torn, forgiven, .. } = self.known;
        let mut found = damage_of(mem)?.damage;
        let is_forgiven = |damage: &Damage| match damage {
            _ if forgiven.contains(damage) => true,
            Damage::CommitLost { commit: lost } => {
                *torn && commit > promised.acked && usize::try_from(lost.0) == Ok(commit)
            }
            Damage::Misplaced { .. } => *torn,
            _ => false,
        };
        found.retain(|(damage, _)| !damage.as_ref().is_some_and(is_forgiven));
        ensure(found.is_empty(), || format!("check {when} finds damage: {found:?}"))
    }

    /// I5, I6, I7, I9, for a writer that is dropped and one that is closed.
    fn recovery(&self, commit: usize, close: bool) -> Compared {
        let when = if close { "after recovery and close" } else { "after recovery" };
        let copy = self.image.snapshot_all();
        let recover = || -> Compared {
            let store = said("opening to recover", Store::open_on(Arc::new(copy.clone())))?;
            let writer = said("recovering", store.writer(&WriterOptions::default()))?;
            if close {
                said("closing after recovery", writer.close())?;
            } else {
                drop(writer);
            }
            self.state(commit).compare(&store.view(), &self.names).map_err(|why| format!("{when}: {why}"))
        };
        recover()?;
        let store = said(when, Store::open_on(Arc::new(copy.clone())))?;
        self.state(commit).compare(&store.view(), &self.names).map_err(|why| format!("{when}: {why}"))?;
        let settled = copy.ops().len();
        recover()?;
        let again: Vec<Op> = copy.ops().into_iter().skip(settled).filter(changes).collect();
        ensure(again.is_empty(), || format!("{when}, a second one still changes something: {again:?}"))?;
        self.log_is_kept(&copy)?;
        self.no_damage(&copy, commit, when)
    }

    /// I9: what stands in the segments stays as it is. Those that a compaction left behind may go.
    fn log_is_kept(&self, after: &Mem) -> Compared {
        let dead = damage_of(self.image)?.dead;
        let paths = self.image.paths();
        let segments: Vec<&String> = paths.iter().filter(|path| path.starts_with("data/")).collect();
        // The next close of a writer merges so many.
        let merges = segments.len() >= 64;
        for path in segments {
            let left = after.bytes(path);
            let same = self.image.bytes(path) == left || left.is_none() && (merges || dead.contains(path));
            ensure(same, || format!("{path} was changed or removed"))?;
        }
        Ok(())
    }

    /// I8 and I10: two more transactions, acknowledged, survive the end of the process and a power cut.
    fn next_commits(&self, commit: usize) -> Compared {
        let copy = self.image.snapshot_all();
        let mut session = Session::resume(&copy, &self.known.states[..=commit]);
        said("the next transaction", next_transaction(&mut session))?;
        let expect = session.committed().clone();
        self.holds(&copy.snapshot_all(), &expect, "after the next commit")?;
        self.holds(&copy.crash(), &expect, "after the next commit and a power cut")?;
        said("the next close", session.close())?;
        session.leave();
        self.holds(&copy, &expect, "after the next close")?;
        self.holds(&copy.crash(), &expect, "after the next close and a power cut")?;
        self.log_is_kept(&copy)?;
        self.no_damage(&copy, commit, "after the next close")?;
        let left: Vec<String> = copy.paths().into_iter().filter(|path| path.ends_with(".tmp")).collect();
        ensure(left.is_empty(), || format!("left behind after the next close: {left:?}"))
    }

    fn holds(&self, mem: &Mem, expect: &Expected, when: &str) -> Compared {
        let store = said(when, Store::open_on(Arc::new(mem.clone())))?;
        expect.compare(&store.view(), &self.names).map_err(|why| format!("{when}: {why}"))
    }

    /// A creation that was cut off can be done again.
    fn creation_can_be_repeated(&self) -> Compared<Option<usize>> {
        let copy = self.image.snapshot_all();
        let vfs: Arc<dyn Vfs> = Arc::new(copy.clone());
        let mut session = Session::new(&copy, vfs);
        let options = options(SEGMENT_SIZE_MIN_BYTES, Compression::Zstd);
        said("creating again", session.create(&options))?;
        said("the first transaction", next_transaction(&mut session))?;
        self.holds(&copy.crash(), &session.committed().clone(), "created again")?;
        self.no_damage(&copy, 0, "created again")?;
        Ok(None)
    }
}

/// What is done with a store after a crash: two commits that put, delete and overwrite.
pub(super) fn next_transaction(session: &mut Session) -> stix_store::Result<()> {
    if session.has_left() {
        session.open()?;
    }
    let old = session.committed().records.keys().next().cloned();
    session.put(FRESH.0, FRESH.1, b"after the crash")?;
    if let Some((run, name)) = old {
        session.delete_named(&name, run)?;
    }
    session.commit()?;
    session.put(FRESH.0, FRESH.1, b"after the crash, once more")?;
    session.commit()
}

/// Tells whether an operation changes something that lasts. Lock files are none of it.
fn changes(op: &Op) -> bool {
    let inert = matches!(op.action, Action::Sync { .. } | Action::SyncDir { .. } | Action::Mark);
    !inert && op.path != "lock" && op.path != "readers"
}

/// Hashes all files and directories: images that are alike are judged once.
pub(crate) fn hash_of(image: &Mem) -> u64 {
    let mut hasher = DefaultHasher::new();
    let vfs: &dyn ReadVfs = image;
    for entry in vfs.list("").unwrap().unwrap_or_default() {
        entry.name.hash(&mut hasher);
    }
    for path in image.paths() {
        image.bytes(&path).hash(&mut hasher);
        path.hash(&mut hasher);
    }
    hasher.finish()
}
