//! Payloads that go to their segment without being copied.

use super::*;
use crate::segment::Codec;
use crate::vfs::ReadVfs;

/// Bytes that zstd halves and no more.
fn hex(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut digit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"0123456789abcdef"[usize::try_from(state % 16).unwrap()]
    };
    (0..len).map(|_| digit()).collect()
}

#[test]
fn large_payloads_between_small_ones_come_back_in_either_compression() {
    for compression in [Compression::None, Compression::Zstd] {
        let mem = Mem::new();
        let store = Store::create_on(Arc::new(mem.clone()), &options(8 << 20, compression)).unwrap();
        let mut writer = writer(&store);
        let bodies = [hex(10), hex(5 << 20), hex(3 << 20), hex(200)];
        for (number, body) in (0..).zip(&bodies) {
            assert_eq!(put(&mut writer, number, 1, body), Outcome::Added);
        }
        let checksums = writer.checksums().unwrap().to_vec();
        writer.commit().unwrap();
        assert_eq!(put(&mut writer, 1, 1, &bodies[1]), Outcome::Unchanged);
        // One that is staged goes on behind one that is not.
        assert_eq!(put(&mut writer, 4, 1, &bodies[3]), Outcome::Added);
        assert_eq!(put(&mut writer, 2, 1, &bodies[1]), Outcome::Updated);
        writer.commit().unwrap();
        drop(writer);
        // Each was begun for a record, and has one.
        for file in mem.list("data").unwrap().unwrap() {
            let opened = mem.open(&format!("data/{}", file.name)).unwrap().unwrap();
            assert!(opened.len().unwrap() > 1000, "{file:?}");
        }
        let view = reopen(&mem).view();
        for (number, body) in [(0, 0), (1, 1), (2, 1), (3, 3), (4, 3)] {
            let snapshot = view.record(id(number), run(1)).unwrap().unwrap();
            assert!(*snapshot.body().unwrap() == *bodies[body], "{number}");
            if number < 2 {
                // The first one is the run's.
                assert_eq!(snapshot.checksum(), checksums[usize::try_from(number).unwrap() + 1]);
            }
        }
    }
}

/// A segment is begun without a dictionary, and one is trained while the transaction is open: what is large is packed anew then.
#[test]
fn a_large_payload_that_needs_a_dictionary_goes_into_a_segment_that_has_none() {
    let (mem, store) = create(64 << 20);
    let mut writer = writer(&store);
    put(&mut writer, 0, 1, &hex(3 << 20));
    let samples: Vec<Vec<u8>> = (0..2000u32)
        .map(|number| {
            format!("{{\"id\": \"tool--{number}\", \"name\": \"{}\"}}", number * 7919 % 1013).into_bytes()
        })
        .collect();
    let slices: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    assert!(writer.train_dictionary(&slices).unwrap());
    let body = hex(4 << 20);
    let encoded = writer.encoder().encode(&body).unwrap();
    assert_eq!(encoded.codec, Codec::ZstdDictionary);
    let name = id(1);
    let body_of = Body::Encoded(&encoded);
    let new =
        Put { name: &name, run: run(1), kind: PutKind::Snapshot, meta: b"", object: 0..0, body: body_of };
    writer.put(&new).unwrap();
    writer.commit().unwrap();
    drop(writer);
    let view = reopen(&mem).view();
    let snapshot = view.record(&name, run(1)).unwrap().unwrap();
    assert_eq!(snapshot.codec(), Codec::Zstd);
    assert!(*snapshot.body().unwrap() == *body);
}
