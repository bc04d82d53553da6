//! Golden outputs of `dump`: of the golden segments, and of damaged copies of them.

use std::sync::Arc;

use stix_store::SegmentId;
use stix_store::store::dump::dump;
use stix_store::vfs::ReadVfs;
use stix_store::vfs::mem::Mem;

use super::expect_text;
use super::golden::golden_in_memory;

/// The last golden segment: small, with a tail.
const LAST: u32 = 3;
const LAST_FILE: &str = "data/0000000003.seg";
/// Where its second record starts, a snapshot: behind the header and a run without an odd name.
const SNAPSHOT: usize = 96 + 58;

fn dumped(mem: Mem, segment: u32) -> String {
    let mut out = Vec::new();
    let mem: Arc<dyn ReadVfs> = Arc::new(mem);
    dump(&mem, SegmentId(segment), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Dumps the last segment as `damage` leaves it.
fn dumped_with(damage: impl FnOnce(&mut Vec<u8>)) -> String {
    let mem = golden_in_memory();
    let mut bytes = mem.bytes(LAST_FILE).unwrap();
    damage(&mut bytes);
    assert!(mem.set_bytes(LAST_FILE, bytes));
    dumped(mem, LAST)
}

#[test]
fn dumps_of_the_golden_segments_are_as_committed() {
    for segment in 1..=LAST {
        let path = format!("tests/scripts/dump-segment-{segment}.txt");
        expect_text(&path, &dumped(golden_in_memory(), segment));
    }
}

#[test]
fn a_dump_shows_a_flipped_bit_in_a_record_head_as_a_gap_and_goes_on_behind_it() {
    let text = dumped_with(|bytes| bytes[SNAPSHOT + 8] ^= 1);
    expect_text("tests/scripts/dump-flip-in-head.txt", &text);
    assert!(text.contains(&format!("\n{SNAPSHOT:>10}  DAMAGED, ")), "{text}");
}

#[test]
fn a_dump_shows_a_flipped_bit_in_data_with_its_record() {
    let text = dumped_with(|bytes| bytes[SNAPSHOT + 60] ^= 0x10);
    expect_text("tests/scripts/dump-flip-in-data.txt", &text);
    assert!(text.contains("record data checksum"), "{text}");
}

#[test]
fn a_dump_of_a_cut_file_ends_with_what_is_left_of_the_cut_record() {
    let text = dumped_with(|bytes| bytes.truncate(SNAPSHOT + 100));
    expect_text("tests/scripts/dump-cut.txt", &text);
    assert!(text.contains("the file ends after"), "{text}");
}

#[test]
fn a_dump_reads_the_records_behind_a_damaged_header() {
    let text = dumped_with(|bytes| bytes[20] ^= 0xff);
    expect_text("tests/scripts/dump-damaged-header.txt", &text);
    assert!(text.contains("segment header checksum") && text.contains("COMMIT"), "{text}");
}
