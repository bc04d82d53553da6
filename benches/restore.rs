//! Restores of a tree of 4,000 files in 200 runs with three references each, page cache warm: what the connector does,
//! `closure`, and each object once. Beside them the connector's way in a naive form, in Rust and (where there is a
//! python3) in Python: a map of file names, then for each run its files and the closure of what it lacks, read and parsed
//! anew. All of them were compared in what they emit before the clock started. The store is uncompressed; beside it stands
//! the verified scan of the same store, every record in the order of the log.

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

mod common {
    #[expect(dead_code, reason = "others print facts")]
    pub(crate) mod machine;
    pub(crate) mod walk;
}

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use serde_json::Value;
use stix_store::import::{FileReport, ImportOptions, ImportSink, import};
use stix_store::progress::Stop;
use stix_store::restore::{Order, Resolve, RestoreOptions, RestoreSummary, bundles, plan};
use stix_store::vfs::{ReadVfs, disk::Disk};
use stix_store::{Compression, CreateOptions, Store, View, WriterOptions};

const RUNS: u64 = 200;
const FILES: u64 = 4_000;
const REFERENCES: u64 = 3;
/// Length of a description: a file is about 1 kB.
const TEXT: usize = 700;

/// A generator of numbers, the same ones each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn id(number: u64) -> String {
    format!("malware--{number:08x}-1111-4111-8111-{:012x}", number * 7919)
}

/// Writes the tree: file `n` lies in run `n / 20`, and refers to three others anywhere.
fn write_tree(root: &Path) {
    let mut random = Random(6);
    for number in 0..FILES {
        let run = root.join("opencti_data").join(format!(
            "20240101T{:02}{:02}00Z",
            number * RUNS / FILES / 60,
            number * RUNS / FILES % 60
        ));
        fs::create_dir_all(&run).unwrap();
        let refs: Vec<String> = (0..REFERENCES).map(|_| id(random.below(FILES))).collect();
        let text: String =
            (0..TEXT).map(|_| char::from(b'a' + u8::try_from(random.below(26)).unwrap())).collect();
        let object = serde_json::json!({"type": "malware", "id": id(number), "description": text, "object_refs": refs});
        let bundle = serde_json::json!({"type": "bundle", "objects": [object]});
        fs::write(run.join(format!("{}.json", id(number))), serde_json::to_vec_pretty(&bundle).unwrap())
            .unwrap();
    }
}

struct Silent;

impl ImportSink for Silent {
    fn file(&mut self, _: &FileReport) -> stix_store::Result<()> {
        Ok(())
    }
}

fn options(resolve: Resolve, order: Order) -> RestoreOptions {
    RestoreOptions { resolve, order, max_bundle_bytes: 8 << 20, ..RestoreOptions::default() }
}

fn restore(view: &View, options: &RestoreOptions, out: &mut dyn Write) -> RestoreSummary {
    bundles(view, options, out, &mut |_| Ok(()), &Stop::default()).unwrap()
}

/// Run directories, ascending, and the names in each.
fn list(root: &Path) -> Vec<(PathBuf, Vec<String>)> {
    let mut runs: Vec<PathBuf> =
        fs::read_dir(root.join("opencti_data")).unwrap().map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    let names = |run: PathBuf| {
        let names =
            fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        (run.clone(), names.collect())
    };
    runs.into_iter().map(names).collect()
}

fn parse(path: &Path) -> Vec<Value> {
    let mut bundle: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let Value::Array(objects) = bundle["objects"].take() else { panic!("no objects") };
    objects
}

fn references(object: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, value) in object.as_object().unwrap().iter().filter(|(key, _)| !key.starts_with("x_")) {
        if key.ends_with("_ref") {
            found.insert(value.as_str().unwrap().to_owned());
        } else if key.ends_with("_refs") {
            found.extend(value.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
        }
    }
    found
}

/// The connector's way. Returns how many objects were emitted.
fn naive(root: &Path, out: &mut dyn Write) -> u64 {
    let runs = list(root);
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, (_, names)) in runs.iter().enumerate() {
        for name in names {
            places.entry(name).or_default().push(at);
        }
    }
    let mut emitted = 0;
    for (at, (run, names)) in runs.iter().enumerate() {
        let own: Vec<Value> = names.iter().flat_map(|name| parse(&run.join(name))).collect();
        let mut known: HashSet<String> =
            own.iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect();
        let mut wanted: Vec<String> = own.iter().flat_map(references).collect();
        let mut resolved = Vec::new();
        while let Some(id) = wanted.pop() {
            if known.contains(&id) {
                continue;
            }
            let name = format!("{id}.json");
            let later = places.get(name.as_str()).and_then(|list| list.iter().find(|place| **place > at));
            let Some(later) = later else { continue };
            let object = parse(&runs[*later].0.join(&name)).swap_remove(0);
            wanted.extend(references(&object));
            known.insert(id);
            resolved.push(object);
        }
        resolved.extend(own);
        emitted += u64::try_from(resolved.len()).unwrap();
        let bundle = serde_json::json!({"type": "bundle", "objects": resolved});
        serde_json::to_writer(&mut *out, &bundle).unwrap();
    }
    emitted
}

/// The same in Python, as the connector is: objects emitted and seconds, by the script's own word.
fn in_python(root: &Path) -> Option<(u64, f64)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/naive_restore.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(root)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn main() {
    common::machine::say("restore", &format!("{FILES} files in {RUNS} runs, {REFERENCES} references each"));
    let dir = tempfile::tempdir().unwrap();
    write_tree(dir.path());
    let create = CreateOptions { compression: Compression::None, ..CreateOptions::default() };
    let store = Store::create(dir.path().join("store"), &create).unwrap();
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    import(dir.path(), &mut writer, &ImportOptions::default(), &mut Silent, &Stop::default()).unwrap();
    writer.close().unwrap();
    let view = store.view();

    let emitted = |summary: RestoreSummary| summary.own + summary.resolved;
    let once = restore(&view, &options(Resolve::Once, Order::Dependency), &mut io::sink());
    assert_eq!(emitted(once), FILES);
    let closure = restore(&view, &options(Resolve::Closure, Order::Dependency), &mut io::sink());
    assert_eq!(emitted(closure), naive(dir.path(), &mut io::sink()));
    println!(
        "{FILES} files in {RUNS} runs: {} objects emitted once, {} with closure",
        emitted(once),
        emitted(closure)
    );
    let python = in_python(dir.path());
    assert!(python.is_none_or(|(count, _)| count == emitted(closure)));

    let mut criterion = Criterion::default().configure_from_args();
    let paths = common::walk::segment_paths(&dir.path().join("store"));
    let vfs: Arc<dyn ReadVfs> = Arc::new(Disk::new(dir.path().join("store")));
    let mut group = criterion.benchmark_group("restore");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (name, resolve, order) in [
        // Each object once: many times fewer than the connector's way, `closure`, brings out.
        ("once", Resolve::Once, Order::Dependency),
        ("once by name", Resolve::Once, Order::Name),
        ("closure", Resolve::Closure, Order::Dependency),
    ] {
        let options = options(resolve, order);
        group.bench_function(name, |bench| bench.iter(|| restore(&view, &options, &mut io::sink())));
    }
    let options = options(Resolve::Closure, Order::Dependency);
    group.bench_function("plan of closure", |bench| {
        bench.iter(|| plan(&view, &options, &mut |_| Ok(()), &mut |_| Ok(()), &Stop::default()).unwrap());
    });
    group.bench_function("floor/the connector's way", |bench| {
        bench.iter(|| naive(dir.path(), &mut io::sink()));
    });
    if python.is_none() {
        println!("SKIPPED: there is no python3, so nothing is held against the connector's way in it");
    } else {
        // Without the start of the interpreter: the script takes the time.
        let run = || in_python(dir.path()).unwrap().1;
        group.bench_function("floor/the connector's way in Python", |bench| {
            bench.iter_custom(|count| Duration::from_secs_f64((0..count).map(|_| run()).sum()));
        });
    }
    group.bench_function("floor/verified scan", |bench| {
        bench.iter(|| common::walk::walk(&vfs, store.id(), &paths));
    });
    group.finish();
    criterion.final_summary();
}
