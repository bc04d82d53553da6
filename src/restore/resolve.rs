//! Decides what a run's bundle holds. Knows ids and positions, no bodies.
//!
//! The walk is depth first over an explicit stack, references ascending by bytes; what was found last
//! comes first. That fixes one of the orders that the connector leaves open.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::error::{Error, Result};
use crate::id::{Instant, ObjectKey, RunKey};

use super::carried::{Carried, CarriedRun};
use super::lookup::{Source, Target};
use super::report::Report;
use super::{MissingState, Resolve, RestoreOptions};

/// What a run's bundle holds, in order.
#[derive(Debug, Default)]
pub(super) struct RunPlan {
    /// Objects from other runs; they stand first.
    pub(super) resolved: Vec<Resolved>,
    /// The run's files, ascending by name, also those of which nothing is left to emit.
    pub(super) own: Vec<OwnFile>,
    /// References that stay open, ascending.
    pub(super) missing: Vec<(Vec<u8>, MissingState)>,
}

/// An object from another run.
#[derive(Debug)]
pub(super) struct Resolved {
    /// The id referred to.
    pub(super) reference: Vec<u8>,
    /// The run it comes from.
    pub(super) run: RunKey,
    /// The file it comes from.
    pub(super) name: Vec<u8>,
    /// Which object of the file.
    pub(super) object: u32,
    /// The object's own id is another one, and stands in the bundle already: the object is not emitted.
    pub(super) repeated: bool,
}

/// A file of the run.
#[derive(Debug)]
pub(super) struct OwnFile {
    /// Its name.
    pub(super) name: Vec<u8>,
    /// Its length in bytes.
    pub(super) len: u64,
    /// The ids of its objects; empty for a plain file, whose one object has the file's name for an id.
    ids: Vec<Vec<u8>>,
    /// Objects that are not emitted: carried ahead, or another file's object of the same id stands for them.
    left_out: Vec<u32>,
    /// Tells whether a plan lists the file: not all of it was carried ahead.
    pub(super) listed: bool,
}

impl OwnFile {
    /// Tells whether an object of the file goes into the bundle.
    pub(super) fn emits(&self, object: u32) -> bool {
        !self.left_out.contains(&object)
    }

    /// How many objects of the file go into the bundle.
    pub(super) fn emitted(&self) -> usize {
        self.ids.len().max(1).saturating_sub(self.left_out.len())
    }

    /// The ids of its objects with their numbers.
    fn numbered(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let plain = self.ids.is_empty().then_some(self.name.as_slice());
        (0..).zip(plain.into_iter().chain(self.ids.iter().map(Vec::as_slice)))
    }
}

/// Decides run by run, ascending; remembers what it carried ahead.
#[derive(Debug)]
pub(super) struct Resolver {
    resolve: Resolve,
    include_earlier: bool,
    after: Option<Instant>,
    carried: Carried,
}

impl Resolver {
    /// Begins a restore.
    pub(super) fn new(options: &RestoreOptions) -> Resolver {
        Resolver {
            resolve: options.resolve,
            include_earlier: options.include_earlier,
            after: options.after,
            carried: Carried::default(),
        }
    }

    /// Decides about one run. Cost: each own file and each resolved object is read once; `Once` and `None`
    /// look up each distinct reference of the run besides. Memory: the ids of the run, and for `Once` what
    /// was carried ahead.
    pub(super) fn run<S: Source>(
        &mut self,
        source: &S,
        run: RunKey,
        report: &mut Report<'_>,
    ) -> Result<RunPlan> {
        let carried = self.carried.pass(run);
        let (mut own, wanted) = collect(source, run, &carried, report)?;
        own.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let winners = winners(&own);
        let left_out = left_out(&own, &winners, &carried);
        let mut walk = Walk {
            resolver: self,
            source,
            report,
            run,
            own: &winners,
            emitted: HashSet::new(),
            open: HashSet::new(),
            plan: RunPlan::default(),
        };
        walk.follow_all(wanted)?;
        let mut plan = walk.plan;
        plan.resolved.reverse();
        plan.missing.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (at, objects, listed) in left_out {
            if let Some(file) = own.get_mut(at) {
                file.left_out = objects;
                file.listed = listed;
            }
        }
        plan.own = own;
        Ok(plan)
    }
}

/// Reads the files of a run, and what those of their objects refer to that were not carried ahead.
fn collect<S: Source>(
    source: &S,
    run: RunKey,
    carried: &CarriedRun,
    report: &mut Report<'_>,
) -> Result<(Vec<OwnFile>, BTreeSet<Vec<u8>>)> {
    let mut own = Vec::new();
    let mut wanted = BTreeSet::new();
    source.files(run, &mut |file| {
        report.check()?;
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                report.damaged(error)?;
                report.done(1, 0);
                return Ok(());
            }
        };
        let mut ids = Vec::with_capacity(file.items.len());
        for (number, item) in (0..).zip(file.items) {
            if !carried.holds(&file.name, number) {
                wanted.extend(item.references);
            }
            ids.push(item.id);
        }
        if let [id] = ids.as_slice()
            && *id == file.name
        {
            ids = Vec::new();
        }
        own.push(OwnFile { name: file.name, len: file.len, ids, left_out: Vec::new(), listed: true });
        Ok(())
    })?;
    Ok((own, wanted))
}

/// For each id that the run holds, the file and the object that stand for it: the file of that name, else
/// the last file by name; within a file the first object.
fn winners(own: &[OwnFile]) -> HashMap<&[u8], (usize, u32)> {
    let mut winners: HashMap<&[u8], (usize, u32)> = HashMap::with_capacity(own.len());
    for (at, file) in own.iter().enumerate() {
        for (number, id) in file.numbered() {
            let winner = winners.entry(id).or_insert((at, number));
            let named = own.get(winner.0).is_some_and(|other| other.name == id);
            if winner.0 != at && !named {
                *winner = (at, number);
            }
        }
    }
    winners
}

/// For each file of which something is left out: its place, the objects left out, whether plans list it.
fn left_out(
    own: &[OwnFile],
    winners: &HashMap<&[u8], (usize, u32)>,
    carried: &CarriedRun,
) -> Vec<(usize, Vec<u32>, bool)> {
    let mut left_out = Vec::new();
    for (at, file) in own.iter().enumerate() {
        let mut objects = Vec::new();
        let mut listed = false;
        for (number, id) in file.numbered() {
            let winner = winners.get(id).copied().unwrap_or((at, number));
            let stands = own.get(winner.0).map_or(&file.name, |other| &other.name);
            let ahead = carried.holds(&file.name, number);
            if ahead || winner != (at, number) {
                objects.push(number);
            }
            listed |= !ahead && !carried.holds(stands, winner.1);
        }
        if !objects.is_empty() {
            left_out.push((at, objects, listed));
        }
    }
    left_out
}

/// What following one reference came to.
enum Hit {
    /// There is nothing to do: the restore emitted it, or will without being told to.
    Settled,
    Found(Target),
    Unreadable(Error),
    Missing(MissingState),
}

/// The walk over the references of one run.
struct Walk<'a, 'r, S> {
    resolver: &'a mut Resolver,
    source: &'a S,
    report: &'a mut Report<'r>,
    run: RunKey,
    own: &'a HashMap<&'a [u8], (usize, u32)>,
    /// Ids besides the own ones that need no following any more.
    emitted: HashSet<Vec<u8>>,
    /// Ids that were followed in vain.
    open: HashSet<Vec<u8>>,
    plan: RunPlan,
}

impl<S: Source> Walk<'_, '_, S> {
    fn follow_all(&mut self, wanted: BTreeSet<Vec<u8>>) -> Result<()> {
        let mut stack = vec![wanted.into_iter().collect::<Vec<_>>().into_iter()];
        while let Some(top) = stack.last_mut() {
            let Some(reference) = top.next() else {
                stack.pop();
                continue;
            };
            // A chain leaves no empty frames behind.
            if top.len() == 0 {
                stack.pop();
            }
            if !self.has(&reference) && !self.open.contains(&reference) {
                stack.push(self.follow(reference)?.into_iter());
            }
        }
        Ok(())
    }

    fn has(&self, id: &[u8]) -> bool {
        self.own.contains_key(id) || self.emitted.contains(id)
    }

    /// Follows one reference; returns the references of what it led to.
    fn follow(&mut self, reference: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        self.report.check()?;
        match self.find(&reference)? {
            Hit::Found(target) => return self.take(reference, target),
            Hit::Settled => {
                self.emitted.insert(reference);
            }
            Hit::Unreadable(error) => {
                self.report.damaged(error)?;
                self.open.insert(reference);
            }
            Hit::Missing(state) => {
                self.plan.missing.push((reference.clone(), state));
                self.open.insert(reference);
            }
        }
        Ok(Vec::new())
    }

    fn find(&self, id: &[u8]) -> Result<Hit> {
        match self.resolver.resolve {
            Resolve::None if self.source.exists(id)? => return Ok(Hit::Settled),
            Resolve::None => return Ok(Hit::Missing(MissingState::Absent)),
            Resolve::Once if self.was_emitted(id)? => return Ok(Hit::Settled),
            Resolve::Once | Resolve::Closure => {}
        }
        match self.source.later(id, self.run.instant()) {
            Ok(Some(target)) => Ok(Hit::Found(target)),
            Ok(None) => self.find_earlier(id),
            Err(error) => unreadable(error),
        }
    }

    /// Looks for an id that no strictly later run holds.
    fn find_earlier(&self, id: &[u8]) -> Result<Hit> {
        let newest = match self.source.newest(id, RunKey::last_of(self.run.instant())) {
            Ok(newest) => newest,
            Err(error) if error.is_damage() && !self.resolver.include_earlier => Some(self.run),
            Err(error) => return unreadable(error),
        };
        let Some(newest) = newest else { return Ok(Hit::Missing(MissingState::Absent)) };
        // Within the run itself it can only be a file whose object has another id: that one is emitted anyway.
        if !self.resolver.include_earlier || newest == self.run {
            return Ok(Hit::Missing(MissingState::Earlier));
        }
        match self.source.earlier(id, self.run.instant()) {
            Ok(Some(target)) => Ok(Hit::Found(target)),
            Ok(None) => Ok(Hit::Missing(MissingState::Earlier)),
            Err(error) => unreadable(error),
        }
    }

    /// Tells for `Once` whether this restore emitted a snapshot of an id: it was carried ahead, or a run of
    /// the selection up to this one holds it. One that could not be read was not emitted.
    fn was_emitted(&self, id: &[u8]) -> Result<bool> {
        if self.resolver.carried.holds(id) {
            return Ok(true);
        }
        match self.source.newest(id, self.run) {
            Ok(None) => Ok(false),
            Ok(Some(run)) => Ok(self.resolver.after.is_none_or(|after| run.instant() > after)),
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts what a reference led to into the bundle; returns what it refers to.
    fn take(&mut self, reference: Vec<u8>, target: Target) -> Result<Vec<Vec<u8>>> {
        let Target { run, name, object, item } = target;
        let once = self.resolver.resolve == Resolve::Once;
        let mut repeated = false;
        if item.id != reference {
            repeated = self.has(&item.id) || (once && self.was_emitted(&item.id)?);
        }
        if once && repeated {
            self.emitted.insert(reference);
            return Ok(Vec::new());
        }
        if once {
            self.resolver.carried.add(run, ObjectKey::of(&name), object, [&reference, &item.id]);
        }
        self.emitted.insert(reference.clone());
        self.emitted.insert(item.id);
        self.plan.resolved.push(Resolved { reference, run, name, object, repeated });
        Ok(item.references)
    }
}

fn unreadable(error: Error) -> Result<Hit> {
    if error.is_damage() { Ok(Hit::Unreadable(error)) } else { Err(error) }
}
