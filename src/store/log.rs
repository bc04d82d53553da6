//! Reads the log: records, grouped into transactions by their COMMITs. Replay and check both read
//! it through here, so they cannot disagree about what was committed.
//!
//! What was acknowledged is never dropped: bytes before a valid COMMIT were durable before it, so
//! damage among them is rot and costs only what it hit. A transaction without a valid COMMIT counts if a
//! later segment or COMMIT names it as its predecessor, or if what stands in the COMMIT's place differs in
//! at most 8 bits from the COMMIT that its records call for.

use crate::error::{Damage, Result};
use crate::format::commit::{self, COMMIT_DATA_LEN, COMMIT_KEY, CommitData};
use crate::format::record::{HEAD_LEN, Head, Tag};
use crate::format::segment::{CommitLink, HEADER_LEN};
use crate::id::{CommitId, Location, SegmentId};
use crate::segment::{Segment, Segments, Step, Walk};

use open::Open;

mod open;

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
    /// A PUT or DELETE like that whose head has one wrong bit: `head` is that head put right, good enough to know whose record is
    /// lost.
    fn broken(&mut self, walk: &mut Walk<'_>, at: Location, head: &Head, damage: &Damage) -> Result<()>;
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

/// The records at the end of a segment, until the next header tells whether they were committed.
#[derive(Debug)]
struct Unresolved {
    open: Open,
    segment: SegmentId,
    end: u32,
    /// What is wrong with the header, told if something in the segment was committed.
    header: Option<(Location, Damage)>,
}

/// Reads the log from `position` on. On return `position` is the last commit. Returns at how many places committed records
/// are lost without a trace of whose they were.
///
/// # Errors
/// Failures of reading, and the sink's.
pub(crate) fn read_log(
    segments: &Segments,
    position: &mut LogPosition,
    sink: &mut dyn LogSink,
) -> Result<u64> {
    let mut reader = LogReader {
        position,
        sink,
        segments: segments.ids(),
        unresolved: Vec::new(),
        torn_header: None,
        absent: Vec::new(),
        listed: None,
        gaps: 0,
    };
    let from = reader.position.link.at.segment;
    let started = reader.position.link.id.0 > 0;
    for id in segments.ids().iter().filter(|id| !started || **id >= from) {
        let start = if started && *id == from { reader.position.end } else { HEADER_LEN };
        if let Some(segment) = segments.get(*id)? {
            reader.segment(&segment, start)?;
        }
    }
    reader.settle(None)?;
    reader.judge_absent()?;
    Ok(reader.gaps)
}

struct LogReader<'r> {
    position: &'r mut LogPosition,
    sink: &'r mut dyn LogSink,
    segments: &'r [SegmentId],
    /// Ends of segments, oldest first. More than one only where headers are damaged.
    unresolved: Vec<Unresolved>,
    /// Segments that COMMITs name as holding their predecessor and that are not there, and those COMMITs.
    absent: Vec<(SegmentId, Location, u32, CommitId)>,
    /// The live segments by the last COMMIT that lists them, and where that COMMIT lies.
    listed: Option<(Vec<(SegmentId, SegmentId)>, SegmentId)>,
    /// A header that a crash may have torn: damage only if something in its segment was committed.
    torn_header: Option<(Location, Damage)>,
    /// Places at which committed records are lost.
    gaps: u64,
}

impl LogReader<'_> {
    fn segment(&mut self, segment: &Segment, start: u32) -> Result<()> {
        if start == HEADER_LEN {
            match segment.header() {
                Ok(header) => self.settle(Some(header.previous))?,
                Err(damage @ (Damage::Foreign { .. } | Damage::Misplaced { .. })) => {
                    let at = Location { segment: segment.id(), offset: 0 };
                    self.lose(at, HEADER_LEN, damage.clone())?;
                }
                // Then the first COMMIT of this segment tells what came before it.
                Err(damage) => {
                    self.torn_header = Some((Location { segment: segment.id(), offset: 0 }, damage.clone()));
                }
            }
        }
        let len = segment.file().len()?;
        let mut walk = segment.walk(Some(start))?;
        let mut open = Open::default();
        while let Some(step) = walk.step()? {
            match step {
                Step::Gap { offset, len, damage } => {
                    self.gap(segment, &mut walk, &mut open, (offset, len), damage)?;
                }
                Step::Record { offset, head } => {
                    self.record(segment, &mut walk, &mut open, offset, head)?;
                }
            }
        }
        let header = self.torn_header.take();
        if open.start.is_some() || header.is_some() {
            // Held until the next intact header tells whether a COMMIT stood there.
            let (segment, end) = (segment.id(), walk.position());
            self.unresolved.push(Unresolved { open, segment, end, header });
        }
        self.sink.segment_done(segment, len)
    }

    fn record(
        &mut self,
        segment: &Segment,
        walk: &mut Walk<'_>,
        open: &mut Open,
        offset: u32,
        head: Head,
    ) -> Result<()> {
        let at = Location { segment: segment.id(), offset };
        match head.tag {
            Tag::Dictionary => self.sink.record(walk, at, &head),
            Tag::Put | Tag::Delete => {
                self.sink.record(walk, at, &head)?;
                open.push(at, head, walk)
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
                    Err(damage) => self.gap(segment, walk, open, (offset, head.size), damage),
                }
            }
        }
    }

    fn commit(&mut self, open: &Open, at: Location, head: &Head, commit: &CommitData) -> Result<()> {
        if !self.unresolved.is_empty() {
            self.settle(Some(commit.previous))?;
        }
        self.tell_header()?;
        let link = CommitLink { id: commit.id, at, data_crc: head.data_crc };
        let wrong = |what| Damage::Transaction { commit: commit.id, what };
        for (offset, len, damage) in &open.gaps {
            let at = Location { segment: at.segment, offset: *offset };
            self.lose(at, *len, damage.clone())?;
        }
        if commit.previous != self.position.link {
            // A gap that swallowed the COMMIT before explains it; else something is missing.
            self.broken_chain(commit.previous.at.segment, at, head.size, commit.id)?;
        }
        if !commit.live.is_empty() {
            self.listed = Some((commit.live.clone(), at.segment));
        }
        let count = u32::try_from(open.records.len()).unwrap_or(u32::MAX);
        if open.gaps.is_empty() && count != commit.records {
            self.lose(at, head.size, wrong("another number of records"))?;
        } else if open.gaps.is_empty() && open.heads.finish() != commit.heads_crc {
            self.lose(at, head.size, wrong("other records"))?;
        }
        *self.position =
            LogPosition { link, end: at.offset.saturating_add(head.size), next_segment: commit.next_segment };
        let end = self.position.end;
        self.sink.transaction(&Transaction { records: &open.records, commit: Some(commit), link, end })
    }

    /// A COMMIT that does not follow the one before it: damage, unless its predecessor was compacted away.
    fn broken_chain(&mut self, before: SegmentId, at: Location, len: u32, commit: CommitId) -> Result<()> {
        if self.segments.binary_search(&before).is_ok() {
            return self.lose(at, len, Damage::Chain { commit });
        }
        // Compacted away, or lost: the last COMMIT that lists the live segments tells.
        self.absent.push((before, at, len, commit));
        Ok(())
    }

    /// A predecessor in a segment that compaction left out is no loss; any other is.
    fn judge_absent(&mut self) -> Result<()> {
        for (segment, at, len, commit) in std::mem::take(&mut self.absent) {
            let compacted = self.listed.as_ref().is_some_and(|(live, own)| {
                segment < *own && !live.iter().any(|(first, last)| (*first..=*last).contains(&segment))
            });
            if !compacted {
                self.lose(at, len, Damage::Chain { commit })?;
            }
        }
        Ok(())
    }

    /// Bytes that are no record: the COMMIT of the records before them if they come close to it, or a record that one wrong bit broke.
    fn gap(
        &mut self,
        segment: &Segment,
        walk: &mut Walk<'_>,
        open: &mut Open,
        (mut offset, mut len): (u32, u32),
        damage: Damage,
    ) -> Result<()> {
        while len > 0 {
            let taken = if let Some(link) = self.nearly_committed(segment, walk, open, offset, len)? {
                let commit_len = HEAD_LEN.saturating_add(COMMIT_DATA_LEN);
                open.gap(offset, commit_len, damage.clone());
                self.tell_header()?;
                self.adopt(&std::mem::take(open), link)?;
                commit_len
            } else if let Some(head) = open.push_broken(segment, walk, (offset, len))? {
                self.sink.broken(walk, Location { segment: segment.id(), offset }, &head, &damage)?;
                head.size
            } else {
                open.gap(offset, len, damage);
                break;
            };
            (offset, len) = (offset.saturating_add(taken), len.saturating_sub(taken));
        }
        Ok(())
    }

    /// Compares the bytes in the COMMIT's place with the COMMIT that the records call for.
    fn nearly_committed(
        &self,
        segment: &Segment,
        walk: &mut Walk<'_>,
        open: &Open,
        offset: u32,
        len: u32,
    ) -> Result<Option<CommitLink>> {
        let expect_len = HEAD_LEN.saturating_add(COMMIT_DATA_LEN);
        if open.records.is_empty() || !open.gaps.is_empty() || len < expect_len {
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
        let found = walk.bytes(offset, usize::try_from(expect_len).unwrap_or(0))?;
        let Some((head, bytes)) =
            segment.bindings().encode_like(offset, Tag::Commit, &COMMIT_KEY, &data, found)
        else {
            return Ok(None);
        };
        let bits: u32 = bytes.iter().zip(found).map(|(a, b)| (a ^ b).count_ones()).sum();
        let at = Location { segment: segment.id(), offset };
        Ok((bits <= ADOPT_MAX_BITS).then_some(CommitLink { id, at, data_crc: head.data_crc }))
    }

    /// Decides about the ends of the segments before, now that a later header or COMMIT says what `previous` to it was committed.
    fn settle(&mut self, previous: Option<CommitLink>) -> Result<()> {
        let named = previous.filter(|link| link.id > self.position.link.id);
        let mut adopted = false;
        for Unresolved { mut open, segment, end, mut header } in std::mem::take(&mut self.unresolved) {
            // Whoever wrote that knew that COMMIT: it was durable then, and what stands behind it was not committed.
            if let Some(link) = named.filter(|link| link.at.segment == segment) {
                if let Some((at, damage)) = header.take() {
                    self.sink.damage(at, HEADER_LEN, damage)?;
                }
                let committed = open.split_at(link.at.offset);
                self.adopt(&committed, link)?;
                adopted = true;
            }
            if let Some(start) = open.start.or(header.map(|_| 0)) {
                self.sink.tail(Location { segment, offset: start }, end.saturating_sub(start))?;
            }
        }
        let Some(link) = named.filter(|_| !adopted) else { return Ok(()) };
        // It, and all before it that are missing too, went without leaving a record.
        if self.segments.binary_search(&link.at.segment).is_ok() {
            self.lost(&link)?;
        } else {
            let len = HEAD_LEN.saturating_add(COMMIT_DATA_LEN);
            self.absent.push((link.at.segment, link.at, len, link.id));
        }
        self.position.link = link;
        Ok(())
    }

    fn lost(&mut self, link: &CommitLink) -> Result<()> {
        let len = HEAD_LEN.saturating_add(COMMIT_DATA_LEN);
        self.lose(link.at, len, Damage::CommitLost { commit: link.id })
    }

    /// Reports damage that took committed records along, nobody knows whose.
    fn lose(&mut self, at: Location, len: u32, damage: Damage) -> Result<()> {
        self.gaps = self.gaps.saturating_add(1);
        self.sink.damage(at, len, damage)
    }

    /// Reports the header of a segment that turned out to hold something committed.
    fn tell_header(&mut self) -> Result<()> {
        let Some((at, damage)) = self.torn_header.take() else { return Ok(()) };
        self.sink.damage(at, HEADER_LEN, damage)
    }

    fn adopt(&mut self, open: &Open, link: CommitLink) -> Result<()> {
        let segment = link.at.segment;
        for (offset, len, damage) in &open.gaps {
            let at = Location { segment, offset: *offset };
            if at == link.at {
                // All records before it are here.
                self.sink.damage(at, *len, Damage::CommitLost { commit: link.id })?;
            } else {
                self.lose(at, *len, damage.clone())?;
            }
        }
        if !open.gaps.iter().any(|(offset, ..)| *offset == link.at.offset) {
            self.lost(&link)?;
        }
        let end = link.at.offset.saturating_add(HEAD_LEN).saturating_add(COMMIT_DATA_LEN);
        let next = self.position.next_segment.max(SegmentId(segment.0.saturating_add(1)));
        *self.position = LogPosition { link, end, next_segment: next };
        self.sink.transaction(&Transaction { records: &open.records, commit: None, link, end })
    }
}
