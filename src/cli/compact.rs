//! `store compact`: reclaims what was overwritten and deleted.

use serde::Serialize;

use crate::error::Result;
use crate::store::compact::{CompactOptions, CompactReport};

use super::args::CompactArgs;
use super::context::Context;
use super::exit::Exit;
use super::text::show_size;

/// A `compact` unit: what was done, or would be.
#[derive(Serialize)]
struct CompactUnit<'a> {
    segments: Vec<u32>,
    bytes: u64,
    moved_records: u64,
    moved_bytes: u64,
    waiting_bytes: u64,
    damaged: Vec<DamagedUnit<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// A segment that was left alone.
#[derive(Serialize)]
struct DamagedUnit<'a> {
    seg: u32,
    detail: &'a str,
}

/// Runs the command.
///
/// # Errors
/// `NoStore`, `Locked`, `Cancelled`, failures of the store. Damage is noted, not an error.
pub(crate) fn run(context: &Context, args: &CompactArgs) -> Result<()> {
    let stop = context.stop()?;
    let store = if args.dry_run { context.open_draft()? } else { context.open_write()? };
    let mut writer = store.writer(context.writer_options())?;
    let options = CompactOptions { threshold: args.threshold, dry_run: args.dry_run };
    let mut meter = context.meter("compact", "segments");
    let report = writer.compact(&options, &mut |progress| meter.update(progress), &stop);
    meter.finish();
    let report = report?;
    if !args.dry_run {
        writer.close()?;
    }
    tell(context, &report, args.dry_run)
}

fn tell(context: &Context, report: &CompactReport, dry_run: bool) -> Result<()> {
    for (segment, detail) in &report.damaged {
        context.note(Exit::Damage);
        context.console.error(&format!("segment {segment} is left as it is: {detail}"));
    }
    let damaged = report.damaged.iter();
    context.out.unit(
        "compact",
        &CompactUnit {
            segments: report.segments.iter().map(|segment| segment.0).collect(),
            bytes: report.bytes,
            moved_records: report.moved_records,
            moved_bytes: report.moved_bytes,
            waiting_bytes: report.waiting_bytes,
            damaged: damaged.map(|(segment, detail)| DamagedUnit { seg: segment.0, detail }).collect(),
            dry_run,
        },
    )?;
    let count = report.segments.len();
    let size = show_size(report.bytes);
    if dry_run {
        return context.say(&format!("would rewrite {count} segments of {size}"));
    }
    let moved = show_size(report.moved_bytes);
    context.say(&format!(
        "rewrote {count} segments of {size}; {} records, {moved}, moved",
        report.moved_records
    ))?;
    if report.waiting_bytes > 0 {
        let waiting = show_size(report.waiting_bytes);
        context.say(&format!(
            "{waiting} wait until no reader uses them; the next writing command removes them"
        ))?;
    }
    Ok(())
}
