//! A committed state: the index files, what came after them, and the segments they point into.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::log::LogPosition;
use crate::error::Result;
use crate::id::{Instant, Key, Location, ObjectKey, RunKey, SegmentId};
use crate::index::{Entry, FileKind, Found, Index, Overlay, RecordKeys, RunMerge, RunRow};
use crate::segment::Segments;
use crate::vfs::Map;

/// A mapped index file.
pub(crate) type IndexFile = Index<Map>;

/// An immutable committed state.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The last commit and where the log goes on.
    pub(crate) position: LogPosition,
    /// Index files, newest first; the base stands last. They answer questions; what is covered by an index that others see
    /// too is said by the [`published`](State::published) ones.
    pub(crate) layers: Vec<Arc<IndexFile>>,
    /// How many of the newest ones were set aside while the log was replayed: they are a part of what the overlay is.
    pub(crate) aside: usize,
    /// What came after the newest of them.
    pub(crate) overlay: Arc<Overlay>,
    /// The segment files.
    pub(crate) segments: Arc<Segments>,
    /// Segment files that a compaction left behind and that only await their removal.
    pub(crate) dead: Arc<BTreeSet<SegmentId>>,
    /// Places of the log where committed records are damaged beyond naming: whose newest state they were is unknown.
    pub(crate) gaps: u64,
}

/// Asks the segments which key a record carries.
pub(crate) struct Keys<'s>(pub(crate) &'s Segments);

impl RecordKeys for Keys<'_> {
    fn key_at(&self, at: Location) -> Result<Option<Key>> {
        let Some(segment) = self.0.get(at.segment)? else { return Ok(None) };
        Ok(segment.head(at.offset)?.ok().and_then(|head| head.stored_key()))
    }
}

/// The same where a head may have one wrong bit: so a replay reads it.
pub(crate) struct ReplayedKeys<'s>(pub(crate) &'s Segments);

impl RecordKeys for ReplayedKeys<'_> {
    fn key_at(&self, at: Location) -> Result<Option<Key>> {
        let Some(segment) = self.0.get(at.segment)? else { return Ok(None) };
        let head = segment.head(at.offset)?.ok();
        let mended = || segment.mended_head(at.offset);
        Ok(head.map_or_else(mended, |head| Ok(Some(head)))?.and_then(|head| head.stored_key()))
    }
}

impl State {
    /// Returns the index files that were published, newest first.
    pub(crate) fn published(&self) -> &[Arc<IndexFile>] {
        self.layers.get(self.aside..).unwrap_or_default()
    }

    /// Returns the newest index file that was published.
    pub(crate) fn newest_index(&self) -> Option<&IndexFile> {
        self.published().first().map(|layer| &**layer)
    }

    /// Finds the newest record of a key, tombstones included.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Found>> {
        self.find_with(key, &Keys(&self.segments))
    }

    /// The same, with the records' keys asked for in another way.
    #[inline]
    pub(super) fn find_with(&self, key: &Key, keys: &impl RecordKeys) -> Result<Option<Found>> {
        if !self.overlay.is_empty()
            && let Some(found) = self.overlay.at(&key.object, key.run)
        {
            return Ok(Some(found));
        }
        for layer in &self.layers {
            if let Some(found) = layer.at(&key.object, key.run, keys)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Finds where the newest record of a key lies, a run's own record included.
    pub(crate) fn locate(&self, key: &Key) -> Result<Option<Location>> {
        if key.is_run() {
            return Ok(self.run_row(key.run)?.and_then(|row| row.at));
        }
        Ok(self.find(key)?.map(|found| found.at))
    }

    /// Finds the record of the largest run at or below `max`, tombstones included.
    #[inline]
    pub(super) fn floor(
        &self,
        object: &ObjectKey,
        max: RunKey,
        keys: &impl RecordKeys,
    ) -> Result<Option<Found>> {
        let mut best = if self.overlay.is_empty() { None } else { self.overlay.floor(object, max) };
        for layer in &self.layers {
            // Of equal runs the newer layer's stands, so only a larger run replaces.
            if let Some(found) = layer.floor(object, max, keys)?
                && best.as_ref().is_none_or(|best| best.run < found.run)
            {
                best = Some(found);
            }
        }
        Ok(best)
    }

    /// Finds the record of the smallest run at or above `min`, tombstones included.
    #[inline]
    pub(super) fn ceil(
        &self,
        object: &ObjectKey,
        min: RunKey,
        keys: &impl RecordKeys,
    ) -> Result<Option<Found>> {
        let mut best = if self.overlay.is_empty() { None } else { self.overlay.ceil(object, min) };
        for layer in &self.layers {
            if let Some(found) = layer.ceil(object, min, keys)?
                && best.as_ref().is_none_or(|best| found.run < best.run)
            {
                best = Some(found);
            }
        }
        Ok(best)
    }

    /// All runs in which `name` has a record, ascending, tombstones included.
    pub(crate) fn all(&self, object: &ObjectKey) -> Result<Vec<Found>> {
        let mut all = self.overlay.all(object);
        for layer in &self.layers {
            for found in layer.all(object, &Keys(&self.segments))? {
                if !all.iter().any(|newer| newer.run == found.run) {
                    all.push(found);
                }
            }
        }
        all.sort_by_key(|found| found.run);
        Ok(all)
    }

    /// Returns what is known of a run; of several layers the newest that has a row says it.
    pub(crate) fn run_row(&self, run: RunKey) -> Result<Option<RunRow>> {
        if let Some(row) = self.overlay.run(run) {
            return Ok(Some(*row));
        }
        for layer in &self.layers {
            if let Some(row) = layer.run(run)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Returns all runs that are not deleted, ascending.
    pub(crate) fn run_rows(&self) -> Result<Vec<RunRow>> {
        let mut rows = self.all_rows()?;
        rows.retain(RunRow::is_live);
        Ok(rows)
    }

    /// Returns the runs of one instant that are not deleted, ascending. O(log runs).
    pub(crate) fn run_rows_of(&self, at: Instant) -> Result<Vec<RunRow>> {
        let (first, last) = (RunKey::new(at, 0), RunKey::last_of(at));
        let mut rows: BTreeMap<RunKey, RunRow> =
            self.overlay.runs_in(first, last).map(|row| (row.run, *row)).collect();
        for layer in &self.layers {
            for row in layer.runs_from(first)? {
                let row = row?;
                if row.run > last {
                    break;
                }
                rows.entry(row.run).or_insert(row);
            }
        }
        Ok(rows.into_values().filter(RunRow::is_live).collect())
    }

    /// Returns all runs, ascending, the deleted ones too.
    pub(crate) fn all_rows(&self) -> Result<Vec<RunRow>> {
        let mut rows = Vec::new();
        self.each_row(&mut |row| {
            rows.push(*row);
            Ok(())
        })?;
        Ok(rows)
    }

    /// Hands out all runs, ascending, the deleted ones too. No memory but for one row of each layer.
    pub(crate) fn each_row(&self, each: &mut dyn FnMut(&RunRow) -> Result<()>) -> Result<()> {
        let overlay: Box<dyn Iterator<Item = Result<RunRow>> + '_> =
            Box::new(self.overlay.runs().map(|row| Ok(*row)));
        let files =
            self.layers.iter().map(|layer| -> Box<dyn Iterator<Item = _> + '_> { Box::new(layer.runs()) });
        let mut sources: Vec<_> = std::iter::once(overlay).chain(files).collect();
        let mut heads = Vec::new();
        for source in &mut sources {
            heads.push(source.next().transpose()?);
        }
        while let Some(run) = heads.iter().flatten().map(|row| row.run).min() {
            // Newest first: of several layers the newest says it.
            let mut newest = None;
            for (head, source) in heads.iter_mut().zip(&mut sources) {
                if head.is_some_and(|row| row.run == run) {
                    newest = newest.or(*head);
                    *head = source.next().transpose()?;
                }
            }
            newest.map_or(Ok(()), |row| each(&row))?;
        }
        Ok(())
    }

    /// Hands out the newest record of each key, tombstones and the records of runs included, run by run in the order of the
    /// index. No memory but for one entry of each layer.
    pub(crate) fn each_entry(
        &self,
        each: &mut dyn FnMut(&RunRow, Option<&Entry>) -> Result<()>,
    ) -> Result<()> {
        let layers: Vec<&IndexFile> = self.layers.iter().map(|layer| &**layer).collect();
        let keys = Keys(&self.segments);
        self.each_row(&mut |row| {
            each(row, None)?;
            let entries = RunMerge::new(&layers, Some(&*self.overlay), row.run, 0, FileKind::Base, &keys)?;
            for entry in entries {
                each(row, Some(&entry?))?;
            }
            Ok(())
        })
    }

    /// Returns the newest records of a run in the order of the index, tombstones included.
    pub(crate) fn entries_of(&self, run: RunKey) -> Result<Vec<Entry>> {
        let layers: Vec<&IndexFile> = self.layers.iter().map(|layer| &**layer).collect();
        let keys = Keys(&self.segments);
        RunMerge::new(&layers, Some(&*self.overlay), run, 0, FileKind::Base, &keys)?.collect()
    }
}
