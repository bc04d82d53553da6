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
    /// Answers that were damaged.
    damaged: u64,
}

/// Runs the command.
///
/// # Errors
/// `NoStore`, `BadInput` for a report in the store, failures of reading and of the outputs. Damaged answers are counted, and told
/// at the end; a store without snapshots is noted as not found.
pub(crate) fn run(context: &Context, args: &BenchArgs) -> Result<()> {
    let store = context.open_read()?;
    if let Some(report) = &args.report {
        files::outside(report, &context.store)?;
    }
    let view = store.view();
    let questions = sample::questions(&view, args.lookups, args.seed)?;
    if questions.is_empty() {
        return context.not_found("the store has no snapshot to look up");
    }
    let mut all = vec![measure::opens(&context.store, &questions)?];
    for what in [What::Newest, What::InRun, What::After, What::Absent] {
        all.push(measure::lookups(&view, &questions, what, 1)?);
    }
    all.push(measure::batches(&view, &questions, args.batch)?);
    for threads in numbers_of_threads(args.threads) {
        all.push(measure::lookups(&view, &questions, What::Newest, threads)?);
    }
    if !args.no_scan {
        all.push(measure::scan(&view)?);
    }
    tell(context, &all)?;
    if let Some(path) = &args.report {
        files::output(path, report::page(&facts(&store), &all).as_bytes())?;
    }
    for one in &all {
        if let Some(damage) = &one.damage {
            context.report(damage, None)?;
            context
                .console
                .note(&format!("{}: {} damaged answers; run `store check`", one.name, one.damaged));
        }
    }
    Ok(())
}

/// Returns how many threads are measured: 2, 4, 8 and so on, and the most last.
fn numbers_of_threads(most: Option<u16>) -> impl Iterator<Item = u16> {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let most = most.unwrap_or_else(|| u16::try_from(processors()).unwrap_or(u16::MAX));
    let powers = std::iter::successors(Some(2u16), |threads| threads.checked_mul(2));
    powers.take_while(move |threads| *threads < most).chain((most > 1).then_some(most))
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
        damaged: one.damaged,
    }
}
