//! The small store that is damaged, and what is known to be in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::images::Image;
use super::judge::{Tally, judge};
use stix_store::format::put::PutKind;
use stix_store::format::record::Tag;
use stix_store::segment::{Segment, Step};
use stix_store::vfs::ReadVfs;
use stix_store::vfs::mem::Mem;
use stix_store::{
    Body, Compression, CreateOptions, Instant, Key, ObjectKey, Put, RunKey, SegmentId, Store, StoreId,
    Writer, WriterOptions,
};

/// Runs are minutes; the second and third are two directory names of one instant.
pub(crate) const RUN_NAMES: [(u64, &str); 4] = [
    (63_840_924_000, "20240115T140000Z"),
    (63_840_927_600, "20240115T150000Z"),
    (63_840_927_600, "20240115T1500Z"),
    (63_840_931_200, "20240115T160000Z"),
];
/// How much of the log the index covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Covered {
    /// Base and delta reach up to the last commit.
    All,
    /// Base and delta reach up to the last commit but two.
    Part,
    /// There is no index, and no hints.
    None,
}

/// One record of the log: where it lies and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) file: String,
    pub(crate) range: Range<u64>,
    pub(crate) tag: Tag,
    pub(crate) key: Key,
    /// Whether a COMMIT follows it in its segment (or it is one).
    pub(crate) committed: bool,
}

/// A store, and all that was committed to it.
pub(crate) struct Fixture {
    pub(crate) mem: Mem,
    pub(crate) covered: Covered,
    pub(crate) runs: Vec<RunKey>,
    /// Names that some lookups ask for: all that were ever put, and one that never was.
    pub(crate) names: Vec<Vec<u8>>,
    /// Live snapshots.
    pub(crate) bodies: BTreeMap<(Vec<u8>, RunKey), Vec<u8>>,
    /// Live aliases and the file's name that each leads to.
    pub(crate) aliases: BTreeMap<(Vec<u8>, RunKey), Vec<u8>>,
    /// Everything that was ever committed under a name and run.
    pub(crate) ever: BTreeMap<(Vec<u8>, RunKey), BTreeSet<Vec<u8>>>,
    /// All files, intact.
    files: BTreeMap<String, Vec<u8>>,
    /// All records, in log order.
    pub(crate) units: Vec<Unit>,
    /// The newest committed record of each key.
    pub(crate) newest: BTreeMap<Key, Unit>,
    /// Where what was never committed begins: in the last segment.
    pub(crate) tail_start: u64,
}

pub(crate) fn name(number: u32) -> Vec<u8> {
    // Every third one has a type without a short form, so that its record carries the name.
    let kind = if number.is_multiple_of(3) { "x-wizard" } else { "malware" };
    format!("{kind}--{number:08x}-0000-4000-8000-00000000{number:04x}").into_bytes()
}

fn body(number: u32, version: u32) -> Vec<u8> {
    let name = String::from_utf8(name(number)).unwrap();
    let text = format!(
        "{{\"type\": \"bundle\", \"objects\": [{{\"id\": \"{name}\", \"type\": \"malware\", \
         \"spec_version\": \"2.1\", \"name\": \"name {}\", \"revoked\": false, \"version\": {version}}}]}}",
        number.wrapping_mul(2_654_435_761)
    );
    text.into_bytes()
}

struct Builder {
    writer: Writer,
    runs: Vec<RunKey>,
    staged: Vec<Change>,
    fixture: Fixture,
    /// The segment that is written, from 1.
    segment: u32,
    fork: Fork,
}

/// How the history of a copy of the store differs: from this segment on it was given other things.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fork {
    /// It is the store.
    No,
    /// Other bytes under the same names.
    Bodies(u32),
    /// One snapshot more in front, so that nothing lies where it does in the store.
    More(u32),
}

enum Change {
    Put(Vec<u8>, RunKey, Vec<u8>),
    Alias(Vec<u8>, RunKey, Vec<u8>),
    Delete(Vec<u8>, RunKey),
}

impl Builder {
    fn put(&mut self, number: u32, run: usize, version: u32) {
        let version =
            version + if matches!(self.fork, Fork::Bodies(from) if from <= self.segment) { 5 } else { 0 };
        let (name, run, body) = (name(number), self.runs[run], body(number, version));
        self.append(&name, run, PutKind::Snapshot, &body);
        self.staged.push(Change::Put(name, run, body));
    }

    fn alias(&mut self, alias: &str, run: usize, number: u32) {
        let (alias, run, target) = (alias.as_bytes().to_vec(), self.runs[run], name(number));
        self.append(&alias, run, PutKind::Alias, &target);
        self.staged.push(Change::Alias(alias, run, target));
    }

    fn delete(&mut self, number: u32, run: usize) {
        let (name, run) = (name(number), self.runs[run]);
        assert!(self.writer.delete(&name, run).unwrap());
        self.staged.push(Change::Delete(name, run));
    }

    fn append(&mut self, name: &[u8], run: RunKey, kind: PutKind, body: &[u8]) {
        let len = if kind == PutKind::Snapshot { u32::try_from(body.len()).unwrap() } else { 0 };
        let put = Put { name, run, kind, meta: b"\x81\x01", object: 0..len, body: Body::Raw(body) };
        self.writer.put(&put).unwrap();
    }

    fn commit(&mut self) {
        self.writer.commit().unwrap();
        let fixture = &mut self.fixture;
        for change in self.staged.drain(..) {
            match change {
                Change::Put(name, run, body) => {
                    fixture.ever.entry((name.clone(), run)).or_default().insert(body.clone());
                    fixture.bodies.insert((name, run), body);
                }
                Change::Alias(name, run, target) => drop(fixture.aliases.insert((name, run), target)),
                Change::Delete(name, run) => drop(fixture.bodies.remove(&(name, run))),
            }
        }
    }

    /// Closes the writer, which publishes the index, and takes a new one, which starts a new segment.
    fn reopen(self) -> Builder {
        let Builder { writer, runs, staged, fixture, segment, fork } = self;
        writer.close().unwrap();
        let writer = open_writer(&fixture.mem);
        let mut next = Builder { writer, runs, staged, fixture, segment: segment + 1, fork };
        next.diverge();
        next
    }

    fn diverge(&mut self) {
        if matches!(self.fork, Fork::More(from) if from <= self.segment) {
            self.put(20, 0, 1);
        }
    }
}

pub(crate) fn open_writer(mem: &Mem) -> Writer {
    let store = Store::open_on(Arc::new(mem.clone())).unwrap();
    store.writer(&WriterOptions::default()).unwrap()
}

/// Makes the store. The same bytes each time.
pub(crate) fn build(covered: Covered) -> Fixture {
    build_as(covered, StoreId([7; 16]))
}

/// Makes it with another identity.
pub(crate) fn build_as(covered: Covered, store_id: StoreId) -> Fixture {
    build_with(covered, store_id, Fork::No)
}

/// Makes a copy that went its own way.
pub(crate) fn build_fork(covered: Covered, fork: Fork) -> Fixture {
    build_with(covered, StoreId([7; 16]), fork)
}

fn build_with(covered: Covered, store_id: StoreId, fork: Fork) -> Fixture {
    let mem = Mem::new();
    let dictionary = [body(1, 1), body(2, 1)].concat();
    let options = CreateOptions {
        segment_size: 8 << 10,
        compression: Compression::Zstd,
        store_id: Some(store_id),
        dictionary: Some(dictionary),
    };
    drop(Store::create_on(Arc::new(mem.clone()), &options).unwrap());
    let fixture = Fixture {
        mem: mem.clone(),
        covered,
        runs: Vec::new(),
        names: Vec::new(),
        bodies: BTreeMap::new(),
        aliases: BTreeMap::new(),
        ever: BTreeMap::new(),
        files: BTreeMap::new(),
        units: Vec::new(),
        newest: BTreeMap::new(),
        tail_start: 0,
    };
    let (writer, runs, staged) = (open_writer(&mem), Vec::new(), Vec::new());
    let mut builder = Builder { writer, runs, staged, fixture, segment: 1, fork };
    for (at, name) in RUN_NAMES {
        let (run, _) = builder.writer.put_run(Instant(at), name, b"\x80").unwrap();
        builder.runs.push(run);
    }
    builder.diverge();
    let fixture = fill(builder);
    let stripped = if covered == Covered::None { strip(&mem) } else { mem.snapshot_all() };
    survey(Fixture { mem: stripped, ..fixture }, store_id)
}

/// Three segments: the first with most of it and a base index, the second with few changes and a delta, the third
/// with what came after the index and what was never committed.
fn fill(mut builder: Builder) -> Fixture {
    let covered = builder.fixture.covered;
    for number in 1..=12 {
        builder.put(number, usize::try_from(number % 3).unwrap(), 1);
    }
    builder.put(1, 0, 1);
    builder.alias("the-id-inside", 1, 4);
    builder.commit();
    builder.put(2, 0, 1);
    builder.put(7, 2, 1);
    builder.commit();
    builder = builder.reopen();
    // An overwritten snapshot, and a DELETE.
    builder.put(3, 0, 2);
    builder.commit();
    builder.delete(5, 2);
    builder.commit();
    builder = builder.reopen();
    // The third snapshot of an id, a new id, and an alias where there was none.
    builder.put(1, 3, 2);
    builder.commit();
    builder.put(13, 3, 1);
    builder.commit();
    if covered == Covered::All {
        // The writer goes on in the same segment only while it lives, so the tail that no commit covers stands in
        // a segment of its own then; see `build`.
        builder = builder.reopen();
    }
    builder.put(14, 3, 1);
    builder.put(1, 3, 3);
    // A view of the open transaction sends it to its segment.
    drop(builder.writer.view().unwrap());
    let Builder { writer, runs, mut fixture, .. } = builder;
    drop(writer);
    fixture.names = (1..=15).map(name).chain([b"the-id-inside".to_vec()]).collect();
    fixture.runs = runs;
    fixture
}

/// Takes index and hints away.
fn strip(mem: &Mem) -> Mem {
    let mem = mem.snapshot_all();
    for path in mem.paths() {
        if path.starts_with("index.") || path.starts_with("hints.") {
            mem.remove_raw(&path);
        }
    }
    mem
}

/// Walks the log and notes where everything lies.
fn survey(mut fixture: Fixture, store_id: StoreId) -> Fixture {
    let bytes = |path: String| fixture.mem.bytes(&path).map(|bytes| (path, bytes));
    fixture.files = fixture.mem.paths().into_iter().filter_map(bytes).collect();
    for path in fixture.segments() {
        let number = path.trim_start_matches("data/").trim_end_matches(".seg").parse().unwrap();
        let file = fixture.mem.open(&path).unwrap().unwrap();
        let segment = Segment::open(file, SegmentId(number), store_id, 0, &Vec::new).unwrap();
        let mut walk = segment.walk(None).unwrap();
        let (mut units, mut end) = (Vec::new(), 0);
        while let Some(step) = walk.step().unwrap() {
            let Step::Record { offset, head } = step else { panic!("a gap in an intact store") };
            let range = u64::from(offset)..u64::from(offset) + u64::from(head.size);
            if head.tag == Tag::Commit {
                end = range.end;
            }
            let (tag, key) = (head.tag, head.key());
            units.push(Unit { file: path.clone(), range, tag, key, committed: true });
        }
        for unit in &mut units {
            unit.committed = unit.range.end <= end;
            if unit.committed && matches!(unit.tag, Tag::Put | Tag::Delete) {
                fixture.newest.insert(unit.key, unit.clone());
            }
        }
        fixture.units.extend(units);
        fixture.tail_start = end;
    }
    fixture
}

impl Fixture {
    pub(crate) fn segments(&self) -> Vec<String> {
        self.mem.paths().into_iter().filter(|path| path.starts_with("data/")).collect()
    }

    pub(crate) fn file(&self, path: &str) -> &[u8] {
        &self.files[path]
    }

    /// The records that an exact lookup reads.
    pub(crate) fn read_by(&self, name: &[u8], run: RunKey) -> Vec<&Unit> {
        let unit = |name: &[u8]| self.newest.get(&Key::new(ObjectKey::of(name), run));
        let target = self.aliases.get(&(name.to_vec(), run));
        unit(name).into_iter().chain(target.and_then(|target| unit(target))).collect()
    }

    /// The file whose damage takes the last commits away without a trace: nothing else names them.
    pub(crate) fn last_segment(&self) -> String {
        self.segments().pop().unwrap()
    }
}

#[test]
fn the_small_store_is_as_small_and_as_varied_as_it_claims() {
    for covered in [Covered::All, Covered::Part, Covered::None] {
        let fixture = build(covered);
        let files = fixture.mem.paths();
        let log: usize = fixture.segments().iter().map(|path| fixture.file(path).len()).sum();
        assert!(log < 8 << 10, "{log}");
        assert_eq!(fixture.units.iter().filter(|unit| unit.tag == Tag::Dictionary).count(), 1);
        assert_eq!(fixture.units.iter().filter(|unit| unit.tag == Tag::Delete).count(), 1);
        assert_eq!(fixture.units.iter().filter(|unit| !unit.committed).count(), 2);
        assert_eq!(fixture.bodies.keys().filter(|(key, _)| *key == name(1)).count(), 3);
        assert!(fixture.ever.values().any(|bodies| bodies.len() > 1), "an overwritten snapshot");
        assert_eq!(files.iter().any(|path| path.contains(".delta")), covered == Covered::Part);
        assert_eq!(files.iter().any(|path| path.starts_with("index.")), covered != Covered::None);
        judge(&Image::of(&fixture, "intact"), &mut Tally::default()).unwrap();
    }
}
