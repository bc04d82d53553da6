//! Replays the corpus of the fuzz targets, and inputs that a small mutator makes of it: the same each time, or for
//! `FUZZ_SECONDS` for each target. The targets themselves are in `fuzz/`, `tools/fuzz.sh` runs them.
//!
//! `BLESS=1` writes the seeds of the corpus anew, from the golden store and the sample; what else is in it stays.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stix_store::format::record;
use stix_store::format::segment::HEADER_BYTES;

use crate::crash::fates::Noise;

#[path = "../fuzz/entries.rs"]
#[expect(
    clippy::as_conversions,
    clippy::expect_used,
    reason = "part of the fuzz crate, which is no production code"
)]
mod entries;

use entries::{STORE, TARGETS, Target};

/// Inputs that are made of each file of the corpus.
const MUTANTS: usize = 100;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fs::read_dir(corpus(target)).unwrap();
    let mut all: Vec<(String, Vec<u8>)> = folder
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    all.sort();
    assert!(!all.is_empty(), "{target} has no corpus");
    all
}

/// Changes an input in a few places: bits, bytes, numbers at their limits, pieces moved, doubled, cut out.
fn mutate(input: &[u8], noise: &mut Noise) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..=noise.below(4) {
        if out.is_empty() {
            out.push(0);
        }
        let (at, other) = (noise.below(out.len()), noise.below(out.len()));
        let len = noise.below(64).min(out.len() - at.max(other));
        match noise.below(8) {
            0 => out[at] ^= 1 << noise.below(8),
            1 => out[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'{'][noise.below(8)],
            2 => out[at] = out[at].wrapping_add(1).wrapping_sub(2 * u8::try_from(noise.below(2)).unwrap()),
            3 => out.truncate(at),
            4 => drop(out.drain(at..at + len)),
            5 => out.copy_within(other..other + len, at),
            6 => {
                let piece = out[at..at + len].to_vec();
                out.splice(other..other, piece);
            }
            _ => {
                let number = [0, 1, u32::MAX, 1 << 31, 4096][noise.below(5)];
                out.iter_mut().skip(at).zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
            }
        }
    }
    out
}

fn run(name: &str, target: Target, from: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let path = std::env::temp_dir().join(format!("stix-store-fuzz-{name}"));
        fs::write(&path, input).unwrap();
        panic!("{name}: an input made of {from} panics; it is in {}", path.display());
    }
}

fn replay(wanted: &str) {
    let (name, target) = TARGETS.iter().find(|(name, _)| *name == wanted).unwrap();
    let seconds =
        std::env::var("FUZZ_SECONDS").ok().map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    let (start, inputs) = (Instant::now(), inputs(name));
    for (file, input) in &inputs {
        run(name, *target, file, input);
    }
    let (mut noise, mut count) = (Noise(1), 0);
    while seconds.map_or(count < MUTANTS, |time| start.elapsed() < time) {
        for (file, input) in &inputs {
            run(name, *target, file, &mutate(input, &mut noise));
        }
        count += 1;
    }
    println!(
        "fuzz {name}: {} files, {} mutants, {:.1} s",
        inputs.len(),
        count * inputs.len(),
        start.elapsed().as_secs_f32()
    );
}

macro_rules! targets {
    ($($test:ident $name:literal,)*) => {
        $(#[test]
        fn $test() {
            replay($name);
        })*
        const REPLAYED: &[&str] = &[$($name),*];
    };
}

targets! {
    no_backup_file_makes_the_parser_panic "bundle",
    no_config_makes_a_store_panic "config",
    no_hints_make_a_store_panic "hints",
    no_index_makes_a_store_panic "index",
    no_meta_part_makes_its_decoder_panic "meta",
    no_data_of_a_record_makes_its_decoder_panic "put",
    no_segment_makes_a_store_panic "segment",
}

#[test]
fn every_target_has_a_corpus_a_test_and_a_file() {
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, REPLAYED);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for name in names {
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(corpus(name)).unwrap();
            for (file, bytes) in seeds(name) {
                fs::write(corpus(name).join(file), bytes).unwrap();
            }
        }
        assert!(!inputs(name).is_empty() && folder.join(format!("fuzz_targets/{name}.rs")).is_file());
    }
}

/// What the corpus of a target starts from.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let of_store = |prefix: &str| {
        let files = STORE.iter().filter(move |(name, _)| name.starts_with(prefix));
        files.map(|(name, bytes)| (name.replace('/', "."), bytes.to_vec())).collect()
    };
    match target {
        "config" | "hints" => of_store(target),
        "index" => of_store("index."),
        "segment" => of_store("data/"),
        "bundle" => {
            let files = crate::common::read_tree(&crate::common::sample());
            let mut files: Vec<Vec<u8>> = files.into_values().map(|entry| entry.bytes).collect();
            files.sort_by_key(Vec::len);
            // One of each length, and not too long.
            files.dedup_by_key(|bytes| bytes.len() / 200);
            files.retain(|bytes| bytes.len() < 6000);
            (0..).zip(files).map(|(number, bytes)| (format!("sample.{number}"), bytes)).collect()
        }
        _ => records(target == "meta"),
    }
}

/// The data of the golden store's records, or their meta parts.
fn records(meta: bool) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for (name, bytes) in STORE.iter().filter(|(name, _)| name.starts_with("data/")) {
        let mut at = HEADER_BYTES;
        while let Some(head) = bytes.get(at..at + record::HEAD_BYTES) {
            let size = u32::from_le_bytes(head[4..8].try_into().unwrap());
            let Some(data) = bytes.get(at + record::HEAD_BYTES..at + usize::try_from(size).unwrap()) else {
                break;
            };
            let part = match stix_store::format::put::decode(data) {
                Ok(put) if meta => Some(put.meta.to_vec()),
                _ if meta => None,
                _ => Some(data.to_vec()),
            };
            found.extend(part.map(|part| (format!("{}.{at}", name.replace('/', ".")), part)));
            at += usize::try_from(size).unwrap();
        }
    }
    found
}
