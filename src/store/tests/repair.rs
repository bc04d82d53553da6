//! Tests of repair. What it does after each kind of damage, and when it is killed, is shown in `tests/damage`.

use super::compaction::damage;
use super::*;
use crate::progress::Stop;
use crate::store::compact::CompactOptions;
use crate::store::repair::{Fate, LostKind, RepairOptions, RepairReport, RepairSource, Replacement, Wanted};
use crate::vfs::ReadFile;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) fn repair(mem: &Mem, options: RepairOptions<'_>) -> RepairReport {
    repair_from(mem, options, None)
}

fn repair_from(mem: &Mem, options: RepairOptions<'_>, source: Option<&mut dyn RepairSource>) -> RepairReport {
    reopen(mem).repair(&WriterOptions::default(), options, source, &mut |_| {}, &Stop::default()).unwrap()
}

/// Flips a bit of the data, or of the head, of the record under a key.
fn hit(mem: &Mem, number: u32, at: u64, head: bool) {
    let store = reopen(mem);
    let view = store.view();
    let place = view.get(id(number), run(at)).unwrap().unwrap().location();
    let path = crate::format::segment::file_name(place.segment);
    let mut bytes = mem.bytes(&path).unwrap();
    // Three bits of a head, which no attempt to put one bit right undoes.
    let byte = usize::try_from(place.offset).unwrap() + if head { 1 } else { 50 };
    bytes[byte] ^= 0x15;
    assert!(mem.set_bytes(&path, bytes));
}

pub(super) fn without_index(mem: &Mem) {
    for path in mem.paths().iter().filter(|path| path.starts_with("index.") || path.starts_with("hints.")) {
        mem.remove_raw(path);
    }
}

/// Three runs of ten snapshots each; number 1 was put twice in the last run.
fn three_runs() -> Mem {
    let (mem, store) = create(512);
    let mut one = writer(&store);
    for at in 1..=3 {
        for number in 0..10 {
            put(&mut one, number, at, format!("{number} at {at}").as_bytes());
        }
        one.commit().unwrap();
    }
    put(&mut one, 1, 3, b"newer");
    one.commit().unwrap();
    one.close().unwrap();
    mem
}

#[test]
fn a_lost_newest_snapshot_answers_nothing_and_never_the_one_before_it() {
    for head in [false, true] {
        let mem = three_runs();
        hit(&mem, 1, 3, head);
        let report = repair(&mem, RepairOptions::default());
        assert_eq!(report.lost.len(), 1, "{report:?}");
        assert_eq!((report.lost[0].name(), report.lost[0].run), (Some(id(1)), run(3)));
        assert_eq!((report.lost[0].fate, report.remaining), (Fate::Lost, 0));
        for index in [true, false] {
            if !index {
                without_index(&mem);
            }
            let store = reopen(&mem);
            assert_eq!(latest(&store.view(), 1), None, "head {head}, index {index}");
            assert_eq!(store.view().lost(id(1), At::MAX).unwrap(), Some(run(3)));
            assert_eq!(store.view().get(id(1), run(3)).unwrap().map(|_| ()), None);
            let view = store.view();
            let older = view.at_or_before(id(1), At(150)).unwrap().unwrap();
            assert_eq!(older.body().unwrap(), &b"1 at 2"[..]);
            assert_eq!(latest(&store.view(), 2), Some(b"2 at 3".to_vec()));
            assert_eq!((store.stats().unwrap().lost, damage(&mem)), (1, Vec::new()));
        }
    }
}

#[test]
fn accepting_the_older_one_brings_back_the_state_before() {
    for head in [false, true] {
        let mem = three_runs();
        hit(&mem, 1, 3, head);
        hit(&mem, 2, 3, head);
        let report = repair(&mem, RepairOptions { accept_older: true, ..RepairOptions::default() });
        assert!(
            report.lost.iter().all(|lost| lost.fate == Fate::Older) && report.lost.len() == 2,
            "{report:?}"
        );
        for index in [true, false] {
            if !index {
                without_index(&mem);
            }
            let store = reopen(&mem);
            // Of the same run where there was one, else of the run before.
            assert_eq!(latest(&store.view(), 1), Some(b"1 at 3".to_vec()), "head {head}, index {index}");
            assert_eq!(latest(&store.view(), 2), Some(b"2 at 2".to_vec()));
            assert_eq!(store.stats().unwrap().lost, 2, "it is told all the same");
            assert_eq!(damage(&mem), Vec::<String>::new());
        }
    }
}

#[test]
fn an_undamaged_delete_is_never_undone() {
    for accept_older in [false, true] {
        let mem = three_runs();
        let store = reopen(&mem);
        let mut one = writer(&store);
        assert!(one.delete(id(5), run(3)).unwrap() && one.delete(id(6), run(3)).unwrap());
        put(&mut one, 7, 3, b"beside the deletes");
        one.commit().unwrap();
        one.close().unwrap();
        drop(store);
        hit(&mem, 7, 3, true);
        repair(&mem, RepairOptions { accept_older, ..RepairOptions::default() });
        for _ in 0..2 {
            let view = reopen(&mem).view();
            assert_eq!(view.get(id(5), run(3)).unwrap().map(|_| ()), None);
            assert_eq!(latest(&view, 6), Some(b"6 at 2".to_vec()));
            without_index(&mem);
        }
    }
}

#[test]
fn that_something_was_lost_outlives_compaction_until_it_is_stored_again() {
    let mem = three_runs();
    hit(&mem, 1, 3, false);
    repair(&mem, RepairOptions::default());
    let compact = |mem: &Mem| {
        let store = reopen(mem);
        let mut one = writer(&store);
        let options = CompactOptions { threshold: 1, dry_run: false };
        let report = one.compact(&options, &mut |_| {}, &Stop::default()).unwrap();
        one.close().unwrap();
        report
    };
    compact(&mem);
    assert_eq!(compact(&mem).segments, [], "it comes to an end");
    assert_eq!((latest(&reopen(&mem).view(), 1), reopen(&mem).stats().unwrap().lost), (None, 1));
    let store = reopen(&mem);
    let mut one = writer(&store);
    assert_eq!(put(&mut one, 1, 3, b"found again"), Outcome::Added);
    one.commit().unwrap();
    one.close().unwrap();
    drop(store);
    compact(&mem);
    assert_eq!(latest(&reopen(&mem).view(), 1), Some(b"found again".to_vec()));
    assert_eq!((reopen(&mem).stats().unwrap().lost, damage(&mem)), (0, Vec::new()));
}

/// A source that knows everything, but for number 3.
#[derive(Default)]
struct Source(Vec<LostKind>);

impl RepairSource for Source {
    fn find(&mut self, wanted: &Wanted<'_>) -> Result<Option<Replacement>> {
        self.0.push(wanted.lost.kind);
        let number = (0..10).filter(|number| *number != 3).find(|number| wanted.is_named(&id(*number)));
        let Some(number) = number.filter(|_| wanted.lost.kind == LostKind::Snapshot) else { return Ok(None) };
        let body = format!("{number} from the source").into_bytes();
        let object = 0..u32::try_from(body.len()).unwrap();
        Ok(Some(Replacement { name: id(number), meta: b"meta".to_vec(), object, body }))
    }
}

#[test]
fn a_source_heals_what_it_has_also_where_only_a_hash_is_known() {
    let mem = three_runs();
    for number in [2, 3, 4] {
        hit(&mem, number, 3, number % 2 == 0);
    }
    let mut source = Source::default();
    let report = repair_from(&mem, RepairOptions::default(), Some(&mut source));
    let fates: Vec<Fate> = report.lost.iter().map(|lost| lost.fate).collect();
    assert_eq!(fates, [Fate::Healed, Fate::Lost, Fate::Healed]);
    let view = reopen(&mem).view();
    assert_eq!(latest(&view, 2), Some(b"2 from the source".to_vec()));
    assert_eq!(latest(&view, 3), None);
    assert_eq!(latest(&view, 4), Some(b"4 from the source".to_vec()));
    assert_eq!((reopen(&mem).stats().unwrap().lost, damage(&mem)), (1, Vec::new()));
    // Nothing of the id is left but what the index says: a hash.
    let (mem, store) = create(512);
    let mut one = writer(&store);
    put(&mut one, 9, 1, b"alone");
    one.commit().unwrap();
    one.close().unwrap();
    drop(store);
    mem.remove_raw("data/0000000001.seg");
    let report = repair_from(&mem, RepairOptions::default(), Some(&mut source));
    assert!(report.lost.iter().any(|lost| lost.fate == Fate::Healed), "{report:?}");
    assert_eq!(latest(&reopen(&mem).view(), 9), Some(b"9 from the source".to_vec()));
    assert_eq!(source.0.iter().filter(|kind| **kind == LostKind::Run).count(), 1, "its run was lost with it");
}

#[test]
fn a_store_whose_index_proves_a_loss_is_repaired_by_the_command_that_the_refusal_names() {
    let mem = three_runs();
    let last = mem.paths().into_iter().rfind(|path| path.starts_with("data/")).unwrap();
    // The last COMMIT, beyond what is forgiven.
    let mut bytes = mem.bytes(&last).unwrap();
    let len = bytes.len();
    bytes[len - 80..].fill(0xff);
    mem.set_bytes(&last, bytes);
    let refused = reopen(&mem).writer(&WriterOptions::default());
    assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
    let report = repair(&mem, RepairOptions::default());
    assert!(!report.has_losses() && report.damage > 0 && report.remaining == 0, "{report:?}");
    assert_eq!(latest(&reopen(&mem).view(), 1), Some(b"newer".to_vec()), "its records were intact");
    writer(&reopen(&mem)).close().unwrap();
}

#[test]
fn views_that_are_open_go_on_during_a_repair() {
    let mem = three_runs();
    hit(&mem, 1, 3, false);
    let store = reopen(&mem);
    let view = store.view();
    let report = repair(&mem, RepairOptions::default());
    assert!(report.waiting_bytes > 0);
    assert_eq!(latest(&view, 2), Some(b"2 at 3".to_vec()));
    drop((view, store));
    writer(&reopen(&mem)).close().unwrap();
    assert_eq!((latest(&reopen(&mem).view(), 2), damage(&mem)), (Some(b"2 at 3".to_vec()), Vec::new()));
}

/// Counts the bytes that are read.
#[derive(Debug)]
struct Counting(Mem, Arc<AtomicU64>);

#[derive(Debug)]
struct CountingFile(Arc<dyn ReadFile>, Arc<AtomicU64>);

impl ReadVfs for Counting {
    fn list(&self, dir: &str) -> Result<Option<Vec<crate::vfs::DirEntry>>> {
        self.0.list(dir)
    }
    fn open(&self, path: &str) -> Result<Option<Arc<dyn ReadFile>>> {
        let file = self.0.open(path)?;
        Ok(file.map(|file| -> Arc<dyn ReadFile> { Arc::new(CountingFile(file, self.1.clone())) }))
    }
    fn root(&self) -> &Path {
        self.0.root()
    }
    fn lock_shared(&self, path: &str) -> Result<Option<Box<dyn Lock>>> {
        self.0.lock_shared(path)
    }
}

impl ReadFile for CountingFile {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let got = self.0.read_at(buffer, offset)?;
        self.1.fetch_add(u64::try_from(got).unwrap(), Ordering::Relaxed);
        Ok(got)
    }
    fn map(&self, len: u64) -> Result<crate::vfs::Map> {
        self.1.fetch_add(len, Ordering::Relaxed);
        self.0.map(len)
    }
}

/// Makes a segment of nothing but plausible heads: each claims the rest of the file as its data.
fn hostile(len: usize) -> (Mem, Vec<u8>) {
    let mem = three_runs();
    let path = mem.paths().into_iter().find(|path| path.starts_with("data/")).unwrap();
    let mut bytes = mem.bytes(&path).unwrap();
    let head = bytes[96..141].to_vec();
    while bytes.len() < len {
        let left = u32::try_from(len - bytes.len()).unwrap().max(45);
        let mut next = head.clone();
        next[4..8].copy_from_slice(&left.to_le_bytes());
        bytes.extend_from_slice(&next);
    }
    bytes[130] ^= 0x15;
    mem.set_bytes(&path, bytes.clone());
    (mem, bytes)
}

#[test]
fn the_work_on_hostile_bytes_grows_as_their_number_does() {
    let read = |len: usize| {
        let (mem, _) = hostile(len);
        let count = Arc::new(AtomicU64::new(0));
        let vfs: Arc<dyn ReadVfs> = Arc::new(Counting(mem, count.clone()));
        let store = Store::open_read_only_on(vfs).unwrap();
        let options = RepairOptions { dry_run: true, ..RepairOptions::default() };
        let before = count.load(Ordering::Relaxed);
        let told =
            store.repair(&WriterOptions::default(), options, None, &mut |_| {}, &Stop::default()).unwrap();
        assert_eq!(told.segments.len(), 1, "{told:?}");
        count.load(Ordering::Relaxed) - before
    };
    let (small, large) = (read(1 << 20), read(4 << 20));
    assert!(large < small * 5, "{small} bytes are read of 1 MiB, {large} of 4 MiB");
}

/// Puts one snapshot in a session of its own, so in a segment of its own.
pub(super) fn session(mem: &Mem, number: u32, body: &[u8]) {
    let store = reopen(mem);
    let mut one = writer(&store);
    put(&mut one, number, 1, body);
    one.commit().unwrap();
    drop(one);
}

/// Cuts bytes off the segment in which a snapshot lies.
pub(super) fn cut(mem: &Mem, number: u32, bytes: usize) {
    let place = reopen(mem).view().get(id(number), run(1)).unwrap().unwrap().location();
    let path = crate::format::segment::file_name(place.segment);
    let mut left = mem.bytes(&path).unwrap();
    left.truncate(left.len() - bytes);
    assert!(mem.set_bytes(&path, left));
}

#[test]
fn what_an_index_that_stands_behind_the_log_names_is_kept_where_its_commit_is_cut_off() {
    // The COMMIT after the one that was cut off was compacted away, so no chain was seen to break. Repair took the index for
    // wrong, threw away what it alone knew to be committed, let an older snapshot answer, and said that nothing was lost.
    let (mem, _) = create(1 << 20);
    let store = reopen(&mem);
    let mut one = writer(&store);
    for number in 1..=4 {
        put(&mut one, number, 1, b"old");
    }
    one.commit().unwrap();
    drop((one, store));
    session(&mem, 1, b"new");
    session(&mem, 6, &[b'x'; 400]);
    session(&mem, 6, b"y");
    let store = reopen(&mem);
    let mut one = writer(&store);
    let options = CompactOptions { threshold: 20, ..CompactOptions::default() };
    let compacted = one.compact(&options, &mut |_| {}, &Stop::default()).unwrap();
    assert_eq!(compacted.segments, [SegmentId(3)], "that of the first snapshot 6");
    one.close().unwrap();
    drop(store);
    cut(&mem, 1, 60);
    let before = reopen(&mem).view();
    assert_eq!(before.latest(id(1)).unwrap().unwrap().body().unwrap(), &b"new"[..]);
    assert!(!damage(&mem).is_empty());
    let report = repair(&mem, RepairOptions::default());
    assert!(!report.has_losses(), "{report:?}");
    let view = reopen(&mem).view();
    assert_eq!(view.latest(id(1)).unwrap().unwrap().body().unwrap(), &b"new"[..]);
    assert_eq!(view.latest(id(6)).unwrap().unwrap().body().unwrap(), &b"y"[..]);
    assert_eq!((damage(&mem), view.gaps()), (Vec::new(), 0));
}

#[test]
fn a_repaired_store_has_no_gaps_although_the_damaged_segment_is_still_there_while_its_index_is_built() {
    // The gaps of the segment that repair had replaced, and not yet removed, were written into the new index: every command
    // ended with exit code 1 until something else was stored.
    let (mem, _) = create(1 << 20);
    for number in 1..=3 {
        session(&mem, number, format!("{number}").as_bytes());
    }
    writer(&reopen(&mem)).close().unwrap();
    cut(&mem, 2, 100);
    let report = repair(&mem, RepairOptions::default());
    assert!(report.has_losses(), "{report:?}");
    let view = reopen(&mem).view();
    assert_eq!((view.gaps(), damage(&mem)), (0, Vec::new()));
    assert!(view.latest(id(2)).unwrap().is_none());
    assert!(view.latest(id(1)).unwrap().is_some() && view.latest(id(3)).unwrap().is_some());
    without_index(&mem);
    assert_eq!(reopen(&mem).view().gaps(), 0);
}
