//! Bugs that the simulator and the fault pass have found, each once more by itself.

use std::sync::Arc;

use stix_store::vfs::fault::{Fault, FaultPlan, Times};
use stix_store::vfs::mem::{Action, Fate, Mem, Op};
use stix_store::{Compression, Damage, Result, Store, WriterOptions};

use super::workloads::named;
use crate::expected::damage_of;
use crate::session::{Session, body, id, options};

fn is_rename(action: &Action) -> bool {
    matches!(action, Action::Rename { .. })
}

fn session(mem: &Mem) -> Session {
    let mut session = Session::new(mem, Arc::new(mem.clone()));
    session.create(&options(512, Compression::None)).unwrap();
    session
}

/// Fails the first call after which `ends` holds for the log, and all that follow: the process is killed there.
fn killed(run: impl Fn(&mut Session) -> Result<()>, ends: impl Fn(&[Action]) -> bool) -> (Mem, Session) {
    for at in 0.. {
        let mem = Mem::new();
        let plan = FaultPlan { at, errno: 5, times: Times::Always, written: 0 };
        let mut session = Session::new(&mem, Arc::new(Fault::new(Arc::new(mem.clone()), Some(plan))));
        let ended = run(&mut session);
        let actions: Vec<Action> = mem.ops().into_iter().map(|op| op.action).collect();
        if ends(&actions) {
            session.go_on(Arc::new(mem.clone()));
            return (mem, session);
        }
        ended.expect_err("the workload ends before it");
    }
    unreachable!()
}

#[test]
fn a_store_has_its_directory_of_segments_before_it_has_its_config() {
    // The directory was made durable only after the config, by the same sync. A power cut between the two could leave the
    // config alone: a store that opened, took no transaction ever, and could not be created again.
    let mem = Mem::new();
    session(&mem).leave();
    let config = mem.ops().iter().position(|op| op.path == "config").unwrap();
    let image = mem.crash_at(config + 1, |number, _| if number == config { Fate::Apply } else { Fate::Drop });
    let mut session = Session::resume(&image, &[crate::expected::Expected::default()]);
    session.open().unwrap();
    session.put(1, 1, b"x").unwrap();
    session.commit().unwrap();
}

#[test]
fn a_segment_that_a_power_cut_left_empty_or_torn_is_no_damage() {
    // The header of each segment was judged at once, and each record as it passed, before it was known whether anything of
    // it was ever committed. So after most power cuts `check` reported damage, for ever.
    let mem = Mem::new();
    let mut session = session(&mem);
    session.put(1, 1, b"committed").unwrap();
    session.commit().unwrap();
    session.leave();
    let whole = mem.bytes("data/0000000001.seg").unwrap();
    for len in 0..whole.len() - 89 {
        let torn = mem.snapshot_all();
        let mut bytes = whole.clone();
        bytes[len..].fill(0);
        torn.set_bytes("data/0000000002.seg", bytes);
        let found = damage_of(&torn).unwrap().damage;
        let misplaced =
            |(damage, _): &(Option<Damage>, String)| matches!(damage, Some(Damage::Misplaced { .. }));
        // A whole header of another segment is what two swapped files look like.
        assert!(found.iter().all(|found| len >= 96 && misplaced(found)), "cut at {len}: {found:?}");
    }
}

#[test]
fn a_store_stays_writable_after_a_damaged_commit_was_adopted_and_indexed() {
    // The index covered the adopted transaction, whose COMMIT does not read. The next writer took that for proof of a lost
    // commit and refused.
    let mem = Mem::new();
    let mut session = session(&mem);
    session.put(1, 1, b"x").unwrap();
    session.commit().unwrap();
    session.leave();
    let mut bytes = mem.bytes("data/0000000001.seg").unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    mem.set_bytes("data/0000000001.seg", bytes);
    for _ in 0..2 {
        let store = Store::open_on(Arc::new(mem.clone())).unwrap();
        assert_eq!(store.view().len(), 1);
        store.writer(&WriterOptions::default()).unwrap().close().unwrap();
    }
    session.open().unwrap();
    session.put(2, 1, b"y").unwrap();
    session.commit().unwrap();
    session.close().unwrap();
    let found = damage_of(&mem).unwrap().damage;
    assert!(matches!(found.as_slice(), [(Some(Damage::CommitLost { .. }), _)]), "{found:?}");
}

#[test]
fn a_commit_that_a_killed_process_left_in_the_cache_is_durable_before_it_is_acknowledged() {
    // The process was killed after it had written its COMMIT and before it had synced it. The next one found the COMMIT and
    // answered that putting the same again changes nothing; then the power failed, and it was gone.
    let commits = |actions: &[Action]| {
        actions
            .iter()
            .filter(|action| matches!(action, Action::Append { bytes, .. } if bytes.len() == 89))
            .count()
    };
    let (mem, mut session) = killed(named("first_commit").run, |actions| commits(actions) > 0);
    assert!(!mem.ops().iter().any(|op| op.path.starts_with("acked")), "nothing was acknowledged");
    session.open().unwrap();
    assert_eq!(session.committed().records.len(), 2);
    session.put_again().unwrap();
    let view = Store::open_on(Arc::new(mem.crash())).unwrap().view();
    assert_eq!(view.len(), 2);
}

#[test]
fn a_store_that_a_killed_process_left_in_the_cache_is_durable_before_it_is_used() {
    // Creation was killed before the sync that makes the config last. The next process opened the store and wrote to it, and
    // only the segments were synced: after a power cut the config was gone.
    let (mem, mut session) = killed(named("first_commit").run, |actions| actions.iter().any(is_rename));
    session.open().unwrap();
    session.put(1, 1, b"x").unwrap();
    session.commit().unwrap();
    let image = mem.crash();
    assert_eq!(Store::open_on(Arc::new(image.clone())).unwrap().view().len(), 1);
    let found = damage_of(&image).unwrap().damage;
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_next_checkpoint_removes_what_a_crash_left_of_the_last_one() {
    // Temporary names carry the number of a commit, so no later checkpoint replaced them.
    let mem = Mem::new();
    let mut session = session(&mem);
    session.put(1, 1, b"x").unwrap();
    session.commit().unwrap();
    let ours = ["hints.7.tmp", "index.tmp", "config.tmp", "dict.00112233445566778899aabbccddeeff.tmp"];
    let others = ["notes.tmp", "index.txt.tmp"];
    for name in ours.iter().chain(&others) {
        assert!(mem.set_bytes(name, b"half".to_vec()));
    }
    session.close().unwrap();
    let left: Vec<String> = mem.paths().into_iter().filter(|path| path.ends_with(".tmp")).collect();
    assert_eq!(left, ["index.txt.tmp", "notes.tmp"], "what is not ours stays");
}

/// A store whose segments are nothing but garbage once they are compacted, one with a DELETE that is needed no more.
fn compacted(session: &mut Session) -> Result<()> {
    if session.has_left() {
        session.create(&options(512, Compression::None))?;
    }
    session.put(1, 1, &body(1, 300))?;
    session.put(2, 1, &body(2, 50))?;
    session.commit()?;
    session.close()?;
    session.put(1, 1, &body(3, 400))?;
    session.delete(2, 1)?;
    session.commit()?;
    session.close()?;
    session.compact(1)
}

#[test]
fn a_compaction_that_was_cut_off_after_its_commit_is_no_damage() {
    // Killed between its COMMIT and its index, a compaction left the index before it, which lists segments that the COMMIT
    // gave up, and DELETEs in them. `check` called the ones missing and the others gone; all could be read.
    let mem = Mem::new();
    let mut session = session(&mem);
    compacted(&mut session).unwrap();
    let is_hints = |op: &Op| matches!(op.action, Action::Create { .. }) && op.path.starts_with("hints.");
    let image = mem.crash_at(mem.ops().iter().rposition(is_hints).unwrap(), |_, _| Fate::Apply);
    let view = Store::open_on(Arc::new(image.clone())).unwrap().view();
    assert_eq!(usize::try_from(view.commit().0), Ok(session.states.len() - 1), "the COMMIT is there");
    session.committed().compare(&view, &[id(2)].into()).unwrap();
    let found = damage_of(&image).unwrap();
    assert!(found.damage.is_empty() && !found.dead.is_empty(), "{found:?}");
}

#[test]
fn an_index_that_a_killed_compaction_left_in_the_cache_is_durable_before_segments_are_removed() {
    // A compaction was killed after it had renamed its index and before it had synced the directory. The next writer found
    // nothing to publish and removed the dead segments; then the power failed, the index before was back, and it named
    // DELETEs in segments that were gone: looking these ids up ended with an error.
    let renames = |actions: &[Action]| actions.iter().filter(|action| is_rename(action)).count();
    // That of the config, and two for each checkpoint: the last is that of the compaction.
    let (mem, session) = killed(compacted, |actions| renames(actions) == 7);
    let before = mem.paths().len();
    let store = Store::open_on(Arc::new(mem.clone())).unwrap();
    drop(store.writer(&WriterOptions::default()).unwrap());
    assert!(mem.paths().len() < before, "segments were removed");
    let view = Store::open_on(Arc::new(mem.crash())).unwrap().view();
    session.committed().compare(&view, &[id(2)].into()).unwrap();
}
