//! Index and hints that are missing, damaged, of another time, or wrong under a valid checksum.

use std::sync::Arc;

use stix_store::format::hints;
use stix_store::format::index::Header;
use stix_store::vfs::mem::Mem;
use stix_store::{CommitId, Compression, Error, Store, WriterOptions};

use super::{assert_holds, compact, damage, latest, open, paths, read_only, repair, session, without_caches};
use crate::expected::Expected;
use crate::session::{Session, body, id, run};

/// A store of a few small segments with garbage in them.
fn churned() -> (Mem, Session) {
    let (mem, mut session) = session(512, Compression::None);
    for round in 0..6 {
        for number in 0..4 {
            session.put(number + round % 2 * 2, 1, &body(round * 10 + number, 120)).unwrap();
        }
        session.commit().unwrap();
    }
    session.delete(5, 1).unwrap();
    session.commit().unwrap();
    session.close().unwrap();
    session.leave();
    (mem, session)
}

fn caches(mem: &Mem) -> Vec<String> {
    let mut all = paths(mem, "index.");
    all.extend(paths(mem, "hints."));
    assert!(all.len() >= 2, "{all:?}");
    all
}

#[test]
fn junk_behind_or_instead_of_a_cache_costs_nothing_within_and_outside_a_transaction() {
    // [29], [31]: in Attic each of these ended every command until somebody removed the file.
    let (mem, session) = churned();
    for path in caches(&mem) {
        let good = mem.bytes(&path).unwrap();
        let bad = [
            None,
            Some(Vec::new()),
            Some(b"crapcrap!".to_vec()),
            Some([&good[..], b"trailing"].concat()),
            Some([&good[..], &good].concat()),
        ];
        for (number, bytes) in bad.into_iter().enumerate() {
            for within in [false, true] {
                let mem = mem.snapshot_all();
                let spoil = || match bytes.clone() {
                    Some(bytes) => assert!(mem.set_bytes(&path, bytes)),
                    None => assert!(mem.remove_raw(&path)),
                };
                if !within {
                    spoil();
                }
                let mut session = Session::resume(&mem, &session.states);
                session.open().unwrap();
                session.put(50, 2, b"new").unwrap();
                session.look().unwrap();
                if within {
                    spoil();
                }
                session.committed().compare(&read_only(&mem), &[].into()).unwrap();
                session.commit().unwrap();
                session.close().unwrap();
                session.open().unwrap();
                session.put(51, 2, b"newer").unwrap();
                session.commit().unwrap();
                session.close().unwrap();
                let found = damage(&mem);
                assert!(found.is_empty(), "{path}, kind {number}, within {within}: {found:?}");
                assert_holds(&mem, session.committed());
            }
        }
    }
}

#[test]
fn an_index_of_a_newer_version_is_refused_and_neither_called_damaged_nor_overwritten() {
    // [33]: what wrote it knows more of the store than this program does.
    let (mem, session) = churned();
    let path = paths(&mem, "index.").pop().unwrap();
    let mut bytes = mem.bytes(&path).unwrap();
    let header = Header::decode(bytes[..4096].try_into().unwrap(), &path).unwrap();
    bytes[8] = 2;
    let seal = header.crc().seal(0, &bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&seal);
    assert!(mem.set_bytes(&path, bytes.clone()));
    let before = (mem.paths(), mem.ops().len());
    let newer = |error: &Error| matches!(error, Error::UnsupportedVersion { found: 2, .. });
    assert!(Store::open_read_only_on(Arc::new(mem.clone())).is_err_and(|error| newer(&error)));
    assert!(Store::open_on(Arc::new(mem.clone())).is_err_and(|error| newer(&error)));
    let told = crate::expected::damage_of(&mem).unwrap_err();
    assert!(told.contains("has format version 2, this program reads 1"), "{told}");
    assert_eq!((mem.paths(), mem.ops().len()), before);
    // Without it, the log is what it was.
    assert_holds(&without_caches(&mem), session.committed());
}

/// Writes hints that are wrong in one way, under a valid checksum.
fn misled(mem: &Mem, change: impl Fn(&mut hints::SegmentHints)) -> Mem {
    let mem = mem.snapshot_all();
    let store = open(&mem).id();
    for path in paths(&mem, "hints.") {
        let commit = CommitId(path.strip_prefix("hints.").unwrap().parse().unwrap());
        let mut told = hints::decode(&mem.bytes(&path).unwrap(), store, commit).unwrap();
        told.segments.values_mut().for_each(&change);
        assert!(mem.set_bytes(&path, hints::encode(&told, store, commit).unwrap()));
    }
    mem
}

/// What is wrong with hints.
type Change = fn(&mut hints::SegmentHints);

#[test]
fn wrong_counts_under_a_valid_checksum_lose_nothing_in_a_compaction() {
    // [34]
    let (mem, session) = churned();
    let changes: [(&str, Change); 9] = [
        ("no garbage", |one| one.garbage = 0),
        ("much garbage", |one| one.garbage = u64::MAX),
        ("nothing live", |one| (one.live, one.live_records, one.tombstones) = (0, 0, 0)),
        ("all live", |one| (one.live, one.live_records) = (u64::MAX, u64::MAX)),
        ("many tombstones", |one| one.tombstones = u64::MAX),
        ("longer", |one| one.len += 1000),
        ("endless", |one| one.len = u64::MAX),
        ("shorter", |one| one.len -= 89),
        ("empty", |one| one.len = 96),
    ];
    for (what, change) in changes {
        let mem = misled(&mem, change);
        for threshold in [50, 1, 1] {
            compact(&mem, threshold);
            let view = read_only(&mem);
            session.committed().compare(&view, &[].into()).unwrap_or_else(|why| panic!("{what}: {why}"));
        }
        assert_eq!(damage(&mem), Vec::<String>::new(), "{what}");
        assert_holds(&without_caches(&mem), session.committed());
    }
}

#[test]
fn a_segment_that_is_missing_stays_known_through_a_compaction() {
    // [35]: Borg forgot such a segment, and with it the loss. So did the first compaction of this store: its COMMIT lists the
    // live segments, and one that was missing was not among them. From then on what it had held was absent, and `check`
    // found nothing; or the index could not be written any more, if it had held the record of a run.
    let (mem, session) = churned();
    let segments = paths(&mem, "data/");
    let mut losses = 0;
    for path in &segments[..segments.len() - 1] {
        let mem = mem.snapshot_all();
        mem.remove_raw(path);
        let was = damage(&mem);
        compact(&mem, 1);
        let (view, mut lost) = (read_only(&mem), 0);
        for number in 0..6 {
            let expect = session.committed().snapshot(&id(number), run(1));
            match view.latest(id(number)) {
                Ok(found) => {
                    let found = found.map(|one| one.body().unwrap().into_owned());
                    assert_eq!(found, expect, "{path}, {number}");
                }
                Err(error) => {
                    assert!(error.is_damage(), "{path}: {error}");
                    lost += 1;
                }
            }
        }
        losses += lost;
        let is = damage(&mem);
        assert!(was.iter().any(|one| one.contains(path.as_str())), "{path}: {was:?}");
        if is.is_empty() {
            // Nothing in it was live any more; then the compaction takes its place.
            assert_eq!(lost, 0, "{path}");
            assert_holds(&mem, session.committed());
        } else {
            let named = is.iter().any(|one| one.contains(path.as_str()));
            assert!(named, "{path}, {lost} lost: {was:?} became {is:?}");
            assert!(repair(&mem).has_losses(), "{path}");
            assert_eq!(damage(&mem), Vec::<String>::new(), "{path}");
        }
    }
    assert!(losses > 2, "{losses}");
}

/// A store without caches, with a segment for each of these (object, version), of which the second is missing.
fn without_second(puts: &[(u32, u32)]) -> Mem {
    let (mem, mut session) = session(512, Compression::None);
    for (number, version) in puts {
        session.put(*number, 1, &body(*version, 600)).unwrap();
        session.commit().unwrap();
    }
    session.close().unwrap();
    session.leave();
    let mem = without_caches(&mem);
    mem.remove_raw("data/0000000002.seg");
    mem
}

#[test]
fn a_compaction_leaves_what_tells_of_a_missing_segment_that_no_index_knows() {
    // [35] again, without an index: that the COMMITs do not follow each other was all that told of a missing segment, and a
    // compaction of the next one made `check` find nothing.
    let mem = without_second(&[(0, 0), (1, 1), (2, 2), (3, 3), (2, 4)]);
    assert_eq!(read_only(&mem).gaps(), 1);
    let report = compact(&mem, 1);
    assert_eq!(report.damaged.len(), 1, "{report:?}");
    assert_ne!(damage(&mem), Vec::<String>::new());
    assert_ne!(damage(&without_caches(&mem)), Vec::<String>::new());
    // A repair took the index that this writer had left for one that knows all that was there: nothing was lost, it said.
    for mem in [&mem, &without_caches(&mem)] {
        assert!(repair(mem).has_losses());
        assert_eq!((read_only(mem).gaps(), damage(mem)), (0, Vec::new()));
    }
    compact(&mem, 1);
    assert_eq!(latest(&read_only(&mem), 2), Some(body(4, 600)));
}

#[test]
fn a_compaction_of_others_does_not_settle_that_a_segment_is_missing_which_no_index_knows() {
    // Its COMMIT listed the segments without the missing one, as if that had been compacted away: check and repair ended with
    // 0, while all other commands went on warning.
    let mem = without_second(&[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (4, 5)]);
    let report = compact(&mem, 1);
    assert_eq!((report.segments.len(), report.damaged.len()), (1, 0), "{report:?}");
    for mem in [&mem, &without_caches(&mem)] {
        assert_ne!(damage(mem), Vec::<String>::new());
        assert!(repair(mem).has_losses());
        assert_eq!((read_only(mem).gaps(), damage(mem)), (0, Vec::new()));
        assert_eq!(latest(&read_only(mem), 4), Some(body(5, 600)));
    }
}

#[test]
fn old_hints_beside_a_damaged_index_do_not_mislead_a_compaction() {
    // [36]
    let (old, mut session) = churned();
    let hints = paths(&old, "hints.").pop().unwrap();
    let old_hints = old.bytes(&hints).unwrap();
    session.open().unwrap();
    for number in 0..4 {
        session.put(number, 1, &body(100 + number, 200)).unwrap();
    }
    session.commit().unwrap();
    session.close().unwrap();
    session.leave();
    let mem = old.snapshot_all();
    let newest = paths(&mem, "hints.").pop().unwrap();
    assert_ne!(newest, hints);
    for path in paths(&mem, "index.") {
        let mut bytes = mem.bytes(&path).unwrap();
        bytes[10] ^= 0x55;
        mem.set_bytes(&path, bytes);
    }
    // Under their own name, and under that of the newest.
    for name in [&hints, &newest] {
        let mem = mem.snapshot_all();
        assert!(mem.set_bytes(name, old_hints.clone()));
        compact(&mem, 1);
        assert_eq!(latest(&read_only(&mem), 2), Some(body(102, 200)));
        let expect: &Expected = session.committed();
        assert_holds(&mem, expect);
    }
}

#[test]
fn a_reader_without_an_index_takes_no_lock_and_writes_nothing() {
    // [16]: Attic had to write the index before anything could be read.
    let (mem, session) = churned();
    let mem = without_caches(&mem);
    let held = open(&mem).writer(&WriterOptions::default()).unwrap();
    let before = (mem.paths(), mem.ops().len());
    session.committed().compare(&read_only(&mem), &[].into()).unwrap();
    assert_eq!(damage(&mem), Vec::<String>::new());
    assert_eq!((mem.paths(), mem.ops().len()), before);
    drop(held);
}
