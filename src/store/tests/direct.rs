//! Tests of the direct way of a lookup: it says what the search says, or nothing.

use super::*;
use crate::store::direct::Unsure;
use crate::vfs::Soon;

/// All questions about runs 1 to 6, and one before and one behind them.
fn questions() -> Vec<When> {
    let of = |at: u64| [When::In(run(at)), When::AtOrBefore(At(at * 60)), When::After(At(at * 60))];
    std::iter::once(When::Newest).chain((0..8).flat_map(of)).collect()
}

fn told(answer: Option<Snapshot<'_>>) -> Option<(Key, Vec<u8>, Vec<u8>)> {
    answer.map(|found| (found.key(), found.name().into_owned(), found.body().unwrap().into_owned()))
}

/// Asks both ways for each of some ids. Returns how many questions the direct way answered, with and without a snapshot.
fn compare(view: &View, numbers: std::ops::Range<u32>) -> (usize, usize) {
    let (mut found, mut none) = (0, 0);
    for number in numbers {
        let id = id(number);
        let name = crate::id::Name::of(&id);
        for when in questions() {
            let expect = told(view.search(&name, when).unwrap());
            let way = view.state().way(&name.key, Soon::Next);
            if let Ok(answer) = view.state().take_way(way, &name, when) {
                let answer = told(answer);
                assert_eq!(answer, expect, "{number} {when:?}");
                found += usize::from(answer.is_some());
                none += usize::from(answer.is_none());
            }
            assert_eq!(told(view.find(&id, when).unwrap()), expect, "{number} {when:?}");
        }
    }
    (found, none)
}

/// Ids below 60 have one snapshot, those below 70 two, those below 80 one that was deleted; the others none.
fn fill(writer: &mut Writer) {
    for number in 0..80 {
        put(writer, number, u64::from(number % 5) + 1, format!("first of {number}").as_bytes());
    }
    for number in 60..70 {
        put(writer, number, 6, format!("second of {number}").as_bytes());
    }
    writer.commit().unwrap();
    for number in 70..80 {
        writer.delete(id(number), run(u64::from(number % 5) + 1)).unwrap();
    }
    writer.commit().unwrap();
}

#[test]
fn the_direct_way_says_what_the_search_says_in_one_layer_and_in_several() {
    let (mem, store) = create(1 << 20);
    let mut writer = writer(&store);
    fill(&mut writer);
    writer.close().unwrap();
    let view = reopen(&mem).view();
    // Until a segment is mapped, no record is found in a straight line.
    compare(&view, 0..10);
    let (found, none) = compare(&view, 0..100);
    assert!(found >= 60 * 8, "{found} of 60 ids, each with eight questions that its only snapshot answers");
    assert!(none >= 20 * questions().len(), "{none}: of absent ids the index says so by itself");

    // Ids that two layers know are for the search, whichever of them is right.
    let store = reopen(&mem);
    let mut writer = super::writer(&store);
    for number in 0..20 {
        put(&mut writer, number, 6, format!("later of {number}").as_bytes());
    }
    writer.commit().unwrap();
    compare(&store.view(), 0..100);
    writer.close().unwrap();
    let view = reopen(&mem).view();
    compare(&view, 0..100);
    let (found, _) = compare(&view, 20..60);
    assert!(found >= 40 * 8, "{found}: of ids that only one layer knows");
}

#[test]
fn whatever_bit_of_a_record_flips_the_direct_way_says_nothing() {
    let (mem, store) = create(1 << 20);
    let mut writer = writer(&store);
    for number in 0..20 {
        put(&mut writer, number, 1, b"a body");
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    let view = reopen(&mem).view();
    let (id, at) = (id(7), view.latest(id(7)).unwrap().unwrap().location());
    let (start, size) =
        (usize::try_from(at.offset).unwrap(), view.latest(&id).unwrap().unwrap().stored_len());
    let path = crate::format::segment::file_name(at.segment);
    for bit in 0..usize::try_from(size).unwrap() * 8 {
        let hit = mem.snapshot_all();
        let mut bytes = hit.bytes(&path).unwrap();
        bytes[start + bit / 8] ^= 1 << (bit % 8);
        assert!(hit.set_bytes(&path, bytes));
        let view = reopen(&hit).view();
        // So that the segment is mapped.
        for number in (0..20).filter(|number| *number != 7) {
            assert!(view.latest(super::id(number)).unwrap().is_some());
        }
        let name = crate::id::Name::of(&id);
        let way = view.state().way(&name.key, Soon::Next);
        assert!(matches!(view.state().take_way(way, &name, When::Newest), Err(Unsure)), "bit {bit}");
        assert!(matches!(view.latest(&id), Err(Error::Damaged { .. })), "bit {bit}");
    }
}
