//! Tells what a restore would do.

use crate::error::Result;
use crate::progress::Stop;
use crate::store::View;

use super::arrange::{At, arrange};
use super::lookup::{Detail, Source, name_of};
use super::options::RestoreOptions;
use super::report::{Event, Report, add, selected};
use super::resolve::{Resolver, RunPlan};
use super::stored::Stored;
use super::{PlanUnit, RestoreEvent, RestoreSummary, Why};

/// Tells what a restore would do: one unit per object, open reference and missing attachment, no bodies.
///
/// Run by run: what is resolved from other runs, then the run's own files ascending by name (one unit per
/// file), then the open references ascending, then the attachments whose bytes are missing. Own files that were carried
/// ahead as a whole are left out. References that the order breaks, and counts for each run, come as events.
/// Cost: each own file that was not carried ahead is read once, and each resolved object at most once per run that needs it. `bundles` of the summary
/// stays 0; `bytes` are those of the objects.
///
/// # Errors
/// `Cancelled` when stopped; the first error of `unit` or `event`; whatever the store says except damage, which is an
/// event.
pub fn plan(
    view: &View,
    options: &RestoreOptions,
    unit: &mut dyn FnMut(&PlanUnit) -> Result<()>,
    event: &mut dyn FnMut(RestoreEvent<'_>) -> Result<()>,
    stop: &Stop,
) -> Result<RestoreSummary> {
    let detail = Detail { lacks: true, ..Detail::of(options) };
    plan_from(&Stored::new(&view.without_maps(), detail)?, options, unit, event, stop)
}

pub(super) fn plan_from<S: Source>(
    source: &S,
    options: &RestoreOptions,
    unit: &mut dyn FnMut(&PlanUnit) -> Result<()>,
    event: &mut Event<'_>,
    stop: &Stop,
) -> Result<RestoreSummary> {
    let runs = selected(source.runs(), options);
    let mut report = Report::new(runs.clone(), event, stop);
    let mut resolver = Resolver::new(options);
    for info in runs {
        report.check()?;
        report.begin(info)?;
        let plan = resolver.run(source, info.key, &mut report)?;
        let arranged = arrange(&plan, options.order);
        report.decided(source.runs(), &plan, &arranged)?;
        for slot in &arranged.slots {
            let count = match slot.at {
                At::Resolved(_) => &mut report.run.resolved,
                At::Own(..) => &mut report.run.own,
            };
            add(count, 1);
            add(&mut report.run.bytes, slot.len);
        }
        let from = |key| name_of(source.runs(), key).into_owned();
        tell(&info.name, &plan, &from, unit, &mut report)?;
        report.end(info)?;
    }
    Ok(report.summary)
}

fn tell(
    run: &str,
    plan: &RunPlan,
    name: &dyn Fn(crate::id::RunKey) -> String,
    unit: &mut dyn FnMut(&PlanUnit) -> Result<()>,
    report: &mut Report<'_>,
) -> Result<()> {
    for found in &plan.resolved {
        let (id, from) = (found.reference.bytes.to_vec(), name(found.target.run));
        unit(&PlanUnit::Object { run: run.to_owned(), id, from, why: Why::Resolved })?;
    }
    for file in &plan.own {
        report.done(1, file.len)?;
        if file.listed {
            let (id, from) = (file.name.bytes.to_vec(), run.to_owned());
            unit(&PlanUnit::Object { run: run.to_owned(), id, from, why: Why::Own })?;
        }
    }
    for missing in &plan.missing {
        let reference = missing.reference.bytes.to_vec();
        unit(&PlanUnit::Missing { run: run.to_owned(), reference, state: missing.state })?;
    }
    let resolved = plan.resolved.iter().filter(|found| !found.repeated);
    let resolved = resolved.map(|found| (&found.target.id, &found.target.part));
    let own = plan.own.iter().flat_map(|file| file.emits().map(|(_, id, part)| (id, part)));
    for (id, part) in resolved.chain(own) {
        for name in &part.lacks {
            add(&mut report.run.attachments, 1);
            unit(&PlanUnit::Attachment { run: run.to_owned(), id: id.bytes.to_vec(), name: name.clone() })?;
        }
    }
    Ok(())
}
