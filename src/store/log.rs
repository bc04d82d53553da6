//! Reads the log: records, grouped into transactions by their COMMITs. Replay and check both read
//! it through here, so they cannot disagree about what was committed.
//!
//! What was acknowledged is never dropped: bytes before a valid COMMIT were durable before it, so
//! damage among them is rot and costs only what it hit. A transaction without a valid COMMIT counts if a
//! later segment or COMMIT names it as its predecessor, or if what stands in the COMMIT's place differs in
//! at most 8 bits from the COMMIT that its records call for.
//!
//! Bytes are read in pieces ([`piece`]), by other threads if the reader likes; what is here puts the pieces together. It
//! keeps of a transaction what its survey notes, and no list of records.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::{Damage, Error, Result};
use crate::format::commit::{COMMIT_DATA_LEN, CommitData};
use crate::format::record::{HEAD_LEN, Head};
use crate::format::segment::{CommitLink, HEADER_LEN};
use crate::id::{CommitId, Location, SegmentId};
use crate::segment::{Segment, Segments};

use mend::nearly_committed;
use open::Open;
use piece::Event;
pub(crate) use piece::{Inline, Notes, Piece, Source, Survey};

mod deliver;
mod heads;
mod mend;
mod open;
pub(crate) mod piece;
mod segments;

/// Missing segments that are told of because a COMMIT lists them: more than any accident takes, and few enough to write down.
const LISTED_TOLD_MAX: usize = 1000;
/// Bytes of a COMMIT that lists no segments.
const COMMIT_LEN: u32 = HEAD_LEN.saturating_add(COMMIT_DATA_LEN);

/// Where a reading of the log stands: after which commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LogPosition {
    /// The last commit read.
    pub(crate) link: CommitLink,
    /// Where that COMMIT record ends.
    pub(crate) end: u32,
    /// The number of the next segment to be created, as that COMMIT says.
    pub(crate) next_segment: SegmentId,
}

/// A committed transaction.
#[derive(Debug)]
pub(crate) struct Transaction<'t> {
    /// Its COMMIT, or `None` where that one is damaged and the transaction was adopted.
    pub(crate) commit: Option<&'t CommitData>,
    /// The COMMIT record.
    pub(crate) link: CommitLink,
    /// Where it ends.
    pub(crate) end: u32,
}

/// A segment of which nothing more comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentEnd {
    pub(crate) segment: SegmentId,
    /// Its length in bytes; `None` if there is no such file.
    pub(crate) len: Option<u64>,
    /// It was read.
    pub(crate) read: bool,
}

/// Receives what is read, in the order of the log.
pub(crate) trait LogSink<N> {
    /// What the survey noted of records that were committed. All of a transaction come before [`transaction`](LogSink::transaction).
    fn committed(&mut self, notes: N) -> Result<()>;
    /// A transaction, after all of its records.
    fn transaction(&mut self, transaction: &Transaction<'_>) -> Result<()>;
    /// Bytes that are wrong.
    fn damage(&mut self, at: Location, len: u32, damage: Damage) -> Result<()>;
    /// Bytes that no COMMIT covers: never acknowledged, ignored. `last` is the COMMIT before them.
    fn tail(&mut self, at: Location, len: u32, last: CommitId) -> Result<()>;
    /// Nothing more comes of a segment.
    fn segment_done(&mut self, end: SegmentEnd) -> Result<()> {
        let _ = end;
        Ok(())
    }
    /// The system refuses to read something: the error ends the reading, or is taken for damage.
    fn refused(&mut self, error: Error) -> Result<Damage> {
        Err(error)
    }
    /// Everything before this place was looked at, though it may not be told yet.
    fn progress(&mut self, at: Location) -> Result<()> {
        let _ = at;
        Ok(())
    }
}

/// What to do with a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Read it from its first record on.
    Read,
    /// Read it from a place on where a transaction begins.
    ReadFrom(u32),
    /// Look at its header only.
    Pass,
    /// The same, and end there.
    End,
}

/// The records at the end of a segment, until the next header tells whether they were committed.
#[derive(Debug)]
struct Unresolved {
    segment: SegmentId,
    /// Where the first of them starts.
    start: Option<u32>,
    end: u32,
    /// What is wrong with the header, told if something in the segment was committed.
    header: Option<(Location, Damage)>,
}

/// What a reading found out beside what its sink was told.
#[derive(Debug, Default)]
pub(crate) struct LogEnd {
    /// At how many places committed records are lost without a trace of whose they were.
    pub(crate) gaps: u64,
    /// Segments that are not there, though a COMMIT that counts lists them or lies in them.
    pub(crate) absent: BTreeSet<SegmentId>,
}

/// Reads the log from `position` on. On return `position` is the last commit.
///
/// # Errors
/// Failures of reading, and the sink's.
pub(crate) fn read_log<S: Survey>(
    segments: &Segments,
    position: &mut LogPosition,
    survey: S,
    sink: &mut dyn LogSink<S::Notes>,
) -> Result<LogEnd> {
    let from = position.link.at.segment;
    let started = position.link.id.0 > 0;
    let end = position.end;
    let behind = segments.ids().iter().filter(|id| !started || **id >= from);
    let turns = behind.map(|id| (*id, if started && *id == from { Turn::ReadFrom(end) } else { Turn::Read }));
    let mut source = Inline::new(survey);
    let mut reader = LogReader::new(segments, position, &mut source, sink);
    for (id, turn) in turns {
        if let Some(segment) = segments.get(id)? {
            reader.segment(&segment, turn)?;
        }
    }
    reader.finish(None)
}

/// Puts pieces together.
pub(crate) struct LogReader<'r, S: Survey> {
    position: &'r mut LogPosition,
    source: &'r mut dyn Source<S>,
    sink: &'r mut dyn LogSink<S::Notes>,
    segments: &'r Segments,
    /// Reads from the first record on: what it does not see is not there.
    is_whole: bool,
    /// Whether all is known of what comes before: not behind a segment that was passed.
    known: bool,
    /// The segment before, if it was passed.
    passed: Option<SegmentId>,
    /// Ends of segments, oldest first. More than one only where headers are damaged.
    unresolved: Vec<Unresolved>,
    /// What is not told before these are resolved.
    waiting: VecDeque<SegmentEnd>,
    /// Segments that the caller tells to be missing; `None`: it tells of all.
    missing: Option<BTreeSet<SegmentId>>,
    /// Segments that COMMITs name as holding their predecessor and that are not there, and those COMMITs.
    absent: Vec<(SegmentId, Location, u32, CommitId)>,
    /// The live segments by the last COMMIT that lists them, and where that COMMIT lies.
    listed: Option<(Vec<(SegmentId, SegmentId)>, SegmentId)>,
    /// A header that a crash may have torn: damage only if something in its segment was committed.
    torn_header: Option<(Location, Damage)>,
    /// Places at which committed records are lost, by the segment and the other one that may be to blame.
    gaps: BTreeMap<(SegmentId, SegmentId), u64>,
}

impl<'r, S: Survey> LogReader<'r, S> {
    pub(crate) fn new(
        segments: &'r Segments,
        position: &'r mut LogPosition,
        source: &'r mut dyn Source<S>,
        sink: &'r mut dyn LogSink<S::Notes>,
    ) -> LogReader<'r, S> {
        LogReader {
            is_whole: position.link.id.0 == 0,
            position,
            source,
            sink,
            segments,
            known: true,
            passed: None,
            unresolved: Vec::new(),
            waiting: VecDeque::new(),
            missing: Some(BTreeSet::new()),
            absent: Vec::new(),
            listed: None,
            torn_header: None,
            gaps: BTreeMap::new(),
        }
    }

    /// Leaves it to the caller to tell that these segments are missing. `None`, for who does not read the whole log: that any
    /// are, as it takes the last COMMIT that lists segments to know which were compacted away.
    pub(crate) fn missing(&mut self, missing: Option<BTreeSet<SegmentId>>) {
        self.missing = missing;
    }

    /// Reads on through a segment. They come in ascending order.
    ///
    /// # Errors
    /// Failures of reading, and the sink's.
    pub(crate) fn segment(&mut self, segment: &Segment, turn: Turn) -> Result<()> {
        let id = segment.id();
        let from = if let Turn::ReadFrom(from) = turn { from } else { self.header(segment, turn)? };
        let len = segment.file().len()?;
        let read = matches!(turn, Turn::Read | Turn::ReadFrom(_));
        if read {
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            self.pieces(segment, from, len)?;
        } else {
            self.known = false;
        }
        self.passed = (!read).then_some(id);
        self.waiting.push_back(SegmentEnd { segment: id, len: Some(len), read });
        Ok(())
    }

    /// Notes that a segment is not there, or cannot be opened; `turn` as for [`segment`](LogReader::segment).
    pub(crate) fn absence(&mut self, id: SegmentId, turn: Turn, refused: Option<Damage>) -> Result<()> {
        (self.known, self.passed) = (false, None);
        if let Some(damage) = refused {
            self.lose(Location { segment: id, offset: 0 }, 0, damage)?;
        }
        // What a later header says of it comes first.
        let read = matches!(turn, Turn::Read | Turn::ReadFrom(_));
        self.waiting.push_back(SegmentEnd { segment: id, len: None, read });
        Ok(())
    }

    fn header(&mut self, segment: &Segment, turn: Turn) -> Result<u32> {
        let at = Location { segment: segment.id(), offset: 0 };
        let (previous, wrong) = match segment.header() {
            Ok(header) => (Some(header.previous), None),
            Err(damage @ (Damage::Foreign { .. } | Damage::Misplaced { .. })) => {
                self.flush()?;
                if turn == Turn::Read {
                    self.lose(at, HEADER_LEN, damage.clone())?;
                }
                return Ok(HEADER_LEN);
            }
            Err(damage) => (self.first_previous(segment)?, Some(damage)),
        };
        if let Some(named) = previous.filter(|_| turn == Turn::Read) {
            self.catch_up(named)?;
        }
        match previous {
            Some(_) => self.settle(previous)?,
            None => self.flush()?,
        }
        self.torn_header = wrong.filter(|_| turn == Turn::Read).map(|damage| (at, damage.clone()));
        Ok(HEADER_LEN)
    }

    fn pieces(&mut self, segment: &Segment, mut from: u32, len: u32) -> Result<()> {
        let mut open = Open::default();
        let mut refused = None;
        while from < len {
            let mut piece = match self.source.piece(segment, from) {
                Ok(piece) => piece,
                Err(error) => {
                    let damage = self.sink.refused(error)?;
                    let border = piece::border(from).min(len);
                    open.gap(from, border.saturating_sub(from), damage.clone());
                    (from, refused) = (border, Some(damage));
                    continue;
                }
            };
            from = piece.end;
            // What is left of the record that begins in unreadable bytes is no damage of its own.
            if let (Some(why), Some(Event::Gap { damage, .. })) = (refused.take(), piece.events.get_mut(1)) {
                *damage = why;
            }
            self.piece(segment, &mut open, piece)?;
            self.sink.progress(Location { segment: segment.id(), offset: from })?;
        }
        let header = self.torn_header.take();
        if open.start.is_some() || header.is_some() {
            // Held until the next intact header tells whether a COMMIT stood there.
            let (segment, start) = (segment.id(), open.start);
            self.unresolved.push(Unresolved { segment, start, end: from, header });
        }
        Ok(())
    }

    fn piece(&mut self, segment: &Segment, open: &mut Open<S::Notes>, piece: Piece<S::Notes>) -> Result<()> {
        for event in piece.events {
            match event {
                Event::Records(batch) => open.push(batch),
                Event::Gap { offset, len, damage } => self.gap(segment, open, (offset, len), &damage)?,
                Event::Commit { offset, head, commit } => {
                    let at = Location { segment: segment.id(), offset };
                    self.commit(segment, std::mem::take(open), at, &head, &commit)?;
                }
            }
        }
        Ok(())
    }

    fn commit(
        &mut self,
        segment: &Segment,
        open: Open<S::Notes>,
        at: Location,
        head: &Head,
        commit: &CommitData,
    ) -> Result<()> {
        if !self.unresolved.is_empty() {
            self.settle(Some(commit.previous))?;
        }
        self.tell_header()?;
        let link = CommitLink { id: commit.id, at, data_crc: head.data_crc };
        let wrong = |what| Damage::Transaction { commit: commit.id, what };
        let (count, gaps, heads) = (open.count, open.gaps, open.heads.finish());
        self.deliver(segment, open, at.offset, None)?;
        if self.known && commit.previous != self.position.link {
            // A gap that swallowed the COMMIT before explains it; else something is missing.
            self.broken_chain(commit.previous.at.segment, at, head.size, commit.id)?;
        }
        self.known = true;
        if !commit.live.is_empty() {
            self.listed = Some((commit.live.clone(), at.segment));
        }
        if gaps == 0 && count != commit.records {
            self.lose(at, head.size, wrong("another number of records"))?;
        } else if gaps == 0 && heads != commit.heads_crc {
            self.lose(at, head.size, wrong("other records"))?;
        }
        let end = at.offset.saturating_add(head.size);
        *self.position = LogPosition { link, end, next_segment: commit.next_segment };
        self.sink.transaction(&Transaction { commit: Some(commit), link, end })
    }

    /// Bytes that are no record: the COMMIT of the records before them if they come close to it, or a record that one wrong bit
    /// broke.
    fn gap(
        &mut self,
        segment: &Segment,
        open: &mut Open<S::Notes>,
        (mut offset, mut len): (u32, u32),
        damage: &Damage,
    ) -> Result<()> {
        while len > 0 {
            let Some(link) = nearly_committed(self.position, segment, open, offset, len)? else {
                let rest = self.no_commit(segment, open, (offset, len), damage)?;
                (offset, len) = rest;
                continue;
            };
            open.gap(offset, COMMIT_LEN, damage.clone());
            self.tell_header()?;
            self.adopt(segment, std::mem::take(open), link)?;
            (offset, len) = (offset.saturating_add(COMMIT_LEN), len.saturating_sub(COMMIT_LEN));
        }
        Ok(())
    }

    /// Takes a broken record from the front of a gap, or else all of it as a gap. Returns what is left.
    fn no_commit(
        &mut self,
        segment: &Segment,
        open: &mut Open<S::Notes>,
        (offset, len): (u32, u32),
        damage: &Damage,
    ) -> Result<(u32, u32)> {
        let broken = mend::broken_record(self.source.survey(), segment, (offset, len), damage)?;
        let Some((head, binding, notes)) = broken else {
            open.gap(offset, len, damage.clone());
            return Ok((offset, 0));
        };
        open.push_broken((offset, &head, binding), notes);
        Ok((offset.saturating_add(head.size), len.saturating_sub(head.size)))
    }
}
