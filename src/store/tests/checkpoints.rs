//! Tests of what happens beside a commit: checkpoints that fail, files that are no segments.

use super::*;
use crate::limits::TAIL_MAX_RECORDS;
use crate::store::compact::CompactOptions;
use crate::store::tests::compaction::damage;
use crate::vfs::fault::{Fault, FaultPlan, Times};

const ENOSPC: i32 = 28;

#[test]
fn a_commit_whose_checkpoint_fails_is_acknowledged_and_the_next_one_tries_again() {
    // The error of the checkpoint was returned by `commit`, although the transaction was durable: an import told nobody
    // of 16 MiB of files that it had stored.
    let mut failed = 0;
    for at in 0.. {
        let mem = Mem::new();
        let fault = Fault::new(Arc::new(mem.clone()), None);
        let store = Store::create_on(Arc::new(fault.clone()), &options(1 << 20, Compression::Zstd)).unwrap();
        let mut one = writer(&store);
        let count = u32::try_from(TAIL_MAX_RECORDS).unwrap();
        for number in 0..count {
            put(&mut one, number, 1, b"x");
        }
        let plan = FaultPlan { at: fault.count() + at, errno: ENOSPC, times: Times::Once, written: 0 };
        fault.set_plan(Some(plan));
        let committed = one.commit();
        let hits = fault.hits();
        let Some(hit) = hits.first() else { break };
        let is_checkpoint = hit.contains("/hints.") || hit.contains("/index.");
        assert!(committed.is_ok() || !is_checkpoint, "{hit}: {committed:?}");
        if !is_checkpoint {
            continue;
        }
        failed += 1;
        assert_eq!(store.view().len(), TAIL_MAX_RECORDS);
        assert_eq!(reopen(&mem.crash()).view().len(), TAIL_MAX_RECORDS, "{hit}");
        put(&mut one, count, 1, b"y");
        one.commit().unwrap();
        let index = mem.paths().into_iter().filter(|path| path.starts_with("index.")).count();
        assert_eq!(index, 1, "{hit}: the next commit writes it");
        one.close().unwrap();
        assert_eq!(reopen(&mem.crash()).view().len(), TAIL_MAX_RECORDS + 1);
        assert_eq!(damage(&mem), Vec::<String>::new());
    }
    assert!(failed >= 4, "{failed}");
}

#[test]
fn what_the_index_covers_of_the_last_segment_is_mapped_and_what_comes_later_is_read() {
    // Where the last commit of an import made a checkpoint, closing had nothing to write, so nothing said that the segment
    // grows no more: each lookup in it was a system call for ever after.
    let mem = Mem::new();
    let store = Store::create_on(Arc::new(mem.clone()), &options(1 << 20, Compression::None)).unwrap();
    let mut one = writer(&store);
    let count = u32::try_from(TAIL_MAX_RECORDS).unwrap();
    for number in 0..count {
        put(&mut one, number, 1, b"x");
    }
    one.commit().unwrap();
    let covered = mem.paths().into_iter().filter(|path| path.starts_with("index.")).count();
    assert_eq!(covered, 1, "the commit made a checkpoint");
    // The same segment goes on.
    put(&mut one, count, 1, b"later");
    one.commit().unwrap();
    drop(one);

    let view = reopen(&mem).view();
    let last = *view.parts().1.segments.ids().last().unwrap();
    for number in (0..10).chain(count - 10..=count) {
        let expect: &[u8] = if number == count { b"later" } else { b"x" };
        assert_eq!(view.latest(id(number)).unwrap().unwrap().body().unwrap(), expect, "{number}");
    }
    assert!(view.parts().1.segments.require(last).unwrap().is_mapped());
    assert!(!view.without_maps().parts().1.segments.require(last).unwrap().is_mapped());
}

#[test]
fn a_stray_file_named_like_the_last_segment_does_not_stop_writing() {
    // `data/4294967295.seg`, whatever it held, took all numbers that segments can have: every commit ended with "segment
    // number is too large".
    let foreign = {
        let mem = Mem::new();
        let other = CreateOptions { store_id: Some(StoreId([9; 16])), ..options(512, Compression::Zstd) };
        let store = Store::create_on(Arc::new(mem.clone()), &other).unwrap();
        let mut one = writer(&store);
        put(&mut one, 1, 1, b"x");
        one.commit().unwrap();
        mem.bytes("data/0000000001.seg").unwrap()
    };
    for stray in [Vec::new(), b"notes".to_vec(), vec![0; 4096], foreign] {
        for number in [u32::MAX, u32::MAX - 1, 70_000] {
            let (mem, store) = create(512);
            let mut one = writer(&store);
            put(&mut one, 1, 1, &[b'x'; 400]);
            one.commit().unwrap();
            one.close().unwrap();
            let path = crate::format::segment::file_name(SegmentId(number));
            assert!(mem.set_bytes(&path, stray.clone()));
            for round in 2..5 {
                let store = reopen(&mem);
                let mut one = writer(&store);
                put(&mut one, round, 1, &[b'y'; 400]);
                one.commit().unwrap();
                one.close().unwrap();
            }
            let mut one = writer(&store);
            let options = CompactOptions { threshold: 1, dry_run: false };
            let report = one.compact(&options, &mut |_| {}, &crate::progress::Stop::default()).unwrap();
            assert_eq!((report.damaged, report.segments), (vec![], vec![]));
            one.close().unwrap();
            assert_eq!(mem.bytes(&path), Some(stray.clone()), "it is left alone");
            mem.remove_raw(&path);
            assert_eq!(reopen(&mem).view().len(), 4);
            assert_eq!(damage(&mem), Vec::<String>::new(), "and nobody misses it");
            let last = mem.paths().into_iter().rfind(|path| path.starts_with("data/"));
            assert_eq!(last.unwrap(), "data/0000000004.seg");
        }
    }
}

#[test]
fn the_numbers_of_segments_that_a_crash_may_have_torn_are_not_used_again() {
    let (mem, store) = create(512);
    for number in [5, 60_000] {
        let path = crate::format::segment::file_name(SegmentId(number));
        assert!(mem.set_bytes(&path, vec![0; 96]));
        let mut one = writer(&store);
        put(&mut one, number, 1, &[b'y'; 400]);
        one.commit().unwrap();
        let after = crate::format::segment::file_name(SegmentId(number + 1));
        assert!(mem.bytes(&after).is_some(), "{:?}", mem.paths());
    }
    assert_eq!(damage(&mem), Vec::<String>::new());
}
