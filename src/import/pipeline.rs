//! Puts the steps together: scan -> prepare on N threads -> order -> hold for a dictionary -> commit.

use std::sync::Arc;
use std::thread;

use super::buffers::Buffers;
use super::commit::Committer;
use super::dictionary::{EncoderSlot, Held};
use super::gate::Gate;
use super::mirror::Removals;
use super::prepare::{Done, Preparer};
use super::scan::{Job, RunEntry, Scan, Tree};
use super::seen::{Seen, SourceId};
use super::stream::Stream;
use super::target::StoreTarget;
use super::timings::Meter;
use super::window::{self, Feed, Flow};
use super::{ImportOptions, ImportSink, ImportSummary, Mirror, Source, archive, bundles};
use crate::error::{Error, Result};
use crate::progress::Stop;
use crate::store::Writer;
use crate::vfs::tree::{begin_archive, open_input};

/// Most workers: each has some directories open, and their number is limited.
const JOBS_MAX: usize = 64;

struct Pipeline<'a> {
    from: Origin,
    held: Option<Held>,
    committer: Committer<'a, StoreTarget<'a>>,
    slot: Arc<EncoderSlot>,
    threads: usize,
    stop: &'a Stop,
}

/// Where jobs come from.
enum Origin {
    Tree(Scan),
    Stream(Stream),
}

/// Imports a source; what is not committed when it fails is for the caller to roll back.
pub(super) fn run(
    source: Source,
    writer: &mut Writer,
    options: &ImportOptions,
    sink: &mut dyn ImportSink,
    stop: &Stop,
) -> Result<ImportSummary> {
    let threads = match options.jobs {
        0 => thread::available_parallelism().map_or(1, |cores| usize::from(cores).min(JOBS_MAX)),
        jobs => jobs.min(JOBS_MAX),
    };
    let base = writer.view()?;
    let wants_dictionary = writer.wants_dictionary() && !options.dry_run;
    let slot = Arc::new(EncoderSlot::default());
    if !wants_dictionary && !options.dry_run {
        slot.set(writer.encoder());
    }
    // The whole budget, also while files are held back for a dictionary: what is read meanwhile comes to the committer as it is, which
    // encodes it, but nobody waits.
    let gate = Gate::new(options.memory_bytes());
    let target = StoreTarget::new(writer, base.clone());
    let (from, removals, id) = open(source, &target, options, &gate, stop)?;
    let (meter, buffers) = (Meter::new(options.timings), Buffers::default());
    let begun = meter.start();
    let mut make_worker = {
        let workers = meter.another();
        let (base, slot, buffers) = (base, Arc::clone(&slot), buffers.clone());
        move || {
            let (slot, buffers) = (Arc::clone(&slot), buffers.clone());
            Preparer::new(base.clone(), slot, buffers, options.dry_run, workers.another())
        }
    };
    let mut committer = Committer::new(target, sink, options.dry_run, removals);
    (committer.meter, committer.buffers) = (meter, buffers);
    let mut pipeline =
        Pipeline { from, held: wants_dictionary.then(Held::default), committer, slot, threads, stop };
    let result =
        window::run(&mut pipeline, &mut make_worker, threads, &gate, stop).and_then(|()| pipeline.finish());
    let Pipeline { from, mut committer, .. } = pipeline;
    committer.meter.stop(begun, |timings| &mut timings.total);
    let result = result.map(|summary| ImportSummary { timings: committer.meter.sum(), ..summary });
    // What was committed is worth noting also when the import was interrupted.
    if let (Origin::Tree(scan), Some(id), false) = (from, id, options.dry_run) {
        let (seen, names) = scan.into_seen();
        committer.notes.save(seen, &names, committer.target.writer, id, result.is_ok());
    }
    result
}

fn open(
    source: Source,
    target: &StoreTarget<'_>,
    options: &ImportOptions,
    gate: &Arc<Gate>,
    stop: &Stop,
) -> Result<(Origin, Removals, Option<SourceId>)> {
    let stream = match source {
        Source::Tree(path) => {
            let tree = Tree::open(&path)?;
            let removals = Removals::plan(options.mirror, &tree, target, stop)?;
            let id = SourceId::of(tree.root.full_path().as_os_str().as_encoded_bytes());
            let seen = if options.force_read { Seen::default() } else { Seen::load(target.writer, id) };
            return Ok((Origin::Tree(Scan::new(tree, seen)), removals, Some(id)));
        }
        _ if options.mirror != Mirror::Keep => {
            let reason = "only a tree tells what is gone".to_owned();
            return Err(Error::BadInput { what: "mirror".to_owned(), reason });
        }
        Source::Archive(path) => {
            let (input, base) = (open_input(&path)?, target.base.clone());
            Stream::start(gate, move |pieces| archive::read(begin_archive(input)?, &base, pieces))?
        }
        Source::Begun(archive) => {
            let base = target.base.clone();
            Stream::start(gate, move |pieces| archive::read(archive, &base, pieces))?
        }
        Source::Bundles { path, run, at } => {
            let run = RunEntry { at, name: run, warning: None };
            Stream::start(gate, move |pieces| bundles::read(&path, &run, pieces))?
        }
    };
    Ok((Origin::Stream(stream), Removals::new(Mirror::Keep, 0), None))
}

impl Flow for Pipeline<'_> {
    type Job = Job;
    type Done = Done;

    fn feed(&mut self) -> Result<Feed<Job>> {
        let begun = self.committer.meter.start();
        let mut quiet = false;
        let (fed, files) = match &mut self.from {
            Origin::Tree(scan) => (scan.next_batch().map_or(Feed::End, Feed::Jobs), scan.files()),
            Origin::Stream(stream) => {
                let fed = stream.next_batch()?;
                if matches!(fed, Feed::Later) && stream.is_quiet() {
                    // A pipe may say nothing for hours: what it said is made durable, and told.
                    quiet = true;
                }
                (fed, stream.files())
            }
        };
        self.committer.meter.stop(begun, |timings| &mut timings.scan);
        if quiet {
            self.let_go()?;
            self.committer.commit()?;
        }
        if matches!(fed, Feed::End) {
            self.committer.set_total(files);
        }
        Ok(fed)
    }

    fn take(&mut self, done: Done) -> Result<()> {
        let Some(held) = &mut self.held else { return self.committer.take(done) };
        held.push(done);
        if held.is_ready() { self.decide(false) } else { Ok(()) }
    }
}

impl Pipeline<'_> {
    /// Trains a dictionary if there is enough to train on, and lets go what was held back. `is_all`: nothing more comes.
    fn decide(&mut self, is_all: bool) -> Result<()> {
        let Some(held) = self.held.take() else { return Ok(()) };
        let begun = self.committer.meter.start();
        let writer = &mut *self.committer.target.writer;
        let mut is_trained = false;
        if let Some(samples) = held.samples() {
            // `false`: nothing to be gained, the store says. It goes on without.
            is_trained = writer.train_dictionary(&samples)?;
            tracing::debug!(is_trained, samples = samples.len(), "dictionary");
        }
        let encoder = writer.encoder();
        self.slot.set(encoder.clone());
        let own = if is_trained && is_all { encoder.thorough() } else { encoder };
        let items = held.into_encoded(&own, self.threads);
        self.committer.meter.stop(begun, |timings| &mut timings.train);
        self.take_all(items)
    }

    /// Lets go what was held back so far: a pipe that says little is not to wait for more. While that is too little to train a
    /// dictionary on, it is packed without one, and what comes next is held back.
    fn let_go(&mut self) -> Result<()> {
        let Some(held) = &mut self.held else { return Ok(()) };
        if held.samples().is_some() {
            return self.decide(false);
        }
        let held = held.let_go();
        let items = held.into_encoded(&self.committer.target.writer.encoder(), self.threads);
        self.take_all(items)
    }

    fn take_all(&mut self, items: Vec<Done>) -> Result<()> {
        for done in items {
            self.stop.check()?;
            self.committer.take(done)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ImportSummary> {
        self.decide(true)?;
        if let Origin::Tree(scan) = &self.from {
            let names = scan.run_names();
            self.committer.remove_gone_runs(|name| names.contains(name), self.stop)?;
        }
        let summary = self.committer.finish()?;
        match &mut self.from {
            // What came before an archive broke off is in the store, and that it broke off is told.
            Origin::Stream(stream) => std::mem::replace(&mut stream.ended, Ok(())).map(|()| summary),
            Origin::Tree(_) => Ok(summary),
        }
    }
}
