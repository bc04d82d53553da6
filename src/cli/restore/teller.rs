//! Tells what happens besides the product of a restore: to people and to programs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant as Clock};

use serde::Serialize;

use crate::error::Result;
use crate::restore::{MissingState, PlanUnit, RestoreEvent, RestoreSummary, RunReport, Why};

use super::super::context::Context;
use super::super::progress::Meter;
use super::super::table::{Field, Rows};
use super::super::text::{Text, show, show_size};

/// Missing attachments and broken references that a plan lists for people; programs get all.
const LISTED_MAX: usize = 100;
/// Runs that a row of a plan names as sources.
const SOURCES_MAX: usize = 3;

/// The units of a plan (DESIGN, section 7).
#[derive(Serialize)]
struct ObjectUnit<'a> {
    run: &'a str,
    id: Text<'a>,
    from: &'a str,
    why: &'static str,
}

/// A reference that stays open.
#[derive(Serialize)]
struct MissingUnit<'a> {
    run: &'a str,
    r#ref: Text<'a>,
    state: &'static str,
}

/// A reference that leads ahead, or an attachment without bytes.
#[derive(Serialize)]
struct PairUnit<'a> {
    run: &'a str,
    id: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#ref: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// A run is out.
#[derive(Serialize)]
struct DoneUnit<'a> {
    run: &'a str,
    settles: bool,
    own: u64,
    resolved: u64,
    from: serde_json::Map<String, serde_json::Value>,
    earlier: u64,
    absent: u64,
    cycles: u64,
    broken: u64,
    attachments: u64,
    bundles: u64,
    bytes: u64,
}

/// Where the time went.
#[derive(Serialize)]
struct TimingUnit {
    open_ms: u128,
    resolve_ms: u128,
    emit_ms: u128,
    skipped_runs: u64,
    changed_behind: u64,
}

/// Tells it.
pub(super) struct Teller<'a> {
    context: &'a Context,
    meter: RefCell<Meter>,
    plans: bool,
    rows: RefCell<Option<Rows<'a>>>,
    /// Lines for people, behind the table, and how many did not find room.
    listed: RefCell<Vec<String>>,
    unlisted: Cell<u64>,
    /// The name of the run being restored, as JSON.
    pub(super) run: RefCell<String>,
    /// Runs that the cursor skips.
    pub(super) skipped: Cell<u64>,
    /// Snapshots in them that changed since.
    pub(super) changed: Cell<u64>,
    opened: Duration,
    resolved: Cell<Duration>,
    emitted: Cell<Duration>,
    since: Cell<Clock>,
}

impl<'a> Teller<'a> {
    /// Begins, once the store is open, which took `opened`.
    pub(super) fn new(context: &'a Context, opened: Duration, plans: bool) -> Teller<'a> {
        Teller {
            context,
            meter: RefCell::new(context.meter("restore", "snapshots")),
            plans,
            rows: RefCell::new(None),
            listed: RefCell::default(),
            unlisted: Cell::new(0),
            run: RefCell::new("null".to_owned()),
            skipped: Cell::new(0),
            changed: Cell::new(0),
            opened,
            resolved: Cell::default(),
            emitted: Cell::default(),
            since: Cell::new(Clock::now()),
        }
    }

    /// Ends the progress display.
    pub(super) fn finish(&self) {
        self.meter.borrow_mut().finish();
    }

    /// How long it took so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.meter.borrow().elapsed()
    }

    /// Passes an event on.
    ///
    /// # Errors
    /// Those of the output.
    pub(super) fn event(&self, event: RestoreEvent<'_>) -> Result<()> {
        match event {
            RestoreEvent::Progress(progress) => {
                self.meter.borrow_mut().update(progress);
                Ok(())
            }
            RestoreEvent::Run { name } => {
                self.since.set(Clock::now());
                *self.run.borrow_mut() = serde_json::Value::from(name).to_string();
                Ok(())
            }
            RestoreEvent::Decided { .. } => {
                self.lap(&self.resolved);
                Ok(())
            }
            RestoreEvent::Broken { run, id, reference } => {
                self.list(|| format!("ahead\t{}\t{}\t{}", show(run.as_bytes()), show(id), show(reference)));
                let unit = PairUnit { run, id: Text(id), r#ref: Some(Text(reference)), name: None };
                self.context.out.unit("broken", &unit)
            }
            RestoreEvent::Done(run) => {
                self.lap(&self.emitted);
                self.done(run)
            }
            RestoreEvent::Damaged { run, error } => self.context.report(error, Some(run)),
            RestoreEvent::Skipped { run, name, reason } => {
                // Without a name it is the whole run.
                let name = if name.is_empty() { String::new() } else { format!("/{}", show(name)) };
                let text = format!("skipped {}{name}: {reason}", show(run.as_bytes()));
                self.context.skipped(run, "skipped", &text)
            }
        }
    }

    /// Adds the time since the last lap.
    fn lap(&self, sum: &Cell<Duration>) {
        let now = Clock::now();
        sum.set(sum.get().saturating_add(now.saturating_duration_since(self.since.replace(now))));
    }

    fn list(&self, line: impl FnOnce() -> String) {
        if !self.plans || self.context.out.is_json() {
            return;
        }
        let mut listed = self.listed.borrow_mut();
        if listed.len() < LISTED_MAX {
            listed.push(line());
        } else {
            self.unlisted.set(self.unlisted.get().saturating_add(1));
        }
    }

    fn done(&self, run: &RunReport) -> Result<()> {
        if self.context.out.is_json() {
            let unit = DoneUnit {
                run: &run.name,
                settles: run.settles,
                own: run.own,
                resolved: run.resolved,
                from: run.from.iter().map(|(name, count)| (name.clone(), (*count).into())).collect(),
                earlier: run.earlier,
                absent: run.absent,
                cycles: run.cycles,
                broken: run.broken,
                attachments: run.attachments,
                bundles: run.bundles,
                bytes: run.bytes,
            };
            return self.context.out.unit("done", &unit);
        }
        if !self.plans {
            return Ok(());
        }
        let mut rows = self.rows.borrow_mut();
        let rows = match &mut *rows {
            Some(rows) => rows,
            none => none.insert(Rows::titled(
                &self.context.out,
                &[
                    "RUN", "OWN", "RESOLVED", "EARLIER", "ABSENT", "CYCLES", "AHEAD", "LACKING", "BYTES",
                    "FROM",
                ],
            )?),
        };
        rows.row(&[
            Field::Name(run.name.clone().into_bytes()),
            Field::Count(run.own),
            Field::Count(run.resolved),
            Field::Count(run.earlier),
            Field::Count(run.absent),
            Field::Count(run.cycles),
            Field::Count(run.broken),
            Field::Count(run.attachments),
            Field::Bytes(run.bytes),
            Field::Name(sources(&run.from).into_bytes()),
        ])
    }

    /// Passes a unit of a plan on. People get a row for each run instead.
    ///
    /// # Errors
    /// Those of the output.
    pub(super) fn plan_unit(&self, unit: &PlanUnit) -> Result<()> {
        let out = &self.context.out;
        match unit {
            PlanUnit::Object { run, id, from, why } => {
                let why = match why {
                    Why::Own => "own",
                    Why::Resolved => "resolved",
                };
                out.unit("object", &ObjectUnit { run, id: Text(id), from, why })
            }
            PlanUnit::Missing { run, reference, state } => {
                let state = match state {
                    MissingState::Earlier => "earlier",
                    MissingState::Absent => "absent",
                };
                out.unit("missing", &MissingUnit { run, r#ref: Text(reference), state })
            }
            PlanUnit::Attachment { run, id, name } => {
                let text =
                    || format!("lacking\t{}\t{}\t{}", show(run.as_bytes()), show(id), show(name.as_bytes()));
                self.list(text);
                out.unit("attachment", &PairUnit { run, id: Text(id), r#ref: None, name: Some(name) })
            }
        }
    }

    /// Ends a plan: what is worth a line of its own, and the sums.
    ///
    /// # Errors
    /// Those of the output.
    pub(super) fn conclude_plan(&self, summary: &RestoreSummary) -> Result<()> {
        let timing = TimingUnit {
            open_ms: self.opened.as_millis(),
            resolve_ms: self.resolved.get().as_millis(),
            emit_ms: self.emitted.get().as_millis(),
            skipped_runs: self.skipped.get(),
            changed_behind: self.changed.get(),
        };
        self.context.out.unit("timing", &timing)?;
        if let Some(rows) = self.rows.borrow_mut().take() {
            rows.finish()?;
        }
        for line in self.listed.borrow().iter() {
            self.context.out.line(line)?;
        }
        if self.context.out.is_json() {
            return Ok(());
        }
        let more = self.unlisted.get();
        if more > 0 {
            self.context.console.note(&format!("{more} more of these lines: --json lists all"));
        }
        let skipped = match self.skipped.get() {
            0 => String::new(),
            runs => format!(", {runs} runs skipped by the cursor"),
        };
        self.context.console.note(&format!(
            "{} runs{skipped}: {} own objects, {} resolved, {} open references ({} absent), {} circles, {} missing \
             attachments, {} of objects in {:.1} s (open), {:.1} s (resolve), {:.1} s (list); {} damaged, {} skipped",
            summary.runs,
            summary.own,
            summary.resolved,
            summary.missing,
            summary.absent,
            summary.cycles,
            summary.attachments,
            show_size(summary.bytes),
            self.opened.as_secs_f64(),
            self.resolved.get().as_secs_f64(),
            self.emitted.get().as_secs_f64(),
            summary.damaged,
            summary.skipped
        ));
        Ok(())
    }
}

/// Where resolved objects come from: `20240115T140000Z 3, 20240116T000000Z 1 and 2 more runs`.
fn sources(from: &BTreeMap<String, u64>) -> String {
    let named: Vec<String> = from
        .iter()
        .take(SOURCES_MAX)
        .map(|(name, count)| format!("{} {count}", show(name.as_bytes())))
        .collect();
    let more = from.len().saturating_sub(SOURCES_MAX);
    let more = if more > 0 { format!(" and {more} more runs") } else { String::new() };
    format!("{}{more}", named.join(", "))
}
