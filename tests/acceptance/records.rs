//! Records that no writer writes, records in the wrong place, and COMMITs that do not hold.

use stix_store::format::crc::{Binding, Crc32};
use stix_store::id::DictionaryId;
use stix_store::store::repair::LostKind;
use stix_store::vfs::mem::Mem;
use stix_store::{Compression, SegmentId, StoreId};

use super::{
    COMMIT, FIRST, PUT, assert_holds, damage, latest, open, paths, read_only, records, repair, session,
    without_caches,
};
use crate::session::{Session, body, id, run};

/// The checksum that a part of a record has at its place.
fn crc_at(offset: usize, bytes: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    crc.update(&[7; 16]);
    crc.update(&1u32.to_le_bytes());
    crc.update(&DictionaryId::NONE.0);
    let mut crc = Crc32::resume(crc.finish());
    crc.update(&u64::try_from(offset).unwrap().to_le_bytes());
    crc.update(bytes);
    crc.finish()
}

/// Gives a record of the first segment valid checksums, whatever it holds.
fn seal(bytes: &mut [u8], at: usize, end: usize) {
    let data = crc_at(at, &bytes[at + 45..end]);
    bytes[at + 41..at + 45].copy_from_slice(&data.to_le_bytes());
    let head = crc_at(at, &bytes[at + 4..at + 45]);
    bytes[at..at + 4].copy_from_slice(&head.to_le_bytes());
}

/// Lets the COMMIT of a segment's only transaction agree with its records.
fn agree(bytes: &mut [u8], heads: &[usize], commit: usize) {
    let mut crc = Crc32::new();
    for at in heads {
        crc.update(&bytes[*at..at + 45]);
    }
    bytes[commit + 45 + 16..commit + 45 + 20].copy_from_slice(&crc.finish().to_le_bytes());
    seal(bytes, commit, bytes.len());
}

/// A store of one transaction of a run and three snapshots, closed.
fn three() -> (Mem, Session) {
    let (mem, mut session) = session(1 << 20, Compression::None);
    for number in 1..=3 {
        session.put(number, 1, &body(number, 80)).unwrap();
    }
    session.commit().unwrap();
    session.close().unwrap();
    session.leave();
    (mem, session)
}

/// Asserts that two of the snapshots of `three` can be read, and that the second is damaged or absent, never something else.
fn assert_second_is_gone(mem: &Mem, what: &str) {
    let view = read_only(mem);
    for number in [1, 3] {
        assert_eq!(latest(&view, number), Some(body(number, 80)), "{what}");
    }
    match view.latest(id(2)) {
        Ok(found) => assert!(found.is_none(), "{what}: {found:?}"),
        Err(error) => assert!(error.is_damage(), "{what}: {error}"),
    }
}

#[test]
fn the_checksums_of_this_module_are_those_of_the_format() {
    let (mem, _) = three();
    let bytes = mem.bytes(FIRST).unwrap();
    let mut sealed = bytes.clone();
    let all = records(&mem, FIRST);
    for record in &all {
        seal(&mut sealed, record.at, record.at + record.len);
    }
    let heads: Vec<usize> = all.iter().filter(|one| one.tag == PUT).map(|one| one.at).collect();
    agree(&mut sealed, &heads, all.iter().find(|one| one.tag == COMMIT).unwrap().at);
    assert!(sealed == bytes);
    let binding = Binding::new(StoreId([7; 16]), SegmentId(1), DictionaryId::NONE);
    stix_store::format::record::decode_head(&bytes[96..], binding, 96).unwrap();
}

/// What is wrong with a record.
type Change = fn(&mut [u8]);

#[test]
fn a_record_that_no_writer_writes_is_damage_even_under_valid_checksums() {
    // [48]: Attic and Borg crash in a repair of such records, or let them through.
    let (mem, session) = three();
    let all = records(&mem, FIRST);
    let (target, commit) = (all[2], all[4]);
    let changes: [(&str, Change); 9] = [
        ("an unknown tag", |record| record[8] = 9),
        ("a COMMIT of nonsense", |record| record[8] = 2),
        ("a dictionary", |record| record[8] = 3),
        ("a DELETE of nonsense", |record| record[8] = 1),
        ("size 0", |record| record[4..8].fill(0)),
        ("size 44", |record| record[4..8].copy_from_slice(&44u32.to_le_bytes())),
        ("the largest size", |record| record[4..8].fill(0xff)),
        ("a size past the end", |record| record[4..8].copy_from_slice(&(1u32 << 20).to_le_bytes())),
        ("lengths of nonsense", |record| record[47..60].fill(0xff)),
    ];
    for (what, change) in changes {
        for agrees in [false, true] {
            for indexed in [true, false] {
                let mem = if indexed { mem.snapshot_all() } else { without_caches(&mem) };
                let mut bytes = mem.bytes(FIRST).unwrap();
                change(&mut bytes[target.at..target.at + target.len]);
                seal(&mut bytes, target.at, target.at + target.len);
                if agrees {
                    let heads: Vec<usize> = all[..4].iter().map(|one| one.at).collect();
                    agree(&mut bytes, &heads, commit.at);
                }
                mem.set_bytes(FIRST, bytes);
                let what = format!("{what}, agrees {agrees}, indexed {indexed}");
                assert_second_is_gone(&mem, &what);
                assert!(!damage(&mem).is_empty(), "{what}");
                let report = repair(&mem);
                assert_eq!(report.remaining, 0, "{what}: {report:?}");
                assert_eq!(damage(&mem), Vec::<String>::new(), "{what}");
                assert_second_is_gone(&mem, &what);
                assert_eq!(read_only(&mem).len(), 2, "{what}");
            }
        }
    }
    assert_eq!(session.committed().records.len(), 3);
}

#[test]
fn records_within_the_payload_of_a_damaged_one_never_come_to_life() {
    // [49]: in Attic and Borg a repair brought a forged PUT to life and deleted a live key.
    let (mem, mut session) = session(1 << 20, Compression::None);
    session.put(1, 1, b"live").unwrap();
    session.commit().unwrap();
    session.put(1, 1, b"forged").unwrap();
    session.put(8, 1, b"forged").unwrap();
    session.commit().unwrap();
    session.delete(1, 1).unwrap();
    session.commit().unwrap();
    // A whole segment, with everything in it that can be told of these two: in a payload of another store, and of this one.
    let whole = mem.bytes(FIRST).unwrap();
    for at_home in [true, false] {
        let (mem, mut session) = super::session(1 << 20, Compression::None);
        session.put(1, 1, b"live").unwrap();
        session.put(2, 1, &whole).unwrap();
        session.put(3, 1, b"behind").unwrap();
        session.commit().unwrap();
        if at_home {
            session.put(4, 1, b"in another transaction").unwrap();
            session.commit().unwrap();
        }
        session.close().unwrap();
        session.leave();
        let holder = records(&mem, FIRST)[2];
        for hit in [holder.at + 2, holder.at + 6, holder.at + 50, holder.at + holder.len - 1] {
            for indexed in [true, false] {
                let mem = if indexed { mem.snapshot_all() } else { without_caches(&mem) };
                let mut bytes = mem.bytes(FIRST).unwrap();
                bytes[hit] ^= 0x55;
                mem.set_bytes(FIRST, bytes);
                for repaired in [false, true] {
                    if repaired {
                        let report = repair(&mem);
                        assert_eq!(report.remaining, 0, "{report:?}");
                        let kinds: Vec<LostKind> = report.lost.iter().map(|lost| lost.kind).collect();
                        assert!(kinds.len() + report.unknown.len() == 1, "{report:?}");
                    }
                    let view = read_only(&mem);
                    assert_eq!(latest(&view, 1), Some(b"live".to_vec()), "byte {hit}, indexed {indexed}");
                    assert_eq!(latest(&view, 3), Some(b"behind".to_vec()));
                    assert_eq!(latest(&view, 8), None, "byte {hit}, repaired {repaired}");
                    assert_eq!(view.history(id(1)).unwrap().len(), 1);
                }
            }
        }
    }
}

#[test]
fn the_only_commit_damaged_is_told_and_costs_nothing() {
    // [41]: a store of one transaction, whose COMMIT is all that says that there was one.
    let (mem, session) = three();
    let commit = records(&mem, FIRST)[4];
    for indexed in [true, false] {
        for at in commit.at..commit.at + commit.len {
            let mem = if indexed { mem.snapshot_all() } else { without_caches(&mem) };
            let mut bytes = mem.bytes(FIRST).unwrap();
            bytes[at] ^= 4;
            mem.set_bytes(FIRST, bytes.clone());
            for _ in 0..2 {
                assert!(!damage(&mem).is_empty(), "byte {at}, indexed {indexed}");
                session.committed().compare(&read_only(&mem), &[].into()).unwrap();
            }
            assert!(mem.bytes(FIRST) == Some(bytes), "a check changes nothing");
            let report = repair(&mem);
            assert!(!report.has_losses() && report.remaining == 0, "byte {at}: {report:?}");
            assert_holds(&mem, session.committed());
        }
    }
}

#[test]
fn a_store_of_which_nothing_but_its_config_is_left_is_checked_and_repaired_without_a_crash() {
    // [44], [45], [46]: no segment, no index; and with the index, which knows what there was.
    for (indexed, len) in [(true, None), (false, None), (true, Some(0)), (false, Some(0)), (true, Some(16))] {
        let (mem, session) = three();
        for path in paths(&mem, "data/") {
            match len {
                None => assert!(mem.remove_raw(&path)),
                Some(len) => assert!(mem.set_bytes(&path, vec![b'S'; len])),
            }
        }
        let mem = if indexed { mem } else { without_caches(&mem) };
        let found = damage(&mem);
        assert!(!indexed || !found.is_empty(), "{found:?}");
        let report = repair(&mem);
        assert_eq!(report.remaining, 0, "{report:?}");
        assert_eq!(report.has_losses(), indexed, "{report:?}");
        assert_eq!(damage(&mem), Vec::<String>::new());
        assert!(read_only(&mem).is_empty());
        let mut session = Session::resume(&mem, &vec![session.states[0].clone(); 9]);
        session.open().unwrap();
        session.put(9, 1, b"again").unwrap();
        session.commit().unwrap();
        assert_eq!(latest(&open(&mem).view(), 9), Some(b"again".to_vec()));
    }
}

#[test]
fn a_transaction_whose_records_are_not_those_of_its_commit_is_told_and_never_truncated() {
    // R15: each record holds in its place, and yet is not what was committed: a disk that has lost a write gave back what stood
    // there before, which no checksum of a record tells.
    let (mem, session) = three();
    let all = records(&mem, FIRST);
    for indexed in [true, false] {
        let mem = if indexed { mem.snapshot_all() } else { without_caches(&mem) };
        let mut bytes = mem.bytes(FIRST).unwrap();
        let target = all[2];
        bytes[target.at + target.len - 1] ^= 1;
        seal(&mut bytes, target.at, target.at + target.len);
        let before = bytes.clone();
        mem.set_bytes(FIRST, bytes);
        assert!(!damage(&mem).is_empty(), "indexed {indexed}");
        let view = read_only(&mem);
        assert_eq!(latest(&view, 1), Some(body(1, 80)));
        assert_eq!(latest(&view, 3), Some(body(3, 80)));
        drop(view);
        let writer = open(&mem).writer(&stix_store::WriterOptions::default());
        drop(writer);
        assert!(mem.bytes(FIRST) == Some(before), "nothing is truncated");
        let report = repair(&mem);
        assert_eq!(report.remaining, 0, "{report:?}");
        assert_eq!(damage(&mem), Vec::<String>::new());
    }
    assert_eq!(session.committed().snapshot(&id(2), run(1)), Some(body(2, 80)));
}
