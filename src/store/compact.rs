//! Reclaims garbage: moves what is live out of segments that hold much garbage, then removes these.
//!
//! Segment by segment, so that it needs little free space: the live records of a few segments go to a new
//! one, its COMMIT lists all live segments and so switches to the new state at once, the index is
//! published, and only then are the old files unlinked, oldest first. Each record is verified before it is
//! copied: a segment with damage in it stays as it is. The rule for DELETEs is the one that took Borg eight years:
//! one may be dropped only if no older segment remains that could hold a PUT of its key.

use std::collections::BTreeSet;

use super::stage::{Before, Change};
use super::txn::Writer;
use crate::error::{Damage, Error, Place, Result};
use crate::format::commit::CommitKind;
use crate::format::hints::SegmentHints;
use crate::format::put::{self, PutData, PutKind};
use crate::format::record::{Head, Tag};
use crate::format::segment::file_name;
use crate::id::{CommitId, DictionaryId, Key, Location, SegmentId};
use crate::progress::{Progress, Stop};
use crate::seeded::{self, Bug};
use crate::segment::{Codec, Segment, Step, Walk, codec};

/// Small segments that are left alone; more are merged when a writer closes.
const SMALL_SEGMENTS_MAX: usize = 64;

/// Segments of nothing but COMMITs from which on it pays to remove them.
const EMPTY_SEGMENTS_MIN: usize = 8;

/// How to compact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompactOptions {
    /// Garbage in percent of a segment from which on it is rewritten, 1 to 100.
    pub threshold: u8,
    /// Report what would be done, write nothing.
    pub dry_run: bool,
}

impl Default for CompactOptions {
    fn default() -> Self {
        CompactOptions { threshold: 10, dry_run: false }
    }
}

/// What a compaction did, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CompactReport {
    /// Segments rewritten.
    pub segments: Vec<SegmentId>,
    /// Their bytes.
    pub bytes: u64,
    /// Live records moved.
    pub moved_records: u64,
    /// Bytes of the segments that they were moved to.
    pub moved_bytes: u64,
    /// Segments left alone because of damage in them, and what it is.
    pub damaged: Vec<(SegmentId, String)>,
    /// Bytes of rewritten segments that readers may still use; the next writer removes them.
    pub waiting_bytes: u64,
    /// The last commit of the store.
    pub commit: CommitId,
}

impl Writer {
    /// Compacts the store. What is open for reading keeps working. On return the moved records are durable.
    ///
    /// # Errors
    /// `BadInput` while there are uncommitted changes; `Cancelled` between two batches, with all whole batches done; failures of
    /// the file system.
    pub fn compact(
        &mut self,
        options: &CompactOptions,
        progress: &mut dyn FnMut(&Progress),
        stop: &Stop,
    ) -> Result<CompactReport> {
        if self.pending() > 0 {
            let (what, reason) = ("compaction".to_owned(), "there are uncommitted changes".to_owned());
            return Err(Error::BadInput { what, reason });
        }
        self.rollback()?;
        self.segment = None;
        self.working.seal_all(&self.inner);
        let mut report = CompactReport::default();
        let mut at = Progress::default();
        loop {
            stop.check()?;
            let batch = self.next_batch(options.threshold, &report)?;
            at.items_total = at.items.saturating_add(u64::try_from(batch.len()).unwrap_or(u64::MAX));
            progress(&at);
            if batch.is_empty() {
                break;
            }
            if options.dry_run {
                report.segments = self.candidates(options.threshold, &report)?;
                report.bytes = self.total_len(&report.segments)?;
                break;
            }
            self.compact_batch(&batch, &mut report)?;
            at.items = at.items_total;
        }
        report.waiting_bytes = self.remove_dead()?;
        report.commit = self.state().position.link.id;
        Ok(report)
    }

    /// Merges small segments when there are many of them: what one command after another leaves behind.
    pub(super) fn merge_small(&mut self) -> Result<()> {
        let mut small = Vec::new();
        for id in self.state().segments.ids() {
            if self.len_of(*id)?.saturating_mul(8) < self.inner.config.segment_size {
                small.push(*id);
            }
        }
        if small.len() <= SMALL_SEGMENTS_MAX {
            return Ok(());
        }
        let mut report = CompactReport::default();
        let batch = self.within_one_segment(small);
        self.compact_batch(&batch, &mut report)?;
        self.remove_dead().map(|_| ())
    }

    fn len_of(&self, id: SegmentId) -> Result<u64> {
        self.state().segments.get(id)?.map_or(Ok(0), |segment| segment.file().len())
    }

    fn total_len(&self, ids: &[SegmentId]) -> Result<u64> {
        ids.iter().try_fold(0u64, |sum, id| Ok(sum.saturating_add(self.len_of(*id)?)))
    }

    /// Lists the segments with at least the threshold's share of garbage, oldest first.
    fn candidates(&self, threshold: u8, report: &CompactReport) -> Result<Vec<SegmentId>> {
        let (mut sparse, mut empty) = (Vec::new(), Vec::new());
        for id in self.state().segments.ids() {
            if report.damaged.iter().any(|(damaged, _)| damaged == id) {
                continue;
            }
            let len = self.len_of(*id)?;
            let known = self.hints_of(*id);
            if known.len == 0 && self.state().segments.get(*id)?.is_some_and(|one| one.header().is_err()) {
                // A power cut or somebody else left it; nothing in it was ever committed.
                continue;
            }
            let mut garbage = known.garbage.saturating_add(len.saturating_sub(known.len));
            // In the oldest segment there is nothing left that a DELETE could delete.
            if self.state().segments.ids().first() == Some(id) {
                garbage = garbage.saturating_add(known.tombstones);
            }
            let is_last = self.state().position.link.at.segment == *id;
            if garbage > 0 && garbage.saturating_mul(100) >= len.saturating_mul(threshold.into()) {
                sparse.push(*id);
            } else if known.live == 0 && known.tombstones == 0 && !is_last {
                empty.push(*id);
            }
        }
        // Each batch leaves one COMMIT behind, so a few segments of nothing but COMMITs are no reason for one.
        if sparse.is_empty() && empty.len() < EMPTY_SEGMENTS_MIN {
            return Ok(sparse);
        }
        sparse.append(&mut empty);
        sparse.sort_unstable();
        Ok(sparse)
    }

    fn hints_of(&self, id: SegmentId) -> SegmentHints {
        let known = self.working.hints.as_ref().and_then(|hints| hints.segments.get(&id.0));
        known.copied().unwrap_or_default()
    }

    fn next_batch(&self, threshold: u8, report: &CompactReport) -> Result<Vec<SegmentId>> {
        let candidates = self.candidates(threshold, report)?;
        Ok(self.within_one_segment(candidates))
    }

    /// Takes as many segments from the front as have live records for one new segment; at least one.
    fn within_one_segment(&self, ids: Vec<SegmentId>) -> Vec<SegmentId> {
        let mut batch = Vec::new();
        let mut live = 0u64;
        for id in ids {
            let known = self.hints_of(id);
            live = live.saturating_add(known.live).saturating_add(known.tombstones);
            if !batch.is_empty() && live > self.inner.config.segment_size {
                break;
            }
            batch.push(id);
        }
        batch
    }

    fn compact_batch(&mut self, batch: &[SegmentId], report: &mut CompactReport) -> Result<()> {
        let mut sound = Vec::with_capacity(batch.len());
        for id in batch {
            match self.verify_live(*id) {
                Ok(()) => sound.push(*id),
                Err(Error::Damaged { place, damage }) => {
                    report.damaged.push((*id, format!("{place}: {damage}")));
                }
                Err(other) => return Err(other),
            }
        }
        if sound.is_empty() {
            return Ok(());
        }
        let bytes = self.total_len(&sound)?;
        let survivors = self.staying_without(&sound)?;
        for id in &sound {
            let older_survives =
                survivors.first().is_some_and(|oldest| oldest < id) && !seeded::has(Bug::DeleteDropped);
            self.move_live(*id, older_survives)?;
        }
        self.settle()?;
        if self.segment.is_none() {
            self.segment = Some(self.create_segment(None)?);
        }
        let own = self.segment.as_ref().map(crate::segment::SegmentWriter::segment);
        let moved = self.pending();
        self.commit_as(CommitKind::Compaction, ranges(survivors.into_iter().chain(own)))?;
        let moved_bytes = self.segment.take().map_or(0, |segment| u64::from(segment.len()));
        self.working.seal_all(&self.inner);
        if !seeded::has(Bug::UnlinkBeforeIndex) {
            self.checkpoint()?;
        }
        report.waiting_bytes = self.remove_dead()?;
        report.segments.extend(sound);
        report.bytes = report.bytes.saturating_add(bytes);
        report.moved_records = report.moved_records.saturating_add(moved);
        report.moved_bytes = report.moved_bytes.saturating_add(moved_bytes);
        Ok(())
    }

    /// Lists the segments that stay when these are left out. One that the index points to and that is missing stays too:
    /// that it is lost would be forgotten with it.
    fn staying_without(&self, left_out: &[SegmentId]) -> Result<Vec<SegmentId>> {
        let state = self.state();
        let mut all: BTreeSet<SegmentId> = state.segments.ids().iter().copied().collect();
        for layer in state.published() {
            for segment in layer.segments() {
                all.insert(segment?.0);
            }
        }
        // And one of which only the segment behind it tells.
        for id in state.segments.ids() {
            all.extend(self.absent_before(*id)?);
        }
        all.retain(|id| !left_out.contains(id) && !state.dead.contains(id));
        Ok(all.into_iter().collect())
    }

    /// Reads the committed part of a segment and verifies every live record in it.
    fn verify_live(&mut self, id: SegmentId) -> Result<()> {
        self.keep_trace(id)?;
        self.each_record(id, |writer, segment, walk, at, head| {
            if writer.is_newest(at, head)?
                && let Err(damage) = walk.verify(at.offset, head)?
            {
                return Err(Error::damaged(segment.place(at.offset), damage));
            }
            Ok(())
        })
    }

    /// Refuses a segment whose predecessor is gone while records are lost beyond naming: where no index knows better, that
    /// its COMMITs do not follow is all that tells of the missing one.
    fn keep_trace(&self, id: SegmentId) -> Result<()> {
        match self.absent_before(id)? {
            Some(before) => Err(Error::damaged(Place::whole(file_name(before)), Damage::Missing)),
            None => Ok(()),
        }
    }

    /// Returns the segment of a segment's predecessor if that is gone while records are lost beyond naming.
    fn absent_before(&self, id: SegmentId) -> Result<Option<SegmentId>> {
        let state = self.state();
        if state.gaps == 0 {
            return Ok(None);
        }
        let Some(segment) = state.segments.get(id)? else { return Ok(None) };
        let Ok(header) = segment.header() else { return Ok(None) };
        let before = header.previous.at.segment;
        let is_known = state.segments.ids().contains(&before) || state.dead.contains(&before);
        Ok((header.previous.id.0 > 0 && !is_known).then_some(before))
    }

    fn move_live(&mut self, id: SegmentId, older_survives: bool) -> Result<()> {
        self.each_record(id, |writer, segment, walk, at, head| {
            if !writer.is_newest(at, head)? {
                return Ok(());
            }
            let data = walk.data(at.offset, head)?.to_vec();
            match head.tag {
                Tag::Put => {
                    let own = segment.header().as_ref().ok().map(|header| header.dictionary);
                    writer.move_put(own, at, head, &data)
                }
                // That something was lost is to be told as long as nothing takes its place.
                Tag::Delete if older_survives || put::says_lost(&data) => writer.move_delete(at, head, &data),
                Tag::Delete | Tag::Commit | Tag::Dictionary => Ok(()),
            }
        })
    }

    /// Calls `visit` for each PUT and DELETE in the committed part of a segment.
    fn each_record(
        &mut self,
        id: SegmentId,
        mut visit: impl FnMut(&mut Writer, &Segment, &mut Walk<'_>, Location, &Head) -> Result<()>,
    ) -> Result<()> {
        let segments = self.state().segments.clone();
        let segment = segments.require(id)?;
        if let Err(damage) = segment.header() {
            return Err(Error::damaged(segment.place(0), damage.clone()));
        }
        // The hints tell where a torn tail may begin. How far to look they do not: whatever they say, a live record is moved.
        let committed = self.hints_of(id).len;
        let len = u32::try_from(segment.file().len()?).unwrap_or(u32::MAX);
        let mut walk =
            Walk::new(&**segment.file(), segment.bindings(), crate::format::segment::HEADER_LEN, len);
        while let Some(step) = walk.step()? {
            match step {
                Step::Gap { offset, .. } if u64::from(offset) >= committed => {}
                Step::Gap { offset, damage, .. } => {
                    return Err(Error::damaged(segment.place(offset), damage));
                }
                Step::Record { offset, head } if matches!(head.tag, Tag::Put | Tag::Delete) => {
                    visit(self, &segment, &mut walk, Location { segment: id, offset }, &head)?;
                }
                Step::Record { .. } => {}
            }
        }
        Ok(())
    }

    pub(super) fn is_newest(&mut self, at: Location, head: &Head) -> Result<bool> {
        let key = head.key();
        Ok(self.ask(|working| working.state.locate(&key))? == Some(at))
    }

    /// Copies a verified PUT, whose payload may need the dictionary `own`.
    pub(super) fn move_put(
        &mut self,
        own: Option<DictionaryId>,
        at: Location,
        head: &Head,
        data: &[u8],
    ) -> Result<()> {
        let bad = |damage: Damage| Error::damaged(Place::at(file_name(at.segment), at.offset.into()), damage);
        let key = head.key();
        let put = put::decode(data).map_err(bad)?;
        let before = Before { at, stored_len: head.size, file_len: put.raw_len, kind: Some(put.kind) };
        let change = change_of(key, put.raw_len, Some(put.kind), before);
        let current = self.dictionary.as_ref().map(|dictionary| dictionary.id());
        let fits = put.codec == Codec::ZstdDictionary && own == current;
        let as_is = fits
            || put.kind != PutKind::Snapshot
            || (current.is_none() && put.codec != Codec::ZstdDictionary);
        if as_is {
            let with_dictionary = put.codec == Codec::ZstdDictionary;
            self.stage.push(Tag::Put, change, with_dictionary, |out| out.extend_from_slice(data))?;
            return self.spill();
        }
        let dictionary = match (put.codec, own) {
            (Codec::ZstdDictionary, Some(own)) => Some(self.state().segments.dictionary(own)?),
            _ => None,
        };
        let raw =
            codec::decode(put.codec, put.payload, put.raw_len, dictionary.map(|dictionary| &**dictionary))
                .map_err(bad)?;
        let anew = self.encode(&raw)?;
        let name = put.name(&key).map_err(bad)?;
        let data = PutData { codec: anew.codec, payload: &anew.bytes, ..put.clone() };
        let with_dictionary = anew.codec == Codec::ZstdDictionary;
        self.stage.push(Tag::Put, change, with_dictionary, |out| put::encode(out, &key, &name, &data))?;
        self.spill()
    }

    /// Copies a verified DELETE.
    pub(super) fn move_delete(&mut self, at: Location, head: &Head, data: &[u8]) -> Result<()> {
        let before = Before { at, stored_len: head.size, file_len: 0, kind: None };
        let change = Change { lost: put::says_lost(data), ..change_of(head.key(), 0, None, before) };
        self.stage.push(Tag::Delete, change, false, |out| out.extend_from_slice(data))?;
        self.spill()
    }
}

pub(super) fn change_of(key: Key, file_len: u32, kind: Option<PutKind>, before: Before) -> Change {
    Change { key, at: Location::default(), stored_len: 0, file_len, kind, lost: false, before: Some(before) }
}

/// Writes numbers as inclusive ranges.
pub(super) fn ranges(ids: impl Iterator<Item = SegmentId>) -> Vec<(SegmentId, SegmentId)> {
    let ids: BTreeSet<SegmentId> = ids.collect();
    let mut all: Vec<(SegmentId, SegmentId)> = Vec::new();
    for id in ids {
        match all.last_mut() {
            Some((_, last)) if last.0.checked_add(1) == Some(id.0) => *last = id,
            _ => all.push((id, id)),
        }
    }
    all
}
