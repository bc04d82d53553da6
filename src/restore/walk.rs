//! The walk over the references of one run: depth first over an explicit stack, references ascending by bytes.

use std::rc::Rc;

use crate::error::{Error, Result};
use crate::id::{ObjectKey, RunKey};
use crate::store::Bound;

use super::MissingState;
use super::carried::Carried;
use super::keys::{Id, KeyMap};
use super::lookup::{Found, Source};
use super::options::{Resolve, RestoreOptions};
use super::own::Winners;
use super::report::Report;
use super::resolve::{Missing, Resolved};

/// What following one reference came to.
enum Hit {
    /// There is nothing to do: the restore emitted it, or will without being told to.
    Settled,
    Found(Found),
    Unreadable(Error),
    Missing(MissingState),
}

/// What became of an id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The bundle has it, or need not have it.
    Settled,
    /// It was followed in vain.
    Open,
}

/// The references of one object, or of all own ones, that are still to be followed.
struct Frame {
    /// The object, by its place among what is resolved.
    via: Option<usize>,
    references: Rc<[Id]>,
    next: usize,
}

/// The walk.
pub(super) struct Walk<'a, 'r, S> {
    options: &'a RestoreOptions,
    carried: &'a mut Carried,
    source: &'a S,
    report: &'a mut Report<'r>,
    run: RunKey,
    /// Ids that need no following any more: the own ones among them.
    seen: KeyMap<ObjectKey, Seen>,
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
        (run, own): (RunKey, &Winners),
    ) -> Walk<'a, 'r, S> {
        Walk {
            options,
            carried,
            source,
            report,
            run,
            seen: own.keys().map(|id| (*id, Seen::Settled)).collect(),
            resolved: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Follows references, and those of what they lead to.
    pub(super) fn follow_all(&mut self, wanted: Vec<Id>) -> Result<()> {
        let mut stack = vec![Frame { via: None, references: wanted.into(), next: 0 }];
        while let Some(frame) = stack.last_mut() {
            let (via, references, at) = (frame.via, frame.references.clone(), frame.next);
            frame.next = at.saturating_add(1);
            // A chain leaves no empty frames behind.
            if frame.next >= references.len() {
                stack.pop();
            }
            let Some(reference) = references.get(at) else { continue };
            if self.seen.contains_key(&reference.key) {
                continue;
            }
            let place = self.resolved.len();
            if let Some(references) = self.follow(reference, via)? {
                stack.push(Frame { via: Some(place), references, next: 0 });
            }
        }
        Ok(())
    }

    fn has(&self, id: &Id) -> bool {
        self.seen.get(&id.key) == Some(&Seen::Settled)
    }

    fn see(&mut self, id: &Id, seen: Seen) {
        self.seen.insert(id.key, seen);
    }

    /// Follows one reference; returns the references of what it led to, if that is new to the bundle.
    fn follow(&mut self, reference: &Id, via: Option<usize>) -> Result<Option<Rc<[Id]>>> {
        self.report.check()?;
        match self.find(reference)? {
            Hit::Found(found) => return self.take(reference, found, via),
            Hit::Settled => self.see(reference, Seen::Settled),
            Hit::Unreadable(error) => {
                self.report.damaged(error)?;
                self.see(reference, Seen::Open);
            }
            Hit::Missing(state) => {
                self.missing.push(Missing { reference: reference.clone(), state, via });
                self.see(reference, Seen::Open);
            }
        }
        Ok(None)
    }

    fn find(&self, id: &Id) -> Result<Hit> {
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
    fn find_earlier(&self, id: &Id) -> Result<Hit> {
        let include = self.options.include_earlier;
        let newest = match self.source.newest(id, RunKey::last_of(self.run.instant())) {
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
    fn was_emitted(&self, id: &Id) -> Result<bool> {
        // Of what a filter lets through every id is noted; else the store tells.
        if self.carried.holds(id) || self.options.filter.is_active() {
            return Ok(self.carried.holds(id));
        }
        match self.source.newest(id, self.run) {
            Ok(newest) => Ok(newest.is_some_and(|run| self.options.covers(run))),
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts what a reference led to into the bundle; returns what it refers to.
    fn take(&mut self, reference: &Id, found: Found, via: Option<usize>) -> Result<Option<Rc<[Id]>>> {
        let Found { target, text } = found;
        let once = self.options.resolve == Resolve::Once;
        let mut repeated = false;
        if target.id != *reference {
            repeated = self.has(&target.id) || (once && self.was_emitted(&target.id)?);
        }
        self.see(reference, Seen::Settled);
        if once && repeated {
            return Ok(None);
        }
        if once {
            self.carried.add(reference, &target);
        }
        self.see(&target.id, Seen::Settled);
        let references = target.references.clone();
        self.resolved.push(Resolved { reference: reference.clone(), target, text, repeated, via });
        Ok(Some(references))
    }
}

fn unreadable(error: Error) -> Result<Hit> {
    if error.is_damage() { Ok(Hit::Unreadable(error)) } else { Err(error) }
}
