use proptest::prelude::*;

use super::*;
use crate::snapshot::bundle::parse;

const FIRST: Range<u32> = 100..1000;

/// A file of one object at [`FIRST`].
fn plain(mtime: Mtime, refs: &[(RefClass, u32)]) -> Meta {
    Meta { mtime, objects: vec![MetaObject { id: None, range: FIRST, refs: refs.to_vec() }] }
}

fn refused(bytes: &[u8]) -> String {
    Meta::decode(bytes, FIRST).unwrap_err()
}

#[test]
fn a_plain_file_costs_seven_bytes_and_one_or_two_for_each_reference() {
    let meta = plain(
        Some((1_700_000_000, 0)),
        &[(RefClass::Top, 127), (RefClass::Top, 327), (RefClass::Custom, 330)],
    );
    let bytes = meta.encode();
    assert_eq!(bytes, [0x93, 0xce, 0x65, 0x53, 0xf1, 0x00, 0x92, 27, 0xcc, 200, 0x91, 0xcc, 230]);
    assert_eq!(Meta::decode(&bytes, FIRST).unwrap(), meta);
    assert_eq!(plain(None, &[]).encode(), [0x91, 0xc0]);
    assert_eq!(plain(None, &[(RefClass::Extension, 101)]).encode(), [0x94, 0xc0, 0x90, 0x90, 0x91, 1]);
}

#[test]
fn a_file_of_several_objects_lists_all_of_them() {
    let refs = vec![(RefClass::Top, 110)];
    let first = MetaObject { id: None, range: FIRST, refs };
    let second = MetaObject { id: Some(b"\xed\xa0\x80".to_vec()), range: 1000..1002, refs: vec![] };
    let meta = Meta { mtime: None, objects: vec![first, second] };
    let objects = [
        &[0x95, 0xc0, 0x90, 0x90, 0x90, 0x92][..],
        &[0x96, 0xc0, 100, 0xcd, 0x03, 0x84, 0x91, 10, 0x90, 0x90],
        &[0x96, 0xc4, 3, 0xed, 0xa0, 0x80, 0xcd, 0x03, 0xe8, 2, 0x90, 0x90, 0x90],
    ];
    assert_eq!(meta.encode(), objects.concat());
    assert_eq!(Meta::decode(&meta.encode(), FIRST).unwrap(), meta);
    assert!(!meta.is_plain());
    let refused = Meta::decode(&meta.encode(), 100..999).unwrap_err();
    assert_eq!(refused, "object 0 lies at 100..1000, after 100");
}

#[test]
fn modification_times_have_one_form_each() {
    for mtime in [None, Some((0, 0)), Some((-1, 0)), Some((i64::MIN, 1)), Some((i64::MAX, NANOS - 1))] {
        assert_eq!(decode_run_meta(&encode_run_meta(mtime)), Ok(mtime));
        assert_eq!(Meta::decode(&plain(mtime, &[]).encode(), FIRST), Ok(plain(mtime, &[])));
    }
    assert_eq!(decode_run_meta(&[]), Ok(None));
    let wrong: [&[u8]; 9] = [
        &[0x91, 0x92, 1, 0],                            // no nanoseconds
        &[0x91, 0x92, 1, 0xce, 0x3b, 0x9a, 0xca, 0x00], // a second of them
        &[0x91, 0x92, 1, 0xff],                         // fewer than none
        &[0x91, 0xcc, 1],                               // longer than needed
        &[0x91, 0xd1, 0x01, 0x2c],                      // signed, where the encoder writes unsigned
        &[0x91, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x91, 0xdc, 0, 2, 1, 1],
        &[0x91, 0x93, 1, 1, 1],
        &[0x91, 0xa1, b'x'],
    ];
    for bytes in wrong {
        assert!(decode_run_meta(bytes).is_err() && Meta::decode(bytes, FIRST).is_err(), "{bytes:?}");
    }
}

#[test]
fn other_shapes_are_refused() {
    let wrong: [(&[u8], &str); 19] = [
        (&[], "no array 0 bytes before the end"),
        (&[0x90], "an array of 0 where 1 to 5 belong"),
        (&[0xc0], "no array 1 bytes before the end"),
        (&[0x96, 0xc0, 0x90, 0x90, 0x90, 0x90, 0x90], "an array of 6 where 1 to 5 belong"),
        (&[0xdc, 0, 1, 0xc0], "array not in its shortest form 4 bytes before the end"),
        (&[0x91, 0xc0, 0xc0], "1 bytes after the end"),
        (&[0x92, 0xc0, 0x90], "an empty list at the end"),
        (&[0x93, 0xc0, 0x91, 1, 0x90], "an empty list at the end"),
        (&[0x92, 0xc0, 0x91], "array of 1 elements in 0 bytes"),
        (&[0x92, 0xc0, 0x91, 0], "reference 0 bytes after 100 in object 100..1000"),
        (&[0x92, 0xc0, 0x92, 1, 0], "reference 0 bytes after 101 in object 100..1000"),
        (&[0x92, 0xc0, 0x91, 0xcd, 0x03, 0x84], "reference 900 bytes after 100 in object 100..1000"),
        (
            &[0x92, 0xc0, 0x91, 0xce, 0xff, 0xff, 0xff, 0xff],
            "reference 4294967295 bytes after 100 in object 100..1000",
        ),
        (&[0x92, 0xc0, 0x91, 0xff], "no integer 1 bytes before the end"),
        (&[0x92, 0xc0, 0x91, 0xcc, 1], "integer not in its shortest form 2 bytes before the end"),
        (&[0x95, 0xc0, 0x90, 0x90, 0x90, 0x90], "no objects"),
        (&[0x95, 0xc0, 0x91, 1, 0x90, 0x90, 0x90], "references both of the file and of its objects"),
        (&[0x95, 0xc0, 0x90, 0x90, 0x90, 0x91, 0x90], "an array of 0 where 6 belong"),
        (
            &[0x95, 0xc0, 0x90, 0x90, 0x90, 0x91, 0x96, 0xc4, 9, 1, 1, 1, 1, 1],
            "byte string of 9 elements in 5 bytes",
        ),
    ];
    for (bytes, reason) in wrong {
        assert_eq!(refused(bytes), reason, "{bytes:?}");
    }
}

#[test]
fn objects_that_no_writer_lists_are_refused() {
    let object =
        |id: Option<&[u8]>, range: Range<u32>| MetaObject { id: id.map(<[u8]>::to_vec), range, refs: vec![] };
    let list = |objects: Vec<MetaObject>| refused(&Meta { mtime: None, objects }.encode());
    assert_eq!(list(vec![object(None, FIRST), object(None, 1000..1001)]), "object 1 of 2 has no id");
    assert_eq!(
        list(vec![object(None, FIRST), object(Some(b"a"), 999..1001)]),
        "object 1 lies at 999..1001, after 1000"
    );
    assert_eq!(list(vec![]), "no objects");
    // One object whose id is the file's name has the short form only.
    let mut long = Meta { mtime: None, objects: vec![object(Some(b""), FIRST)] }.encode();
    Meta::decode(&long, FIRST).unwrap();
    long.splice(7..9, [0xc0]);
    assert_eq!(refused(&long), "object 0 of 1 has no id");
    let beyond =
        [0x95, 0xc0, 0x90, 0x90, 0x90, 0x91, 0x96, 0xc0, 100, 0xce, 0xff, 0xff, 0xff, 0xff, 0x90, 0x90, 0x90];
    assert_eq!(refused(&beyond), "an object of 4294967295 bytes at 100");
}

#[test]
fn counts_from_the_bytes_never_allocate_more_than_the_bytes_can_hold() {
    for head in [&[0x92, 0xc0][..], &[0x95, 0xc0, 0x90, 0x90, 0x90], &[0x95, 0xc0, 0x90, 0x90, 0x90, 0x91]] {
        let bytes = [head, &[0xdd, 0xff, 0xff, 0xff, 0xff], &[1; 50]].concat();
        assert_eq!(refused(&bytes), "array of 4294967295 elements in 50 bytes");
    }
}

#[test]
fn objects_are_found_by_id_in_plain_files_and_others() {
    let file = br#"{"objects": [{"id": "a", "b_ref": "c"}, {"id": "d"}, {"id": "a"}]}"#;
    let bundle = parse(file).unwrap();
    let found = |name: &[u8], id: &[u8]| {
        let meta = Meta::of(&bundle, name, None);
        let first = meta.objects[0].range.clone();
        assert_eq!(Meta::decode(&meta.encode(), first).unwrap(), meta);
        meta.object_named(id, name).map(|object| object.range.start)
    };
    for name in [&b"a"[..], b"x", b"d"] {
        assert_eq!((found(name, b"a"), found(name, b"d"), found(name, b"x")), (Some(13), Some(40), None));
    }
    let bundle = parse(br#"{"objects": [{"id": "a"}]}"#).unwrap();
    assert!(Meta::of(&bundle, b"a", None).is_plain() && !Meta::of(&bundle, b"b", None).is_plain());
}

fn mtimes() -> impl Strategy<Value = Mtime> {
    prop::option::of((prop_oneof![any::<i64>(), -200..200i64], prop_oneof![Just(0), 0..NANOS]))
}

/// An object at `start`, with the gap to the one after it.
fn objects() -> impl Strategy<Value = MetaObject> {
    let refs = prop::collection::btree_set((0..3usize, prop_oneof![1..100u32, 1..100_000u32]), 0..40);
    (prop::collection::vec(any::<u8>(), 0..300), refs, 1..400u32).prop_map(|(id, refs, len)| {
        let refs: Vec<_> = refs.into_iter().map(|(class, at)| (CLASSES[class], at)).collect();
        let end = refs.iter().map(|(_, at)| *at).max().unwrap_or(0).saturating_add(len);
        MetaObject { id: Some(id), range: 0..end, refs }
    })
}

fn metas() -> impl Strategy<Value = Meta> {
    let objects = prop::collection::vec((objects(), 0..1000u32), 1..5);
    (mtimes(), objects, any::<bool>()).prop_map(|(mtime, mut objects, named)| {
        let mut at = 0u32;
        for (object, gap) in &mut objects {
            at = at.saturating_add(*gap);
            object.range = at..at.saturating_add(object.range.end);
            object.refs.iter_mut().for_each(|(_, offset)| *offset = offset.saturating_add(at));
            at = object.range.end;
        }
        if named {
            objects[0].0.id = None;
        }
        Meta { mtime, objects: objects.into_iter().map(|(object, _)| object).collect() }
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(meta in metas()) {
        let first = meta.objects[0].range.clone();
        prop_assert_eq!(Meta::decode(&meta.encode(), first), Ok(meta));
    }

    #[test]
    fn no_bytes_panic_and_each_meta_has_one_form(mut bytes in prop::collection::vec(any::<u8>(), 0..60), start in any::<u32>(), len in 0..100_000u32) {
        let first = start..start.saturating_add(len);
        for head in [None, Some(&[0x92, 0xc0][..]), Some(&[0x95, 0xc0, 0x90, 0x90, 0x90])] {
            bytes.splice(0..0, head.into_iter().flatten().copied());
            if let Ok(meta) = Meta::decode(&bytes, first.clone()) {
                prop_assert_eq!(&meta.encode(), &bytes);
            }
            if let Ok(mtime) = decode_run_meta(&bytes)
                && !bytes.is_empty()
            {
                prop_assert_eq!(&encode_run_meta(mtime), &bytes);
            }
        }
    }

    #[test]
    fn damaged_metas_are_refused_or_have_their_one_form(meta in metas(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let first = meta.objects[0].range.clone();
        let mut bytes = meta.encode();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        match Meta::decode(&bytes, first) {
            Ok(decoded) => prop_assert!(!cut && decoded.encode() == bytes),
            Err(reason) => prop_assert!(!reason.is_empty()),
        }
    }
}
