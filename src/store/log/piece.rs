//! Pieces of a segment, read one by one: the part of reading the log that needs to know nothing of what came before.
//!
//! A piece is what starts within one mebibyte of a segment. As heads are bound to their offsets, a piece can be read
//! without the one before it: its first record is the first place where a head holds. Whether that is where the piece
//! before ends is for the reader of the log to compare; where it is not, the piece is read again from there. So several
//! threads can read one segment, and damage in one piece, or bytes made to deceive, cannot change what another one says.

use crate::error::{Damage, Error, Result};
use crate::format::commit::{self, CommitData};
use crate::format::record::{HEAD_BYTES, Head, Tag};
use crate::id::Location;
use crate::segment::{Segment, Step, Walk};

use super::heads::Heads;

/// Bytes of a segment in whose range the records of a piece start.
pub(crate) const PIECE_BYTES: u32 = 1 << 20;
/// Bytes in which a piece looks for its first record. Where it finds none, it mostly lies within one large record; to search
/// all of that would take longer than to read it.
const SEARCH_MAX_BYTES: u32 = 64 << 10;

/// Looks at records, perhaps in several threads, and keeps of them what is needed once it is known that they were
/// committed.
pub(crate) trait Survey: Sync {
    /// What is kept of some records.
    type Notes: Notes;

    /// A PUT, DELETE or dictionary whose head holds. `walk` reads its data.
    fn record(&self, walk: &mut Walk<'_>, at: Location, head: &Head, notes: &mut Self::Notes) -> Result<()>;

    /// A PUT or DELETE whose head has one wrong bit: `head` is that head put right, good enough to know whose record is lost.
    fn broken(
        &self,
        walk: &mut Walk<'_>,
        at: Location,
        head: &Head,
        damage: &Damage,
        notes: &mut Self::Notes,
    ) -> Result<()> {
        let _ = damage;
        self.record(walk, at, head, notes)
    }

    /// No more records follow in these notes.
    fn settle(&self, notes: &mut Self::Notes) -> Result<()> {
        let _ = notes;
        Ok(())
    }
}

/// What is kept of records until their COMMIT is found.
pub(crate) trait Notes: Default + Send {
    /// Bytes of memory that it holds, roughly. Where a transaction gathers too much, notes are dropped and its records read
    /// a second time; 0 where all are needed.
    fn weight(&self) -> usize;
}

impl<T: Send> Notes for Vec<T> {
    fn weight(&self) -> usize {
        0
    }
}

/// Records that follow each other without anything in between.
#[derive(Debug, Default)]
pub(super) struct Batch<N> {
    /// Where the first PUT or DELETE starts. `None`: there is only a dictionary.
    pub(super) first: Option<u32>,
    /// PUT and DELETE records.
    pub(super) count: u32,
    /// Their heads.
    pub(super) heads: Heads,
    /// What is kept of them.
    pub(super) notes: N,
}

/// What stands in a piece, in order.
#[derive(Debug)]
pub(super) enum Event<N> {
    Records(Batch<N>),
    Commit {
        offset: u32,
        head: Head,
        commit: CommitData,
    },
    /// Bytes that are no record, a COMMIT that does not hold included.
    Gap {
        offset: u32,
        len: u32,
        damage: Damage,
    },
}

/// A piece that was read.
#[derive(Debug)]
pub(crate) struct Piece<N> {
    /// Where its first record starts.
    pub(super) start: u32,
    /// Where it ends: where the next record should start.
    pub(super) end: u32,
    pub(super) events: Vec<Event<N>>,
}

impl<N> Piece<N> {
    /// Returns where its first record starts.
    pub(crate) fn start(&self) -> u32 {
        self.start
    }
}

/// Returns where the piece that begins at or behind `from` ends.
pub(crate) fn border(from: u32) -> u32 {
    (from / PIECE_BYTES).saturating_add(1).saturating_mul(PIECE_BYTES)
}

/// Reads what starts in `from..limit`.
///
/// # Errors
/// Failures of reading, and those of the survey.
pub(crate) fn read<S: Survey>(
    survey: &S,
    segment: &Segment,
    from: u32,
    limit: u32,
    buffer: &mut Vec<u8>,
) -> Result<Piece<S::Notes>> {
    let mut walk = segment.walk_in(from, limit, std::mem::take(buffer))?;
    let piece = fill(survey, segment, &mut walk, limit);
    *buffer = walk.into_buffer();
    piece
}

/// The same from the first record on that starts at or behind `from`; `None` if none is near.
pub(crate) fn find<S: Survey>(
    survey: &S,
    segment: &Segment,
    from: u32,
    limit: u32,
    buffer: &mut Vec<u8>,
) -> Result<Option<Piece<S::Notes>>> {
    let mut walk = segment.walk_in(from, limit, std::mem::take(buffer))?;
    let piece = match walk.find(SEARCH_MAX_BYTES) {
        Ok(true) => fill(survey, segment, &mut walk, limit).map(Some),
        Ok(false) => Ok(None),
        Err(error) => Err(error),
    };
    *buffer = walk.into_buffer();
    piece
}

fn fill<S: Survey>(
    survey: &S,
    segment: &Segment,
    walk: &mut Walk<'_>,
    limit: u32,
) -> Result<Piece<S::Notes>> {
    let start = walk.position();
    let mut piece = Piece { start, end: start, events: Vec::new() };
    let mut batch = Batch::default();
    while walk.position() < limit {
        // A head stays where it was read to: to move it costs as much as to check it.
        let event = match walk.step() {
            Err(error) => return Err(error),
            Ok(None) => break,
            Ok(Some(Step::Gap { offset, len, damage })) => Event::Gap { offset, len, damage },
            Ok(Some(Step::Record { offset, ref head })) => {
                let at = Location { segment: segment.id(), offset };
                match head.tag {
                    Tag::Put | Tag::Delete => {
                        if let Some(head) = walk.bytes(offset, HEAD_BYTES)?.first_chunk() {
                            batch.heads.add(head);
                        }
                        survey.record(walk, at, head, &mut batch.notes)?;
                        batch.first = batch.first.or(Some(offset));
                        batch.count = batch.count.saturating_add(1);
                        continue;
                    }
                    Tag::Dictionary => {
                        survey.record(walk, at, head, &mut batch.notes)?;
                        continue;
                    }
                    Tag::Commit => match read_commit(walk, offset, head)? {
                        Ok(commit) => Event::Commit { offset, head: *head, commit },
                        Err(damage) => Event::Gap { offset, len: head.size, damage },
                    },
                }
            }
        };
        close(survey, &mut batch, &mut piece)?;
        piece.events.push(event);
    }
    close(survey, &mut batch, &mut piece)?;
    piece.end = walk.position();
    Ok(piece)
}

/// Ends a batch.
fn close<S: Survey>(survey: &S, batch: &mut Batch<S::Notes>, piece: &mut Piece<S::Notes>) -> Result<()> {
    let mut batch = std::mem::take(batch);
    survey.settle(&mut batch.notes)?;
    piece.events.push(Event::Records(batch));
    Ok(())
}

fn read_commit(
    walk: &mut Walk<'_>,
    offset: u32,
    head: &Head,
) -> Result<std::result::Result<CommitData, Damage>> {
    Ok(match walk.verify(offset, head)? {
        Ok(()) => commit::decode(walk.data(offset, head)?),
        Err(damage) => Err(damage),
    })
}

/// Takes what the system said when it refused to read for damage.
///
/// # Errors
/// Any other error.
pub(crate) fn refusal(error: Error) -> Result<Damage> {
    let Error::Io { op, source, .. } = error else { return Err(error) };
    Ok(Damage::Unreadable { op, errno: source.raw_os_error(), reason: source.to_string() })
}

/// Where pieces come from: read when they are asked for, or ahead by other threads.
pub(crate) trait Source<S: Survey> {
    /// What looks at the records.
    fn survey(&self) -> &S;

    /// Reads on from `from` up to the next border between pieces.
    ///
    /// # Errors
    /// Failures of reading.
    fn piece(&mut self, segment: &Segment, from: u32) -> Result<Piece<S::Notes>> {
        self.range(segment, from, border(from))
    }

    /// Reads what starts in a range, here and now.
    ///
    /// # Errors
    /// Failures of reading.
    fn range(&mut self, segment: &Segment, from: u32, limit: u32) -> Result<Piece<S::Notes>>;
}

/// Reads pieces when they are asked for.
#[derive(Debug)]
pub(crate) struct Inline<S> {
    survey: S,
    buffer: Vec<u8>,
}

impl<S: Survey> Inline<S> {
    pub(crate) fn new(survey: S) -> Inline<S> {
        Inline { survey, buffer: Vec::new() }
    }
}

impl<S: Survey> Source<S> for Inline<S> {
    fn survey(&self) -> &S {
        &self.survey
    }

    fn range(&mut self, segment: &Segment, from: u32, limit: u32) -> Result<Piece<S::Notes>> {
        read(&self.survey, segment, from, limit, &mut self.buffer)
    }
}
