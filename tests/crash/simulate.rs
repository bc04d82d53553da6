//! The simulator: runs a workload once, then visits what a crash at each place of its log could leave.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use stix_store::vfs::fault::{Fault, FaultPlan, Times};
use stix_store::vfs::mem::{Mem, Op};
use stix_store::{Damage, Error, Result};

use super::fates::{Choices, Noise, Tearing, choices};
use super::trail::{Step, Trail};
use super::verify::{Known, hash_of, judge, next_transaction};
use super::workloads::Workload;
use crate::expected::{Compared, Expected, damage_of};
use crate::session::{FROM_HERE, Promised, Session};

/// Images whose recovery is crashed again, of each workload.
const NESTED: usize = 12;
/// Bytes of a write that a killed process got out, where it got out some.
const WRITTEN: usize = 50;
const EIO: i32 = 5;

/// A session that was recorded, and what it promised.
pub(super) struct Recording {
    mem: Mem,
    ops: Vec<Op>,
    states: Vec<Expected>,
    /// What was promised before its log begins.
    before: Promised,
    /// The first place to crash at.
    from: usize,
    /// Damage of the image that it begins with, which was forgiven.
    forgiven: Vec<Damage>,
}

/// What a simulation has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    /// Images made.
    pub(super) images: usize,
    /// Those that differ from each other.
    pub(super) judged: usize,
}

/// An image that does not hold, and how to come to it again.
#[derive(Debug)]
pub(super) struct Failure {
    /// The way to the image.
    pub(super) trail: Trail,
    /// What is wrong, and what had become of which operation.
    pub(super) complaint: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nreplay with: STORE_CRASH_REPLAY='{}'", self.complaint, self.trail)
    }
}

impl Recording {
    fn new(mem: Mem, session: Session) -> Recording {
        let (ops, states, before) = (mem.ops(), session.states, Promised::default());
        let from = ops.iter().position(|op| op.path == FROM_HERE).unwrap_or(0);
        Recording { mem, ops, states, before, from, forgiven: Vec::new() }
    }

    /// Runs a workload to its end.
    pub(super) fn of(workload: &Workload) -> Recording {
        let mem = Mem::new();
        let mut session = Session::new(&mem, workload.vfs(&mem));
        (workload.run)(&mut session).unwrap();
        session.leave();
        Recording::new(mem, session)
    }

    /// Runs a workload whose process is killed at a call to the file system, then what another process does that finds
    /// what it left: all of it, though not all of it is durable. `None` if the workload ends before that call.
    pub(super) fn killed(workload: &Workload, at: u64, written: usize) -> Option<Recording> {
        let mem = Mem::new();
        let plan = FaultPlan { at, errno: EIO, times: Times::Always, written };
        let fault = Fault::new(workload.vfs(&mem), Some(plan));
        let mut session = Session::new(&mem, Arc::new(fault.clone()));
        let ended = (workload.run)(&mut session);
        if fault.hits().is_empty() {
            return None;
        }
        ended.unwrap_err();
        session.go_on(workload.vfs(&mem));
        let from = mem.ops().len();
        let went_on = match session.open() {
            Err(Error::NoStore { .. }) => session.create(&workload.options()),
            opened => opened,
        };
        let went_on = went_on
            .and_then(|()| session.put_again())
            .and_then(|()| next_transaction(&mut session))
            .and_then(|()| session.close());
        went_on.unwrap();
        session.leave();
        Some(Recording { from, ..Recording::new(mem, session) })
    }

    /// Records what is done with a store after a crash that has left commit `commit` of `states`.
    fn recovered(image: &Mem, states: &[Expected], commit: usize) -> Result<Recording> {
        let mem = image.snapshot_all();
        let mut session = Session::resume(&mem, &states[..=commit]);
        next_transaction(&mut session)?;
        session.close_and_merge()?;
        session.leave();
        let before = Promised { created: true, acked: commit, issued: commit };
        let found = damage_of(image).unwrap().damage;
        let forgiven = found.into_iter().filter_map(|(damage, _)| damage).collect();
        Ok(Recording { before, forgiven, ..Recording::new(mem, session) })
    }

    fn promised(&self, count: usize) -> Promised {
        let told = Promised::by(&self.ops[..count]);
        Promised {
            created: told.created || self.before.created,
            acked: told.acked.max(self.before.acked),
            issued: told.issued.max(self.before.issued),
        }
    }

    fn image(&self, count: usize, choices: &Choices) -> Mem {
        choices.image(&self.mem, &self.ops, &self.mem.pending(count), count)
    }

    fn judge(&self, image: &Mem, count: usize, choices: &Choices) -> Compared<Option<usize>> {
        let promised = self.promised(count);
        let known =
            Known { states: &self.states, promised, torn: choices.is_torn(), forgiven: &self.forgiven };
        catch_unwind(AssertUnwindSafe(|| judge(image, &known)))
            .unwrap_or_else(|panic| Err(format!("panicked: {:?}", panic.downcast_ref::<String>())))
    }

    /// Tells what had become of which operation.
    fn tell(&self, count: usize, choices: &Choices) -> String {
        let pending = self.mem.pending(count);
        let lines = self.ops.iter().take(count).enumerate().map(|(number, op)| {
            let words = format!("{:?}", op.action);
            let verb = words.split([' ', '{']).next().unwrap_or_default();
            let fate = match pending.binary_search(&number) {
                Ok(at) => Choices(vec![choices.0[at]]).to_string(),
                Err(_) => "durable".to_owned(),
            };
            format!("\n  {number:>3} {verb:<10} {:<28} {fate}", op.path)
        });
        format!("after {count} operations:{}", lines.collect::<String>())
    }
}

/// A run of the simulator over one workload.
pub(super) struct Simulation<'w> {
    workload: &'w Workload,
    /// The commit that each image holds, if it holds a store.
    seen: HashMap<u64, Option<usize>>,
    tally: Tally,
}

impl<'w> Simulation<'w> {
    /// Simulates everything: crashes of the workload, of recoveries from these, and of what follows a kill.
    pub(super) fn run(workload: &'w Workload) -> std::result::Result<Tally, Box<Failure>> {
        let mut simulation = Simulation { workload, seen: HashMap::new(), tally: Tally::default() };
        let recording = Recording::of(workload);
        let trail = Trail { workload: workload.name.to_owned(), steps: Vec::new() };
        if recording.from > 0 {
            // A long one, of which only the end is of interest, and that at one crash.
            simulation.explore(&recording, &trail, Tearing::Coarse)?;
            return Ok(simulation.tally);
        }
        let images = simulation.explore(&recording, &trail, Tearing::Fine)?;
        let mut noise = Noise(images.len().try_into().unwrap());
        for _ in 0..NESTED.min(images.len()) {
            let (step, commit) = &images[noise.below(images.len())];
            let Step::Crash { count, choices } = step else { continue };
            let image = recording.image(*count, choices);
            let trail = trail.then(step.clone());
            let nested = Recording::recovered(&image, &recording.states, *commit);
            let nested = nested
                .map_err(|error| Box::new(Failure { trail: trail.clone(), complaint: error.to_string() }))?;
            simulation.explore(&nested, &trail, Tearing::Coarse)?;
        }
        simulation.kills(&trail)?;
        Ok(simulation.tally)
    }

    /// Kills the workload between each two operations, and in the middle of each write.
    fn kills(&mut self, trail: &Trail) -> std::result::Result<(), Box<Failure>> {
        for written in [0, WRITTEN] {
            let mut last: Option<Vec<Op>> = None;
            for at in 0.. {
                let Some(recording) = Recording::killed(self.workload, at, written) else { break };
                let left = recording.ops[..recording.from].to_vec();
                // Calls that only read lead to the same place.
                if last.as_ref() == Some(&left) {
                    continue;
                }
                last = Some(left);
                self.explore(&recording, &trail.then(Step::Kill { at, written }), Tearing::Coarse)?;
            }
        }
        Ok(())
    }

    /// Visits the crashes of a recording. Returns the distinct images that hold a store.
    fn explore(
        &mut self,
        recording: &Recording,
        trail: &Trail,
        tearing: Tearing,
    ) -> std::result::Result<Vec<(Step, usize)>, Box<Failure>> {
        let mut fresh = Vec::new();
        for count in recording.from..=recording.ops.len() {
            let pending = recording.mem.pending(count);
            for choices in choices(&recording.ops, &pending, tearing) {
                let image = choices.image(&recording.mem, &recording.ops, &pending, count);
                self.tally.images += 1;
                let hash = hash_of(&image);
                let known = self.seen.get(&hash).copied();
                let judged = match known {
                    Some(commit) => within(commit, recording.promised(count)).map(|()| commit),
                    None => recording.judge(&image, count, &choices),
                };
                let step = Step::Crash { count, choices: choices.clone() };
                let commit = judged.map_err(|complaint| {
                    let complaint = format!("{complaint}\n{}", recording.tell(count, &choices));
                    Box::new(Failure { trail: trail.then(step.clone()), complaint })
                })?;
                if known.is_none() {
                    self.seen.insert(hash, commit);
                    self.tally.judged += 1;
                    fresh.extend(commit.map(|commit| (step, commit)));
                }
            }
        }
        Ok(fresh)
    }
}

/// What of the judgement depends on what was promised, for an image that was judged before.
fn within(commit: Option<usize>, promised: Promised) -> Compared {
    match commit {
        None if promised.created => Err("the store is gone".to_owned()),
        Some(commit) if commit < promised.acked => {
            Err(format!("{commit} is newest, but {} was acknowledged", promised.acked))
        }
        _ => Ok(()),
    }
}

/// Judges the one image that a trail leads to.
pub(super) fn replay(workload: &Workload, trail: &Trail) -> Compared {
    let mut recording = match trail.steps.first() {
        Some(Step::Kill { at, written }) => {
            Recording::killed(workload, *at, *written).ok_or("no such call")?
        }
        _ => Recording::of(workload),
    };
    let mut crashes = trail.steps.iter().filter(|step| matches!(step, Step::Crash { .. })).peekable();
    while let Some(Step::Crash { count, choices }) = crashes.next() {
        let image = recording.image(*count, choices);
        let judged = recording.judge(&image, *count, choices);
        let commit =
            judged.map_err(|complaint| format!("{complaint}\n{}", recording.tell(*count, choices)))?;
        if let (Some(commit), true) = (commit, crashes.peek().is_some()) {
            let nested = Recording::recovered(&image, &recording.states, commit);
            recording = nested.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
