//! The choice of compression level and dictionary size: bytes kept, speed of compressing, and time to decompress one file,
//! on the files of a backup tree: `STORE_BENCH_TREE`, else the sample under `tests/data`. Trains as an import does, on the
//! first 16 MiB in scan order.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "reads the files themselves, and says what it sees"
)]
#![expect(clippy::arithmetic_side_effects, reason = "small numbers of its own making")]
#![expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "ratios for people")]

mod common {
    #[expect(dead_code, reason = "others print facts")]
    pub(crate) mod machine;
}

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::machine;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

const TRAIN_BYTES: usize = 16 << 20;
/// Levels, and what is set beside them: `5+` is how an import packs what it has trained on.
const LEVELS: [(i32, &[CParameter]); 7] = [
    (1, &[]),
    (3, &[]),
    (5, &[]),
    (5, &[CParameter::SearchLog(3), CParameter::MinMatch(5)]),
    (7, &[]),
    (9, &[]),
    (12, &[]),
];
const SIZES_KIB: [usize; 5] = [0, 16, 32, 64, 112];
/// Passes over all files; the fastest counts, as everything else is other people's work.
const PASSES: usize = 3;

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

fn fastest<T>(mut work: impl FnMut() -> T) -> (f64, T) {
    let mut timed = || {
        let begin = Instant::now();
        let result = work();
        (begin.elapsed().as_secs_f64(), result)
    };
    let first = timed();
    (1..PASSES).map(|_| timed()).fold(first, |best, next| if next.0 < best.0 { next } else { best })
}

fn main() {
    let tree = std::env::var_os("STORE_BENCH_TREE").map_or_else(|| "tests/data".into(), PathBuf::from);
    let mut paths = Vec::new();
    files(&tree, &mut paths);
    let bodies: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let total: usize = bodies.iter().map(Vec::len).sum();
    let mut samples: Vec<&[u8]> = Vec::new();
    let mut held = 0;
    for body in &bodies {
        if held < TRAIN_BYTES {
            samples.push(body);
        }
        held += body.len();
    }
    let workload = format!("{} files, {total} bytes; trained on the first {}", bodies.len(), samples.len());
    machine::say("compress", &workload);
    println!("dictionary  level  bytes/file bytes  compress MB/s  decompress us/file");
    for size in SIZES_KIB {
        let dictionary =
            if size == 0 { Vec::new() } else { zstd::dict::from_samples(&samples, size << 10).unwrap() };
        for (level, parameters) in LEVELS {
            let mut compressor = Compressor::with_dictionary(level, &dictionary).unwrap();
            for parameter in parameters {
                compressor.set_parameter(*parameter).unwrap();
            }
            let (packing, packed) =
                fastest(|| bodies.iter().map(|body| compressor.compress(body).unwrap()).collect::<Vec<_>>());
            let mut decompressor = Decompressor::with_dictionary(&dictionary).unwrap();
            let mut out = Vec::with_capacity(bodies.iter().map(Vec::len).max().unwrap_or(0));
            let (unpacking, ()) = fastest(|| {
                for frame in &packed {
                    out.clear();
                    decompressor.decompress_to_buffer(frame, &mut out).unwrap();
                    black_box(&out);
                }
            });
            let kept: usize = packed.iter().map(Vec::len).sum();
            println!(
                "{size:>6} KiB  {level:>4}{}  {:>16.4}  {:>13.0}  {:>18.2}",
                if parameters.is_empty() { ' ' } else { '+' },
                kept as f64 / total as f64,
                total as f64 / 1e6 / packing,
                unpacking * 1e6 / bodies.len() as f64,
            );
        }
    }
}
