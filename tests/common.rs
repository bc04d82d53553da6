//! What the integration tests share: the sample, the command, trees, and a reader of the NDJSON stream.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use stix_store::Instant;
use stix_store::snapshot::run;
use tempfile::TempDir;

/// Any identity will do, if it is always the same.
pub(crate) const STORE_ID: &str = "00112233445566778899aabbccddeeff";

/// The sample that the repository carries: the folder that holds `opencti_data`.
pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sample")
}

/// A directory of its own for one test, and the store in it.
pub(crate) struct Dir(TempDir);

impl Dir {
    pub(crate) fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The command, with this directory's store, no variable of the caller's and no terminal.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STORE_") || name == "BACKUP_PATH" {
                command.env_remove(name);
            }
        }
        command.env("COLUMNS", "100").env("STORE_PATH", self.store()).current_dir(self.0.path());
        command.args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs and expects this exit code; returns standard output.
    pub(crate) fn expect(&self, code: i32, args: &[&str]) -> Vec<u8> {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "store {args:?}\n{text}");
        output.stdout
    }

    /// Runs with `--json`, expects this exit code, verifies the stream and returns its units.
    pub(crate) fn units(&self, code: i32, args: &[&str]) -> Vec<Value> {
        let units = read_stream(&self.expect(code, &[&["--json"], args].concat()));
        assert_eq!(units[units.len() - 1]["exit"], code);
        units
    }

    /// Imports a tree under [`STORE_ID`]; returns the units.
    pub(crate) fn import(&self, code: i32, source: &Path) -> Vec<Value> {
        self.units(code, &["import", text(source), "--store-id", STORE_ID])
    }

    /// The bytes of every segment, by file name.
    pub(crate) fn segments(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        read_tree(&self.store().join("data")).into_iter().map(|(path, entry)| (path, entry.bytes)).collect()
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Verifies a stream of schema 1 and returns its units. All that a reader in another language has to do.
pub(crate) fn read_stream(bytes: &[u8]) -> Vec<Value> {
    let mut units: Vec<Value> = Vec::new();
    let mut digest = crc32fast::Hasher::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let unit: Value = serde_json::from_slice(line.strip_suffix(b"\n").expect("a whole line")).unwrap();
        assert_eq!(unit["v"], 1);
        assert_eq!(unit["seq"], units.len(), "no gaps");
        assert_eq!(unit["type"] == "begin", units.is_empty(), "begin comes first");
        assert!(units.last().is_none_or(|last| last["type"] != "end"), "nothing follows the end");
        if unit["type"] == "end" {
            assert_eq!(unit["units"], units.len());
            assert_eq!(unit["digest"], format!("crc32:{:08x}", digest.clone().finalize()));
        }
        digest.update(line);
        units.push(unit);
    }
    let (first, last) = (&units[0], &units[units.len() - 1]);
    assert_eq!(last["type"], "end", "a stream without end is a failed run");
    assert_eq!((&first["run"], &first["store"]), (&last["run"], &last["store"]));
    units
}

/// The units of one type.
pub(crate) fn of_type<'a>(units: &'a [Value], kind: &str) -> Vec<&'a Value> {
    units.iter().filter(|unit| unit["type"] == kind).collect()
}

/// The paths of the `file` units with an outcome.
pub(crate) fn files(units: &[Value], outcome: &str) -> BTreeSet<String> {
    let path = |unit: &Value| {
        let parts: Vec<&str> =
            unit["path"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
        parts.join("/")
    };
    of_type(units, "file").into_iter().filter(|unit| unit["outcome"] == outcome).map(path).collect()
}

pub(crate) fn instant(name: &str) -> Instant {
    run::parse(name).unwrap()
}

/// An entry of a tree as a restore must bring it back. Directories have no bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) is_dir: bool,
    pub(crate) bytes: Vec<u8>,
    pub(crate) mtime: SystemTime,
}

/// Everything below a folder; links and what is neither file nor directory left out.
pub(crate) fn read_tree(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            let bytes = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            if meta.is_dir() {
                folders.push(path.clone());
            }
            if meta.is_dir() || meta.is_file() {
                let entry = Entry { is_dir: meta.is_dir(), bytes, mtime: meta.modified().unwrap() };
                found.insert(path.strip_prefix(root).unwrap().to_path_buf(), entry);
            }
        }
    }
    found
}

/// Copies a tree, links as links, and gives each file and directory a time of its own, as no clock would.
pub(crate) fn copy_tree(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    let mut names: Vec<_> = fs::read_dir(source).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for (number, name) in (0u32..).zip(names) {
        let (from, to) = (source.join(&name), target.join(&name));
        let kind = fs::symlink_metadata(&from).unwrap().file_type();
        if kind.is_symlink() {
            symlink(fs::read_link(&from).unwrap(), &to).unwrap();
            continue;
        } else if kind.is_dir() {
            copy_tree(&from, &to);
        } else {
            fs::write(&to, fs::read(&from).unwrap()).unwrap();
        }
        set_mtime(&to, u64::from(number) * 86_399 + 1, number * 999_999);
    }
}

pub(crate) fn set_mtime(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}
