//! Tests of what proves that the log had more than it has, and of what repair makes of it.

use super::compaction::damage;
use super::repair::{cut, repair, session, without_index};
use super::*;
use crate::CommitId;
use crate::progress::Stop;
use crate::store::compact::CompactOptions;
use crate::store::repair::{Fate, LostKind, RepairOptions};

/// Three snapshots, each in a segment of its own, and an index of all of them.
fn three() -> Mem {
    let (mem, _) = create(1 << 20);
    for number in 1..=3 {
        session(&mem, number, format!("{number}").as_bytes());
    }
    writer(&reopen(&mem)).close().unwrap();
    mem
}

fn copy(mem: &Mem) -> Mem {
    mem.crash_at(usize::MAX, |_, _| crate::vfs::mem::Fate::Apply)
}

fn file(segment: u32) -> String {
    crate::format::segment::file_name(SegmentId(segment))
}

fn name_of(mem: &Mem, prefix: &str) -> String {
    mem.paths().into_iter().find(|path| path.starts_with(prefix)).unwrap()
}

fn delete(mem: &Mem, number: u32) {
    let store = reopen(mem);
    let mut one = writer(&store);
    one.delete(id(number), run(1)).unwrap();
    one.commit().unwrap();
    one.close().unwrap();
}

fn body(mem: &Mem, number: u32) -> Option<Vec<u8>> {
    latest(&reopen(mem).view(), number)
}

fn is_read_only(mem: &Mem, what: &str) {
    let store = reopen(mem);
    assert!(store.loss().is_some(), "{what}");
    let refused = store.writer(&WriterOptions::default()).map(|_| ());
    assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{what}: {refused:?}");
}

/// The log ends before what is beside it: nobody may write, the check says so, and repair tells of a loss.
fn is_proven_and_mended(mem: &Mem, says: &str, what: &str) {
    is_read_only(mem, what);
    let found = damage(mem);
    assert!(found.iter().any(|one| one.contains(says)), "{what}: {found:?}");
    let report = repair(mem, RepairOptions::default());
    assert!(report.has_losses(), "{what}: {report:?}");
    assert_eq!(report.commit, CommitId(4), "{what}: number 3 meant another state: {report:?}");
    assert!(!mem.paths().contains(&file(3)), "{what}: neither is the segment's number used again");
    assert_eq!(damage(mem), Vec::<String>::new(), "{what}");
    assert!(!repair(mem, RepairOptions::default()).has_losses(), "{what}: it is told once");
    assert!(reopen(mem).stats().unwrap().lost > 0, "{what}: and stats goes on saying it");
    assert_eq!([1, 2, 3].map(|number| body(mem, number).is_some()), [true, true, false], "{what}");
    session(mem, 4, b"4");
}

#[test]
fn hints_or_the_first_page_of_an_index_prove_that_the_newest_segment_is_gone() {
    // Neither was asked: check and repair ended with 0 although the newest segment was missing, the next transaction was
    // given the number of the lost one, and its segment that of the missing one, so that `stats` took the report about
    // the loss for that of a segment in use.
    for what in ["hints alone", "cut index", "index with a damaged page", "cut index without hints"] {
        let mem = three();
        mem.remove_raw(&file(3));
        let index = name_of(&mem, "index.");
        let mut bytes = mem.bytes(&index).unwrap();
        match what {
            "hints alone" => assert!(mem.remove_raw(&index)),
            "index with a damaged page" => {
                bytes[5000] ^= 1;
                assert!(mem.set_bytes(&index, bytes));
            }
            _ => {
                bytes.truncate(5000);
                assert!(mem.set_bytes(&index, bytes));
            }
        }
        if what.ends_with("without hints") {
            mem.remove_raw(&name_of(&mem, "hints."));
        }
        // The list of segments in an index that was opened says as much.
        let is_opened = what == "index with a damaged page";
        let says = if is_opened { "3.seg: the file is missing" } else { "transaction 3 is not in the log" };
        is_proven_and_mended(&mem, says, what);
    }
}

#[test]
fn hints_prove_that_a_log_ends_too_early_though_no_segment_is_missing() {
    let mem = three();
    let bytes = mem.bytes(&file(2)).unwrap();
    // Nothing but a header: of the records nothing is left.
    assert!(mem.set_bytes(&file(3), mem.bytes(&file(3)).unwrap()[..96].to_vec()));
    mem.remove_raw(&name_of(&mem, "index."));
    is_proven_and_mended(&mem, "transaction 3 is not in the log", "cut to its header");
    assert_eq!(mem.bytes(&file(2)), Some(bytes));
}

#[test]
fn hints_know_of_a_missing_segment_where_no_index_and_no_header_tells() {
    // Check found the damaged header only, and repair ended with 0.
    let mem = three();
    assert!(mem.remove_raw(&file(1)) && mem.remove_raw(&name_of(&mem, "index.")));
    let mut bytes = mem.bytes(&file(2)).unwrap();
    bytes[20] ^= 1;
    assert!(mem.set_bytes(&file(2), bytes));
    let found = damage(&mem);
    assert!(found.contains(&"data/0000000001.seg: the file is missing".to_owned()), "{found:?}");
    let report = repair(&mem, RepairOptions::default());
    assert!(report.has_losses(), "{report:?}");
    assert_eq!(damage(&mem), Vec::<String>::new());
    assert!(reopen(&mem).stats().unwrap().lost > 0);
    assert_eq!([1, 2, 3].map(|number| body(&mem, number).is_some()), [false, true, true]);
}

#[test]
fn hints_that_are_newer_than_the_index_tell_a_check_that_a_tail_was_committed() {
    // Whoever opened the store adopted the records, and check took them for a tail that was never committed.
    let (mem, _) = create(1 << 20);
    session(&mem, 1, b"1");
    writer(&reopen(&mem)).close().unwrap();
    let index = (name_of(&mem, "index."), mem.bytes(&name_of(&mem, "index.")).unwrap());
    session(&mem, 2, b"2");
    writer(&reopen(&mem)).close().unwrap();
    cut(&mem, 2, 95);
    while let Some(name) = mem.paths().into_iter().find(|path| path.starts_with("index.")) {
        mem.remove_raw(&name);
    }
    assert!(mem.set_bytes(&index.0, index.1));
    let found = damage(&mem);
    assert!(found.iter().any(|one| one.contains("COMMIT of acknowledged transaction 2")), "{found:?}");
    let report = repair(&mem, RepairOptions::default());
    assert!(report.has_losses(), "its record ends too early: {report:?}");
    assert_eq!((damage(&mem), reopen(&mem).view().gaps()), (Vec::new(), 0));
    assert_eq!([1, 2].map(|number| body(&mem, number).is_some()), [true, false]);
}

#[test]
fn what_was_behind_the_end_of_a_segment_is_named_where_only_the_index_knows_of_it() {
    // The header that tells of it was in the segment that is gone. The index was taken to be wrong, so the log decided: what
    // had been deleted came back.
    for keep in [96, 180] {
        let (mem, _) = create(1 << 20);
        for number in 1..=2 {
            session(&mem, number, format!("{number}").as_bytes());
        }
        let store = reopen(&mem);
        let mut one = writer(&store);
        put(&mut one, 3, 1, &[b'3'; 300]);
        put(&mut one, 4, 1, b"4");
        one.delete(id(1), run(1)).unwrap();
        one.commit().unwrap();
        drop((one, store));
        session(&mem, 5, b"5");
        writer(&reopen(&mem)).close().unwrap();
        let bytes = mem.bytes(&file(3)).unwrap();
        assert!(mem.set_bytes(&file(3), bytes[..keep].to_vec()) && mem.remove_raw(&file(4)));
        let found = damage(&mem);
        assert!(!found.iter().any(|one| one.contains("disagrees")), "{found:?}");
        let report = repair(&mem, RepairOptions::default());
        let fates: Vec<_> = report.lost.iter().map(|lost| lost.fate).collect();
        let lost = if keep == 96 { 3 } else { 2 };
        assert_eq!(fates, vec![Fate::Lost; lost], "{report:?}");
        let is_there = [1, 2, 3, 4, 5].map(|number| body(&mem, number).is_some());
        assert_eq!(is_there, [false, true, keep > 96, false, false]);
        assert_eq!(damage(&mem), Vec::<String>::new());
    }
}

#[test]
fn a_missing_segment_that_a_damaged_index_knows_of_is_told_though_there_is_other_damage() {
    // That was put off until the rest was repaired, and then nothing knew of it any more.
    let mem = three();
    assert!(mem.remove_raw(&file(3)));
    let index = name_of(&mem, "index.");
    let mut bytes = mem.bytes(&index).unwrap();
    let last = bytes.len() - 4000;
    bytes[last] ^= 1;
    assert!(mem.set_bytes(&index, bytes));
    let mut bytes = mem.bytes(&file(1)).unwrap();
    bytes[97] ^= 0x15;
    assert!(mem.set_bytes(&file(1), bytes));
    let report = repair(&mem, RepairOptions::default());
    assert!(report.unknown.iter().any(|one| one.place.file == file(3)), "{report:?}");
    assert_eq!(damage(&mem), Vec::<String>::new());
}

#[test]
fn the_gaps_of_a_segment_that_was_left_out_are_not_those_of_the_one_behind_it() {
    // The COMMIT behind the segment of a copy does not follow what is in that, and after the repair the index said that
    // something was lost: every command ended with 1.
    for behind in [false, true] {
        let mem = three();
        let other = copy(&mem);
        for number in [4, 5, 6] {
            session(&mem, number, b"mine");
        }
        for number in [7, 8] {
            session(&other, number, b"fork");
        }
        writer(&reopen(&mem)).close().unwrap();
        // The one behind follows neither what is before it nor is it followed.
        let replaced = file(if behind { 5 } else { 4 });
        assert!(mem.set_bytes(&replaced, other.bytes(&replaced).unwrap()));
        assert!(repair(&mem, RepairOptions::default()).has_losses());
        assert_eq!((damage(&mem), reopen(&mem).view().gaps()), (Vec::new(), 0));
        assert_eq!(body(&mem, 6), Some(b"mine".to_vec()));
    }
}

#[test]
fn what_a_compaction_of_a_copy_left_out_stays_where_that_copy_s_segment_is_replaced() {
    // The COMMIT in it lists the live segments of the copy. Repair left that segment out, and read it once more when it built
    // the index: what the copy had compacted away was removed, with all that was live in it.
    for with_index in [true, false] {
        let (mem, _) = create(1 << 20);
        session(&mem, 1, &[b'x'; 3000]);
        session(&mem, 2, b"2");
        let other = copy(&mem);
        session(&mem, 3, b"3");
        session(&mem, 4, b"4");
        session(&other, 1, b"new");
        let store = reopen(&other);
        let mut one = writer(&store);
        one.compact(&CompactOptions { threshold: 1, dry_run: false }, &mut |_| {}, &Stop::default()).unwrap();
        one.close().unwrap();
        drop(store);
        writer(&reopen(&mem)).close().unwrap();
        let listing = other.paths().into_iter().rfind(|path| path.starts_with("data/")).unwrap();
        assert_eq!(listing, file(4), "the segment of the copy with the COMMIT that lists");
        assert!(mem.set_bytes(&listing, other.bytes(&listing).unwrap()));
        let report = repair(&mem, RepairOptions::default());
        assert!(report.has_losses(), "{report:?}");
        if !with_index {
            without_index(&mem);
        }
        assert_eq!(body(&mem, 1), Some(vec![b'x'; 3000]), "index {with_index}: {report:?}");
        assert_eq!([2, 3].map(|number| body(&mem, number).is_some()), [true, true]);
        assert_eq!((damage(&mem), reopen(&mem).view().gaps()), (Vec::new(), 0));
    }
}

#[test]
fn a_segment_that_was_compacted_away_does_not_come_back_with_a_repair() {
    // A copy of it was put back. The COMMIT of a repair listed it with the segments that stay, so what had been overwritten
    // and deleted in it came back.
    let (mem, _) = create(1 << 20);
    session(&mem, 1, &[b'x'; 400]);
    session(&mem, 2, b"2");
    let old = mem.bytes(&file(1)).unwrap();
    let store = reopen(&mem);
    let mut one = writer(&store);
    one.delete(id(1), run(1)).unwrap();
    one.commit().unwrap();
    one.compact(&CompactOptions { threshold: 1, dry_run: false }, &mut |_| {}, &Stop::default()).unwrap();
    one.close().unwrap();
    drop(store);
    session(&mem, 3, b"3");
    writer(&reopen(&mem)).close().unwrap();
    let last = mem.paths().into_iter().rfind(|path| path.starts_with("data/")).unwrap();
    assert!(!mem.paths().contains(&file(1)) && mem.set_bytes(&file(1), old) && mem.remove_raw(&last));
    let report = repair(&mem, RepairOptions::default());
    assert_eq!([1, 2, 3].map(|number| body(&mem, number).is_some()), [false, true, false], "{report:?}");
    assert_eq!(damage(&mem), Vec::<String>::new());
}

#[test]
fn what_stands_before_a_commit_that_is_gone_is_kept_where_hints_or_the_first_page_of_an_index_know_of_that() {
    // It was set aside with the segment, and counted as lost.
    for what in ["hints", "index"] {
        for cut_off in [60, 89] {
            let mem = three();
            cut(&mem, 3, cut_off);
            let index = name_of(&mem, "index.");
            if what == "hints" {
                assert!(mem.remove_raw(&index));
            } else {
                let bytes = mem.bytes(&index).unwrap();
                assert!(
                    mem.set_bytes(&index, bytes[..5000].to_vec()) && mem.remove_raw(&name_of(&mem, "hints."))
                );
            }
            is_read_only(&mem, what);
            assert_eq!(body(&mem, 3), Some(b"3".to_vec()), "{what}, {cut_off}");
            let found = damage(&mem);
            assert!(
                found.iter().any(|one| one.contains("COMMIT of acknowledged transaction 3")),
                "{found:?}"
            );
            let report = repair(&mem, RepairOptions::default());
            assert!(!report.has_losses(), "{what}, {cut_off}: {report:?}");
            assert_eq!((body(&mem, 3), damage(&mem)), (Some(b"3".to_vec()), Vec::new()), "{what}, {cut_off}");
            assert_eq!(reopen(&mem).view().gaps(), 0);
            session(&mem, 4, b"4");
        }
    }
}

#[test]
fn an_index_under_a_name_of_its_own_proves_nothing() {
    let mem = three();
    let bytes = mem.bytes(&name_of(&mem, "index.")).unwrap();
    without_index(&mem);
    assert!(mem.set_bytes("index.9", bytes));
    assert_eq!(reopen(&mem).loss(), None);
    session(&mem, 4, b"4");
}

#[test]
fn what_the_index_has_in_a_segment_whose_commit_is_cut_off_is_kept_though_the_next_segment_is_gone() {
    // The COMMIT that the index reaches up to was in the segment that is gone, so the log was believed: the snapshot whose
    // bytes are all there was thrown away, nameless, and what had been deleted in that segment came back.
    let (mem, _) = create(1 << 20);
    session(&mem, 1, b"1");
    session(&mem, 5, b"5");
    let store = reopen(&mem);
    let mut one = writer(&store);
    put(&mut one, 2, 1, b"2");
    one.delete(id(5), run(1)).unwrap();
    one.commit().unwrap();
    drop((one, store));
    let store = reopen(&mem);
    let mut one = writer(&store);
    put(&mut one, 3, 1, b"3");
    one.delete(id(1), run(1)).unwrap();
    one.commit().unwrap();
    one.close().unwrap();
    cut(&mem, 2, 60);
    assert!(mem.remove_raw(&file(4)));
    let found = damage(&mem);
    assert!(found.iter().any(|one| one.contains("COMMIT of acknowledged transaction 3")), "{found:?}");
    assert!(!found.iter().any(|one| one.contains("disagrees")), "{found:?}");
    let report = repair(&mem, RepairOptions::default());
    let lost: Vec<_> = report.lost.iter().map(|lost| (lost.kind, lost.fate)).collect();
    assert_eq!(lost, [(LostKind::Snapshot, Fate::Lost)], "{report:?}");
    assert_eq!(body(&mem, 2), Some(b"2".to_vec()));
    assert_eq!([1, 3, 5].map(|number| body(&mem, number)), [None, None, None]);
    assert_eq!(damage(&mem), Vec::<String>::new());
}

#[test]
fn what_a_copy_that_went_its_own_way_undoes_is_named() {
    // The last segment is that of a copy, and index and log cannot both be right. All that the log has stays, so a deletion
    // was undone: it was counted, and not named.
    let mem = three();
    let other = copy(&mem);
    delete(&mem, 1);
    session(&other, 7, b"fork");
    assert!(mem.set_bytes(&file(4), other.bytes(&file(4)).unwrap()));
    let report = repair(&mem, RepairOptions::default());
    let lost: Vec<_> = report.lost.iter().map(|lost| (lost.kind, lost.fate, lost.name())).collect();
    assert_eq!(lost, [(LostKind::Deletion, Fate::Other, Some(id(1)))], "{report:?}");
    assert!(report.unknown.iter().any(|one| one.records == Some(1)), "that of the copy: {report:?}");
    assert_eq!(body(&mem, 1), Some(b"1".to_vec()));
    assert_eq!(damage(&mem), Vec::<String>::new());
    assert!(reopen(&mem).stats().unwrap().lost > 1);
}

#[test]
fn a_snapshot_in_whose_place_there_is_another_is_damaged_and_not_absent() {
    // The record was taken for one of another object of the same hash: the answer was that there is no such snapshot, or
    // the one before it.
    let mem = three();
    let other = copy(&mem);
    session(&mem, 4, b"mine");
    session(&mem, 1, b"newer");
    session(&other, 7, b"fork");
    session(&other, 8, b"later");
    for mem in [&mem, &other] {
        writer(&reopen(mem)).close().unwrap();
    }
    for segment in [4, 5] {
        assert!(mem.set_bytes(&file(segment), other.bytes(&file(segment)).unwrap()));
    }
    let view = reopen(&mem).view();
    for number in [4, 1] {
        let found = view.latest(id(number)).map(|_| ());
        assert!(
            matches!(found, Err(Error::Damaged { damage: crate::error::Damage::WrongRecord, .. })),
            "{found:?}"
        );
        assert!(view.get(id(number), run(1)).is_err());
    }
    assert!(view.latest(id(9)).unwrap().is_none());
    assert_eq!(latest(&view, 2), Some(b"2".to_vec()));
}
