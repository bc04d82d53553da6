//! All of a store, verified: each record in the order of the log, each snapshot run by run as `iter_run` gives
//! it, and `check`. Beside them a loop that reads the same bytes once from the page cache and takes their CRC in
//! pieces of 1.2 kB, and for what decompresses one that does nothing but decompress, both on as many threads.

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
    pub(crate) mod quiet;
    pub(crate) mod stores;
    pub(crate) mod walk;
}

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use stix_store::format::put;
use stix_store::format::record::Tag;
use stix_store::format::segment::parse_file_name;
use stix_store::progress::Stop;
use stix_store::segment::codec::{self, Codec};
use stix_store::segment::{Dictionary, Segments, Step};
use stix_store::store::check::{CheckOptions, Level, check};
use stix_store::vfs::{ReadVfs, disk::Disk};
use stix_store::{StoreId, View};

use common::data::{self, Workload};
use common::quiet::Quiet;
use common::walk::{segment_paths, walk};
use common::{machine, stores};

/// The store's id, as `stores::build` gives it.
const STORE: StoreId = StoreId([7; 16]);
const SIZE: usize = 100_000;
const PIECE: usize = 1200;
/// Bytes that the floor reads at a time: what fits the cache of a core.
const BLOCK: usize = 256 << 10;

/// The floor: every byte once, through a buffer of each thread, its CRC in pieces.
fn crc_in_pieces(paths: &[PathBuf], jobs: usize) -> u32 {
    let files: Vec<File> = paths.iter().map(|path| File::open(path).unwrap()).collect();
    let lens: Vec<u64> = files.iter().map(|file| file.metadata().unwrap().len()).collect();
    let blocks: Vec<(&File, u64)> = files
        .iter()
        .zip(&lens)
        .flat_map(|(file, len)| (0..*len).step_by(BLOCK).map(move |at| (file, at)))
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut sum, mut buffer) = (0u32, vec![0u8; BLOCK]);
        while let Some((file, at)) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let got = file.read_at(&mut buffer, *at).unwrap();
            sum = buffer[..got].chunks(PIECE).map(crc32fast::hash).fold(sum, u32::wrapping_add);
        }
        sum
    };
    if jobs == 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).fold(0, u32::wrapping_add)
    })
}

/// What the floor of everything that decompresses works on: the compressed payloads, and how long they are once decoded.
struct Payloads {
    dictionary: Arc<Dictionary>,
    all: Vec<(Vec<u8>, u32)>,
}

impl Payloads {
    /// Reads them into memory. `None` for a store that does not compress.
    fn of(vfs: &Arc<dyn ReadVfs>, paths: &[PathBuf]) -> Option<Payloads> {
        let ids = paths
            .iter()
            .map(|path| parse_file_name(path.file_name()?.to_str()?))
            .collect::<Option<Vec<_>>>()?;
        let segments = Segments::new(vfs.clone(), STORE, ids, None, None);
        let mut found = None;
        let mut all = Vec::new();
        for id in segments.ids() {
            let segment = segments.require(*id).unwrap();
            let mut walk = segment.walk(None).unwrap();
            while let Some(Step::Record { offset, head }) = walk.step().unwrap() {
                let dictionary = walk.dictionary();
                let Ok(put) = put::decode(walk.data(offset, &head).unwrap()) else { continue };
                if head.tag == Tag::Put && put.codec == Codec::ZstdDictionary {
                    all.push((put.payload.to_vec(), put.raw_len));
                    found = Some(dictionary);
                }
            }
        }
        let dictionary = segments.dictionary(found?).unwrap().clone();
        Some(Payloads { dictionary, all })
    }

    fn decode(&self, jobs: usize) -> usize {
        let part = |part: &[(Vec<u8>, u32)]| {
            let one = |(payload, len): &(Vec<u8>, u32)| {
                codec::decode(Codec::ZstdDictionary, payload, *len, Some(&self.dictionary)).unwrap().len()
            };
            part.iter().map(one).sum::<usize>()
        };
        std::thread::scope(|scope| {
            let parts = self.all.chunks(self.all.len().div_ceil(jobs));
            let threads: Vec<_> = parts.map(|records| scope.spawn(move || part(records))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    }
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
        let payloads = Payloads::of(&vfs, &paths);
        let mut group = c.benchmark_group(format!("scan/{name}"));
        group.sampling_mode(SamplingMode::Flat).sample_size(10).throughput(Throughput::Bytes(bytes));
        group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(1));
        for jobs in [1, 2] {
            group.bench_function(format!("floor, jobs {jobs}"), |b| b.iter(|| crc_in_pieces(&paths, jobs)));
            let options = CheckOptions { jobs, ..CheckOptions::default() };
            group.bench_function(format!("check, jobs {jobs}"), |b| {
                b.iter(|| check(&vfs, &options, &mut Quiet, &Stop::default()).unwrap());
            });
            let options = CheckOptions { jobs, level: Level::Index, ..CheckOptions::default() };
            group.bench_function(format!("check of the index, jobs {jobs}"), |b| {
                b.iter(|| check(&vfs, &options, &mut Quiet, &Stop::default()).unwrap());
            });
            let options = CheckOptions { jobs, level: Level::Content, ..CheckOptions::default() };
            group.bench_function(format!("check of the content, jobs {jobs}"), |b| {
                b.iter(|| check(&vfs, &options, &mut Quiet, &Stop::default()).unwrap());
            });
            if let Some(payloads) = &payloads {
                group.bench_function(format!("decompression, jobs {jobs}"), |b| {
                    b.iter(|| payloads.decode(jobs));
                });
            }
        }
        group.bench_function("log order, verified", |b| b.iter(|| walk(&vfs, STORE, &paths)));
        group.bench_function("by run, decoded", |b| {
            b.iter(|| assert_eq!(snapshots(&view), SIZE));
        });
        group.finish();
    }
    c.final_summary();
}
