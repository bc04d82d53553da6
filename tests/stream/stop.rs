//! S10, S11, S12: ends that nobody planned.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{end, id, states, store, units_of};
use crate::common::{Dir, of_type, read_stream, text};

/// Tells of every object of a store that is large enough: its output does not fit into the pipe, so it stands still until
/// somebody reads.
fn stuck(dir: &Dir, more: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let args = [&["--json", "check", "--all"], more].concat();
    let mut child = dir.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::with_capacity(1, child.stdout.take().unwrap());
    (child, stdout)
}

fn said(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn s10_a_lost_output_ends_it_at_once_with_exit_4_and_the_record_is_kept() {
    let dir = store(4, 400);
    let record = dir.path("record");
    let (mut child, mut stdout) = stuck(&dir, &["--record", text(&record)]);
    let mut line = String::new();
    for _ in 0..5 {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0);
    }
    drop(stdout);
    let told = said(&mut child);
    assert_eq!(child.wait().unwrap().code(), Some(4), "{told}");
    assert!(told.contains("cannot write to standard output") && !told.contains("panic"), "{told}");
    assert!(record.exists());
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = dir.command(&["--json", "check"]).stdout(full).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("standard output") && !told.contains("no damage"), "{told}");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(dir.command(&["manifest"]).stdout(full).output().unwrap().status.code(), Some(4));
}

/// The standard library takes a write for a success that the system refuses because standard output is not open for writing: all
/// that the command had to say was gone, and the exit code was 0.
#[test]
fn s10_an_output_that_is_not_open_for_writing_is_lost_whatever_the_command() {
    let dir = store(1, 5);
    let id = id(1);
    for args in [
        &["--json", "check"][..],
        &["check"],
        &["--json", "manifest"],
        &["manifest"],
        &["--json", "repair"],
        &["get", &id],
        &["history", &id],
        &["runs"],
        &["stats"],
        &["dump", "1"],
        &["restore", "--bundles", "-"],
        &["--json", "compact"],
        &["man"],
    ] {
        let unwritable = fs::File::open("/dev/null").unwrap();
        let output = dir.command(args).stdout(unwritable).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{args:?}: {told}");
        assert!(told.contains("standard output") && !told.contains("panic"), "{args:?}: {told}");
    }
}

/// Before `main` the runtime has opened `/dev/null` where an output is closed, for reading and writing: as daemons do it for
/// themselves, and Python's `subprocess.DEVNULL` for its children, who want the exit code only. So the two cannot be told apart.
#[test]
fn s10_an_output_that_is_closed_counts_as_dev_null() {
    let dir = store(1, 5);
    let closed = |args: &[&str]| {
        let command = dir.command(args);
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(command.get_program()).args(command.get_args());
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let out = shell.stderr(Stdio::null()).status().unwrap().code();
        let null = fs::File::options().read(true).write(true).open("/dev/null").unwrap();
        assert_eq!(dir.command(args).stdout(null).stderr(Stdio::null()).status().unwrap().code(), out);
        out
    };
    assert_eq!(closed(&["--json", "check"]), Some(0));
    super::damage_at(&dir, super::middle(&dir, 1));
    assert_eq!(closed(&["--json", "check"]), Some(1));
}

#[test]
fn s11_a_signal_ends_the_stream_with_a_checkpoint_and_an_end() {
    let dir = store(6, 400);
    let whole = states(&dir.units(0, &["check", "--all"]));
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (mut child, mut stdout) = stuck(&dir, &[]);
        let mut out = Vec::new();
        stdout.read_until(b'\n', &mut out).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        stdout.read_to_end(&mut out).unwrap();
        let told = said(&mut child);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{told}");
        assert!(told.contains("--resume FILE"), "{told}");
        let units = read_stream(&out);
        let last = &units[units.len() - 2..];
        assert_eq!((&last[0]["type"], &last[1]["status"]), (&"checkpoint".into(), &"interrupted".into()));
        assert_eq!((&last[1]["exit"], &last[1]["cursor"]), (&code.into(), &last[0]["cursor"]));
        let file = dir.path("results");
        fs::write(&file, &out).unwrap();
        let rest = dir.units(0, &["check", "--all", "--resume", text(&file)]);
        assert_eq!(rest[0]["resumed"], units[0]["run"]);
        let mut both = states(&units);
        assert!(!both.is_empty() && both.len() < whole.len(), "{}", both.len());
        both.extend(states(&rest));
        assert_eq!(both, whole);
    }
}

/// The next number of a sequence that looks random.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn s12_killed_at_twenty_places_and_gone_on_with_it_tells_what_one_run_tells() {
    let dir = store(8, 300);
    let whole = states(&dir.units(0, &["check", "--all"]));
    let file = dir.path("results");
    fs::write(&file, "").unwrap();
    // How many in all, and how many since a run last came to its end.
    let (mut seed, mut kills, mut in_a_row) = (1, 0, 0);
    while kills < 20 || in_a_row < 2 {
        let resume =
            if fs::read(&file).unwrap().contains(&b'\n') { vec!["--resume", text(&file)] } else { vec![] };
        let (mut child, mut stdout) = stuck(&dir, &resume);
        let mut taken = vec![0; usize::try_from(next(&mut seed) % 120_000).unwrap()];
        // Where less is left than that, the run came to its end.
        let got = stdout.read_exact(&mut taken).is_ok();
        child.kill().unwrap();
        if got {
            stdout.read_to_end(&mut taken).unwrap();
            fs::File::options().append(true).open(&file).unwrap().write_all(&taken).unwrap();
            (kills, in_a_row) = (kills + 1, in_a_row + 1);
        } else {
            fs::write(&file, "").unwrap();
            in_a_row = 0;
        }
        child.wait().unwrap();
    }
    let rest = dir.run(&["--json", "check", "--all", "--resume", text(&file)]);
    assert_eq!(rest.status.code(), Some(0), "{}", String::from_utf8_lossy(&rest.stderr));
    let all = [fs::read(&file).unwrap(), rest.stdout].concat();
    let units = units_of(&all);
    assert!(of_type(&units, "begin").len() > 2, "several runs in one file");
    assert_eq!(states(&units), whole);
    assert_eq!(end(&units)["status"], "complete");
}

#[test]
fn s18_a_slow_reader_costs_no_memory_and_stops_no_writer() {
    let dir = store(8, 400);
    let (child, mut stdout) = stuck(&dir, &[]);
    let status = || fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let resident = || -> u64 {
        let status = status();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let before = resident();
    // It stands still now. A writer does not.
    let one = dir.path("one");
    fs::write(&one, format!("{{\"objects\": [{{\"id\": \"{}\"}}]}}", id(999_999))).unwrap();
    dir.expect(0, &["put", &id(999_999), "--run", "20240102T000000Z", text(&one)]);
    let mut count = 0;
    while count < 1000 {
        line.clear();
        stdout.read_line(&mut line).unwrap();
        count += 1;
    }
    let after = resident();
    assert!(after < before + 8192, "{before} kB before, {after} kB after");
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    let mut child = child;
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The largest part of address space and of stack that the program may have is small: a list of what the store has would not
/// fit.
#[test]
fn s17_results_of_any_length_are_read_back_in_little_memory() {
    let dir = store(2, 30);
    super::damage(&dir, 1);
    let whole = dir.expect(1, &["--json", "check", "--all"]);
    // As many runs in one file as make 60 MB.
    let file = dir.path("results");
    let mut out = fs::File::create(&file).unwrap();
    let many = whole.repeat((1 << 20) / whole.len());
    (0..60).for_each(|_| out.write_all(&many).unwrap());
    for args in [&["check", "--all", "--resume"][..], &["repair", "--dry-run", "--from"]] {
        let peak = peak_kb(dir.command(&[args, &[text(&file)]].concat()));
        assert!(peak < 40 << 10, "{args:?}: {peak} kB");
    }
}

/// Runs a command to its end; returns its largest resident memory, in kB.
fn peak_kb(mut command: Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        peak = peak.max(line.split_whitespace().next().unwrap().parse().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(child.wait().unwrap().code(), Some(1));
    peak
}
