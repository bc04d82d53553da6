//! Lookups in a closed store, page cache warm: the newest snapshot of an id, one by its run, the closest later
//! one, an id that is absent. Each answer has both checksums of its record verified and its payload decoded, and was
//! compared with the file's bytes before the clock started. Beside them: decompression alone, the checksum
//! alone, and the files of the same snapshots read from the tree by their paths.

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
    pub(crate) mod trees;
}

use std::collections::HashMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use stix_store::segment::{Dictionary, Encoder, codec};
use stix_store::{Instant, RunKey, View};

use common::data::{self, Random, Workload};
use common::{machine, stores, trees};

const SIZES: [usize; 2] = [10_000, 200_000];
/// Questions asked in turn; more than fit the processor's caches.
const QUESTIONS: usize = 100_000;

struct Question {
    id: String,
    run: RunKey,
    before: Instant,
    absent: String,
    newest: usize,
}

fn questions(workload: &Workload) -> Vec<Question> {
    let mut random = Random::new(2);
    let mut newest: HashMap<u64, usize> = HashMap::new();
    for (index, item) in workload.items.iter().enumerate() {
        newest.insert(item.object, index);
    }
    let count = workload.items.len() as u64;
    let make = |_| {
        let item = &workload.items[usize::try_from(random.below(count)).unwrap()];
        let before = Instant(data::instant(item.run).0 - 1);
        // Ids beyond the workload's own.
        let absent = data::id(u64::MAX / 2 + random.below(1 << 40));
        let run = RunKey::new(data::instant(item.run), 0);
        Question { id: data::id(item.object), run, before, absent, newest: newest[&item.object] }
    };
    (0..QUESTIONS).map(make).collect()
}

fn verify(view: &View, workload: &Workload, questions: &[Question]) {
    for question in questions.iter().step_by(50) {
        let item = &workload.items[question.newest];
        let found = view.latest(&question.id).unwrap().unwrap();
        assert_eq!(*found.body().unwrap(), *workload.file(item));
        assert!(view.get(&question.id, question.run).unwrap().is_some());
        assert_eq!(view.closest_after(&question.id, question.before).unwrap().unwrap().run(), question.run);
        assert!(view.latest(&question.absent).unwrap().is_none());
    }
}

fn lookups(c: &mut Criterion, size: usize) {
    let dir = tempfile::tempdir().unwrap();
    let workload = Workload::new(size);
    let questions = questions(&workload);
    for (name, compression) in stores::COMPRESSIONS {
        let view = stores::build(&dir.path().join(format!("{name}-{size}")), &workload, compression);
        verify(&view, &workload, &questions);
        let mut group = c.benchmark_group(format!("lookup/{name}/{size}"));
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1500));
        let mut ask = |name: &str, answer: &dyn Fn(&Question) -> usize| {
            let mut next = questions.iter().cycle();
            group.bench_function(name, |b| b.iter(|| black_box(answer(next.next().unwrap()))));
        };
        ask("newest", &|q| len(view.latest(&q.id).unwrap()));
        ask("by run", &|q| len(view.get(&q.id, q.run).unwrap()));
        ask("closest later", &|q| len(view.closest_after(&q.id, q.before).unwrap()));
        ask("absent", &|q| len(view.latest(&q.absent).unwrap()));
        group.finish();
    }
}

/// Reads an answer: its length once decoded, and its first byte.
fn len(found: Option<stix_store::Snapshot<'_>>) -> usize {
    let Some(found) = found else { return 0 };
    let body = found.body().unwrap();
    body.len() + usize::from(body[0])
}

/// What the same files cost without a store, and what of a lookup is decompression and checksum.
fn floors(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let workload = Workload::new(SIZES[0]);
    trees::write(dir.path(), &workload);
    let mut order: Vec<usize> = (0..workload.items.len()).collect();
    Random::new(3).shuffle(&mut order);
    let paths: Vec<PathBuf> =
        order.iter().map(|at| trees::path_of(dir.path(), &workload.items[*at])).collect();
    let files: Vec<Vec<u8>> = order.iter().map(|at| workload.file(&workload.items[*at])).collect();
    let samples: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let dictionary = Dictionary::train(&samples).unwrap();
    let mut encoder = Encoder::zstd(Some(dictionary.clone()));
    let payloads: Vec<_> = files.iter().map(|file| encoder.encode(file).unwrap()).collect();
    let mut group = c.benchmark_group("lookup/floor");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1500));
    let mut next = paths.iter().cycle();
    group.bench_function("file by path", |b| {
        b.iter(|| black_box(std::fs::read(next.next().unwrap()).unwrap()));
    });
    let mut next = payloads.iter().cycle();
    group.bench_function("decompress", |b| {
        b.iter(|| {
            let one = next.next().unwrap();
            codec::decode(one.codec, &one.bytes, one.raw_len, Some(&dictionary)).unwrap()
        });
    });
    let mut next = files.iter().cycle();
    group.bench_function("crc of a file in memory", |b| b.iter(|| crc32fast::hash(next.next().unwrap())));
    // A process of its own for each file, as in a shell's loop.
    group.sampling_mode(SamplingMode::Flat).sample_size(20).throughput(Throughput::Elements(1));
    let mut next = paths.iter().cycle();
    group.bench_function("cat as a process", |b| {
        b.iter(|| std::process::Command::new("cat").arg(next.next().unwrap()).output().unwrap());
    });
    group.finish();
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    machine::say(
        "lookup",
        &format!(
            "{SIZES:?} snapshots, {} files a run, 5 % of ids with 2 to 5 snapshots; {QUESTIONS} random questions; \
             checksums verified, payload decoded; the tree has {} files",
            data::FILES_PER_RUN,
            SIZES[0],
        ),
    );
    floors(&mut c);
    for size in SIZES {
        lookups(&mut c, size);
    }
    c.final_summary();
}
