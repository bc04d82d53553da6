//! What changed between two states of a store.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::id::{Instant, RunKey};
use crate::progress::Stop;
use crate::store::{Snapshot, View};

/// What became of an id, or of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Only the second state has it.
    Added,
    /// Only the first state has it.
    Removed,
    /// Both have it, with other bytes.
    Changed,
}

/// One difference of two states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The name of the file.
    pub name: Vec<u8>,
    /// What became of it.
    pub change: Change,
    /// The run in which the first state has it.
    pub from: Option<RunKey>,
    /// The run in which the second state has it.
    pub to: Option<RunKey>,
}

/// Receives differences, and the damage that a snapshot could not be compared for.
pub type EachDifference<'a> = dyn FnMut(Result<Difference>) -> Result<()> + 'a;

/// Tells which snapshots two states of one store do not share, run by run, by name: what a transaction brought, took and
/// changed. Cost: reads the records of both states, and the bytes of those that two transactions brought. Memory: the
/// names of one run.
///
/// # Errors
/// Failures of reading; `Cancelled`; those of `each`.
pub fn diff_states(before: &View, after: &View, each: &mut EachDifference<'_>, stop: &Stop) -> Result<()> {
    let (before, after) = (before.without_maps(), after.without_maps());
    let mut runs: Vec<RunKey> = before.runs()?.iter().chain(&after.runs()?).map(|run| run.key).collect();
    runs.sort_unstable();
    runs.dedup();
    for run in runs {
        let mut old = names(&before, run, each, stop)?;
        for (name, new) in names(&after, run, each, stop)? {
            let found = old.remove(&name);
            let from = found.is_some().then_some(run);
            let change = match found {
                None => Some(Change::Added),
                Some(found) if found.first_commit() == new.first_commit() => None,
                Some(found) => compare(&found, &new, each)?,
            };
            if let Some(change) = change {
                each(Ok(Difference { name, change, from, to: Some(run) }))?;
            }
        }
        for name in old.into_keys() {
            each(Ok(Difference { name, change: Change::Removed, from: Some(run), to: None }))?;
        }
    }
    Ok(())
}

fn names<'v>(
    view: &'v View,
    run: RunKey,
    each: &mut EachDifference<'_>,
    stop: &Stop,
) -> Result<BTreeMap<Vec<u8>, Snapshot<'v>>> {
    let mut names = BTreeMap::new();
    for snapshot in view.iter_run(run)? {
        stop.check()?;
        match snapshot {
            Ok(snapshot) => {
                names.insert(snapshot.name().into_owned(), snapshot);
            }
            Err(error) if error.is_damage() => each(Err(error))?,
            Err(error) => return Err(error),
        }
    }
    Ok(names)
}

/// Tells how two snapshots differ.
fn compare(old: &Snapshot<'_>, new: &Snapshot<'_>, each: &mut EachDifference<'_>) -> Result<Option<Change>> {
    match old.body().and_then(|old| Ok(*old == *new.body()?)) {
        Ok(same) => Ok((!same).then_some(Change::Changed)),
        Err(error) if error.is_damage() => {
            each(Err(error))?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Tells which names have another newest snapshot at or before `to` than at or before `from`: how the objects that a
/// platform would have been left with changed. Told in the order of the runs between, each name once. Cost: reads the
/// records of the runs between the two, and looks each name up twice. Memory: the names of one run.
///
/// # Errors
/// Failures of reading; `Cancelled`; those of `each`.
pub fn diff_runs(
    view: &View,
    (from, to): (Instant, Instant),
    each: &mut EachDifference<'_>,
    stop: &Stop,
) -> Result<()> {
    if from > to {
        // The other way round, what was added goes.
        let mut turned = |found: Result<Difference>| {
            each(found.map(|Difference { name, change, from, to }| {
                let change = if change == Change::Added { Change::Removed } else { change };
                Difference { name, change, from: to, to: from }
            }))
        };
        return diff_runs(view, (to, from), &mut turned, stop);
    }
    let view = view.without_maps();
    let between = |run: RunKey| run.instant() > from && run.instant() <= to;
    for info in view.runs()?.iter().filter(|info| between(info.key)) {
        for (name, new) in names(&view, info.key, each, stop)? {
            let both =
                view.at_or_before(&name, to).and_then(|last| Ok((last, view.at_or_before(&name, from)?)));
            let (last, old) = match both {
                Ok(found) => found,
                Err(error) if error.is_damage() => {
                    each(Err(error))?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            // Told where it stands last.
            if last.is_some_and(|last| last.run() != info.key) {
                continue;
            }
            let change = match &old {
                None => Some(Change::Added),
                Some(old) => compare(old, &new, each)?,
            };
            if let Some(change) = change {
                each(Ok(Difference { name, change, from: old.map(|old| old.run()), to: Some(info.key) }))?;
            }
        }
    }
    Ok(())
}
