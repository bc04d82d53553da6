//! Tests of what becomes of a check's reports: the check itself is played by hand.

use std::io::{self, Write};
use std::rc::Rc;

use serde_json::Value;

use super::*;
use crate::cli::args::{LevelArg, ScanArgs};
use crate::error::Damage;
use crate::id::{CommitId, SegmentId, StoreId};

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plays a check of three segments; returns its exit and its units.
fn played(play: impl FnOnce(&mut Sink<'_>) -> Result<CheckSummary>) -> (Exit, Vec<Value>) {
    let out = Shared::default();
    let context = Context::writing_to(Box::new(out.clone()));
    let args = ScanArgs { jobs: 0, shard: None, resume: None, max_duration: None };
    let task = Task {
        verb: "check",
        level: LevelArg::Crc,
        args: &args,
        tell: Tell::Findings,
        record: None,
        max_age: None,
        judge: None,
        repairs: false,
    };
    let mut sink = Sink::new(&context, &task, None, None, None);
    let end = Location { segment: SegmentId(3), offset: 100 };
    let (segments, bytes, live) = (3, 300, 30);
    let begin = CheckBegin { store: StoreId([7; 16]), commit: CommitId(3), end, segments, bytes, live };
    sink.begin(&begin).unwrap();
    let result = play(&mut sink);
    let result = sink.conclude(result).map(|_| ());
    let exit = context.conclude(&result, false);
    let bytes = out.0.borrow();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    (exit, lines.map(|line| serde_json::from_slice(line).unwrap()).collect())
}

fn segment(number: u32) -> SegmentReport {
    let next = Location { segment: SegmentId(number.saturating_add(1)), offset: 0 };
    let segment = SegmentId(number);
    SegmentReport {
        segment,
        bytes: 100,
        records: 12,
        live: 10,
        ok: 10,
        present: true,
        next,
        ..Default::default()
    }
}

fn kinds(units: &[Value]) -> Vec<&str> {
    units.iter().map(|unit| unit["type"].as_str().unwrap()).collect()
}

#[test]
fn s8_s9_a_segment_that_may_or_can_not_be_read_is_an_error_and_a_finding_and_the_scan_goes_on() {
    for (number, name) in [(13, "EACCES"), (5, "EIO")] {
        let (exit, units) = played(|sink| {
            sink.segment(&segment(1))?;
            let place = Place::at("data/0000000002.seg", 4096);
            let error = Error::io("read", "data/0000000002.seg", io::Error::from_raw_os_error(number));
            sink.unreadable(&place, &error)?;
            let detail = error.to_string();
            let (severity, len, damage, key) = (Severity::Damage, None, None, None);
            sink.finding(&Finding {
                severity,
                place,
                len,
                damage,
                detail,
                key,
                name: None,
                run: None,
                live: None,
                kind: None,
            })?;
            sink.segment(&SegmentReport { unreadable: true, bad: 1, ok: 0, ..segment(2) })?;
            sink.segment(&segment(3))?;
            Ok(CheckSummary::default())
        });
        assert_eq!(
            kinds(&units),
            [
                "begin",
                "segment",
                "checkpoint",
                "error",
                "result",
                "segment",
                "checkpoint",
                "segment",
                "checkpoint",
                "end"
            ]
        );
        let error = &units[3];
        assert_eq!(
            (&error["fatal"], &error["errno"], &error["op"]),
            (&false.into(), &name.into(), &"read".into())
        );
        assert_eq!((&error["seg"], &error["off"]), (&2.into(), &4096.into()));
        assert_eq!((&units[4]["state"], &units[5]["state"]), (&"unreadable".into(), &"unreadable".into()));
        let end = &units[9];
        assert_eq!(
            (exit, &end["status"], &end["counts"]["unreadable"]),
            (Exit::Damage, &"complete".into(), &1.into())
        );
        assert_eq!((&end["counts"]["ok"], &end["known_bad"]), (&20.into(), &1.into()));
    }
}

#[test]
fn s11_what_is_stopped_within_a_segment_goes_on_at_its_start() {
    let (exit, units) = played(|sink| {
        sink.segment(&segment(1))?;
        let (severity, damage) = (Severity::Damage, Some(Damage::Magic));
        let place = Place::at("data/0000000002.seg", 96);
        let (len, key, name, live) = (None, None, None, None);
        sink.finding(&Finding {
            severity,
            place,
            len,
            damage,
            detail: String::new(),
            key,
            name,
            run: None,
            live,
            kind: Some(RecordKind::Snapshot),
        })?;
        Err(Error::Cancelled)
    });
    assert_eq!(kinds(&units), ["begin", "segment", "checkpoint", "result", "checkpoint", "end"]);
    assert_eq!(units[5]["cursor"], serde_json::json!({"seg": 2, "off": 0}));
    assert_eq!(units[4]["done"]["bad"], 0, "who goes on finds it again");
    assert_eq!((&units[4]["cursor"], &units[5]["status"]), (&units[5]["cursor"], &"interrupted".into()));
    assert_eq!(exit, Exit::Damage, "damage counts more than a signal");
}

#[test]
fn a_limit_that_ends_the_scan_says_where_to_go_on() {
    let cursor = Some(Location { segment: SegmentId(2), offset: 0 });
    let (exit, units) = played(|sink| {
        sink.segment(&segment(1))?;
        Ok(CheckSummary { cursor, ..CheckSummary::default() })
    });
    let end = units.last().unwrap();
    assert_eq!((exit, &end["status"], &end["cursor"]["seg"]), (Exit::Partial, &"partial".into(), &2.into()));
}

/// The bytes of a missing segment are none, yet it is told of, and a later run does not come back to it.
#[test]
fn s3_a_missing_segment_is_told_of_like_any_other() {
    let (exit, units) = played(|sink| {
        let (severity, damage, live) = (Severity::Damage, Some(Damage::Missing), Some(true));
        for offset in [96, 200] {
            let place = Place::at("data/0000000001.seg", offset);
            let (len, key, name) = (None, None, None);
            sink.finding(&Finding {
                severity,
                place,
                len,
                damage: damage.clone(),
                detail: String::new(),
                key,
                name,
                run: None,
                live,
                kind: Some(RecordKind::Snapshot),
            })?;
        }
        sink.segment(&SegmentReport {
            present: false,
            bytes: 0,
            records: 0,
            live: 0,
            ok: 0,
            bad: 2,
            ..segment(1)
        })?;
        sink.segment(&segment(2))?;
        Ok(CheckSummary::default())
    });
    assert_eq!(
        (exit, &units[3]["state"], &units[4]["done"]["bad"]),
        (Exit::Damage, &"missing".into(), &2.into())
    );
    let counts = &units.last().unwrap()["counts"];
    assert_eq!(
        (&counts["missing"], &counts["objects"], &counts["segments"]),
        (&2.into(), &12.into(), &1.into())
    );
}
