//! Two writers, and signals: while waiting for the lock, and one after the other.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use super::{Instant, Pid, wait_until_caught, write_file};
use super::{SOON, Stuck, code_of, fs, kill_process, tree_of_many};
use crate::common::{Dir, STORE_ID, text};
use crate::crash::fates::Noise;

#[test]
fn the_second_of_two_writers_is_told_who_the_first_one_is_and_gets_its_turn_if_it_waits() {
    let dir = Dir::new();
    let (many, one) = (dir.path("many"), dir.path("one"));
    let count = tree_of_many(&many);
    write_file(&one, "20240102T000000Z", 1, 100, &mut Noise(1));
    let first = Stuck::import(&dir, &many);
    for args in [&["import", text(&one)][..], &["compact"], &["delete", "x"]] {
        let refused = dir.run(args);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(11), "{args:?}: {told}");
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let year = jiff_year(&told);
        let pid = format!("pid {} on {}", first.child.id(), host.trim());
        assert!(told.contains(&pid) && told.contains(" import ") && year, "{told}");
    }
    let args = ["--json", "--lock-wait", "60", "import", text(&one)];
    let mut waiting = dir.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(waiting.try_wait().unwrap(), None, "it waits");
    assert_eq!(first.release(), 0);
    assert_eq!(code_of(&mut waiting), 0);
    dir.expect(0, &["check"]);
    let view = super::view(&dir.store()).unwrap();
    assert_eq!(usize::try_from(view.len()), Ok(count + 1));
}

/// Whether a message says since when.
fn jiff_year(told: &str) -> bool {
    let since = told.split(" since ").nth(1).unwrap_or_default();
    since.len() > 19 && since.starts_with("20") && since[..19].contains('T')
}

#[test]
fn a_signal_ends_the_waiting_for_the_lock() {
    // The flag that signals raise was looked at by the work, which had not begun: who waited for the lock with
    // `--lock-wait 600` could be ended by a second signal only.
    let dir = Dir::new();
    let (many, one) = (dir.path("many"), dir.path("one"));
    tree_of_many(&many);
    write_file(&one, "20240102T000000Z", 1, 100, &mut Noise(1));
    let first = Stuck::import(&dir, &many);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for command in [&["import", text(&one)][..], &["compact"]] {
            let args = [&["--json", "--lock-wait", "600"], command].concat();
            let mut waiting =
                dir.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let mut stdout = waiting.stdout.take().unwrap();
            wait_until_caught(&waiting, signal);
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(waiting.try_wait().unwrap(), None, "it waits");
            kill_process(Pid::from_child(&waiting), signal).unwrap();
            let sent = Instant::now();
            assert_eq!(code_of(&mut waiting), code, "{command:?}");
            assert!(sent.elapsed() < SOON / 4, "{command:?}: {:?}", sent.elapsed());
            let mut rest = String::new();
            std::io::Read::read_to_string(&mut stdout, &mut rest).unwrap();
            assert!(rest.contains("\"status\":\"interrupted\""), "{rest}");
        }
    }
    assert_eq!(first.release(), 0);
}

#[test]
fn the_second_signal_ends_at_once_and_loses_nothing_acknowledged() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let dir = Dir::new();
        let source = dir.path("source");
        let count = tree_of_many(&source);
        let mut first = Stuck::import(&dir, &source);
        first.signal(signal);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(first.child.try_wait().unwrap(), None, "the first one waits for a safe place");
        first.signal(signal);
        assert_eq!(code_of(&mut first.child), code);
        // All of them were committed before the first was reported.
        dir.expect(0, &["check", "--level", "content"]);
        let again = dir.units(0, &["import", text(&source), "--store-id", STORE_ID]);
        assert_eq!(crate::common::files(&again, "unchanged").len(), count);
    }
}

#[test]
fn the_first_signal_ends_an_import_at_a_safe_place() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let dir = Dir::new();
        let source = dir.path("source");
        let count = tree_of_many(&source);
        let first = Stuck::import(&dir, &source);
        first.signal(signal);
        // All is committed and only the reports are left, so it may also find itself done.
        let ended = first.release();
        assert!(ended == code || ended == 0, "{ended}");
        dir.expect(0, &["check", "--level", "content"]);
        let again = dir.units(0, &["import", text(&source), "--store-id", STORE_ID]);
        assert_eq!(crate::common::files(&again, "unchanged").len(), count);
    }
}
