//! Lookups that do not read what is long lead to where the others do.

use super::*;
use crate::id::CommitId;
use crate::progress::Stop;
use crate::store::{Bound, Lead};

/// Says where a lookup led, for comparison; also whether it read the record.
fn led(view: &View, id: &[u8], bound: Bound) -> (String, bool) {
    let lead = match view.lead(id, bound) {
        Ok(Some(lead)) => lead,
        Ok(None) => return ("none".to_owned(), true),
        Err(error) => return (error.to_string(), true),
    };
    let run = lead.run();
    let (found, was_read) = match lead {
        Lead::Read(snapshot) => (Ok(snapshot), true),
        Lead::Long(at, key) => (view.snapshot_at(at, &key), false),
    };
    let said = found.and_then(|found| {
        assert_eq!(found.run(), run);
        let name = found.name().into_owned();
        Ok(format!("{} {name:?} {:?}", run.0, found.into_body()?))
    });
    (said.unwrap_or_else(|error| error.to_string()), was_read)
}

fn found(answer: Result<Option<Snapshot<'_>>>) -> String {
    let said = answer.and_then(|found| {
        found.map(|found| Ok(format!("{} {:?} {:?}", found.run().0, found.name(), found.body()?))).transpose()
    });
    said.map_or_else(|error| error.to_string(), |said| said.unwrap_or_else(|| "none".to_owned()))
}

/// Bytes that no compression makes shorter.
fn noise(len: usize, mut state: u64) -> Vec<u8> {
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..len).map(|_| next()).collect()
}

fn alias(writer: &mut Writer, number: u32, at: u64, target: u32) {
    let (name, target) = (id(number), id(target));
    let body = Body::Raw(&target);
    let put = Put { name: &name, run: run(at), kind: PutKind::Alias, meta: b"", object: 0..0, body };
    writer.put(&put).unwrap();
}

/// A restore that asked for each object of a file of thousands by the object's id read the whole file for each of them.
#[test]
fn a_lookup_leads_to_what_find_finds_and_reads_no_long_record() {
    let (mem, store) = create(1 << 20);
    let mut writer = writer(&store);
    for at in 1..=4 {
        put(&mut writer, 1, at, &noise(20_000, at));
        put(&mut writer, 2, at, format!("short {at}").as_bytes());
        alias(&mut writer, 11, at, 1);
        alias(&mut writer, 12, at, 2);
        alias(&mut writer, 13, at, 99);
    }
    writer.commit().unwrap();
    for (number, at) in [(1, 2), (2, 3), (1, 4)] {
        writer.delete(id(number), run(at)).unwrap();
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    let store = reopen(&mem);
    let (mut long, mut short) = (0, 0);
    for view in [store.view(), store.view().without_maps()] {
        for id in [1, 2, 3, 11, 12, 13].map(id) {
            for at in (0..=5).map(run) {
                let later = At(at.instant().0.saturating_sub(1));
                for (bound, expect) in [
                    (Bound::In(at), view.get(&id, at)),
                    (Bound::AtMost(at), view.at_or_before(&id, at.instant())),
                    (Bound::AtLeast(at), view.closest_after(&id, later)),
                ] {
                    // Run 0 is at the beginning of time: nothing is later than what was before.
                    if at.instant() == At(0) && matches!(bound, Bound::AtLeast(_)) {
                        continue;
                    }
                    let (said, was_read) = led(&view, &id, bound);
                    assert_eq!(said, found(expect), "{bound:?}");
                    long += u32::from(!was_read);
                    short += u32::from(was_read && said != "none");
                }
            }
        }
    }
    assert!(long >= 40 && short >= 40, "{long} {short}");
}

#[test]
fn what_came_after_a_commit_is_counted_in_the_end_of_the_log() {
    let (mem, store) = create(4096);
    let mut writer = writer(&store);
    let mut commits = vec![store.view().commit()];
    for round in 0..6u32 {
        for number in 0..10 {
            // Two in three stay as they are.
            let body = format!("{number} {}", if number % 3 == 0 { round } else { 0 });
            put(&mut writer, number, u64::from(number) + 1, body.as_bytes());
        }
        put(&mut writer, 100 + round, 1, b"new");
        writer.commit().unwrap();
        commits.push(store.view().commit());
    }
    writer.close().unwrap();
    let store = reopen(&mem);
    let slow = |view: &View, since: CommitId, until: At| {
        let runs = view.runs().unwrap().into_iter().filter(|info| info.key.instant() <= until);
        let all = runs.flat_map(|info| view.iter_run(info.key).unwrap().collect::<Vec<_>>());
        all.filter(|snapshot| snapshot.as_ref().unwrap().first_commit() > since).count()
    };
    let compare = |view: &View| {
        for since in &commits {
            for until in [At(0), At(60), At(300), At::MAX] {
                let count = view.count_since(*since, until, &Stop::default()).unwrap();
                assert_eq!(usize::try_from(count).unwrap(), slow(view, *since, until), "{since} {until:?}");
            }
        }
    };
    compare(&store.view());
    assert!(slow(&store.view(), commits[3], At::MAX) > 5);
}
