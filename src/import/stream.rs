//! Files that come by themselves, in an order of their own: from an archive or from bundles. A thread reads them, asks the window for
//! room before it takes the bytes of one, and sends pieces of run directories.

use std::collections::HashSet;
use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant as Clock};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::gate::{Gate, Ticket};
use super::prepare::FILE_OVERHEAD_BYTES;
use super::scan::{Arrived, Job, RunDir, RunEntry};
use super::seen::SeenRun;
use super::target::Digested;
use super::window::Feed;
use super::{FileOutcome, FileReport};
use crate::error::{Error, Result};
use crate::snapshot::codec::encode_run_meta;
use crate::vfs::Kind;
use crate::vfs::tree::{FileTime, SourceEntry};

/// Most jobs in a batch, about, and most of their bytes, unless one file has more.
const BATCH_MAX_JOBS: usize = 32;
const BATCH_MAX_BYTES: u64 = 1 << 20;
/// Batches read ahead of the workers.
const BATCHES_AHEAD: usize = 8;
/// How long nothing may come through a pipe before what came is committed.
const COMMIT_AFTER: Duration = Duration::from_secs(2);

enum Message {
    Jobs(Vec<Job>),
    End(Result<()>),
}

/// The end of the stream at the calling thread.
#[derive(Debug)]
pub(super) struct Stream {
    messages: Receiver<Message>,
    /// How reading ended, once it did.
    pub(super) ended: Result<()>,
    files: u64,
    quiet_since: Clock,
}

impl Stream {
    /// Starts reading on a thread of its own. It is never waited for: it may hang in a pipe that says nothing.
    pub(super) fn start(
        gate: &Arc<Gate>,
        read: impl FnOnce(&mut Pieces) -> Result<()> + Send + 'static,
    ) -> Result<Stream> {
        let (sender, messages) = bounded(BATCHES_AHEAD);
        let mut pieces = Pieces::new(sender.clone(), Arc::clone(gate));
        let work = move || {
            // What came before it broke off counts.
            let ended = read(&mut pieces).and(pieces.flush());
            // Nobody listens any more after an error of the import.
            drop(sender.send(Message::End(ended)));
        };
        let thread = thread::Builder::new().name("read".to_owned());
        thread.spawn(work).map_err(|source| Error::io("start", "a reading thread", source))?;
        Ok(Stream { messages, ended: Ok(()), files: 0, quiet_since: Clock::now() })
    }

    /// Returns the next jobs.
    pub(super) fn next_batch(&mut self) -> Result<Feed<Job>> {
        match self.messages.try_recv() {
            Ok(Message::Jobs(jobs)) => {
                let files = jobs.iter().filter(|job| matches!(job, Job::Arrived { .. })).count();
                self.files = self.files.saturating_add(u64::try_from(files).unwrap_or(u64::MAX));
                Ok(Feed::Jobs(jobs))
            }
            Ok(Message::End(ended)) => {
                self.ended = ended;
                Ok(Feed::End)
            }
            Err(TryRecvError::Empty) => Ok(Feed::Later),
            Err(TryRecvError::Disconnected) => {
                Err(Error::io("read", "files", std::io::Error::other("the reading thread panicked")))
            }
        }
    }

    /// Tells, every now and then, that nothing came: time to commit what did.
    pub(super) fn is_quiet(&mut self) -> bool {
        let is_quiet = self.quiet_since.elapsed() >= COMMIT_AFTER;
        if is_quiet {
            self.quiet_since = Clock::now();
        }
        is_quiet
    }

    /// Returns the number of files that came so far.
    pub(super) fn files(&self) -> u64 {
        self.files
    }
}

/// Puts what arrives together into pieces of run directories, and those into batches.
pub(super) struct Pieces {
    sender: Sender<Message>,
    gate: Arc<Gate>,
    hasher: RandomState,
    /// Names that came already, hashed: which of two files of one name counts is decided when they are put.
    came: HashSet<u64>,
    jobs: Vec<Job>,
    sent: u64,
    bytes: u64,
    piece: Option<Piece>,
}

struct Piece {
    entry: RunEntry,
    mtime: Option<FileTime>,
    entries: Vec<SourceEntry>,
    files: Vec<Arrived>,
}

/// Room in the window for a file about to be read, and what is stored under its name, if it is long.
pub(super) struct Room {
    ticket: Ticket,
    pub(super) stored: Option<Digested>,
}

impl Pieces {
    fn new(sender: Sender<Message>, gate: Arc<Gate>) -> Pieces {
        let (hasher, came) = (RandomState::new(), HashSet::new());
        Pieces { sender, gate, hasher, came, jobs: Vec::new(), sent: 0, bytes: 0, piece: None }
    }

    /// Waits until the window has room for a file of that length.
    ///
    /// # Errors
    /// `Cancelled` once nobody wants it any more.
    pub(super) fn room(&mut self, bytes: u64) -> Result<Room> {
        let bytes = bytes.saturating_add(FILE_OVERHEAD_BYTES);
        if let Some(ticket) = Gate::try_admit(&self.gate, u64::MAX, bytes) {
            return Ok(Room { ticket, stored: None });
        }
        // What stands in front of it goes first; once all of that is done it is this one's turn.
        self.flush()?;
        let ticket = Gate::admit(&self.gate, self.sent, bytes).ok_or(Error::Cancelled)?;
        Ok(Room { ticket, stored: None })
    }

    /// A run directory was met.
    pub(super) fn run(&mut self, entry: &RunEntry, mtime: Option<FileTime>) {
        if self.piece.as_ref().is_some_and(|piece| piece.entry.name == entry.name) {
            return;
        }
        self.end_piece();
        self.piece = Some(Piece { entry: entry.clone(), mtime, entries: Vec::new(), files: Vec::new() });
    }

    /// A file of the run directory that was met last.
    ///
    /// # Errors
    /// As [`room`](Pieces::room).
    pub(super) fn file(
        &mut self,
        file_name: Vec<u8>,
        bytes: Vec<u8>,
        mtime: Option<FileTime>,
        room: Room,
    ) -> Result<()> {
        let Some(piece) = &mut self.piece else { return Ok(()) };
        let is_repeat = !self.came.insert(self.hasher.hash_one((&piece.entry.name, &file_name)));
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        piece.entries.push(SourceEntry { name: OsString::from_vec(file_name), kind: Kind::File });
        let Room { ticket, stored } = room;
        piece.files.push(Arrived { bytes, mtime, is_repeat, stored, ticket });
        self.flush_if_full()
    }

    /// Something that is no snapshot.
    ///
    /// # Errors
    /// As [`room`](Pieces::room).
    pub(super) fn report(
        &mut self,
        outcome: FileOutcome,
        path: Vec<Vec<u8>>,
        reason: (&'static str, String),
    ) -> Result<()> {
        self.end_piece();
        let reason = Some(reason);
        let report = FileReport { path, outcome, bytes: 0, commit: None, reason, warnings: Vec::new() };
        self.jobs.push(Job::Report(report));
        self.flush_if_full()
    }

    fn end_piece(&mut self) {
        let Some(Piece { entry, mtime, entries, files }) = self.piece.take() else { return };
        let run = Arc::new(RunDir {
            entry,
            meta: encode_run_meta(mtime),
            entries,
            is_whole: false,
            seen: SeenRun::default(),
            stored: OnceLock::new(),
        });
        self.jobs.push(Job::Begin(Arc::clone(&run)));
        for (index, file) in files.into_iter().enumerate() {
            self.jobs.push(Job::Arrived { run: Arc::clone(&run), index, file });
        }
        self.jobs.push(Job::End(run));
    }

    /// Sends a batch that is full, and any while nobody has something to do: the next file may be long in coming.
    fn flush_if_full(&mut self) -> Result<()> {
        let files = self.piece.as_ref().map_or(0, |piece| piece.files.len());
        let is_full =
            files.saturating_add(self.jobs.len()) >= BATCH_MAX_JOBS || self.bytes >= BATCH_MAX_BYTES;
        if is_full || self.sender.is_empty() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let again = self.piece.as_ref().map(|piece| (piece.entry.clone(), piece.mtime));
        self.end_piece();
        self.bytes = 0;
        if let Some((entry, mtime)) = again {
            self.piece = Some(Piece { entry, mtime, entries: Vec::new(), files: Vec::new() });
        }
        if self.jobs.is_empty() {
            return Ok(());
        }
        let jobs = std::mem::take(&mut self.jobs);
        self.sent = self.sent.saturating_add(u64::try_from(jobs.len()).unwrap_or(u64::MAX));
        self.sender.send(Message::Jobs(jobs)).map_err(|_| Error::Cancelled)
    }
}
