//! What stores of this kind were expected to do, and often did not: acceptance tests of Attic and Borg (their numbers stand
//! in brackets), and scenarios of import and recovery (R1 to R29), as far as no other module shows them.

use std::collections::BTreeSet;
use std::sync::Arc;

use stix_store::progress::Stop;
use stix_store::store::compact::{CompactOptions, CompactReport};
use stix_store::store::repair::{RepairOptions, RepairReport};
use stix_store::vfs::mem::Mem;
use stix_store::{Compression, Store, View, WriterOptions};

use crate::expected::{Expected, damage_of};
use crate::session::{Session, id, options};

mod caches;
mod compaction;
mod histories;
mod import;
mod locks;
mod lying;
mod records;
mod recovery;
mod space;

const FIRST: &str = "data/0000000001.seg";

fn session(segment_size: u64, compression: Compression) -> (Mem, Session) {
    let mem = Mem::new();
    let mut session = Session::new(&mem, Arc::new(mem.clone()));
    session.create(&options(segment_size, compression)).unwrap();
    (mem, session)
}

fn open(mem: &Mem) -> Store {
    Store::open_on(Arc::new(mem.clone())).unwrap()
}

fn read_only(mem: &Mem) -> View {
    Store::open_read_only_on(Arc::new(mem.clone())).unwrap().view()
}

fn latest(view: &View, number: u32) -> Option<Vec<u8>> {
    view.latest(id(number)).unwrap().map(|found| found.body().unwrap().into_owned())
}

fn paths(mem: &Mem, prefix: &str) -> Vec<String> {
    mem.paths().into_iter().filter(|path| path.starts_with(prefix)).collect()
}

/// The same files without index and hints.
fn without_caches(mem: &Mem) -> Mem {
    let copy = mem.snapshot_all();
    for path in paths(&copy, "index.").iter().chain(&paths(&copy, "hints.")) {
        copy.remove_raw(path);
    }
    copy
}

fn damage(mem: &Mem) -> Vec<String> {
    damage_of(mem).unwrap().damage.into_iter().map(|(_, text)| text).collect()
}

/// Asserts that a store, with its index and without, holds exactly this and is in order.
fn assert_holds(mem: &Mem, expect: &Expected) {
    let names: BTreeSet<Vec<u8>> = (0..60).map(id).collect();
    for mem in [mem, &without_caches(mem)] {
        expect.compare(&read_only(mem), &names).unwrap();
        assert_eq!(damage(mem), Vec::<String>::new());
    }
}

fn repair(mem: &Mem) -> RepairReport {
    let options = RepairOptions::default();
    open(mem).repair(&WriterOptions::default(), options, None, &mut |_| {}, &Stop::default()).unwrap()
}

fn compact(mem: &Mem, threshold: u8) -> CompactReport {
    let store = open(mem);
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    let options = CompactOptions { threshold, dry_run: false };
    let report = writer.compact(&options, &mut |_| {}, &Stop::default()).unwrap();
    writer.close().unwrap();
    report
}

/// A record of a segment as its bytes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Raw {
    at: usize,
    len: usize,
    tag: u8,
}

const PUT: u8 = 0;
const DELETE: u8 = 1;
const COMMIT: u8 = 2;

/// The records of an intact segment, in order.
fn records(mem: &Mem, path: &str) -> Vec<Raw> {
    let bytes = mem.bytes(path).unwrap();
    let (mut all, mut at) = (Vec::new(), 96);
    while at < bytes.len() {
        let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        let len = usize::try_from(len).unwrap();
        all.push(Raw { at, len, tag: bytes[at + 8] });
        at += len;
    }
    all
}

/// The records of all segments with a tag, by file.
fn tagged(mem: &Mem, tag: u8) -> Vec<(String, Raw)> {
    let of = |path: String| {
        let found = records(mem, &path).into_iter().filter(|record| record.tag == tag);
        found.map(|record| (path.clone(), record)).collect::<Vec<_>>()
    };
    paths(mem, "data/").into_iter().flat_map(of).collect()
}
