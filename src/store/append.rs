//! The writer's way to disk: segments, commits, rollback.

use std::sync::Arc;

use super::open::{UseIndex, is_index_damage, load};
use super::stage::{STAGE_BYTES, Stage};
use super::txn::Writer;
use super::view::View;
use crate::error::{Error, Result};
use crate::format::commit::{self, COMMIT_KEY, CommitData, CommitKind};
use crate::format::record::Tag;
use crate::format::segment::{CommitLink, SegmentHeader};
use crate::id::{CommitId, Key, ObjectKey, RunKey, SegmentId};
use crate::limits::{TAIL_MAX_BYTES, TAIL_MAX_RECORDS};
use crate::seeded::{self, Bug};
use crate::segment::{Dictionary, SegmentWriter};

impl Writer {
    /// The state as this writer sees it, uncommitted changes included.
    ///
    /// # Errors
    /// Failures of the store: what is uncommitted goes to its segment first, to be readable.
    pub fn view(&mut self) -> Result<View> {
        self.alive()?;
        if self.stage.len() == 0 {
            return Ok(View::new(self.inner.clone(), Arc::new(self.working.state.clone())));
        }
        self.settle()?;
        if let Some(segment) = &mut self.segment {
            let flushed = segment.flush();
            self.guard(flushed)?;
        }
        let mut preview = self.working.clone();
        preview.see_segment(&self.inner, self.segment.as_ref().map(SegmentWriter::segment));
        for change in self.stage.changes() {
            preview.apply(change)?;
        }
        Ok(View::new(self.inner.clone(), Arc::new(preview.state)))
    }

    /// The last commit.
    pub fn last_commit(&self) -> CommitId {
        self.state().position.link.id
    }

    /// Records put or deleted since the last commit.
    pub fn pending(&self) -> u64 {
        u64::try_from(self.stage.len()).unwrap_or(u64::MAX)
    }

    /// The checksum of the data of each record put or deleted since the last commit, in order: what
    /// [`Snapshot::checksum`](super::Snapshot::checksum) will answer. What is not in its segment yet goes there.
    ///
    /// # Errors
    /// Failures of the store.
    pub fn checksums(&mut self) -> Result<&[u32]> {
        self.alive()?;
        if self.stage.len() > 0 {
            self.settle()?;
        }
        Ok(self.stage.checksums())
    }

    /// Tells whether a name was put or deleted in a run since the last commit.
    pub fn is_pending(&self, name: &[u8], run: RunKey) -> bool {
        self.stage.newest(&Key::new(ObjectKey::of(name), run)).is_some()
    }

    /// Makes the open transaction durable and visible. On return it is on disk. An empty transaction is none.
    ///
    /// # Errors
    /// Failures of the file system, which poison the writer: whether the transaction is durable is only
    /// known after opening the store again.
    pub fn commit(&mut self) -> Result<CommitId> {
        self.alive()?;
        if self.stage.len() == 0 {
            return Ok(self.state().position.link.id);
        }
        self.settle()?;
        self.commit_as(CommitKind::Normal, Vec::new())
    }

    /// Ends the settled transaction by a COMMIT and moves the state on.
    pub(super) fn commit_as(
        &mut self,
        kind: CommitKind,
        live: Vec<(SegmentId, SegmentId)>,
    ) -> Result<CommitId> {
        let ranges = live.clone();
        let committed = self.write_commit(kind, live);
        let (link, end) = self.guard(committed)?;
        // From here on it is durable: what fails now costs work, not data.
        match self.apply_stage(link, end) {
            Err(error) if is_index_damage(&error) => self.forget_index(&error)?,
            applied => self.guard(applied)?,
        }
        if kind != CommitKind::Normal {
            self.working.keep_segments(&ranges, link.at.segment);
        }
        self.inner.publish(&self.working.state);
        let is_long =
            self.working.tail_records >= TAIL_MAX_RECORDS || self.working.tail_bytes >= TAIL_MAX_BYTES;
        // A repair publishes the index when all segments are done: until then the old one knows whose they were.
        if is_long && kind != CommitKind::Repair {
            // It is no part of the commit, which is durable and must be acknowledged. While it is missing, each
            // commit and the close try again.
            if let Err(error) = self.checkpoint() {
                tracing::warn!("cannot write a checkpoint yet: {error}");
            }
        }
        Ok(link.id)
    }

    fn apply_stage(&mut self, link: CommitLink, end: u32) -> Result<()> {
        let stage = std::mem::take(&mut self.stage);
        let records = u64::try_from(stage.len()).unwrap_or(u64::MAX);
        self.committed = self.committed.saturating_add(records);
        self.working.see_segment(&self.inner, Some(link.at.segment));
        for change in stage.changes() {
            self.working.apply(change)?;
        }
        let position = self.working.position_after(link, end);
        self.working.committed(position, records, stage.written_bytes());
        Ok(())
    }

    /// Goes on without the index files, one of which turned out to be damaged: what is committed is read
    /// from the log, and the next checkpoint writes a new base.
    pub(super) fn forget_index(&mut self, cause: &Error) -> Result<()> {
        tracing::warn!("{cause}; reading the whole log instead");
        let loaded = load(&self.inner.read, UseIndex::Never, true);
        let loaded = self.guard(loaded)?;
        let before = std::mem::replace(&mut self.working, loaded.working);
        self.working.goes_on_from(&before);
        self.indexed = None;
        Ok(())
    }

    /// Appends the COMMIT between two syncs: a valid COMMIT proves that its records were durable before it.
    fn write_commit(
        &mut self,
        kind: CommitKind,
        live: Vec<(SegmentId, SegmentId)>,
    ) -> Result<(CommitLink, u32)> {
        let previous = self.state().position.link;
        let id = self.next_commit();
        let next_segment = self.working.next_segment;
        let Some(segment) = &mut self.segment else {
            return Err(Error::Poisoned { reason: "no segment to commit to".to_owned() });
        };
        if seeded::has(Bug::CommitBeforeData) { segment.flush() } else { segment.sync() }?;
        let commit = CommitData {
            id,
            records: u32::try_from(self.stage.len()).unwrap_or(u32::MAX),
            kind,
            heads_crc: self.stage.heads_crc(),
            previous,
            next_segment,
            live,
        };
        let (at, head, _) = segment.append(Tag::Commit, &COMMIT_KEY, &commit::encode(&commit))?;
        if !seeded::has(Bug::CommitUnsynced) {
            segment.sync()?;
        }
        Ok((CommitLink { id, at, data_crc: head.data_crc }, segment.len()))
    }

    /// Forgets the open transaction. The writer goes on.
    ///
    /// # Errors
    /// `Poisoned` after a failed write.
    pub fn rollback(&mut self) -> Result<()> {
        self.alive()?;
        if self.stage.is_written() && !seeded::has(Bug::RollbackAppends) {
            // What it wrote stays in its segment without a COMMIT; the next transaction starts a new one.
            self.segment = None;
        }
        self.stage = Stage::default();
        Ok(())
    }

    /// Publishes the index, so that the next open replays nothing and lookups find few files of it (after a bulk one), and
    /// releases the lock. What was not committed is forgotten. Cost: in proportion to what this writer committed; to the whole
    /// index once after a bulk that was killed, and while segments that a compaction left out wait for a reader to end.
    ///
    /// # Errors
    /// Failures of the file system. What was committed stays committed.
    pub fn close(mut self) -> Result<()> {
        self.alive()?;
        self.rollback()?;
        self.segment = None;
        if !self.working.is_dirty() {
            self.join_layers();
            return Ok(());
        }
        self.working.seal_all(&self.inner);
        self.publish_layer(self.plan_at_close())?;
        self.inner.publish(&self.working.state);
        self.merge_small()
    }

    pub(super) fn next_commit(&self) -> CommitId {
        self.working.next_commit()
    }

    pub(super) fn spill(&mut self) -> Result<()> {
        if self.stage.staged_bytes() >= STAGE_BYTES { self.settle() } else { Ok(()) }
    }

    /// Gives everything staged its place in a segment.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.settle_with(&[])
    }

    /// The same, where the last record's payload is `apart`.
    pub(super) fn settle_with(&mut self, apart: &[u8]) -> Result<()> {
        let written = self.write_staged(apart);
        self.guard(written)
    }

    fn write_staged(&mut self, mut apart: &[u8]) -> Result<()> {
        let limit = self.inner.config.segment_size;
        let staged = u64::try_from(self.stage.staged_bytes()).unwrap_or(u64::MAX);
        let full = |segment: &SegmentWriter| u64::from(segment.len()).saturating_add(staged) > limit;
        if !self.stage.is_written() && self.segment.as_ref().is_some_and(full) {
            self.segment = None;
        }
        let dictionary = self.dictionary.clone().filter(|_| self.stage.with_dictionary > 0);
        // A copy of the dictionary pays once it is small beside what it compresses.
        let worth = dictionary.clone().filter(|dictionary| {
            self.stage.staged_bytes() >= dictionary.content().len()
                || self.stage.staged_bytes() >= STAGE_BYTES
        });
        if let Some(segment) = &self.segment {
            let has = dictionary.as_ref().is_some_and(|dictionary| segment.dictionary() == dictionary.id());
            if !has && worth.is_some() && !self.stage.is_written() {
                self.segment = None;
            } else if let Some(dictionary) = dictionary.as_ref().filter(|_| !has) {
                self.stage.without_dictionary(dictionary, &mut apart)?;
            }
        }
        if self.segment.is_none() {
            if let (Some(dictionary), None) = (&dictionary, &worth) {
                self.stage.without_dictionary(dictionary, &mut apart)?;
            }
            self.segment = Some(self.create_segment(worth.as_deref())?);
        }
        match &mut self.segment {
            Some(segment) => self.stage.write(segment, apart),
            None => Ok(()),
        }
    }

    pub(super) fn create_segment(&mut self, dictionary: Option<&Dictionary>) -> Result<SegmentWriter> {
        let mut number = self.working.next_segment;
        // A file that is no segment may have the name of one.
        while self.state().segments.ids().binary_search(&number).is_ok() && number.0 < u32::MAX {
            number = SegmentId(number.0.saturating_add(1));
        }
        let next = number.0.checked_add(1);
        let max = u64::from(u32::MAX);
        let next = next.ok_or(Error::TooLarge { what: "segment number", len: max, max })?;
        self.working.next_segment = SegmentId(next);
        let header = SegmentHeader {
            store: self.inner.config.store,
            segment: number,
            segment_size: self.inner.config.segment_size,
            compressed: self.inner.config.compressed,
            previous: self.state().position.link,
            first_record: 0,
            dictionary: crate::id::DictionaryId::NONE,
        };
        SegmentWriter::create(self.vfs.clone(), header, dictionary)
    }
}
