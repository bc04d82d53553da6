//! What a check tells does not depend on how it goes about it: threads, parts, stops, and what it could keep in memory.

use std::collections::BTreeSet;

use super::check_parts::many_segments;
use super::*;
use crate::error::Result;
use crate::id::SegmentId;
use crate::limits::SEGMENT_SIZE_DEFAULT_BYTES;
use crate::progress::Stop;
use crate::store::check::{
    CheckBegin, CheckOptions, CheckSink, CheckSummary, Finding, Level, RecordReport, SegmentReport, check,
};
use crate::vfs::ReadVfs;

/// All that was told, as lines.
#[derive(Default)]
pub(super) struct Lines {
    /// About files that are no segments.
    pub(super) files: Vec<String>,
    /// About the log.
    pub(super) log: Vec<String>,
    /// Places of the log, in the order in which they were told.
    pub(super) places: Vec<(u32, u64)>,
    pub(super) ends: Vec<SegmentReport>,
    pub(super) begun: Option<CheckBegin>,
}

impl Lines {
    fn add(&mut self, file: &str, offset: Option<u64>, line: String) {
        let number = file.strip_prefix("data/").and_then(crate::format::segment::parse_file_name);
        match number {
            Some(number) => {
                self.places.push((number.0, offset.unwrap_or(0)));
                self.log.push(line);
            }
            None => self.files.push(line),
        }
    }
}

impl CheckSink for Lines {
    fn begin(&mut self, begin: &CheckBegin) -> Result<()> {
        assert_eq!(self.begun.replace(*begin), None, "told once");
        Ok(())
    }

    fn finding(&mut self, finding: &Finding) -> Result<()> {
        // An entry of the index that no record backs is about a segment as a whole, and comes at its end.
        let is_of_index = matches!(finding.damage, Some(crate::error::Damage::Index { .. }));
        let offset = finding.place.offset.or(is_of_index.then_some(u64::MAX));
        self.add(&finding.place.file, offset, format!("{finding:?}"));
        Ok(())
    }

    fn record(&mut self, record: &RecordReport) -> Result<()> {
        let file = crate::format::segment::file_name(record.at.segment);
        self.add(&file, Some(record.at.offset.into()), format!("{record:?}"));
        Ok(())
    }

    fn segment(&mut self, report: &SegmentReport) -> Result<()> {
        self.log.push(format!("{report:?}"));
        self.ends.push(*report);
        Ok(())
    }
}

pub(super) fn run_check(mem: &Mem, options: &CheckOptions<'_>) -> (Lines, CheckSummary) {
    let (lines, summary) = run_unordered(mem, options);
    let back = lines.places.iter().zip(lines.places.iter().skip(1)).find(|(place, next)| place > next);
    assert_eq!(back, None, "ascending by segment and offset: {}", lines.log.join("\n"));
    assert!(lines.begun.is_some());
    (lines, summary)
}

/// The same where the list of segments may be damaged: that one is missing shows only at the end then.
pub(super) fn run_unordered(mem: &Mem, options: &CheckOptions<'_>) -> (Lines, CheckSummary) {
    let vfs: Arc<dyn ReadVfs> = Arc::new(mem.clone());
    let mut lines = Lines::default();
    let summary = check(&vfs, options, &mut lines, &Stop::default()).unwrap();
    (lines, summary)
}

pub(super) const ALL: CheckOptions<'_> = CheckOptions {
    level: Level::Crc,
    jobs: 1,
    records: true,
    from: None,
    again: None,
    shard: None,
    skip: None,
    deadline: None,
    judge: None,
};

/// A store of several mebibytes a segment, one record longer than a piece among many short ones, some of them superseded,
/// and an uncommitted tail.
fn large() -> Mem {
    let mem = Mem::new();
    let store =
        Store::create_on(Arc::new(mem.clone()), &options(SEGMENT_SIZE_DEFAULT_BYTES, Compression::None))
            .unwrap();
    for part in 0..2u32 {
        let mut writer = writer(&store);
        for number in 0..1500 {
            let len = if number == 700 { 3 << 20 } else { 900 + number % 1000 };
            let body = vec![u8::try_from(number % 250).unwrap(); usize::try_from(len).unwrap()];
            put(&mut writer, number + part * 1000, u64::from(number % 3), &body);
            if number % 400 == 399 {
                writer.commit().unwrap();
            }
        }
        if part == 1 {
            writer.commit().unwrap();
            put(&mut writer, 9999, 1, &vec![7; 2 << 20]);
            // What was not committed is in the file all the same.
            drop(writer);
        } else {
            writer.commit().unwrap();
            writer.close().unwrap();
        }
    }
    mem
}

/// The same with damage of all kinds in it.
fn damaged(mem: &Mem) -> Mem {
    let mem = mem.snapshot_all();
    let paths: Vec<String> = mem.paths().into_iter().filter(|path| path.starts_with("data/")).collect();
    for (number, path) in paths.iter().enumerate() {
        let mut bytes = mem.bytes(path).unwrap();
        let len = bytes.len();
        for place in (0..40).map(|n| 5000 + number + n * (len - 6000) / 40) {
            bytes[place] ^= 0x10;
        }
        // Across the border between two pieces.
        bytes[(1 << 20) - 2000..(1 << 20) + 2000].fill(0);
        mem.set_bytes(path, bytes);
    }
    mem
}

#[test]
fn any_number_of_threads_tells_the_same() {
    let intact = large();
    for mem in [&intact, &damaged(&intact)] {
        for level in [Level::Index, Level::Crc, Level::Content] {
            let expect = run_check(mem, &CheckOptions { level, ..ALL });
            for jobs in [2, 3, 8, 64] {
                let (lines, summary) = run_check(mem, &CheckOptions { level, jobs, ..ALL });
                assert_eq!(
                    (lines.files, lines.log),
                    (expect.0.files.clone(), expect.0.log.clone()),
                    "{jobs}"
                );
                assert_eq!(summary, expect.1, "{jobs}");
            }
        }
    }
    let (lines, summary) = run_check(&intact, &ALL);
    assert_eq!(summary.damage, 0, "{:?}", lines.files);
    assert_eq!(lines.begun.map(|begun| begun.live), Some(summary.ok));
}

/// A payload that holds a copy of a whole segment, at a place where pieces begin: a thread that looks for the first record of
/// its piece must not take those for the log.
#[test]
fn a_payload_that_embeds_a_segment_misleads_no_thread() {
    let mem = large();
    let segment = mem.paths().into_iter().find(|path| path.starts_with("data/")).unwrap();
    let copy = mem.bytes(&segment).unwrap();
    let store = reopen(&mem);
    let mut writer = writer(&store);
    put(&mut writer, 5000, 5, &copy);
    put(&mut writer, 5001, 5, b"behind it");
    writer.commit().unwrap();
    writer.close().unwrap();
    let expect = run_check(&mem, &ALL);
    assert_eq!(expect.1.damage, 0);
    for jobs in [2, 5] {
        let (lines, summary) = run_check(&mem, &CheckOptions { jobs, ..ALL });
        assert_eq!((lines.log, summary), (expect.0.log.clone(), expect.1));
    }
}

#[test]
fn what_is_skipped_is_not_read_and_all_else_is_told() {
    let mem = many_segments();
    let (whole, _) = run_check(&mem, &ALL);
    let skip = |id: SegmentId, len: u64| {
        assert!(len > 0);
        id.0.is_multiple_of(2)
    };
    let (lines, _) = run_check(&mem, &CheckOptions { skip: Some(&skip), ..ALL });
    for end in &lines.ends {
        assert_eq!(end.skipped, end.segment.0.is_multiple_of(2) && end.present, "{end:?}");
    }
    let kept = |place: &&(u32, u64)| lines.ends.iter().any(|end| end.segment.0 == place.0 && !end.skipped);
    assert_eq!(lines.places, whole.places.iter().filter(kept).copied().collect::<Vec<_>>());
}

/// One transaction with more to tell than is kept of it: it is read a second time.
#[test]
fn a_transaction_with_very_much_wrong_is_told_whole() {
    let mem = Mem::new();
    let options = options(SEGMENT_SIZE_DEFAULT_BYTES, Compression::None);
    let store = Store::create_on(Arc::new(mem.clone()), &options).unwrap();
    let mut writer = writer(&store);
    for number in 0..800 {
        put(&mut writer, number, 1, &[5; 200]);
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    let path = mem.paths().into_iter().find(|path| path.starts_with("data/")).unwrap();
    let mut bytes = mem.bytes(&path).unwrap();
    let len = bytes.len();
    for place in (400..len - 400).step_by(250) {
        bytes[place] ^= 0x20;
    }
    mem.set_bytes(&path, bytes);
    let (lines, summary) = run_check(&mem, &CheckOptions { records: false, ..ALL });
    assert!(summary.damage > 500, "{summary:?}");
    assert_eq!(lines.places.iter().collect::<BTreeSet<_>>().len(), lines.places.len(), "each place once");
    let (again, all) = run_check(&mem, &CheckOptions { jobs: 4, ..ALL });
    assert_eq!(all, summary);
    assert!(again.places.len() > lines.places.len());
}

#[test]
fn the_index_alone_shows_what_is_missing_and_cut() {
    let mem = many_segments();
    let options = CheckOptions { level: Level::Index, ..ALL };
    let (lines, summary) = run_check(&mem, &options);
    let gone = lines.log.iter().filter(|line| line.contains("Gone")).count();
    assert!(gone > 2 && summary.damage > 4, "{summary:?}");
    assert_eq!(summary.records, 0, "no record was read");
    let intact = large();
    let (lines, summary) = run_check(&intact, &options);
    assert_eq!(summary.damage, 0, "{:?}", lines.log);
    assert_eq!(lines.begun.map(|begun| begun.live), Some(summary.ok));
    let last = intact.paths().into_iter().find(|path| path.starts_with("data/")).unwrap();
    let mut bytes = intact.bytes(&last).unwrap();
    bytes.truncate(bytes.len() / 2);
    intact.set_bytes(&last, bytes);
    let (lines, cut) = run_check(&intact, &options);
    assert!(cut.damage > 100 && cut.ok < summary.ok, "{cut:?} {:?}", lines.files);
}

/// A check asked the index whose records went with a missing segment, came to a damaged page of it, and ended there: of the
/// segments behind it nothing was told, and a repair found nothing to do.
#[test]
fn a_damaged_page_of_the_index_ends_no_check_that_has_to_ask_it() {
    let mem = many_segments();
    let index = mem.paths().into_iter().find(|path| path.starts_with("index.")).unwrap();
    let intact = mem.bytes(&index).unwrap();
    let mut knows = 0;
    for page in 1..intact.len() / 4096 {
        let mut bytes = intact.clone();
        bytes[page * 4096 + 17] ^= 4;
        mem.set_bytes(&index, bytes);
        for level in [Level::Index, Level::Crc] {
            let (lines, summary) = run_unordered(&mem, &CheckOptions { level, ..ALL });
            assert!(summary.damage > 0, "{summary:?}");
            let told = lines.ends.iter().filter(|end| end.present).count();
            assert_eq!(told, 42, "page {page}, {level:?}: every segment that is there");
            knows += usize::from(lines.ends.iter().any(|end| end.segment.0 == 7 && !end.present));
        }
    }
    assert!(knows > 2, "the missing one, wherever the list of segments is intact");
}

/// A segment that a writer has begun beside the check, or that a crash has left without a header, was damage to the check that
/// reads the index only.
#[test]
fn a_segment_without_a_header_in_which_nothing_was_committed_is_no_damage() {
    for len in [0, 10, 95] {
        let mem = large();
        let whole = mem.bytes("data/0000000001.seg").unwrap();
        mem.set_bytes("data/0000000009.seg", whole[..len].to_vec());
        for level in [Level::Index, Level::Crc] {
            let (lines, summary) = run_check(&mem, &CheckOptions { level, ..ALL });
            assert_eq!(summary.damage, 0, "{len}, {level:?}: {:?} {:?}", lines.files, lines.log.last());
        }
    }
}

#[test]
fn more_threads_than_a_system_has_are_not_asked_for() {
    let mem = many_segments();
    let expect = run_check(&mem, &ALL);
    let (lines, summary) = run_check(&mem, &CheckOptions { jobs: 1_000_000, ..ALL });
    assert_eq!((lines.log, summary), (expect.0.log, expect.1));
}
