//! Tells what a restore would do.

use crate::error::Result;
use crate::progress::Stop;
use crate::store::View;

use super::lookup::{Source, Stored, name_of};
use super::report::{Report, add, selected};
use super::resolve::Resolver;
use super::{PlanUnit, RestoreEvent, RestoreOptions, RestoreSummary, Why};

/// Tells what a restore would do: one unit per object and open reference, no bodies.
///
/// Run by run: what is resolved from other runs, then the run's own files ascending by name (one unit per
/// file), then the open references ascending. Own files that were carried ahead as a whole are left out.
/// Cost: each own file is read once, and each resolved object once per run that needs it. `bundles` and
/// `bytes` of the summary stay 0.
///
/// # Errors
/// `Cancelled` when stopped; the first error of `unit`; whatever the store says except damage, which is an
/// event.
pub fn plan(
    view: &View,
    options: &RestoreOptions,
    unit: &mut dyn FnMut(&PlanUnit) -> Result<()>,
    event: &mut dyn FnMut(RestoreEvent<'_>),
    stop: &Stop,
) -> Result<RestoreSummary> {
    plan_from(&Stored::new(&view.without_maps(), options.extension_refs)?, options, unit, event, stop)
}

pub(super) fn plan_from<S: Source>(
    source: &S,
    options: &RestoreOptions,
    unit: &mut dyn FnMut(&PlanUnit) -> Result<()>,
    event: &mut dyn FnMut(RestoreEvent<'_>),
    stop: &Stop,
) -> Result<RestoreSummary> {
    let runs = selected(source.runs(), options);
    let mut report = Report::new(runs.clone(), event, stop);
    let mut resolver = Resolver::new(options);
    for info in runs {
        report.check()?;
        report.run(info)?;
        let plan = resolver.run(source, info.key, &mut report)?;
        let run = &info.name;
        for found in plan.resolved {
            add(&mut report.summary.resolved, u64::from(!found.repeated));
            let from = name_of(source.runs(), found.run).into_owned();
            unit(&PlanUnit::Object { run: run.clone(), id: found.reference, from, why: Why::Resolved })?;
        }
        for file in plan.own {
            add(&mut report.summary.own, u64::try_from(file.emitted()).unwrap_or(u64::MAX));
            report.done(1, file.len);
            if file.listed {
                let from = run.clone();
                unit(&PlanUnit::Object { run: run.clone(), id: file.name, from, why: Why::Own })?;
            }
        }
        for (reference, state) in plan.missing {
            add(&mut report.summary.missing, 1);
            unit(&PlanUnit::Missing { run: run.clone(), reference, state })?;
        }
    }
    Ok(report.summary)
}
