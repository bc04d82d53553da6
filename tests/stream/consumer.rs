//! A consumer in another language: `tools/verify-stream.py`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{damage, store};
use crate::common::{sample, text};

/// Lets the tool judge files; returns its exit code and what it said of each.
fn judged(files: &[PathBuf]) -> (i32, Vec<String>) {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/verify-stream.py");
    let output = Command::new("python3").arg(tool).args(files).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), said.lines().map(str::to_owned).collect())
}

#[test]
fn a_consumer_in_another_language_recomputes_counts_and_digest() {
    let dir = store(3, 20);
    damage(&dir, 2);
    let out = dir.path("out");
    let mut files = Vec::new();
    for (number, (code, command)) in [
        (1, &["check"][..]),
        (1, &["check", "--all"]),
        (3, &["check", "--max-duration", "0"]),
        (1, &["manifest"]),
        (1, &["repair", "--dry-run"]),
        (1, &["check", "--repair"]),
        (0, &["check", "--level", "content"]),
        (0, &["stats"]),
        (0, &["restore", "--tree", text(&out)]),
        (3, &["import", text(&sample())]),
        (5, &["get", "nothing"]),
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.path(&format!("stream-{number}"));
        fs::write(&path, dir.expect(code, &[&["--json"], command].concat())).unwrap();
        files.push(path);
    }
    let (code, said) = judged(&files);
    assert_eq!((code, said.len()), (0, files.len()), "{said:#?}");
    assert!(said[0].contains("complete, ") && said[0].ends_with("exit code 1"), "{said:#?}");
}

/// The script took a file of several runs for a changed one, though that is what the README says to write, and a stream that was
/// interrupted within a segment for a wrong one, as its end counted the snapshots of whole segments only.
#[test]
fn it_takes_a_file_of_runs_that_go_on_from_each_other_and_a_stream_that_was_interrupted() {
    let dir = store(3, 400);
    let (file, other) = (dir.path("several"), dir.path("interrupted"));
    let mut child = dir.command(&["--json", "check", "--all"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::with_capacity(1, child.stdout.take().unwrap());
    let mut out = Vec::new();
    stdout.read_until(b'\n', &mut out).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    stdout.read_to_end(&mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    fs::write(&other, &out).unwrap();
    // Cut within a line, gone on with and interrupted, gone on with again.
    fs::write(&file, &out[..out.len() * 2 / 3]).unwrap();
    for more in [&["--max-duration", "0"][..], &[]] {
        let args = [&["--json", "check", "--all", "--resume", text(&file)], more].concat();
        let new = dir.run(&args).stdout;
        let all = [fs::read(&file).unwrap(), new].concat();
        fs::write(&file, all).unwrap();
    }
    let (code, said) = judged(&[file.clone(), other]);
    assert_eq!(code, 0, "{said:#?}");
    assert!(said[0].contains("complete") && said[1].contains("interrupted"), "{said:#?}");
    let whole = fs::read(&file).unwrap();
    let changed = String::from_utf8_lossy(&whole).replace("\"resumed\":\"", "\"resumed\":\"0");
    fs::write(&file, changed).unwrap();
    let (code, said) = judged(&[file]);
    assert_eq!(code, 1, "{said:#?}");
}

#[test]
fn it_takes_no_stream_that_is_cut_in_its_last_two_lines_or_changed() {
    let dir = store(2, 5);
    let whole = dir.expect(0, &["--json", "check", "--all"]);
    let starts: Vec<usize> = (0..whole.len()).filter(|at| *at == 0 || whole[at - 1] == b'\n').collect();
    let mut files = Vec::new();
    let mut write = |bytes: &[u8]| {
        let path = dir.path(&format!("cut-{}", files.len()));
        fs::write(&path, bytes).unwrap();
        files.push(path);
    };
    (starts[starts.len() - 2]..whole.len()).for_each(|at| write(&whole[..at]));
    let text = String::from_utf8(whole.clone()).unwrap();
    write(text.replace("\"ok\":10", "\"ok\":11").as_bytes());
    write(text.replacen("\"state\":\"ok\"", "\"state\":\"no\"", 1).as_bytes());
    write(format!("{text}{text}").as_bytes());
    write(
        text.split_inclusive('\n').filter(|line| !line.contains("checkpoint")).collect::<String>().as_bytes(),
    );
    let (code, said) = judged(&files);
    assert_eq!((code, said.len()), (1, files.len()));
    assert!(files.len() > 400 && said.iter().all(|line| line.contains("NOT WHOLE")), "{said:#?}");
}
