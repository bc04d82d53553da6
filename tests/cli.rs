//! The command line as scripts meet it: golden sessions, pipes that break, signals, help.
//!
//! A session is a file of `$ store ...` lines, each followed by what it prints: standard output as it is,
//! standard error after `! `, and the exit code after `= ` unless it is 0. What differs from run to run is masked.
//! `BLESS=1 cargo test sessions` writes the files anew: read the difference before committing it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Dir, STORE_ID, files, of_type, read_stream, read_tree, sample, text};

const MALWARE: &str = "malware--11111111-1111-4111-8111-111111111111";
const IDENTITY: &str = "identity--22222222-2222-4222-8222-222222222222";

/// A tree of three good files in two runs and of four entries that are none.
fn small_tree(data: &Path) {
    let malware = |name: &str, refs: &str| {
        format!(
            r#"{{"type": "bundle", "objects": [{{"type": "malware", "id": "{MALWARE}", "name": "{name}"{refs}}}]}}"#
        )
    };
    let author =
        format!(r#", "created_by_ref": "{IDENTITY}", "object_marking_refs": ["marking-definition--3"]"#);
    let identity = format!(r#"{{"objects": [{{"type": "identity", "id": "{IDENTITY}"}}]}}"#);
    for (path, content) in [
        (format!("20240101T000000Z/{MALWARE}.json"), malware("old", &author)),
        (format!("20240102T000000Z/{MALWARE}.json"), malware("new", "")),
        (format!("20240102T000000Z/{IDENTITY}.json"), identity),
        ("20240102T000000Z/torn.json".to_owned(), r#"{"objects": ["#.to_owned()),
        ("20240102T000000Z/readme.txt".to_owned(), String::new()),
        ("state".to_owned(), "{}".to_owned()),
        ("not-a-run/x.json".to_owned(), String::new()),
    ] {
        let path = data.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Runs a session; returns the file as it should be.
fn play(session: &str) -> String {
    let dir = Dir::new();
    small_tree(&dir.path("backup/opencti_data"));
    fs::write(dir.path("one.json"), r#"{"objects": [{"type": "tool", "id": "tool--4"}]}"#).unwrap();
    fs::write(dir.path("ids"), format!("{MALWARE}\r\ntool--none\n\n{IDENTITY}\n{MALWARE}")).unwrap();
    let mut played = Vec::new();
    for line in session.lines() {
        let Some(command) = line.strip_prefix("$ store ") else {
            // Comments stand between commands.
            played.extend(line.starts_with('#').then(|| line.to_owned()));
            continue;
        };
        let (command, input) =
            command.split_once(" < ").map_or((command, None), |(command, file)| (command, Some(file)));
        let mut process = dir.command(&command.split(' ').collect::<Vec<_>>());
        if let Some(file) = input {
            process.stdin(fs::File::open(dir.path(file)).unwrap());
        }
        let output = process.output().unwrap();
        let mut said = vec![line.to_owned()];
        let text_out = String::from_utf8(output.stdout).unwrap();
        said.extend(text_out.lines().map(str::to_owned));
        if !text_out.is_empty() && !text_out.ends_with('\n') {
            said.push("% no line break at the end".to_owned());
        }
        said.extend(String::from_utf8(output.stderr).unwrap().lines().map(|line| format!("! {line}")));
        let code = output.status.code().unwrap();
        said.extend((code != 0).then(|| format!("= {code}")));
        said.push(String::new());
        played.push(masked(&said.join("\n").replace(text(&dir.path("")), "DIR/")));
    }
    played.join("\n")
}

/// Masks times, durations and what depends on them.
fn masked(text: &str) -> String {
    let mut text = text.to_owned();
    for (start, end) in
        [("\"time\":\"", "\""), ("crc32:", "\""), ("\"run\":\"", "\""), ("_ms\":", ","), (" in ", ";")]
    {
        let mut at = 0;
        while let Some(found) = text[at..].find(start) {
            at += found + start.len();
            let len = text[at..].find(end).unwrap_or(0);
            let value = &text[at..at + len];
            let varies = match start {
                "\"run\":\"" => len == 32 && value.chars().all(|c| c.is_ascii_hexdigit()),
                " in " => value.starts_with(|c: char| c.is_ascii_digit()) && !value.contains('\n'),
                _ => true,
            };
            if varies {
                text.replace_range(at..at + len, "_");
            }
        }
    }
    text
}

#[test]
fn sessions_print_what_is_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sessions");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let expect = fs::read_to_string(&path).unwrap();
        let actual = play(&expect);
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &actual).unwrap();
        } else if let Some((number, (expect, actual))) =
            (1..).zip(expect.lines().zip(actual.lines())).find(|(_, (expect, actual))| expect != actual)
        {
            panic!("{} line {number}:\nexpected {expect}\nactual   {actual}", path.display());
        } else {
            assert_eq!(expect, actual, "{}", path.display());
        }
        count += 1;
    }
    assert!(count >= 3);
}

/// The store was made before anybody looked for the source, so a misspelt path left an empty store behind, while
/// exit code 2 promises that nothing was done.
#[test]
fn an_import_of_nothing_makes_no_store() {
    let dir = Dir::new();
    dir.expect(2, &["import", "nowhere"]);
    dir.expect(10, &["runs"]);
    assert!(!dir.store().exists());
}

#[test]
fn a_lost_reader_is_fine_where_output_is_only_to_be_read() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let to_nobody = |args: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        dir.command(args).stdout(writer).stderr(Stdio::null()).status().unwrap().code().unwrap()
    };
    let id = "malware--d05f7357-4cbe-47ea-bf83-b8604226d533";
    for args in [
        &["get", id][..],
        &["history", id],
        &["runs"],
        &["ls", "20220511T140000Z"],
        &["dump", "1"],
        &["stats"],
        &["--json", "stats"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
    ] {
        assert_eq!(to_nobody(args), 0, "{args:?}");
    }
    for args in [
        &["--json", "check"][..],
        &["check"],
        &["manifest"],
        &["--json", "manifest"],
        &["restore", "--plan"],
        &["restore", "--bundles", "-"],
        &["--json", "restore", "--tree", "out"],
        &["--json", "import", text(&sample())],
    ] {
        assert_eq!(to_nobody(args), 4, "{args:?}");
    }
}

/// A tree of more than two commit groups (16 MiB each): `count` files of 8 kB.
fn large_tree(data: &Path, count: usize) {
    let filler = "x".repeat(8 << 10);
    for number in 0..count {
        let run = data.join(format!("20240101T0{}0000Z", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir_all(&run).unwrap();
        }
        let id = format!("tool--{number:08x}-1111-4111-8111-111111111111");
        let file = format!(r#"{{"objects": [{{"type": "tool", "id": "{id}", "name": "{filler}"}}]}}"#);
        fs::write(run.join(format!("{id}.json")), file).unwrap();
    }
}

fn signal(child: &Child) {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
}

/// The reports of the first group do not fit into a pipe that nobody reads, so the import stands still after its
/// first commit until the signal has come: no race.
#[test]
fn sigterm_ends_an_import_after_a_whole_commit_and_it_goes_on_later() {
    let dir = Dir::new();
    let source = dir.path("backup");
    let count = 5000;
    large_tree(&source.join("opencti_data"), count);
    let args = ["--json", "import", text(&source), "--store-id", STORE_ID];
    let mut child = dir.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("\"outcome\":\"added\"") {
        assert!(stdout.read_line(&mut said).unwrap() > 0, "{said}");
    }
    signal(&child);
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let units = read_stream(said.as_bytes());
    let (end, told) = (&units[units.len() - 1], files(&units, "added"));
    assert_eq!(end["exit"], 143);
    assert!(!told.is_empty() && told.len() < count, "{} were added", told.len());

    dir.expect(0, &["check", "--level", "content"]);
    let stats = dir.units(0, &["stats"]);
    assert_eq!(of_type(&stats, "stats")[0]["snapshots"], told.len(), "what was reported is what is there");
    let rest = dir.import(0, &source);
    assert_eq!(files(&rest, "unchanged"), told);
    assert_eq!(files(&rest, "added").len() + told.len(), count);
    dir.expect(0, &["restore", "--tree", "out"]);
    let below = |root: PathBuf| read_tree(&root.join("opencti_data"));
    assert!(below(source) == below(dir.path("out")), "the whole tree comes back");
    dir.expect(0, &["check", "--level", "content"]);
}

/// The names of the commands, as `store --help` lists them.
#[test]
fn a_log_that_ends_before_its_index_is_read_only_and_every_command_says_so() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let last = dir.segments().into_keys().last().unwrap();
    let file = fs::File::options().write(true).open(dir.store().join("data").join(last)).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let before = read_tree(&dir.store());
    let run = String::from_utf8(dir.expect(1, &["runs"])).unwrap();
    let run = run.split_whitespace().next().unwrap();
    let put = ["put", "malware--1f1c1a4f-2ee9-4a2b-a5a4-33a9c0e0a0b1", "--run", run, "-"];
    for args in [&["ls", run][..], &["stats"], &["check"], &["compact"], &put, &["import", text(&sample())]] {
        let output = dir.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("COMMIT") || args == ["check"], "{args:?}: {said}");
    }
    let stats = dir.units(1, &["stats"]);
    assert!(of_type(&stats, "stats")[0]["read_only"].is_string(), "{stats:?}");
    assert_eq!(before.keys().collect::<Vec<_>>(), read_tree(&dir.store()).keys().collect::<Vec<_>>());
}

/// A damaged head that no index covers, more than one bit of it: the id answered with its older snapshot, exit code 0, and
/// after the next checkpoint nothing but `check` remembered.
#[test]
fn where_nobody_can_tell_whose_record_is_lost_every_answer_carries_a_warning() {
    let dir = Dir::new();
    dir.expect(0, &["init", "--compression", "none"]);
    for (run, name) in [("20240101T000000Z", "older"), ("20240102T000000Z", "newer")] {
        let file = dir.path(name);
        fs::write(&file, format!("{{\"objects\": [{{\"id\": \"{MALWARE}\", \"name\": \"{name}\"}}]}}"))
            .unwrap();
        dir.expect(0, &["put", MALWARE, "--run", run, text(&file)]);
    }
    for (path, entry) in read_tree(&dir.store()) {
        let name = path.to_string_lossy();
        if name.starts_with("index.") || name.starts_with("hints.") {
            fs::remove_file(dir.store().join(&path)).unwrap();
        } else if name.ends_with("2.seg") {
            // Behind the header and the run's own record.
            let mut bytes = entry.bytes;
            let run_len = u32::from_le_bytes(bytes[100..104].try_into().unwrap());
            let at = 96 + usize::try_from(run_len).unwrap();
            bytes[at..at + 45].fill(0);
            fs::write(dir.store().join(&path), bytes).unwrap();
        }
    }
    let warned = |args: &[&str], expect: &str| {
        let output = dir.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("may be out of date"), "{args:?}: {said}");
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(answer.contains(expect), "{args:?}: {answer}");
    };
    warned(&["get", MALWARE], "older");
    warned(&["history", MALWARE], "20240101T000000Z");
    let file = dir.path("other");
    fs::write(&file, format!("{{\"objects\": [{{\"id\": \"{IDENTITY}\"}}]}}")).unwrap();
    warned(&["put", IDENTITY, "--run", "20240101T000000Z", text(&file)], "");
    warned(&["get", MALWARE], "older");
    assert_eq!(of_type(&dir.units(1, &["stats"]), "stats")[0]["gaps"], 1);
    dir.expect(1, &["check"]);
}

fn commands(dir: &Dir) -> Vec<String> {
    let help = String::from_utf8(dir.expect(0, &["--help"])).unwrap();
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<String> =
        list.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(names.len() > 10, "{names:?}");
    names.into_iter().filter(|name| name != "help").collect()
}

#[test]
fn the_help_of_each_command_lists_its_exit_codes() {
    let dir = Dir::new();
    for command in commands(&dir) {
        let help = String::from_utf8(dir.expect(0, &[&command, "--help"])).unwrap();
        let exits = help.split("Exit status:\n").nth(1).unwrap_or_else(|| panic!("{command}: {help}"));
        let codes: Vec<&str> = exits
            .lines()
            .filter(|line| line.starts_with("  "))
            .map(|line| line.split_whitespace().next().unwrap())
            .collect();
        for code in ["0", "2", "4"] {
            assert!(codes.contains(&code), "{command}: {codes:?}");
        }
        let finds = ["get", "history", "ls", "delete", "dump", "explain", "diff", "bench"]
            .contains(&command.as_str());
        assert_eq!(codes.contains(&"5"), finds, "{command}: {codes:?}");
        let writes = ["import", "put", "delete", "compact", "repair", "check"].contains(&command.as_str());
        assert_eq!(codes.contains(&"11"), writes, "{command}: {codes:?}");
        let long = ["import", "restore", "explain", "diff", "manifest", "check", "compact", "repair"]
            .contains(&command.as_str());
        assert_eq!(codes.contains(&"143"), long, "{command}: {codes:?}");
    }
}

#[test]
fn completions_and_manuals_know_every_command() {
    let dir = Dir::new();
    let commands = commands(&dir);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = String::from_utf8(dir.expect(0, &["completions", shell])).unwrap();
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell}: {command}");
        }
    }
    assert!(dir.expect(0, &["man"]).windows(3).any(|bytes| bytes == b".TH"));
    for command in &commands {
        let page = String::from_utf8(dir.expect(0, &["man", command])).unwrap();
        assert!(page.contains(".TH") && page.contains(command.as_str()), "{command}");
    }
    dir.expect(2, &["man", "fly"]);
}

#[test]
fn the_readme_names_every_command_exit_code_and_variable() {
    let dir = Dir::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    for command in commands(&dir) {
        assert!(readme.contains(&format!("store {command}")), "store {command}");
        let help = String::from_utf8(dir.expect(0, &[&command, "--help"])).unwrap();
        for part in help.split("[env: ").skip(1) {
            let name = part.split(['=', ']']).next().unwrap();
            assert!(readme.contains(&format!("`{name}`")), "{name}");
        }
        let exits = help.split("Exit status:\n").nth(1).unwrap();
        for line in exits.lines().filter(|line| line.starts_with("  ")) {
            let code = line.split_whitespace().next().unwrap();
            assert!(readme.contains(&format!("| {code} |")), "exit code {code}");
        }
    }
}
