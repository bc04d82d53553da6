//! One hot path, as often as asked for, and nothing else that depends on how often: what `tools/count.sh` runs under callgrind.
//!
//! usage: count PATH TIMES    (PATH: lookup, absent, batch, encode, decode, check)

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "small numbers of its own making"
)]

mod common {
    pub(crate) mod quiet;
}

use std::hint::black_box;
use std::sync::Arc;

use stix_store::format::crc::Binding;
use stix_store::format::put::{self, Codec, PutData};
use stix_store::format::record::{self, HEAD_BYTES, Tag, key_bytes};
use stix_store::id::{DictionaryId, SegmentId};
use stix_store::progress::Stop;
use stix_store::store::PutKind;
use stix_store::store::check::{CheckOptions, check};
use stix_store::vfs::{ReadVfs, mem::Mem};
use stix_store::{
    Body, CommitId, Compression, CreateOptions, Instant, Key, ObjectKey, Put, RunKey, Store, StoreId, View,
    When, WriterOptions,
};

use common::quiet::Quiet;

const SNAPSHOTS: u64 = 1000;
const BODY_BYTES: usize = 1200;
const STORE: StoreId = StoreId([7; 16]);

fn id(number: u64) -> String {
    format!("malware--{number:08x}-0000-4000-8000-{number:012x}")
}

/// A closed store, uncompressed, in memory: one segment that counts as mapped, one index file.
fn files() -> Mem {
    let options =
        CreateOptions { compression: Compression::None, store_id: Some(STORE), ..CreateOptions::default() };
    let mem = Mem::new();
    let store = Store::create_on(Arc::new(mem.clone()), &options).unwrap();
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    let at = Instant(1_000_000);
    let (run, _) = writer.put_run(at, &at.canonical_name(), &[]).unwrap();
    let body = vec![b'x'; BODY_BYTES];
    for number in 0..SNAPSHOTS {
        let (name, kind, body) = (id(number), PutKind::Snapshot, Body::Raw(&body));
        writer.put(&Put { name: name.as_bytes(), run, kind, meta: &[], object: 0..0, body }).unwrap();
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    mem
}

fn view() -> View {
    Store::open_on(Arc::new(files())).unwrap().view()
}

/// As many records as asked for, and of what a check does once a thousandth each.
fn checks(times: usize) {
    let vfs: Arc<dyn ReadVfs> = Arc::new(files());
    let options = CheckOptions { jobs: 1, ..CheckOptions::default() };
    for _ in (0..times).step_by(usize::try_from(SNAPSHOTS).unwrap()) {
        black_box(check(&vfs, &options, &mut Quiet, &Stop::default()).unwrap());
    }
}

fn lookups(times: usize, first: u64) {
    let view = view();
    let ids: Vec<String> = (first..first + SNAPSHOTS).map(id).collect();
    // Pages are verified and segments mapped before it counts.
    for id in (0..SNAPSHOTS).map(id).chain(ids.iter().cloned()) {
        drop(black_box(view.latest(id).unwrap()));
    }
    for id in ids.iter().cycle().take(times) {
        black_box(view.latest(id).unwrap().map(|found| found.body().unwrap().len()));
    }
}

fn batches(times: usize) {
    let view = view();
    let ids: Vec<String> = (0..SNAPSHOTS).map(id).collect();
    drop(view.get_many(&ids, When::Newest));
    for ids in ids.chunks(100).cycle().take(times / 100) {
        for found in view.get_many(ids, When::Newest) {
            black_box(found.unwrap().map(|found| found.body().unwrap().len()));
        }
    }
}

fn encode(key: &Key, name: &[u8], body: &[u8]) -> Vec<u8> {
    let (mut data, mut out) = (Vec::new(), Vec::new());
    let put = PutData {
        kind: PutKind::Snapshot,
        codec: Codec::Raw,
        first_commit: CommitId(1),
        name: None,
        meta: &[],
        raw_len: u32::try_from(body.len()).unwrap(),
        object: 0..0,
        payload: body,
    };
    put::encode(&mut data, key, name, &put);
    record::encode(&mut out, binding(), 96, Tag::Put, &key_bytes(key), &data);
    out
}

fn binding() -> Binding {
    Binding::new(STORE, SegmentId(1), DictionaryId::NONE)
}

fn main() {
    let words: Vec<String> = std::env::args().filter(|word| !word.starts_with("--")).collect();
    // Without arguments, as `cargo bench` runs it, there is nothing to count.
    let [_, path, times] = words.as_slice() else { return };
    let times: usize = times.parse().unwrap();
    let (name, body) = (id(7), vec![b'x'; BODY_BYTES]);
    let key = Key::new(ObjectKey::of(name.as_bytes()), RunKey::new(Instant(1_000_000), 0));
    match path.as_str() {
        "lookup" => lookups(times, 0),
        "absent" => lookups(times, SNAPSHOTS),
        "batch" => batches(times),
        "check" => checks(times),
        "encode" => (0..times).for_each(|_| drop(black_box(encode(&key, name.as_bytes(), black_box(&body))))),
        "decode" => {
            let bytes = encode(&key, name.as_bytes(), &body);
            for _ in 0..times {
                let head = record::decode_head(black_box(&bytes), binding(), 96).unwrap();
                record::verify_data(&head, &bytes[HEAD_BYTES..], binding(), 96).unwrap();
                black_box(put::decode(&bytes[HEAD_BYTES..]).unwrap());
            }
        }
        _ => panic!("no such path: {path}"),
    }
}
