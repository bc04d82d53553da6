//! The middle step, on N threads: reads a file once, compares it with what the store holds, parses and
//! encodes it. Writes nothing; the committer decides.

use std::ops::Range;
use std::sync::Arc;

use super::FileReport;
use super::buffers::{Buffers, Payload};
use super::dictionary::EncoderSlot;
use super::gate::Ticket;
use super::reason;
use super::scan::{Arrived, Job, RunDir};
use super::seen;
use super::target::{Base, Compared, Digested, Known, is_long, object_ids};
use super::timings::Meter;
use super::window::Worker;
use crate::error::Error;
use crate::id::RunKey;
use crate::limits::{FILE_MAX_BYTES, NAME_MAX_BYTES};
use crate::segment::Encoder;
use crate::snapshot::{Bundle, Meta, bundle};
use crate::vfs::tree::{FileTime, SourceDir, clock};

/// What a prepared file takes in memory beside its payload, about, in bytes.
pub(super) const FILE_OVERHEAD_BYTES: u64 = 512;
/// Largest read buffer that a worker keeps for the next file, in bytes.
const BUFFER_KEEP_BYTES: usize = 1 << 20;
/// Most ids that the warnings of a file name.
pub(super) const WARNINGS_MAX_IDS: usize = 8;

/// What comes out of a job.
#[derive(Debug)]
pub(super) enum Done {
    /// Something that is reported only.
    Report(FileReport),
    /// A run directory begins.
    Begin(Arc<RunDir>),
    /// A snapshot file of the run directory.
    File(PreparedFile),
    /// The run directory is complete.
    End(Arc<RunDir>),
}

/// A snapshot file, ready for the committer.
#[derive(Debug)]
pub(super) struct PreparedFile {
    /// The number of its entry in the run directory.
    pub(super) index: usize,
    /// Its length, in bytes.
    pub(super) bytes: u64,
    /// What to know about it.
    pub(super) warnings: Vec<String>,
    /// What the store held under its name when the import began.
    pub(super) known: Known,
    /// The ids of its objects that differ from its name; of a bad file nothing.
    pub(super) ids: Vec<Vec<u8>>,
    /// By what the next import may know it again, if it can.
    pub(super) digest: Option<u64>,
    /// The checksum of the record that holds its content already.
    pub(super) checksum: Option<u32>,
    /// Whether a file of its name came before it in this import.
    pub(super) is_repeat: bool,
    /// Whether it was opened.
    pub(super) is_opened: bool,
    /// What it holds.
    pub(super) content: Content,
    /// Its bytes in the window.
    pub(super) ticket: Ticket,
}

impl PreparedFile {
    fn new(index: usize) -> PreparedFile {
        PreparedFile {
            index,
            bytes: 0,
            warnings: Vec::new(),
            known: Known::Absent,
            ids: Vec::new(),
            digest: None,
            checksum: None,
            is_repeat: false,
            is_opened: true,
            content: Content::Same,
            ticket: Ticket::free(),
        }
    }
}

/// What a file holds.
#[derive(Debug)]
pub(super) enum Content {
    /// What the store holds already.
    Same,
    /// A new payload. In a dry run only the fact.
    New {
        /// Its encoded meta.
        meta: Vec<u8>,
        /// Where its first object lies.
        object: Range<u32>,
        /// The file's bytes.
        payload: Payload,
    },
    /// No snapshot.
    Bad {
        /// A stable code.
        code: &'static str,
        /// The reason, for people.
        detail: String,
    },
}

/// A worker.
pub(super) struct Preparer<B> {
    base: B,
    slot: Arc<EncoderSlot>,
    encoder: Option<Encoder>,
    buffer: Vec<u8>,
    buffers: Buffers,
    dry_run: bool,
    meter: Meter,
}

impl<B: Base> Preparer<B> {
    /// A worker that compares with `base`, the state in which the import began.
    pub(super) fn new(
        base: B,
        slot: Arc<EncoderSlot>,
        buffers: Buffers,
        dry_run: bool,
        meter: Meter,
    ) -> Preparer<B> {
        Preparer { base, slot, encoder: None, buffer: Vec::new(), buffers, dry_run, meter }
    }

    fn file(
        &mut self,
        dir: &SourceDir,
        run: &RunDir,
        index: usize,
        admit: &mut dyn FnMut(u64) -> Option<Ticket>,
    ) -> Option<PreparedFile> {
        let name = run.snapshot_name(index);
        let mut file = PreparedFile::new(index);
        if let Err(bad) = self.fill(&mut file, dir, run, name, admit)? {
            file.content = bad;
        }
        self.tidy();
        Some(file)
    }

    /// Prepares a file that was read already.
    fn arrived(&mut self, run: &RunDir, index: usize, arrived: Arrived) -> PreparedFile {
        let name = run.snapshot_name(index);
        let mut file = PreparedFile::new(index);
        (self.buffer, file.ticket) = (arrived.bytes, arrived.ticket);
        file.bytes = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        file.is_repeat = arrived.is_repeat;
        if let Err(bad) = self.judge(&mut file, run, name, arrived.mtime, arrived.stored) {
            file.content = bad;
        }
        self.tidy();
        file
    }

    fn judge(
        &mut self,
        file: &mut PreparedFile,
        run: &RunDir,
        name: &[u8],
        mtime: Option<FileTime>,
        stored: Option<Digested>,
    ) -> Result<(), Content> {
        if let Some(bad) = name_too_long(name) {
            return Err(bad);
        }
        let compared = self.compare(run, name, stored, true);
        file.known = compared.known;
        // What came before it under its name is not in the state it was compared with.
        if !compared.is_same || file.is_repeat {
            return self.parse(file, name, mtime);
        }
        file.ticket = Ticket::free();
        take_known_ids(file, name);
        Ok(())
    }

    fn tidy(&mut self) {
        if self.buffer.capacity() > BUFFER_KEEP_BYTES {
            self.buffer = Vec::new();
        }
    }

    /// Compares what is in the buffer, if anything is, with what the store held; `stored` if that was looked at before.
    fn compare(&mut self, run: &RunDir, name: &[u8], stored: Option<Digested>, is_read: bool) -> Compared {
        let Some(key) = stored_key(&self.base, run) else { return Compared::with(Known::Absent) };
        let begun = self.meter.start();
        let payload = is_read.then_some(self.buffer.as_slice());
        let compared = match stored {
            Some(stored) => stored.with(payload),
            None => self.base.compare(name, key, payload),
        };
        self.meter.stop(begun, |timings| &mut timings.prefilter);
        compared
    }

    /// Reads, compares, parses and encodes. The inner error is the content of a bad file.
    fn fill(
        &mut self,
        file: &mut PreparedFile,
        dir: &SourceDir,
        run: &RunDir,
        name: &[u8],
        admit: &mut dyn FnMut(u64) -> Option<Ticket>,
    ) -> Option<Result<(), Content>> {
        if let Some(bad) = name_too_long(name) {
            return Some(Err(bad));
        }
        let begun = self.meter.start();
        let is_seen = self.is_seen(file, dir, run, name);
        self.meter.stop(begun, |timings| &mut timings.prefilter);
        if is_seen {
            return Some(Ok(()));
        }
        let begun = self.meter.start();
        let now = clock();
        let mut stored = None;
        let read = match dir.open_file(run.file_name(file.index)) {
            Ok(mut opened) => {
                // Before its bytes are in memory; those of one that is too large never will be.
                let bytes = Some(opened.info().len).filter(|len| *len <= FILE_MAX_BYTES).unwrap_or(0);
                file.ticket = admit(bytes.saturating_add(FILE_OVERHEAD_BYTES))?;
                let key = stored_key(&self.base, run).filter(|_| is_long(bytes));
                stored = key.and_then(|key| self.base.digest(name, key, bytes));
                opened.read(&mut self.buffer, FILE_MAX_BYTES)
            }
            Err(error) => Err(error),
        };
        self.meter.stop(begun, |timings| &mut timings.read);
        // Also for a file that cannot be read: what stays in the store keeps its aliases.
        let compared = self.compare(run, name, stored, read.is_ok());
        file.known = compared.known;
        let info = match read {
            Ok(info) => info,
            Err(error) => return Some(Err(bad(reason::of_read(&error), &error))),
        };
        file.bytes = info.len;
        file.digest = seen::is_settled(&info, now).then(|| seen::digest(name, &info));
        if compared.is_same {
            file.checksum = compared.checksum;
            file.ticket = Ticket::free();
            take_known_ids(file, name);
            return Some(Ok(()));
        }
        Some(self.parse(file, name, Some(info.mtime)))
    }

    /// Tells whether an earlier import saw the file as it is now, and the store holds what it saw: then it is not opened.
    fn is_seen(&self, file: &mut PreparedFile, dir: &SourceDir, run: &RunDir, name: &[u8]) -> bool {
        let Some(key) = stored_key(&self.base, run).filter(|_| !run.seen.is_empty()) else { return false };
        // Whatever is wrong with it, reading it will say so.
        let Ok(info) = dir.stat_file(run.file_name(file.index)) else { return false };
        let digest = seen::digest(name, &info);
        let Some(found) = run.seen.find(digest) else { return false };
        file.known = Known::File { ids: Vec::new() };
        if !found.is_enough {
            let compared = self.base.compare(name, key, None);
            if compared.checksum != Some(found.checksum) {
                return false;
            }
            file.known = compared.known;
        }
        (file.checksum, file.digest) = (Some(found.checksum), Some(digest));
        (file.bytes, file.is_opened) = (info.len, false);
        take_known_ids(file, name);
        true
    }

    fn parse(
        &mut self,
        file: &mut PreparedFile,
        name: &[u8],
        mtime: Option<FileTime>,
    ) -> Result<(), Content> {
        let begun = self.meter.start();
        let parsed = bundle::parse(&self.buffer);
        self.meter.stop(begun, |timings| &mut timings.parse);
        let bundle = parsed.map_err(|reject| Content::Bad { code: reject.code, detail: reject.detail })?;
        let Bundle { objects, warnings } = bundle;
        let object = objects.first().map_or(0..0, |first| first.range.clone());
        let meta = Meta::of_objects(objects, name, mtime);
        file.warnings = warnings;
        file.ids = object_ids(&meta, name);
        warn_of_ids(file, name);
        file.content = if self.dry_run {
            file.ticket = Ticket::free();
            Content::New { meta: Vec::new(), object, payload: Payload::Raw(Vec::new()) }
        } else {
            Content::New { meta: meta.encode(), object, payload: self.encode()? }
        };
        Ok(())
    }

    fn encode(&mut self) -> Result<Payload, Content> {
        if self.encoder.is_none() {
            self.encoder = self.slot.get();
        }
        let begun = self.meter.start();
        let mut spare = self.buffers.take();
        let encoded = match &mut self.encoder {
            Some(encoder) => encoder
                .encode_from(&mut self.buffer, &mut spare)
                .map(Payload::Encoded)
                .map_err(|error| bad(reason::of_put(&error).unwrap_or(reason::UNREADABLE), &error)),
            None => Ok(Payload::Raw(std::mem::replace(&mut self.buffer, std::mem::take(&mut spare)))),
        };
        // Taken, unless there was an error.
        self.buffers.give(spare);
        self.meter.stop(begun, |timings| &mut timings.encode);
        encoded.map(Payload::trimmed)
    }
}

impl<B: Base> Worker<Job, Done> for Preparer<B> {
    fn work(&mut self, job: Job, admit: &mut dyn FnMut(u64) -> Option<Ticket>) -> Option<Done> {
        match job {
            Job::Report(report) => Some(Done::Report(report)),
            Job::Begin(run) => {
                // The committer counts on it being looked up.
                let _ = stored_key(&self.base, &run);
                Some(Done::Begin(run))
            }
            Job::File { dir, run, index } => self.file(&dir, &run, index, admit).map(Done::File),
            Job::Arrived { run, index, file } => Some(Done::File(self.arrived(&run, index, file))),
            Job::End(run) => Some(Done::End(run)),
        }
    }
}

/// Returns the key under which the store had the run when the import began.
fn stored_key(base: &impl Base, run: &RunDir) -> Option<RunKey> {
    *run.stored.get_or_init(|| base.run_key(run.entry.at, &run.entry.name))
}

fn name_too_long(name: &[u8]) -> Option<Content> {
    let detail = || format!("the name has {} bytes, at most {NAME_MAX_BYTES}", name.len());
    (name.len() > NAME_MAX_BYTES).then(|| Content::Bad { code: reason::NAME_TOO_LONG, detail: detail() })
}

fn bad(code: &'static str, error: &Error) -> Content {
    Content::Bad { code, detail: error.to_string() }
}

/// The file is what the store holds, and so are the ids in it.
fn take_known_ids(file: &mut PreparedFile, name: &[u8]) {
    if let Known::File { ids } = &file.known {
        file.ids.clone_from(ids);
    }
    warn_of_ids(file, name);
}

/// E19, E20: says that the file is not what its name says.
fn warn_of_ids(file: &mut PreparedFile, name: &[u8]) {
    if file.ids.is_empty() {
        return;
    }
    let name = String::from_utf8_lossy(name);
    for id in file.ids.iter().take(WARNINGS_MAX_IDS) {
        let text = String::from_utf8_lossy(id);
        file.warnings.push(if id.len() > NAME_MAX_BYTES {
            let start: String = text.chars().take(64).collect();
            format!("holds object {start:?}..., whose id of {} bytes is too long to be found by", id.len())
        } else {
            format!("holds object {text:?}, named {name:?}")
        });
    }
    match file.ids.len().saturating_sub(WARNINGS_MAX_IDS) {
        0 => {}
        more => file.warnings.push(format!("holds {more} more objects, named {name:?}")),
    }
}

#[cfg(test)]
mod tests;
