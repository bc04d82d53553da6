//! A backup tree goes in: the store imports it, and each of the others is loaded by its fastest bulk path with what was read of
//! the same tree, in the same way and on as many threads as the floor is read: open, read, close.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use stix_store::{ObjectKey, RunKey, snapshot};

use crate::common::data::Workload;
use crate::common::{reading, stores, trees};
use crate::data::{Data, Record};
use crate::peers::{KINDS, Kind};
use crate::{Figures, Options, floors};

/// Threads that read.
pub(crate) const THREADS: usize = 2;

/// Stores that one would load a backup into; the other kinds are shapes of files.
const NAMES: [&str; 6] = ["store", "store zstd", "lmdb", "redb", "rocksdb", "sqlite"];

/// Reads a tree as the other stores need it: all of it in memory, each record with its key.
fn read(tree: &Path) -> Data {
    let parts = reading::read(tree, THREADS, |records: &mut Vec<Record>, run, name, bytes| {
        let id = name.strip_suffix(".json").unwrap().to_owned();
        let run = RunKey::new(snapshot::run::parse(run).unwrap(), 0);
        let key = ObjectKey::of(id.as_bytes()).0;
        records.push(Record { id, key, run, body: bytes.to_vec(), meta: Vec::new(), object: 0..0 });
    });
    let records: Vec<Record> = parts.into_iter().flatten().collect();
    let bytes = records.iter().map(|record| record.body.len() as u64).sum();
    Data { records, questions: Vec::new(), bytes }
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn take_in(kind: &Kind, tree: &Path, dir: &Path, files: usize) {
    if let Some(import) = kind.import {
        return import(tree, dir);
    }
    let data = read(tree);
    assert_eq!(data.records.len(), files);
    (kind.load)(dir, &data);
}

/// Measures; every round takes the floors and every store in turn.
pub(crate) fn run(files: usize, options: &Options) -> Vec<Value> {
    let dir = tempfile::tempdir_in(&options.dir).unwrap();
    let tree = dir.path().join("tree");
    trees::write(&tree, &Workload::new(files));
    let bytes = reading::total(&tree, THREADS);
    let mut figures = Figures::default();
    for _ in 0..options.rounds {
        let reading = timed(|| assert_eq!(reading::total(&tree, THREADS), bytes));
        figures.add("floor", "import, s", Some(reading));
        for kind in KINDS.iter().filter(|kind| NAMES.contains(&kind.name) && options.wants(kind)) {
            let path = dir.path().join(kind.name);
            std::fs::create_dir(&path).unwrap();
            let took = timed(|| take_in(kind, &tree, &path, files));
            let stored = stores::size_of(&path);
            std::fs::remove_dir_all(&path).unwrap();
            let writing = floors::write_durably(dir.path(), stored);
            figures.add(kind.name, "import, s", Some(took));
            figures.add(kind.name, "import, its bytes written, s", Some(writing));
            figures.add(kind.name, "import / floor", Some((took - writing) / reading));
            figures.add(kind.name, "import, bytes / files", Some(stored as f64 / bytes as f64));
        }
    }
    figures.tell(files)
}
