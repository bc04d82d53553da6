//! Many segments: how many are open at once.

use super::*;
use crate::limits::MAPPED_SEGMENTS_MAX;
use crate::progress::Stop;
use crate::store::compact::CompactOptions;
use crate::store::inner::READERS_FILE;
use crate::vfs::Vfs;

#[test]
fn a_store_of_more_segments_than_may_be_open_answers_all_the_same() {
    let mem = Mem::new();
    let store = Store::create_on(Arc::new(mem.clone()), &options(4096, Compression::None)).unwrap();
    let mut writer = writer(&store);
    let count = u32::try_from(MAPPED_SEGMENTS_MAX).unwrap() + 100;
    let body = |number: u32| vec![u8::try_from(number % 251).unwrap(); 4096];
    for number in 0..count {
        put(&mut writer, number, 1, &body(number));
        writer.commit().unwrap();
    }
    writer.close().unwrap();
    let store = reopen(&mem);
    let view = store.view();
    let segments = store.inner.state.read().segments.clone();
    assert!(segments.ids().len() > MAPPED_SEGMENTS_MAX);
    for number in (0..count).chain((0..count).rev()).chain((0..count).step_by(7)) {
        assert_eq!(latest(&view, number), Some(body(number)));
        assert!(segments.open_count() <= MAPPED_SEGMENTS_MAX);
    }
    assert_eq!(segments.open_count(), MAPPED_SEGMENTS_MAX, "no more are dropped than must be");
}

#[test]
fn a_handle_can_be_shared_and_sent_and_cloned() {
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    fn is_sent<T: Send>(_: &T) {}
    let (_mem, store) = create(1 << 20);
    is_shared(&store);
    is_shared(&store.view());
    let mut writer = writer(&store);
    is_sent(&writer);
    put(&mut writer, 1, 1, b"one");
    writer.commit().unwrap();
    let view = store.view();
    let threads: Vec<_> = (0..4)
        .map(|_| (store.clone(), view.clone()))
        .map(|(store, view)| std::thread::spawn(move || (latest(&view, 1), latest(&store.view(), 1))))
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), (Some(b"one".to_vec()), Some(b"one".to_vec())));
    }
}

/// A reader that came while segments were being unlinked went on without its share of the lock that keeps them; the next
/// compaction took them away from under it.
#[test]
fn a_reader_that_comes_during_an_unlink_waits_and_keeps_its_segments() {
    let (mem, store) = create(2048);
    let bodies: BTreeMap<u32, Vec<u8>> =
        (0..30).map(|number| (number, format!("{number} {}", "x".repeat(200)).into_bytes())).collect();
    let mut first = writer(&store);
    for (number, body) in &bodies {
        put(&mut first, *number, 1, body);
        first.commit().unwrap();
    }
    first.close().unwrap();
    drop(store);
    let unlinking = mem.lock_exclusive(READERS_FILE, "").unwrap();
    let reading = {
        let mem = mem.clone();
        std::thread::spawn(move || Store::open_read_only_on(Arc::new(mem)).unwrap())
    };
    std::thread::sleep(Duration::from_millis(50));
    assert!(!reading.is_finished());
    drop(unlinking);
    let reader = reading.join().unwrap();
    let store = reopen(&mem);
    let mut second = writer(&store);
    for number in (0..30).filter(|number| number % 3 > 0) {
        assert!(second.delete(id(number), run(1)).unwrap());
    }
    second.commit().unwrap();
    let options = CompactOptions { threshold: 10, dry_run: false };
    let report = second.compact(&options, &mut |_| {}, &Stop::default()).unwrap();
    second.close().unwrap();
    assert!(report.waiting_bytes > 0, "{report:?}");
    let view = reader.view();
    for (number, body) in &bodies {
        assert_eq!(latest(&view, *number).as_ref(), Some(body));
    }
}

/// A compaction moved on from the segment whose COMMIT an older index covers. With nothing but that index left, the store was
/// read-only, and `check` counted a damaged place for each snapshot.
#[test]
fn an_index_older_than_a_compaction_serves_all_the_same() {
    let (mem, store) = create(2048);
    let mut first = writer(&store);
    for number in 0..30 {
        put(&mut first, number, 1, format!("old {number} {}", "x".repeat(200)).as_bytes());
        first.commit().unwrap();
    }
    first.close().unwrap();
    let is_cache = |path: &&String| path.starts_with("index.") || path.starts_with("hints.");
    let old: Vec<(String, Vec<u8>)> =
        mem.paths().iter().filter(is_cache).map(|path| (path.clone(), mem.bytes(path).unwrap())).collect();
    let mut second = writer(&store);
    for number in 0..30 {
        put(&mut second, number, 1, format!("new {number}").as_bytes());
    }
    second.commit().unwrap();
    let options = CompactOptions { threshold: 10, dry_run: false };
    second.compact(&options, &mut |_| {}, &Stop::default()).unwrap();
    second.close().unwrap();
    let expect = content(&store.view());
    assert_eq!(expect.len(), 30);
    drop(store);
    for path in mem.paths().iter().filter(is_cache) {
        assert!(mem.remove_raw(path));
    }
    for (path, bytes) in &old {
        assert!(mem.set_bytes(path, bytes.clone()) || put_back(&mem, path, bytes));
    }
    let store = reopen(&mem);
    assert_eq!(store.loss(), None);
    assert_eq!(content(&store.view()), expect);
    assert_eq!(compaction::damage(&mem), Vec::<String>::new());
    let mut third = writer(&store);
    assert_eq!(put(&mut third, 31, 1, b"goes on"), Outcome::Added);
    third.commit().unwrap();
    third.close().unwrap();
    assert_eq!(store.view().len(), 31);
}

fn put_back(mem: &Mem, path: &str, bytes: &[u8]) -> bool {
    let mut file = mem.create_new(path).unwrap();
    file.append(bytes).unwrap();
    file.sync().unwrap();
    true
}

/// R27: segments are numbered by 32 bits and never twice. At the end of them nothing is overwritten: no more can be stored.
#[test]
fn the_last_segment_number_is_left_free_and_what_is_stored_stays() {
    let (mem, store) = create(1 << 20);
    let mut writer = writer(&store);
    put(&mut writer, 1, 1, b"one");
    writer.commit().unwrap();
    writer.rollback().unwrap();
    writer.segment = None;
    writer.working.next_segment = SegmentId(u32::MAX - 1);
    put(&mut writer, 2, 1, b"two");
    writer.commit().unwrap();
    writer.close().unwrap();
    for _ in 0..2 {
        let store = reopen(&mem);
        let mut writer = self::writer(&store);
        put(&mut writer, 3, 1, b"three");
        assert!(matches!(writer.commit(), Err(Error::TooLarge { what: "segment number", .. })));
        drop(writer);
        let view = store.view();
        assert_eq!(latest(&view, 1), Some(b"one".to_vec()));
        assert_eq!(latest(&view, 2), Some(b"two".to_vec()));
        assert_eq!(latest(&view, 3), None);
    }
}

/// A COMMIT damaged beyond adoption, and the header of the next segment damaged as well: the next COMMIT still
/// names its predecessor. Replay once looked at headers only, and dropped a transaction that was acknowledged.
#[test]
fn an_acknowledged_transaction_survives_the_loss_of_its_commit_and_of_the_next_header() {
    let mem = Mem::new();
    let store = Store::create_on(Arc::new(mem.clone()), &options(512, Compression::None)).unwrap();
    let mut one = writer(&store);
    for number in 0..3 {
        put(&mut one, number, 1, &[b'x'; 300]);
        one.commit().unwrap();
    }
    drop(one);
    let mut first = mem.bytes("data/0000000001.seg").unwrap();
    let end = first.len();
    first[end - 80..].fill(0xaa);
    mem.set_bytes("data/0000000001.seg", first);
    let mut second = mem.bytes("data/0000000002.seg").unwrap();
    second[20] ^= 1;
    mem.set_bytes("data/0000000002.seg", second);
    let view = reopen(&mem).view();
    for number in 0..3 {
        assert_eq!(latest(&view, number), Some(vec![b'x'; 300]), "{number}");
    }
    assert!(!compaction::damage(&mem).is_empty());
}
