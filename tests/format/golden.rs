//! The committed store `tests/golden/v1`: read with the answers beside it, and written again.

use std::sync::{Arc, Once};

use stix_store::store::check::{CheckOptions, CheckSink, Finding, Level, SegmentReport, Severity, check};
use stix_store::vfs::disk::Disk;
use stix_store::vfs::mem::Mem;
use stix_store::vfs::{ReadVfs, Vfs};
use stix_store::{Compression, CreateOptions, Store, progress::Stop};

use super::answers::{Answers, describe};
use super::script::{Model, Op, build};
use super::{blessing, expect_text, project, read, store_id, write};

/// The store.
const DIR: &str = "tests/golden/v1";
/// What it must answer.
pub(super) const EXPECT: &str = "tests/golden/v1.expect";
/// Files that both directories of a store hold.
const DIRS: [&str; 2] = ["", "/data"];

const FIRST: &str = "20240115T140000Z";
/// The same instant under another directory name: Python reads it so.
const ODD: &str = "20240115T1400Z";
const SECOND: &str = "20240201T093000Z";
const THIRD: &str = "20240302T000000Z";
const REPORT: &str = "report--5e3c7a10-2b1d-4c55-9a44-0d5f0e8b7a01";

fn id(kind: &str, number: u32) -> String {
    format!("{kind}--{number:08x}-5e1f-4c1d-8a2b-7c6d5e4f3a2b")
}

fn object(id: &str, text: &str) -> String {
    let (kind, _) = id.split_once("--").unwrap();
    let marking = id.replace(kind, "marking-definition");
    format!(
        "{{\"type\": \"{kind}\", \"spec_version\": \"2.1\", \"id\": \"{id}\", \
         \"created\": \"2024-01-15T13:59:31.000Z\", \"modified\": \"2024-01-15T13:59:31.000Z\", \
         \"name\": \"{text}\", \"object_marking_refs\": [\"{marking}\"], \"x_opencti_score\": 50}}"
    )
}

fn bundle(objects: &[String]) -> String {
    let id = "bundle--2f0d6a52-51c4-4ac2-b2f5-3c27b8a1a6e4";
    format!("{{\"type\": \"bundle\", \"id\": \"{id}\", \"objects\": [{}]}}", objects.join(", "))
}

fn file(run: &'static str, name: &str, text: &str) -> Op {
    Op::File(run, name.to_owned(), bundle(&[object(name, text)]))
}

/// What is done to the store, from the first run to the last uncommitted byte.
fn script() -> Vec<Op> {
    let mut script = vec![Op::Run(FIRST, 1_705_327_260)];
    script.extend((1..=12).map(|number| file(FIRST, &id("malware", number), &format!("Family {number}"))));
    script.extend((1..=8).map(|number| file(FIRST, &id("indicator", number), &format!("Pattern {number}"))));
    // Neither a canonical name nor a well-known type: the record carries these names.
    let bare = "7d1f0c3e-93a5-4d0e-8b57-6f1e2d3c4b5a";
    script.push(Op::File(FIRST, bare.to_owned(), bundle(&[object(&id("tool", 1), "Bare")])));
    script.push(Op::Alias(FIRST, id("tool", 1), bare.to_owned()));
    script.push(file(FIRST, &id("x-wizard", 1), "Type \\u00fcnknown"));
    script.extend([Op::Run(ODD, 1_705_327_261), file(ODD, &id("malware", 1), "Family 1, again"), Op::Commit]);
    script.extend([Op::Run(SECOND, 1_706_779_860), file(SECOND, &id("malware", 2), "Family 2, later")]);
    let several = [object(REPORT, "Two objects"), object(&id("identity", 1), "The other one")];
    script.push(Op::File(SECOND, REPORT.to_owned(), bundle(&several)));
    script.push(Op::Alias(SECOND, id("identity", 1), REPORT.to_owned()));
    script.extend([Op::Commit, Op::Close]);
    // Few entries beside the base: a delta index.
    script.push(file(SECOND, &id("malware", 2), "Family 2, later, corrected"));
    script.extend([Op::Delete(FIRST, id("malware", 3)), Op::Commit, Op::Close]);
    // Behind the index: a transaction, then a tail.
    script.extend([Op::Run(THIRD, 1_709_337_660), file(THIRD, &id("malware", 2), "Family 2, last")]);
    script.extend([Op::Commit, file(THIRD, &id("malware", 99), "Never committed"), Op::Die]);
    script
}

fn options() -> CreateOptions {
    // Content that zstd takes as it is: the text that all the objects share.
    let dictionary = bundle(&[object(&id("indicator", 0), "Pattern "), object(&id("malware", 0), "Family ")]);
    CreateOptions {
        segment_size: 4096,
        compression: Compression::Zstd,
        store_id: Some(store_id()),
        dictionary: Some(dictionary.into_bytes()),
    }
}

/// Returns the committed store; when blessing, it is written first, once, with its expectations.
pub(super) fn golden() -> Arc<Disk> {
    static BLESSED: Once = Once::new();
    BLESSED.call_once(|| {
        if blessing() {
            bless(&build(&options(), &script()));
        }
    });
    Arc::new(Disk::new(project().root().join(DIR)))
}

/// Returns the committed store in memory, where it can be damaged.
pub(super) fn golden_in_memory() -> Mem {
    let (disk, mem) = (golden(), Mem::new());
    mem.create_dir("data").unwrap();
    for path in paths(&*disk) {
        assert!(mem.set_bytes(&path, disk.read(&path, super::FILE_MAX_BYTES).unwrap().unwrap()));
    }
    mem
}

fn bless(store: &Mem) {
    let project = project();
    for path in paths(&Disk::new(project.root().join(DIR))) {
        project.remove(&format!("{DIR}/{path}")).unwrap();
    }
    for path in paths(store) {
        write(&format!("{DIR}/{path}"), &store.bytes(&path).unwrap());
    }
    let model = Model::of(&script());
    write(EXPECT, expectations(&model).as_bytes());
}

fn paths(vfs: &dyn ReadVfs) -> Vec<String> {
    let mut paths = Vec::new();
    for dir in DIRS {
        let dir = dir.trim_start_matches('/');
        for entry in vfs.list(dir).unwrap().unwrap_or_default() {
            let path = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
            paths.extend((path != "data").then_some(path));
        }
    }
    paths
}

/// Every name in the script, and some that are not.
pub(super) fn names() -> impl Iterator<Item = String> {
    let absent = [id("malware", 3_000_000), "absent".to_owned(), String::new()];
    Model::of(&script()).mentioned.into_iter().chain(absent)
}

fn expectations(answers: &dyn Answers) -> String {
    format!(
        "What the store in v1/ answers: written from a model of it by tools/bless.sh.\n\
         Answers are RUN KEY/FILE NAME#CRC-32 OF THE FILE. Compressed by zstd {}.\n{}",
        zstd::zstd_safe::version_string(),
        describe(answers, names())
    )
}

#[test]
fn the_golden_store_answers_every_lookup_as_it_was_committed() {
    let store = Store::open_read_only_on(golden()).unwrap();
    let notices = store.notices();
    assert!(matches!(notices.as_slice(), [tail] if tail.contains("never committed")), "{notices:?}");
    let view = store.view();
    // The version of zstd is that of the writer, not of this reader.
    let committed = String::from_utf8(read(EXPECT).unwrap()).unwrap();
    let header: Vec<&str> = committed.lines().take(2).collect();
    let actual = expectations(&view);
    let body = actual.lines().skip(2).collect::<Vec<_>>().join("\n");
    expect_text(EXPECT, &format!("{}\n{body}\n", header.join("\n")));
}

#[test]
fn the_golden_store_answers_the_same_without_index_hints_dictionary_and_config() {
    let mem = golden_in_memory();
    let model = Model::of(&script());
    for path in paths(&mem).iter().filter(|path| !path.starts_with("data/")) {
        assert!(mem.remove_raw(path));
    }
    let store = Store::open_read_only_on(Arc::new(mem)).unwrap();
    assert_eq!(expectations(&store.view()), expectations(&model));
}

#[derive(Default)]
struct Findings(Vec<String>);

impl CheckSink for Findings {
    fn finding(&mut self, finding: &Finding) -> stix_store::Result<()> {
        let severity = if finding.severity == Severity::Damage { "damage" } else { "notice" };
        self.0.push(format!("{severity}: {}: {}", finding.place, finding.detail));
        Ok(())
    }

    fn segment(&mut self, _: &SegmentReport) -> stix_store::Result<()> {
        Ok(())
    }
}

#[test]
fn check_finds_nothing_in_the_golden_store_but_its_tail() {
    let mut findings = Findings::default();
    let golden: Arc<dyn ReadVfs> = golden();
    let summary = check(
        &golden,
        &CheckOptions { level: Level::Content, ..CheckOptions::default() },
        &mut findings,
        &Stop::default(),
    )
    .unwrap();
    assert_eq!((summary.damage, summary.notices), (0, 1), "{:?}", findings.0);
    assert!(findings.0[0].starts_with("notice: data/"), "{:?}", findings.0);
    assert!(findings.0[0].contains("never committed"), "{:?}", findings.0);
}

/// Compressed bytes are zstd's to choose: another version of it need not write the same, and the format does
/// not ask for that. So all bytes are compared under the version that wrote the golden store, and the answers
/// alone under any other.
#[test]
fn writing_the_golden_store_again_gives_the_same_bytes() {
    let golden = golden();
    let again = build(&options(), &script());
    let model = Model::of(&script());
    let store = Store::open_read_only_on(Arc::new(again.clone())).unwrap();
    assert_eq!(expectations(&store.view()), expectations(&model));
    let expect = String::from_utf8(read(EXPECT).unwrap()).unwrap();
    if !expect.contains(&format!("zstd {}.", zstd::zstd_safe::version_string())) {
        return;
    }
    assert_eq!(paths(&*golden), paths(&again));
    for path in paths(&again) {
        let bytes = golden.read(&path, super::FILE_MAX_BYTES).unwrap();
        assert!(bytes == again.bytes(&path), "{path} differs");
    }
}

#[test]
fn the_golden_store_has_what_a_format_can_go_wrong_in() {
    let golden = golden();
    let paths = paths(&*golden);
    let has = |start: &str| paths.iter().filter(|path| path.starts_with(start)).count();
    assert!((3..=4).contains(&has("data/")), "{paths:?}");
    assert_eq!((has("index."), has("hints."), has("dict.")), (2, 1, 1), "{paths:?}");
    assert_eq!(has("index.3.delta"), 1, "{paths:?}");
    let len = |path: &String| golden.open(path).unwrap().unwrap().len().unwrap();
    let total: u64 = paths.iter().map(len).sum();
    assert!(total < 100_000, "{total} bytes");
}
