//! Parts of a check, and checks that go on, held against the check of the whole: over stores in all states that a crash, a
//! compaction or a lost index leaves them in, with damage to every segment.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::check::{ALL, Lines, run_check, run_unordered};
use super::*;
use crate::format::segment::file_name;
use crate::id::{Location, SegmentId};
use crate::progress::Stop;
use crate::store::check::{CheckOptions, Level, Shard};
use crate::store::compact::CompactOptions;

/// A session that writes a segment: some new ids, and one that every session puts again. `closes`: it leaves an index; else it was
/// killed behind its COMMITs.
fn session(mem: &Mem, number: u32, closes: bool) {
    let mut writer = writer(&reopen(mem));
    for part in 0..2 {
        for id in 0..3 {
            put(&mut writer, number * 10 + part * 3 + id, 1, &[u8::try_from(number).unwrap(); 40]);
        }
        put(&mut writer, 1000, 1, format!("{number} {part}").as_bytes());
        writer.commit().unwrap();
    }
    if closes {
        writer.close().unwrap();
    }
}

/// As many sessions that left an index, and as many behind it that did not.
fn sessions(closed: u32, killed: u32) -> Mem {
    let (mem, _) = create(1 << 20);
    for number in 1..=closed + killed {
        session(&mem, number, number <= closed);
    }
    mem
}

fn segments(mem: &Mem) -> Vec<String> {
    mem.paths().into_iter().filter(|path| path.starts_with("data/")).collect()
}

fn remove(mem: &Mem, prefix: &str) {
    for path in mem.paths().iter().filter(|path| path.starts_with(prefix)) {
        mem.remove_raw(path);
    }
}

/// A store that was compacted, with what that left out put back, and sessions behind it. `covered`: by an index.
fn compacted(covered: bool) -> Mem {
    let mem = sessions(4, 0);
    let before = mem.snapshot_all();
    let mut one = writer(&reopen(&mem));
    let options = CompactOptions { threshold: 1, ..CompactOptions::default() };
    one.compact(&options, &mut |_| {}, &Stop::default()).unwrap();
    one.close().unwrap();
    let is_of_index = |path: &str| path.starts_with("index.") || path.starts_with("hints.");
    if !covered {
        remove(&mem, "index.");
        remove(&mem, "hints.");
    }
    for path in before.paths() {
        if path.starts_with("data/") || !covered && is_of_index(&path) {
            mem.set_bytes(&path, before.bytes(&path).unwrap());
        }
    }
    for number in 5..=7 {
        session(&mem, number, false);
    }
    mem
}

/// A store whose index was made when a segment had gone, and so does not list it.
fn indexed_without(number: usize) -> Mem {
    let mem = sessions(3, 0);
    mem.remove_raw(&segments(&mem)[number]);
    remove(&mem, "index.");
    remove(&mem, "hints.");
    session(&mem, 4, true);
    session(&mem, 5, false);
    mem
}

/// A store in which one record was written when a segment had gone.
fn written_without(number: usize) -> Mem {
    let mem = sessions(4, 0);
    mem.remove_raw(&segments(&mem)[number]);
    let mut writer = writer(&reopen(&mem));
    put(&mut writer, 2000, 1, b"behind the loss");
    writer.commit().unwrap();
    writer.close().unwrap();
    assert!(mem.paths().iter().any(|path| path.contains(".delta")));
    mem
}

/// The stores, each with a name.
fn stores() -> Vec<(&'static str, Mem)> {
    let without = |mem: Mem, hints: bool| {
        remove(&mem, "index.");
        if hints {
            remove(&mem, "hints.");
        }
        mem
    };
    vec![
        ("an index of all", sessions(5, 0)),
        ("an index and a tail", sessions(2, 4)),
        ("no index", without(sessions(5, 0), true)),
        ("hints without an index", without(sessions(5, 0), false)),
        ("hints of an earlier index", without(sessions(2, 4), false)),
        ("a tail alone", sessions(0, 5)),
        ("leftovers of a compaction", compacted(true)),
        ("a compaction that no index covers", compacted(false)),
        ("an index made after a loss", indexed_without(1)),
        ("an index made after the first segment was lost", indexed_without(0)),
        ("a record written after a loss", written_without(1)),
    ]
}

/// What can happen to a segment.
fn damages(bytes: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let len = bytes.len();
    let mut all = vec![("removed".to_owned(), None)];
    for cut in [0, 10, 96, len / 2, len - 70, len - 1] {
        all.push((format!("cut at {cut} of {len}"), Some(bytes[..cut].to_vec())));
    }
    for at in [4, 40, 97, len / 2, len - 100, len - 20] {
        let mut wrong = bytes.to_vec();
        wrong[at] ^= 0x15;
        all.push((format!("wrong at {at} of {len}"), Some(wrong)));
    }
    all
}

fn apply(mem: &Mem, path: &str, bytes: Option<&Vec<u8>>) {
    match bytes {
        Some(bytes) => assert!(mem.set_bytes(path, bytes.clone())),
        None => assert!(mem.remove_raw(path)),
    }
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

fn differs(what: &str, told: &[String], expect: &[String]) -> std::result::Result<(), String> {
    if told == expect {
        return Ok(());
    }
    let short = |lines: &[String], others: &[String]| -> Vec<String> {
        let own = lines.iter().filter(|line| !others.contains(line));
        own.map(|line| line.chars().take(260).collect()).take(6).collect()
    };
    Err(format!("{what}: lacks {:#?}, has besides {:#?}", short(expect, told), short(told, expect)))
}

/// That an index has other entries than the log has records is told by a check of the whole, and by a part that has
/// the segment of such an entry.
fn files_of(lines: &Lines) -> Vec<String> {
    lines.files.iter().filter(|line| !line.contains("other entries")).cloned().collect()
}

fn agree(mem: &Mem) -> std::result::Result<(), String> {
    let (mut whole, summary) = run_unordered(mem, &ALL);
    let (again, _) = run_unordered(mem, &CheckOptions { jobs: 2, ..ALL });
    differs("two jobs", &again.log, &whole.log)?;
    // Of a segment that nobody lists any more a check of the whole tells alone, and last.
    let listed: BTreeSet<u32> = whole.ends.iter().map(|end| end.segment.0).collect();
    let unlisted = (0..20).filter(|id| !listed.contains(id)).map(|id| file_name(SegmentId(id)));
    let unlisted: Vec<String> = unlisted.collect();
    let is_told_by_all = |line: &String| {
        !line.contains("damage: Some(Chain") || !unlisted.iter().any(|file| line.contains(file))
    };
    whole.log.retain(is_told_by_all);
    whole.places.retain(|(id, _)| listed.contains(id));
    if let Some(pair) = whole.places.windows(2).find(|pair| pair[0] > pair[1]) {
        return Err(format!("not ascending: lacks {pair:?}"));
    }
    let index = CheckOptions { level: Level::Index, ..ALL };
    let (expect, mut parts) = (run_unordered(mem, &index).0.log, Vec::new());
    for part in 1..=3 {
        let shard = Some(Shard::new(part, 3).unwrap());
        parts.extend(run_unordered(mem, &CheckOptions { shard, ..index }).0.log);
    }
    differs("the index alone, in parts", &sorted(parts), &sorted(expect))?;
    let expect = sorted(whole.log.clone());
    for of in 1..=4 {
        for jobs in [1, 2] {
            let mut parts = Vec::new();
            for index in 1..=of {
                let shard = Some(Shard::new(index, of).unwrap());
                let (lines, _) = run_unordered(mem, &CheckOptions { jobs, shard, ..ALL });
                differs(&format!("files of {index}/{of}"), &files_of(&lines), &files_of(&whole))?;
                parts.extend(lines.log);
            }
            parts.retain(is_told_by_all);
            differs(&format!("{of} parts, {jobs} jobs"), &sorted(parts), &expect)?;
        }
    }
    let long_ago = Instant::now().checked_sub(Duration::from_secs(1));
    let (mut log, mut from) = (Vec::new(), None);
    loop {
        let (lines, part) = run_unordered(mem, &CheckOptions { deadline: long_ago, from, ..ALL });
        log.extend(lines.log);
        if part.cursor.is_none() {
            break;
        }
        from = part.cursor;
    }
    log.retain(is_told_by_all);
    differs("a segment at a time", &sorted(log), &expect)?;
    for end in &whole.ends {
        let (lines, _) = run_unordered(mem, &CheckOptions { from: Some(end.next), ..ALL });
        let before: Vec<_> = whole.places.iter().filter(|place| place.0 < end.next.segment.0).collect();
        let behind = lines.places.iter().filter(|(id, _)| listed.contains(id));
        let told = behind.count() + before.len();
        if told != whole.places.len() {
            let count = (lines.places.len(), before.len(), whole.places.len());
            return Err(format!("from {:?}: {count:?}: {:#?}", Location { ..end.next }, lines.log));
        }
    }
    assert!(summary.damage < 1000);
    Ok(())
}

fn all_agree(cases: impl Iterator<Item = (String, Mem)>) {
    let (mut count, mut wrong) = (0, Vec::new());
    for (name, mem) in cases {
        count += 1;
        wrong.extend(agree(&mem).err().map(|why| format!("{name}: {why}")));
    }
    let some: Vec<&String> = wrong.iter().take(4).collect();
    let names: Vec<&str> = wrong.iter().map(|one| one.split(": lacks").next().unwrap()).collect();
    assert!(wrong.is_empty(), "{} of {count}: {names:#?}\n{}", wrong.len(), some[0]);
}

/// A segment that no index lists yet, and that is missing, was told of by a check of the whole as a break in the chain of
/// COMMITs; each part called all that it read good.
#[test]
fn a_missing_segment_that_no_index_lists_is_found_by_the_part_that_has_it() {
    let mem = sessions(2, 4);
    mem.remove_raw(&segments(&mem)[3]);
    agree(&mem).unwrap();
    let (whole, summary) = run_check(&mem, &ALL);
    assert_eq!(summary.damage, 1, "{:#?}", whole.log);
    let gone: Vec<u32> = whole.ends.iter().filter(|end| !end.present).map(|end| end.segment.0).collect();
    assert_eq!(gone, [4]);
}

/// A writer that began when a segment had gone left it out of the list of its index. The whole check told of a break in the chain
/// then, and no more whose records had been lost; and each part said that all was well.
#[test]
fn a_segment_that_has_gone_is_missed_as_before_when_something_was_written_since() {
    // The first segment has the record of the run, which is written again; without the last COMMIT nothing is written.
    for number in 1..3 {
        let mem = sessions(4, 0);
        mem.remove_raw(&segments(&mem)[number]);
        let (before, _) = run_check(&mem, &ALL);
        let mem = written_without(number);
        agree(&mem).unwrap();
        let (whole, summary) = run_check(&mem, &ALL);
        let gone: Vec<u32> = whole.ends.iter().filter(|end| !end.present).map(|end| end.segment.0).collect();
        let own = |lines: &Lines| -> Vec<_> {
            lines.places.iter().filter(|(id, _)| gone.contains(id)).copied().collect()
        };
        assert_eq!(usize::try_from(gone[0]).unwrap(), number + 1);
        assert!(summary.damage > 1, "{:#?}", whole.log);
        assert_eq!(own(&whole), own(&before), "{number}");
    }
}

/// The list of segments of the index is on one of these pages: without it a missing one was told of last, and by no part.
#[test]
fn the_parts_agree_with_the_whole_where_a_page_of_the_index_and_a_segment_are_gone() {
    let mem = sessions(4, 1);
    let index = mem.paths().into_iter().find(|path| path.starts_with("index.")).unwrap();
    let bytes = mem.bytes(&index).unwrap();
    let cases = (1..bytes.len() / 4096).flat_map(|page| {
        let mut bytes = bytes.clone();
        bytes[page * 4096 + 17] ^= 4;
        mem.set_bytes(&index, bytes);
        let mem = mem.snapshot_all();
        segments(&mem).into_iter().map(move |path| {
            let mem = mem.snapshot_all();
            mem.remove_raw(&path);
            (format!("page {page}, {path}"), mem)
        })
    });
    all_agree(cases);
}

#[test]
fn the_parts_agree_with_the_whole_whatever_happened_to_one_segment() {
    let cases = stores().into_iter().flat_map(|(name, mem)| {
        segments(&mem).into_iter().flat_map(move |path| {
            let mem = mem.snapshot_all();
            damages(&mem.bytes(&path).unwrap()).into_iter().map(move |(what, bytes)| {
                let mem = mem.snapshot_all();
                apply(&mem, &path, bytes.as_ref());
                (format!("{name}, {path} {what}"), mem)
            })
        })
    });
    all_agree(cases);
}

#[test]
fn the_parts_agree_with_the_whole_where_two_segments_are_missing_or_damaged() {
    let few = |bytes: &[u8]| {
        let mut header = bytes.to_vec();
        header[40] ^= 0x15;
        let cut = |len: usize| Some(bytes[..len].to_vec());
        [
            ("removed", None),
            ("halved", cut(bytes.len() / 2)),
            ("cut", cut(bytes.len() - 1)),
            ("header", Some(header)),
        ]
    };
    let cases = stores().into_iter().flat_map(|(name, mem)| {
        let paths = segments(&mem);
        let mut cases = Vec::new();
        for (at, one) in paths.iter().enumerate() {
            for (next, other) in paths.iter().enumerate().skip(at + 1) {
                for (first, bytes) in few(&mem.bytes(one).unwrap()) {
                    for (second, others) in few(&mem.bytes(other).unwrap()) {
                        if next == at + 1 || first == "removed" {
                            let mem = mem.snapshot_all();
                            apply(&mem, one, bytes.as_ref());
                            apply(&mem, other, others.as_ref());
                            cases.push((format!("{name}, {one} {first}, {other} {second}"), mem));
                        }
                    }
                }
            }
        }
        cases
    });
    all_agree(cases);
}
