//! Records whose heads could not be read when layers of the index were joined: who answers, and what a repair makes of them.

use super::compaction::damage;
use super::repair::repair;
use super::*;
use crate::error::Result;
use crate::format::segment::file_name;
use crate::id::Location;
use crate::progress::Stop;
use crate::store::repair::{RepairOptions, RepairReport, RepairSource, Replacement, Wanted};

/// What happens to a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blow {
    /// Wrong bits in this byte of its head.
    Bits(u32, u8),
    /// Its segment is gone.
    Missing,
}

/// Three bits of a checksum, of a key; and one, which is put right.
const BLOWS: [Blow; 4] = [Blow::Bits(1, 0x15), Blow::Bits(12, 0x15), Blow::Bits(12, 1), Blow::Missing];

fn key() -> Key {
    Key::new(ObjectKey::of(&id(1)), run(1))
}

fn strike(mem: &Mem, at: Location, blow: Blow) {
    let path = file_name(at.segment);
    let Blow::Bits(byte, bits) = blow else {
        assert!(mem.remove_raw(&path));
        return;
    };
    let mut bytes = mem.bytes(&path).unwrap();
    bytes[usize::try_from(at.offset + byte).unwrap()] ^= bits;
    assert!(mem.set_bytes(&path, bytes));
}

/// Commits, and publishes a delta.
fn step(store: &Store, change: impl FnOnce(&mut Writer)) -> Location {
    let mut one = writer(store);
    change(&mut one);
    one.commit().unwrap();
    one.checkpoint().unwrap();
    one.working.state.locate(&key()).unwrap().unwrap()
}

/// A store in which number 1 has an older and a newest record in deltas of their own, which are joined after the blow to one of
/// them. Where that one was.
fn joined(blow: Blow, is_deletion: bool, hits_older: bool) -> (Mem, Location) {
    let (mem, store) = create(1 << 20);
    let mut one = writer(&store);
    for number in 0..200 {
        put(&mut one, number, 1, b"first");
    }
    one.commit().unwrap();
    one.close().unwrap();
    let older = step(&store, |one| {
        for number in 0..40 {
            put(one, number, 1, b"older");
        }
    });
    let newest = step(&store, |one| {
        if is_deletion {
            one.delete(id(1), run(1)).unwrap();
        } else {
            put(one, 1, 1, b"newest");
        }
        put(one, 50, 1, b"x");
    });
    step(&store, |one| {
        put(one, 51, 1, b"y");
    });
    let hit = if hits_older { older } else { newest };
    strike(&mem, hit, blow);
    let deltas = || mem.paths().iter().filter(|path| path.contains(".delta")).count();
    assert_eq!(deltas(), 2);
    step(&reopen(&mem), |one| {
        for number in 60..90 {
            put(one, number, 1, b"z");
        }
    });
    assert_eq!(deltas(), 1, "they are joined");
    (mem, hit)
}

/// What number 1 answers, both ways.
fn answers(mem: &Mem) -> [Result<Option<Vec<u8>>>; 2] {
    let view = reopen(mem).view();
    let body = |found: Result<Option<Snapshot<'_>>>| {
        found.map(|found| found.map(|snapshot| snapshot.body().unwrap().into_owned()))
    };
    [body(view.latest(id(1))), body(view.get(id(1), run(1)))]
}

fn answer_is(mem: &Mem, expect: Option<&[u8]>) {
    for answer in answers(mem) {
        assert_eq!(answer.unwrap().as_deref(), expect);
    }
}

#[test]
fn a_newest_record_that_cannot_be_read_when_layers_are_joined_leaves_no_older_one_to_answer() {
    // Both had entries afterwards, as nobody could tell that they were of one object. So the older one answered, or what had been
    // deleted, without a word; and a repair left it so.
    for blow in BLOWS {
        for is_deletion in [false, true] {
            let (mem, _) = joined(blow, is_deletion, false);
            assert!(answers(&mem).iter().all(Result::is_err), "{blow:?} {is_deletion}");
            let report = repair(&mem, RepairOptions::default());
            let lost = report.lost.iter().filter(|lost| lost.key == Some(key())).count();
            assert_eq!(lost, usize::from(!is_deletion), "{blow:?}: {report:?}");
            answer_is(&mem, None);
            assert!(damage(&mem).is_empty());
        }
    }
}

/// A tree that has a file for number 1.
struct Tree;

impl RepairSource for Tree {
    fn find(&mut self, wanted: &Wanted<'_>) -> Result<Option<Replacement>> {
        let (body, object) = (b"of the tree".to_vec(), 0..11);
        let found = wanted.is_named(&id(1));
        Ok(found.then(|| Replacement { name: id(1), meta: Vec::new(), object, body }))
    }
}

#[test]
fn an_older_record_that_cannot_be_read_when_layers_are_joined_hides_nothing() {
    // A repair took it for live as the index still named it, and marked its key as lost, which hid the intact newest record; or a
    // source's file took the place of that.
    for blow in BLOWS {
        for is_healed in [false, true] {
            let (mem, _) = joined(blow, false, true);
            answer_is(&mem, Some(b"newest"));
            let mut tree = Tree;
            let source: Option<&mut dyn RepairSource> = if is_healed { Some(&mut tree) } else { None };
            let how = (WriterOptions::default(), RepairOptions::default());
            let report: RepairReport =
                reopen(&mem).repair(&how.0, how.1, source, &mut |_| {}, &Stop::default()).unwrap();
            assert!(report.lost.iter().all(|lost| lost.key != Some(key())), "{blow:?}: {report:?}");
            answer_is(&mem, Some(b"newest"));
            assert!(damage(&mem).is_empty());
        }
    }
}

#[test]
fn an_older_record_that_can_be_read_again_does_not_answer() {
    let blow = Blow::Bits(1, 0x15);
    let (mem, at) = joined(blow, false, true);
    strike(&mem, at, blow);
    answer_is(&mem, Some(b"newest"));
    assert!(damage(&mem).is_empty());
}

#[test]
fn a_segment_of_a_copy_that_has_the_same_objects_in_another_run_is_repaired() {
    // What the index names is of another run then, which a lookup takes for a damaged index: that ended the repair.
    for numbers in [1, 5, 10] {
        let (mem, store) = create(1 << 20);
        let fill = |store: &Store, numbers: u32, at: u64| {
            let mut one = writer(store);
            for number in 0..numbers {
                put(&mut one, number, at, b"body");
            }
            one.commit().unwrap();
            one.close().unwrap();
        };
        fill(&store, 10, 1);
        let copy = mem.snapshot_all();
        fill(&store, 10, 2);
        fill(&store, 11, 2);
        drop(store);
        fill(&reopen(&copy), numbers, 3);
        assert!(mem.set_bytes("data/0000000002.seg", copy.bytes("data/0000000002.seg").unwrap()));
        let report = repair(&mem, RepairOptions::default());
        assert_eq!((report.lost.len(), report.remaining), (11, 0), "{report:?}");
        assert!(damage(&mem).is_empty());
    }
}
