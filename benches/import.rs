//! A backup tree goes in: first import with and without compression, on one and two threads, and the second
//! import of the unchanged tree. Each ends when all of it is durable and the index is published. Beside
//! them the floors: the same files read and dropped, their names listed and each asked for its times, and the bytes that
//! were stored written to one file and synced. At the end the ratios that are the goals. `STORE_BENCH_FILES` is the size of the tree.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "measures the file system itself, and says what"
)]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "small numbers of its own making"
)]
#![expect(clippy::as_conversions, reason = "small numbers of its own making")]

mod common {
    #[expect(dead_code, reason = "the benches share it")]
    pub(crate) mod data;
    pub(crate) mod machine;
    pub(crate) mod reading;
    pub(crate) mod trees;
}

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};
use rustix::fs::{AtFlags, Dir, statat};
use stix_store::import::{FileReport, ImportOptions, ImportSink, ImportSummary, import};
use stix_store::progress::Stop;
use stix_store::{Compression, CreateOptions, Store, StoreId, WriterOptions};

use common::data::{self, Workload};
use common::machine::{self, fact};
use common::{reading, trees};

const FILES: usize = 20_000;
/// A file younger than this is read again by a second import.
const SETTLED: Duration = Duration::from_millis(2100);

struct Quiet;

impl ImportSink for Quiet {
    fn file(&mut self, _: &FileReport) -> stix_store::Result<()> {
        Ok(())
    }
}

fn create(path: &Path, compression: Compression) -> Store {
    let options = CreateOptions { compression, store_id: Some(StoreId([7; 16])), ..CreateOptions::default() };
    Store::create(path, &options).unwrap()
}

fn run(store: &Store, tree: &Path, jobs: usize) -> ImportSummary {
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    let options = ImportOptions { jobs, ..ImportOptions::default() };
    let summary = import(tree, &mut writer, &options, &mut Quiet, &Stop::default()).unwrap();
    writer.close().unwrap();
    summary
}

/// Lists every directory and asks for the times of each file, as a second import must; returns their bytes.
fn stat_floor(tree: &Path) -> u64 {
    let mut total = 0u64;
    for (_, directory) in reading::directories(tree) {
        for entry in Dir::read_from(&directory).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_name().to_bytes().starts_with(b".") {
                let stat = statat(&directory, entry.file_name(), AtFlags::empty()).unwrap();
                total += u64::try_from(stat.st_size).unwrap();
            }
        }
    }
    total
}

fn write_floor(path: &Path, bytes: u64) {
    let block = vec![0x5a_u8; 1 << 20];
    let mut file = File::create(path).unwrap();
    let mut left = usize::try_from(bytes).unwrap();
    while left > 0 {
        let len = left.min(block.len());
        file.write_all(&block[..len]).unwrap();
        left -= len;
    }
    file.sync_data().unwrap();
}

/// Measures, and returns the shortest time: what disturbs only adds to it.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut once: impl FnMut() -> Duration,
) -> Duration {
    let mut best = Duration::MAX;
    group.bench_function(name, |b| {
        b.iter_custom(|iterations| {
            let times = (0..iterations).map(|_| once());
            times.inspect(|time| best = best.min(*time)).sum()
        });
    });
    best
}

fn ratio(what: &str, time: Duration, floor: Duration, goal: f64) {
    let ratio = time.as_secs_f64() / floor.as_secs_f64();
    let (time, floor) = (time.as_secs_f64() * 1e3, floor.as_secs_f64() * 1e3);
    fact(&format!("import: {what}"), &format!("{ratio:.2} ({time:.1} / {floor:.1} ms), goal {goal}"));
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed()
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    let files = std::env::var("STORE_BENCH_FILES").map_or(FILES, |count| count.parse().unwrap());
    machine::say(
        "import",
        &format!(
            "a tree of {files} files, {} a run directory; durable: each commit synced twice, 16 MiB of files a commit, \
             index published at the end",
            data::FILES_PER_RUN
        ),
    );
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    trees::write(&tree, &Workload::new(files));
    std::thread::sleep(SETTLED);
    let bytes = reading::total(&tree, 1);
    assert_eq!(stat_floor(&tree), bytes);
    fact("import: bytes of files", &bytes.to_string());
    let mut group = c.benchmark_group("import");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(1));
    let mut read = Duration::ZERO;
    for threads in [1, 2] {
        read =
            bench(&mut group, &format!("floor/read {threads}"), || timed(|| reading::total(&tree, threads)));
    }
    let stat = bench(&mut group, "floor/list and stat", || timed(|| stat_floor(&tree)));
    for (name, compression, goal) in [("none", Compression::None, 2.5), ("zstd", Compression::Zstd, 3.5)] {
        let path = dir.path().join("store");
        let mut firsts = Vec::new();
        for jobs in [1, 2] {
            firsts.push(bench(&mut group, &format!("first/{name}/jobs {jobs}"), || {
                if path.is_dir() {
                    std::fs::remove_dir_all(&path).unwrap();
                }
                let store = create(&path, compression);
                timed(|| assert_eq!(run(&store, &tree, jobs).added, files as u64))
            }));
        }
        let stored: u64 =
            std::fs::read_dir(path.join("data")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        fact(&format!("import: {name}: bytes of segments"), &stored.to_string());
        let floor = dir.path().join("floor");
        let write = bench(&mut group, &format!("floor/write and sync/{name}"), || {
            timed(|| write_floor(&floor, stored))
        });
        ratio(
            &format!("{name}: first import without its write floor, to reading on two threads"),
            firsts[1].saturating_sub(write),
            read,
            goal,
        );
        let beside = |jobs: usize| firsts[jobs - 1].saturating_sub(write);
        ratio(&format!("{name}: two jobs to one, both without the write floor"), beside(2), beside(1), 0.56);
        for jobs in [1, 2] {
            let second = bench(&mut group, &format!("second/{name}/jobs {jobs}"), || {
                let store = Store::open(&path).unwrap();
                timed(|| assert_eq!(run(&store, &tree, jobs).unopened, files as u64))
            });
            ratio(
                &format!("{name}: second import, jobs {jobs}, to list and stat on one thread"),
                second,
                stat,
                1.3,
            );
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
    group.finish();
    c.final_summary();
}
