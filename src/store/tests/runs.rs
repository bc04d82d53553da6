//! Tests of runs and their directory names.

use super::*;
use crate::store::compact::CompactOptions;

const AT: At = At(63_840_924_000);
/// Two directory names of one instant.
const NAMES: [&str; 2] = ["20240115T140000Z", "20240115T1400Z"];

fn put_in(writer: &mut Writer, name: &str, number: u32, body: &[u8]) -> Outcome {
    let (run, _) = writer.put_run(AT, name, b"m").unwrap();
    let (id, kind, body) = (id(number), PutKind::Snapshot, Body::Raw(body));
    writer.put(&Put { name: &id, run, kind, meta: b"", object: 0..0, body }).unwrap()
}

/// Puts the same two ids into both runs, each run with bodies of its own.
fn put_both(writer: &mut Writer) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for name in NAMES {
        outcomes.extend([1, 2].map(|number| put_in(writer, name, number, name.as_bytes())));
    }
    outcomes
}

fn names(view: &View) -> Vec<String> {
    view.runs().unwrap().into_iter().map(|info| info.name).collect()
}

#[track_caller]
fn expect_both(view: &View) {
    assert_eq!(names(view), NAMES);
    for name in NAMES {
        let run = view.run_named(AT, name).unwrap().unwrap();
        assert_eq!((run.snapshots, run.is_named, run.damage), (2, true, None), "{name}");
        for number in [1, 2] {
            let found = view.get(id(number), run.key).unwrap().unwrap();
            assert_eq!(found.body().unwrap(), name.as_bytes());
        }
    }
}

/// Changes bytes of the data of the newest record of a run.
fn hit(mem: &Mem, name: &str, change: impl Fn(&mut [u8])) {
    let view = reopen(mem).view();
    let key = Key::of_run(view.run_named(AT, name).unwrap().unwrap().key);
    let at = view.ask(|state| state.locate(&key)).unwrap().unwrap();
    let path = crate::format::segment::file_name(at.segment);
    let mut bytes = mem.bytes(&path).unwrap();
    let start = usize::try_from(at.offset).unwrap();
    let size = usize::try_from(u32::from_le_bytes(bytes[start + 4..start + 8].try_into().unwrap())).unwrap();
    change(&mut bytes[start + 45..start + size]);
    assert!(mem.set_bytes(&path, bytes));
}

type Damage = fn(&mut [u8]);

/// The damages that a record's data may have: a name that reads as it is, one that does not, one that reads as another.
fn damages() -> [(&'static str, Damage); 4] {
    [
        ("meta", |data| *data.last_mut().unwrap() ^= 1),
        ("all", |data| data.fill(0xff)),
        ("a digit", |data| {
            if let Some(digit) = data.iter_mut().find(|byte| **byte == b'4') {
                *digit = b'6';
            } else {
                data[0] ^= 0x10;
            }
        }),
        ("length", |data| data[3] ^= 2),
    ]
}

/// Once its record had gone to the segment (1 MiB staged, or a look at what is staged), the name of a run put in the open
/// transaction was forgotten. The next name of the same instant got the same key: the second directory took the first one's
/// place, and snapshots of equal names replaced each other.
#[test]
fn a_second_name_of_an_instant_is_another_run_after_the_first_went_to_the_segment() {
    for look in [true, false] {
        let (mem, store) = create(1 << 24);
        let mut one = writer(&store);
        for name in NAMES {
            put_in(&mut one, name, 1, name.as_bytes());
            if look {
                one.view().unwrap();
            } else {
                let mut noise = blake3::Hasher::new().update(name.as_bytes()).finalize_xof();
                let mut body = vec![0; 2 << 20];
                noise.fill(&mut body);
                put_in(&mut one, name, 3, &body);
            }
        }
        let (run, outcome) = one.put_run(AT, NAMES[0], b"m").unwrap();
        assert_eq!((run.discriminator(), outcome), (0, Outcome::Unchanged));
        one.close_committed();
        let view = reopen(&mem).view();
        assert_eq!(names(&view), NAMES, "looked: {look}");
        for name in NAMES {
            let run = view.run_named(AT, name).unwrap().unwrap().key;
            assert_eq!(view.get(id(1), run).unwrap().unwrap().body().unwrap(), name.as_bytes());
        }
    }
}

/// The names of an instant were searched up to the first key that was free. When the first of two runs was deleted, and
/// compaction had dropped the DELETE, the second was not found any more and was stored once more under the free key.
#[test]
fn a_run_is_found_behind_one_that_is_deleted_and_compacted_away() {
    let (mem, store) = create(1 << 20);
    let mut one = writer(&store);
    put_both(&mut one);
    one.commit().unwrap();
    let first = one.put_run(AT, NAMES[0], b"m").unwrap().0;
    for number in [1, 2] {
        assert!(one.delete(id(number), first).unwrap());
    }
    assert!(one.delete_run(first).unwrap());
    one.commit().unwrap();
    let options = CompactOptions { threshold: 1, ..CompactOptions::default() };
    one.compact(&options, &mut |_| {}, &crate::progress::Stop::default()).unwrap();
    one.close().unwrap();
    let store = reopen(&mem);
    assert!(store.view().ask(|state| state.run_row(first)).unwrap().is_none(), "nothing tells of it");
    let found = store.view().run_named(AT, NAMES[1]).unwrap().unwrap();
    assert_eq!(found.key.discriminator(), 1);
    let mut one = writer(&store);
    assert_eq!(put_in(&mut one, NAMES[1], 1, NAMES[1].as_bytes()), Outcome::Unchanged);
    assert_eq!(one.pending(), 0);
    assert_eq!(put_both(&mut one)[..2], [Outcome::Added, Outcome::Added]);
    one.close_committed();
    expect_both(&reopen(&mem).view());
}

/// One damaged record of a run ended every import with an error, and each `put` into that run.
#[test]
fn a_run_whose_record_is_damaged_is_healed_by_putting_it_again() {
    for (what, damage) in damages() {
        for hurt in [&NAMES[..1], &NAMES[1..], &NAMES[..]] {
            let (mem, store) = create(1 << 20);
            let mut one = writer(&store);
            put_both(&mut one);
            one.close_committed();
            let keys: Vec<RunKey> = store.view().runs().unwrap().iter().map(|info| info.key).collect();
            // The records first: a damaged one has no name to be found by.
            let broken = mem.clone();
            for name in hurt.iter().rev() {
                hit(&broken, name, damage);
            }
            let view = reopen(&broken).view();
            let infos = view.runs().unwrap();
            assert_eq!(infos.iter().map(|info| info.key).collect::<Vec<_>>(), keys);
            assert_eq!(infos.iter().filter(|info| info.error().is_some()).count(), hurt.len());
            assert_eq!(infos.iter().filter(|info| !info.is_named).count(), hurt.len());
            assert_ne!(infos[0].name, infos[1].name, "{what} {hurt:?}");
            let mut one = writer(&reopen(&broken));
            let outcomes = put_both(&mut one);
            assert_eq!(outcomes, [Outcome::Unchanged; 4], "{what} {hurt:?}");
            assert_eq!(one.pending(), u64::try_from(hurt.len()).unwrap(), "a record each");
            one.close_committed();
            expect_both(&reopen(&broken).view());
        }
    }
}

/// A directory name that was new took the place of the one whose record was damaged.
#[test]
fn a_new_name_leaves_a_damaged_one_that_is_surely_another_alone() {
    let (mem, store) = create(1 << 20);
    let mut one = writer(&store);
    put_in(&mut one, NAMES[1], 1, b"one");
    one.close_committed();
    hit(&mem, NAMES[1], damages()[0].1);
    let mut one = writer(&reopen(&mem));
    for name in NAMES {
        put_in(&mut one, name, 1, b"one");
    }
    one.close_committed();
    assert_eq!(names(&reopen(&mem).view()), [NAMES[1], NAMES[0]]);
}

/// Repair gave a run whose record was lost the name of its instant, which another run had.
#[test]
fn a_repair_gives_a_run_no_name_that_another_one_has() {
    let (mem, store) = create(1 << 20);
    let mut one = writer(&store);
    put_both(&mut one);
    one.close_committed();
    hit(&mem, NAMES[1], damages()[1].1);
    let (lock, options) = (WriterOptions::default(), crate::store::repair::RepairOptions::default());
    let report =
        reopen(&mem).repair(&lock, options, None, &mut |_| {}, &crate::progress::Stop::default()).unwrap();
    assert_eq!((report.lost.len(), report.remaining), (1, 0));
    let infos = reopen(&mem).view().runs().unwrap();
    assert_eq!(
        infos.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(),
        [NAMES[0], "20240115T140000z"]
    );
    assert!(infos.iter().all(|info| info.is_named && info.snapshots == 2));
}

trait CloseCommitted {
    fn close_committed(self);
}

impl CloseCommitted for Writer {
    fn close_committed(mut self) {
        self.commit().unwrap();
        self.close().unwrap();
    }
}
