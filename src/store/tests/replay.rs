//! Tests of a log that is replayed with little room.

use std::path::Path;

use super::*;
use crate::error::Result;
use crate::format::hints::Hints;
use crate::index::Covered;
use crate::progress::Stop;
use crate::store::checkpoint::Plan;
use crate::store::compact::CompactOptions;
use crate::store::index_file::IndexFiles;
use crate::store::open::{Room, UseIndex, load, rebuild};
use crate::store::working::Working;
use crate::vfs::{DirEntry, Lock, ReadFile, ReadVfs, Scratch, Vfs};

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
struct NoRoom(Mem);

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
    let read: Arc<dyn ReadVfs> = Arc::new(NoRoom(mem.clone()));
    let held = load(&read, UseIndex::Newest, false).unwrap();
    assert_eq!(held.working.state.aside, 0);
    assert_eq!(outcome(&mem, &held.working), outcome(&mem, &set_aside.working));
    let view = Store::open_read_only_on(read).unwrap().view();
    assert_eq!(content(&view), before);
}
