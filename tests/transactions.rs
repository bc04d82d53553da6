//! What a transaction promises, case by case. Most are acceptance tests that Attic and Borg have, or should have had; their
//! numbers stand in brackets. Those about compaction and repair come with these; 54 is `model.rs`, 55 and 56 are `crash.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use assert_cmd::Command;
use stix_store::id::{Key, ObjectKey};
use stix_store::limits::{FILE_MAX_BYTES, NAME_MAX_BYTES};
use stix_store::vfs::mem::Mem;
use stix_store::{
    Body, Compression, CreateOptions, Damage, Error, Outcome, Put, PutKind, Result, Store, View,
    WriterOptions,
};

use crate::expected::{Expected, damage_of};
use crate::session::{Session, at, body, id, options, run};

/// Bytes of a COMMIT record.
const COMMIT_LEN: usize = 89;

fn session(segment_size: u64, compression: Compression) -> (Mem, Session) {
    let mem = Mem::new();
    let mut session = Session::new(&mem, Arc::new(mem.clone()));
    session.create(&options(segment_size, compression)).unwrap();
    (mem, session)
}

fn latest(view: &View, number: u32) -> Option<Vec<u8>> {
    view.latest(id(number)).unwrap().map(|found| found.body().unwrap().into_owned())
}

/// Compares what the store says, now and opened anew, with and without its index, and checks it.
fn assert_holds(mem: &Mem, expect: &Expected) {
    let names: BTreeSet<Vec<u8>> = (0..110).map(id).collect();
    let without_index = mem.snapshot_all();
    for path in mem.paths().iter().filter(|path| path.starts_with("index.")) {
        without_index.remove_raw(path);
    }
    for mem in [mem, &mem.crash(), &without_index] {
        let store = Store::open_on(Arc::new(mem.clone())).unwrap();
        expect.compare(&store.view(), &names).unwrap();
        let found = damage_of(mem).unwrap().damage;
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn a_deleted_one_of_a_hundred_is_gone_at_once_after_the_commit_and_after_reopening() {
    // [1]
    let (mem, mut session) = session(1 << 20, Compression::Zstd);
    for number in 0..100 {
        session.put(number, 1, &body(number, 50)).unwrap();
    }
    session.commit().unwrap();
    assert_eq!(latest(&session.store().view(), 50), Some(body(50, 50)));
    session.delete(50, 1).unwrap();
    let view = session.writer().unwrap().view().unwrap();
    assert_eq!(latest(&view, 50), None);
    session.commit().unwrap();
    assert_eq!(latest(&session.store().view(), 50), None);
    assert_eq!(session.store().view().len(), 99);
    session.close().unwrap();
    assert_holds(&mem, session.committed());
}

#[test]
fn after_two_transactions_the_new_value_is_read_and_the_deleted_one_is_not() {
    // [2]
    let (mem, mut session) = session(512, Compression::None);
    session.put(0, 1, b"foo").unwrap();
    session.put(1, 1, b"bar").unwrap();
    session.commit().unwrap();
    session.delete(0, 1).unwrap();
    session.put(1, 1, b"bar2").unwrap();
    session.commit().unwrap();
    assert_eq!(latest(&session.store().view(), 1), Some(b"bar2".to_vec()));
    session.leave();
    assert_holds(&mem, session.committed());
}

#[test]
fn within_a_transaction_each_read_sees_the_latest_change() {
    // [3], [5]
    let (mem, mut session) = session(1 << 20, Compression::Zstd);
    for text in [&b"foo"[..], b"foo2", b"bar"] {
        session.put(0, 1, text).unwrap();
        assert_eq!(latest(&session.writer().unwrap().view().unwrap(), 0), Some(text.to_vec()));
        assert_eq!(latest(&session.store().view(), 0), None, "others do not see it");
    }
    session.delete(0, 1).unwrap();
    assert_eq!(latest(&session.writer().unwrap().view().unwrap(), 0), None);
    session.put(1, 1, b"one").unwrap();
    session.put(1, 1, b"two").unwrap();
    session.commit().unwrap();
    assert_eq!(latest(&session.store().view(), 0), None);
    assert_eq!(latest(&session.store().view(), 1), Some(b"two".to_vec()));
    session.leave();
    assert_holds(&mem, session.committed());
}

#[test]
fn after_a_rollback_the_old_value_is_read_and_the_writer_goes_on() {
    // [4], [10]: in Attic the writer went on in a file that was unlinked, and `check` found nothing wrong.
    for looks in [false, true] {
        let (mem, mut session) = session(512, Compression::None);
        session.put(0, 1, b"foo").unwrap();
        session.commit().unwrap();
        session.put(0, 1, b"bar").unwrap();
        session.put(5, 1, b"never").unwrap();
        if looks {
            session.look().unwrap();
        }
        session.rollback().unwrap();
        assert_eq!(latest(&session.writer().unwrap().view().unwrap(), 0), Some(b"foo".to_vec()));
        session.put(1, 1, b"after").unwrap();
        session.commit().unwrap();
        session.leave();
        assert_holds(&mem, session.committed());
    }
}

#[test]
fn transactions_of_puts_of_overwrites_and_of_deletes_alone_commit_each_in_a_fresh_handle() {
    // [6]
    let (mem, mut session) = session(512, Compression::Zstd);
    session.put(0, 1, b"foo").unwrap();
    session.put(1, 1, b"bar").unwrap();
    session.commit().unwrap();
    session.close().unwrap();
    session.open().unwrap();
    session.put(0, 1, b"foo2").unwrap();
    session.commit().unwrap();
    session.close().unwrap();
    session.open().unwrap();
    session.delete(0, 1).unwrap();
    session.commit().unwrap();
    session.close().unwrap();
    assert_holds(&mem, session.committed());
}

#[test]
fn a_listing_goes_on_behind_a_marker_and_refuses_one_it_does_not_know() {
    // [7], [10]: Attic ended in a segmentation fault.
    let (_, mut session) = session(1 << 20, Compression::None);
    for number in 0..100 {
        session.put(number, 1, b"x").unwrap();
    }
    let view = session.writer().unwrap().view().unwrap();
    assert_eq!(view.list(usize::MAX, None).unwrap().len(), 100, "uncommitted");
    session.commit().unwrap();
    let view = session.store().view();
    let all = view.list(usize::MAX, None).unwrap();
    let half = view.list(50, None).unwrap();
    assert_eq!((all.len(), &half[..]), (100, &all[..50]));
    assert_eq!(view.list(usize::MAX, half.last()).unwrap(), all[50..]);
    assert!(view.list(usize::MAX, all.last()).unwrap().is_empty());
    let unknown = Key::new(ObjectKey::of(b"nobody"), run(1));
    assert!(matches!(view.list(10, Some(&unknown)), Err(Error::BadInput { .. })));
}

#[test]
fn what_is_larger_than_a_limit_is_refused_before_a_byte_is_written() {
    // [8]: Attic wrote what it could not read again. A payload of the largest size takes 2 GiB of memory; the name stands
    // for it here, at its limit and one beyond.
    let (mem, mut session) = session(512, Compression::None);
    session.put_empty_run(1).unwrap();
    let name = vec![b'n'; NAME_MAX_BYTES];
    let put = |name: &[u8], session: &mut Session| {
        let (kind, body) = (PutKind::Snapshot, Body::Raw(b"{}"));
        let put = Put { name, run: run(1), kind, meta: b"", object: 0..2, body };
        session.writer().unwrap().put(&put)
    };
    assert_eq!(put(&name, &mut session).unwrap(), Outcome::Added);
    let longer = [&name[..], b"n"].concat();
    assert!(matches!(put(&longer, &mut session), Err(Error::TooLarge { what: "name", .. })));
    let huge = vec![0; usize::try_from(FILE_MAX_BYTES).unwrap() + 1];
    assert!(matches!(session.put(2, 1, &huge), Err(Error::TooLarge { what: "file", .. })));
    session.writer().unwrap().commit().unwrap();
    assert_eq!(session.store().view().len(), 1);
    let view = Store::open_on(Arc::new(mem)).unwrap().view();
    assert_eq!(view.get(&name, run(1)).unwrap().unwrap().body().unwrap(), &b"{}"[..]);
}

#[test]
fn a_missing_segment_is_named_and_costs_only_what_it_held() {
    // [9]
    let (mem, mut session) = session(512, Compression::None);
    session.put(0, 1, &body(0, 600)).unwrap();
    session.commit().unwrap();
    session.put(1, 1, &body(1, 600)).unwrap();
    session.commit().unwrap();
    session.close().unwrap();
    session.leave();
    mem.remove_raw("data/0000000001.seg");
    let view = Store::open_on(Arc::new(mem.clone())).unwrap().view();
    match view.latest(id(0)) {
        Err(Error::Damaged { place, damage: Damage::Missing }) => {
            assert_eq!(place.file, "data/0000000001.seg");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(latest(&view, 1), Some(body(1, 600)));
    assert!(!damage_of(&mem).unwrap().damage.is_empty());
}

#[test]
fn deleting_the_last_snapshot_leaves_an_empty_store_within_the_transaction_and_after_it() {
    // [10]: in Attic an empty index counted as none, and the delete was undone.
    let (mem, mut session) = session(512, Compression::None);
    session.put(0, 1, b"foo").unwrap();
    session.commit().unwrap();
    session.close().unwrap();
    session.delete(0, 1).unwrap();
    assert_eq!(latest(&session.writer().unwrap().view().unwrap(), 0), None);
    session.commit().unwrap();
    session.leave();
    assert_holds(&mem, session.committed());
}

#[test]
fn a_store_whose_first_transaction_was_cut_off_works_and_has_none_of_it() {
    // [10]: Attic went on in the half-written segment.
    for spilled in [false, true] {
        let (mem, mut session) = session(512, Compression::None);
        session.put(0, 1, b"never").unwrap();
        if spilled {
            session.look().unwrap();
        }
        session.open().unwrap();
        assert!(session.store().view().is_empty());
        session.put(1, 1, b"first").unwrap();
        session.commit().unwrap();
        session.close().unwrap();
        assert_holds(&mem, session.committed());
    }
}

#[test]
fn without_any_index_and_behind_an_uncommitted_tail_the_committed_snapshots_are_read() {
    // [11]
    let (mem, mut session) = session(1 << 20, Compression::Zstd);
    for number in [0, 1, 3] {
        session.put(number, 1, b"bar").unwrap();
    }
    session.commit().unwrap();
    session.close().unwrap();
    session.put(1, 1, b"bar2").unwrap();
    session.put(2, 1, b"boo").unwrap();
    session.delete(3, 1).unwrap();
    session.look().unwrap();
    session.leave();
    assert_eq!(session.committed().records.len(), 3);
    assert_holds(&mem, session.committed());
}

#[test]
fn a_payload_that_ends_like_a_commit_commits_nothing() {
    // [17]: Attic looked at the last nine bytes of a segment. Here it is the whole COMMIT of the transaction before, at each
    // distance from where one would stand.
    for padding in 0..2 * COMMIT_LEN {
        let (mem, mut session) = session(512, Compression::None);
        session.put(0, 1, b"foo").unwrap();
        session.commit().unwrap();
        let segment = mem.bytes("data/0000000001.seg").unwrap();
        let commit = &segment[segment.len() - COMMIT_LEN..];
        session.put(1, 1, &[&vec![b' '; padding][..], commit].concat()).unwrap();
        session.look().unwrap();
        session.leave();
        assert_holds(&mem, session.committed());
        assert_eq!(session.committed().records.len(), 1);
        session.open().unwrap();
        session.put(2, 1, b"next").unwrap();
        session.commit().unwrap();
        session.leave();
        assert_holds(&mem, session.committed());
    }
}

#[test]
fn garbage_under_the_next_segment_s_name_stops_no_transaction() {
    // [18]
    let (mem, mut session) = session(512, Compression::None);
    session.put(0, 1, b"foo").unwrap();
    session.commit().unwrap();
    session.close().unwrap();
    session.leave();
    for garbage in [&b""[..], b"STIXSEG\n", b"STIXSEG\ncrapcrapcrap", &[0; 700]] {
        let mem = mem.snapshot_all();
        assert!(mem.set_bytes("data/0000000002.seg", garbage.to_vec()));
        let mut session = Session::resume(&mem, &session.states);
        session.open().unwrap();
        session.put(1, 1, b"bar").unwrap();
        session.commit().unwrap();
        session.close().unwrap();
        assert_holds(&mem, session.committed());
    }
}

#[test]
fn a_run_that_was_committed_can_be_deleted() {
    // A run's record was looked for in the index of objects, where runs are not. So deleting one answered that there was
    // none, and mirroring left the directories of all runs behind that were gone from the tree.
    let (mem, mut session) = session(512, Compression::None);
    session.put_empty_run(1).unwrap();
    session.put(0, 2, b"x").unwrap();
    session.commit().unwrap();
    session.close().unwrap();
    assert!(!session.delete_run(2).unwrap(), "it holds a snapshot");
    assert!(session.delete_run(1).unwrap());
    session.commit().unwrap();
    assert!(!session.delete_run(1).unwrap(), "it is gone");
    session.delete(0, 2).unwrap();
    assert!(session.delete_run(2).unwrap());
    session.commit().unwrap();
    assert!(session.store().view().runs().unwrap().is_empty());
    session.put(0, 2, b"back").unwrap();
    session.commit().unwrap();
    session.close().unwrap();
    assert_holds(&mem, session.committed());
}

fn put(store: &Store, number: u32, text: &[u8]) -> Result<()> {
    let mut writer = store.writer(&WriterOptions::default())?;
    let (run, _) = writer.put_run(at(1), &at(1).canonical_name(), b"")?;
    let (name, object) = (id(number), 0..u32::try_from(text.len()).unwrap());
    let put = Put { name: &name, run, kind: PutKind::Snapshot, meta: b"", object, body: Body::Raw(text) };
    writer.put(&put)?;
    writer.commit()?;
    writer.close()
}

#[test]
fn a_second_handle_of_one_process_is_refused_or_waits_and_views_stay_as_they_were() {
    // [57]: Attic's lock let two handles of one process write at once.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let first = Store::create(&path, &CreateOptions::default()).unwrap();
    let second = Store::open(&path).unwrap();
    put(&first, 1, b"old").unwrap();
    let old = first.view();
    let held =
        first.writer(&WriterOptions { holder: "the first".to_owned(), ..WriterOptions::default() }).unwrap();
    match second.writer(&WriterOptions::default()) {
        Err(Error::Locked { holder, .. }) => assert_eq!(holder, "the first"),
        other => panic!("{other:?}"),
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let options = WriterOptions { lock_wait: Duration::from_secs(60), ..WriterOptions::default() };
            second.writer(&options).map(drop)
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished(), "it waits");
        drop(held);
        waiting.join().unwrap().unwrap();
    });
    put(&second, 1, b"new").unwrap();
    assert_eq!(latest(&old, 1), Some(b"old".to_vec()), "a view is what it was");
    assert_eq!(latest(&first.view(), 1), Some(b"old".to_vec()), "a handle knows its own commits");
    assert_eq!(latest(&old.refresh().unwrap(), 1), Some(b"new".to_vec()));
    // The next writer of the first handle goes on from what the second has committed.
    put(&first, 2, b"two").unwrap();
    assert_eq!(latest(&first.view(), 1), Some(b"new".to_vec()));
}

#[test]
fn a_second_process_is_refused_while_readers_are_served() {
    // [57]
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::create(&path, &CreateOptions::default()).unwrap();
    let name = String::from_utf8(id(1)).unwrap();
    let run = at(1).canonical_name();
    let bundle = format!(r#"{{"type": "bundle", "objects": [{{"type": "malware", "id": "{name}"}}]}}"#);
    let other = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
        command.arg("--store").arg(&path).args(arguments).write_stdin(bundle.as_str()).output().unwrap()
    };
    let stored = other(&["put", &name, "--run", &run, "-"]);
    assert!(stored.status.success(), "{}", String::from_utf8_lossy(&stored.stderr));
    let delete = ["delete", name.as_str(), "--run", run.as_str()];
    let held =
        store.writer(&WriterOptions { holder: "pid 1 of a test".to_owned(), ..WriterOptions::default() });
    let refused = other(&delete);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(11), "{told}");
    assert!(told.contains("pid 1 of a test"), "{told}");
    for reader in [&["get", &name][..], &["history", &name], &["runs"], &["check"]] {
        let served = other(reader);
        assert!(served.status.success(), "{reader:?}: {}", String::from_utf8_lossy(&served.stderr));
    }
    drop(held.unwrap());
    assert!(latest(&store.view().refresh().unwrap(), 1).is_some(), "the refused one changed nothing");
    assert!(other(&delete).status.success());
    assert_eq!(latest(&store.view().refresh().unwrap(), 1), None);
}
