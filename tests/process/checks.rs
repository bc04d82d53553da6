//! Checks beside a writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use stix_store::progress::Stop;
use stix_store::store::check::{CheckOptions, CheckSink, Finding, Level, SegmentReport, Severity, check};
use stix_store::store::compact::CompactOptions;
use stix_store::store::repair::RepairOptions;
use stix_store::vfs::ReadVfs;
use stix_store::vfs::disk::Disk;
use stix_store::{Body, CreateOptions, Put, PutKind, Store, WriterOptions};

use super::SOON;
use crate::common::{Dir, instant};

/// How often to check; each beside some commits.
const CHECKS: u32 = 120;

/// Keeps what is damage.
#[derive(Default)]
struct Alarms(Vec<String>);

impl CheckSink for Alarms {
    fn finding(&mut self, finding: &Finding) -> stix_store::Result<()> {
        if finding.severity == Severity::Damage {
            self.0.push(format!("{}: {}", finding.place, finding.detail));
        }
        Ok(())
    }

    fn segment(&mut self, _: &SegmentReport) -> stix_store::Result<()> {
        Ok(())
    }
}

/// Commits, closes and compacts, over and over, always in other files.
fn write(store: &Store, is_done: &AtomicBool) {
    // A child that was forked and is not yet the command holds what this process has open.
    let options = WriterOptions { lock_wait: SOON, ..WriterOptions::default() };
    let mut round = 0u32;
    while !is_done.load(Ordering::Acquire) {
        let mut writer = store.writer(&options).unwrap();
        let name = format!("2024010{}T000000Z", round % 3 + 1);
        for part in 0..4 {
            let (run, _) = writer.put_run(instant(&name), &name, &[]).unwrap();
            for number in 0..5 {
                let name = format!("tool--{}", (round + number) % 9);
                let body = format!("{round} {part} {}", "x".repeat(300));
                let (kind, body) = (PutKind::Snapshot, Body::Raw(body.as_bytes()));
                let put = Put { name: name.as_bytes(), run, kind, meta: &[], object: 0..1, body };
                writer.put(&put).unwrap();
            }
            writer.delete(format!("tool--{}", (round + part) % 7), run).unwrap();
            writer.commit().unwrap();
        }
        if round.is_multiple_of(3) {
            let options = CompactOptions { threshold: 1, ..CompactOptions::default() };
            writer.compact(&options, &mut |_| {}, &Stop::default()).unwrap();
        }
        writer.close().unwrap();
        round += 1;
    }
}

/// A check loaded a state and then read the log to its end at that time: what a writer had appended in between was
/// "damage", as the index of the state that was loaded lacked it. Beside a writer that put and compacted, 41 of 230
/// checks of a healthy store told of damage, and ended with exit code 1. Segments that a compaction removed at the
/// wrong moment were as bad.
#[test]
fn a_check_beside_a_writer_that_puts_compacts_and_closes_never_finds_damage() {
    let dir = Dir::new();
    let options = CreateOptions { segment_size: 8192, ..CreateOptions::default() };
    let store = Store::create(dir.store(), &options).unwrap();
    let is_done = AtomicBool::new(false);
    let read: Arc<dyn ReadVfs> = Arc::new(Disk::new(dir.store()));
    let alarms = thread::scope(|scope| {
        let writing = scope.spawn(|| write(&store, &is_done));
        let checking = scope.spawn(|| {
            let mut alarms = Alarms::default();
            for number in 0..CHECKS {
                let level = [Level::Index, Level::Crc, Level::Content][usize::try_from(number % 3).unwrap()];
                check(
                    &read,
                    &CheckOptions { level, ..CheckOptions::default() },
                    &mut alarms,
                    &Stop::default(),
                )
                .unwrap();
                if number % 10 == 0 {
                    let output = dir.run(&["check"]);
                    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
                }
                if number % 10 == 5 {
                    // Opened anew each time: a handle that stays keeps the writer from removing anything.
                    let reader = Store::open_read_only(dir.store()).unwrap();
                    let options = RepairOptions { dry_run: true, ..RepairOptions::default() };
                    let how = WriterOptions::default();
                    let told = reader.repair(&how, options, None, &mut |_| {}, &Stop::default()).unwrap();
                    assert_eq!((told.damage, told.segments.len()), (0, 0), "{told:?}");
                }
            }
            alarms.0
        });
        let checked = checking.join();
        is_done.store(true, Ordering::Release);
        writing.join().unwrap();
        checked.unwrap()
    });
    assert!(alarms.is_empty(), "{} false alarms: {:#?}", alarms.len(), &alarms[..alarms.len().min(5)]);
    dir.expect(0, &["check"]);
}
