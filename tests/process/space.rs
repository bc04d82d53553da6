//! No space: a file system that is full, and files that may not grow.

use std::process::Command;

use super::{Files, Stdio, acknowledged, assert_has, fs, in_namespace, said, tree_of_much};
use crate::common::{Dir, text};

#[test]
#[expect(clippy::print_stdout, reason = "which of the two it was is part of what the test shows")]
fn on_a_full_file_system_what_was_acknowledged_stays_and_with_space_the_rest_comes() {
    let dir = Dir::new();
    let (source, mount) = (dir.path("source"), dir.path("mount"));
    tree_of_much(&source);
    fs::create_dir(&mount).unwrap();
    // Space for one of the transactions; and the store is looked at while there is none at all.
    let script = r#"
        mount -t tmpfs -o size=20m tmpfs "$MOUNT"
        run() { name=$1; shift; "$STORE" -s "$MOUNT/store" "$@" > "$name.out" 2> "$name.err" && code=0 || code=$?; echo $code > "$name.code"; }
        run import --json import "$SOURCE"
        head -c 20m /dev/zero > "$MOUNT/filler" 2> /dev/null || true
        run check check
        run runs runs
        run full --json import "$SOURCE"
        run compact compact
        rm "$MOUNT/filler"
        cp -a "$MOUNT/store" store
        mount -o remount,size=200m "$MOUNT"
        run again --json import "$SOURCE"
        run recheck check --level content
        cp -a "$MOUNT/store" whole
    "#;
    if in_namespace(&dir, script, &[("SOURCE", &source), ("MOUNT", &mount)]).is_none() {
        println!("no space: no namespaces here, so only a limit of the file size (the test beside this one)");
        return;
    }
    println!("no space: a tmpfs of 20 MiB was full");
    let (code, out, err) = said(&dir, "import");
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("No space left on device"), "{err}");
    let acked = acknowledged(&out, &source);
    assert!((1..28).contains(&acked.len()), "{} of 28 were acknowledged", acked.len());
    for name in ["check", "runs"] {
        assert_eq!(said(&dir, name).0, 0, "{name}: {}", said(&dir, name).2);
    }
    // What needs no space goes on working; what does says what is wrong.
    let (code, out, err) = said(&dir, "full");
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("No space left on device"), "{err}");
    assert!(acknowledged(&out, &source).keys().all(|file| acked.contains_key(file)), "{err}");
    assert_has(&dir.store(), &acked, &Files::new());
    for name in ["again", "recheck"] {
        assert_eq!(said(&dir, name).0, 0, "{name}: {}", said(&dir, name).2);
    }
    let all = acknowledged(&said(&dir, "again").1, &source);
    assert_eq!(all.len(), 28);
    assert_has(&dir.path("whole"), &all, &Files::new());
}

#[test]
fn where_files_may_not_grow_what_was_acknowledged_stays_and_the_rest_comes_later() {
    let dir = Dir::new();
    let source = dir.path("source");
    tree_of_much(&source);
    // 12 MiB: a segment holds the first transaction and not the second. Ignored, the signal becomes an error.
    let script = r#"trap "" XFSZ; ulimit -f 12288; exec "$@""#;
    let mut limited = Command::new("bash");
    limited.args(["-c", script, "bash", env!("CARGO_BIN_EXE_store"), "-s", text(&dir.store())]);
    limited.args(["--json", "import", text(&source)]).env_remove("BACKUP_PATH").stdin(Stdio::null());
    let output = limited.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("data/") && told.contains("File too large"), "{told}");
    let acked = acknowledged(&output.stdout, &source);
    assert!((1..28).contains(&acked.len()), "{} of 28 were acknowledged", acked.len());
    assert_has(&dir.store(), &acked, &Files::new());
    dir.expect(0, &["check"]);
    let all = acknowledged(&dir.expect(0, &["--json", "import", text(&source)]), &source);
    assert_eq!(all.len(), 28);
    assert_has(&dir.store(), &all, &Files::new());
    dir.expect(0, &["check", "--level", "content"]);
}
