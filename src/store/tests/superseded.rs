//! Records that cannot be read, and that the index names beside the ones that took their places.

use super::compaction::damage;
use super::repair::repair;
use super::*;
use crate::format::segment::file_name;
use crate::store::repair::RepairOptions;

/// A store whose index has two entries for number 1: of an older record, whose head has these wrong bits since, and of the newest.
/// The older one is a snapshot, or a deletion.
fn with_both(bits: u8, is_deletion: bool) -> Mem {
    let (mem, store) = create(1 << 20);
    let mut one = writer(&store);
    for number in 0..100 {
        put(&mut one, number, 1, b"first");
    }
    one.commit().unwrap();
    one.close().unwrap();
    let mut one = writer(&store);
    // Which of the two is older is told by the deltas, as long as these are two.
    if is_deletion {
        one.delete(id(1), run(1)).unwrap();
    } else {
        put(&mut one, 1, 1, b"older");
    }
    one.commit().unwrap();
    one.checkpoint().unwrap();
    let older = one.working.state.locate(&Key::new(ObjectKey::of(&id(1)), run(1))).unwrap().unwrap();
    put(&mut one, 1, 1, b"newest");
    one.commit().unwrap();
    let path = file_name(older.segment);
    let mut bytes = mem.bytes(&path).unwrap();
    bytes[usize::try_from(older.offset).unwrap() + 12] ^= bits;
    assert!(mem.set_bytes(&path, bytes));
    one.checkpoint().unwrap();
    drop(one);
    assert!(mem.paths().contains(&"index.3.delta".to_owned()), "{:?}", mem.paths());
    mem
}

#[test]
fn a_repair_does_not_hide_the_newest_record_for_an_older_one_that_cannot_be_read() {
    // Two deltas of the index were joined when the head of a record was damaged already that another had superseded: whose it was
    // could not be read, so both had entries, a repair took the older one for live, and marked its key as lost. That hid the
    // intact newest one. A deletion that had been superseded so was done again.
    for is_deletion in [false, true] {
        for bits in [1, 0x15] {
            let mem = with_both(bits, is_deletion);
            assert_eq!(latest(&reopen(&mem).view(), 1).unwrap(), b"newest");
            assert!(!damage(&mem).is_empty());
            let report = repair(&mem, RepairOptions::default());
            assert_eq!(report.remaining, 0, "{report:?}");
            // Of a head that cannot be put right nobody can tell that it was that of the older one.
            let is_told = bits != 1 && !is_deletion;
            assert_eq!(report.lost.len(), usize::from(is_told), "{bits} {is_deletion}: {report:?}");
            assert!(report.lost.iter().all(|lost| lost.key.is_none()), "{report:?}");
            let view = reopen(&mem).view();
            assert_eq!(latest(&view, 1).unwrap(), b"newest");
            assert_eq!(view.len(), 100);
            assert!(damage(&mem).is_empty());
        }
    }
}
