//! An index file in annotated hex, read by nothing but what FORMAT.md says.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::hex::Annotated;

/// Bytes of a page, and of the part that its checksum covers.
const PAGE: usize = 4096;
const PAGE_DATA: usize = 4092;

/// Items a page, by section.
const PER_PAGE: [u64; 5] = [63, 1022, 255, 126, 511];

/// Reads a base index of one page a section and writes down each field; runs of zeros are left out.
pub(super) fn annotate(index: &[u8], object_key: &[u8; 24]) -> String {
    let mut hex = Annotated::new(index);
    let counts = header(&mut hex);
    end_page(&mut hex, index, 0);
    let seed = u64::from_le_bytes(*index[64..].first_chunk().unwrap());
    let hash = xxh3_64_with_seed(object_key, seed);
    let home = ((u128::from(hash) * u128::from(counts.home_buckets)) >> 64) as u64;
    hex.title(format!("page 1: buckets. The example's object has the hash {hash:016x}, bucket {home}"));
    for _ in 0..counts.items[0] {
        bucket(&mut hex, hash);
    }
    end_page(&mut hex, index, 1);
    hex.title("page 2: lists");
    hex.u32("list 0: length");
    for _ in 1..counts.items[1] {
        hex.u32("entry number");
    }
    end_page(&mut hex, index, 2);
    hex.title("page 3: entries");
    for number in 0..counts.items[2] {
        assert_eq!(hex.field(8, format!("entry {number}: hash")), hash.to_le_bytes());
        location(&mut hex);
    }
    end_page(&mut hex, index, 3);
    hex.title("page 4: runs");
    for _ in 0..counts.items[3] {
        let run = u64::from_le_bytes(*hex.peek(8).first_chunk().unwrap());
        hex.field(8, format!("run: second {}, discriminator {}", run >> 16, run & 0xffff));
        hex.u32("first entry");
        hex.u32("live snapshots");
        location(&mut hex);
        hex.u64("bytes");
    }
    end_page(&mut hex, index, 4);
    hex.title("page 5: segments");
    for _ in 0..counts.items[4] {
        hex.u32("segment");
        hex.u32("sealed length");
    }
    end_page(&mut hex, index, 5);
    hex.finish()
}

struct Counts {
    home_buckets: u64,
    /// By section.
    items: [u64; 5],
}

fn header(hex: &mut Annotated<'_>) -> Counts {
    hex.title("page 0: header");
    hex.field(8, "magic");
    assert_eq!(hex.u16("version"), 1);
    hex.field(1, "kind: base");
    hex.field(5, "zero");
    let store = hex.field(16, "store id");
    hex.u64("covered commit");
    hex.u32("its segment");
    hex.u32("its offset");
    hex.field(4, "its data_crc");
    hex.u32("the log goes on at");
    hex.u32("next segment");
    hex.u32("zero");
    let seed = hex.field(8, "seed: the first 8 bytes of BLAKE3 of the store id");
    assert_eq!(seed, &blake3::hash(store).as_bytes()[..8]);
    hex.u64("base");
    hex.u64("previous layer");
    let mut pages = Vec::new();
    for section in 1..=5 {
        pages.push((hex.u32(&format!("section {section}: first page")), hex.u32("pages")));
    }
    let entries = hex.u64("entries");
    let home_buckets = hex.u64("home buckets");
    let buckets = hex.u64("buckets");
    let slots = hex.u64("slots used");
    assert_eq!(home_buckets, (slots * 5).div_ceil(28));
    let items = [buckets, hex.u64("list items"), entries, hex.u64("run rows"), hex.u64("segment rows")];
    let mut first = 1;
    for ((items, per_page), found) in items.iter().zip(PER_PAGE).zip(pages) {
        let pages = u32::try_from(items.div_ceil(per_page)).unwrap();
        assert_eq!(found, (first, pages));
        first += pages;
    }
    for total in ["snapshots", "aliases", "tombstones", "ids", "runs", "bytes"] {
        hex.u64(&format!("total: {total}"));
    }
    Counts { home_buckets, items }
}

fn bucket(hex: &mut Annotated<'_>, hash: u64) {
    let mut free = 0;
    for slot in 0..8 {
        let value = u64::from_le_bytes(*hex.peek(8).first_chunk().unwrap());
        if value == 0 {
            free = 8 - slot;
            break;
        }
        assert_eq!(value >> 52, hash & 0xfff, "the tag is the low end of the hash");
        let what = if value & (1 << 51) == 0 { "location" } else { "list" };
        let low = value & ((1 << 51) - 1);
        hex.field(8, format!("slot {slot}: tag {:03x}, {what} {low}", value >> 52));
    }
    hex.zeros(free * 8);
}

fn location(hex: &mut Annotated<'_>) {
    let value = u64::from_le_bytes(*hex.peek(8).first_chunk().unwrap());
    let flag = if value & (1 << 52) == 0 { "" } else { ", tombstone" };
    let (ordinal, offset) = ((value & ((1 << 51) - 1)) >> 32, value & 0xffff_ffff);
    hex.field(8, format!("location: ordinal {ordinal}, offset {offset}{flag}"));
}

/// Takes the rest of a page, which is zero, and its checksum.
fn end_page(hex: &mut Annotated<'_>, index: &[u8], number: u32) {
    let start = hex.at() / PAGE * PAGE;
    hex.zeros(start + PAGE_DATA - hex.at());
    let (store, commit, kind) = (&index[16..32], &index[32..40], &index[10..11]);
    let data = &index[start..start + PAGE_DATA];
    hex.crc("CRC-32 of the page", &[store, commit, &number.to_le_bytes(), kind, data]);
}
