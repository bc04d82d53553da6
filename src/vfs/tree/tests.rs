use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, mkfifoat};

use super::*;

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

#[expect(clippy::disallowed_methods, reason = "a test looks behind the module")]
fn raw_write(path: PathBuf, bytes: impl AsRef<[u8]>) {
    fs::write(path, bytes).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a test looks behind the module")]
fn raw_read(path: PathBuf) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test looks behind the module")]
fn raw_names(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[expect(clippy::disallowed_methods, reason = "a test looks behind the module")]
fn raw_stat(path: PathBuf) -> fs::Metadata {
    fs::symlink_metadata(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test looks behind the module")]
fn raw_mkdir(path: PathBuf) {
    fs::create_dir(path).unwrap();
}

fn fifo(path: &Path) {
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

#[test]
fn listing_sorts_by_bytes_and_sees_through_links() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    raw_write(at("b.json"), b"{}");
    raw_write(at("B.json"), b"{}");
    raw_mkdir(at("x.json"));
    symlink("b.json", at("link")).unwrap();
    symlink("x.json", at("dirlink")).unwrap();
    symlink("nowhere", at("broken")).unwrap();
    symlink("loop", at("loop")).unwrap();
    fifo(&at("pipe"));
    raw_write(dir.path().join(OsStr::from_bytes(b"\xff")), b"");
    let list = SourceDir::open(dir.path()).unwrap().list().unwrap();
    let list: Vec<(&[u8], Kind)> = list.iter().map(|entry| (entry.name.as_bytes(), entry.kind)).collect();
    assert_eq!(
        list,
        [
            (&b"B.json"[..], Kind::File),
            (b"b.json", Kind::File),
            (b"broken", Kind::Other),
            (b"dirlink", Kind::Directory),
            (b"link", Kind::File),
            (b"loop", Kind::Other),
            (b"pipe", Kind::Other),
            (b"x.json", Kind::Directory),
            (b"\xff", Kind::File),
        ]
    );
}

#[test]
fn reading_returns_the_bytes_and_what_the_system_says_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let source = SourceDir::open(dir.path()).unwrap();
    let mut buffer = b"what the file before left".to_vec();
    for len in [0usize, 1, 4095, 4096, 100_000] {
        let bytes: Vec<u8> = (0..=250).cycle().take(len).collect();
        raw_write(dir.path().join("a"), &bytes);
        let len = u64::try_from(len).unwrap();
        let info = source.read_file(name("a"), &mut buffer, len).unwrap();
        assert_eq!(buffer, bytes);
        let stat = raw_stat(dir.path().join("a"));
        assert_eq!((info.len, info.ino, info.dev), (len, stat.ino(), stat.dev()));
        assert_eq!(info.mtime, (stat.mtime(), u32::try_from(stat.mtime_nsec()).unwrap()));
        assert_eq!(info.ctime, (stat.ctime(), u32::try_from(stat.ctime_nsec()).unwrap()));
    }
    let error = source.read_file(name("a"), &mut buffer, 99_999).unwrap_err();
    assert!(matches!(error, Error::TooLarge { len: 100_000, max: 99_999, .. }));
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let source = SourceDir::open(dir.path()).unwrap();
    fifo(&dir.path().join("pipe"));
    raw_mkdir(dir.path().join("x.json"));
    symlink("/dev/zero", dir.path().join("endless")).unwrap();
    let mut buffer = Vec::new();
    for other in ["pipe", "x.json", "endless"] {
        let error = source.read_file(name(other), &mut buffer, 1 << 20).unwrap_err();
        assert!(
            matches!(&error, Error::BadInput { reason, .. } if reason == "not a regular file"),
            "{error}"
        );
    }
    let error = source.read_file(name("absent"), &mut buffer, 10).unwrap_err();
    assert!(matches!(&error, Error::Io { op: "open", path, .. } if *path == dir.path().join("absent")));
    for bad in ["", ".", "..", "../a", "x.json/a"] {
        assert!(matches!(source.read_file(name(bad), &mut buffer, 10), Err(Error::BadInput { .. })), "{bad}");
    }
}

#[test]
fn a_file_rewritten_meanwhile_is_read_whole_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = SourceDir::open(dir.path()).unwrap();
    raw_write(dir.path().join("log"), b"");
    let done = AtomicBool::new(false);
    let mut buffer = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Each version has one letter, and another length than the one before it.
            for (letter, len) in (b'a'..=b'z').cycle().zip((1000..1007).cycle()) {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                raw_write(dir.path().join("log"), vec![letter; len]);
            }
        });
        for _ in 0..200 {
            match source.read_file(name("log"), &mut buffer, 1 << 20) {
                Ok(info) => {
                    assert_eq!(usize::try_from(info.len).unwrap(), buffer.len());
                    assert!(buffer.windows(2).all(|pair| pair[0] == pair[1]));
                }
                Err(Error::BadInput { reason, .. }) => assert_eq!(reason, "changes while it is read"),
                Err(error) => panic!("{error}"),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    source.read_file(name("log"), &mut buffer, 1 << 20).unwrap();
}

#[test]
fn directories_are_opened_below_one_another_and_survive_a_rename() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    raw_mkdir(at("run"));
    raw_write(at("run/a"), b"1");
    symlink("run", at("link")).unwrap();
    let root = SourceDir::open(dir.path()).unwrap();
    let run = root.open_dir(name("run")).unwrap();
    assert_eq!(run.path(), at("run"));
    assert_eq!(root.open_dir(name("link")).unwrap().list().unwrap().len(), 1);
    #[expect(clippy::disallowed_methods, reason = "a test looks behind the module")]
    fs::rename(at("run"), at("moved")).unwrap();
    let mut buffer = Vec::new();
    run.read_file(name("a"), &mut buffer, 10).unwrap();
    assert_eq!(buffer, b"1");
    assert!(matches!(root.open_dir(name("run")), Err(Error::Io { .. })));
    assert!(matches!(root.open_dir(name("..")), Err(Error::BadInput { .. })));
    assert!(matches!(SourceDir::open(at("moved/a")), Err(Error::Io { op: "open directory", .. })));
}

#[test]
fn a_written_tree_has_bytes_and_times_and_no_leftovers() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::create(dir.path().join("out/opencti_data")).unwrap();
    let run = target.create_dir(name("20240101T000000Z")).unwrap();
    run.write_file(name("a.json"), b"{}", Some((1_700_000_000, 123_456_789))).unwrap();
    run.write_file(name("old.json"), b"", Some((-5, 0))).unwrap();
    run.write_file(name("now.json"), b"1", None).unwrap();
    run.write_file(name("a.json"), b"{\"new\": 1}", Some((1_700_000_001, 0))).unwrap();
    run.set_mtime((1_600_000_000, 7)).unwrap();
    let path = dir.path().join("out/opencti_data/20240101T000000Z");
    assert_eq!(run.path(), path);
    assert_eq!(raw_names(&path), ["a.json", "now.json", "old.json"]);
    assert_eq!(raw_read(path.join("a.json")), b"{\"new\": 1}");
    let times = |path: PathBuf| (raw_stat(path.clone()).mtime(), raw_stat(path).mtime_nsec());
    assert_eq!(times(path.join("a.json")), (1_700_000_001, 0));
    assert_eq!(times(path.join("old.json")), (-5, 0));
    assert_eq!(times(path), (1_600_000_000, 7));
    // Again: an existing directory is used.
    target.create_dir(name("20240101T000000Z")).unwrap();
}

#[test]
fn a_planted_link_is_replaced_or_refused_and_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    raw_mkdir(at("out"));
    raw_mkdir(at("elsewhere"));
    raw_write(at("victim"), b"untouched");
    symlink("../victim", at("out/a.json")).unwrap();
    symlink("../elsewhere", at("out/run")).unwrap();
    let target = TargetDir::create(at("out")).unwrap();
    target.write_file(name("a.json"), b"restored", None).unwrap();
    assert_eq!(raw_read(at("victim")), b"untouched");
    assert!(raw_stat(at("out/a.json")).is_file());
    assert!(matches!(target.create_dir(name("run")), Err(Error::BadInput { .. })));
    assert!(raw_names(&at("elsewhere")).is_empty());
}

#[test]
fn names_and_times_that_no_file_can_have_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::create(dir.path()).unwrap();
    let long = "x".repeat(256);
    for bad in ["", ".", "..", "a/b", "/a", "../a", "a\0b", long.as_str(), ".store-1-1.tmp"] {
        assert!(matches!(target.write_file(name(bad), b"", None), Err(Error::BadInput { .. })), "{bad}");
    }
    assert!(matches!(target.create_dir(name(&long)), Err(Error::BadInput { .. })));
    assert!(matches!(target.create_dir(name("..")), Err(Error::BadInput { .. })));
    // The counts that the system takes as "now" and "leave as it is".
    for nanoseconds in [1_000_000_000, 0x3fff_ffff, 0x3fff_fffe, u32::MAX] {
        assert!(target.write_file(name("a"), b"", Some((0, nanoseconds))).is_err());
        assert!(target.set_mtime((0, nanoseconds)).is_err());
    }
    target.write_file(name(&long[..255]), b"1", None).unwrap();
    assert_eq!(raw_names(dir.path()), [&long[..255]]);
}

/// Temporary files of killed restores stayed for ever, each as large as what was being written.
#[test]
fn what_killed_processes_left_half_written_is_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::create(dir.path()).unwrap();
    // No process has a number beyond the system's largest, 2^22.
    let (gone, own) = (i32::MAX, std::process::id());
    let leftovers = [format!(".store-{gone}-0.tmp"), format!(".store-{gone}-aZ9_.tmp")];
    let others = [
        format!(".store-{own}-1.tmp"),
        format!("store-{gone}-0.tmp"),
        format!(".store-{gone}-0.json"),
        format!(".store-{gone}.tmp"),
        ".store-x-0.tmp".to_owned(),
        ".store--0.tmp".to_owned(),
    ];
    for file in leftovers.iter().chain(&others) {
        raw_write(dir.path().join(file), b"half");
    }
    raw_mkdir(dir.path().join(format!(".store-{gone}-2.tmp")));
    symlink("a", dir.path().join(format!(".store-{gone}-3.tmp"))).unwrap();
    target.sweep();
    let mut expect = others.to_vec();
    expect.extend([format!(".store-{gone}-2.tmp"), format!(".store-{gone}-3.tmp")]);
    expect.sort();
    assert_eq!(raw_names(dir.path()), expect);
    raw_write(dir.path().join(&leftovers[1]), b"half");
    sweep_beside(&dir.path().join("absent"));
    assert_eq!(raw_names(dir.path()), expect);
    sweep_beside(&dir.path().join("no/such/directory"));
}

#[test]
fn a_file_that_cannot_take_its_place_leaves_no_leftover() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::create(dir.path()).unwrap();
    raw_mkdir(dir.path().join("taken"));
    assert!(matches!(target.write_file(name("taken"), b"", None), Err(Error::BadInput { .. })));
    assert_eq!(raw_names(dir.path()), ["taken"]);
}

#[test]
fn threads_write_into_one_directory() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::create(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let target = &target;
            scope.spawn(move || {
                for number in 0..50 {
                    target.write_file(name(&format!("{thread}-{number}")), b"x", None).unwrap();
                }
            });
        }
    });
    assert_eq!(raw_names(dir.path()).len(), 200);
}

#[test]
fn an_output_appears_when_finished_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundles.ndjson");
    raw_write(path.clone(), b"old");
    let mut output = create_file(&path).unwrap();
    output.write_all(b"half of").unwrap();
    assert_eq!(raw_read(path.clone()), b"old");
    drop(output);
    assert_eq!(raw_names(dir.path()), ["bundles.ndjson"]);
    assert_eq!(raw_read(path.clone()), b"old");
    let mut output = create_file(&path).unwrap();
    output.write_all(b"whole").unwrap();
    output.finish().unwrap();
    assert_eq!(raw_read(path.clone()), b"whole");
    assert_eq!(raw_names(dir.path()), ["bundles.ndjson"]);
    // A link stays one, and what it names is replaced.
    symlink("bundles.ndjson", dir.path().join("link")).unwrap();
    let mut output = create_file(&dir.path().join("link")).unwrap();
    output.write_all(b"through").unwrap();
    output.finish().unwrap();
    assert!(raw_stat(dir.path().join("link")).is_symlink());
    assert_eq!(raw_read(path), b"through");
    assert!(matches!(create_file(dir.path()), Err(Error::BadInput { .. })));
    assert!(matches!(create_file(&dir.path().join("absent/x")), Err(Error::Io { .. })));
}

#[test]
fn a_device_or_pipe_is_written_to_and_never_replaced() {
    // Replacing what is at the path would turn `/dev/null` into a file, run by an administrator.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    fifo(&path);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_input(&path, 100).unwrap());
        let mut output = create_file(&path).unwrap();
        output.write_all(b"through the pipe").unwrap();
        output.finish().unwrap();
        assert_eq!(reader.join().unwrap(), b"through the pipe");
    });
    assert!(raw_stat(path).file_type().is_fifo());
}

#[test]
fn inputs_are_read_up_to_their_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    raw_write(path.clone(), b"12345");
    assert_eq!(read_input(&path, 5).unwrap(), b"12345");
    assert!(matches!(read_input(&path, 4), Err(Error::TooLarge { .. })));
    assert!(matches!(read_input(Path::new("/dev/zero"), 1000), Err(Error::TooLarge { .. })));
    assert!(matches!(read_input(&dir.path().join("b"), 4), Err(Error::Io { op: "open", .. })));
    assert!(matches!(read_input(dir.path(), 4), Err(Error::Io { op: "read", .. })));
}

#[test]
fn kinds_are_told_through_links() {
    let dir = tempfile::tempdir().unwrap();
    raw_write(dir.path().join("a"), b"");
    symlink("a", dir.path().join("link")).unwrap();
    symlink("b", dir.path().join("broken")).unwrap();
    let kind = |name: &str| kind_at(&dir.path().join(name)).unwrap();
    assert_eq!(kind("a"), Some(Kind::File));
    assert_eq!(kind("link"), Some(Kind::File));
    assert_eq!(kind(""), Some(Kind::Directory));
    assert_eq!(kind("broken"), None);
    assert_eq!(kind("absent/x"), None);
    assert_eq!(kind("a/x"), None);
    assert_eq!(kind_at(Path::new("/dev/null")).unwrap(), Some(Kind::Other));
}
