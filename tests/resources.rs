//! What the program costs the system: system calls that read and page faults of one lookup, beyond those of a process of the
//! same program that finds no store; and the peak memory of an import. Linux counts all of them for each process.
//!
//! `tools/resources.sh` runs this for the optimized program and with up to a million snapshots.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stix_store::Compression;

#[path = "resources/checks.rs"]
mod checks;
#[path = "resources/generate.rs"]
mod generate;

/// Runs of which the median counts: a fault more or less is chance (where the loader finds room, how the stack lies).
const RUNS: usize = 9;
/// Most system calls that read, of one lookup.
const READS_MAX: u64 = 40;
/// Most page faults of one lookup.
const FAULTS_MAX: u64 = 16;
/// What decompression adds, seen as 11 to 15: the context and tables of zstd (8), its code (4), the dictionary (2 or 3).
const FAULTS_OF_ZSTD: u64 = 16;
/// More of them without the optimizer, whose code is spread over more pages.
const FAULTS_UNOPTIMIZED: u64 = if cfg!(debug_assertions) { 14 } else { 0 };
/// Most bytes by which the peak memory of an import grows for each file. The files have 1 kB.
const IMPORT_BYTES_MAX: u64 = 320;

/// A number from the environment, for `tools/resources.sh`.
fn number_of(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}

fn start(args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    command.args(args).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the system's figures are no files of the store")]
fn figures(child: &Child, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap_or_default()
}

/// The number behind a name in one of the system's lists.
fn figure(list: &str, name: &str) -> Option<u64> {
    let rest = list.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The fields of `/proc/PID/stat` after the name in brackets: the state is the first.
fn stat(child: &Child) -> Vec<String> {
    let stat = figures(child, "stat");
    stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// What a lookup took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    faults: u64,
    reads: u64,
    micros: u64,
}

/// Runs the program to its end, and reads its figures before it is waited for: then they are gone.
fn cost(args: &[&str], code: i32) -> Cost {
    let begin = Instant::now();
    let mut child = start(args);
    let stat = loop {
        match stat(&child) {
            stat if stat[0] == "Z" => break stat,
            _ => std::thread::sleep(Duration::from_micros(100)),
        }
    };
    let micros = u64::try_from(begin.elapsed().as_micros()).unwrap();
    let number = |at: usize| stat[at].parse::<u64>().unwrap();
    let reads = figure(&figures(&child, "io"), "syscr:").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(code), "{args:?}");
    // Minor and major faults of its own.
    Cost { faults: number(7) + number(9), reads, micros }
}

/// The median of several runs, each figure by itself.
fn median(args: &[&str], code: i32) -> Cost {
    let costs: Vec<Cost> = (0..RUNS).map(|_| cost(args, code)).collect();
    let middle = |figure: fn(&Cost) -> u64| {
        let mut figures: Vec<u64> = costs.iter().map(figure).collect();
        figures.sort_unstable();
        figures[RUNS / 2]
    };
    Cost {
        faults: middle(|cost| cost.faults),
        reads: middle(|cost| cost.reads),
        micros: middle(|cost| cost.micros),
    }
}

fn lookups_are_cheap(store: &Path, snapshots: u64, faults_max: u64) {
    let path = store.to_str().unwrap();
    let missing = format!("{path}.missing");
    // One from the first run, one from the middle, and one with several snapshots.
    for number in [1, generate::snapshot(snapshots / 2 + 1).0, 0] {
        let id = generate::id(number);
        // The same command line, so that only the store makes the difference.
        let idle = median(&["-s", &missing, "get", &id], 10);
        let busy = median(&["-s", path, "get", &id], 0);
        let (faults, reads) =
            (busy.faults.saturating_sub(idle.faults), busy.reads.saturating_sub(idle.reads));
        println!(
            "{snapshots} snapshots: get: {faults} page faults, {reads} reads; {} us from start to answer, {} us without a store",
            busy.micros, idle.micros
        );
        assert!(reads <= READS_MAX, "{reads} reads");
        assert!(faults <= faults_max, "{faults} page faults");
    }
}

#[test]
fn a_lookup_takes_few_reads_and_few_page_faults_whatever_the_size_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    for snapshots in [100, number_of("RESOURCES_SNAPSHOTS", 10_000)] {
        for (name, compression, more) in
            [("none", Compression::None, 0), ("zstd", Compression::Zstd, FAULTS_OF_ZSTD)]
        {
            let path = dir.path().join(format!("{name}-{snapshots}"));
            generate::store(&path, snapshots, compression).unwrap();
            println!("{name}:");
            lookups_are_cheap(&path, snapshots, FAULTS_MAX + more + FAULTS_UNOPTIMIZED);
        }
    }
}

/// Imports a tree and returns the largest resident memory seen, in bytes.
fn import(tree: &Path, store: &Path) -> u64 {
    peak(&["-q", "-s", store.to_str().unwrap(), "import", tree.to_str().unwrap()])
}

fn peak(args: &[&str]) -> u64 {
    let mut child = start(args);
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(figure(&figures(&child, "status"), "VmHWM:").unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn the_memory_of_an_import_grows_with_the_index_only() {
    let dir = tempfile::tempdir().unwrap();
    // More than the import's window holds, so that it is full with both.
    let few = 32_000;
    let many = number_of("RESOURCES_FILES", 52_000);
    let peak = |files: u64| {
        let tree = dir.path().join(format!("tree-{files}"));
        generate::tree(&tree, files).unwrap();
        let begin = Instant::now();
        let peak = import(&tree, &dir.path().join(format!("store-{files}")));
        println!("{files} files: import: {} kB at most, {:.1?}", peak / 1024, begin.elapsed());
        peak
    };
    let (less, more) = (peak(few), peak(many));
    let each = more.saturating_sub(less) / (many - few);
    println!("{each} bytes for each further file");
    assert!(each <= IMPORT_BYTES_MAX, "{each} bytes for each file");
}

/// A file that was read again was compared with what is stored while both were in memory, and a compressed record too: 300 MB took
/// 582 MB, or 797. And so did one in an archive for longer than one in a tree.
#[test]
#[expect(clippy::disallowed_methods, reason = "the tree to import is no store")]
fn an_import_that_reads_a_long_file_again_holds_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let folder = tree.join("opencti_data/20240101T000000Z");
    std::fs::create_dir_all(&folder).unwrap();
    // zstd keeps half of it.
    let mut noise = crate::crash::fates::Noise(5);
    let mut body = r#"{"objects": [{"id": "artifact--1", "payload_bin": ""#.to_owned();
    for _ in 0..4 << 20 {
        write!(body, "{:016x}", noise.next()).unwrap();
    }
    body.push_str("\"}]}");
    std::fs::write(folder.join("artifact--1.json"), body).unwrap();
    let archive = dir.path().join("tree.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    tar.append_dir_all("opencti_data", tree.join("opencti_data")).unwrap();
    tar.finish().unwrap();
    for (compression, source) in [("none", &tree), ("zstd", &tree), ("none", &archive), ("zstd", &archive)] {
        let store = tempfile::tempdir_in(dir.path()).unwrap();
        let (store, source) = (store.path().join("store"), source.to_str().unwrap());
        let args = ["-s", store.to_str().unwrap(), "import", "--force-read", source];
        let first = peak(&[&args[..], &["--compression", compression]].concat());
        let again = peak(&args);
        println!("{source}, {compression}: {} kB, {} kB when read again", first / 1024, again / 1024);
        assert!(again <= (64 + 20) << 20, "{source}, {compression}: {again} bytes");
        let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
        let said = String::from_utf8(command.args(args).output().unwrap().stdout).unwrap();
        assert!(said.contains("updated 0, unchanged 1,"), "{said}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the bundle to import is no store")]
fn a_plain_bundle_takes_the_budget_and_its_longest_object() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle.json");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&bundle).unwrap());
    let text = "x".repeat(32 << 10);
    write!(file, r#"{{"type": "bundle", "objects": ["#).unwrap();
    for number in 0..4096 {
        let comma = if number == 0 { "" } else { "," };
        write!(file, r#"{comma}{{"id": "tool--{number}", "text": "{text}"}}"#).unwrap();
    }
    write!(file, "]}}").unwrap();
    file.into_inner().unwrap();
    let (store, bundle) = (dir.path().join("store"), bundle.to_str().unwrap());
    let args = ["-s", store.to_str().unwrap(), "import", bundle, "--run", "20240101T000000Z"];
    let peak = peak(&[&args[..], &["--memory", "8MiB", "--compression", "none"]].concat());
    println!("a bundle of 128 MiB with a budget of 8: {} kB", peak / 1024);
    assert!(peak <= 56 << 20, "{peak} bytes");
}

/// A tree of runs with as many bytes each, in files that hardly compress and refer to the next run.
#[expect(clippy::disallowed_methods, reason = "the tree to import is no store")]
fn tree_of_runs(root: &Path, runs: u32) {
    for run in 0..runs {
        let folder = root.join(format!("opencti_data/20240101T{:02}{:02}00Z", run / 60, run % 60));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..8u32 {
            let mut noise = crate::crash::fates::Noise(u64::from(run * 8 + file) + 1);
            let mut text = String::new();
            for _ in 0..8 << 10 {
                write!(text, "{:016x}", noise.next()).unwrap();
            }
            let refs = [(run + 1) * 8 + file, (run + 2) * 8];
            let refs = refs.map(|to| format!("\"tool--{to}\"")).join(", ");
            let name = format!("tool--{}", run * 8 + file);
            let body =
                format!(r#"{{"objects": [{{"id": "{name}", "object_refs": [{refs}], "text": "{text}"}}]}}"#);
            std::fs::write(folder.join(format!("{name}.json")), body).unwrap();
        }
    }
}

#[test]
fn the_memory_of_a_restore_does_not_grow_with_the_bytes_it_restores() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    // A run has 1 MiB. Fewer runs do not fill the room for texts that a restore keeps, which is bounded.
    let (few, many) = (32, 80);
    for runs in [few, many] {
        tree_of_runs(&dir.path().join(format!("tree-{runs}")), runs);
        import(&dir.path().join(format!("tree-{runs}")), &dir.path().join(format!("store-{runs}")));
    }
    for target in ["--bundles", "--tree", "--directory-bundles"] {
        let peak = |runs: u32| {
            let (store, out) = (path(&format!("store-{runs}")), path(&format!("out-{runs}{target}")));
            peak(&["-q", "-s", &store, "restore", target, &out, "--applicant-id", "x"])
        };
        let (less, more) = (peak(few), peak(many));
        println!("restore {target}: {} kB for {few} MiB, {} kB for {many} MiB", less / 1024, more / 1024);
        assert!(more.saturating_sub(less) <= 8 << 20, "{} more bytes for 48 MiB", more.saturating_sub(less));
    }
}

/// With `--json` each bundle was held until it was whole: an attachment of 300 MB took 582 MB instead of 295.
#[test]
#[expect(clippy::disallowed_methods, reason = "the tree to import is no store")]
fn a_restore_holds_the_longest_file_once_and_no_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let folder = dir.path().join("tree/opencti_data/20240101T000000Z");
    std::fs::create_dir_all(&folder).unwrap();
    let data = "A".repeat(64 << 20);
    let body = format!(r#"{{"objects": [{{"id": "artifact--1", "payload_bin": "{data}"}}]}}"#);
    std::fs::write(folder.join("artifact--1.json"), body).unwrap();
    let (store, out) = (path("store"), path("out"));
    peak(&["-q", "-s", &store, "init", "--compression", "none"]);
    import(&dir.path().join("tree"), Path::new(&store));
    for target in [
        &["--tree", out.as_str()][..],
        &["--plan"],
        &["--bundles", "-"],
        &["--bundles", "-", "--max-bundle-bytes", "1000"],
        &["--directory-bundles", &out, "--applicant-id", "x"],
    ] {
        for json in [&[][..], &["--json"]] {
            let peak = peak(&[json, &["-q", "-s", &store, "restore"][..], target].concat());
            println!("restore {json:?} {target:?}: {} kB with a file of 64 MiB", peak / 1024);
            // The program itself takes 10 MiB.
            assert!(peak <= (64 + 20) << 20, "{json:?} {target:?}: {peak} bytes");
        }
    }
    // One bundle of a run whose texts fill the room for them, and more of the same.
    let peak = |runs: u32| {
        let tree = dir.path().join(format!("tree-{runs}"));
        tree_of_runs(&tree, runs);
        let store = path(&format!("store-{runs}"));
        import(&tree, Path::new(&store));
        peak(&[
            "--json",
            "-s",
            &store,
            "restore",
            "--bundles",
            "-",
            "--max-bundle-bytes",
            "0",
            "--run",
            "20240101T000000Z",
        ])
    };
    let (less, more) = (peak(48), peak(96));
    println!("bundle of 48 MiB: {} kB, of 96 MiB: {} kB", less / 1024, more / 1024);
    assert!(more.saturating_sub(less) <= 8 << 20, "{} more bytes for 48 MiB", more.saturating_sub(less));
}
