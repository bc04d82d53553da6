//! All of a store, verified: each record in the order of the log, each snapshot run by run as `iter_run` gives
//! it, and `check`. Beside them a loop that reads the same bytes once from the page cache and takes their CRC in
//! pieces of 1.2 kB, and decompression of all payloads alone.

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
#![expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "ratios for people")]

mod common {
    pub(crate) mod data;
    pub(crate) mod machine;
    pub(crate) mod stores;
}

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use stix_store::error::Damage;
use stix_store::format::segment::parse_file_name;
use stix_store::progress::Stop;
use stix_store::segment::{Segment, Step};
use stix_store::store::check::{CheckOptions, CheckSink, Finding, SegmentReport, check};
use stix_store::vfs::{ReadVfs, disk::Disk};
use stix_store::{StoreId, View};

use common::data::{self, Workload};
use common::{machine, stores};

const SIZE: usize = 100_000;
const PIECE: usize = 1200;

fn segment_paths(store: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(store.join("data")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The floor: every byte once, through a buffer, its CRC in pieces.
fn crc_in_pieces(paths: &[PathBuf], buffer: &mut [u8]) -> u32 {
    let mut sum = 0u32;
    for path in paths {
        let file = File::open(path).unwrap();
        let mut at = 0u64;
        loop {
            let got = file.read_at(buffer, at).unwrap();
            if got == 0 {
                break;
            }
            at += got as u64;
            sum = buffer[..got].chunks(PIECE).map(crc32fast::hash).fold(sum, u32::wrapping_add);
        }
    }
    sum
}

/// Every record in log order, both checksums verified.
fn walk(vfs: &Arc<dyn ReadVfs>, store: StoreId, paths: &[PathBuf]) -> usize {
    let mut records = 0;
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = vfs.open(&format!("data/{name}")).unwrap().unwrap();
        let segment = Segment::open(file, parse_file_name(name).unwrap(), store, true, &Vec::new).unwrap();
        let mut walk = segment.walk(None).unwrap();
        while let Some(step) = walk.step().unwrap() {
            let Step::Record { offset, head } = step else { panic!("a gap in {name}") };
            assert_eq!(walk.verify(offset, &head).unwrap(), Ok::<(), Damage>(()));
            records += 1;
        }
    }
    records
}

/// Every snapshot, run by run, payloads decoded.
fn snapshots(view: &View) -> usize {
    let mut count = 0;
    for run in view.runs().unwrap() {
        for snapshot in view.iter_run(run.key).unwrap() {
            black_box(snapshot.unwrap().body().unwrap().len());
            count += 1;
        }
    }
    count
}

struct Quiet;

impl CheckSink for Quiet {
    fn finding(&mut self, finding: &Finding) -> stix_store::Result<()> {
        panic!("{}", finding.detail)
    }

    fn segment(&mut self, _: &SegmentReport) -> stix_store::Result<()> {
        Ok(())
    }
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    machine::say(
        "scan",
        &format!(
            "{SIZE} snapshots, {} files a run; one thread; read only, nothing synced",
            data::FILES_PER_RUN
        ),
    );
    let dir = tempfile::tempdir().unwrap();
    let workload = Workload::new(SIZE);
    for (name, compression) in stores::COMPRESSIONS {
        let path = dir.path().join(name);
        let view = stores::build(&path, &workload, compression);
        let paths = segment_paths(&path);
        let bytes: u64 = paths.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
        let vfs: Arc<dyn ReadVfs> = Arc::new(Disk::new(&path));
        let mut group = c.benchmark_group(format!("scan/{name}"));
        group.sampling_mode(SamplingMode::Flat).sample_size(10).throughput(Throughput::Bytes(bytes));
        group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(1));
        let mut buffer = vec![0u8; 256 << 10];
        group.bench_function("floor", |b| b.iter(|| crc_in_pieces(&paths, &mut buffer)));
        group.bench_function("log order, verified", |b| b.iter(|| walk(&vfs, StoreId([7; 16]), &paths)));
        group.bench_function("check", |b| {
            b.iter(|| check(&vfs, &CheckOptions::default(), &mut Quiet, &Stop::default()).unwrap());
        });
        group.bench_function("by run, decoded", |b| {
            b.iter(|| assert_eq!(snapshots(&view), SIZE));
        });
        group.finish();
    }
    c.final_summary();
}
