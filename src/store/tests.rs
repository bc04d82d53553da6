//! Tests of the store as a whole, on the file system in memory.
#![expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::id::{Instant as At, Key, ObjectKey, RunKey};
use crate::vfs::mem::Mem;

mod adoption;
mod check;
mod check_parts;
mod check_split;
mod checkpoints;
mod compaction;
mod direct;
mod histories;
mod large;
mod lead;
mod many;
mod proof;
mod repair;
mod replay;
mod runs;
mod segments;
mod superseded;

fn options(segment_size: u64, compression: Compression) -> CreateOptions {
    CreateOptions { segment_size, compression, store_id: Some(StoreId([7; 16])), dictionary: None }
}

fn create(segment_size: u64) -> (Mem, Store) {
    let mem = Mem::new();
    let store = Store::create_on(Arc::new(mem.clone()), &options(segment_size, Compression::Zstd)).unwrap();
    (mem, store)
}

fn reopen(mem: &Mem) -> Store {
    Store::open_on(Arc::new(mem.clone())).unwrap()
}

fn writer(store: &Store) -> Writer {
    store.writer(&WriterOptions::default()).unwrap()
}

fn id(number: u32) -> Vec<u8> {
    format!("malware--{number:08x}-0000-4000-8000-000000000000").into_bytes()
}

fn run(number: u64) -> RunKey {
    RunKey::new(At(number * 60), 0)
}

fn put(writer: &mut Writer, number: u32, at: u64, body: &[u8]) -> Outcome {
    writer.put_run(At(at * 60), &At(at * 60).canonical_name(), b"").unwrap();
    let object = 0..u32::try_from(body.len()).unwrap();
    let name = id(number);
    let put = Put {
        name: &name,
        run: run(at),
        kind: PutKind::Snapshot,
        meta: b"meta",
        object,
        body: Body::Raw(body),
    };
    writer.put(&put).unwrap()
}

fn latest(view: &View, number: u32) -> Option<Vec<u8>> {
    view.latest(id(number)).unwrap().map(|snapshot| snapshot.body().unwrap().into_owned())
}

/// Everything a view says, the slow way: (id, run) -> body.
fn content(view: &View) -> BTreeMap<(Vec<u8>, RunKey), Vec<u8>> {
    let mut all = BTreeMap::new();
    for info in view.runs().unwrap() {
        for snapshot in view.iter_run(info.key).unwrap() {
            let snapshot = snapshot.unwrap();
            let body = snapshot.body().unwrap().into_owned();
            assert_eq!(view.get(snapshot.name(), info.key).unwrap().unwrap().body().unwrap(), body);
            all.insert((snapshot.name().into_owned(), info.key), body);
        }
    }
    assert_eq!(view.len(), u64::try_from(all.len()).unwrap());
    all
}

#[test]
fn what_was_committed_is_read_back_at_once_and_after_reopening() {
    let (mem, store) = create(1 << 20);
    let mut writer = writer(&store);
    for number in 0..100 {
        assert_eq!(put(&mut writer, number, 1, format!("body {number}").as_bytes()), Outcome::Added);
    }
    assert_eq!(store.view().len(), 0, "uncommitted puts are not seen");
    writer.commit().unwrap();
    assert_eq!(store.view().len(), 100);
    let expect = content(&store.view());
    let unclean = reopen(&mem.snapshot_all());
    assert_eq!(content(&unclean.view()), expect, "replayed from the log");
    writer.close().unwrap();
    let store = reopen(&mem);
    assert_eq!(content(&store.view()), expect, "read through the index");
    assert_eq!(store.notices(), Vec::<String>::new());
    assert_eq!(latest(&store.view(), 100), None);
}

#[test]
fn lookups_by_time_find_the_right_snapshot() {
    let (mem, store) = create(1 << 20);
    let mut writer = writer(&store);
    for (number, at) in [(1, 10), (1, 20), (1, 30), (2, 20)] {
        put(&mut writer, number, at, format!("{number} at {at}").as_bytes());
    }
    writer.commit().unwrap();
    for store in [store.clone(), {
        writer.close().unwrap();
        reopen(&mem)
    }] {
        let view = store.view();
        let body = |found: Option<Snapshot<'_>>| found.map(|found| found.body().unwrap().into_owned());
        let text = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(body(view.latest(id(1)).unwrap()), text("1 at 30"));
        assert_eq!(body(view.get(id(1), run(20)).unwrap()), text("1 at 20"));
        assert_eq!(body(view.get(id(1), run(25)).unwrap()), None);
        assert_eq!(body(view.at_or_before(id(1), At(25 * 60)).unwrap()), text("1 at 20"));
        assert_eq!(body(view.at_or_before(id(1), At(20 * 60)).unwrap()), text("1 at 20"));
        assert_eq!(body(view.at_or_before(id(1), At(9 * 60)).unwrap()), None);
        assert_eq!(body(view.closest_after(id(1), At(10 * 60)).unwrap()), text("1 at 20"));
        assert_eq!(body(view.closest_after(id(1), At(0)).unwrap()), text("1 at 10"));
        assert_eq!(body(view.closest_after(id(1), At(30 * 60)).unwrap()), None);
        assert_eq!(body(view.closest_after(id(2), At(10 * 60)).unwrap()), text("2 at 20"));
        let runs: Vec<RunKey> =
            view.history(id(1)).unwrap().into_iter().map(|found| found.unwrap().run()).collect();
        assert_eq!(runs, [run(10), run(20), run(30)]);
    }
}

#[test]
fn overwritten_unchanged_and_deleted_snapshots_are_told_apart() {
    let (mem, store) = create(512);
    let mut writer = writer(&store);
    assert_eq!(put(&mut writer, 1, 1, b"one"), Outcome::Added);
    assert_eq!(put(&mut writer, 1, 1, b"two"), Outcome::Updated);
    writer.commit().unwrap();
    assert_eq!(put(&mut writer, 1, 1, b"two"), Outcome::Unchanged);
    assert_eq!(writer.pending(), 0);
    assert_eq!(put(&mut writer, 1, 1, b"three"), Outcome::Updated);
    assert!(writer.delete(id(1), run(1)).unwrap());
    assert!(!writer.delete(id(1), run(1)).unwrap());
    assert!(!writer.delete(id(2), run(1)).unwrap());
    writer.commit().unwrap();
    assert_eq!(latest(&store.view(), 1), None);
    assert_eq!(store.view().len(), 0);
    assert_eq!(put(&mut writer, 1, 1, b"two"), Outcome::Added);
    writer.commit().unwrap();
    writer.close().unwrap();
    assert_eq!(latest(&reopen(&mem).view(), 1), Some(b"two".to_vec()));
}

#[test]
fn a_rolled_back_transaction_is_gone_and_the_writer_goes_on() {
    let (mem, store) = create(1 << 20);
    let mut writer = writer(&store);
    put(&mut writer, 1, 1, b"kept");
    writer.commit().unwrap();
    put(&mut writer, 1, 1, b"dropped");
    // A view of the open transaction sends it to its segment, so the rollback leaves bytes behind.
    assert_eq!(latest(&writer.view().unwrap(), 1), Some(b"dropped".to_vec()));
    writer.rollback().unwrap();
    assert_eq!(latest(&writer.view().unwrap(), 1), Some(b"kept".to_vec()));
    put(&mut writer, 2, 1, b"after");
    writer.commit().unwrap();
    for mem in [mem.snapshot_all(), {
        writer.close().unwrap();
        mem
    }] {
        let view = reopen(&mem).view();
        assert_eq!(latest(&view, 1), Some(b"kept".to_vec()));
        assert_eq!(latest(&view, 2), Some(b"after".to_vec()));
    }
}

#[test]
fn many_small_commits_over_many_segments_and_deltas_read_back() {
    let (mem, store) = create(512);
    let mut expect = BTreeMap::new();
    for round in 0..40u32 {
        let mut writer = writer(&store);
        for number in 0..5 {
            let (number, at) = (round * 3 + number, u64::from(round % 7));
            let body = format!("round {round} number {number} {}", "x".repeat(200)).into_bytes();
            put(&mut writer, number, at, &body);
            expect.insert((id(number), run(at)), body);
        }
        if round % 5 == 4 {
            let key = (id(round * 3), run(u64::from(round % 7)));
            assert!(writer.delete(&key.0, key.1).unwrap());
            expect.remove(&key);
        }
        writer.commit().unwrap();
        if round % 3 > 0 {
            writer.close().unwrap();
        }
        assert_eq!(content(&store.view()), expect, "round {round}");
        assert_eq!(content(&reopen(&mem).view()), expect, "round {round}, reopened");
    }
    let files = mem.paths();
    assert!(
        files.iter().filter(|path| path.contains(".delta")).count() <= crate::limits::DELTAS_MAX,
        "{files:?}"
    );
    for path in files.iter().filter(|path| path.starts_with("index.")) {
        mem.remove_raw(path);
    }
    assert_eq!(content(&reopen(&mem).view()), expect, "without any index");
}

#[test]
fn a_second_writer_is_refused_while_the_first_lives() {
    let (_, store) = create(512);
    let first =
        store.writer(&WriterOptions { holder: "pid 1".to_owned(), ..WriterOptions::default() }).unwrap();
    match store.writer(&WriterOptions::default()) {
        Err(Error::Locked { holder, .. }) => assert_eq!(holder, "pid 1"),
        other => panic!("{other:?}"),
    }
    drop(first);
    drop(writer(&store));
}

#[test]
fn listing_goes_on_after_a_marker_and_refuses_an_unknown_one() {
    let (_, store) = create(1 << 20);
    let mut writer = writer(&store);
    for number in 0..100 {
        put(&mut writer, number, u64::from(number % 3), b"x");
    }
    writer.commit().unwrap();
    let view = store.view();
    let all = view.list(usize::MAX, None).unwrap();
    assert_eq!(all.len(), 100);
    let half = view.list(50, None).unwrap();
    assert_eq!(half, all[..50]);
    assert_eq!(view.list(usize::MAX, half.last()).unwrap(), all[50..]);
    let unknown = Key::new(ObjectKey::of(b"nobody"), run(0));
    assert!(matches!(view.list(1, Some(&unknown)), Err(Error::BadInput { .. })));
}

#[test]
fn a_name_with_the_key_of_another_is_refused_and_never_served() {
    let (_, store) = create(1 << 20);
    let mut writer = writer(&store);
    // Two names of one key are out of reach; a reserved key stands for the refusal of impossible names.
    let long = vec![b'x'; 2000];
    let body = Body::Raw(b"{}");
    let put = Put { name: &long, run: run(1), kind: PutKind::Snapshot, meta: b"", object: 0..2, body };
    assert!(matches!(writer.put(&put), Err(Error::TooLarge { .. })));
    let body = Body::Raw(b"{}");
    let put = Put { name: b"x", run: run(1), kind: PutKind::Snapshot, meta: b"", object: 1..5, body };
    assert!(matches!(writer.put(&put), Err(Error::BadInput { .. })));
}

#[test]
fn an_alias_leads_to_its_file_and_a_dangling_one_to_nothing() {
    let (mem, store) = create(1 << 20);
    let mut writer = writer(&store);
    put(&mut writer, 1, 1, b"the file");
    for (name, target) in [(&b"other-id"[..], id(1)), (b"dangling", id(9))] {
        let body = Body::Raw(&target);
        let alias = Put { name, run: run(1), kind: PutKind::Alias, meta: b"", object: 0..0, body };
        assert_eq!(writer.put(&alias).unwrap(), Outcome::Added);
        assert_eq!(writer.put(&alias).unwrap(), Outcome::Updated, "within a transaction nothing is compared");
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    let view = reopen(&mem).view();
    let found = view.latest("other-id").unwrap().unwrap();
    assert_eq!(
        (found.name().into_owned(), found.body().unwrap().into_owned()),
        (id(1), b"the file".to_vec())
    );
    assert!(view.latest("dangling").unwrap().is_none());
    assert_eq!(view.len(), 1);
    assert_eq!(view.iter_run(run(1)).unwrap().count(), 1);
    assert_eq!(view.records_of_run(run(1)).unwrap().count(), 3);
}

#[test]
fn two_directory_names_of_one_instant_are_two_runs() {
    let (mem, store) = create(1 << 20);
    let mut writer = writer(&store);
    let at = At(63_840_924_000);
    let (first, outcome) = writer.put_run(at, "20240115T140000Z", b"m").unwrap();
    assert_eq!(outcome, Outcome::Added);
    let (second, _) = writer.put_run(at, "20240115T1400Z", b"").unwrap();
    assert_eq!(writer.put_run(at, "20240115T1400Z", b"").unwrap(), (second, Outcome::Unchanged));
    assert_ne!(first, second);
    writer.commit().unwrap();
    assert_eq!(writer.put_run(at, "20240115T1400Z", b"").unwrap(), (second, Outcome::Unchanged));
    writer.close().unwrap();
    let view = reopen(&mem).view();
    let names: Vec<String> = view.runs().unwrap().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["20240115T140000Z", "20240115T1400Z"]);
    assert_eq!(view.run_named(at, "20240115T1400Z").unwrap().unwrap().key, second);
    assert!(view.run_named(at, "20240115t140000z").unwrap().is_none());
}

#[test]
fn a_damaged_index_page_is_answered_from_the_log() {
    let (mem, store) = create(1 << 20);
    let mut writer = writer(&store);
    for number in 0..50 {
        put(&mut writer, number, 1, b"x");
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    let expect = content(&reopen(&mem).view());
    let path = mem.paths().into_iter().find(|path| path.starts_with("index.")).unwrap();
    let good = mem.bytes(&path).unwrap();
    for page in 0..good.len() / 4096 {
        let mut bad = good.clone();
        bad[page * 4096 + 100] ^= 4;
        mem.set_bytes(&path, bad);
        assert_eq!(content(&reopen(&mem).view()), expect, "page {page}");
        let damaged = mem.snapshot_all();
        let store = reopen(&damaged);
        let mut writer = store.writer(&WriterOptions::default()).unwrap();
        put(&mut writer, 0, 1, b"new");
        put(&mut writer, 99, 1, b"added");
        writer.commit().unwrap();
        writer.close().unwrap();
        let mut after = expect.clone();
        after.insert((id(0), run(1)), b"new".to_vec());
        after.insert((id(99), run(1)), b"added".to_vec());
        assert_eq!(content(&reopen(&damaged).view()), after, "page {page}, written");
    }
}

#[test]
fn large_imports_use_a_trained_dictionary_and_small_ones_do_without_a_copy() {
    let (mem, store) = create(1 << 20);
    let mut one = writer(&store);
    let body = |number: u32| {
        let text =
            format!("{{\"id\": \"malware--{number}\", \"type\": \"malware\", \"value\": {}}}", number * 7919);
        text.repeat(3).into_bytes()
    };
    let bodies: Vec<Vec<u8>> = (0..2000).map(body).collect();
    let samples: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    assert!(one.wants_dictionary());
    assert!(one.train_dictionary(&samples).unwrap());
    assert!(!one.wants_dictionary());
    for (number, body) in (0..).zip(&bodies) {
        put(&mut one, number, 1, body);
    }
    one.commit().unwrap();
    one.close().unwrap();
    let mut two = writer(&store);
    put(&mut two, 5000, 2, &body(5000));
    two.commit().unwrap();
    two.close().unwrap();
    let first = mem.bytes("data/0000000001.seg").unwrap();
    let second = mem.bytes("data/0000000002.seg").unwrap();
    assert!(first[72..88].iter().any(|byte| *byte != 0), "the first segment names its dictionary");
    assert!(second[72..88].iter().all(|byte| *byte == 0) && second.len() < 600, "{}", second.len());
    let expect = content(&reopen(&mem).view());
    assert_eq!(expect[&(id(1234), run(1))], bodies[1234]);
    let dictionary = mem.paths().into_iter().find(|path| path.starts_with("dict.")).unwrap();
    mem.remove_raw(&dictionary);
    assert_eq!(content(&reopen(&mem).view()), expect, "the segment's own copy serves");
    drop(writer(&reopen(&mem)));
    assert!(mem.paths().contains(&dictionary), "a writer restores the second copy");
}
