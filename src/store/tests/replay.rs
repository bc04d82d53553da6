//! Tests of a log that is replayed with little room.

use std::path::Path;

use super::*;
use crate::error::Result;
use crate::format::hints::Hints;
use crate::format::segment::file_name;
use crate::id::Location;
use crate::index::Covered;
use crate::progress::Stop;
use crate::store::checkpoint::Plan;
use crate::store::compact::CompactOptions;
use crate::store::index_file::IndexFiles;
use crate::store::open::{Room, UseIndex, load, rebuild};
use crate::store::repair::RepairOptions;
use crate::store::working::Working;
use crate::vfs::{DirEntry, Lock, Map, ReadFile, ReadVfs, Scratch, Vfs};

/// The index file and the hints that a checkpoint would write, and where the log ends.
fn outcome(mem: &Mem, working: &Working) -> (Vec<u8>, Option<Hints>, u64) {
    let mem = mem.snapshot_all();
    let vfs: Arc<dyn Vfs> = Arc::new(mem.clone());
    let read = vfs.clone().as_read();
    let config = load(&read, UseIndex::Newest, false).unwrap().config;
    let files = IndexFiles { read: &read, vfs: Some(&*vfs), config: &config };
    let commit = working.state.position.link.id;
    let covered = Covered { commit, ..Covered::default() };
    files.publish(&working.state, Plan::Base, covered, &[]).unwrap();
    (mem.bytes(&format!("index.{}", commit.0)).unwrap(), working.hints.clone(), working.state.gaps)
}

fn with_room(mem: &Mem, dead: &[u32], records: usize) -> Result<Working> {
    let vfs: Arc<dyn Vfs> = Arc::new(mem.clone());
    let read = vfs.clone().as_read();
    let config = load(&read, UseIndex::Newest, false).unwrap().config;
    let dead = dead.iter().map(|id| SegmentId(*id)).collect();
    let files = IndexFiles { read: &read, vfs: Some(&*vfs), config: &config };
    rebuild(Room::with_records(files, records), &dead)
}

/// Stores, overwrites, deletes and compacts while somebody reads, so that segments which are left out stay. Returns them.
fn busy(store: &Store, seed: u32) -> Vec<u32> {
    let mut one = writer(store);
    let mut dice = seed;
    let mut roll = |sides: u32| {
        dice = dice.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (dice >> 16) % sides
    };
    let mut left_out = Vec::new();
    for round in 0..12 {
        for _ in 0..=roll(6) {
            let (number, at) = (roll(8), u64::from(roll(3)));
            if roll(3) == 0 {
                one.delete(id(number), run(at)).unwrap();
            } else {
                put(&mut one, number, at, format!("{round} {number}").as_bytes());
            }
        }
        if one.commit().is_ok() && roll(3) == 0 {
            let options = CompactOptions { threshold: 10, dry_run: false };
            let report = one.compact(&options, &mut |_| {}, &Stop::default()).unwrap();
            left_out.extend(report.segments.iter().map(|id| id.0));
        }
    }
    left_out
}

#[test]
fn an_index_made_with_little_room_is_the_one_made_with_much() {
    // A repair held the whole log in memory to make the index anew: 226 MB for a million snapshots. With
    // layers, records of segments that a compaction has left out, and that are still there, must not get into one.
    let mut surprises = 0;
    for seed in 0..60 {
        let (mem, store) = create(512);
        let reader = reopen(&mem);
        let left_out = busy(&store, seed);
        surprises += left_out.len();
        let expect = with_room(&mem, &[], usize::MAX).unwrap();
        assert!(expect.state.layers.is_empty());
        let (index, hints, gaps) = outcome(&mem, &expect);
        for records in [1, 2, 3, 5, 8, 1000] {
            // Whether it is known before which segments are left out, or not.
            for known in [&[][..], left_out.get(..1).unwrap_or_default(), &left_out] {
                let working = with_room(&mem, known, records).unwrap();
                assert!(working.state.overlay.len() <= records);
                assert!(working.state.layers.is_empty() || records < 1000);
                assert_eq!(working.state.position, expect.state.position);
                assert_eq!(working.state.dead, expect.state.dead);
                let made = outcome(&mem, &working);
                assert_eq!((made.1, made.2), (hints.clone(), gaps), "{seed}: {records} {known:?}");
                assert!(made.0 == index, "{seed}: {records} {known:?}");
            }
        }
        assert!(
            !mem.paths().iter().any(|path| path.starts_with("index.") && path.contains("tmp")),
            "{:?}",
            mem.paths()
        );
        drop(reader);
    }
    assert!(surprises > 40, "{surprises}");
}

/// A file system in which nothing can be set aside.
#[derive(Debug)]
struct NoRoom(Mem, bool);

/// A file that can be made there, and not be written.
#[derive(Debug)]
struct Full;

impl Scratch for Full {
    fn append(&mut self, _: &[u8]) -> Result<()> {
        Err(Error::io("write a temporary file in", "/tmp", std::io::ErrorKind::StorageFull.into()))
    }

    fn into_map(self: Box<Self>) -> Result<Map> {
        Ok(Map::copied(Vec::new()))
    }
}

impl ReadVfs for NoRoom {
    fn list(&self, dir: &str) -> Result<Option<Vec<DirEntry>>> {
        self.0.list(dir)
    }

    fn open(&self, path: &str) -> Result<Option<Arc<dyn ReadFile>>> {
        self.0.open(path)
    }

    fn root(&self) -> &Path {
        self.0.root()
    }

    fn lock_shared(&self, path: &str) -> Result<Option<Box<dyn Lock>>> {
        self.0.lock_shared(path)
    }

    fn scratch(&self) -> Result<Box<dyn Scratch>> {
        if self.1 {
            return Ok(Box::new(Full));
        }
        Err(Error::io("create a temporary file in", "/tmp", std::io::ErrorKind::StorageFull.into()))
    }
}

#[test]
fn where_nothing_can_be_set_aside_memory_holds_what_was_read() {
    // A check on a machine without room for temporary files must check all the same.
    let (mem, store) = create(512);
    busy(&store, 5);
    let before = content(&store.view());
    for file in mem.paths().iter().filter(|path| path.starts_with("index.") || path.starts_with("hints.")) {
        mem.remove(file).unwrap();
    }
    let read: Arc<dyn ReadVfs> = Arc::new(mem.clone());
    let set_aside = load(&read, UseIndex::Newest, false).unwrap();
    assert!(set_aside.working.state.aside > 0 && set_aside.working.state.published().is_empty());
    for is_made in [false, true] {
        let read: Arc<dyn ReadVfs> = Arc::new(NoRoom(mem.clone(), is_made));
        let held = load(&read, UseIndex::Newest, false).unwrap();
        assert_eq!(held.working.state.aside, 0);
        assert_eq!(outcome(&mem, &held.working), outcome(&mem, &set_aside.working));
        let view = Store::open_read_only_on(read).unwrap().view();
        assert_eq!(content(&view), before);
    }
}

/// Flips one bit of the head of a record.
fn flip(mem: &Mem, at: Location) {
    let path = file_name(at.segment);
    let mut bytes = mem.bytes(&path).unwrap();
    bytes[usize::try_from(at.offset + 12).unwrap()] ^= 1;
    assert!(mem.set_bytes(&path, bytes));
}

#[test]
fn what_is_set_aside_counts_a_record_with_one_wrong_bit_as_memory_does() {
    // Of a record in a layer only its head tells what it was: a DELETE with a wrong bit counted as a snapshot of no bytes, and the
    // index that was published with these figures was damaged.
    for is_deletion in [false, true] {
        let (mem, store) = create(1 << 20);
        let mut one = writer(&store);
        for number in 0..5 {
            put(&mut one, number, 1, b"0123456789");
        }
        if is_deletion {
            one.delete(id(1), run(1)).unwrap();
        }
        one.commit().unwrap();
        let at = one.working.state.locate(&Key::new(ObjectKey::of(&id(1)), run(1))).unwrap().unwrap();
        for number in 10..20 {
            put(&mut one, number, 1, b"0123456789");
        }
        one.commit().unwrap();
        put(&mut one, 1, 1, b"again");
        one.commit().unwrap();
        drop(one);
        flip(&mem, at);
        let much = with_room(&mem, &[], usize::MAX).unwrap();
        let little = with_room(&mem, &[], 1).unwrap();
        assert_eq!(little.state.overlay.totals(), much.state.overlay.totals());
        assert_eq!(little.hints, much.hints);
        let mut one = writer(&reopen(&mem));
        put(&mut one, 30, 1, b"0123456789");
        one.commit().unwrap();
        one.close().unwrap();
        assert_eq!(content(&reopen(&mem).view()).len(), 16);
        assert_eq!(compaction::damage(&mem).len(), 1, "the wrong bit");
    }
}

#[test]
fn a_compaction_behind_the_index_drops_no_count_of_what_it_leaves_out() {
    // A crash between the COMMIT of a compaction and its index: the DELETEs that it left out were taken out of the state too, which
    // went on counting what they had deleted, and the next index said so.
    let (mem, store) = create(1 << 20);
    let mut one = writer(&store);
    for number in 0..20 {
        put(&mut one, number, 1, b"0123456789");
    }
    one.commit().unwrap();
    one.close().unwrap();
    let mut one = writer(&store);
    put(&mut one, 100, 1, b"long");
    put(&mut one, 100, 1, b"longer");
    for number in 1..6 {
        one.delete(id(number), run(1)).unwrap();
    }
    one.commit().unwrap();
    let before: Vec<_> =
        mem.paths().into_iter().map(|path| (path.clone(), mem.bytes(&path).unwrap())).collect();
    let options = CompactOptions { threshold: 1, dry_run: false };
    let report = one.compact(&options, &mut |_| {}, &Stop::default()).unwrap();
    assert_eq!(report.segments.len(), 2);
    drop((one, store));
    for path in mem.paths().iter().filter(|path| path.starts_with("index.") || path.starts_with("hints.")) {
        mem.remove_raw(path);
    }
    for (path, bytes) in before {
        mem.set_bytes(&path, bytes);
    }
    assert_eq!(content(&reopen(&mem).view()).len(), 16);
    let mut one = writer(&reopen(&mem));
    put(&mut one, 200, 1, b"0123456789");
    one.commit().unwrap();
    one.close().unwrap();
    assert_eq!(content(&reopen(&mem).view()).len(), 17);
    assert!(compaction::damage(&mem).is_empty());
}

#[test]
fn a_repair_without_room_for_its_lists_holds_them_in_memory() {
    let (mem, store) = create(1 << 20);
    let mut one = writer(&store);
    for number in 0..5 {
        put(&mut one, number, 1, b"0123456789");
    }
    one.commit().unwrap();
    let at = one.working.state.locate(&Key::new(ObjectKey::of(&id(1)), run(1))).unwrap().unwrap();
    one.close().unwrap();
    flip(&mem, at);
    let options = RepairOptions { dry_run: true, ..RepairOptions::default() };
    for is_made in [false, true] {
        let read: Arc<dyn ReadVfs> = Arc::new(NoRoom(mem.clone(), is_made));
        let store = Store::open_read_only_on(read).unwrap();
        let report = store.repair(&WriterOptions::default(), options, None, &mut |_| {}, &Stop::default());
        let report = report.unwrap();
        assert_eq!(
            (report.lost.len(), report.segments[0].kept),
            (1, 5),
            "the run's record and four snapshots"
        );
    }
}
