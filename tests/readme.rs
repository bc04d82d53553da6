//! The output that README.md shows is what the program prints.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::common::{Dir, copy_tree, sample, text};

/// The identity of the store that README.md shows.
const SHOWN_STORE: &str = "504c593a363c1cfff62b5e2f27362801";

/// Runs a line of the shell in a directory that has the sample and the store.
fn run(dir: &Dir, line: &str) -> String {
    // What goes through a pipe is the data; else both outputs, in the order that a terminal shows.
    let line = match line.split_once(" | ") {
        Some((command, rest)) => format!("{command} 2> err | {rest}"),
        None => format!("{line} 2>&1"),
    };
    let program = Path::new(env!("CARGO_BIN_EXE_store")).parent().unwrap();
    let path = format!("{}:{}", text(program), std::env::var("PATH").unwrap());
    let mut shell = std::process::Command::new("sh");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STORE_")) {
        shell.env_remove(name);
    }
    shell.args(["-c", &line]).env("PATH", path).env("STORE_ID", SHOWN_STORE).current_dir(dir.path(""));
    String::from_utf8(shell.output().unwrap().stdout).unwrap()
}

/// Gives all that lies below a directory one time of modification: it is stored, so it decides about lengths and checksums.
fn same_times(path: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_763_042_400, 123_456_789);
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            same_times(&entry.unwrap().path());
        }
    }
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Masks what differs from run to run.
fn masked(line: &str) -> String {
    let mut line = line.to_owned();
    for (start, end) in [
        ("\"time\":\"", "\""),
        ("crc32:", "\""),
        ("\"run\":\"", "\""),
        (" in ", " ("),
        (" s (", ")"),
        (" in ", ";"),
    ] {
        if let Some(from) = line.find(start).map(|at| at + start.len())
            && let Some(len) = line[from..].find(end)
        {
            line.replace_range(from..from + len, "_");
        }
    }
    line
}

/// `stats` had got a line more and `dump` was shifted by one, and README.md showed what they had printed before.
/// `BLESS=1` writes the lines that differ anew.
#[test]
fn the_readme_shows_what_the_commands_print() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = Dir::new();
    copy_tree(&sample(), &dir.path("tests/data/sample"));
    same_times(&dir.path("tests/data/sample"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (mut anew, mut shown, mut count) = (Vec::new(), Vec::new(), 0);
    let mut lines = readme.lines().peekable();
    let mut inside = false;
    while let Some(line) = lines.next() {
        anew.push(line.to_owned());
        inside = if inside { line != "```" } else { line == "```console" };
        let Some(command) = line.strip_prefix("$ ").filter(|_| inside) else { continue };
        shown.clear();
        while let Some(line) = lines.next_if(|line| *line != "```" && !line.starts_with("$ ")) {
            shown.push(line.to_owned());
        }
        let printed: Vec<String> = run(&dir, command).lines().map(str::to_owned).collect();
        let is_same = shown.iter().map(|line| masked(line)).eq(printed.iter().map(|line| masked(line)));
        assert!(
            is_same || std::env::var_os("BLESS").is_some(),
            "{command}\nshown: {shown:#?}\nis: {printed:#?}"
        );
        anew.append(if is_same {
            &mut shown
        } else {
            shown.clone_from(&printed);
            &mut shown
        });
        count += 1;
    }
    assert!(count > 10, "{count}");
    if std::env::var_os("BLESS").is_some() {
        fs::write(root.join("README.md"), anew.join("\n") + "\n").unwrap();
    }
}
