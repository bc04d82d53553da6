//! R4: what becomes of a file that changes between listing and reading, or between the look at it and the reading.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, Mode, mkfifoat};

use super::super::super::fake::State;
use super::super::super::target::Stored;
use super::*;

/// What came of the file that the race was about, and whether the next import may know it again.
struct Came {
    content: Content,
    is_noted: bool,
}

impl Came {
    fn code(&self) -> &'static str {
        match &self.content {
            Content::Same => "same",
            Content::New { .. } => "new",
            Content::Bad { code, .. } => code,
        }
    }

    /// The bytes that would be stored.
    fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::New { payload: Payload::Raw(bytes), .. } => bytes,
            Content::New { .. } | Content::Same | Content::Bad { .. } => b"",
        }
    }
}

/// Imports three files, the middle one holding `body`. `listed` happens to it once the directory is listed, `opened` once it is
/// open and before it is read. The others must come in whatever happens.
fn race(before: &State, body: &[u8], listed: impl FnOnce(&Path), mut opened: impl FnMut(&Path)) -> Came {
    let (first, last) = (bundle(&["a"]), bundle(&["c"]));
    let files = ["a", "b", "c"].map(|name| format!("{D1}/{name}.json"));
    let dir = tree(&[(&files[0], &first), (&files[1], body), (&files[2], &last)]);
    let path = dir.path().join("opencti_data").join(&files[1]);
    let mut scan = Scan::new(Tree::open(dir.path()).unwrap(), Seen::default());
    let batch = scan.next_batch().unwrap();
    listed(&path);
    let slot = Arc::new(EncoderSlot::default());
    let mut worker = Preparer::new(before.clone(), slot, Buffers::default(), false, Meter::new(false));
    let mut done = Vec::new();
    for job in batch {
        let is_it = matches!(job, Job::File { index: 1, .. });
        let admit = &mut |_| {
            if is_it {
                opened(&path);
            }
            Some(Ticket::free())
        };
        if let Some(Done::File(file)) = worker.work(job, admit) {
            done.push(file);
        }
    }
    let [first, it, last] = done.try_into().unwrap();
    assert!(matches!((first.content, last.content), (Content::New { .. }, Content::New { .. })));
    Came { content: it.content, is_noted: it.digest.is_some() }
}

/// Races once the directory is listed.
fn listed(body: &[u8], race_it: impl FnOnce(&Path)) -> Came {
    race(&State::default(), body, race_it, |_| {})
}

/// Replaces a file by something else.
fn put(path: &Path, with: impl FnOnce(&Path)) {
    fs::remove_file(path).unwrap();
    with(path);
}

#[test]
fn r4_what_is_no_file_any_more_is_rejected_with_its_code_and_nobody_waits() {
    let body = bundle(&["b"]);
    assert_eq!(listed(&body, |path| fs::remove_file(path).unwrap()).code(), reason::VANISHED);
    assert_eq!(
        listed(&body, |path| put(path, |path| fs::create_dir(path).unwrap())).code(),
        reason::UNSTABLE
    );
    let fifo = |path: &Path| mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
    assert_eq!(listed(&body, |path| put(path, fifo)).code(), reason::UNSTABLE);
    for (to, code) in
        [("b.json", reason::UNREADABLE), ("gone.json", reason::VANISHED), ("/dev/zero", reason::UNSTABLE)]
    {
        let came = listed(&body, |path| put(path, |path| symlink(to, path).unwrap()));
        assert_eq!(came.code(), code, "a link to {to}");
    }
    let came = listed(&body, |path| {
        let run = path.parent().unwrap();
        fs::rename(run, run.with_extension("moved")).unwrap();
    });
    assert_eq!(came.code(), "new", "an open directory is the same under whatever name");
}

/// A file of which reading fails: of the process's own memory there is nothing at the address 0.
#[test]
#[cfg(target_os = "linux")]
fn r4_a_file_that_cannot_be_read_is_rejected_alone() {
    let came = listed(b"{}", |path| put(path, |path| symlink("/proc/self/mem", path).unwrap()));
    assert_eq!(came.code(), reason::UNREADABLE);
    let locked = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    };
    let came = listed(&bundle(&["b"]), locked);
    // Mode bits do not bind root.
    assert!(
        came.code() == reason::UNREADABLE || rustix::process::geteuid().is_root() && came.code() == "new"
    );
}

#[test]
fn r4_a_file_that_grows_shrinks_or_is_rewritten_is_stored_as_it_was_at_one_time() {
    let (old, new) = (bundle(&["b"]), bundle(&["B"]));
    assert_eq!(old.len(), new.len());
    let append = |path: &Path, bytes: &[u8]| {
        OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
    };
    let replace = |path: &Path, bytes: &[u8]| {
        let beside = path.with_extension("tmp");
        fs::write(&beside, bytes).unwrap();
        fs::rename(beside, path).unwrap();
    };
    let grown = [&old[..], b"\n\n"].concat();
    let open = |race_it: &dyn Fn(&Path)| race(&State::default(), &old, |_| {}, race_it);
    let more = |path: &Path| append(path, b"\n\n");
    for came in [listed(&old, more), open(&more)] {
        assert!(came.bytes() == grown && !came.is_noted, "{}", came.code());
    }
    let came = listed(&old, |path| fs::write(path, &new).unwrap());
    assert!(came.bytes() == new && !came.is_noted, "{}", came.code());
    let came = open(&|path| fs::write(path, &new).unwrap());
    assert!(came.bytes() == new && !came.is_noted, "{}", came.code());
    let came = listed(&old, |path| replace(path, &new));
    assert!(came.bytes() == new && !came.is_noted, "{}", came.code());
    // Whoever has it open reads what it was.
    let came = open(&|path| replace(path, &new));
    assert!(came.bytes() == old && !came.is_noted, "{}", came.code());
    for came in
        [listed(&old, |path| fs::write(path, b"").unwrap()), open(&|path| fs::write(path, b"").unwrap())]
    {
        assert_eq!(came.code(), "empty");
    }
    // Half of it is there: its bytes are no bundle, and the last good snapshot stays.
    let came = open(&|path| OpenOptions::new().write(true).open(path).unwrap().set_len(20).unwrap());
    assert_eq!(came.code(), "not_json");
}

/// What is stored of a long file is looked at before the file is read; it may have changed by then.
#[test]
fn r4_a_long_file_is_compared_as_it_was_read() {
    let long = |letter: &str| {
        format!(r#"{{"objects": [{{"id": "b", "x": "{}"}}]}}"#, letter.repeat(5 << 20)).into_bytes()
    };
    let (old, new) = (long("o"), long("n"));
    let mut before = State::default();
    let run = RunKey::new(crate::snapshot::run::parse(D1).unwrap(), 0);
    before.runs.insert(run, D1.to_owned());
    before.entries.insert((run, b"b".to_vec()), (old.clone(), Stored::File { ids: Vec::new() }));
    assert_eq!(race(&before, &old, |_| {}, |_| {}).code(), "same");
    let came = race(&before, &old, |_| {}, |path| fs::write(path, &new).unwrap());
    assert!(came.bytes() == new, "{}", came.code());
    let came = race(&before, &new, |_| {}, |path| fs::write(path, &old).unwrap());
    assert_eq!(came.code(), "same");
    let came = race(&before, &new, |_| {}, |_| {});
    assert!(came.bytes() == new, "{}", came.code());
}
