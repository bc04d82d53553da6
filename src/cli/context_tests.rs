//! Tests of how commands end.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use super::*;
use crate::error::Damage;

/// A sink that a test can look into, or that fails at once.
#[derive(Clone, Default)]
struct Shared {
    bytes: Rc<RefCell<Vec<u8>>>,
    failure: Option<io::ErrorKind>,
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.failure {
            Some(kind) => Err(kind.into()),
            None => self.bytes.borrow_mut().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn context(sink: &Shared) -> Context {
    Context::writing_to(Box::new(sink.clone()))
}

fn units(sink: &Shared) -> Vec<serde_json::Value> {
    let bytes = sink.bytes.borrow();
    bytes
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect()
}

#[test]
fn damage_found_before_an_interruption_decides_the_exit_code() {
    let sink = Shared::default();
    let context = context(&sink);
    context.note(Exit::Partial);
    context.note(Exit::Damage);
    assert_eq!(context.conclude(&Err(Error::Cancelled), false), Exit::Damage);
    let units = units(&sink);
    let end = units.last().unwrap();
    assert_eq!((end["exit"].as_u64(), &end["status"]), (Some(1), &"interrupted".into()));
}

#[test]
fn a_command_that_was_stopped_has_no_error_to_tell_and_one_whose_time_was_up_is_partial() {
    let sink = Shared::default();
    let stopped = context(&sink);
    assert_eq!(stopped.conclude(&Err(Error::Cancelled), false), Exit::Interrupted);
    let told = units(&sink);
    assert_eq!((told.len(), &told[1]["status"]), (2, &"interrupted".into()));
    let sink = Shared::default();
    let partial = context(&sink);
    partial.be_partial();
    assert_eq!(partial.conclude(&Ok(()), false), Exit::Partial);
    assert_eq!((&units(&sink)[1]["status"], &units(&sink)[1]["exit"]), (&"partial".into(), &3.into()));
}

#[test]
fn the_error_that_ended_a_command_is_a_unit_of_the_stream() {
    let sink = Shared::default();
    let error = Error::io("read", "data/x", io::Error::from_raw_os_error(5));
    assert_eq!(context(&sink).conclude(&Err(error), false), Exit::Failed);
    let units = units(&sink);
    assert_eq!(units.len(), 3);
    let unit = &units[1];
    assert_eq!((&unit["type"], &unit["fatal"]), (&"error".into(), &true.into()));
    assert_eq!((&unit["code"], &unit["op"], &unit["errno"]), (&"io".into(), &"read".into(), &"EIO".into()));
    assert_eq!(units[2]["status"], "failed");
}

#[test]
fn damage_that_does_not_end_a_command_is_told_with_its_place() {
    let sink = Shared::default();
    let context = context(&sink);
    let error = Error::damaged(Place::at("data/0000000003.seg", 96), Damage::Magic);
    context.report(&error, Some("20240115T140000Z")).unwrap();
    assert_eq!(context.conclude(&Ok(()), false), Exit::Damage);
    let units = units(&sink);
    let unit = &units[1];
    assert_eq!((unit["seg"].as_u64(), unit["off"].as_u64()), (Some(3), Some(96)));
    assert_eq!((&unit["fatal"], &unit["run"]), (&false.into(), &"20240115T140000Z".into()));
    assert_eq!(units[2]["status"], "complete");
}

#[test]
fn a_reader_that_left_is_a_failure_only_where_output_is_proof() {
    let left = Shared { failure: Some(io::ErrorKind::BrokenPipe), ..Shared::default() };
    let full = Shared { failure: Some(io::ErrorKind::StorageFull), ..Shared::default() };
    for (sink, may_lose, exit) in
        [(&left, true, Exit::Done), (&left, false, Exit::Failed), (&full, true, Exit::Failed)]
    {
        let context = context(sink);
        let result = context.out.line("x");
        assert!(result.is_err());
        assert_eq!(context.conclude(&result, may_lose), exit);
    }
}

#[test]
fn the_holder_of_the_lock_is_named_without_its_installation_path() {
    let text = holder(&["/opt/bin/store".into(), "import".into(), "/backup".into()]);
    assert!(text.contains("(\"store import /backup\") since 2"), "{text}");
    assert!(text.starts_with(&format!("pid {} on ", std::process::id())), "{text}");
    let long = holder(&["store".into(), "x".repeat(5000).into()]);
    assert!(long.len() < 400, "{long}");
}

#[test]
fn segments_are_known_by_their_files() {
    assert_eq!(segment_of("data/0000000041.seg"), Some(41));
    assert_eq!(segment_of("config"), None);
    assert_eq!(segment_of("data/x.seg"), None);
}
