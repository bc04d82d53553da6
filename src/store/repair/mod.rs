//! Repair: findings of a check, a plan of what to do about them, evidence set aside, the plan carried out, a
//! check again.
//!
//! A damaged segment is repaired by a compaction of that one segment which tolerates losses and writes them down:
//! what is live and intact in it goes to a new segment, what was lost gets a DELETE that says so, and one COMMIT
//! leaves the damaged segment out. So each segment is one atomic step, and after a crash at any place the next
//! repair goes on: what is done is no longer found, what is not is done. Before that COMMIT a copy of the segment is
//! durable in the quarantine, with a report. What is live is decided by the state that readers had, index included,
//! so nothing that was uncommitted, deleted, embedded in a payload or of another store comes to life.
//!
//! The index is rebuilt from the log alone when all segments are done, never between two of them: until then the
//! old one knows whose the unreadable records were. That losses are written down and the damaged original is kept
//! answers Attic and Borg, whose repair says neither what it dropped nor keeps it (borg#2397, #8192, #5325).

use std::collections::BTreeSet;
use std::ops::Range;

use super::check::{CheckOptions, Moment, judge, keep_segments, load_frozen};
use super::inner::DATA_DIR;
use super::open::Loaded;
use super::recover::make_durable;
use super::txn::Writer;
use super::{Store, WriterOptions, current_dictionary, lock_patiently};
use crate::error::{Place, Result};
use crate::format::put::implied_name;
use crate::id::{CommitId, Key, ObjectKey, RunKey, SegmentId};
use crate::index::hash_key;
use crate::progress::{Progress, Stop};

mod apply;
mod attribute;
mod basis;
pub(crate) mod evidence;
mod files;
mod kept;
mod known;
mod look;
mod plan;
mod pointers;
mod salvage;
mod superseded;
mod swap;

use basis::{Basis, load_basis};
pub use evidence::Evidence;
pub use look::RepairScope;
use look::{Findings, Found, look};
use plan::Plan;

/// Repairs in a row before what is still found counts as beyond repair. One is enough unless the first one brings
/// more to light.
const ROUNDS_MAX: usize = 6;

/// How to repair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RepairOptions<'o> {
    /// Look at these places only, again, and repair what is still wrong there. `None`: at everything.
    pub scope: Option<&'o RepairScope>,
    /// Tell what would be done, write nothing.
    pub dry_run: bool,
    /// Where a snapshot is lost, let the one before it answer.
    pub accept_older: bool,
}

/// What a record held that is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LostKind {
    /// A snapshot, as far as is known.
    Snapshot,
    /// Another id of a snapshot.
    Alias,
    /// A run's own record: the odd name and the time of its directory.
    Run,
    /// That something was deleted, where what was deleted answers again.
    Deletion,
}

/// What became of a lost record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is lost, and its key says so.
    Lost,
    /// It is lost, and an older one answers as asked for.
    Older,
    /// Only the index named it, and the log has another record of its key, which answers: which of the two was the newer, nobody
    /// knows.
    Other,
    /// It was taken from the source again.
    Healed,
}

/// A record that was live and cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// Where it was.
    pub place: Place,
    /// What it held.
    pub kind: LostKind,
    /// Its run.
    pub run: RunKey,
    /// Its key, where known.
    pub key: Option<Key>,
    /// Its object's hash in the index, where known.
    pub hash: Option<u64>,
    /// Why it cannot be read.
    pub why: String,
    /// What became of it. In a dry run what would, without a source.
    pub fate: Fate,
}

impl Lost {
    /// Returns its name, where its key says it.
    pub fn name(&self) -> Option<Vec<u8>> {
        self.key.as_ref().and_then(implied_name)
    }
}

/// Bytes of acknowledged transactions of which nobody knows what they held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unknown {
    /// Where.
    pub place: Place,
    /// How many bytes, where known.
    pub len: Option<u64>,
    /// How many records they held, where the COMMIT tells.
    pub records: Option<u64>,
}

/// What was done with a segment, or would be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentRepair {
    /// Which.
    pub segment: SegmentId,
    /// Whether there was a file.
    pub present: bool,
    /// Bytes of it.
    pub bytes: u64,
    /// Live records that were intact and are kept.
    pub kept: u64,
    /// The commit that replaced it; 0 in a dry run.
    pub commit: CommitId,
    /// Where it is kept.
    pub evidence: Option<String>,
}

/// What was done with another file, or would be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileRepair {
    /// Its path.
    pub file: String,
    /// What was done: a sentence.
    pub action: &'static str,
    /// Where the damaged one is kept, if there was one.
    pub evidence: Option<String>,
}

/// What a repair did, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RepairReport {
    /// Damage found before.
    pub damage: u64,
    /// Segments, in the order in which they are repaired: where the log ended once, missing ones, then the others; each kind ascending.
    pub segments: Vec<SegmentRepair>,
    /// Other files.
    pub files: Vec<FileRepair>,
    /// Live records that could not be read.
    pub lost: Vec<Lost>,
    /// What else is gone.
    pub unknown: Vec<Unknown>,
    /// What cannot be repaired: where, and why.
    pub left: Vec<(Place, String)>,
    /// Bytes of replaced segments that readers may still use; the next writer removes them.
    pub waiting_bytes: u64,
    /// Damage found afterwards; in a dry run that found before.
    pub remaining: u64,
    /// The last commit.
    pub commit: CommitId,
}

impl RepairReport {
    /// Tells whether something is gone that was acknowledged.
    pub fn has_losses(&self) -> bool {
        !self.unknown.is_empty() || self.lost.iter().any(|lost| lost.fate != Fate::Healed)
    }

    fn take(&mut self, plan: &mut Plan) {
        self.left.append(&mut plan.left);
    }
}

/// A lost record that a source is asked for.
#[derive(Debug)]
pub struct Wanted<'w> {
    /// What was lost.
    pub lost: &'w Lost,
    /// The name of its run's directory, where known.
    pub run_name: Option<&'w str>,
    seed: u64,
}

impl Wanted<'_> {
    /// Tells whether it was the record of this name.
    pub fn is_named(&self, name: &[u8]) -> bool {
        let object = ObjectKey::of(name);
        match (self.lost.key, self.lost.hash) {
            (Some(key), _) => key.object == object,
            (None, Some(hash)) => hash_key(&object, self.seed) == hash,
            (None, None) => false,
        }
    }
}

/// What a source gives for a lost record: the fields of a [`Put`](super::Put).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Replacement {
    /// Its name; of a run its directory's name.
    pub name: Vec<u8>,
    /// Opaque bytes that readers get back with it.
    pub meta: Vec<u8>,
    /// Where the first object lies.
    pub object: Range<u32>,
    /// The file's bytes; of an alias the file's name.
    pub body: Vec<u8>,
}

/// Where lost records may be taken from again: given from above, as payloads are opaque here.
pub trait RepairSource {
    /// Looks for a lost record.
    ///
    /// # Errors
    /// An error ends the repair; what cannot be read there is `None`.
    fn find(&mut self, wanted: &Wanted<'_>) -> Result<Option<Replacement>>;
}

impl Store {
    /// Repairs the store: everything that `check` finds, or says why not. A dry run takes no lock and writes nothing.
    /// Cost: a check before and after, and a replay of the log; where segments are damaged up to three passes over the
    /// index for each half a million records in them. Memory: bounded for what is sound (54 MB for a million records with a
    /// wrong byte in each segment), and a list of what is damaged or lost. On return what was done is durable. Handles and
    /// views that are open keep the state they have; segments they may use wait for the next writer.
    ///
    /// # Errors
    /// `Locked`, `Cancelled` between two segments, failures of the file system: also where bytes cannot be read at
    /// all, as they may be readable tomorrow. After any of them the next repair goes on.
    pub fn repair(
        &self,
        writer: &WriterOptions,
        options: RepairOptions<'_>,
        source: Option<&mut (dyn RepairSource + '_)>,
        progress: &mut dyn FnMut(&Progress),
        stop: &Stop,
    ) -> Result<RepairReport> {
        let read = self.inner.read.clone();
        if options.dry_run {
            // The plan is about the very state that was checked: a writer may go on beside.
            let _readers = keep_segments(&read, stop)?;
            let Moment { loaded, files, hidden } = load_frozen(&read)?;
            let mut findings = Findings { scope: options.scope, found: Found::default() };
            judge(&read, &loaded, &hidden, &CheckOptions::default(), &mut findings, stop)?;
            let found = findings.found;
            let damage = found.damage();
            let commit = loaded.working.state.position.link.id;
            let basis = Basis::of(loaded, &found, &files)?;
            let plan = Plan::make(&basis, found.all, options, &read)?;
            let mut report = RepairReport { damage, remaining: damage, commit, ..Default::default() };
            plan.tell(&mut report);
            return Ok(report);
        }
        let vfs = self.inner.vfs()?;
        let lock = lock_patiently(&*vfs, writer)?;
        vfs.create_dir(DATA_DIR)?;
        let found = look(&read, options.scope, stop)?;
        let mut basis = load_basis(&read, &found)?;
        let mut writer = self.repairing_writer(&mut basis.loaded, lock)?;
        let mut report = RepairReport { damage: found.damage(), ..Default::default() };
        let mut rounds = Rounds { options, source, progress, stop, report: &mut report };
        rounds.run(&mut writer, found, basis)?;
        report.commit = writer.state().position.link.id;
        Ok(report)
    }

    /// A writer on a state that another would refuse to build on.
    fn repairing_writer(&self, loaded: &mut Loaded, lock: Box<dyn crate::vfs::Lock>) -> Result<Writer> {
        let vfs = self.inner.vfs()?;
        make_durable(&*vfs, &loaded.working)?;
        drop(loaded.readers.take());
        let dictionary = current_dictionary(loaded, &*vfs)?;
        Ok(Writer::new(self.inner.clone(), vfs, loaded.working.clone(), dictionary, lock))
    }
}

/// The repairs in a row.
struct Rounds<'r, 's, 'p> {
    options: RepairOptions<'r>,
    source: Option<&'r mut (dyn RepairSource + 's)>,
    progress: &'r mut (dyn FnMut(&Progress) + 'p),
    stop: &'r Stop,
    report: &'r mut RepairReport,
}

impl Rounds<'_, '_, '_> {
    fn run(&mut self, writer: &mut Writer, mut found: Found, first: Basis) -> Result<()> {
        let read = writer.inner.read.clone();
        let mut first = Some(first);
        let mut remaining = found.damage();
        let mut before: BTreeSet<SegmentId> = BTreeSet::new();
        for _ in 0..ROUNDS_MAX {
            let basis = first.take().map_or_else(|| load_basis(&read, &found), Ok)?;
            let mut plan = Plan::make(&basis, found.all, self.options, &read)?;
            self.report.left.clear();
            self.report.take(&mut plan);
            drop(basis);
            let news =
                !plan.swaps.is_empty() || plan.salvages.iter().any(|salvage| before.insert(salvage.segment));
            if !news && plan.is_for_segments() || plan.is_empty() {
                break;
            }
            self.carry_out(writer, &mut plan)?;
            found = look(&read, self.options.scope, self.stop)?;
            remaining = found.damage();
        }
        self.report.remaining = remaining;
        // What another process left undone, and what a repair that was cut off did not come to.
        if writer.working.is_dirty()
            || writer.state().published().is_empty() && !writer.state().segments.ids().is_empty()
        {
            writer.rebuild_index()?;
        }
        self.report.waiting_bytes = writer.remove_dead()?;
        Ok(())
    }

    fn carry_out(&mut self, writer: &mut Writer, plan: &mut Plan) -> Result<()> {
        writer.mend_small_files(plan, self.report)?;
        let mut at =
            Progress { items_total: u64::try_from(plan.salvages.len()).unwrap_or(0), ..Progress::default() };
        (self.progress)(&at);
        let mut pending: BTreeSet<SegmentId> =
            plan.salvages.iter().filter(|salvage| !salvage.present).map(|salvage| salvage.segment).collect();
        // In the order of the plan. Those that are there are ascending: what a later segment's header says may be the proof that
        // a transaction of an earlier one counts.
        for mut salvage in std::mem::take(&mut plan.salvages) {
            self.stop.check()?;
            pending.remove(&salvage.segment);
            writer.salvage(&mut salvage, &pending, self.source.as_deref_mut(), self.report)?;
            at.items = at.items.saturating_add(1);
            at.findings = u64::try_from(self.report.lost.len()).unwrap_or(u64::MAX);
            (self.progress)(&at);
        }
        writer.set_index_aside(plan, self.report)?;
        writer.rebuild_index()?;
        self.report.waiting_bytes = writer.remove_dead()?;
        Ok(())
    }
}
