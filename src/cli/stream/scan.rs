//! A pass over the store as a stream: what `manifest` and `check` have in common.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::id::SegmentId;
use crate::store::Store;
use crate::store::check::{CheckOptions, Judge, check};

use super::super::args::{LevelArg, ScanArgs};
use super::super::context::Context;
use super::super::files;
use super::super::output::unix_time;
use super::super::text::show_size;
use super::record::Record;
use super::resume::Before;
use super::sink::Sink;
use super::tally::Tally;
use super::wrong::Wrong;

/// What is told of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tell {
    /// Nothing of good ones.
    Findings,
    /// Each good live snapshot as a result.
    All,
    /// Each good live snapshot as an object.
    Objects,
}

/// What to do.
pub(crate) struct Task<'t> {
    pub(crate) verb: &'static str,
    pub(crate) level: LevelArg,
    pub(crate) args: &'t ScanArgs,
    pub(crate) tell: Tell,
    pub(crate) record: Option<&'t Path>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) judge: Option<Judge<'t>>,
    /// Whether a repair follows, which says by itself what could not be repaired.
    pub(crate) repairs: bool,
}

/// What a scan came to.
pub(crate) struct Scan {
    pub(super) tally: Tally,
    /// How deep it looked.
    pub(super) level: LevelArg,
    /// What is wrong.
    pub(crate) wrong: Wrong,
    /// Damage known: found now or before.
    pub(crate) known_bad: u64,
    /// Where the time was up before its end: how to go on, if that was not told yet.
    pub(crate) go_on: Option<String>,
}

/// Carries out a task.
///
/// # Errors
/// `NoStore`, `UnsupportedVersion`, `BadInput` for a file that it cannot go on from, `Cancelled`, failures of the output.
/// Damage is noted, not an error; so is what cannot be read.
pub(crate) fn scan(context: &Context, task: &Task<'_>) -> Result<Scan> {
    let stop = context.stop()?;
    let vfs = files::reading(&context.store);
    // Only for names: a store that does not open is scanned all the same.
    let store = Store::open_read_only(&context.store).ok();
    let view = store.as_ref().map(Store::view);
    let shard = task.args.shard.map(|shard| shard.to_string());
    let before = task
        .args
        .resume
        .as_ref()
        .map(|path| Before::read(path, task.verb, task.level.name(), shard.as_deref()))
        .transpose()?
        .flatten();
    let again: Option<BTreeSet<SegmentId>> =
        before.as_ref().map(|before| before.bad.keys().copied().collect());
    let record = task.record.map(|path| open_record(context, path)).transpose()?.map(RefCell::new);
    let (now, _) = unix_time();
    let since = task.max_age.map(|age| now.saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX)));
    let skip = |id: SegmentId, len: u64| match (&record, since) {
        (Some(record), Some(since)) => record.borrow().is_good((id, len), task.level.into(), since, now),
        _ => false,
    };
    let options = CheckOptions {
        level: task.level.into(),
        jobs: task.args.jobs,
        records: task.tell != Tell::Findings,
        from: before.as_ref().and_then(|before| before.cursor),
        again: again.as_ref(),
        shard: task.args.shard,
        skip: since.is_some().then_some(&skip),
        deadline: task.args.max_duration.and_then(|span| Instant::now().checked_add(span)),
        judge: task.judge,
    };
    let mut sink = Sink::new(context, task, view.as_ref(), before, record.as_ref());
    let result = check(&vfs, &options, &mut sink, &stop);
    sink.meter.finish();
    sink.conclude(result)
}

fn open_record(context: &Context, path: &Path) -> Result<Record> {
    let (record, reason) = Record::open(path, &context.store)?;
    if let Some(reason) = reason {
        context.console.warn(&format!("{}: {reason}; starting a new one", path.display()));
    }
    Ok(record)
}

impl Scan {
    /// One line about all that was seen.
    pub(crate) fn sentence(&self) -> String {
        let tally = &self.tally;
        let skipped = match tally.skipped {
            0 => String::new(),
            count => format!(", {count} not read again"),
        };
        let (segments, records, bytes) = (tally.segments, tally.records, show_size(tally.bytes));
        let what = match self.level {
            LevelArg::Index => format!("the index of {segments} segments{skipped}, no records"),
            LevelArg::Crc | LevelArg::Content => {
                format!("{segments} segments{skipped}, {records} records, {bytes}")
            }
        };
        let good = if self.level == LevelArg::Index { "in place" } else { "good" };
        let Tally { ok, damage, notices, .. } = tally;
        format!("checked {what}: {ok} snapshots {good}, {damage} damaged places, {notices} notices")
    }

    /// Damage that this run found.
    pub(crate) fn damage(&self) -> u64 {
        self.tally.damage
    }
}
