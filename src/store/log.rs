//! Reads the log: records, grouped into transactions by their COMMITs. Replay and check both read
//! it through here, so they cannot disagree about what was committed.
//!
//! What was acknowledged is never dropped: bytes before a valid COMMIT were durable before it, so
//! damage among them is rot and costs only what it hit. A transaction without a valid COMMIT counts if a
//! later segment or COMMIT names it as its predecessor, or if what stands in the COMMIT's place differs in
//! at most 8 bits from the COMMIT that its records call for.

use crate::error::{Damage, Result};
use crate::format::commit::{self, COMMIT_DATA_LEN, COMMIT_KEY, CommitData};
use crate::format::crc::Crc32;
use crate::format::record::{self, HEAD_LEN, Head, Tag};
use crate::format::segment::{CommitLink, HEADER_LEN};
use crate::id::{CommitId, Location, SegmentId};
use crate::segment::{Segment, Segments, Step, Walk};

/// Bits that may differ in a COMMIT that is adopted all the same.
const ADOPT_MAX_BITS: u32 = 8;

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
    /// Where its PUT and DELETE records lie, with their heads, in log order.
    pub(crate) records: &'t [(Location, Head)],
    /// Its COMMIT, or `None` where that one is damaged and the transaction was adopted.
    pub(crate) commit: Option<&'t CommitData>,
    /// The COMMIT record.
    pub(crate) link: CommitLink,
    /// Where it ends.
    pub(crate) end: u32,
}

/// Receives what is read.
pub(crate) trait LogSink {
    /// A PUT, DELETE or dictionary, before it is known whether it is committed. `walk` reads its data.
    fn record(&mut self, walk: &mut Walk<'_>, at: Location, head: &Head) -> Result<()>;
    /// Bytes that are wrong.
    fn damage(&mut self, at: Location, len: u32, damage: Damage) -> Result<()>;
    /// A transaction, after all of its records.
    fn transaction(&mut self, transaction: &Transaction<'_>) -> Result<()>;
    /// Bytes that no COMMIT covers: never acknowledged, ignored.
    fn tail(&mut self, at: Location, len: u32) -> Result<()>;
    /// A segment file is read whole.
    fn segment_done(&mut self, segment: &Segment, len: u64) -> Result<()> {
        let _ = (segment, len);
        Ok(())
    }
}

/// Records without a COMMIT yet.
#[derive(Debug, Default)]
struct Open {
    records: Vec<(Location, Head)>,
    heads: Crc32,
    /// Where the first of them starts, damaged bytes included.
    start: Option<u32>,
    /// Gaps among or behind them.
    gaps: Vec<(u32, u32, Damage)>,
}

/// The records at the end of a segment, until the next header tells whether they were committed.
#[derive(Debug)]
struct Unresolved {
    open: Open,
    segment: SegmentId,
    end: u32,
}

/// Reads the log from `position` on. On return `position` is the last commit.
///
/// # Errors
/// Failures of reading, and the sink's.
pub(crate) fn read_log(
    segments: &Segments,
    position: &mut LogPosition,
    sink: &mut dyn LogSink,
) -> Result<()> {
    let (unresolved, absent, listed) = (None, Vec::new(), None);
    let mut reader = LogReader { position, sink, segments: segments.ids(), unresolved, absent, listed };
    let from = reader.position.link.at.segment;
    let started = reader.position.link.id.0 > 0;
    for id in segments.ids().iter().filter(|id| !started || **id >= from) {
        let start = if started && *id == from { reader.position.end } else { HEADER_LEN };
        if let Some(segment) = segments.get(*id)? {
            reader.segment(&segment, start)?;
        }
    }
    reader.settle(None)?;
    reader.judge_absent()
}

struct LogReader<'r> {
    position: &'r mut LogPosition,
    sink: &'r mut dyn LogSink,
    segments: &'r [SegmentId],
    unresolved: Option<Unresolved>,
    /// Segments that COMMITs name as holding their predecessor and that are not there, and those COMMITs.
    absent: Vec<(SegmentId, Location, u32, CommitId)>,
    /// The live segments by the last COMMIT that lists them, and where that COMMIT lies.
    listed: Option<(Vec<(SegmentId, SegmentId)>, SegmentId)>,
}

impl LogReader<'_> {
    fn segment(&mut self, segment: &Segment, start: u32) -> Result<()> {
        if start == HEADER_LEN {
            match segment.header() {
                Ok(header) => self.settle(Some(header.previous))?,
                // Then the first COMMIT of this segment tells what came before it.
                Err(damage) => {
                    let at = Location { segment: segment.id(), offset: 0 };
                    self.sink.damage(at, HEADER_LEN, damage.clone())?;
                }
            }
        }
        let len = segment.file().len()?;
        let mut walk = segment.walk(Some(start))?;
        let mut open = Open::default();
        while let Some(step) = walk.step()? {
            match step {
                Step::Gap { offset, len, damage } => open.gap(offset, len, damage),
                Step::Record { offset, head } => {
                    self.record(segment.id(), &mut walk, &mut open, offset, head)?;
                }
            }
        }
        self.end_of_segment(segment, &mut walk, open)?;
        self.sink.segment_done(segment, len)
    }

    fn record(
        &mut self,
        segment: SegmentId,
        walk: &mut Walk<'_>,
        open: &mut Open,
        offset: u32,
        head: Head,
    ) -> Result<()> {
        let at = Location { segment, offset };
        match head.tag {
            Tag::Dictionary => self.sink.record(walk, at, &head),
            Tag::Put | Tag::Delete => {
                self.sink.record(walk, at, &head)?;
                open.push(at, head, walk, offset)
            }
            Tag::Commit => {
                let commit = match walk.verify(offset, &head)? {
                    Ok(()) => commit::decode(walk.data(offset, &head)?),
                    Err(damage) => Err(damage),
                };
                match commit {
                    Ok(commit) => {
                        let open = std::mem::take(open);
                        self.commit(&open, at, &head, &commit)
                    }
                    Err(damage) => {
                        open.gap(offset, head.size, damage);
                        Ok(())
                    }
                }
            }
        }
    }

    fn commit(&mut self, open: &Open, at: Location, head: &Head, commit: &CommitData) -> Result<()> {
        self.settle(Some(commit.previous))?;
        let link = CommitLink { id: commit.id, at, data_crc: head.data_crc };
        let wrong = |what| Damage::Transaction { commit: commit.id, what };
        if commit.previous != self.position.link {
            let before = commit.previous.at.segment;
            if self.segments.binary_search(&before).is_ok() {
                self.sink.damage(at, head.size, Damage::Chain { commit: commit.id })?;
            } else {
                // Compacted away, or lost: the last COMMIT that lists the live segments tells.
                self.absent.push((before, at, head.size, commit.id));
            }
        }
        if !commit.live.is_empty() {
            self.listed = Some((commit.live.clone(), at.segment));
        }
        for (offset, len, damage) in &open.gaps {
            let at = Location { segment: at.segment, offset: *offset };
            self.sink.damage(at, *len, damage.clone())?;
        }
        let count = u32::try_from(open.records.len()).unwrap_or(u32::MAX);
        if open.gaps.is_empty() && count != commit.records {
            self.sink.damage(at, head.size, wrong("another number of records"))?;
        } else if open.gaps.is_empty() && open.heads.finish() != commit.heads_crc {
            self.sink.damage(at, head.size, wrong("other records"))?;
        }
        *self.position =
            LogPosition { link, end: at.offset.saturating_add(head.size), next_segment: commit.next_segment };
        let end = self.position.end;
        self.sink.transaction(&Transaction { records: &open.records, commit: Some(commit), link, end })
    }

    /// A predecessor in a segment that compaction left out is no loss; any other is.
    fn judge_absent(&mut self) -> Result<()> {
        for (segment, at, len, commit) in std::mem::take(&mut self.absent) {
            let compacted = self.listed.as_ref().is_some_and(|(live, own)| {
                segment < *own && !live.iter().any(|(first, last)| (*first..=*last).contains(&segment))
            });
            if !compacted {
                self.sink.damage(at, len, Damage::Chain { commit })?;
            }
        }
        Ok(())
    }

    /// What no COMMIT covers: adopted, held until the next header is read, or a tail.
    fn end_of_segment(&mut self, segment: &Segment, walk: &mut Walk<'_>, open: Open) -> Result<()> {
        let Some(_) = open.start else { return Ok(()) };
        if let Some(link) = self.nearly_committed(segment, walk, &open)? {
            return self.adopt(&open, link);
        }
        self.settle(None)?;
        self.unresolved = Some(Unresolved { open, segment: segment.id(), end: walk.position() });
        Ok(())
    }

    /// Compares the bytes in the COMMIT's place with the COMMIT that the records call for.
    fn nearly_committed(
        &self,
        segment: &Segment,
        walk: &mut Walk<'_>,
        open: &Open,
    ) -> Result<Option<CommitLink>> {
        let [(offset, len, _)] = open.gaps.as_slice() else { return Ok(None) };
        let expect_len = HEAD_LEN.saturating_add(COMMIT_DATA_LEN);
        if *len != expect_len || offset.saturating_add(*len) != walk.position() {
            return Ok(None);
        }
        let id = CommitId(self.position.link.id.0.saturating_add(1));
        let mut expect = CommitData {
            id,
            records: u32::try_from(open.records.len()).unwrap_or(u32::MAX),
            heads_crc: open.heads.finish(),
            previous: self.position.link,
            ..CommitData::default()
        };
        // The next segment's number is one more than this one's, or what was known before.
        let next = self.position.next_segment.max(SegmentId(segment.id().0.saturating_add(1)));
        expect.next_segment = next;
        let data = commit::encode(&expect);
        let found = walk.bytes(*offset, usize::try_from(*len).unwrap_or(0))?;
        let Some((head, bytes)) =
            segment.bindings().encode_like(*offset, Tag::Commit, &COMMIT_KEY, &data, found)
        else {
            return Ok(None);
        };
        let bits: u32 = bytes.iter().zip(found).map(|(a, b)| (a ^ b).count_ones()).sum();
        let at = Location { segment: segment.id(), offset: *offset };
        Ok((bits <= ADOPT_MAX_BITS).then_some(CommitLink { id, at, data_crc: head.data_crc }))
    }

    /// Decides about the end of the segment before, now that the next header is known.
    fn settle(&mut self, previous: Option<CommitLink>) -> Result<()> {
        let Some(unresolved) = self.unresolved.take() else { return Ok(()) };
        let Unresolved { open, segment, end } = unresolved;
        // Whoever created the next segment knew that COMMIT: it was durable then.
        let names_it = |link: &CommitLink| link.at.segment == segment && link.id > self.position.link.id;
        if let Some(link) = previous.filter(names_it) {
            return self.adopt(&open, link);
        }
        let start = open.start.unwrap_or(end);
        self.sink.tail(Location { segment, offset: start }, end.saturating_sub(start))
    }

    fn adopt(&mut self, open: &Open, link: CommitLink) -> Result<()> {
        let segment = link.at.segment;
        for (offset, len, damage) in &open.gaps {
            let damage = if *offset == link.at.offset {
                Damage::CommitLost { commit: link.id }
            } else {
                damage.clone()
            };
            self.sink.damage(Location { segment, offset: *offset }, *len, damage)?;
        }
        let end = link.at.offset.saturating_add(HEAD_LEN).saturating_add(COMMIT_DATA_LEN);
        let next = self.position.next_segment.max(SegmentId(segment.0.saturating_add(1)));
        *self.position = LogPosition { link, end, next_segment: next };
        self.sink.transaction(&Transaction { records: &open.records, commit: None, link, end })
    }
}

impl Open {
    fn push(&mut self, at: Location, head: Head, walk: &mut Walk<'_>, offset: u32) -> Result<()> {
        self.start = self.start.or(Some(offset));
        let bytes = walk.bytes(offset, record::HEAD_BYTES)?;
        self.heads.update(bytes);
        self.records.push((at, head));
        Ok(())
    }

    fn gap(&mut self, offset: u32, len: u32, damage: Damage) {
        self.start = self.start.or(Some(offset));
        self.gaps.push((offset, len, damage));
    }
}
