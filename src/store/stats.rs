//! Figures of a store.

use std::collections::BTreeMap;

use super::Store;
use super::inner::DATA_DIR;
use super::open::{UseIndex, load};
use super::repair::{Evidence, evidence};
use super::state::State;
use crate::error::{Error, Result};
use crate::format::hints::Hints;
use crate::format::put::implied_name;
use crate::format::segment::file_name;
use crate::id::{CommitId, Location, SegmentId, StoreId, split_canonical};
use crate::segment::dictionary;
use crate::vfs::join;

/// Bytes of one segment, by what became of them. They sum up to its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SegmentStats {
    /// Length of the file.
    pub len: u64,
    /// Live PUT records.
    pub live: u64,
    /// DELETE records still in force.
    pub tombstones: u64,
    /// Superseded and deleted records, uncommitted tails.
    pub garbage: u64,
    /// Header, dictionary, COMMIT records.
    pub overhead: u64,
    /// Live records.
    pub live_records: u64,
}

/// Figures of a store.
#[derive(Clone, PartialEq, Debug)]
pub struct Stats {
    /// Identity.
    pub store: StoreId,
    /// Last commit.
    pub commit: CommitId,
    /// Distinct ids (names) with a live snapshot.
    pub ids: u64,
    /// Live snapshots.
    pub snapshots: u64,
    /// Live aliases.
    pub aliases: u64,
    /// Runs.
    pub runs: u64,
    /// Tombstones in the index.
    pub tombstones: u64,
    /// Records lost, as repairs wrote them down: keys that say so, and those in the quarantine's reports whose key cannot.
    pub lost: u64,
    /// Places of the log where acknowledged records are damaged beyond naming.
    pub gaps: u64,
    /// What repairs set aside, oldest first: where the evidence of losses lies.
    pub evidence: Vec<Evidence>,
    /// Live snapshots per type: the part of the id before `--`.
    pub types: BTreeMap<String, u64>,
    /// Bytes of the live snapshots' files.
    pub file_bytes: u64,
    /// Bytes of all files of the store.
    pub store_bytes: u64,
    /// Bytes of index and hints.
    pub index_bytes: u64,
    /// Index files in use: base and deltas.
    pub index_files: u64,
    /// Filled part of the base index's slots, 0 to 1.
    pub load_factor: f64,
    /// Segment size, bytes.
    pub segment_size: u64,
    /// "none" or "zstd".
    pub compression: &'static str,
    /// The dictionary in use: its id and length in bytes.
    pub dictionary: Option<(String, u64)>,
    /// Per segment, ascending.
    pub segments: Vec<(SegmentId, SegmentStats)>,
    /// Why the store cannot be written, if so.
    pub read_only: Option<String>,
    /// Notices of open.
    pub notices: Vec<String>,
}

impl Store {
    /// Computes the figures. Cost: reads the head of each live record once, for the types; with the hints gone
    /// also that of every other record.
    ///
    /// # Errors
    /// Failures of reading. What is damaged is left out of the counts: `check` tells about it.
    pub fn stats(&self) -> Result<Stats> {
        let loaded = load(&self.inner.read, UseIndex::Newest, true)?;
        let state = &loaded.working.state;
        let totals = state.overlay.totals();
        let mut types: BTreeMap<String, u64> = BTreeMap::new();
        let mut lost = 0u64;
        for row in state.all_rows()? {
            for entry in state.entries_of(row.run)? {
                if entry.flags.tombstone && state.is_lost(entry.at)? {
                    lost = lost.saturating_add(1);
                }
                if entry.flags.tombstone || entry.flags.alias {
                    continue;
                }
                let Some(kind) = type_of(state, entry.at)? else { continue };
                let count = types.entry(kind).or_default();
                *count = count.saturating_add(1);
            }
        }
        let layers = state.published();
        let hints = loaded.working.hints.clone().unwrap_or_default();
        let mut figures = Stats {
            store: loaded.config.store,
            commit: state.position.link.id,
            ids: totals.ids,
            snapshots: totals.snapshots,
            aliases: totals.aliases,
            runs: totals.runs,
            tombstones: totals.tombstones,
            lost,
            gaps: state.gaps,
            evidence: Vec::new(),
            types,
            file_bytes: totals.bytes,
            store_bytes: 0,
            index_bytes: 0,
            index_files: u64::try_from(layers.len()).unwrap_or(u64::MAX),
            load_factor: layers.last().map_or(0.0, |base| base.load_factor()),
            segment_size: loaded.config.segment_size,
            compression: if loaded.config.compressed { "zstd" } else { "none" },
            dictionary: None,
            segments: self.segment_stats(state, &hints)?,
            read_only: self.inner.loss.clone(),
            notices: loaded.notices,
        };
        self.measure_files(&mut figures)?;
        figures.evidence = evidence::list(&self.inner.read, state.segments.ids())?;
        for one in &figures.evidence {
            figures.lost = figures.lost.saturating_add(one.unmarked).saturating_add(one.unknown);
        }
        Ok(figures)
    }

    fn segment_stats(&self, state: &State, hints: &Hints) -> Result<Vec<(SegmentId, SegmentStats)>> {
        let mut all = Vec::with_capacity(state.segments.ids().len());
        for id in state.segments.ids() {
            let Some(file) = self.inner.read.open(&file_name(*id))? else { continue };
            let len = file.len()?;
            let known = hints.segments.get(&id.0).copied().unwrap_or_default();
            // Behind the last COMMIT of a segment lies what was never committed.
            let tail = len.saturating_sub(known.len);
            let garbage = known.garbage.saturating_add(tail);
            let used = known.live.saturating_add(known.tombstones).saturating_add(garbage);
            let segment = SegmentStats {
                len,
                live: known.live,
                tombstones: known.tombstones,
                garbage,
                overhead: len.saturating_sub(used),
                live_records: known.live_records,
            };
            all.push((*id, segment));
        }
        Ok(all)
    }

    fn measure_files(&self, stats: &mut Stats) -> Result<()> {
        for dir in ["", DATA_DIR] {
            for entry in self.inner.read.list(dir)?.unwrap_or_default() {
                let path = join(dir, &entry.name);
                let Some(file) = self.inner.read.open(&path)? else { continue };
                let len = file.len()?;
                stats.store_bytes = stats.store_bytes.saturating_add(len);
                if dir.is_empty() && (entry.name.starts_with("index.") || entry.name.starts_with("hints.")) {
                    stats.index_bytes = stats.index_bytes.saturating_add(len);
                }
                if let Some(id) = dictionary::parse_file_name(&entry.name) {
                    stats.dictionary = Some((id.to_string(), len));
                }
            }
        }
        Ok(())
    }
}

/// Returns the type of a live record: the part of its name before `--`, or `-` where there is none.
fn type_of(state: &State, at: Location) -> Result<Option<String>> {
    let Some(segment) = state.segments.get(at.segment)? else { return Ok(None) };
    let Ok(head) = segment.head(at.offset)? else { return Ok(None) };
    let name = match implied_name(&head.key()) {
        Some(name) => name,
        None => match state.record(at, &head.key()) {
            Ok(Some(record)) => record.name().into_owned(),
            Ok(None) | Err(Error::Damaged { .. }) => return Ok(None),
            Err(other) => return Err(other),
        },
    };
    let kind = split_canonical(&name).map(|(kind, _)| String::from_utf8_lossy(kind).into_owned());
    Ok(Some(kind.unwrap_or_else(|| "-".to_owned())))
}
