//! Tests of what happens beside a commit: checkpoints that fail, files that are no segments.

use std::ops::Range;

use super::*;
use crate::limits::{DELTAS_MAX, TAIL_MAX_RECORDS};
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

/// Commits as many groups of eight snapshots, each with the checkpoint that a full tail makes. Returns the entries of all
/// layers that were written.
fn bulk(store: &Store, one: &mut Writer, groups: Range<u32>) -> u64 {
    let mut written = 0;
    for group in groups {
        for number in 0..8 {
            put(one, group * 8 + number, 1, b"x");
        }
        one.commit().unwrap();
        one.checkpoint().unwrap();
        written += u64::from(layers(store)[0]);
    }
    written
}

/// The entries of each layer, newest first.
fn layers(store: &Store) -> Vec<u32> {
    store.view().parts().1.layers.iter().map(|layer| layer.counts().entries).collect()
}

#[test]
fn a_bulk_leaves_one_base_when_it_is_closed() {
    // A million snapshots in one session left a base and deltas of up to an eighth of it: each lookup afterwards looked into
    // several tables. And where the last commit had made a checkpoint, closing did not look at the layers at all.
    for groups in 1..130 {
        let (mem, store) = create(1 << 20);
        let mut one = writer(&store);
        bulk(&store, &mut one, 0..groups);
        assert!(layers(&store).len() <= DELTAS_MAX + 1);
        one.close().unwrap();
        assert_eq!(layers(&reopen(&mem)), [groups * 8], "{groups}");
        assert_eq!(damage(&mem), Vec::<String>::new());
    }
}

#[test]
fn a_bulk_writes_its_index_a_few_times_over_and_not_once_for_each_eighth() {
    let (_, store) = create(1 << 20);
    let mut one = writer(&store);
    let entries = bulk(&store, &mut one, 0..128);
    assert!(entries < 6 * 128 * 8, "{entries}");
    one.close().unwrap();
}

#[test]
fn a_session_of_one_record_writes_that_record_whatever_else_the_store_has() {
    let (mem, store) = create(1 << 20);
    let mut one = writer(&store);
    bulk(&store, &mut one, 0..50);
    one.close().unwrap();
    for number in 0..50 {
        let store = reopen(&mem);
        let mut one = writer(&store);
        put(&mut one, 400 + number, 2, b"x");
        one.commit().unwrap();
        one.close().unwrap();
        let layers = layers(&reopen(&mem));
        let (base, deltas) = layers.split_last().unwrap();
        assert_eq!((*base, deltas.iter().sum::<u32>()), (400, number + 1));
        // Each is merged with those that are not twice as large, so no entry is written more often than the counter has bits.
        assert!(deltas.len() <= DELTAS_MAX && deltas.windows(2).all(|pair| pair[0] <= pair[1]), "{layers:?}");
    }
    let mut one = writer(&store);
    put(&mut one, 450, 2, b"x");
    one.commit().unwrap();
    one.close().unwrap();
    assert_eq!(layers(&reopen(&mem)), [451], "now they are over an eighth");
}

#[test]
fn a_bulk_that_is_killed_leaves_layers_that_answer_rightly_and_the_next_session_joins_them() {
    let (mem, store) = create(1 << 20);
    let mut one = writer(&store);
    let mut most = 0;
    for group in 0..70 {
        bulk(&store, &mut one, group..group + 1);
        let crashed = mem.crash();
        let after = reopen(&crashed);
        assert!(layers(&after).len() <= DELTAS_MAX + 1);
        most = most.max(layers(&after).len());
        let count = (group + 1) * 8;
        for number in (0..count).step_by(7) {
            assert_eq!(latest(&after.view(), number).unwrap(), b"x");
        }
        assert_eq!(latest(&after.view(), count), None);
        assert_eq!(after.view().len(), u64::from(count));
        assert_eq!(damage(&crashed), Vec::<String>::new());
        // That it writes nothing does not matter.
        writer(&after).close().unwrap();
        let layers = layers(&reopen(&crashed));
        let (base, deltas) = layers.split_last().unwrap();
        assert!(deltas.iter().sum::<u32>() * 8 <= *base, "{layers:?}");
        assert_eq!(reopen(&crashed).view().len(), u64::from(count));
        assert_eq!(damage(&crashed), Vec::<String>::new());
    }
    assert!(most > 3, "{most}");
}

#[test]
fn a_session_that_wrote_nothing_ends_well_on_a_full_disk_whatever_a_killed_bulk_left() {
    // The close joined the layers of the bulk that had died of the full disk, and failed for want of space: a session that had
    // nothing to say was refused.
    let (mem, store) = create(1 << 20);
    let mut one = writer(&store);
    bulk(&store, &mut one, 0..6);
    drop(one);
    let before = layers(&reopen(&mem));
    assert!(before.len() > 1, "{before:?}");
    let fault = Fault::new(Arc::new(mem.clone()), None);
    let store = Store::open_on(Arc::new(fault.clone())).unwrap();
    let one = writer(&store);
    fault.set_plan(Some(FaultPlan { at: fault.count(), errno: ENOSPC, times: Times::Always, written: 0 }));
    one.close().unwrap();
    assert!(!fault.hits().is_empty(), "it did try");
    fault.set_plan(None);
    assert_eq!(reopen(&mem.crash()).view().len(), 48);
    assert_eq!(damage(&mem), Vec::<String>::new());
    writer(&reopen(&mem)).close().unwrap();
    assert_eq!(layers(&reopen(&mem)), [48]);
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
