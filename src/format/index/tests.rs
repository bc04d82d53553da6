use super::*;

fn header() -> Header {
    Header {
        kind: FileKind::Delta,
        store: StoreId([7; 16]),
        covered: Covered {
            commit: CommitId(9),
            at: Location { segment: SegmentId(3), offset: 4000 },
            data_crc: 0xdead_beef,
            end: 4100,
            next_segment: SegmentId(5),
        },
        seed: 11,
        base: CommitId(4),
        previous: CommitId(8),
        counts: Counts {
            entries: 1000,
            home_buckets: 161,
            buckets: 162,
            slots: 900,
            list_items: 200,
            runs: 12,
            segments: 2,
        },
        totals: Totals { snapshots: 1, aliases: 2, tombstones: 3, ids: 4, runs: 5, bytes: 6 },
        gaps: 7,
    }
}

fn sealed(mut page: [u8; PAGE_BYTES]) -> [u8; PAGE_BYTES] {
    let store = page[16..].first_chunk().copied().unwrap_or_default();
    let commit = LittleEndian::read_u64(&page[32..]);
    let crc = PageCrc::raw(&store, commit, page[10]).of(0, &page[..PAGE_DATA_BYTES]);
    page[PAGE_DATA_BYTES..].copy_from_slice(&crc.to_le_bytes());
    page
}

#[test]
fn a_header_comes_back_as_it_was_written() {
    let page = header().encode().expect("small");
    assert_eq!(Header::decode(&page, "index.9.delta").expect("intact"), header());
    assert_eq!(page, sealed(page));
    let sections = Sections::of(&header().counts).expect("small");
    let firsts = sections.in_order().map(|section| (section.first, section.pages));
    assert_eq!(firsts, [(1, 3), (4, 1), (5, 4), (9, 1), (10, 1)]);
    assert_eq!(sections.pages, 11);
}

#[test]
fn the_fields_lie_where_the_layout_says() {
    let page = header().encode().expect("small");
    let long = |at: usize| LittleEndian::read_u64(&page[at..]);
    let word = |at: usize| LittleEndian::read_u32(&page[at..]);
    assert_eq!(&page[..12], b"STIXIDX\n\x01\0\x01\0");
    assert_eq!(page[16..32], [7; 16]);
    assert_eq!(
        (long(32), word(40), word(44), word(48), word(52), word(56)),
        (9, 3, 4000, 0xdead_beef, 4100, 5)
    );
    assert_eq!((long(64), long(72), long(80)), (11, 4, 8));
    assert_eq!([88, 92, 96, 100, 104, 108, 112, 116, 120, 124].map(word), [1, 3, 4, 1, 5, 4, 9, 1, 10, 1]);
    assert_eq!([128, 136, 144, 152, 160, 168, 176].map(long), [1000, 161, 162, 900, 200, 12, 2]);
    assert_eq!([184, 192, 200, 208, 216, 224].map(long), [1, 2, 3, 4, 5, 6]);
    assert_eq!(page[232..240], 7u64.to_le_bytes());
    assert!(page[240..PAGE_DATA_BYTES].iter().all(|byte| *byte == 0));
}

#[test]
fn every_flipped_bit_of_a_header_is_damage_and_never_another_version() {
    let mut page = header().encode().expect("small");
    for bit in 0..PAGE_BYTES * 8 {
        page[bit / 8] ^= 1 << (bit % 8);
        let error = Header::decode(&page, "index.9.delta").expect_err("flipped");
        assert!(error.is_damage(), "bit {bit}: {error}");
        page[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn an_intact_header_of_a_newer_version_is_unsupported() {
    let mut page = header().encode().expect("small");
    page[8] = 2;
    page[3000] = 1;
    let error = Header::decode(&sealed(page), "index.9.delta").expect_err("newer");
    assert!(matches!(error, Error::UnsupportedVersion { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn fields_that_no_writer_writes_are_damage() {
    let cases: [(usize, &[u8]); 14] = [
        (10, &[2]),
        (11, &[1]),
        (63, &[1]),
        (72, &[9]),
        (80, &[9]),
        (88, &[2]),
        (92, &[4]),
        (128, &[0, 0, 0, 0, 1]),
        (136, &[0]),
        (136, &[163]),
        (152, &[0, 0]),
        (160, &[255, 255]),
        (178, &[8]),
        (4091, &[1]),
    ];
    for (at, bytes) in cases {
        let mut page = header().encode().expect("small");
        page[at..at + bytes.len()].copy_from_slice(bytes);
        let error = Header::decode(&sealed(page), "index.9.delta").expect_err("absurd");
        assert!(matches!(error, Error::Damaged { damage: Damage::Field { .. }, .. }), "{at}: {error}");
    }
    let absurd = Counts { entries: u32::MAX, list_items: u64::MAX, ..Counts::default() };
    assert_eq!(Sections::of(&absurd), None);
}

#[test]
fn slots_locations_and_rows_come_back_as_they_were_written() {
    for (ordinal, offset) in [(0, 96), ((1 << 19) - 1, u32::MAX), (77, 1)] {
        let at = Packed::new(ordinal, offset, TOMBSTONE | REPLACES);
        assert_eq!((at.ordinal(), at.offset(), at.flags()), (ordinal, offset, TOMBSTONE | REPLACES));
        assert!(!at.is_odd());
        let hash = 0x0123_4567_89ab_cdef;
        let slot = Slot::One(at).encode(hash);
        assert_eq!(Slot::decode(slot), Slot::One(Packed::new(ordinal, offset, 0)));
        let slots = write_bucket(&[0, slot, slot ^ (1 << 52), 0, 0, 0, 0, slot]);
        assert_eq!(
            (matching_slots(&slots, 0xdef), matching_slots(&slots, 0xdee)),
            (0b1000_0010, 0b0000_0100)
        );
        assert_eq!(matching_slots(&slots, 0x1000), 0b0111_1001, "an empty slot has the tag 0");
        let row =
            RawRun { run: RunKey(u64::MAX), first_entry: offset, snapshots: ordinal, at, bytes: 1 << 60 };
        assert_eq!(RawRun::decode(&row.encode()), row);
        assert_eq!(read_segment(write_segment(SegmentId(offset), ordinal)), (SegmentId(offset), ordinal));
    }
    let list = Slot::List((1 << 51) - 1);
    assert_eq!(Slot::decode(list.encode(u64::MAX)), list);
    assert_ne!(Slot::List(0).encode(0), 0);
    assert!(Packed(1 << 51).is_odd() && Packed(1 << 55).is_odd());
}

#[test]
fn home_buckets_spread_over_the_whole_range() {
    assert_eq!((home_buckets(0), home_buckets(1), home_buckets(28), home_buckets(29)), (0, 1, 5, 6));
    assert_eq!(home_buckets(u32::MAX), 766_958_446);
    assert_eq!(
        (home_bucket(0, 5), home_bucket(u64::MAX, 5), home_bucket(u64::MAX, u32::MAX)),
        (0, 4, u32::MAX - 1)
    );
    assert_eq!(home_bucket(u64::MAX, 0), 0);
}

#[test]
fn index_files_are_named_by_commit_and_kind() {
    assert_eq!(FileKind::Base.file_name(CommitId(12)), "index.12");
    assert_eq!(FileKind::Delta.file_name(CommitId(13)), "index.13.delta");
}
