//! Parts of a check, and checks that go on: together they tell what a check of the whole tells.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::check::{ALL, Lines, run_check};
use super::*;
use crate::error::Result;
use crate::format::hints;
use crate::id::{Location, SegmentId};
use crate::index::{EntryFlags, OverlayEntry};
use crate::progress::Stop;
use crate::store::check::{
    CheckOptions, CheckSink, Finding, Moment, RecordReport, SegmentReport, Shard, check, judge, load_frozen,
};
use crate::store::checkpoint::Plan;
use crate::store::compact::CompactOptions;
use crate::store::index_file::IndexFiles;
use crate::store::open::{Loaded, UseIndex, load};
use crate::vfs::{ReadVfs, Vfs};

/// Small segments, of which some are damaged, one is missing and one has no header.
pub(super) fn many_segments() -> Mem {
    let mem = Mem::new();
    let store = Store::create_on(Arc::new(mem.clone()), &options(4096, Compression::None)).unwrap();
    let mut writer = writer(&store);
    for number in 0..300 {
        put(
            &mut writer,
            number % 200,
            u64::from(number / 100),
            &vec![u8::try_from(number % 250).unwrap(); 300],
        );
        if number % 7 == 6 {
            writer.commit().unwrap();
        }
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    let paths: Vec<String> = mem.paths().into_iter().filter(|path| path.starts_with("data/")).collect();
    assert!(paths.len() > 12, "{}", paths.len());
    assert!(mem.remove_raw(&paths[6]));
    for (number, place) in [(2, 700), (3, 30), (8, 1500), (9, 2000), (10, 20)] {
        let mut bytes = mem.bytes(&paths[number]).unwrap();
        bytes[place] ^= 1;
        mem.set_bytes(&paths[number], bytes);
    }
    mem
}

#[test]
fn the_parts_of_a_store_together_tell_what_a_check_of_the_whole_tells() {
    let mem = many_segments();
    let (whole, summary) = run_check(&mem, &ALL);
    assert!(summary.damage > 5, "{summary:?}");
    let expect: BTreeSet<&String> = whole.log.iter().collect();
    for of in [2, 3, 7, 100] {
        let mut parts = Vec::new();
        let mut damage = 0;
        for index in 1..=of {
            let shard = Shard::new(index, of).unwrap();
            let (lines, summary) = run_check(&mem, &CheckOptions { shard: Some(shard), ..ALL });
            assert_eq!(lines.files, whole.files);
            assert!(lines.ends.iter().all(|end| shard.has(end.segment)));
            damage += summary.damage;
            parts.extend(lines.log);
        }
        assert_eq!(parts.iter().collect::<BTreeSet<_>>(), expect, "{of} parts");
        assert_eq!((parts.len(), damage), (whole.log.len(), summary.damage), "{of} parts");
    }
}

/// A segment of a copy of the store that went its own way holds good records in their own places. A check of the whole saw that
/// COMMITs no longer follow each other and that the index has entries without a record; checks of its parts, of which no
/// one saw it all, called each segment good.
#[test]
fn a_segment_of_a_copy_of_the_store_is_found_by_the_parts_as_by_the_whole() {
    let copies = [0u32, 1].map(|way| {
        let mem = Mem::new();
        let store = Store::create_on(Arc::new(mem.clone()), &options(4096, Compression::None)).unwrap();
        for part in 0..5 {
            let mut writer = writer(&store);
            for number in 0..8 {
                let number = part * 8 + number;
                // The same length under other ids, or other bytes under the same.
                let id = if part == 1 { number + way * 1000 } else { number };
                put(&mut writer, id, u64::from(part), &[u8::try_from(way).unwrap(); 300]);
            }
            writer.commit().unwrap();
            writer.close().unwrap();
        }
        mem
    });
    let paths: Vec<String> = copies[0].paths().into_iter().filter(|path| path.starts_with("data/")).collect();
    for path in &paths {
        let mem = copies[0].snapshot_all();
        mem.set_bytes(path, copies[1].bytes(path).unwrap());
        let (whole, summary) = run_check(&mem, &ALL);
        assert!(summary.damage > 0 || path == paths.last().unwrap(), "{path}: {summary:?}");
        for of in 2..=5 {
            let mut parts = Vec::new();
            for index in 1..=of {
                let shard = Some(Shard::new(index, of).unwrap());
                parts.extend(run_check(&mem, &CheckOptions { shard, ..ALL }).0.log);
            }
            parts.sort_unstable();
            let mut log = whole.log.clone();
            log.sort_unstable();
            assert_eq!(parts, log, "{path} in {of} parts");
        }
        for end in &whole.ends {
            let (lines, _) = run_check(&mem, &CheckOptions { from: Some(end.next), ..ALL });
            assert!(lines.log.iter().all(|line| whole.log.contains(line)), "{path} from {:?}", end.next);
            let behind = whole.places.partition_point(|(segment, _)| *segment < end.next.segment.0);
            assert_eq!(lines.places, whole.places[behind..], "{path} from {:?}", end.next);
        }
    }
}

#[test]
fn a_check_goes_on_from_any_segment_and_tells_what_is_behind_it() {
    let mem = many_segments();
    let (whole, _) = run_check(&mem, &ALL);
    for end in &whole.ends {
        let (lines, _) = run_check(&mem, &CheckOptions { from: Some(end.next), ..ALL });
        let behind = whole.places.partition_point(|(segment, _)| *segment < end.next.segment.0);
        assert_eq!(lines.places, whole.places[behind..], "from {:?}", end.next);
        let log: BTreeSet<&String> = lines.log.iter().collect();
        assert!(log.is_subset(&whole.log.iter().collect()), "from {:?}", end.next);
    }
}

#[test]
fn a_check_whose_time_is_up_ends_between_segments_and_says_where_to_go_on() {
    let mem = many_segments();
    let (whole, _) = run_check(&mem, &ALL);
    let long_ago = Instant::now().checked_sub(Duration::from_secs(1));
    let (mut log, mut from, mut runs) = (Vec::new(), None, 0);
    loop {
        let (lines, summary) = run_check(&mem, &CheckOptions { deadline: long_ago, from, ..ALL });
        log.extend(lines.log);
        runs += 1;
        let Some(cursor) = summary.cursor else { break };
        assert!(from.is_none_or(|from: Location| from < cursor), "each run comes further");
        from = Some(cursor);
    }
    assert!(runs > 10, "{runs}");
    assert_eq!(log.iter().collect::<BTreeSet<_>>(), whole.log.iter().collect());
}

#[test]
fn what_was_found_damaged_before_is_read_again_in_its_order() {
    let mem = many_segments();
    let (whole, _) = run_check(&mem, &ALL);
    let again: BTreeSet<SegmentId> = [SegmentId(2), SegmentId(3), SegmentId(9999)].into();
    let from = Some(Location { segment: SegmentId(8), offset: 0 });
    let (lines, _) = run_check(&mem, &CheckOptions { from, again: Some(&again), ..ALL });
    let is_meant = |place: &&(u32, u64)| place.0 >= 8 || again.contains(&SegmentId(place.0));
    assert_eq!(lines.places, whole.places.iter().filter(is_meant).copied().collect::<Vec<_>>());
    let long_ago = Instant::now().checked_sub(Duration::from_secs(1));
    let (lines, summary) =
        run_check(&mem, &CheckOptions { from, again: Some(&again), deadline: long_ago, ..ALL });
    assert_eq!(lines.ends.iter().map(|end| end.segment.0).collect::<Vec<_>>(), [2, 3, 8]);
    assert!(summary.cursor > from, "each run comes further");
}

/// What a segment lacks that ends behind a COMMIT, or behind its header, was told when the next header was read, and the segment
/// had been called good before: with `--record` it was skipped from then on, and so the damage forgotten.
#[test]
fn a_segment_that_is_cut_anywhere_is_never_called_good() {
    let (mem, store) = create(1 << 20);
    for segment in 0..2u32 {
        let mut writer = writer(&store);
        for number in 0..4 {
            put(&mut writer, segment * 4 + number, 1, b"{}");
            if number % 2 == 1 {
                writer.commit().unwrap();
            }
        }
        writer.close().unwrap();
    }
    let paths: Vec<String> = mem.paths().into_iter().filter(|path| path.starts_with("data/")).collect();
    for (number, path) in (1..).zip(&paths) {
        let whole = mem.bytes(path).unwrap();
        for len in 0..whole.len() {
            mem.set_bytes(path, whole[..len].to_vec());
            for shard in [None, Some(Shard::new(number % 2 + 1, 2).unwrap())] {
                let (lines, summary) = run_check(&mem, &CheckOptions { shard, ..ALL });
                assert!(summary.damage > 0, "{path} {len} {shard:?}");
                let end = lines.ends.iter().find(|end| end.segment == SegmentId(number)).unwrap();
                assert!(end.bad > 0, "{path} {len} {shard:?}: {:?}", lines.log);
                let behind = lines.ends.iter().filter(|end| end.segment != SegmentId(number));
                assert!(behind.map(|end| end.bad).sum::<u64>() == 0, "{path} {len} {shard:?}");
            }
        }
        mem.set_bytes(path, whole);
    }
    assert_eq!(paths.len(), 2);
}

/// An entry too many of the index, which names the place of a record that is not its own, was seen by a check of the whole only:
/// each part had as many bytes of live records as the hints said.
#[test]
fn an_entry_too_many_of_the_index_is_found_by_the_part_that_has_its_segment() {
    // Of the run's own record, and of one that was superseded.
    for offset in [96, 148] {
        let (mem, store) = create(512);
        for part in 0..4 {
            let mut writer = writer(&store);
            for number in 0..4 {
                put(&mut writer, number, 1, format!("{part} {number}").as_bytes());
            }
            writer.commit().unwrap();
            writer.close().unwrap();
        }
        let first = SegmentId(1);
        enter_too_much(&mem, Location { segment: first, offset });
        let (lines, summary) = run_check(&mem, &ALL);
        assert_eq!(summary.damage, 1, "{:?}", lines.log);
        assert!(lines.places.contains(&(1, offset.into())), "{offset}");
        for of in 2..=4 {
            for index in 1..=of {
                let shard = Shard::new(index, of).unwrap();
                let (lines, summary) = run_check(&mem, &CheckOptions { shard: Some(shard), ..ALL });
                assert_eq!(summary.damage, u64::from(shard.has(first)), "{index}/{of}: {:?}", lines.log);
            }
        }
    }
}

/// Publishes the index again with one entry more.
fn enter_too_much(mem: &Mem, at: Location) {
    let vfs: Arc<dyn Vfs> = Arc::new(mem.clone());
    let read = vfs.clone().as_read();
    let Loaded { config, working, .. } = load(&read, UseIndex::Newest, true).unwrap();
    let mut state = working.state;
    let newest = state.layers[0].clone();
    let overlay = Arc::make_mut(&mut state.overlay);
    overlay.seed_run(newest.run(run(1)).unwrap().unwrap());
    let entry = OverlayEntry { at, flags: EntryFlags::default(), stored_len: 1, file_len: 1 };
    overlay.put(Key::new(ObjectKey::of(b"malware--of-nobody"), run(1)), entry, None);
    let segments = newest.segments().map(|row| row.map(|(id, len)| (id, len.unwrap_or(0))));
    let segments: Vec<_> = segments.collect::<Result<_>>().unwrap();
    let files = IndexFiles { read: &read, vfs: Some(&*vfs), config: &config };
    files.publish(&state, Plan::Base, newest.covered(), &segments).unwrap();
}

/// What a writer published after the check had loaded its state was called "not in use".
#[test]
fn files_that_a_writer_publishes_meanwhile_get_no_notice() {
    let (mem, store) = create(4096);
    let fill = |number: u32| {
        let mut writer = writer(&store);
        put(&mut writer, number, 1, b"{}");
        writer.commit().unwrap();
        writer.close().unwrap();
    };
    fill(1);
    let read: Arc<dyn ReadVfs> = Arc::new(mem.clone());
    let Moment { loaded, hidden, .. } = load_frozen(&read).unwrap();
    fill(2);
    let mut lines = Lines::default();
    let summary = judge(&read, &loaded, &hidden, &ALL, &mut lines, &Stop::default()).unwrap();
    assert_eq!((summary.damage, summary.notices), (0, 0), "{:?}", lines.files);
}

/// Bytes of the newest records of each segment.
#[derive(Default)]
struct Newest(BTreeMap<u32, u64>);

impl CheckSink for Newest {
    fn finding(&mut self, finding: &Finding) -> Result<()> {
        panic!("{finding:?}")
    }

    fn record(&mut self, record: &RecordReport) -> Result<()> {
        *self.0.entry(record.at.segment.0).or_default() +=
            if record.live { u64::from(record.len) } else { 0 };
        Ok(())
    }

    fn segment(&mut self, _: &SegmentReport) -> Result<()> {
        Ok(())
    }
}

/// A check counts the entries of the index only where this is not so: a pass over all of it that a good store never needs.
#[test]
fn the_hints_of_a_store_say_how_many_bytes_the_newest_records_of_each_segment_have() {
    let (mem, store) = create(4096);
    for part in 0..6u32 {
        let mut writer = writer(&store);
        for number in 0..60 {
            put(&mut writer, number * (part + 1) % 97, u64::from(number % 4), &[1; 200]);
            if number % 9 == part {
                writer.delete(id(number), run(u64::from(number % 3))).unwrap();
            }
            if number % 20 == 19 {
                writer.commit().unwrap();
            }
        }
        writer.commit().unwrap();
        if part == 3 {
            writer.compact(&CompactOptions::default(), &mut |_| {}, &Stop::default()).unwrap();
        }
        writer.close().unwrap();
        let mut newest = Newest::default();
        check(&vfs(&mem), &ALL, &mut newest, &Stop::default()).unwrap();
        let commit = store.view().commit();
        let bytes = mem.bytes(&hints::file_name(commit)).unwrap();
        let hints = hints::decode(&bytes, store.id(), commit).unwrap();
        let noted = hints.segments.iter().map(|(id, of)| (*id, of.live + of.tombstones));
        assert_eq!(noted.filter(|(id, _)| newest.0.contains_key(id)).collect::<BTreeMap<_, _>>(), newest.0);
    }
}

fn vfs(mem: &Mem) -> Arc<dyn ReadVfs> {
    Arc::new(mem.clone())
}
