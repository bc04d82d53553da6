//! Tests of the record.

use super::*;

const STORE: StoreId = StoreId([7; 16]);

fn report(number: u32, bad: u64) -> SegmentReport {
    let segment = SegmentId(number);
    SegmentReport { segment, bytes: 100, bad, present: true, ..SegmentReport::default() }
}

fn record(path: &Path) -> Record {
    let (mut record, _) = Record::open(path, Path::new("nowhere")).unwrap();
    assert!(!record.is_foreign(STORE));
    record
}

fn reach(until: Option<u32>) -> Reach {
    let until = until.map(|number| Location { segment: SegmentId(number), offset: 0 });
    Reach { shard: None, from: None, until }
}

#[test]
fn what_was_found_good_lately_and_has_not_grown_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let mut first = record(&path);
    first.note(&report(1, 0), LevelArg::Crc, 1000);
    first.note(&report(2, 3), LevelArg::Content, 1000);
    first.note(&SegmentReport { present: false, ..report(3, 0) }, LevelArg::Crc, 1000);
    first.save().unwrap();
    let again = record(&path);
    assert_eq!(again.entries, first.entries);
    let good = |number, len, level, since, now| again.is_good((SegmentId(number), len), level, since, now);
    assert!(good(1, 100, Level::Crc, 1000, 1000) && good(1, 100, Level::Index, 900, 2000));
    assert!(!good(1, 101, Level::Crc, 900, 2000), "it has grown");
    assert!(!good(1, 100, Level::Content, 900, 2000), "not so deep");
    assert!(!good(1, 100, Level::Crc, 1001, 2000), "too long ago");
    assert!(!good(1, 100, Level::Crc, 900, 999), "the clock was put back");
    assert!(!good(2, 100, Level::Crc, 900, 2000) && !good(3, 100, Level::Crc, 900, 2000), "bad ones never");
    assert!(!good(4, 100, Level::Crc, 900, 2000), "unknown");
}

#[test]
fn a_damaged_record_or_one_of_another_store_is_started_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let mut first = record(&path);
    first.note(&report(1, 0), LevelArg::Crc, 1000);
    first.save().unwrap();
    let (mut foreign, reason) = Record::open(&path, Path::new("nowhere")).unwrap();
    assert!(reason.is_none() && foreign.is_foreign(StoreId([9; 16])) && foreign.entries.is_empty());
    let whole = tree::read_input(&path, 1 << 20).unwrap();
    let rewrite = |bytes: &[u8]| {
        let mut file = tree::create_file(&path).unwrap();
        file.write_all(bytes).unwrap();
        file.finish().unwrap();
        Record::open(&path, Path::new("nowhere")).unwrap()
    };
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        for bytes in [&bytes, &whole[..at]] {
            let (record, reason) = rewrite(bytes);
            assert!(reason.is_some() && record.entries.is_empty(), "byte {at}");
        }
    }
    assert!(rewrite(&whole).1.is_none());
}

#[test]
fn known_damage_stays_known_until_its_segment_is_read_or_gone() {
    let mut record = record(&tempfile::tempdir().unwrap().path().join("record"));
    for number in 1..=4 {
        record.note(&report(number, 1), LevelArg::Crc, 1000);
    }
    record.told = BTreeMap::from([(SegmentId(1), true)]);
    // Segment 2 lies before the place where the run ended, and nothing was told of it: it is gone.
    assert_eq!(record.settle(&reach(Some(3))), 2);
    assert!(!record.entries.contains_key(&SegmentId(2)));
    assert_eq!(record.settle(&reach(None)), 0);
    assert_eq!(record.entries.keys().collect::<Vec<_>>(), [&SegmentId(1)]);
}

#[test]
fn a_shallow_look_does_not_undo_what_a_deep_one_found() {
    let mut record = record(&tempfile::tempdir().unwrap().path().join("record"));
    record.note(&report(1, 1), LevelArg::Content, 1000);
    record.note(&report(2, 0), LevelArg::Content, 1000);
    record.told.clear();
    record.note(&report(1, 0), LevelArg::Crc, 2000);
    record.note(&report(2, 0), LevelArg::Crc, 2000);
    assert_eq!(record.settle(&reach(None)), 1, "it is known to be bad");
    assert!(record.is_good((SegmentId(2), 100), Level::Content, 900, 2000));
    record.note(&report(1, 0), LevelArg::Content, 3000);
    assert_eq!(record.settle(&reach(None)), 0);
}

/// Two checks kept one record at the same time, as the parts of a store do: whichever wrote last had read the file before the
/// other wrote, and so what the other had found was gone, known damage included.
#[test]
fn two_checks_that_keep_one_record_lose_nothing_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let mut before = record(&path);
    (1..=4).for_each(|number| before.note(&report(number, u64::from(number == 4)), LevelArg::Crc, 1000));
    before.save().unwrap();
    let (mut one, mut other) = (record(&path), record(&path));
    one.note(&report(1, 1), LevelArg::Crc, 2000);
    one.note(&report(4, 0), LevelArg::Crc, 2000);
    other.note(&report(1, 0), LevelArg::Crc, 1500);
    other.note(&report(2, 2), LevelArg::Crc, 2000);
    other.note(&report(5, 3), LevelArg::Crc, 2000);
    // Segment 3 is gone.
    other.entries.remove(&SegmentId(3));
    one.save().unwrap();
    other.save().unwrap();
    one.note(&report(5, 0), LevelArg::Index, 3000);
    one.save().unwrap();
    let all = record(&path).entries;
    let bad: Vec<(u32, u64)> = all.values().map(|entry| (entry.seg, entry.bad)).collect();
    assert_eq!(bad, [(1, 1), (2, 2), (4, 0), (5, 3)], "the later look counts, unless it is less deep");
    assert_eq!(one.entries, all);
}

/// The same, many at once: the lock keeps what is read and what is written together.
#[test]
fn many_checks_at_once_leave_all_that_they_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    std::thread::scope(|threads| {
        for job in 0..4u32 {
            let path = &path;
            threads.spawn(move || {
                for round in 0..10u32 {
                    let mut record = record(path);
                    record.note(&report(job * 10 + round, 1), LevelArg::Crc, 1000);
                    record.save().unwrap();
                }
            });
        }
    });
    assert_eq!(record(&path).entries.len(), 40);
}

#[test]
fn a_record_in_the_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for path in
        [dir.path().join("record"), dir.path().join("../").join(dir.path().file_name().unwrap()).join("x")]
    {
        assert!(matches!(Record::open(&path, dir.path()), Err(Error::BadInput { .. })), "{}", path.display());
    }
    assert!(matches!(Record::open(dir.path(), Path::new("nowhere")), Err(Error::BadInput { .. })));
}
