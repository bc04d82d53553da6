//! Media that cannot be written, and files that may not be read or written.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use super::{Stdio, fs, in_namespace, said, write_file};
use crate::common::{Dir, text};
use crate::crash::fates::Noise;

/// A user that is not root; on Debian `nobody`.
const OTHER: &str = "65534";

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A store of two runs, and the tree it is from.
fn store(dir: &Dir) -> String {
    let source = dir.path("source");
    let (_, id) = write_file(&source, "20240101T000000Z", 1, 500, &mut Noise(1));
    write_file(&source, "20240102T000000Z", 1, 500, &mut Noise(2));
    dir.expect(0, &["import", text(&source)]);
    id
}

#[test]
#[expect(clippy::print_stdout, reason = "what was tested depends on the system")]
fn on_a_read_only_medium_everything_that_reads_works_and_writers_say_why_not() {
    let dir = Dir::new();
    let id = store(&dir);
    // With and without an index, and with a tail behind it: none of it may need a write.
    let script = r#"
        mount --bind store store
        mount -o remount,bind,ro store
        run() { name=$1; shift; "$STORE" -s store "$@" > "$name.out" 2> "$name.err" && code=0 || code=$?; echo $code > "$name.code"; }
        run get get "$ID"
        run history history "$ID"
        run runs runs
        run check check --level content
        run stats stats
        run manifest --json restore --plan
        run restore restore --tree out
        run import import source
        run put put "$ID" --run 20240103T000000Z source/opencti_data/20240101T000000Z/$ID.json
        run delete delete "$ID"
        run compact compact
    "#;
    for has_index in [true, false] {
        if !has_index {
            let index = fs::read_dir(dir.store()).unwrap().map(|entry| entry.unwrap().path());
            let is_index = |path: &std::path::PathBuf| text(path).contains("/index.");
            index.filter(is_index).for_each(|path| fs::remove_file(path).unwrap());
        }
        if in_namespace(&dir, script, &[("ID", Path::new(&id))]).is_none() {
            println!("read-only medium: no namespaces here, SKIPPED");
            return;
        }
        for name in ["get", "history", "runs", "check", "stats", "manifest", "restore"] {
            let (code, out, err) = said(&dir, name);
            assert_eq!(code, 0, "{name}, index {has_index}: {err}");
            assert!(!out.is_empty() || name == "restore", "{name}");
        }
        for name in ["import", "put", "delete", "compact"] {
            let (code, _, err) = said(&dir, name);
            assert_eq!(code, 4, "{name}, index {has_index}: {err}");
            assert!(err.contains("Read-only file system") && err.contains("store/"), "{name}: {err}");
        }
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
}

/// Runs the command as somebody who is not root.
fn as_other(dir: &Dir, args: &[&str]) -> Output {
    if !rustix::process::geteuid().is_root() {
        return dir.run(args);
    }
    // The build may lie where nobody else may go.
    let program = dir.path("program");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_store"), &program).unwrap();
    }
    let mut command = Command::new("setpriv");
    let (user, group) = (format!("--reuid={OTHER}"), format!("--regid={OTHER}"));
    command.args([&user, &group, "--clear-groups"]).arg(program).args(args);
    command.env("STORE_PATH", dir.store()).env_remove("BACKUP_PATH").current_dir(dir.path(""));
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn what_may_not_be_read_or_written_is_named() {
    let dir = Dir::new();
    let id = store(&dir);
    let is_other = rustix::process::geteuid().is_root();
    mode(&dir.path(""), 0o755);
    let data = dir.store().join("data");
    let segment = data.join("0000000001.seg");
    let lock = dir.store().join("lock");
    let config = dir.store().join("config");
    let refused = |args: &[&str], path: &Path| {
        let output = as_other(&dir, args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{args:?}: {told}");
        assert!(told.contains("Permission denied") && told.contains(text(path)), "{args:?}: {told}");
    };
    // S8: one segment that cannot be read does not end a check, which names it as what is wrong.
    let found = |path: &Path| {
        let output = as_other(&dir, &["check"]);
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(told.contains("Permission denied") && told.contains(name), "{told}");
    };
    let get = ["get", id.as_str()];
    assert_eq!(as_other(&dir, &get).status.code(), Some(0), "all may read it yet");
    for (path, closed, open) in [(&segment, 0o000, 0o644), (&config, 0o000, 0o644), (&data, 0o000, 0o755)] {
        mode(path, closed);
        refused(&get, path);
        if path == &segment {
            found(path);
        } else {
            refused(&["check"], path);
        }
        mode(path, open);
    }
    // Whose it is not may not write: of the files of the store the lock is the first to be written.
    mode(&lock, 0o444);
    refused(&["import", "source"], &lock);
    refused(&["compact"], &lock);
    if is_other {
        mode(&lock, 0o666);
        mode(&dir.store().join("readers"), 0o666);
        let file = format!("source/opencti_data/20240101T000000Z/{id}.json");
        refused(&["put", &id, "--run", "20240103T000000Z", &file], &data);
    }
    mode(&lock, 0o644);
    // A source file that may not be read is one bad file: it is named, and the rest goes on.
    let file = dir.path("source/opencti_data/20240101T000000Z").join(format!("{id}.json"));
    mode(&file, 0o000);
    let other = dir.path("other");
    fs::create_dir(&other).unwrap();
    mode(&other, 0o777);
    let output = as_other(&dir, &["-s", "other/store", "import", "source"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains(&id) && told.contains("Permission denied"), "{told}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("added 1,"), "{told}");
    dir.expect(0, &["check"]);
}
