//! A store as a restore sees it: what it knows from before is what the store says, and costs no read.

#![expect(clippy::arithmetic_side_effects, reason = "numbers below a hundred")]

use std::sync::Arc;

use super::super::carried::Carried;
use super::super::keys::Id;
use super::super::lookup::{Detail, File, Source};
use super::super::options::Filter;
use super::super::stored::Stored;
use crate::id::{Instant, RunKey};
use crate::snapshot::{Meta, bundle};
use crate::store::{Bound, PutKind, View};
use crate::vfs::{fault::Fault, mem::Mem};
use crate::{Body, Compression, CreateOptions, Put, Store, StoreId, Writer, WriterOptions};

const RUNS: u64 = 12;
const IDS: u64 = 9;

fn id(number: u64) -> Vec<u8> {
    format!("malware--{number:08x}-0000-4000-8000-000000000000").into_bytes()
}

fn run(number: u64) -> RunKey {
    RunKey::new(Instant(number * 60), 0)
}

fn put(writer: &mut Writer, number: u64, at: u64) {
    let name = id(number);
    let text = format!(r#"{{"objects":[{{"id":"{}","text":"{at}"}}]}}"#, String::from_utf8_lossy(&name));
    let found = bundle::parse(text.as_bytes()).unwrap();
    let object = found.objects[0].range.clone();
    let meta = Meta::of(&found, &name, None).encode();
    let instant = run(at).instant();
    writer.put_run(instant, &instant.canonical_name(), b"").unwrap();
    let body = Body::Raw(text.as_bytes());
    let put = Put { name: &name, run: run(at), kind: PutKind::Snapshot, meta: &meta, object, body };
    writer.put(&put).unwrap();
}

/// A store, its reads counted, of which ids have a snapshot in some runs, a deleted one in others, and id 0 none.
fn store() -> (Fault, Store) {
    let mem = Fault::new(Arc::new(Mem::new()), None);
    let options = CreateOptions {
        compression: Compression::None,
        store_id: Some(StoreId([7; 16])),
        ..CreateOptions::default()
    };
    let store = Store::create_on(Arc::new(mem.clone()), &options).unwrap();
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    let has = |number: u64, at: u64| (number * 7 + at * 5 + number * at).is_multiple_of(4);
    let all = || (1..IDS).flat_map(|number| (1..=RUNS).map(move |at| (number, at)));
    all().filter(|(number, at)| has(*number, *at)).for_each(|(number, at)| put(&mut writer, number, at));
    writer.commit().unwrap();
    for (number, at) in all().filter(|(number, at)| has(*number, *at) && (number + at).is_multiple_of(3)) {
        writer.delete(id(number), run(at)).unwrap();
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    (mem, store)
}

fn stored(view: &View) -> Stored<'_> {
    Stored::new(view, Detail { needs: true, texts: 1 << 20, ..Detail::default() }).unwrap()
}

#[test]
fn what_is_known_from_earlier_runs_is_what_the_store_says() {
    let (reads, store) = store();
    let view = store.view().without_maps();
    let knowing = stored(&view);
    let (mut found, mut none) = (0, 0);
    for at in (0..=RUNS).map(run) {
        for id in (0..IDS).map(|number| Id::of(&id(number))) {
            let later = Bound::AtLeast(at.next().unwrap());
            let ask =
                |source: &Stored<'_>| (source.newest(&id, at).unwrap(), source.find(&id, later).unwrap());
            let answer = ask(&knowing);
            assert_eq!(answer, ask(&stored(&view)), "{id:?} {at:?}");
            let before = reads.count();
            assert_eq!(ask(&knowing), answer);
            assert_eq!(reads.count(), before, "asked again, nothing is read");
            found += u32::from(answer.0.is_some()) + u32::from(answer.1.is_some());
            none += u32::from(answer.0.is_none()) + u32::from(answer.1.is_none());
            assert_eq!(knowing.exists(&id).unwrap(), stored(&view).exists(&id).unwrap());
        }
    }
    assert!(found > 50 && none > 50, "{found} {none}");
}

/// In a tree whose first run refers to nearly everything, each file was read twice: when it was carried ahead, and when its run came.
#[test]
fn a_file_that_was_carried_ahead_as_a_whole_is_not_read_again() {
    let (_, store) = store();
    let view = store.view().without_maps();
    let source = stored(&view);
    let at = (1..=RUNS).map(run).max_by_key(|at| view.iter_run(*at).unwrap().count()).unwrap();
    let all: Vec<Vec<u8>> =
        view.iter_run(at).unwrap().map(|found| found.unwrap().name().into_owned()).collect();
    let first = Id::of(&all[0]);
    let target = source.find(&first, Bound::In(at)).unwrap().unwrap().target;
    // Where a filter is at work, what it leaves out of a file has to be known.
    for keeps in [false, true] {
        let mut carried = Carried::new(keeps);
        carried.add(&first, &target);
        assert!(carried.holds(&first));
        let passed = carried.pass(at);
        assert_eq!((carried.holds(&first), passed.holds(&first, 0)), (keeps, keeps));
        let mut read = Vec::new();
        let mut each = |file: crate::Result<File>| {
            read.push(file?.name.bytes.to_vec());
            Ok(())
        };
        source.files(at, &Filter::default(), &passed, &mut each).unwrap();
        read.sort();
        let mut expect = all.get(usize::from(!keeps)..).unwrap().to_vec();
        expect.sort();
        assert_eq!(read, expect);
    }
    assert!(all.len() > 1);
}
