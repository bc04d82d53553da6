//! Tests of segments that another history has come into: that of a copy of the store, or of another time.

use super::compaction::damage;
use super::proof::{body, copy, delete, file, three};
use super::repair::{repair, session, without_index};
use super::*;
use crate::progress::Stop;
use crate::store::compact::CompactOptions;
use crate::store::repair::{Fate, LostKind, RepairOptions};

#[test]
fn a_lost_segment_that_is_found_again_is_set_aside_and_never_removed() {
    // Repair built the index anew, in which the segment was left out, and removed it: nothing was lost, it said.
    let mem = three();
    let found = mem.bytes(&file(2)).unwrap();
    assert!(mem.remove_raw(&file(2)));
    assert!(repair(&mem, RepairOptions::default()).has_losses());
    assert!(mem.set_bytes(&file(2), found.clone()));
    let report = repair(&mem, RepairOptions::default());
    assert!(report.files.iter().any(|one| one.file == file(2) && one.evidence.is_some()), "{report:?}");
    let kept = mem.paths().into_iter().filter(|path| path.starts_with("quarantine/"));
    assert!(kept.into_iter().any(|path| mem.bytes(&path).as_ref() == Some(&found)));
    assert_eq!((damage(&mem), body(&mem, 2)), (Vec::new(), None));
    assert!(reopen(&mem).stats().unwrap().lost > 0);
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
