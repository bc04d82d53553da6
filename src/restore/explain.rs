//! Tells why an object is in a run's bundle: the chain of references that leads to it.

use crate::error::Result;
use crate::progress::Stop;
use crate::store::{RunInfo, View};

use super::carried::CarriedRun;
use super::keys::Id;
use super::lookup::{Detail, Source, name_of};
use super::options::RestoreOptions;
use super::report::{Event, Report, selected};
use super::resolve::{Resolver, RunPlan};
use super::stored::Stored;
use super::{MissingState, RestoreEvent};

/// What a run's bundle has to do with an id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The run.
    pub run: String,
    /// What it is to the bundle.
    pub role: Role,
    /// The ids that lead to it, from an object of the run on; the last one is the id itself. Of an own one only that.
    pub chain: Vec<Vec<u8>>,
}

/// What an id is to a run's bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// An object of the run.
    Own,
    /// An object of the run that an earlier run's bundle held already.
    Carried,
    /// An object of that run, which something in the bundle refers to.
    Resolved {
        /// The name of the run it comes from.
        from: String,
    },
    /// Something in the bundle refers to it, and it is not there.
    Missing(MissingState),
}

/// Tells for each selected run that has to do with an id what it is to the run's bundle. Runs that have nothing to do
/// with it are passed over. Cost: as a plan of these runs; where the id is resolved, the run's files are read once more.
///
/// # Errors
/// Those of `each` and `event`; `Cancelled`; whatever the store says except damage, which is an event.
pub fn explain(
    view: &View,
    options: &RestoreOptions,
    id: &[u8],
    each: &mut dyn FnMut(Explanation) -> Result<()>,
    event: &mut dyn FnMut(RestoreEvent<'_>) -> Result<()>,
    stop: &Stop,
) -> Result<()> {
    explain_from(&Stored::new(&view.without_maps(), Detail::of(options))?, options, id, each, event, stop)
}

pub(super) fn explain_from<S: Source>(
    source: &S,
    options: &RestoreOptions,
    id: &[u8],
    each: &mut dyn FnMut(Explanation) -> Result<()>,
    event: &mut Event<'_>,
    stop: &Stop,
) -> Result<()> {
    let id = Id::of(id);
    let runs = selected(source.runs(), options);
    let mut report = Report::new(runs.clone(), event, stop);
    let mut resolver = Resolver::new(options);
    for info in runs {
        report.begin(info)?;
        let plan = resolver.run(source, info.key, &mut report)?;
        if let Some((role, chain)) = role(source, (info, options), &plan, &id, &mut report)? {
            each(Explanation { run: info.name.clone(), role, chain })?;
        }
        report.end(info)?;
    }
    Ok(())
}

/// What an id is to a bundle, with the chain.
fn role<S: Source>(
    source: &S,
    run: (&RunInfo, &RestoreOptions),
    plan: &RunPlan,
    id: &Id,
    report: &mut Report<'_>,
) -> Result<Option<(Role, Vec<Vec<u8>>)>> {
    let holds = |name: &Id, own: &Id, number: u32| own == id || (number == 0 && name == id);
    let itself = || vec![id.bytes.to_vec()];
    if plan.own.iter().any(|file| file.emits().any(|(number, own, _)| holds(&file.name, own, number))) {
        return Ok(Some((Role::Own, itself())));
    }
    if let Some(found) = plan.resolved.iter().find(|found| found.reference == *id || found.target.id == *id) {
        let from = name_of(source.runs(), found.target.run).into_owned();
        let mut chain = vec![found.reference.bytes.to_vec()];
        let root = climb(plan, found.via, &mut chain);
        lead(source, run, root.unwrap_or(&found.reference), &mut chain, report)?;
        return Ok(Some((Role::Resolved { from }, chain)));
    }
    if let Some(missing) = plan.missing.iter().find(|missing| missing.reference == *id) {
        let mut chain = itself();
        let root = climb(plan, missing.via, &mut chain);
        lead(source, run, root.unwrap_or(id), &mut chain, report)?;
        return Ok(Some((Role::Missing(missing.state), chain)));
    }
    let carried = plan.own.iter().any(|file| file.name == *id && file.emits().next().is_none());
    Ok((carried || plan.ahead.contains(&id.key)).then(|| (Role::Carried, itself())))
}

/// Adds what leads to an object, up to the one that an own object refers to; returns that one's id.
fn climb<'p>(plan: &'p RunPlan, via: Option<usize>, chain: &mut Vec<Vec<u8>>) -> Option<&'p Id> {
    let mut via = via;
    let mut root = None;
    // A plan has no more steps than objects.
    for _ in 0..plan.resolved.len() {
        let Some(found) = via.and_then(|at| plan.resolved.get(at)) else { break };
        chain.push(found.reference.bytes.to_vec());
        root = Some(&found.reference);
        via = found.via;
    }
    root
}

/// Adds the own object that refers to `reference`, the smallest id if there are several, and turns the chain round.
fn lead<S: Source>(
    source: &S,
    (info, options): (&RunInfo, &RestoreOptions),
    reference: &Id,
    chain: &mut Vec<Vec<u8>>,
    report: &mut Report<'_>,
) -> Result<()> {
    let mut least: Option<Id> = None;
    source.files(info.key, &options.filter, &CarriedRun::default(), &mut |file| {
        report.check()?;
        // Damage was told of when the run was planned.
        let Ok(file) = file else { return Ok(()) };
        for item in file.items {
            let refers = item.references.iter().any(|to| to == reference);
            if refers && least.as_ref().is_none_or(|least| item.id < *least) {
                least = Some(item.id);
            }
        }
        Ok(())
    })?;
    if let Some(least) = least {
        chain.push(least.bytes.to_vec());
    }
    chain.reverse();
    Ok(())
}
