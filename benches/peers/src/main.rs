//! The store beside the best there are: one run, one machine, the same data, the answers of each compared with it first.
//!
//! usage: stix-store-peers [--sizes 10000,100000] [--rounds 5] [--only store,lmdb] [--payload BYTES] [--dir DIR] [--json FILE]
//!        stix-store-peers --import FILES [--rounds 5] [--only store,lmdb] [--dir DIR] [--json FILE]
//!
//! Each store is loaded by its fastest bulk path. Then, in every round, every store is asked in turn, so that a noisy neighbour
//! hits all of them; what is printed is the median of the rounds, with the smallest and the largest. With `--import` a backup tree
//! of that many files is taken in instead, see `import.rs`. It starts itself as `stix-store-peers --ask STORE DIR` to measure processes.

#[path = "../../common"]
mod common {
    pub(crate) mod data;
    pub(crate) mod machine;
    pub(crate) mod reading;
    #[expect(dead_code, reason = "this crate needs its measure of bytes on disk only")]
    pub(crate) mod stores;
    pub(crate) mod trees;
}
mod data;
mod floors;
mod import;
mod measure;
mod peers;
mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use data::Data;
use peers::{KINDS, Kind, Peer, own};

/// Questions of each kind and round: with three lines of memory for each answer some 40 MB, more than fit most caches.
const QUESTIONS: usize = 200_000;

struct Options {
    sizes: Vec<usize>,
    import: Option<usize>,
    rounds: usize,
    only: Vec<String>,
    payload: Option<usize>,
    dir: PathBuf,
    json: Option<PathBuf>,
}

impl Options {
    fn wants(&self, kind: &Kind) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == kind.name)
    }
}

fn options() -> Options {
    let mut options = Options {
        sizes: vec![10_000, 100_000, 200_000, 1_000_000],
        import: None,
        rounds: 5,
        only: Vec::new(),
        payload: None,
        dir: std::env::temp_dir(),
        json: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(name) = words.next() {
        let value = words.next().unwrap_or_else(|| panic!("{name} needs a value"));
        let list = || value.split(',').map(str::to_owned);
        match name.as_str() {
            "--sizes" => options.sizes = list().map(|size| size.parse().unwrap()).collect(),
            "--import" => options.import = Some(value.parse().unwrap()),
            "--rounds" => options.rounds = value.parse().unwrap(),
            "--only" => options.only = list().collect(),
            "--payload" => options.payload = Some(value.parse().unwrap()),
            "--dir" => options.dir = value.into(),
            "--json" => options.json = Some(value.into()),
            _ => panic!("no such option: {name}"),
        }
    }
    options
}

/// Figures by store and measure, one of each round.
#[derive(Default)]
struct Figures(BTreeMap<(String, String), Vec<f64>>);

impl Figures {
    fn add(&mut self, store: &str, what: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.0.entry((store.to_owned(), what.to_owned())).or_default().push(value);
        }
    }

    /// As JSON, and printed.
    fn tell(&self, size: usize) -> Vec<Value> {
        let mut all = Vec::new();
        for ((store, what), values) in &self.0 {
            let mut values = values.clone();
            let median = measure::median(&mut values);
            let (min, max) = (values[0], values[values.len() - 1]);
            println!(
                "{size:9} {store:17} {what:37} {median:12.2} ({min:.2} to {max:.2}, of {})",
                values.len()
            );
            all.push(json!({ "size": size, "store": store, "measure": what, "median": median, "min": min, "max": max, "runs": values.len() }));
        }
        all
    }
}

fn load(kind: &Kind, dir: &Path, data: &Data, figures: &mut Figures) -> PathBuf {
    let path = dir.join(kind.data_of.unwrap_or(kind.name));
    if kind.data_of.is_none() {
        std::fs::create_dir(&path).unwrap();
        let start = Instant::now();
        (kind.load)(&path, data);
        figures.add(kind.name, "load, s", Some(start.elapsed().as_secs_f64()));
        let stored = common::stores::size_of(&path);
        figures.add(kind.name, "bytes / files", Some(stored as f64 / data.bytes as f64));
    }
    path
}

fn round(kind: &Kind, peer: &dyn Peer, data: &Data, figures: &mut Figures) {
    for what in measure::LOOKUPS {
        // The first time warms up: the pages that are about to be asked for are in the process, whoever the store is.
        measure::lookups(peer, what, &data.questions);
        figures.add(kind.name, &format!("{what}, ns"), measure::lookups(peer, what, &data.questions));
    }
    for threads in [1, 2] {
        let name = format!("{threads} threads, ns");
        figures.add(kind.name, &name, measure::threads(peer, &data.questions, threads));
    }
    figures.add(kind.name, "scan, MB/s", measure::scan(kind, peer, data));
    figures.add(kind.name, "check, MB/s", measure::check(peer, data));
}

fn run(size: usize, options: &Options) -> Vec<Value> {
    let data = Data::new(size, QUESTIONS, options.payload);
    let dir = tempfile::tempdir_in(&options.dir).unwrap();
    let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| options.wants(kind)).collect();
    let mut figures = Figures::default();
    let paths: Vec<PathBuf> = kinds.iter().map(|kind| load(kind, dir.path(), &data, &mut figures)).collect();
    let chain = floors::Chain::new(usize::try_from(data.bytes).unwrap().max(1 << 20));
    let segments = dir.path().join("store/store/data");
    let segments: Vec<PathBuf> = std::fs::read_dir(segments)
        .map(|all| all.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    for (kind, path) in kinds.iter().zip(&paths) {
        measure::verify(kind, &*(kind.open)(path), &data);
    }
    let of = |name| kinds.iter().zip(&paths).find(|(kind, _)| kind.name == name).map(|(_, path)| path);
    if let Some(path) = of("store") {
        own::index(path, &data, &mut figures);
    }
    for _ in 0..options.rounds {
        process::floor(&data, &mut figures);
        figures.add("floor", "one load that waits, ns", Some(chain.walk(400_000)));
        figures.add("floor", "scan, MB/s", Some(floors::read_and_sum(&segments, data.bytes) / 1e6));
        figures.add("floor", "load, s", Some(floors::write_durably(dir.path(), data.bytes)));
        figures.add("floor", "decompression, ns", of("store zstd").map(|path| own::decompression(path)));
        for (kind, path) in kinds.iter().zip(&paths) {
            let peer = (kind.open)(path);
            round(kind, &*peer, &data, &mut figures);
            // LMDB opens a file once in a process, so the one that was asked has to go first.
            drop(peer);
            figures.add(kind.name, "open, us", Some(measure::open(kind, path, &data.questions)));
            process::measure(kind, path, &data, &mut figures);
        }
    }
    figures.tell(size)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [ask, kind, dir] = words.as_slice()
        && ask == "--ask"
    {
        return process::answer(kind, Path::new(dir));
    }
    let options = options();
    let workload =
        format!("{} files a run, 5 % of ids with 2 to 5 snapshots, seed 1", common::data::FILES_PER_RUN);
    let figures: Vec<Value> = if let Some(files) = options.import {
        let what = format!("a tree of {files} files is imported, {workload}; {} rounds", options.rounds);
        common::machine::say("peers", &what);
        import::run(files, &options)
    } else {
        let (sizes, rounds) = (&options.sizes, options.rounds);
        let what = format!(
            "{sizes:?} snapshots, {workload}; {QUESTIONS} random questions of each kind, {rounds} rounds"
        );
        common::machine::say("peers", &what);
        sizes.iter().flat_map(|size| run(*size, &options)).collect()
    };
    if let Some(path) = &options.json {
        let machine = common::machine::facts();
        let all = json!({ "machine": machine, "payload": options.payload, "figures": figures });
        std::fs::write(path, serde_json::to_string_pretty(&all).unwrap()).unwrap();
    }
}
