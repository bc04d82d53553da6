//! Damaged files and damaged records: an answer is right, or it is an error that names its place.

use super::*;
use crate::error::{Damage, Place};
use crate::format::index::{Header, PAGE_BYTES, PAGE_DATA_BYTES, Sections};
use proptest::prelude::*;

/// Singles, a list, a full collision: one page of each section.
fn small() -> (Vec<u8>, Log, Vec<ObjectKey>) {
    let picks = [(1 << 60, 1, 1), (1 << 60, 1, 2), (1 << 60, 2, 2), (7 << 61, 1, 1), (9, 1, 3), (4105, 1, 3)];
    let keys = picks.map(|(hash, number, run)| Key::new(object(hash, number), RunKey(run)));
    let (bytes, log) = base_of(&keys);
    let mut objects: Vec<ObjectKey> = keys.iter().map(|key| key.object).collect();
    objects.push(object(8201, 1));
    objects.dedup();
    (bytes, log, objects)
}

/// Asks everything about some objects; panics on a wrong answer, returns how many were errors.
fn ask(index: &Index<&[u8]>, log: &Log, objects: &[ObjectKey], bad_page: u64) -> usize {
    let mut errors = 0;
    let mut check = |what: Result<bool>| match what {
        Ok(right) => assert!(right, "a silent wrong answer"),
        Err(Error::Damaged { place, damage: Damage::Checksum { .. } }) => {
            assert_eq!(place, Place::at("index.1", bad_page * 4096));
            errors += 1;
        }
        Err(other) => panic!("unexpected {other}"),
    };
    for object in objects {
        let model = expected(log, object);
        let latest = model.iter().next_back().map(|(run, at)| (*run, *at));
        let first = model.iter().next().map(|(run, at)| (*run, *at));
        check(index.floor(object, RunKey::MAX, log).map(|found| place(found) == latest));
        check(index.ceil(object, RunKey(0), log).map(|found| place(found) == first));
        let second = model.get(&RunKey(2)).map(|at| (RunKey(2), *at));
        check(index.at(object, RunKey(2), log).map(|found| place(found) == second));
        check(index.all(object, log).map(|all| all.len() == model.len()));
    }
    for run in [1, 2, 3].map(RunKey) {
        let count = log.keys.values().filter(|key| key.run == run).count();
        check(index.run(run).map(|row| row.is_some_and(|row| row.snapshots as usize == count)));
        let entries = index.entries_of(run).and_then(Iterator::collect::<Result<Vec<_>>>);
        check(entries.map(|entries| entries.len() == count));
    }
    check(index.segments().collect::<Result<Vec<_>>>().map(|rows| rows.len() == 2));
    errors
}

#[test]
fn every_flipped_bit_is_an_error_or_does_not_matter() {
    let (mut bytes, log, objects) = small();
    assert_eq!(bytes.len(), 6 * PAGE_BYTES, "a header and one page of each section");
    assert_eq!(ask(&open(&bytes).expect("intact"), &log, &objects, 0), 0);
    for bit in 0..bytes.len() * 8 {
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        bytes[byte] ^= mask;
        let page = (byte / PAGE_BYTES) as u64;
        match open(&bytes) {
            Err(error) => assert!(page == 0 && error.is_damage(), "bit {bit}: {error}"),
            Ok(index) => assert!(page > 0 && ask(&index, &log, &objects, page) > 0, "bit {bit}"),
        }
        bytes[byte] ^= mask;
    }
}

#[test]
fn verify_names_every_bad_page() {
    let (mut bytes, ..) = small();
    for page in [2, 4] {
        bytes[page * PAGE_BYTES + 4000] ^= 1;
    }
    let index = open(&bytes).expect("page 0 is intact");
    let places = problems(&index).into_iter().map(|error| {
        let Error::Damaged { place, damage: Damage::Checksum { .. } } = error else { panic!("{error}") };
        place
    });
    assert_eq!(places.collect::<Vec<_>>(), [Place::at("index.1", 8192), Place::at("index.1", 16384)]);
}

#[test]
fn verify_ends_when_its_reader_is_gone() {
    let (mut bytes, ..) = small();
    bytes[5000] ^= 1;
    let index = open(&bytes).expect("page 0 is intact");
    assert!(matches!(index.verify(Places::Searched, &mut |_| Err(Error::Cancelled)), Err(Error::Cancelled)));
}

#[test]
fn a_file_of_another_length_is_an_error_at_open() {
    let (mut bytes, ..) = small();
    for len in 0..bytes.len() {
        let error = open(&bytes[..len]).expect_err("cut");
        assert!(matches!(error, Error::Damaged { damage: Damage::Truncated { .. }, .. }), "{len}: {error}");
    }
    bytes.push(0);
    let error = open(&bytes).expect_err("longer");
    assert!(matches!(error, Error::Damaged { damage: Damage::Field { .. }, .. }), "{error}");
}

#[test]
fn a_page_of_another_place_commit_or_store_does_not_hold() {
    let keys: Vec<Key> = (0..2000u64).map(|n| Key::new(object(n << 50, 1), RunKey(1))).collect();
    let (mut bytes, log) = base_of(&keys);
    let second: Vec<u8> = bytes[2 * PAGE_BYTES..3 * PAGE_BYTES].to_vec();
    bytes[PAGE_BYTES..2 * PAGE_BYTES].copy_from_slice(&second);
    let index = open(&bytes).expect("page 0 is intact");
    let error = index.at(&keys[0].object, RunKey(1), &log).expect_err("swapped");
    assert!(error.is_damage());
    assert_eq!(problems(&index).len(), 1);

    for meta in [base_meta(2), IndexMeta { store: StoreId([1; 16]), ..base_meta(1) }] {
        let mut builder = IndexBuilder::new(meta);
        builder.run(RunRow::new(RunKey(1)));
        let other = builder.build().expect("valid");
        let mut builder = IndexBuilder::new(base_meta(1));
        builder.run(RunRow::new(RunKey(1)));
        let mut mixed = builder.build().expect("valid");
        mixed[PAGE_BYTES..].copy_from_slice(&other[PAGE_BYTES..]);
        assert!(open(&mixed).expect("page 0 is intact").run(RunKey(1)).is_err());
    }
}

#[test]
fn an_index_of_another_store_is_foreign() {
    let (bytes, ..) = small();
    let other = StoreId([1; 16]);
    let error = Index::open(&bytes, "index.1", other).expect_err("foreign");
    assert!(matches!(error, Error::Damaged { damage: Damage::Foreign { expect, actual }, .. }
            if expect == other && actual == STORE));
}

#[test]
fn a_record_whose_header_is_damaged_is_found_by_its_hash() {
    let (bytes, log, objects) = small();
    let index = open(&bytes).expect("intact");
    for at in log.keys.keys() {
        let log = Log { damaged: [*at].into(), ..log.clone() };
        let key = log.keys[at];
        let found = index.at(&key.object, key.run, &log).expect("the index is intact").expect("attributed");
        assert_eq!((found.run, found.at), (key.run, *at));
        assert_eq!(found.flags, Some(EntryFlags::default()), "the entry was read for it");
        assert!(index.all(&key.object, &log).expect("intact").contains(&found));
        // Its slot has the tag of this hash, too; who has no entry is not found by it.
        if key.object == object(9, 1) {
            assert_eq!(index.floor(&object(4105, 2), RunKey::MAX, &log).expect("intact"), None);
            assert_eq!(index.floor(&object(8201, 1), RunKey::MAX, &log).expect("intact"), None);
        }
        // Objects of other hashes are not affected; those of the same hash are where they have no sure entry.
        for object in objects.iter().filter(|object| object.0[..8] != key.object.0[..8]) {
            let latest = expected(&log, object).into_iter().next_back();
            assert_eq!(place(index.floor(object, RunKey::MAX, &log).expect("intact")), latest);
        }
    }
}

#[test]
fn a_record_that_is_surely_the_objects_goes_before_a_damaged_one_of_its_run_and_hash() {
    let keys = [(1, 1), (1, 2), (2, 2), (1, 3)].map(|(number, run)| Key::new(object(5, number), RunKey(run)));
    let (bytes, mut log) = base_of(&keys);
    let index = open(&bytes).expect("intact");
    let places: Vec<Location> = log.keys.keys().copied().collect();
    for (damaged, sure) in [(1, 2), (2, 1)] {
        log.damaged = [places[damaged]].into();
        let (own, at) = (keys[sure].object, Some((RunKey(2), places[sure])));
        assert_eq!(place(index.at(&own, RunKey(2), &log).expect("intact")), at);
        assert_eq!(place(index.floor(&own, RunKey(2), &log).expect("intact")), at);
        assert_eq!(place(index.ceil(&own, RunKey(2), &log).expect("intact")), at);
        assert_eq!(index.all(&own, &log).expect("intact").len(), if sure == 1 { 3 } else { 1 });
    }
    // Object 2 has nothing in run 3, but the damaged record there may be its own: not the one before it.
    log.damaged = [places[3]].into();
    let newest = index.floor(&object(5, 2), RunKey::MAX, &log).expect("intact");
    assert_eq!(place(newest), Some((RunKey(3), places[3])));
}

/// Seals all pages again after their content was changed.
fn seal(bytes: &mut [u8], header: &Header) {
    for (page, number) in bytes.chunks_exact_mut(PAGE_BYTES).zip(0..) {
        let crc = header.crc().of(number, &page[..PAGE_DATA_BYTES]);
        page[PAGE_DATA_BYTES..].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Calls everything there is; only that it ends matters.
fn exercise(bytes: &[u8], log: &Log, objects: &[ObjectKey]) -> usize {
    let Ok(index) = open(bytes) else { return 0 };
    let mut answers = problems(&index).len();
    for object in objects {
        for run in [0, 1, 2, 3, u64::MAX].map(RunKey) {
            answers += usize::from(index.at(object, run, log).is_ok());
            answers += usize::from(index.floor(object, run, log).is_ok());
            answers += usize::from(index.ceil(object, run, log).is_ok());
            answers += index.entries_of_from(run, 9).map_or(0, Iterator::count);
        }
        answers += index.all(object, log).map_or(0, |all| all.len());
    }
    answers += index.segments().count() + index.runs().count();
    let overlay = Overlay::new(TEST_SEED, index.totals());
    if let Ok(merged) = merge(&[&index], Some(&overlay), FileKind::Base, log) {
        let mut builder = IndexBuilder::new(base_meta(2));
        for row in merged.rows() {
            builder.run(*row);
        }
        let mut bytes = Vec::new();
        let packed = builder.pack(merged.entries(), &mut |more| {
            bytes.extend_from_slice(more);
            Ok(())
        });
        answers += usize::from(packed.and_then(|packed| packed.write(&bytes, 2, &mut |_| Ok(()))).is_ok());
    }
    answers
}

/// Mostly small numbers, which lead further than random ones do.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0u64..10,
        2 => Just(u64::MAX),
        2 => any::<u64>(),
        2 => (0u64..8).prop_map(|n| (1 << 51) | n),
        2 => (0u64..3).prop_map(|n| (n << 32) | 0x60),
        1 => (0u64..64).prop_map(|n| 1 << n),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn absurd_values_under_valid_checksums_make_nothing_panic(
        changes in prop::collection::vec((1usize..6, 0usize..40, word()), 0..40),
        hide in prop::collection::vec(0usize..6, 0..3),
    ) {
        let (mut bytes, mut log, objects) = small();
        let header = Header::decode(bytes.first_chunk().expect("a page"), "index.1").expect("intact");
        for (page, place, value) in changes {
            let at = page * PAGE_BYTES + place * 8;
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        log.damaged = hide.iter().filter_map(|n| log.keys.keys().nth(*n).copied()).collect();
        seal(&mut bytes, &header);
        exercise(&bytes, &log, &objects);
    }

    #[test]
    fn absurd_headers_under_valid_checksums_make_nothing_panic(
        fields in prop::collection::vec((0usize..40, word()), 1..6),
        counts in prop::array::uniform7(0u32..600),
        implied in any::<bool>(),
        fill in word(),
    ) {
        let (mut bytes, log, objects) = small();
        let mut header = Header::decode(bytes.first_chunk().expect("a page"), "index.1").expect("intact");
        if implied {
            let [entries, home_buckets, buckets, slots, list_items, runs, segments] = counts;
            let list_items = list_items.into();
            header.counts = Counts { entries, home_buckets, buckets, slots, list_items, runs, segments };
            let pages = Sections::of(&header.counts).expect("small").pages as usize;
            bytes = header.encode().expect("small").to_vec();
            let filler = fill.to_le_bytes().into_iter().cycle();
            bytes.extend(filler.take((pages - 1) * PAGE_BYTES));
        } else {
            for (place, value) in fields {
                bytes[place * 8..place * 8 + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
        seal(&mut bytes, &header);
        exercise(&bytes, &log, &objects);
    }

    #[test]
    fn random_bytes_are_no_index(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        prop_assert!(open(&bytes).is_err());
    }
}

/// Each change leaves all checksums valid; verify must still notice.
#[test]
fn verify_notices_what_contradicts_itself() {
    let (bytes, ..) = small();
    let header = Header::decode(bytes.first_chunk().expect("a page"), "index.1").expect("intact");
    let sections = Sections::of(&header.counts).expect("small");
    let at = |page: u32, offset: usize| page as usize * PAGE_BYTES + offset;
    let changes = [
        ("total of snapshots", 184),
        ("total of aliases", 192),
        ("total of tombstones", 200),
        ("total of bytes", 224),
        ("first slot", at(sections.buckets.first, 0)),
        ("first slot's tag", at(sections.buckets.first, 7)),
        ("spare slot", at(sections.buckets.first, 56)),
        ("length of a list", at(sections.lists.first, 0)),
        ("entry of a list", at(sections.lists.first, 4)),
        ("hash", at(sections.entries.first, 0)),
        ("offset of a single entry", at(sections.entries.first, 4 * 16 + 8)),
        ("flags", at(sections.entries.first, 14)),
        ("odd flags", at(sections.entries.first, 15)),
        ("run", at(sections.runs.first, 0)),
        ("first entry of a run", at(sections.runs.first, 40)),
        ("snapshots of a run", at(sections.runs.first, 12)),
        ("bytes of a run", at(sections.runs.first, 24)),
        ("flags of a run", at(sections.runs.first, 23)),
    ];
    for (what, place) in changes {
        let mut bytes = bytes.clone();
        bytes[place] ^= 0x22;
        seal(&mut bytes, &header);
        let index = open(&bytes).expect("checksums hold");
        assert!(!problems(&index).is_empty(), "{what}");
    }
}
