//! From nothing to the first answer: open and one lookup in process, and `store get` as a process of its own,
//! on a small and a large store (`STORE_BENCH_SIZES=10000,1000000`). Beside them the start of a process that does nothing, and
//! `cat` of the file. Then a commit of one record on each, beside two writes that are each synced.

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
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};
use stix_store::store::PutKind;
use stix_store::{Body, Compression, CreateOptions, Put, Store, WriterOptions};

use common::data::{self, Random, Workload};
use common::{machine, stores};

fn sizes() -> Vec<usize> {
    let sizes = std::env::var("STORE_BENCH_SIZES").unwrap_or_else(|_| "10000,200000".to_owned());
    sizes.split(',').map(|size| size.parse().unwrap()).collect()
}

fn process(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut command: impl FnMut() -> Command) {
    group.bench_function(name, |b| {
        b.iter(|| {
            let output = command().output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout.len()
        });
    });
}

fn first_answer(path: &Path, id: &str) -> usize {
    let view = Store::open_read_only(path).unwrap().view();
    let found = view.latest(id).unwrap().unwrap();
    found.body().unwrap().len()
}

/// Commits of one record, one after the other, through one writer.
fn commits(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, path: &Path) {
    let store = Store::open(path).unwrap();
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    let at = data::instant(1_000_000);
    let (run, _) = writer.put_run(at, &at.canonical_name(), &[]).unwrap();
    let mut number = 0u64;
    group.bench_function(name, |b| {
        b.iter(|| {
            number += 1;
            let (id, body) = (data::id(5_000_000 + number), vec![b'x'; 1200]);
            let (kind, body) = (PutKind::Snapshot, Body::Raw(&body));
            writer.put(&Put { name: id.as_bytes(), run, kind, meta: &[], object: 0..0, body }).unwrap();
            writer.commit().unwrap()
        });
    });
    writer.close().unwrap();
}

fn synced_writes(file: &mut File) {
    for _ in 0..2 {
        file.write_all(&[7; 700]).unwrap();
        file.sync_data().unwrap();
    }
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    machine::say(
        "open",
        &format!(
            "{:?} snapshots, {} files a run, uncompressed; a random id each time",
            sizes(),
            data::FILES_PER_RUN
        ),
    );
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(4);
    let settings = |group: &mut BenchmarkGroup<'_, WallTime>| {
        group.sampling_mode(SamplingMode::Flat).sample_size(20);
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(1500));
    };
    let file = dir.path().join("file.json");
    std::fs::write(&file, vec![b' '; 1200]).unwrap();
    let mut group = c.benchmark_group("open/floor");
    settings(&mut group);
    process(&mut group, "process that does nothing", || Command::new("true"));
    process(&mut group, "cat as a process", || {
        let mut command = Command::new("cat");
        command.arg(&file);
        command
    });
    let mut log = File::create(dir.path().join("log")).unwrap();
    group.bench_function("two synced writes", |b| b.iter(|| synced_writes(&mut log)));
    group.finish();
    let empty = dir.path().join("empty");
    let options = CreateOptions { compression: Compression::None, ..CreateOptions::default() };
    drop(Store::create(&empty, &options).unwrap());
    let mut group = c.benchmark_group("open/0");
    settings(&mut group);
    commits(&mut group, "commit of one record", &empty);
    group.finish();
    for size in sizes() {
        let path = dir.path().join(size.to_string());
        let workload = Workload::new(size);
        drop(stores::build(&path, &workload, stores::COMPRESSIONS[0].1));
        let mut id = || {
            let index = usize::try_from(random.below(size as u64)).unwrap();
            data::id(workload.items[index].object)
        };
        let mut group = c.benchmark_group(format!("open/{size}"));
        settings(&mut group);
        group.bench_function("in process", |b| b.iter(|| first_answer(&path, &id())));
        process(&mut group, "store get", || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
            command.arg("-s").arg(&path).arg("get").arg(id());
            command
        });
        commits(&mut group, "commit of one record", &path);
        group.finish();
    }
    c.final_summary();
}
