//! DELETEs that move, and counts of what is garbage.

use stix_store::Compression;

use super::{
    COMMIT, DELETE, FIRST, PUT, assert_holds, compact, open, paths, read_only, records, repair, session,
    tagged, without_caches,
};
use crate::session::{body, id, run};

#[test]
fn a_delete_moves_along_once_and_goes_with_the_last_segment_that_could_need_it() {
    // [19], [21]: in Attic a moved DELETE was known to nobody and stayed for ever; one that was moved behind a newer PUT lost that.
    for puts in [1, 2] {
        let (mem, mut session) = session(512, Compression::None);
        session.put(2, 1, &body(2, 600)).unwrap();
        for version in 0..puts {
            session.put(1, 1, &body(version, 30)).unwrap();
        }
        session.commit().unwrap();
        session.put(3, 1, &body(3, 450)).unwrap();
        session.delete(1, 1).unwrap();
        session.commit().unwrap();
        session.put(3, 1, &body(4, 450)).unwrap();
        session.commit().unwrap();
        // The first segment is dense enough to stay; the second is not, and its DELETE is still needed.
        session.compact(30).unwrap();
        assert!(
            mem.bytes(FIRST).is_some() && mem.bytes("data/0000000002.seg").is_none(),
            "{:?}",
            mem.paths()
        );
        let deletes = tagged(&mem, DELETE);
        assert!(deletes.len() == 1 && deletes[0].0 != FIRST, "{deletes:?}");
        let before = paths(&mem, "data/");
        session.compact(30).unwrap();
        assert_eq!(paths(&mem, "data/"), before, "{puts} puts: it moves once");
        assert_holds(&mem, session.committed());
        assert_eq!(open(&mem).stats().unwrap().tombstones, 1);
        // With the last segment that is older goes the DELETE, whatever else that one held.
        session.put(3, 1, &body(5, 20)).unwrap();
        session.put(2, 1, &body(6, 20)).unwrap();
        session.commit().unwrap();
        session.compact(1).unwrap();
        session.close().unwrap();
        session.leave();
        assert_eq!(tagged(&mem, DELETE), [], "{puts} puts");
        assert_eq!(open(&mem).stats().unwrap().tombstones, 0);
        assert_holds(&mem, session.committed());
        assert!(read_only(&mem).get(id(1), run(1)).unwrap().is_none());
    }
}

#[test]
fn garbage_is_counted_to_the_byte_and_a_replay_counts_the_same() {
    // [23], [28]: what Borg tracked drifted from what was there.
    let (mem, mut session) = session(1 << 20, Compression::None);
    session.put(1, 1, b"superseded").unwrap();
    session.put(2, 1, b"stays").unwrap();
    session.put(3, 1, b"deleted").unwrap();
    session.commit().unwrap();
    session.close().unwrap();
    session.put(1, 1, b"newer").unwrap();
    session.delete(3, 1).unwrap();
    session.commit().unwrap();
    session.put(4, 1, b"never committed").unwrap();
    session.look().unwrap();
    session.leave();
    drop(open(&mem).writer(&stix_store::WriterOptions::default()).unwrap());
    session.open().unwrap();
    session.close().unwrap();
    session.leave();
    let of = |path: &str| records(&mem, path);
    let (first, second) = (of(FIRST), of("data/0000000002.seg"));
    let tags: Vec<u8> = first.iter().map(|record| record.tag).collect();
    assert_eq!(tags, [PUT, PUT, PUT, PUT, COMMIT], "a run and three snapshots");
    let len = |number: usize| u64::try_from(first[number].len).unwrap();
    let stats = open(&mem).stats().unwrap();
    let one = stats.segments.iter().find(|(id, _)| id.0 == 1).unwrap().1;
    assert_eq!((one.garbage, one.live), (len(1) + len(3), len(0) + len(2)));
    let two = stats.segments.iter().find(|(id, _)| id.0 == 2).unwrap().1;
    let tail = u64::try_from(second.last().unwrap().len).unwrap();
    assert_eq!((two.garbage, two.live_records), (tail, 1));
    for (_, segment) in &stats.segments {
        assert_eq!(segment.len, segment.live + segment.tombstones + segment.garbage + segment.overhead);
    }
    let again = open(&without_caches(&mem)).stats().unwrap();
    assert_eq!(again.segments, stats.segments, "a replay counts the same");
    // Neither opening nor a repair that finds nothing changes the counts; a compaction forgets what is gone.
    let hints = |mem: &stix_store::vfs::mem::Mem| {
        paths(mem, "hints.").iter().map(|path| mem.bytes(path).unwrap()).collect::<Vec<_>>()
    };
    let before = hints(&mem);
    assert!(repair(&mem).segments.is_empty());
    session.open().unwrap();
    session.close().unwrap();
    session.leave();
    assert_eq!(hints(&mem), before);
    compact(&mem, 1);
    let after = open(&mem).stats().unwrap();
    assert!(after.segments.iter().all(|(id, segment)| id.0 > 2 && segment.garbage == 0), "{after:?}");
    assert_holds(&mem, session.committed());
}
