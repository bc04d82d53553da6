//! Real processes on real file systems: killed at random times, two writers, a writer among readers, a full disk, a disk
//! that cannot be written, files that may not be read, signals. What the output acknowledged is what must be there.
//!
//! A killed process proves less than the crash simulator does, since the system keeps what it wrote; but it is the whole
//! program, with its threads, its pipes and the real calls.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stix_store::{Error, Store, View};

use crate::common::{Dir, Entry, read_tree, text};
use crate::crash::fates::Noise;

mod access;
mod checks;
mod interrupted;
mod kill;
mod locks;
mod readers;
mod space;

/// Longest that a test waits for what must come soon.
const SOON: Duration = Duration::from_secs(60);

/// Runs and the names of files in them, with their bytes.
type Files = BTreeMap<(String, String), Vec<u8>>;

/// Writes one file of a backup tree: an object with a description of about `len` bytes that hardly compresses.
fn write_file(data: &Path, run: &str, number: u64, len: usize, noise: &mut Noise) -> (String, String) {
    let id = format!("tool--{number:08x}-1111-4111-8111-111111111111");
    let mut filler = String::with_capacity(len + 16);
    while filler.len() < len {
        write!(filler, "{:016x}", noise.next()).unwrap();
    }
    let file = format!(r#"{{"objects": [{{"type": "tool", "id": "{id}", "description": "{filler}"}}]}}"#);
    let folder = data.join("opencti_data").join(run);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{id}.json")), file).unwrap();
    (run.to_owned(), id)
}

/// A tree of many small files in one run: their reports do not fit into a pipe that nobody reads.
fn tree_of_many(data: &Path) -> usize {
    let count = 1500;
    for number in 0..count {
        write_file(data, "20240101T000000Z", number, 100, &mut Noise(number));
    }
    usize::try_from(count).unwrap()
}

/// A tree that takes four transactions of 16 MiB, of about half of that in the store.
fn tree_of_much(data: &Path) {
    for number in 0..28 {
        let run = ["20240101T000000Z", "20240102T000000Z"][usize::try_from(number % 2).unwrap()];
        write_file(data, run, number, 2 << 20, &mut Noise(number));
    }
}

/// The files whose storing was acknowledged in a stream that may have been cut off anywhere, with their bytes in `source`.
fn acknowledged(stream: &[u8], source: &Path) -> Files {
    let mut files = Files::new();
    for line in stream.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        let unit: Value = serde_json::from_slice(line).unwrap();
        let is_stored = ["added", "updated", "unchanged"].iter().any(|outcome| unit["outcome"] == *outcome);
        if unit["type"] == "file" && is_stored {
            let (run, file) = (unit["path"][0].as_str().unwrap(), unit["path"][1].as_str().unwrap());
            let bytes = fs::read(source.join("opencti_data").join(run).join(file)).unwrap();
            files.insert((run.to_owned(), file.strip_suffix(".json").unwrap().to_owned()), bytes);
        }
    }
    files
}

/// The view of the store at a path, if there is one.
fn view(store: &Path) -> Option<View> {
    match Store::open_read_only(store) {
        Ok(store) => Some(store.view()),
        Err(Error::NoStore { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The files of a tree.
fn files_of(source: &Path) -> Files {
    let tree = read_tree(&source.join("opencti_data"));
    let file = |(path, entry): (PathBuf, Entry)| {
        let (run, name) = text(&path).strip_suffix(".json")?.split_once('/')?;
        Some(((run.to_owned(), name.to_owned()), entry.bytes))
    };
    tree.into_iter().filter_map(file).collect()
}

/// Asserts that a store has files with these bytes, or with those of `newer`, which a process may have stored
/// without coming to acknowledge it. It may have more.
fn assert_has(store: &Path, files: &Files, newer: &Files) {
    let Some(view) = view(store) else { return assert!(files.is_empty(), "the store is gone") };
    let runs: BTreeMap<String, _> =
        view.runs().unwrap().into_iter().map(|run| (run.name.clone(), run.key)).collect();
    for ((run, name), bytes) in files {
        let key = runs.get(run).unwrap_or_else(|| panic!("run {run} was acknowledged"));
        let found = view.record(name.as_bytes(), *key).unwrap();
        let found = found.unwrap_or_else(|| panic!("{run}/{name} was acknowledged"));
        let body = found.body().unwrap();
        let is_newer = newer.get(&(run.clone(), name.clone())).is_some_and(|newer| *body == **newer);
        assert!(is_newer || *body == **bytes, "{run}/{name} has other bytes");
    }
}

/// A writing process that stands still, because nobody reads its reports, until it is released.
struct Stuck {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Stuck {
    /// Starts an import of a tree of many files and waits for its first acknowledgement.
    fn import(dir: &Dir, source: &Path) -> Stuck {
        let args = ["--json", "import", text(source)];
        let mut child = dir.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::with_capacity(1, child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("\"outcome\":\"added\"") {
            assert!(stdout.read_line(&mut line).unwrap() > 0, "{line}");
        }
        Stuck { child, stdout }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Reads all that it has to say; returns its exit code.
    fn release(mut self) -> i32 {
        std::io::copy(&mut self.stdout, &mut std::io::sink()).unwrap();
        code_of(&mut self.child)
    }
}

/// Waits until a process catches a signal.
fn wait_until_caught(child: &Child, signal: Signal) {
    let bit = 1u64 << (signal.as_raw() - 1);
    let start = Instant::now();
    // Where there is no such file, some time must do.
    while let Ok(status) = fs::read_to_string(format!("/proc/{}/status", child.id())) {
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
        if u64::from_str_radix(caught.trim(), 16).unwrap() & bit != 0 {
            return;
        }
        assert!(start.elapsed() < SOON, "no signal is ever caught");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_secs(1));
}

/// Waits for a process to end, not for ever.
fn code_of(child: &mut Child) -> i32 {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap();
        }
        if start.elapsed() > SOON {
            child.kill().unwrap();
            panic!("it goes on and on");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a shell script, as root of a user and mount namespace of its own, in a directory with the store's command in
/// `$STORE`. `None`: the system does not let anybody have these.
fn in_namespace(dir: &Dir, script: &str, variables: &[(&str, &Path)]) -> Option<()> {
    let is_allowed = Command::new("unshare").args(["-rm", "true"]).stderr(Stdio::null()).status();
    if !is_allowed.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-rm", "bash", "-eu", "-c", script]).current_dir(dir.path(""));
    command.env("STORE", env!("CARGO_BIN_EXE_store")).env_remove("BACKUP_PATH").stdin(Stdio::null());
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

/// The exit codes and what was said to whom, as a script left them: `NAME.code`, `NAME.out`, `NAME.err`.
fn said(dir: &Dir, name: &str) -> (i32, Vec<u8>, String) {
    let read = |kind: &str| fs::read(dir.path(&format!("{name}.{kind}"))).unwrap();
    let code = String::from_utf8(read("code")).unwrap().trim().parse().unwrap();
    (code, read("out"), String::from_utf8_lossy(&read("err")).into_owned())
}
