use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::*;
use crate::vfs::publish;

#[expect(clippy::disallowed_methods, reason = "a test looks behind the file system")]
fn raw_write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a test looks behind the file system")]
fn raw_read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn errors_name_the_operation_and_the_whole_path() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    let error = disk.rename("a/b", "c").unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot rename {}", dir.path().join("a/b").display())), "{error}");
    let error = disk.sync_dir("x").unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot sync directory {}", dir.path().join("x").display())),
        "{error}"
    );
}

#[test]
fn a_root_that_does_not_exist_is_created_by_its_empty_name() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path().join("store"));
    assert!(disk.list("").unwrap().is_none());
    assert!(disk.open("config").unwrap().is_none());
    disk.create_dir("").unwrap();
    publish(&disk, "", "tmp", "config", b"x").unwrap();
    assert_eq!(raw_read(&dir.path().join("store/config")), b"x");
    let nested = Disk::new(dir.path().join("absent/store"));
    assert!(matches!(nested.create_dir(""), Err(Error::Io { op: "create directory", .. })));
    let blocked = Disk::new(dir.path().join("store/config"));
    assert!(matches!(blocked.create_dir(""), Err(Error::Exists { .. })));
}

#[test]
fn a_failed_write_poisons_the_file() {
    // A device that is always full stands in for a full disk.
    let path = PathBuf::from("/dev/full");
    let Ok(file) = open_with(OpenOptions::new().write(true), &path) else { return };
    let mut file = DiskFile { file, path, len: 0, hinted: 0, poisoned: None };
    let error = file.append(b"x").unwrap_err();
    assert!(matches!(error, Error::Io { op: "write", .. }), "{error}");
    assert!(matches!(file.append(b"x"), Err(Error::Poisoned { .. })));
    let Err(Error::Poisoned { reason }) = file.sync() else { panic!("the sync was tried") };
    assert!(reason.contains("/dev/full"), "{reason}");
}

#[test]
fn a_failed_sync_poisons_the_file() {
    // A pipe cannot be synced.
    let (_reader, writer) = io::pipe().unwrap();
    let file = fs::File::from(std::os::fd::OwnedFd::from(writer));
    let mut file = DiskFile { file, path: "pipe".into(), len: 0, hinted: 0, poisoned: None };
    file.append(b"x").unwrap();
    assert!(matches!(file.sync(), Err(Error::Io { op: "sync", .. })));
    assert!(matches!(file.sync(), Err(Error::Poisoned { .. })));
    assert!(matches!(file.append(b"x"), Err(Error::Poisoned { .. })));
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0000000001.seg");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let disk = Disk::new(dir.path());
    assert!(matches!(disk.open("0000000001.seg"), Err(Error::BadInput { .. })));
    assert_eq!(disk.list("").unwrap().unwrap()[0].kind, Kind::Other);
}

#[test]
fn links_are_listed_as_links_and_opened_as_what_they_name() {
    let dir = tempfile::tempdir().unwrap();
    raw_write(&dir.path().join("real"), b"content");
    std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
    std::os::unix::fs::symlink("gone", dir.path().join("broken")).unwrap();
    let disk = Disk::new(dir.path());
    let kinds: Vec<Kind> = disk.list("").unwrap().unwrap().iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Other, Kind::Other, Kind::File]);
    assert_eq!(disk.read("link", 100).unwrap().unwrap(), b"content");
    assert!(disk.open("broken").unwrap().is_none());
    // Creating never writes through a link.
    assert!(matches!(disk.create_new("broken"), Err(Error::Exists { .. })));
}

#[test]
fn names_that_are_not_utf_8_are_listed_lossily() {
    let dir = tempfile::tempdir().unwrap();
    raw_write(&dir.path().join(OsStr::from_bytes(b"a\xff")), b"");
    let list = Disk::new(dir.path()).list("").unwrap().unwrap();
    assert_eq!(list[0].name, "a\u{fffd}");
}

#[test]
fn the_note_is_in_the_lock_file_while_it_is_held_and_not_after() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    raw_write(&dir.path().join("lock"), b"a killed process left a long note here");
    let lock = disk.lock_exclusive("lock", "pid 7").unwrap();
    assert_eq!(raw_read(&dir.path().join("lock")), b"pid 7");
    drop(lock);
    assert_eq!(raw_read(&dir.path().join("lock")), b"");
}

#[test]
fn holders_notes_are_shortened_and_stripped_of_control_characters() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    let _lock = disk.lock_exclusive("lock", &format!("\u{1b}[31m{}", "x".repeat(5000))).unwrap();
    let Err(Error::Locked { path, holder }) = disk.lock_shared("lock") else { panic!("not locked") };
    assert_eq!(path, dir.path());
    assert!(holder.len() < 1024 && holder.starts_with("[31mxxx"), "{holder}");
}

#[test]
fn a_lock_is_free_when_its_holder_is_dropped_though_a_child_has_the_file_open() {
    // A store was created, and a writer of it asked for at once: `Locked`, where another thread started a program at that
    // moment. Between fork and exec a child holds all locks of its parent; a second descriptor of the file does so too.
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    raw_write(&dir.path().join("lock"), b"");
    let open = || open_with(OpenOptions::new().read(true).write(true), &dir.path().join("lock")).unwrap();
    let file = open();
    file.try_lock().unwrap();
    let of_child = file.try_clone().unwrap();
    drop(ExclusiveLock { file });
    drop(disk.lock_exclusive("lock", "another").unwrap());
    let file = open();
    file.try_lock_shared().unwrap();
    let of_another = file.try_clone().unwrap();
    drop(SharedLock { file });
    drop(disk.lock_exclusive("lock", "another").unwrap());
    drop((of_child, of_another));
}
