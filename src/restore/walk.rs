//! The walk over the references of one run: depth first over an explicit stack, references ascending by bytes.

use std::collections::{BTreeSet, HashSet};

use crate::error::{Error, Result};
use crate::id::{ObjectKey, RunKey};
use crate::store::Bound;

use super::MissingState;
use super::carried::Carried;
use super::lookup::{Source, Target};
use super::options::{Resolve, RestoreOptions};
use super::own::Winners;
use super::report::Report;
use super::resolve::{Missing, Resolved};

/// What following one reference came to.
enum Hit {
    /// There is nothing to do: the restore emitted it, or will without being told to.
    Settled,
    Found(Target),
    Unreadable(Error),
    Missing(MissingState),
}

/// The walk.
pub(super) struct Walk<'a, 'r, S> {
    options: &'a RestoreOptions,
    carried: &'a mut Carried,
    source: &'a S,
    report: &'a mut Report<'r>,
    run: RunKey,
    own: &'a Winners<'a>,
    /// Ids besides the own ones that need no following any more.
    emitted: HashSet<Vec<u8>>,
    /// Ids that were followed in vain.
    open: HashSet<Vec<u8>>,
    /// What was found, in the order of finding.
    pub(super) resolved: Vec<Resolved>,
    /// References that stay open.
    pub(super) missing: Vec<Missing>,
}

impl<'a, 'r, S: Source> Walk<'a, 'r, S> {
    /// Begins at a run of which the bundle has these ids already.
    pub(super) fn new(
        options: &'a RestoreOptions,
        carried: &'a mut Carried,
        source: &'a S,
        report: &'a mut Report<'r>,
        (run, own): (RunKey, &'a Winners<'a>),
    ) -> Walk<'a, 'r, S> {
        Walk {
            options,
            carried,
            source,
            report,
            run,
            own,
            emitted: HashSet::new(),
            open: HashSet::new(),
            resolved: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Follows references, and those of what they lead to.
    pub(super) fn follow_all(&mut self, wanted: BTreeSet<Vec<u8>>) -> Result<()> {
        let mut stack = vec![(None, wanted.into_iter().collect::<Vec<_>>().into_iter())];
        while let Some((via, top)) = stack.last_mut() {
            let via = *via;
            let Some(reference) = top.next() else {
                stack.pop();
                continue;
            };
            // A chain leaves no empty frames behind.
            if top.len() == 0 {
                stack.pop();
            }
            if self.has(&reference) || self.open.contains(&reference) {
                continue;
            }
            let before = self.resolved.len();
            let references = self.follow(reference, via)?;
            if self.resolved.len() > before {
                stack.push((Some(before), references.into_iter()));
            }
        }
        Ok(())
    }

    fn has(&self, id: &[u8]) -> bool {
        self.own.contains_key(id) || self.emitted.contains(id)
    }

    /// Follows one reference; returns the references of what it led to.
    fn follow(&mut self, reference: Vec<u8>, via: Option<usize>) -> Result<Vec<Vec<u8>>> {
        self.report.check()?;
        match self.find(&reference)? {
            Hit::Found(target) => return self.take(reference, target, via),
            Hit::Settled => {
                self.emitted.insert(reference);
            }
            Hit::Unreadable(error) => {
                self.report.damaged(error)?;
                self.open.insert(reference);
            }
            Hit::Missing(state) => {
                self.missing.push(Missing { reference: reference.clone(), state, via });
                self.open.insert(reference);
            }
        }
        Ok(Vec::new())
    }

    fn find(&self, id: &[u8]) -> Result<Hit> {
        match self.options.resolve {
            Resolve::None if self.source.exists(id)? => return Ok(Hit::Settled),
            Resolve::None => return Ok(Hit::Missing(MissingState::Absent)),
            Resolve::Once if self.was_emitted(id)? => return Ok(Hit::Settled),
            Resolve::Once | Resolve::Closure => {}
        }
        if self.options.filter.is_active() {
            match self.source.find(id, Bound::In(self.run)) {
                Ok(Some(target)) => return Ok(Hit::Found(target)),
                Ok(None) => {}
                Err(error) => return unreadable(error),
            }
        }
        let later = RunKey::last_of(self.run.instant()).next().map(Bound::AtLeast);
        match later.map_or(Ok(None), |bound| self.source.find(id, bound)) {
            Ok(Some(target)) => Ok(Hit::Found(target)),
            Ok(None) => self.find_earlier(id),
            Err(error) => unreadable(error),
        }
    }

    /// Looks for an id that no strictly later run holds.
    fn find_earlier(&self, id: &[u8]) -> Result<Hit> {
        let include = self.options.include_earlier;
        let newest = match self.source.run_of(id, Bound::AtMost(RunKey::last_of(self.run.instant()))) {
            Ok(newest) => newest,
            Err(error) if error.is_damage() && !include => Some(self.run),
            Err(error) => return unreadable(error),
        };
        let Some(newest) = newest else { return Ok(Hit::Missing(MissingState::Absent)) };
        // Within the run itself it can only be a file whose object has another id: that one is emitted anyway.
        if !include || newest == self.run {
            return Ok(Hit::Missing(MissingState::Earlier));
        }
        match self.source.find(id, Bound::AtMost(RunKey::last_of(self.run.instant()))) {
            Ok(Some(target)) => Ok(Hit::Found(target)),
            Ok(None) => Ok(Hit::Missing(MissingState::Earlier)),
            Err(error) => unreadable(error),
        }
    }

    /// Tells for `Once` whether this restore emitted a snapshot of an id: it was carried ahead, or a run of
    /// the selection up to this one holds it. One that could not be read was not emitted.
    fn was_emitted(&self, id: &[u8]) -> Result<bool> {
        // Of what a filter lets through every id is noted; else the store tells.
        if self.carried.holds(id) || self.options.filter.is_active() {
            return Ok(self.carried.holds(id));
        }
        match self.source.run_of(id, Bound::AtMost(self.run)) {
            Ok(newest) => Ok(newest.is_some_and(|run| self.options.covers(run))),
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts what a reference led to into the bundle; returns what it refers to.
    fn take(&mut self, reference: Vec<u8>, target: Target, via: Option<usize>) -> Result<Vec<Vec<u8>>> {
        let Target { run, name, at, object, item } = target;
        let once = self.options.resolve == Resolve::Once;
        let mut repeated = false;
        if item.id != reference {
            repeated = self.has(&item.id) || (once && self.was_emitted(&item.id)?);
        }
        if once && repeated {
            self.emitted.insert(reference);
            return Ok(Vec::new());
        }
        if once {
            self.carried.add(run, ObjectKey::of(&name), object, [&reference, &item.id]);
        }
        self.emitted.insert(reference.clone());
        self.emitted.insert(item.id.clone());
        let (id, part) = (item.id, item.part);
        self.resolved.push(Resolved { reference, id, run, name, at, object, part, repeated, via });
        Ok(item.references)
    }
}

fn unreadable(error: Error) -> Result<Hit> {
    if error.is_damage() { Ok(Hit::Unreadable(error)) } else { Err(error) }
}
