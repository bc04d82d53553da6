//! One file: what is written is found, and nothing else.

use super::*;
use crate::format::index::{PAGE_BYTES, Sections};
use proptest::prelude::*;

/// Compares every kind of lookup of an object with the log.
fn check_object(index: &Index<&[u8]>, log: &Log, object: &ObjectKey, runs: u64) {
    let model = expected(log, object);
    let all: Vec<_> = index.all(object, log).expect("intact").iter().map(|f| (f.run, f.at)).collect();
    assert_eq!(all, model.iter().map(|(run, at)| (*run, *at)).collect::<Vec<_>>(), "all of {object:?}");
    for run in (0..=runs + 1).map(RunKey).chain([RunKey::MAX]) {
        let pair = |(run, at): (&RunKey, &Location)| (*run, *at);
        let at = index.at(object, run, log).expect("intact");
        assert_eq!(place(at), model.get_key_value(&run).map(pair), "{object:?} at {run:?}");
        let floor = index.floor(object, run, log).expect("intact");
        assert_eq!(place(floor), model.range(..=run).next_back().map(pair), "{object:?} floor {run:?}");
        let ceil = index.ceil(object, run, log).expect("intact");
        assert_eq!(place(ceil), model.range(run..).next().map(pair), "{object:?} ceil {run:?}");
    }
}

#[test]
fn an_empty_index_is_one_page_and_knows_nothing() {
    let bytes = IndexBuilder::new(base_meta(1)).build().expect("valid");
    assert_eq!(bytes.len(), 4096);
    let index = open(&bytes).expect("intact");
    let log = Log::default();
    assert_eq!(index.at(&object(1, 1), RunKey(1), &log).expect("intact"), None);
    assert!(index.all(&object(0, 0), &log).expect("intact").is_empty());
    assert_eq!(index.entries_of(RunKey(0)).expect("intact").count(), 0);
    assert_eq!((index.runs().count(), index.segments().count()), (0, 0));
    assert_eq!(index.run(RunKey(0)).expect("intact"), None);
    assert_eq!(problems(&index).len(), 0);
    assert!(index.load_factor().abs() < f64::EPSILON);
}

#[test]
fn an_id_with_one_snapshot_costs_one_key_read() {
    let (bytes, log) = base_of(&[Key::new(object(5 << 40, 1), RunKey(2))]);
    let index = open(&bytes).expect("intact");
    let found = index.floor(&object(5 << 40, 1), RunKey::MAX, &log).expect("intact");
    assert_eq!(found.map(|found| (found.run, found.flags)), Some((RunKey(2), None)));
    assert_eq!(log.reads.get(), 1);
    assert_eq!(index.floor(&object((6 << 40) | 1, 1), RunKey::MAX, &log).expect("intact"), None);
    assert_eq!(log.reads.get(), 1, "another tag needs no read");
}

#[test]
fn seven_hundred_keys_of_one_home_bucket_and_one_tag_are_told_apart() {
    let keys: Vec<Key> = (0..700u64).map(|n| Key::new(object(n << 12, 1), RunKey(n % 3))).collect();
    let (bytes, log) = base_of(&keys);
    let index = open(&bytes).expect("intact");
    assert!(index.counts().buckets >= index.counts().home_buckets);
    for key in keys.iter().step_by(37) {
        check_object(&index, &log, &key.object, 3);
    }
    assert_eq!(index.at(&object(700 << 12, 1), RunKey(0), &log).expect("intact"), None);
    assert_eq!(problems(&index).len(), 0);
}

#[test]
fn the_short_way_from_a_record_to_its_entry_says_what_the_long_one_says() {
    // Spread, some with three runs, and twenty of one home bucket and one tag.
    let spread = (0..200u64).flat_map(|n| (0..=n % 5 / 2).map(move |run| (n << 56 | n << 20, run)));
    let crowd = (0..20u64).map(|n| (n << 12, 1));
    let keys: Vec<Key> =
        spread.chain(crowd).map(|(hash, run)| Key::new(object(hash, 1), RunKey(run))).collect();
    let (bytes, log) = base_of(&keys);
    let index = open(&bytes).expect("intact");
    let mut at_home = 0;
    for (at, key) in &log.keys {
        for (offset, expect) in [(at.offset, true), (at.offset + 1, false)] {
            for run in [key.run, RunKey(9)] {
                let within = index.within(run, at.segment).expect("intact");
                let hash = index.hash(&key.object);
                let searched = index.names(hash, &within, offset).expect("intact") == Names::This;
                let glanced = index.names_at_home(hash, &within, offset);
                assert_eq!(searched, expect && run == key.run, "{key:?} {run:?} at {offset}");
                assert!(searched || !glanced, "{key:?} {run:?} at {offset}");
                at_home += usize::from(glanced);
            }
        }
    }
    assert!(at_home > 50 && at_home < keys.len(), "{at_home} of {}", keys.len());
}

#[test]
fn hashes_at_the_end_spill_behind_the_home_buckets() {
    let keys: Vec<Key> = (0..50u64).map(|n| Key::new(object(u64::MAX - n, 1), RunKey(1))).collect();
    let (bytes, log) = base_of(&keys);
    let index = open(&bytes).expect("intact");
    assert_eq!((index.counts().home_buckets, index.counts().buckets), (9, 8 + 7));
    for key in &keys {
        check_object(&index, &log, &key.object, 2);
    }
    assert_eq!(problems(&index).len(), 0);
}

#[test]
fn objects_of_one_hash_stay_apart_in_one_run_and_over_runs() {
    let hash = 0xdead_beef_0bad_cafe;
    let keys: Vec<Key> = [(1, 1), (2, 1), (3, 1), (1, 2), (3, 2), (2, 4), (1, 5)]
        .map(|(number, run)| Key::new(object(hash, number), RunKey(run)))
        .into();
    let (bytes, log) = base_of(&keys);
    let index = open(&bytes).expect("intact");
    assert_eq!((index.counts().slots, index.counts().list_items), (1, 8));
    (0..5).for_each(|number| check_object(&index, &log, &object(hash, number), 6));
    assert_eq!(problems(&index).len(), 0);
}

#[test]
fn a_single_entry_of_another_object_with_the_same_hash_is_not_found() {
    let (bytes, log) = base_of(&[Key::new(object(77, 1), RunKey(1))]);
    let index = open(&bytes).expect("intact");
    check_object(&index, &log, &object(77, 2), 2);
    check_object(&index, &log, &object(77, 1), 2);
}

/// A bucket has eight slots, and ten hashes have the first one for their home: two were moved on to the second. A search that met
/// one of these there, by the tag of another object, took it for a slot that damage had put there, and asked the entries of all
/// runs: half the time of an import into a store of millions went there.
#[test]
fn a_slot_that_was_moved_on_is_known_without_a_look_at_the_entries_of_other_runs() {
    let homes = 120;
    let home = |bucket: u64| (u64::MAX / homes + 1) * bucket;
    let moved = (0..10).map(|number| Key::new(object((number << 40) | (number + 1), 1), RunKey(9)));
    // Three pages of entries of another run, far from there.
    let others =
        (0..660u64).map(|number| Key::new(object(home(3 + number % 110) + (number << 40), 1), RunKey(1)));
    let keys: Vec<Key> = moved.chain(others).collect();
    let (mut bytes, log) = base_of(&keys);
    let entries = Sections::of(&open(&bytes).expect("intact").counts()).expect("small").entries;
    assert_eq!(entries.pages, 3);
    bytes[usize::try_from(entries.first).expect("small") * PAGE_BYTES + 10] ^= 1;
    let index = open(&bytes).expect("its first page is intact");
    assert_eq!(u64::from(index.counts().home_buckets), homes);
    assert!(index.entries_of(RunKey(1)).and_then(Iterator::collect::<Result<Vec<_>>>).is_err());
    for (key, tag) in keys.iter().zip(1..=10u64) {
        let absent = object(home(1) + (1 << 20) + tag - (home(1) & 0xfff), 1);
        log.reads.set(0);
        assert_eq!(index.floor(&absent, RunKey::MAX, &log).expect("not looked at"), None);
        assert_eq!(log.reads.get(), usize::from(tag > 8), "tag {tag}");
        assert!(index.floor(&key.object, RunKey::MAX, &log).expect("not looked at").is_some());
    }
}

/// The record that lies where the index says is another one of the same tag, which the index does not have there: the object is not
/// absent, and who reads the record will see that it is another's.
#[test]
fn a_slot_whose_record_the_index_does_not_have_there_is_wrong() {
    let home = |bucket: u64| (u64::MAX / 5 + 1) * bucket;
    let tag = home(3) & 0xfff;
    let keys: Vec<Key> =
        (0..28).map(|number| Key::new(object(home(3) + (number << 40), 1), RunKey(1))).collect();
    let (bytes, log) = base_of(&keys);
    let index = open(&bytes).expect("intact");
    let hashes = [
        tag,
        home(3) + (5 << 20),
        home(3) + (5 << 40) + (1 << 20),
        home(4) - (home(4) & 0xfff) + 0x1000 + tag,
    ];
    for key in &keys {
        let at = log.keys.iter().find(|(_, other)| *other == key).map(|(at, _)| *at).expect("put");
        for foreign in hashes.map(|hash| object(hash, 1)).into_iter().chain([keys[27].object, keys[0].object])
        {
            for run in [1, 2] {
                let mut log = log.clone();
                log.keys.insert(at, Key::new(foreign, RunKey(run)));
                let found = index.floor(&key.object, RunKey::MAX, &log).expect("intact");
                assert_eq!(found.map(|found| found.at), Some(at), "{foreign:?} in the place of {key:?}");
            }
        }
    }
}

#[test]
fn a_list_goes_on_over_a_page_end() {
    let keys: Vec<Key> = (1..1500).map(|run| Key::new(object(9, 1), RunKey(run))).collect();
    let (bytes, log) = base_of(&keys);
    let index = open(&bytes).expect("intact");
    assert_eq!(index.all(&object(9, 1), &log).expect("intact").len(), 1499);
    log.reads.set(0);
    let found = index.floor(&object(9, 1), RunKey(1200), &log).expect("intact");
    assert_eq!(found.map(|found| found.run), Some(RunKey(1200)));
    assert_eq!(log.reads.get(), 1, "the list is searched without reading records");
    assert_eq!(problems(&index).len(), 0);
}

#[test]
fn the_bytes_do_not_depend_on_the_order_of_adding() {
    let keys: Vec<Key> = (0..900u64).map(|n| Key::new(object((n * n) << 20, 1), RunKey(n % 7))).collect();
    let (bytes, log) = base_of(&keys);
    let mut builder = IndexBuilder::new(base_meta(1));
    for (at, key) in log.keys.iter().rev() {
        builder.entry(snapshot_entry(*key, *at));
    }
    let index = open(&bytes).expect("intact");
    let rows: Vec<RunRow> = index.runs().collect::<Result<_>>().expect("intact");
    rows.iter().rev().for_each(|row| builder.run(*row));
    let segments: Vec<_> = index.segments().map(|row| (row.expect("intact").0, 0)).collect();
    builder.segments(&segments[..3]);
    assert_eq!(builder.build().expect("valid"), bytes);
}

#[test]
fn entries_of_a_run_come_by_hash_and_go_on_after_a_marker() {
    let keys: Vec<Key> = (0..600u64).map(|n| Key::new(object(n * 7919 % 600, 1), RunKey(n % 2))).collect();
    let (bytes, _) = base_of(&keys);
    let index = open(&bytes).expect("intact");
    let hashes = |from: u64| -> Vec<u64> {
        let entries = index.entries_of_from(RunKey(1), from).expect("intact");
        entries.map(|entry| entry.expect("intact").hash).collect()
    };
    let all = hashes(0);
    assert_eq!(all.len(), 300);
    assert!(all.is_sorted());
    for from in [1, 77, 599, 600] {
        assert_eq!(hashes(from), all.iter().copied().filter(|hash| *hash >= from).collect::<Vec<_>>());
    }
    assert_eq!(index.entries_of(RunKey(2)).expect("intact").count(), 0);
}

#[test]
fn runs_keep_their_rows_and_empty_ones_too() {
    let mut builder = IndexBuilder::new(base_meta(1));
    let at = Location { segment: SegmentId(8), offset: 96 };
    let rows: Vec<RunRow> = (0..300)
        .map(|n| RunRow {
            run: RunKey(n * 10),
            at: (n % 3 != 0).then_some(at),
            deleted: n % 4 == 1,
            snapshots: u32::from(n == 50),
            bytes: 0,
        })
        .collect();
    for row in &rows {
        builder.run(*row);
    }
    builder.entry(snapshot_entry(Key::new(object(1, 1), RunKey(500)), at));
    builder.segments(&[(SegmentId(9), 0), (SegmentId(7), 1000), (SegmentId(8), 0), (SegmentId(8), 50)]);
    let bytes = builder.build().expect("valid");
    let index = open(&bytes).expect("intact");
    for row in &rows {
        assert_eq!(index.run(row.run).expect("intact"), Some(*row));
    }
    assert_eq!(index.run(RunKey(15)).expect("intact"), None);
    assert_eq!(index.totals().runs, 225);
    let segments: Vec<_> = index.segments().collect::<Result<_>>().expect("intact");
    let expect = [(SegmentId(7), Some(1000)), (SegmentId(8), Some(50)), (SegmentId(9), None)];
    assert_eq!(segments, expect);
    for (segment, len) in expect {
        assert!(index.has_segment(segment).expect("intact"));
        assert_eq!(index.segment_len(segment).expect("intact"), len);
    }
    for absent in [6, 10].map(SegmentId) {
        assert!(!index.has_segment(absent).expect("intact"));
        assert_eq!(index.segment_len(absent).expect("intact"), None);
    }
    assert_eq!(problems(&index).len(), 0);
}

#[test]
fn entries_that_cannot_be_are_refused() {
    let at = |offset| Location { segment: SegmentId(1), offset };
    let key = Key::new(object(1, 1), RunKey(1));
    let build = |entries: &[Entry], runs: &[u64]| {
        let mut builder = IndexBuilder::new(base_meta(1));
        for entry in entries {
            builder.entry(*entry);
        }
        for run in runs {
            builder.run(RunRow::new(RunKey(*run)));
        }
        builder.build().map(drop)
    };
    let entry = snapshot_entry(key, at(96));
    for (entries, runs) in [
        (&[snapshot_entry(key, at(0))][..], &[1][..]),
        (&[entry, entry], &[1]),
        (&[entry], &[]),
        (&[entry], &[0, 2]),
        (&[], &[2, 2]),
    ] {
        assert!(matches!(build(entries, runs), Err(Error::BadInput { .. })), "{entries:?} {runs:?}");
    }
}

#[test]
fn an_error_of_the_sink_ends_the_writing() {
    let refuse = |_: &[u8]| Err(Error::Cancelled);
    assert!(matches!(IndexBuilder::new(base_meta(1)).write(&mut { refuse }), Err(Error::Cancelled)));
}

#[test]
fn totals_count_by_kind_and_ids_once() {
    let mut builder = IndexBuilder::new(base_meta(1));
    let tombstone = EntryFlags { tombstone: true, ..EntryFlags::default() };
    let alias = EntryFlags { alias: true, ..EntryFlags::default() };
    let live = EntryFlags { replaces: true, ..EntryFlags::default() };
    for (n, (hash, run, flags)) in (1..).zip([
        (1, 1, live),
        (1, 2, live),
        (2, 1, tombstone),
        (3, 1, alias),
        (4, 2, live),
        (4, 1, tombstone),
    ]) {
        let at = Location { segment: SegmentId(1), offset: 96 * n };
        builder.entry(Entry { hash, run: RunKey(run), at, flags });
    }
    builder.run(RunRow { snapshots: 1, bytes: 5, ..RunRow::new(RunKey(1)) });
    builder.run(RunRow { snapshots: 2, bytes: 7, ..RunRow::new(RunKey(2)) });
    let bytes = builder.build().expect("valid");
    let index = open(&bytes).expect("intact");
    let expect = Totals { snapshots: 3, aliases: 1, tombstones: 2, ids: 2, runs: 2, bytes: 12 };
    assert_eq!(index.totals(), expect);
    assert_eq!(problems(&index).len(), 0, "a base has no entry that replaces");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_set_of_keys_is_found_exactly(
        picks in prop::collection::btree_set((0u64..12, 0u8..3, 0u64..6), 0..120),
        spread in prop::sample::select(vec![1u64, 1 << 12, 1 << 52, 0x0123_4567_89ab_cdef]),
    ) {
        let keys: Vec<Key> = picks
            .iter()
            .map(|(hash, number, run)| Key::new(object(hash.wrapping_mul(spread), *number), RunKey(*run)))
            .collect();
        let (bytes, log) = base_of(&keys);
        let index = open(&bytes).expect("intact");
        prop_assert!(problems(&index).is_empty(), "{:?}", problems(&index));
        for hash in 0..13u64 {
            for number in 0..4 {
                check_object(&index, &log, &object(hash.wrapping_mul(spread), number), 6);
            }
        }
    }
}
