//! A segment in annotated hex, read by nothing but what FORMAT.md says.

use std::fmt::Write;

use super::hex::{Annotated, big_endian, digits};

/// Bytes of a record before its data.
const HEAD: usize = 45;

/// Reads a segment without a dictionary and writes down each field.
pub(super) fn annotate(segment: &[u8]) -> String {
    let mut hex = Annotated::new(segment);
    header(&mut hex, segment);
    let mut heads = Vec::new();
    while !hex.is_at_end() {
        record(&mut hex, segment, &mut heads);
    }
    hex.finish()
}

fn header(hex: &mut Annotated<'_>, segment: &[u8]) {
    hex.title("segment header");
    hex.field(8, "magic");
    assert_eq!(hex.u16("version"), 1);
    assert_eq!(hex.u16("flags"), 0);
    hex.u32("segment");
    hex.field(16, "store id");
    hex.u64("segment size");
    hex.u8("compression");
    hex.field(7, "zero");
    hex.u64("previous commit");
    hex.u32("its segment");
    hex.u32("its offset");
    hex.field(4, "its data_crc");
    hex.u32("first record");
    hex.field(16, "dictionary id: none");
    hex.u32("zero");
    hex.crc("CRC-32 of bytes 0 to 91", &[&segment[..92]]);
}

/// What the CRCs of the record at `at` cover before the record's own bytes.
fn bound_to(segment: &[u8], at: usize) -> Vec<u8> {
    let (store, number, dictionary) = (&segment[16..32], &segment[12..16], &segment[72..88]);
    [store, number, dictionary, &(at as u64).to_le_bytes()].concat()
}

fn record(hex: &mut Annotated<'_>, segment: &[u8], heads: &mut Vec<u8>) {
    let at = hex.at();
    let size = u32::from_le_bytes(*segment[at + 4..].first_chunk().unwrap()) as usize;
    let tag = ["PUT", "DELETE", "COMMIT", "DICT"][usize::from(segment[at + 8])];
    let (bound, record) = (bound_to(segment, at), &segment[at..at + size]);
    hex.title(format!("{tag} at {at}"));
    hex.crc("head_crc", &[&bound, &record[4..HEAD]]);
    hex.u32("size");
    hex.field(1, format!("tag: {tag}"));
    if tag == "COMMIT" {
        hex.field(32, "key: zero");
    } else {
        let is_run = record[9..33] == [0; 24];
        hex.field(24, if is_run { "object key: a run's" } else { "object key" });
        let run = big_endian(&record[33..]);
        hex.field(8, format!("run: second {}, discriminator {}", run >> 16, run & 0xffff));
    }
    hex.crc("data_crc", &[&bound, &record[HEAD..]]);
    match tag {
        "PUT" => put(hex, at + size),
        "DELETE" => {
            hex.u8("reason");
            hex.leb("first commit");
        }
        _ => return commit(hex, heads),
    }
    heads.extend_from_slice(&record[..HEAD]);
}

fn put(hex: &mut Annotated<'_>, end: usize) {
    let kind = ["snapshot", "alias", "run"][usize::from(hex.peek(1)[0] & 0x0f)];
    assert_eq!(hex.peek(1)[0] >> 4, 0, "the example is not compressed");
    hex.field(1, format!("kind: {kind}, codec: raw"));
    let named = hex.u8("flags") == 1;
    hex.leb("first commit");
    let name_len = if named { hex.leb("name_len") } else { 0 };
    let meta_len = hex.leb("meta_len");
    assert!(hex.leb("raw_len") <= end - hex.at());
    hex.leb("object_start");
    hex.leb("object_tail");
    hex.field(name_len, "name");
    hex.field(meta_len, "meta");
    hex.field(end - hex.at(), "payload");
}

fn commit(hex: &mut Annotated<'_>, heads: &mut Vec<u8>) {
    hex.u64("number");
    assert_eq!(hex.u32("records") as usize, heads.len() / HEAD);
    hex.u8("kind");
    hex.field(3, "zero");
    hex.crc("CRC-32 of the heads of its records", &[&std::mem::take(heads)]);
    hex.u32("previous COMMIT: segment");
    hex.u32("its offset");
    hex.field(4, "its data_crc");
    hex.u32("next segment");
    hex.u32("zero");
    assert_eq!(hex.u32("ranges"), 0);
}

/// The arithmetic of the first record's checksums, step by step.
pub(super) fn worked_crc(segment: &[u8]) -> String {
    let at = 96;
    let size = u32::from_le_bytes(*segment[at + 4..].first_chunk().unwrap()) as usize;
    let bound = bound_to(segment, at);
    let mut out = String::new();
    let mut line = |what: &str, bytes: &[u8]| {
        writeln!(out, "{what:<29} {}", digits(bytes)).unwrap();
    };
    line("store id", &bound[..16]);
    line("segment 1", &bound[16..20]);
    line("dictionary id", &bound[20..36]);
    line("offset 96", &bound[36..]);
    line("head without head_crc", &segment[at + 4..at + HEAD]);
    line("data", &segment[at + HEAD..at + size]);
    let crc = |parts: &[&[u8]]| crc32fast::hash(&parts.concat());
    let (head, data) = (&segment[at + 4..at + HEAD], &segment[at + HEAD..at + size]);
    for (what, value) in [
        ("CRC-32(ids)", crc(&[&bound[..36]])),
        ("CRC-32(ids, offset)", crc(&[&bound])),
        ("CRC-32(ids, offset, head)", crc(&[&bound, head])),
        ("CRC-32(ids, offset, data)", crc(&[&bound, data])),
    ] {
        writeln!(out, "{what:<29} {value:08x}").unwrap();
    }
    out
}
