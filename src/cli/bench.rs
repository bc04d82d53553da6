//! `store bench`: how fast this store answers on this machine. Reads only.

mod measure;
mod report;
mod sample;

use serde::Serialize;

use crate::error::Result;
use crate::store::Store;

use super::args::BenchArgs;
use super::context::Context;
use super::files;
use super::table::{Field, Rows};
use super::text::scale;

use measure::{Measured, What};

/// Percentiles that are shown: hundredths of a percent, and their names.
const SHOWN: [(u32, &str); 5] =
    [(5000, "P50"), (9000, "P90"), (9900, "P99"), (9990, "P99.9"), (10_000, "MAX")];

/// A `bench` unit.
#[derive(Serialize)]
struct BenchUnit<'a> {
    name: &'a str,
    threads: u16,
    count: u64,
    bytes: u64,
    per_second: u64,
    bytes_per_second: u64,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
}

/// Runs the command.
///
/// # Errors
/// `NoStore`, `Damaged`, failures of reading and of the outputs. A store without snapshots is noted as not found.
pub(crate) fn run(context: &Context, args: &BenchArgs) -> Result<()> {
    let store = context.open_read()?;
    let view = store.view();
    let questions = sample::questions(&view, args.lookups, args.seed)?;
    if questions.is_empty() {
        return context.not_found("the store has no snapshot to look up");
    }
    let most = args.threads.unwrap_or_else(|| {
        std::thread::available_parallelism()
            .ok()
            .and_then(|count| u16::try_from(count.get()).ok())
            .unwrap_or(1)
    });
    let mut all = vec![measure::opens(&context.store, &questions)?];
    for what in [What::Newest, What::InRun, What::After, What::Absent] {
        all.push(measure::lookups(&view, &questions, what, 1)?);
    }
    all.push(measure::batches(&view, &questions, args.batch)?);
    let mut threads = 2u16;
    while threads <= most {
        all.push(measure::lookups(&view, &questions, What::Newest, threads)?);
        threads = threads.saturating_mul(2);
    }
    if !args.no_scan {
        all.push(measure::scan(&view)?);
    }
    tell(context, &all)?;
    if let Some(path) = &args.report {
        files::output(path, report::page(&facts(&store), &all).as_bytes())?;
    }
    Ok(())
}

/// What the figures are about, for the report.
fn facts(store: &Store) -> String {
    let view = store.view();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("store {}, {} snapshots, commit {}; {cores} processors", store.id(), view.len(), view.commit())
}

fn tell(context: &Context, all: &[Measured]) -> Result<()> {
    if context.out.is_json() {
        return all.iter().try_for_each(|one| context.out.unit("bench", &unit(one)));
    }
    let mut titles = vec!["MEASURE", "THREADS", "PER SECOND", "MB/S"];
    titles.extend(SHOWN.iter().map(|(_, name)| *name));
    let mut rows = Rows::titled(&context.out, &titles)?;
    for one in all {
        let unit = unit(one);
        let mut fields = vec![
            Field::Name(one.name.clone().into_bytes()),
            Field::Count(one.threads.into()),
            Field::Count(unit.per_second),
            Field::Count(unit.bytes_per_second / 1_000_000),
        ];
        let times = SHOWN.iter().map(|(part, _)| one.at(*part));
        fields.extend(times.map(|ns| Field::Name(report::show_time(ns).into_bytes())));
        rows.row(&fields)?;
    }
    rows.finish()
}

fn unit(one: &Measured) -> BenchUnit<'_> {
    let second = 1_000_000_000;
    BenchUnit {
        name: &one.name,
        threads: one.threads,
        count: one.count,
        bytes: one.bytes,
        per_second: scale(one.count, second, one.nanoseconds),
        bytes_per_second: scale(one.bytes, second, one.nanoseconds),
        p50_ns: one.at(5000),
        p90_ns: one.at(9000),
        p99_ns: one.at(9900),
        p999_ns: one.at(9990),
        max_ns: one.at(10_000),
    }
}
