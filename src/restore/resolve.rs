//! Decides what a run's bundle holds. Knows ids and positions, no bodies.
//!
//! The walk is depth first, references ascending by bytes; what was found last comes first. That fixes one of
//! the orders that the connector leaves open.

use std::rc::Rc;

use crate::error::Result;
use crate::id::{ObjectKey, RunKey};

use super::MissingState;
use super::carried::Carried;
use super::keys::{Id, KeySet};
use super::lookup::{Source, Target};
use super::options::RestoreOptions;
use super::own::{Own, OwnFile};
use super::report::Report;
use super::walk::Walk;

/// What a run's bundle holds, in the order of names.
#[derive(Debug, Default)]
pub(super) struct RunPlan {
    /// Objects from other runs; they stand first.
    pub(super) resolved: Vec<Resolved>,
    /// The run's files, ascending by name, also those of which nothing is left to emit.
    pub(super) own: Vec<OwnFile>,
    /// The names of its other files: all that they hold was carried ahead.
    pub(super) ahead: KeySet<ObjectKey>,
    /// References that stay open, ascending.
    pub(super) missing: Vec<Missing>,
}

/// A reference that stays open.
#[derive(Debug)]
pub(super) struct Missing {
    /// The id referred to.
    pub(super) reference: Id,
    /// What is known of it.
    pub(super) state: MissingState,
    /// As for [`Resolved::via`].
    pub(super) via: Option<usize>,
}

/// An object from another run.
#[derive(Debug)]
pub(super) struct Resolved {
    /// The id referred to.
    pub(super) reference: Id,
    /// Which object of which file that is.
    pub(super) target: Rc<Target>,
    /// Its text, where there was room.
    pub(super) text: Option<Rc<[u8]>>,
    /// The object's own id is another one, and stands in the bundle already: the object is not emitted.
    pub(super) repeated: bool,
    /// The resolved object that referred to it first, by its place in the plan; `None`: an own one did.
    pub(super) via: Option<usize>,
}

/// Decides run by run, ascending; remembers what it carried ahead.
#[derive(Debug)]
pub(super) struct Resolver<'o> {
    options: &'o RestoreOptions,
    carried: Carried,
}

impl<'o> Resolver<'o> {
    /// Begins a restore.
    pub(super) fn new(options: &'o RestoreOptions) -> Resolver<'o> {
        // What a filter leaves out of a run is emitted only where it was carried, so that must stay known.
        Resolver { options, carried: Carried::new(options.filter.is_active()) }
    }

    /// Decides about one run. Cost: it reads each own file that was not carried ahead as a whole, and each resolved object that is
    /// not known from an earlier run; `Once` and `None` look up each distinct reference of the run that is not known either. Memory: the ids
    /// of the run, and for `Once` what was carried ahead.
    pub(super) fn run<S: Source>(
        &mut self,
        source: &S,
        run: RunKey,
        report: &mut Report<'_>,
    ) -> Result<RunPlan> {
        let passed = self.carried.pass(run);
        let mut own = Own::read(source, run, &self.options.filter, &passed, report)?;
        let wanted = std::mem::take(&mut own.wanted);
        let winners = own.winners(&passed);
        let left_out = own.left_out(&winners, &passed);
        let winners = if self.options.filter.is_active() { own.selected(&winners) } else { winners };
        if self.options.filter.is_active() {
            winners.keys().copied().chain(own.selected_names()).for_each(|id| self.carried.note(id));
        }
        let mut walk = Walk::new(self.options, &mut self.carried, source, report, (run, &winners));
        walk.follow_all(wanted)?;
        let (mut resolved, mut missing) = (walk.resolved, walk.missing);
        let last = resolved.len().saturating_sub(1);
        resolved.reverse();
        let links = resolved.iter_mut().map(|found| &mut found.via);
        for via in links.chain(missing.iter_mut().map(|missing| &mut missing.via)) {
            *via = via.map(|via| last.saturating_sub(via));
        }
        missing.sort_unstable_by(|a, b| a.reference.cmp(&b.reference));
        Ok(RunPlan { resolved, own: own.into_files(left_out), ahead: passed.whole().collect(), missing })
    }
}
