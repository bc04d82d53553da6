//! Between segments: what a header says of the segment before it, and which segments are gone.

use std::collections::BTreeSet;

use super::open::Open;
use super::piece::{Event, Survey};
use super::{COMMIT_LEN, LISTED_TOLD_MAX, LogEnd, LogPosition, LogReader, Transaction, Unresolved, piece};
use crate::error::{Damage, Result};
use crate::format::commit::{self, CommitData};
use crate::format::record::{Head, Tag};
use crate::format::segment::{CommitLink, HEADER_LEN};
use crate::id::{CommitId, Location, SegmentId};
use crate::segment::{Segment, Step, Walk};

impl<S: Survey> LogReader<'_, S> {
    /// Ends the reading. `witness` is a COMMIT that something beside the log knows: the index.
    ///
    /// # Errors
    /// Failures of reading, and the sink's.
    pub(crate) fn finish(mut self, witness: Option<CommitLink>) -> Result<LogEnd> {
        self.settle(witness)?;
        let mut absent = BTreeSet::new();
        self.judge_absent(&mut absent)?;
        self.judge_listed(&mut absent)?;
        // What a compaction or a repair left behind was settled by it: a file that waits for its removal has no gaps.
        let is_settled =
            |(one, other): &(SegmentId, SegmentId)| self.is_left_out(*one) || self.is_left_out(*other);
        let gaps = self.gaps.iter().filter(|(of, _)| !is_settled(of));
        Ok(LogEnd { gaps: gaps.fold(0, |sum, (_, count)| sum.saturating_add(*count)), absent })
    }

    /// Tells whether the last COMMIT that lists the live segments leaves this one out.
    fn is_left_out(&self, segment: SegmentId) -> bool {
        self.listed.as_ref().is_some_and(|(live, own)| {
            segment < *own && !live.iter().any(|(first, last)| (*first..=*last).contains(&segment))
        })
    }

    /// Tells of the segments that nothing more can come of. The last one read is one of them only when the next header, or
    /// the end, has said what its last COMMIT was: it may be cut behind an earlier one.
    pub(super) fn flush(&mut self) -> Result<()> {
        let held = self.unresolved.first().map(|first| first.segment);
        while let Some(end) = self.waiting.front().filter(|end| held.is_none_or(|held| end.segment < held)) {
            let end = *end;
            self.waiting.pop_front();
            self.sink.segment_done(end)?;
        }
        Ok(())
    }

    /// Decides about the ends of the segments before, now that a later header or COMMIT says what `previous` to it was
    /// committed.
    pub(super) fn settle(&mut self, previous: Option<CommitLink>) -> Result<()> {
        let named = previous.filter(|link| link.id > self.position.link.id);
        let mut adopted = false;
        for unresolved in std::mem::take(&mut self.unresolved) {
            adopted |= self.resolve(unresolved, named)?;
        }
        let Some(link) = named.filter(|_| !adopted) else { return self.flush() };
        // It, and all before it that are missing too, went without leaving a record.
        if self.segments.ids().binary_search(&link.at.segment).is_err() {
            self.is_absent(link.at.segment, link.at, COMMIT_LEN, link.id);
        } else if self.known {
            self.lost(&link)?;
        }
        self.position.link = link;
        self.known = true;
        self.flush()
    }

    /// Finds out where the segment before ended, if that was passed: one that ends with a later COMMIT than the next header names,
    /// or with another one, is not the segment that this one was written behind. Reads what stands behind the COMMIT that is
    /// named, which mostly is nothing, or all of that segment if the COMMIT is not there.
    pub(super) fn catch_up(&mut self, named: CommitLink) -> Result<()> {
        let Some(before) = self.passed.take().filter(|before| *before == named.at.segment) else {
            return Ok(());
        };
        let last = match self.last_commit(before, named) {
            Ok(last) => last,
            // Who reads that segment tells of it.
            Err(error) => return self.sink.refused(error).map(|_| ()),
        };
        if let Some(last) = last.filter(|last| last.id >= named.id) {
            (self.position.link, self.known) = (last, true);
        }
        Ok(())
    }

    fn last_commit(&self, id: SegmentId, named: CommitLink) -> Result<Option<CommitLink>> {
        let Some(segment) = self.segments.get(id)? else { return Ok(None) };
        let is_named = |head: &Head| head.tag == Tag::Commit && head.data_crc == named.data_crc;
        let is_there = segment.head(named.at.offset)?.as_ref().is_ok_and(is_named);
        let mut walk = segment.walk(is_there.then_some(named.at.offset))?;
        let mut last = None;
        while let Some((offset, head, commit)) = next_commit(&mut walk)? {
            let at = Location { segment: id, offset };
            last = Some(CommitLink { id: commit.id, at, data_crc: head.data_crc });
        }
        Ok(last)
    }

    /// What a header that does not hold said of the segment before: its first COMMIT says the same. `None` if there is none, or
    /// another was before it. Who passes a segment and who reads it must know alike where the one before ended.
    pub(super) fn first_previous(&mut self, segment: &Segment) -> Result<Option<CommitLink>> {
        let first = segment.walk(None).and_then(|mut walk| next_commit(&mut walk));
        match first {
            Ok(first) => {
                let previous = first.map(|(_, _, commit)| commit.previous);
                Ok(previous.filter(|previous| previous.at.segment < segment.id()))
            }
            // Who reads that segment tells of it.
            Err(error) => self.sink.refused(error).map(|_| None),
        }
    }

    /// Decides about one of them. Returns whether it was committed.
    fn resolve(&mut self, unresolved: Unresolved, named: Option<CommitLink>) -> Result<bool> {
        let Unresolved { segment: id, mut start, end, mut header } = unresolved;
        let link = named.filter(|link| link.at.segment == id);
        if let Some(link) = link {
            // Whoever wrote that knew that COMMIT: it was durable then, and what stands behind it was not committed.
            if let Some((at, damage)) = header.take() {
                self.sink.damage(at, HEADER_LEN, damage)?;
            }
            let segment = self.segments.require(id)?;
            start = self.adopt_until(&segment, start.unwrap_or(end), end, link)?;
        }
        if let Some(start) = start.or(header.map(|_| 0)) {
            let (at, last) = (Location { segment: id, offset: start }, self.position.link.id);
            self.sink.tail(at, end.saturating_sub(start), last)?;
        }
        Ok(link.is_some())
    }

    /// Reads records again that turned out to be committed up to `link`, whose COMMIT does not hold. Returns where what was not
    /// committed starts.
    fn adopt_until(
        &mut self,
        segment: &Segment,
        start: u32,
        end: u32,
        link: CommitLink,
    ) -> Result<Option<u32>> {
        let mut open = Open::default();
        let mut behind = None;
        let mut from = start;
        while from < end {
            let committed = from <= link.at.offset;
            let limit = piece::border(from).min(end);
            let limit = if committed { limit.min(link.at.offset.saturating_add(1)) } else { limit };
            let piece = self.source.range(segment, from, limit)?;
            let next = piece.end.max(from.saturating_add(1));
            for event in piece.events {
                let first = match &event {
                    Event::Records(batch) => batch.first,
                    Event::Gap { offset, .. } | Event::Commit { offset, .. } => Some(*offset),
                };
                if !committed {
                    behind = behind.or(first);
                    continue;
                }
                match event {
                    Event::Records(batch) => open.push(batch),
                    Event::Gap { offset, len, damage } if offset == link.at.offset => {
                        open.gap(offset, len, damage);
                    }
                    Event::Gap { offset, len, damage } => {
                        let mut gap = (offset, len);
                        while gap.1 > 0 {
                            gap = self.no_commit(segment, &mut open, gap, &damage)?;
                        }
                    }
                    Event::Commit { .. } => {}
                }
            }
            if behind.is_some() {
                break;
            }
            from = next;
        }
        self.adopt(segment, open, link)?;
        Ok(behind)
    }

    /// Takes a transaction for committed whose COMMIT does not hold.
    pub(super) fn adopt(&mut self, segment: &Segment, open: Open<S::Notes>, link: CommitLink) -> Result<()> {
        let id = segment.id();
        let told = open.has_gap_at(link.at.offset);
        self.deliver(segment, open, link.at.offset, Some(link.id))?;
        if !told {
            self.lost(&link)?;
        }
        let end = link.at.offset.saturating_add(COMMIT_LEN);
        let next_segment = self.position.next_segment.max(SegmentId(id.0.saturating_add(1)));
        *self.position = LogPosition { link, end, next_segment };
        self.known = true;
        self.sink.transaction(&Transaction { commit: None, link, end })
    }

    /// A COMMIT that does not follow the one before it: damage, unless its predecessor was compacted away.
    pub(super) fn broken_chain(
        &mut self,
        before: SegmentId,
        at: Location,
        len: u32,
        commit: CommitId,
    ) -> Result<()> {
        if self.segments.ids().binary_search(&before).is_ok() {
            // If a repair has left out either of the two since, this was settled with it.
            return self.lose_with(before, at, len, Damage::Chain { commit });
        }
        // Compacted away, or lost: the last COMMIT that lists the live segments tells.
        self.is_absent(before, at, len, commit);
        Ok(())
    }

    fn is_absent(&mut self, segment: SegmentId, at: Location, len: u32, commit: CommitId) {
        if self.missing.as_ref().is_some_and(|missing| !missing.contains(&segment)) {
            self.absent.push((segment, at, len, commit));
        }
    }

    /// A predecessor in a segment that compaction left out is no loss; any other is.
    fn judge_absent(&mut self, absent: &mut BTreeSet<SegmentId>) -> Result<()> {
        if self.missing.is_none() {
            return Ok(());
        }
        for (segment, at, len, commit) in std::mem::take(&mut self.absent) {
            if !self.is_left_out(segment) {
                absent.insert(segment);
                self.lose(at, len, Damage::Chain { commit })?;
            }
        }
        Ok(())
    }

    /// A segment that the last COMMIT with a list has in it, and that is not there, is lost.
    fn judge_listed(&mut self, absent: &mut BTreeSet<SegmentId>) -> Result<()> {
        let (true, Some(told), Some((live, _))) = (self.is_whole, &self.missing, &self.listed) else {
            return Ok(());
        };
        let is_absent = |id: &SegmentId| self.segments.ids().binary_search(id).is_err() && !told.contains(id);
        let all = live.iter().flat_map(|(first, last)| (first.0..=last.0).map(SegmentId));
        let listed: Vec<SegmentId> = all.filter(is_absent).take(LISTED_TOLD_MAX).collect();
        for segment in listed {
            absent.insert(segment);
            self.lose(Location { segment, offset: 0 }, 0, Damage::Missing)?;
        }
        Ok(())
    }

    fn lost(&mut self, link: &CommitLink) -> Result<()> {
        self.lose(link.at, COMMIT_LEN, Damage::CommitLost { commit: link.id })
    }

    /// Reports damage that took committed records along, nobody knows whose.
    pub(super) fn lose(&mut self, at: Location, len: u32, damage: Damage) -> Result<()> {
        self.lose_with(at.segment, at, len, damage)
    }

    /// The same, where another segment may be the one that is wrong.
    fn lose_with(&mut self, other: SegmentId, at: Location, len: u32, damage: Damage) -> Result<()> {
        let gaps = self.gaps.entry((at.segment, other)).or_default();
        *gaps = gaps.saturating_add(1);
        self.sink.damage(at, len, damage)
    }

    /// Reports the header of a segment that turned out to hold something committed.
    pub(super) fn tell_header(&mut self) -> Result<()> {
        let Some((at, damage)) = self.torn_header.take() else { return Ok(()) };
        self.sink.damage(at, HEADER_LEN, damage)
    }
}

/// Goes on to the next COMMIT that holds.
fn next_commit(walk: &mut Walk<'_>) -> Result<Option<(u32, Head, CommitData)>> {
    while let Some(step) = walk.step()? {
        if let Step::Record { offset, head } = step
            && head.tag == Tag::Commit
            && walk.verify(offset, &head)?.is_ok()
            && let Ok(commit) = commit::decode(walk.data(offset, &head)?)
        {
            return Ok(Some((offset, head, commit)));
        }
    }
    Ok(None)
}
