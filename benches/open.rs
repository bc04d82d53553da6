//! From nothing to the first answer: open and one lookup in process, and `store get` as a process of its own,
//! on a small and a large store. Beside them the start of a process that does nothing, and `cat` of the file.

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

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};
use stix_store::Store;

use common::data::{self, Random, Workload};
use common::{machine, stores};

const SIZES: [usize; 2] = [10_000, 200_000];

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

fn main() {
    let mut c = Criterion::default().configure_from_args();
    machine::say(
        "open",
        &format!(
            "{SIZES:?} snapshots, {} files a run, uncompressed; a random id each time",
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
    group.finish();
    for size in SIZES {
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
        group.finish();
    }
    c.final_summary();
}
