//! One suite of tests for every file system. Each test gets an empty root.

use std::sync::Arc;

use super::disk::Disk;
use super::draft::Draft;
use super::fault::Fault;
use super::mem::Mem;
use super::*;
use crate::error::Damage;

macro_rules! conformance {
    ($($name:ident)*) => {
        mod disk {
            $(#[test]
            fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(&super::share(super::Disk::new(dir.path())));
            })*
        }
        mod mem {
            $(#[test]
            fn $name() {
                super::$name(&super::share(super::Mem::new()));
            })*
        }
        mod draft {
            $(#[test]
            fn $name() {
                super::$name(&super::share(super::Draft::new(std::sync::Arc::new(super::Mem::new()))));
            })*
        }
        mod fault {
            $(#[test]
            fn $name() {
                super::$name(&super::share(super::Fault::new(super::share(super::Mem::new()), None)));
            })*
        }
    };
}

fn share(vfs: impl Vfs + 'static) -> Arc<dyn Vfs> {
    Arc::new(vfs)
}

conformance! {
    what_is_absent_is_none_and_no_error
    paths_that_could_lead_out_of_the_root_are_refused
    appended_bytes_are_read_back_at_any_offset
    creating_what_exists_is_refused
    renaming_replaces_the_target
    removing_takes_files_only
    an_open_file_survives_its_removal_and_its_replacement
    lists_are_sorted_and_tell_kinds
    creating_a_directory_twice_is_no_error
    a_map_is_a_prefix_of_the_file
    an_exclusive_lock_excludes_all_others_and_names_its_holder
    shared_locks_exclude_only_an_exclusive_one
    publishing_replaces_a_file_and_a_leftover
    a_file_of_another_can_be_synced_and_an_absent_one_can_not
    reading_a_whole_file_is_bounded
    threads_read_one_file_at_once
    a_reading_half_shows_the_same_files
    what_has_no_name_is_read_back_and_leaves_nothing
}

fn write(vfs: &dyn Vfs, path: &str, bytes: &[u8]) {
    let mut file = vfs.create_new(path).unwrap();
    file.append(bytes).unwrap();
    file.flush_hint();
    file.sync().unwrap();
}

fn content(vfs: &dyn Vfs, path: &str) -> Option<Vec<u8>> {
    vfs.read(path, 1 << 20).unwrap()
}

fn a_file_of_another_can_be_synced_and_an_absent_one_can_not(vfs: &Arc<dyn Vfs>) {
    write(&**vfs, "a", b"x");
    vfs.sync_file("a").unwrap();
    assert_eq!(content(&**vfs, "a").unwrap(), b"x");
    assert!(matches!(vfs.sync_file("b"), Err(Error::Io { op: "sync", .. })));
    assert!(matches!(vfs.sync_file("../a"), Err(Error::BadInput { .. })));
}

fn what_is_absent_is_none_and_no_error(vfs: &Arc<dyn Vfs>) {
    assert!(vfs.open("a").unwrap().is_none());
    assert!(vfs.open("a/b/c").unwrap().is_none());
    assert!(vfs.list("a").unwrap().is_none());
    assert_eq!(vfs.list("").unwrap(), Some(Vec::new()));
    assert!(vfs.lock_shared("a").unwrap().is_none());
    assert!(vfs.read("a", 1).unwrap().is_none());
    vfs.remove("a").unwrap();
    vfs.remove("a/b").unwrap();
    // A directory is no file, and a file no directory.
    vfs.create_dir("d").unwrap();
    assert!(vfs.open("d").unwrap().is_none());
    write(&**vfs, "f", b"");
    assert!(vfs.list("f").unwrap().is_none());
    assert!(vfs.open("f/g").unwrap().is_none());
    for result in [
        vfs.create_new("absent/f").map(drop),
        vfs.create_new("f/g").map(drop),
        vfs.rename("absent", "f"),
        vfs.rename("f", "absent/f"),
        vfs.create_dir("absent/d"),
        vfs.sync_dir("absent"),
        vfs.lock_exclusive("absent/lock", "me").map(drop),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if path.starts_with(vfs.root())), "{error}");
    }
}

fn paths_that_could_lead_out_of_the_root_are_refused(vfs: &Arc<dyn Vfs>) {
    for path in ["/etc/passwd", "..", "../a", "a/../../b", "a/..", ".", "./a", "a//b", "a/", "/", "a\0b"] {
        for result in [
            vfs.list(path).map(drop),
            vfs.open(path).map(drop),
            vfs.read(path, 1).map(drop),
            vfs.lock_shared(path).map(drop),
            vfs.create_new(path).map(drop),
            vfs.rename(path, "b"),
            vfs.rename("b", path),
            vfs.remove(path),
            vfs.create_dir(path),
            vfs.sync_dir(path),
            vfs.lock_exclusive(path, "me").map(drop),
        ] {
            assert!(matches!(result, Err(Error::BadInput { .. })), "{path:?}");
        }
    }
    for result in [vfs.open("").map(drop), vfs.create_new("").map(drop), vfs.remove(""), vfs.rename("", "b")]
    {
        assert!(matches!(result, Err(Error::BadInput { .. })));
    }
}

fn appended_bytes_are_read_back_at_any_offset(vfs: &Arc<dyn Vfs>) {
    let mut file = vfs.create_new("a").unwrap();
    let reader = vfs.open("a").unwrap().unwrap();
    assert!(reader.is_empty().unwrap());
    file.append(b"01234").unwrap();
    file.append(b"").unwrap();
    file.append(b"56789").unwrap();
    // What was appended is visible before it is durable.
    assert_eq!(reader.len().unwrap(), 10);
    let mut buffer = [0u8; 4];
    for (offset, expect) in
        [(0, &b"0123"[..]), (3, b"3456"), (8, b"89"), (10, b""), (99, b""), (u64::MAX, b"")]
    {
        let got = reader.read_at(&mut buffer, offset).unwrap();
        assert_eq!(&buffer[..got], expect, "at {offset}");
    }
    assert_eq!(reader.read_at(&mut [], 0).unwrap(), 0);
    assert_eq!(content(&**vfs, "a").unwrap(), b"0123456789");
}

fn creating_what_exists_is_refused(vfs: &Arc<dyn Vfs>) {
    write(&**vfs, "a", b"old");
    vfs.create_dir("d").unwrap();
    assert!(matches!(vfs.create_new("a"), Err(Error::Exists { .. })));
    assert!(matches!(vfs.create_new("d"), Err(Error::Exists { .. })));
    assert!(matches!(vfs.create_dir("a"), Err(Error::Exists { .. })));
    assert_eq!(content(&**vfs, "a").unwrap(), b"old");
}

fn renaming_replaces_the_target(vfs: &Arc<dyn Vfs>) {
    vfs.create_dir("d").unwrap();
    vfs.create_dir("e").unwrap();
    write(&**vfs, "a", b"new");
    write(&**vfs, "d/b", b"old");
    vfs.rename("a", "d/b").unwrap();
    vfs.rename("d/b", "d/b").unwrap();
    assert_eq!(content(&**vfs, "a"), None);
    assert_eq!(content(&**vfs, "d/b").unwrap(), b"new");
    vfs.rename("d/b", "e").unwrap_err();
    vfs.rename("d", "d/inside").unwrap_err();
    vfs.rename("d", "moved").unwrap();
    assert_eq!(content(&**vfs, "moved/b").unwrap(), b"new");
}

fn removing_takes_files_only(vfs: &Arc<dyn Vfs>) {
    vfs.create_dir("d").unwrap();
    write(&**vfs, "d/a", b"1");
    vfs.remove("d/a").unwrap();
    vfs.remove("d/a").unwrap();
    assert_eq!(content(&**vfs, "d/a"), None);
    assert!(matches!(vfs.remove("d"), Err(Error::Io { .. })));
    assert!(vfs.list("d").unwrap().is_some());
}

fn an_open_file_survives_its_removal_and_its_replacement(vfs: &Arc<dyn Vfs>) {
    write(&**vfs, "a", b"old");
    write(&**vfs, "b", b"new");
    let (old, map) = (vfs.open("a").unwrap().unwrap(), vfs.open("a").unwrap().unwrap().map(3).unwrap());
    vfs.rename("b", "a").unwrap();
    let new = vfs.open("a").unwrap().unwrap();
    vfs.remove("a").unwrap();
    let mut buffer = [0u8; 3];
    assert_eq!(old.read_at(&mut buffer, 0).unwrap(), 3);
    assert_eq!((&buffer, &map[..]), (b"old", &b"old"[..]));
    assert_eq!(new.read_at(&mut buffer, 0).unwrap(), 3);
    assert_eq!(&buffer, b"new");
}

fn lists_are_sorted_and_tell_kinds(vfs: &Arc<dyn Vfs>) {
    for name in ["b", "a", "c.seg", "B"] {
        write(&**vfs, name, b"");
    }
    vfs.create_dir("aa").unwrap();
    write(&**vfs, "aa/x", b"");
    let list = vfs.list("").unwrap().unwrap();
    let names: Vec<(&str, Kind)> = list.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
    assert_eq!(
        names,
        [
            ("B", Kind::File),
            ("a", Kind::File),
            ("aa", Kind::Directory),
            ("b", Kind::File),
            ("c.seg", Kind::File)
        ]
    );
    assert_eq!(vfs.list("aa").unwrap().unwrap().len(), 1);
}

fn creating_a_directory_twice_is_no_error(vfs: &Arc<dyn Vfs>) {
    vfs.create_dir("").unwrap();
    vfs.create_dir("d").unwrap();
    vfs.create_dir("d").unwrap();
    vfs.create_dir("d/e").unwrap();
    vfs.sync_dir("d").unwrap();
    vfs.sync_dir("").unwrap();
    assert_eq!(vfs.list("d/e").unwrap(), Some(Vec::new()));
}

fn a_map_is_a_prefix_of_the_file(vfs: &Arc<dyn Vfs>) {
    write(&**vfs, "d", b"0123456789");
    write(&**vfs, "empty", b"");
    let file = vfs.open("d").unwrap().unwrap();
    assert_eq!(&file.map(10).unwrap()[..], b"0123456789");
    assert_eq!(file.map(4).unwrap().as_ref(), b"0123");
    assert!(file.map(0).unwrap().is_empty());
    assert!(vfs.open("empty").unwrap().unwrap().map(0).unwrap().is_empty());
    for len in [11, 1 << 40, u64::MAX] {
        let Err(Error::Damaged { place, damage }) = file.map(len) else { panic!("{len}") };
        assert_eq!((place.file.as_str(), place.offset), ("d", None));
        assert_eq!(damage, Damage::Truncated { expect: len, actual: 10 });
    }
}

fn holder(result: Result<impl Sized>) -> String {
    match result {
        Err(Error::Locked { holder, .. }) => holder,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("not locked"),
    }
}

fn an_exclusive_lock_excludes_all_others_and_names_its_holder(vfs: &Arc<dyn Vfs>) {
    let lock = vfs.lock_exclusive("lock", "pid 7 on host: import\n").unwrap();
    assert_eq!(holder(vfs.lock_exclusive("lock", "me")), "pid 7 on host: import");
    assert_eq!(holder(vfs.lock_shared("lock")), "pid 7 on host: import");
    let other = vfs.lock_exclusive("other", "").unwrap();
    assert_eq!(holder(vfs.lock_exclusive("other", "me")), "another process");
    drop(other);
    drop(lock);
    // A shorter note leaves nothing of the longer one before it.
    let lock = vfs.lock_exclusive("lock", "pid 8").unwrap();
    assert_eq!(holder(vfs.lock_shared("lock")), "pid 8");
    drop(lock);
}

fn shared_locks_exclude_only_an_exclusive_one(vfs: &Arc<dyn Vfs>) {
    drop(vfs.lock_exclusive("readers", "creator").unwrap());
    let one = vfs.lock_shared("readers").unwrap().unwrap();
    let two = vfs.lock_shared("readers").unwrap().unwrap();
    drop(one);
    // The one who created the file is gone: its note must not name it.
    assert_eq!(holder(vfs.lock_exclusive("readers", "me")), "another process");
    drop(two);
    drop(vfs.lock_exclusive("readers", "me").unwrap());
}

fn publishing_replaces_a_file_and_a_leftover(vfs: &Arc<dyn Vfs>) {
    vfs.create_dir("d").unwrap();
    for (dir, path) in [("", "config"), ("d", "d/config")] {
        publish(&**vfs, dir, "tmp", "config", b"one").unwrap();
        write(&**vfs, &join(dir, "tmp"), b"the rest of a crash");
        publish(&**vfs, dir, "tmp", "config", b"two").unwrap();
        assert_eq!(content(&**vfs, path).unwrap(), b"two");
        assert_eq!(content(&**vfs, &join(dir, "tmp")), None);
    }
}

fn reading_a_whole_file_is_bounded(vfs: &Arc<dyn Vfs>) {
    write(&**vfs, "a", b"0123456789");
    assert_eq!(vfs.read("a", 10).unwrap().unwrap(), b"0123456789");
    assert!(matches!(vfs.read("a", 9), Err(Error::TooLarge { len: 10, max: 9, .. })));
}

fn threads_read_one_file_at_once(vfs: &Arc<dyn Vfs>) {
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
    write(&**vfs, "a", &bytes);
    let file = vfs.open("a").unwrap().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut buffer = [0u8; 100];
                for (chunk, offset) in bytes.chunks(100).zip((0u64..).step_by(100)) {
                    let got = file.read_at(&mut buffer, offset).unwrap();
                    assert_eq!(&buffer[..got], chunk);
                }
            });
        }
    });
}

fn a_reading_half_shows_the_same_files(vfs: &Arc<dyn Vfs>) {
    let read = Arc::clone(vfs).as_read();
    write(&**vfs, "a", b"1");
    assert_eq!(read.read("a", 10).unwrap().unwrap(), b"1");
    assert_eq!(read.root(), vfs.root());
}

fn what_has_no_name_is_read_back_and_leaves_nothing(vfs: &Arc<dyn Vfs>) {
    write(&**vfs, "a", b"x");
    let (mut one, mut other) = (vfs.scratch().unwrap(), vfs.scratch().unwrap());
    for _ in 0..1000 {
        one.append(&[1; 100]).unwrap();
        other.append(b"2").unwrap();
    }
    let (one, other) = (one.into_map().unwrap(), other.into_map().unwrap());
    assert!(one.len() == 100_000 && one.iter().all(|byte| *byte == 1) && *other == [b'2'; 1000]);
    assert!(vfs.scratch().unwrap().into_map().unwrap().is_empty());
    assert_eq!(vfs.list("").unwrap().unwrap().len(), 1);
}
