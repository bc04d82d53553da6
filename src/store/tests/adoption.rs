//! Which records count where a COMMIT is damaged: those that it closed, and no others.

use super::*;
use crate::format::commit::COMMIT_DATA_LEN;
use crate::format::record::HEAD_LEN;
use crate::format::segment::file_name;
use crate::id::Location;

/// Bytes that a writer appends before the transaction they belong to is committed.
const LARGE: usize = 3 << 20;

/// Leaves a store without index: transaction 1 in segment 1, half of another behind it, then transaction 2 in segment 2.
fn with_half_a_transaction() -> (Mem, Location) {
    let mem = Mem::new();
    let store = Store::create_on(Arc::new(mem.clone()), &options(64 << 20, Compression::None)).unwrap();
    let mut first = writer(&store);
    put(&mut first, 1, 1, b"committed");
    first.commit().unwrap();
    let commit = store.inner.state.read().position.link.at;
    for number in 100..104 {
        put(&mut first, number, 1, &vec![7; LARGE]);
    }
    drop(first);
    let mut second = writer(&reopen(&mem));
    put(&mut second, 2, 1, b"later");
    second.commit().unwrap();
    drop(second);
    let image = mem.snapshot_all();
    for path in image.paths().iter().filter(|path| path.starts_with("index.") || path.starts_with("hints.")) {
        assert!(image.remove_raw(path));
    }
    (image, commit)
}

fn zero(mem: &Mem, file: &str, from: u32, len: u32) {
    let mut bytes = mem.bytes(file).unwrap();
    let from = usize::try_from(from).unwrap();
    bytes[from..from + usize::try_from(len).unwrap()].fill(0);
    assert!(mem.set_bytes(file, bytes));
}

/// The header of segment 2 names the COMMIT in segment 1. With that COMMIT unreadable, all that stood in segment 1 was taken for
/// its transaction: records that nobody had committed came to life.
#[test]
fn what_stands_behind_a_commit_that_is_known_by_a_later_header_only_stays_uncommitted() {
    let (mem, commit) = with_half_a_transaction();
    let segment = file_name(commit.segment);
    assert!(mem.bytes(&segment).unwrap().len() > LARGE, "half a transaction lies behind");
    for damaged in [false, true] {
        if damaged {
            zero(&mem, &segment, commit.offset, HEAD_LEN + COMMIT_DATA_LEN);
        }
        let view = reopen(&mem).view();
        assert_eq!(latest(&view, 1).as_deref(), Some(&b"committed"[..]));
        assert_eq!(latest(&view, 2).as_deref(), Some(&b"later"[..]));
        assert_eq!(latest(&view, 100), None);
        assert_eq!(view.len(), 2);
    }
}

/// A segment with a damaged header and nothing in it, between the segment whose COMMIT is unreadable and the one whose header
/// names that COMMIT: the acknowledged transaction was dropped as a tail.
#[test]
fn a_torn_segment_in_between_does_not_hide_an_acknowledged_transaction() {
    let (mem, commit) = with_half_a_transaction();
    let bytes = mem.bytes(&file_name(SegmentId(2))).unwrap();
    assert!(mem.set_bytes(&file_name(SegmentId(2)), vec![0; 96]));
    let store = reopen(&mem);
    assert_eq!(latest(&store.view(), 1).as_deref(), Some(&b"committed"[..]));
    let mut third = writer(&store);
    put(&mut third, 3, 1, b"third");
    third.commit().unwrap();
    drop(third);
    let mem = mem.snapshot_all();
    assert!(bytes.len() > 96);
    zero(&mem, &file_name(commit.segment), commit.offset, HEAD_LEN + COMMIT_DATA_LEN);
    let view = reopen(&mem).view();
    assert_eq!(latest(&view, 1).as_deref(), Some(&b"committed"[..]));
    assert_eq!(latest(&view, 3).as_deref(), Some(&b"third"[..]));
    assert_eq!(latest(&view, 100), None);
}
