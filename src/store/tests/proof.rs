//! Tests of what proves that the log had more than it has, and of what repair makes of it.

use super::compaction::damage;
use super::repair::{cut, repair, session, without_index};
use super::*;
use crate::CommitId;
use crate::progress::Stop;
use crate::store::compact::CompactOptions;
use crate::store::repair::{Fate, LostKind, RepairOptions};

/// Three snapshots, each in a segment of its own, and an index of all of them.
pub(super) fn three() -> Mem {
    let (mem, _) = create(1 << 20);
    for number in 1..=3 {
        session(&mem, number, format!("{number}").as_bytes());
    }
    writer(&reopen(&mem)).close().unwrap();
    mem
}

pub(super) fn copy(mem: &Mem) -> Mem {
    mem.crash_at(usize::MAX, |_, _| crate::vfs::mem::Fate::Apply)
}

pub(super) fn file(segment: u32) -> String {
    crate::format::segment::file_name(SegmentId(segment))
}

fn name_of(mem: &Mem, prefix: &str) -> String {
    mem.paths().into_iter().find(|path| path.starts_with(prefix)).unwrap()
}

pub(super) fn delete(mem: &Mem, number: u32) {
    let store = reopen(mem);
    let mut one = writer(&store);
    one.delete(id(number), run(1)).unwrap();
    one.commit().unwrap();
    one.close().unwrap();
}

pub(super) fn body(mem: &Mem, number: u32) -> Option<Vec<u8>> {
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
fn the_first_page_of_an_index_proves_that_the_last_commit_is_another_of_its_number() {
    // The newest segment is that of a copy which went its own way: the log has as many COMMITs as before, and nothing else
    // tells that the last one is another than that which was acknowledged.
    let mem = three();
    let other = copy(&mem);
    session(&mem, 4, b"mine");
    session(&other, 7, b"fork");
    writer(&reopen(&mem)).close().unwrap();
    let index = name_of(&mem, "index.4");
    let page = mem.bytes(&index).unwrap()[..4096].to_vec();
    mem.remove_raw(&name_of(&mem, "hints."));
    assert!(mem.set_bytes(&index, page));
    assert!(reopen(&mem).loss().is_none(), "the COMMIT is the one that it names");
    assert!(mem.set_bytes(&file(4), other.bytes(&file(4)).unwrap()));
    is_read_only(&mem, "another COMMIT");
    let found = damage(&mem);
    assert!(found.iter().any(|one| one.contains("transaction 4 is not in the log")), "{found:?}");
    assert!(repair(&mem, RepairOptions::default()).has_losses());
    assert_eq!(damage(&mem), Vec::<String>::new());
    session(&mem, 5, b"5");
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
fn hints_that_are_newer_than_the_index_prove_a_loss_too() {
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
    is_read_only(&mem, "a tail that was committed");
    let report = repair(&mem, RepairOptions::default());
    assert!(report.has_losses(), "{report:?}");
    assert_eq!((damage(&mem), reopen(&mem).view().gaps()), (Vec::new(), 0));
    assert_eq!([1, 2].map(|number| body(&mem, number).is_some()), [true, false]);
}

#[test]
fn a_segment_that_the_last_list_of_them_has_is_missed_though_nothing_else_knows_of_it() {
    // The list served only to excuse what it does not have: check and repair ended with 0, and a deletion in that segment was
    // undone.
    let (mem, _) = create(1 << 20);
    for number in 1..=5 {
        session(&mem, number, &[b'x'; 400]);
    }
    delete(&mem, 4);
    let store = reopen(&mem);
    let mut one = writer(&store);
    one.compact(&CompactOptions { threshold: 20, dry_run: false }, &mut |_| {}, &Stop::default()).unwrap();
    one.close().unwrap();
    drop(store);
    without_index(&mem);
    assert!(mem.remove_raw(&file(3)));
    assert!(
        damage(&mem).contains(&"data/0000000003.seg: the file is missing".to_owned()),
        "{:?}",
        damage(&mem)
    );
    let report = repair(&mem, RepairOptions::default());
    assert!(report.unknown.iter().any(|one| one.place.file == file(3)), "{report:?}");
    assert_eq!((damage(&mem), reopen(&mem).view().gaps()), (Vec::new(), 0));
    assert!(reopen(&mem).stats().unwrap().lost > 0);
}

#[test]
fn a_repair_that_is_cut_off_forgets_no_loss_that_it_has_not_come_to() {
    // The COMMIT of the first segment had a later number than the one that hints prove to be gone.
    let mem = three();
    let mut bytes = mem.bytes(&file(1)).unwrap();
    bytes[150] ^= 1;
    assert!(mem.set_bytes(&file(1), bytes));
    assert!(mem.set_bytes(&file(3), mem.bytes(&file(3)).unwrap()[..96].to_vec()));
    assert!(mem.remove_raw(&name_of(&mem, "index.")));
    let ready = copy(&mem);
    repair(&ready, RepairOptions::default());
    for count in 0..=ready.ops().len() {
        let image = ready.crash_at(count, |_, _| crate::vfs::mem::Fate::Apply);
        let report = repair(&image, RepairOptions::default());
        let told = report.has_losses() && report.unknown.iter().any(|one| one.place.file == file(3));
        let noted = image.paths().iter().any(|path| {
            path.ends_with("report.json")
                && String::from_utf8_lossy(&image.bytes(path).unwrap()).contains("not in the log any more")
        });
        assert!(told || noted, "after {count}: {report:?}");
        assert!(reopen(&image).stats().unwrap().lost > 1, "after {count}");
        assert_eq!(damage(&image), Vec::<String>::new(), "after {count}");
    }
}

#[test]
fn numbers_that_no_store_has_come_to_are_not_believed() {
    // Crafted hints used up all numbers of segments: no repair and no write was possible any more.
    for (commit, segment) in [(u64::MAX, u32::MAX - 1), (1 << 20, u32::MAX - 3)] {
        let mem = three();
        without_index(&mem);
        let known = crate::format::hints::SegmentHints { len: 200, ..Default::default() };
        let hints = crate::format::hints::Hints { segments: [(segment, known)].into(), ..Default::default() };
        let bytes = crate::format::hints::encode(&hints, StoreId([7; 16]), CommitId(commit)).unwrap();
        assert!(mem.set_bytes(&format!("hints.{commit}"), bytes));
        repair(&mem, RepairOptions::default());
        assert_eq!(damage(&mem), Vec::<String>::new());
        for number in 4..8 {
            session(&mem, number, b"more");
        }
        assert_eq!([1, 2, 3, 7].map(|number| body(&mem, number).is_some()), [true; 4]);
    }
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
fn what_stands_before_a_commit_that_is_gone_is_set_aside_and_counted_where_only_its_number_is_known() {
    // Hints of a copy that went its own way, and the first page of its index, know of a COMMIT too: what stands in its place here
    // may never have been committed.
    for what in ["hints", "index"] {
        let mem = three();
        cut(&mem, 3, 60);
        let index = name_of(&mem, "index.");
        if what == "hints" {
            assert!(mem.remove_raw(&index));
        } else {
            let bytes = mem.bytes(&index).unwrap();
            assert!(
                mem.set_bytes(&index, bytes[..5000].to_vec()) && mem.remove_raw(&name_of(&mem, "hints."))
            );
        }
        let before = mem.bytes(&file(3)).unwrap();
        is_proven_and_mended(&mem, "transaction 3 is not in the log", what);
        assert_eq!(mem.bytes("quarantine/4/0000000003.seg"), Some(before), "{what}");
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
