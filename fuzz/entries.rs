//! What the fuzz targets do with their input, and the plain test that replays the corpus (`tests/fuzz.rs`) too: there is
//! one definition of each. None of it may panic, take long, or take much memory; errors are fine.
//!
//! Checksums keep a fuzzer out of everything behind them, so each input is used twice: as it is, and with the checksums
//! made right.

use std::sync::Arc;

use stix_store::format::record::{self, HEAD_BYTES, HEAD_LEN, Tag};
use stix_store::format::segment::HEADER_BYTES;
use stix_store::format::{commit, config, crc, hints, index, put};
use stix_store::id::{CommitId, DictionaryId, Instant, Key, ObjectKey, RunKey, SegmentId, StoreId};
use stix_store::progress::Stop;
use stix_store::snapshot::{Meta, bundle, codec};
use stix_store::store::check::{CheckOptions, CheckSink, Finding, Level, SegmentReport, check};
use stix_store::store::compact::CompactOptions;
use stix_store::vfs::mem::Mem;
use stix_store::vfs::{ReadVfs, Vfs};
use stix_store::{Body, Put, PutKind, Result, Store, View, WriterOptions};

/// What is done with an input.
pub(crate) type Target = fn(&[u8]);

/// The targets by their names: each has a file in `fuzz_targets/` and a folder in `corpus/`.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("bundle", bundle_file),
    ("config", config_file),
    ("hints", hints_file),
    ("index", index_file),
    ("meta", meta_part),
    ("put", put_data),
    ("segment", segment_file),
];

/// The store that inputs replace a file of: the golden one.
pub(crate) const STORE: &[(&str, &[u8])] = &[
    ("config", include_bytes!("../tests/golden/v1/config")),
    (DICTIONARY, include_bytes!("../tests/golden/v1/dict.0a15366a2ed7abd484a068bf3ba268d6")),
    ("hints.3", include_bytes!("../tests/golden/v1/hints.3")),
    ("index.2", include_bytes!("../tests/golden/v1/index.2")),
    ("index.3.delta", include_bytes!("../tests/golden/v1/index.3.delta")),
    ("data/0000000001.seg", include_bytes!("../tests/golden/v1/data/0000000001.seg")),
    ("data/0000000002.seg", include_bytes!("../tests/golden/v1/data/0000000002.seg")),
    ("data/0000000003.seg", include_bytes!("../tests/golden/v1/data/0000000003.seg")),
];

const DICTIONARY: &str = "dict.0a15366a2ed7abd484a068bf3ba268d6";
const PAGE_BYTES: usize = 4096;

fn id() -> StoreId {
    config::decode(STORE[0].1).expect("the golden store").store
}

/// A backup file.
pub(crate) fn bundle_file(input: &[u8]) {
    let Ok(bundle) = bundle::parse(input) else { return };
    for object in &bundle.objects {
        let range = object.range.start as usize..object.range.end as usize;
        assert!(input[range].starts_with(b"{"), "an object");
        for (_, at) in &object.refs {
            assert!(bundle::string_at(input, *at).is_some(), "a reference");
        }
    }
    let meta = Meta::of(&bundle, b"name", None);
    let first = bundle.objects[0].range.clone();
    assert_eq!(Meta::decode(&meta.encode(), first), Ok(meta));
}

/// The meta part of a record.
pub(crate) fn meta_part(input: &[u8]) {
    let read = Meta::decode(input, 0..1 << 20);
    if let Ok(meta) = read {
        assert_eq!(Meta::decode(&meta.encode(), 0..1 << 20), Ok(meta));
    }
    codec::decode_run_meta(input).ok();
}

/// The data of a record.
pub(crate) fn put_data(input: &[u8]) {
    let key = Key::new(ObjectKey::of(b"x"), RunKey(5));
    put::peek(input);
    put::decode_delete(input).ok();
    if let Ok(commit) = commit::decode(input) {
        let decoded = commit::decode(&commit::encode(&commit));
        assert_eq!(decoded, Ok(commit), "a COMMIT reads back");
    }
    if let Ok(data) = put::decode(input) {
        let name = data.name(&key).map(std::borrow::Cow::into_owned);
        let Ok(name) = name else { return };
        let mut again = Vec::new();
        put::encode(&mut again, &key, &name, &data);
        // A name may stand there although the key says it.
        let unnamed = |data| put::PutData { name: None, ..data };
        assert_eq!(put::decode(&again).map(unnamed), Ok(unnamed(data)), "a PUT reads back");
    }
}

/// The config file.
pub(crate) fn config_file(input: &[u8]) {
    use_store("config", input);
    let body = input.iter().rposition(|byte| *byte == b'\n').map_or(input, |at| &input[..at]);
    let body = body.iter().rposition(|byte| *byte == b'\n').map_or(&b""[..], |at| &body[..=at]);
    let sealed = [body, format!("crc = \"{:08x}\"\n", crc::crc32(body)).as_bytes()].concat();
    if let Ok(config) = config::decode(&sealed) {
        let again = config::decode(config::encode(&config).as_bytes());
        assert_eq!(again.ok(), Some(config), "a config reads back");
    }
    use_store("config", &sealed);
}

/// The hints of the newest commit.
pub(crate) fn hints_file(input: &[u8]) {
    use_store("hints.3", input);
    let body = &input[..input.len().saturating_sub(4)];
    let sealed = [body, &crc::crc32(body).to_le_bytes()].concat();
    if let Ok(read) = hints::decode(&sealed, id(), CommitId(3)) {
        let again = hints::encode(&read, id(), CommitId(3)).expect("hints encode");
        assert_eq!(hints::decode(&again, id(), CommitId(3)).ok(), Some(read));
    }
    use_store("hints.3", &sealed);
}

/// An index file: the base.
pub(crate) fn index_file(input: &[u8]) {
    use_store("index.2", input);
    let crc = index::PageCrc::new(id(), CommitId(2), index::FileKind::Base);
    let mut sealed = input.to_vec();
    for (number, page) in (0u32..).zip(sealed.chunks_exact_mut(PAGE_BYTES)) {
        let (data, seal) = page.split_at_mut(PAGE_BYTES - 4);
        seal.copy_from_slice(&crc.seal(number, data));
    }
    use_store("index.2", &sealed);
}

/// The first segment: the record decoder, the walk, replay, check and compaction.
pub(crate) fn segment_file(input: &[u8]) {
    for path in ["data/0000000001.seg", "data/0000000003.seg"] {
        use_store(path, input);
        use_store(path, &sealed_segment(input, if path.contains('1') { 1 } else { 3 }));
    }
}

/// Makes a segment of the golden store of any bytes: its header is that of the input, in its place; what follows is taken
/// for records.
fn sealed_segment(input: &[u8], number: u32) -> Vec<u8> {
    let mut out = input[..input.len().min(HEADER_BYTES)].to_vec();
    out.resize(HEADER_BYTES, 0);
    out[..8].copy_from_slice(b"STIXSEG\n");
    out[8..12].copy_from_slice(&[1, 0, 0, 0]);
    out[12..16].copy_from_slice(&number.to_le_bytes());
    out[16..32].copy_from_slice(&id().0);
    let crc = crc::crc32(&out[..92]);
    out[92..].copy_from_slice(&crc.to_le_bytes());
    let mut dictionary = [0; 16];
    dictionary.copy_from_slice(&out[72..88]);
    let bound = crc::Binding::new(id(), SegmentId(number), DictionaryId(dictionary));
    let unbound = crc::Binding::new(id(), SegmentId(number), DictionaryId::NONE);
    let mut rest = input.get(HEADER_BYTES..).unwrap_or_default();
    let (mut heads, mut records) = (crc::Crc32::new(), 0);
    while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let len = (size.saturating_sub(HEAD_LEN) as usize).min(after.len());
        let tag = [Tag::Put, Tag::Delete, Tag::Commit, Tag::Dictionary][usize::from(head[8] % 4)];
        let key: [u8; 32] = head[9..41].try_into().expect("32 bytes");
        let mut data = after[..len].to_vec();
        // A COMMIT of just these records, or nothing behind it would ever be live.
        if let (Tag::Commit, Ok(mut of)) = (tag, commit::decode(&data)) {
            (of.records, of.heads_crc) = (records, heads.finish());
            data = commit::encode(&of);
        }
        let offset = u32::try_from(out.len()).expect("inputs are small");
        let binding = if tag == Tag::Dictionary { unbound } else { bound };
        record::encode(&mut out, binding, offset, tag, &key, &data);
        match tag {
            Tag::Commit => (heads, records) = (crc::Crc32::new(), 0),
            Tag::Put | Tag::Delete => {
                heads.update(&out[offset as usize..][..HEAD_BYTES]);
                records += 1;
            }
            Tag::Dictionary => {}
        }
        rest = &after[len..];
    }
    out.extend_from_slice(rest);
    out
}

struct Ignore;

impl CheckSink for Ignore {
    fn finding(&mut self, _: &Finding) -> Result<()> {
        Ok(())
    }

    fn segment(&mut self, _: &SegmentReport) -> Result<()> {
        Ok(())
    }
}

/// Uses the golden store in every way, one of its files replaced.
fn use_store(path: &str, bytes: &[u8]) {
    let mem = Mem::new();
    for dir in ["", "data"] {
        Vfs::create_dir(&mem, dir).ok();
    }
    for (name, content) in STORE {
        assert!(mem.set_bytes(name, if *name == path { bytes.to_vec() } else { content.to_vec() }));
    }
    let read: Arc<dyn ReadVfs> = Arc::new(mem.clone());
    if let Ok(store) = Store::open_read_only_on(read.clone()) {
        look(&store.view());
        store.stats().ok();
    }
    check(
        &read,
        &CheckOptions { level: Level::Content, ..CheckOptions::default() },
        &mut Ignore,
        &Stop::default(),
    )
    .ok();
    write(&mem).ok();
    check(
        &read,
        &CheckOptions { level: Level::Content, ..CheckOptions::default() },
        &mut Ignore,
        &Stop::default(),
    )
    .ok();
}

fn look(view: &View) {
    for run in view.runs().unwrap_or_default() {
        let Ok(records) = view.records_of_run(run.key) else { continue };
        for record in records.take(100).flatten() {
            record.body().ok();
            let name = record.name();
            for found in view.history(&*name).into_iter().flatten().flatten() {
                found.body().ok();
            }
            view.at_or_before(&*name, run.key.instant()).ok();
            view.closest_after(&*name, run.key.instant()).ok();
            view.get(&*name, run.key).ok();
        }
    }
    view.list(10, None).ok();
    view.latest("malware--00112233-4455-4677-8899-aabbccddeeff").ok();
}

fn write(mem: &Mem) -> Result<()> {
    let store = Store::open_on(Arc::new(mem.clone()))?;
    let mut writer = store.writer(&WriterOptions::default())?;
    let at = Instant(63_840_924_000);
    let (run, _) = writer.put_run(at, &at.canonical_name(), b"")?;
    let name = b"tool--00000001-1111-4111-8111-111111111111";
    let body = Body::Raw(b"{}");
    writer.put(&Put { name, run, kind: PutKind::Snapshot, meta: b"", object: 0..2, body })?;
    writer.commit()?;
    let options = CompactOptions { threshold: 1, dry_run: false };
    writer.compact(&options, &mut |_| {}, &Stop::default())?;
    writer.close()?;
    let view = store.view();
    assert!(view.get(name, run)?.is_some(), "what was acknowledged is there");
    look(&view);
    Ok(())
}
