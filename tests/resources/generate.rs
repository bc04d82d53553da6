//! Makes stores and backup trees of any size, the same bytes each time. Shared with `examples/gen_store.rs`.

#![expect(clippy::arithmetic_side_effects, reason = "the numbers are small, and no store depends on them")]

use std::fmt::Write as _;
use std::path::Path;

use stix_store::format::put::PutKind;
use stix_store::snapshot::{Meta, bundle};
use stix_store::{
    Body, Compression, CreateOptions, Error, Instant, Put, Result, RunKey, Store, StoreId, WriterOptions,
};

/// The instant of the first run; the others follow minute by minute.
const FIRST_RUN: u64 = 63_840_924_000;
/// Files of a run directory of a tree.
const RUN_FILES: u64 = 5_000;
/// Snapshots of a run of a store.
const RUN_SNAPSHOTS: u64 = 20_000;
/// Every so many-th snapshot of a later run is one of an id that an earlier run has.
const AGAIN_EVERY: u64 = 10;
/// Snapshots that the dictionary is trained on.
const SAMPLES: u64 = 4_000;
/// As import commits: after so many bytes of bodies.
const GROUP_BYTES: usize = 16 << 20;
/// Modification time of everything.
const MTIME: Option<(i64, u32)> = Some((1_700_000_000, 0));

const TYPES: [&str; 6] =
    ["indicator", "malware", "attack-pattern", "relationship", "intrusion-set", "x-opencti-case"];
const WORDS: [&str; 16] = [
    "actor",
    "uses",
    "a",
    "loader",
    "over",
    "https",
    "to",
    "fetch",
    "the",
    "second",
    "stage",
    "from",
    "compromised",
    "hosts",
    "in",
    "campaigns",
];

/// A cheap sequence of numbers that look random: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let count = u64::try_from(from.len()).unwrap_or(1);
        usize::try_from(self.next() % count).ok().and_then(|at| from.get(at)).copied().unwrap_or_default()
    }
}

/// The id of an object, by number.
pub(crate) fn id(number: u64) -> String {
    let mut numbers = Numbers(number);
    let kind = numbers.pick(&TYPES);
    let (high, low) = (numbers.next(), numbers.next());
    format!(
        "{kind}--{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

/// A file that holds one version of an object: about 1 kB, as in real trees.
pub(crate) fn file(number: u64, version: u64) -> String {
    let mut numbers = Numbers(number ^ version << 48);
    let mut text = String::with_capacity(1200);
    let name = id(number);
    let kind = name.split("--").next().unwrap_or_default();
    let creator = id(numbers.next() % 50);
    write!(
        text,
        "{{\"type\": \"bundle\", \"id\": \"bundle--{}\", \"objects\": [{{\"type\": \"{kind}\", \"spec_version\": \"2.1\", \
         \"id\": \"{name}\", \"created\": \"2024-01-15T14:00:00.000Z\", \"modified\": \"2024-01-15T14:00:0{version}.000Z\", \
         \"created_by_ref\": \"{creator}\", \"confidence\": {}, \"lang\": \"en\", \"name\": \"{} {}\", \"description\": \"",
        id(numbers.next()).rsplit("--").next().unwrap_or_default(),
        numbers.next() % 100,
        numbers.pick(&WORDS),
        numbers.next() % 1000,
    )
    .ok();
    for _ in 0..20 + numbers.next() % 60 {
        text.push_str(numbers.pick(&WORDS));
        text.push(' ');
    }
    text.push_str(
        "\", \"object_marking_refs\": [\"marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9\"]}]}",
    );
    text
}

/// Which object the `number`-th snapshot of a store is of, and which version.
pub(crate) fn snapshot(number: u64) -> (u64, u64) {
    if number >= RUN_SNAPSHOTS && number.is_multiple_of(AGAIN_EVERY) {
        (number - RUN_SNAPSHOTS, number / RUN_SNAPSHOTS % 10)
    } else {
        (number, 0)
    }
}

/// Writes a store of `count` snapshots, as an import of them would have.
///
/// # Errors
/// Those of the store.
pub(crate) fn store(path: &Path, count: u64, compression: Compression) -> Result<()> {
    let store_id = Some(StoreId([1; 16]));
    let store = Store::create(path, &CreateOptions { compression, store_id, ..CreateOptions::default() })?;
    let mut writer = store.writer(&WriterOptions::default())?;
    if compression == Compression::Zstd {
        let samples: Vec<String> = (0..SAMPLES.min(count)).map(|number| file(number, 0)).collect();
        let samples: Vec<&[u8]> = samples.iter().map(String::as_bytes).collect();
        writer.train_dictionary(&samples)?;
    }
    let (mut run, mut bytes) = (RunKey::default(), 0);
    for number in 0..count {
        if number.is_multiple_of(RUN_SNAPSHOTS) {
            let at = Instant(FIRST_RUN + number / RUN_SNAPSHOTS * 60);
            (run, _) = writer.put_run(at, &at.canonical_name(), &[])?;
        }
        let (object, version) = snapshot(number);
        let (name, body) = (id(object), file(object, version));
        let refused = |_| Error::BadInput { what: name.clone(), reason: "not a bundle".to_owned() };
        let bundle = bundle::parse(body.as_bytes()).map_err(refused)?;
        let meta = Meta::of(&bundle, name.as_bytes(), MTIME);
        let object = meta.objects.first().map_or(0..0, |object| object.range.clone());
        let meta = meta.encode();
        let body = body.into_bytes();
        bytes += body.len();
        let (name, kind, body) = (name.as_bytes(), PutKind::Snapshot, Body::Raw(&body));
        writer.put(&Put { name, run, kind, meta: &meta, object, body })?;
        if bytes >= GROUP_BYTES {
            writer.commit()?;
            bytes = 0;
        }
    }
    writer.commit()?;
    writer.close()
}

/// Writes a backup tree of `count` files.
///
/// # Errors
/// Those of the file system.
#[expect(clippy::disallowed_methods, reason = "a tree to be imported is not the store's")]
pub(crate) fn tree(path: &Path, count: u64) -> std::io::Result<()> {
    for number in 0..count {
        let at = Instant(FIRST_RUN + number / RUN_FILES * 60);
        let dir = path.join("opencti_data").join(at.canonical_name());
        if number.is_multiple_of(RUN_FILES) {
            std::fs::create_dir_all(&dir)?;
        }
        std::fs::write(dir.join(format!("{}.json", id(number))), file(number, 0))?;
    }
    Ok(())
}
