use super::*;
use crate::id::{Instant, RunKey};

fn put<'a>(name: Option<&'a [u8]>, payload: &'a [u8]) -> PutData<'a> {
    PutData {
        kind: PutKind::Snapshot,
        codec: Codec::Raw,
        first_commit: CommitId(300),
        name,
        meta: b"meta",
        raw_len: u32::try_from(payload.len()).unwrap(),
        object: 2..5,
        payload,
    }
}

#[test]
fn puts_round_trip_with_implied_and_explicit_names() {
    let implied: &[u8] = b"malware--00112233-4455-6677-8899-aabbccddeeff";
    let explicit: &[u8] = b"wizard--00112233-4455-6677-8899-aabbccddeeff";
    for (name, is_implied) in [(implied, true), (explicit, false), (b"", false), (b"x y", false)] {
        let key = Key::new(ObjectKey::of(name), RunKey(1));
        let own = if is_implied { None } else { Some(name) };
        let expect = put(own, b"{\"a\":1}");
        let mut out = Vec::new();
        encode(&mut out, &key, name, &expect);
        let read = decode(&out).unwrap();
        assert_eq!(read, expect);
        assert_eq!(read.name(&key).unwrap(), name);
        assert!(read.is_named(name));
        assert!(!read.is_named(b"other"));
        let mut keys = NamedKeys::default();
        for (other, fits) in [(name, true), (explicit, name == explicit), (b"other", false), (name, true)] {
            assert_eq!((keys.fits(&key, other), key_fits(&key, other)), (fits, fits));
        }
    }
}

#[test]
fn a_run_is_named_by_its_instant_unless_it_says_otherwise() {
    let at = Instant(63_840_924_000);
    let key = Key::of_run(RunKey::new(at, 0));
    for (name, flag) in [(&b"20240115T140000Z"[..], 0), (b"20240115T1400Z", 1)] {
        let mut out = Vec::new();
        encode(&mut out, &key, name, &PutData { kind: PutKind::Run, object: 0..0, ..put(None, b"") });
        assert_eq!(out[1], flag);
        assert_eq!(decode(&out).unwrap().name(&key).unwrap(), name);
    }
}

#[test]
fn malformed_puts_are_refused_without_panic() {
    let mut out = Vec::new();
    encode(&mut out, &Key::default(), b"x", &put(None, b"{\"a\":1}"));
    for len in 0..out.len() {
        assert!(decode(&out[..len]).is_err(), "cut at {len}");
    }
    for bad in [&[0x03, 0, 0, 0, 0, 0, 0][..], &[0x30, 0, 0, 0, 0, 0, 0], &[0, 2, 0, 0, 0, 0, 0]] {
        assert!(decode(bad).is_err());
    }
    assert!(decode(&[0, 0, 0, 0, 5, 6, 0, 1, 2, 3, 4, 5]).is_err(), "object starts behind its end");
}

#[test]
fn deletes_round_trip_and_malformed_ones_are_refused() {
    for reason in [DeleteReason::Deleted, DeleteReason::Mirrored, DeleteReason::Lost] {
        let mut out = Vec::new();
        encode_delete(&mut out, reason, CommitId(1000));
        assert_eq!(decode_delete(&out), Ok((reason, CommitId(1000))));
    }
    for bad in [&[][..], &[3, 0], &[0], &[0, 0, 0]] {
        assert!(decode_delete(bad).is_err());
    }
}
