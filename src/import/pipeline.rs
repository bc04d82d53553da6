//! Puts the steps together: scan -> prepare on N threads -> order -> hold for a dictionary -> commit.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::commit::Committer;
use super::dictionary::Held;
use super::gate::Gate;
use super::mirror::Removals;
use super::prepare::{Done, EncoderSlot, Preparer};
use super::scan::{Job, Scan, Tree};
use super::seen::{Seen, SourceId};
use super::target::StoreTarget;
use super::window::{self, Flow};
use super::{ImportOptions, ImportSink, ImportSummary};
use crate::error::Result;
use crate::limits::GROUP_MAX_BYTES;
use crate::progress::Stop;
use crate::store::Writer;

/// Most workers: each has some directories open, and their number is limited.
const JOBS_MAX: usize = 64;

struct Pipeline<'a> {
    scan: Scan,
    held: Option<Held>,
    committer: Committer<'a, StoreTarget<'a>>,
    slot: Arc<EncoderSlot>,
    gate: Arc<Gate>,
    threads: usize,
    memory: u64,
    stop: &'a Stop,
}

/// Imports a tree; what is not committed when it fails is for the caller to roll back.
pub(super) fn run(
    source: &Path,
    writer: &mut Writer,
    options: &ImportOptions,
    sink: &mut dyn ImportSink,
    stop: &Stop,
) -> Result<ImportSummary> {
    let threads = match options.jobs {
        0 => thread::available_parallelism().map_or(1, |cores| usize::from(cores).min(JOBS_MAX)),
        jobs => jobs.min(JOBS_MAX),
    };
    let memory = options.memory_bytes();
    let tree = Tree::open(source)?;
    let base = writer.view()?;
    let wants_dictionary = writer.wants_dictionary() && !options.dry_run;
    let slot = Arc::new(EncoderSlot::default());
    if !wants_dictionary && !options.dry_run {
        slot.set(writer.encoder());
    }
    let target = StoreTarget::new(writer, base.clone());
    let removals = Removals::plan(options.mirror, &tree, &target, stop)?;
    // While there is no encoder, what the workers do ahead is work left to the committer: not much of it.
    let gate = Gate::new(if wants_dictionary { GROUP_MAX_BYTES.min(memory) } else { memory });
    let id = SourceId::of(tree.root.full_path().as_os_str().as_encoded_bytes());
    let seen = if options.force_read { Seen::default() } else { Seen::load(target.writer, id) };
    let mut pipeline = Pipeline {
        scan: Scan::new(tree, seen),
        held: wants_dictionary.then(Held::default),
        committer: Committer::new(target, sink, options.dry_run, removals),
        slot: Arc::clone(&slot),
        gate: Arc::clone(&gate),
        threads,
        memory,
        stop,
    };
    let mut make_worker = || Preparer::new(base.clone(), Arc::clone(&slot), options.dry_run);
    let result =
        window::run(&mut pipeline, &mut make_worker, threads, &gate, stop).and_then(|()| pipeline.finish());
    let Pipeline { scan, committer, .. } = pipeline;
    let (notes, writer) = (committer.notes, committer.target.writer);
    // What was committed is worth noting also when the import was interrupted. With `force_read` nothing was taken from the
    // notes, but they are renewed.
    if !options.dry_run {
        let (seen, names) = scan.into_seen();
        notes.save(&seen, &names, writer, id);
    }
    result
}

impl Flow for Pipeline<'_> {
    type Job = Job;
    type Done = Done;

    fn feed(&mut self) -> Result<Option<Vec<Job>>> {
        let batch = self.scan.next_batch();
        if batch.is_none() {
            self.committer.set_total(self.scan.files());
        }
        Ok(batch)
    }

    fn take(&mut self, done: Done) -> Result<()> {
        let Some(held) = &mut self.held else { return self.committer.take(done) };
        held.push(done);
        if held.is_ready() { self.decide() } else { Ok(()) }
    }
}

impl Pipeline<'_> {
    /// Trains a dictionary if there is enough to train on, and lets go what was held back.
    fn decide(&mut self) -> Result<()> {
        let Some(held) = self.held.take() else { return Ok(()) };
        let writer = &mut *self.committer.target.writer;
        if let Some(samples) = held.samples() {
            // `false`: nothing to be gained, the store says. It goes on without.
            let trained = writer.train_dictionary(&samples)?;
            tracing::debug!(trained, samples = samples.len(), "dictionary");
        }
        let encoder = writer.encoder();
        self.slot.set(encoder.clone());
        self.gate.set_limit(self.memory);
        for done in held.into_encoded(&encoder, self.threads) {
            self.stop.check()?;
            self.committer.take(done)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ImportSummary> {
        self.decide()?;
        let names = self.scan.run_names();
        self.committer.remove_gone_runs(|name| names.contains(name), self.stop)?;
        self.committer.finish()
    }
}
