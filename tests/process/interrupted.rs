//! R12: calls of the system that a signal interrupts.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::{Noise, Stdio, code_of, fs, wait_until_caught, write_file};
use crate::common::{Dir, read_tree, text};

/// Calls that the store makes, and how many of each come before the program itself runs: those of the loader.
const CALLS: [(&str, u32); 9] = [
    ("write,pwrite64", 1),
    ("pread64,read", 60),
    ("openat", 12),
    ("fdatasync,fsync", 1),
    ("getdents64", 1),
    ("statx", 1),
    ("rename,renameat,renameat2", 1),
    ("flock", 1),
    ("unlink,unlinkat", 1),
];

/// Every third call of a kind fails with EINTR, as strace makes it. It is tried again or told as a failure of the system, never
/// taken for the end of a file or for done; and with the interruptions over, the rest comes.
#[test]
#[expect(clippy::print_stdout, reason = "whether it could be shown is part of what the test shows")]
fn an_interrupted_call_is_tried_again_or_told_and_leaves_no_gap() {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !strace.is_ok_and(|status| status.success()) {
        println!("interrupted calls: there is no strace here (Debian: apt install strace)");
        return;
    }
    let dir = Dir::new();
    let source = dir.path("source");
    for number in 0..80 {
        write_file(&source, "20240101T000000Z", number, 20 << 10, &mut Noise(number));
    }
    let mut seen = 0;
    for (calls, first) in CALLS {
        let (store, log, restored) = (dir.path("store"), dir.path("calls"), dir.path("restored"));
        for used in [&store, &restored] {
            if used.exists() {
                fs::remove_dir_all(used).unwrap();
            }
        }
        let interrupted = |args: &[&str]| {
            let mut command = Command::new("strace");
            command.args(["-f", "-o", text(&log), "-e", &format!("trace={calls}")]);
            command.args(["-e", &format!("inject={calls}:error=EINTR:when={first}+3")]);
            let output = command
                .arg(env!("CARGO_BIN_EXE_store"))
                .args(["-s", text(&store)])
                .args(args)
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            let count = fs::read_to_string(&log).unwrap().matches("INJECTED").count();
            (output.status.code(), told, count)
        };
        let (code, told, count) = interrupted(&["-q", "import", text(&source)]);
        seen += count;
        match code {
            Some(0) => {}
            Some(3 | 4) => assert!(told.contains("Interrupted system call"), "{calls}: {told}"),
            other => panic!("{calls}: {other:?}, {told}"),
        }
        let plain = |args: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_store"))
                .args(["-s", text(&store)])
                .args(args)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(0), "{calls}, {args:?}: {output:?}");
        };
        plain(&["-q", "import", text(&source)]);
        plain(&["check", "--level", "content"]);
        // Who only reads says so, and changes nothing; it never calls a store damaged that is not.
        let before = read_tree(&store);
        let (code, told, count) = interrupted(&["check"]);
        seen += count;
        let is_said = told.contains("Interrupted system call");
        assert!(code == Some(0) || is_said && matches!(code, Some(1 | 4)), "{calls}: {code:?}, {told}");
        assert!(read_tree(&store) == before, "{calls}");
        plain(&["restore", "--tree", text(&restored)]);
        let data = |root: &std::path::Path| read_tree(&root.join("opencti_data"));
        assert!(data(&restored) == data(&source), "{calls}");
    }
    assert!(seen > 30, "only {seen} calls were interrupted");
    println!("interrupted calls: {seen}");
}

/// Before anything came through a pipe there is no store yet, and a signal ends the wait.
#[test]
fn a_pipe_that_says_nothing_is_waited_for_until_a_signal_comes() {
    let dir = Dir::new();
    let mut command = dir.command(&["import", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_until_caught(&child, Signal::TERM);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(code_of(&mut child), 143);
    assert!(!dir.store().exists());
}
