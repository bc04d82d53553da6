//! From findings to what is to be done about them. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::attribute;
use super::basis::{Basis, is_left_behind, is_of_index, is_unbacked};
use super::kept::Shelf;
use super::pointers::Pointers;
use super::salvage::{Judge, Salvage};
use super::swap::{self, Swap};
use super::{Fate, FileRepair, RepairOptions, RepairReport, SegmentRepair};
use crate::error::{Damage, Place, Result};
use crate::format::config::CONFIG_FILE;
use crate::format::record::Tag;
use crate::format::segment::{self, file_name};
use crate::id::{CommitId, DictionaryId, Key, Location, SegmentId};
use crate::segment::Segments;
use crate::segment::dictionary;
use crate::store::check::Finding;
use crate::store::inner::DATA_DIR;
use crate::store::open::seed_of;
use crate::store::state::State;
use crate::vfs::ReadVfs;

/// What to do about a small file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mend {
    /// Write it anew from the segments' headers.
    Config,
    /// Write it anew from another copy.
    Dictionary(DictionaryId),
    /// Set it aside; nobody needs it.
    Stray,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Segments in each other's places.
    pub(super) swaps: Vec<Swap>,
    /// Small files, each with what the check says of it.
    pub(super) small: Vec<(String, Mend)>,
    /// Files of the index that are wrong.
    pub(super) index: Vec<String>,
    /// Whether the index is to be built anew whatever else there is to do.
    pub(super) rebuild: bool,
    /// Damaged and missing segments, in the order in which they are to be saved: where a transaction is proven to be gone
    /// from the end of the log, then missing ones, then those that are there; each kind ascending.
    pub(super) salvages: Vec<Salvage>,
    /// What cannot be repaired.
    pub(super) left: Vec<(Place, String)>,
    /// What the check has found in files that are no segments.
    pub(super) findings: Vec<Finding>,
}

/// What the findings say of the segments.
#[derive(Default)]
struct Sorted {
    damaged: BTreeMap<SegmentId, Vec<Finding>>,
    /// Bytes that the log does not count as committed: where they begin.
    tails: BTreeMap<SegmentId, u32>,
}

impl Plan {
    /// Makes the plan for a state and the findings of a check of it.
    pub(super) fn make(
        basis: &Basis,
        findings: Vec<Finding>,
        options: RepairOptions<'_>,
        vfs: &Arc<dyn ReadVfs>,
    ) -> Result<Plan> {
        let loaded = &basis.loaded;
        let state = &loaded.working.state;
        let segments = state.segments.unmapped();
        let mut plan = Plan::default();
        let mut sorted = Sorted::default();
        let suspects = if basis.is_log_wrong { suspects(&findings, &segments) } else { BTreeSet::new() };
        for finding in findings {
            // The index is rebuilt in any case; a segment that does not have what that names is damaged, and so is one that
            // has what it does not name, where the COMMITs do not follow each other.
            let is_suspect = || segment_of(&finding).is_some_and(|id| suspects.contains(&id));
            let is_loss =
                (basis.is_log_wrong || basis.claimed.is_some()) && is_unbacked(&finding) || is_suspect();
            plan.sort(finding, is_loss, &mut sorted, &segments, vfs)?;
        }
        if !sorted.damaged.is_empty() {
            plan.swaps = swap::find(vfs, loaded.config.store, sorted.damaged.keys().copied())?;
        }
        if !plan.swaps.is_empty() {
            // With these in their places again the next check tells what else there is.
            return Ok(plan);
        }
        let wanted: BTreeSet<SegmentId> = sorted.damaged.keys().chain(sorted.tails.keys()).copied().collect();
        let mut pointers = Pointers::new(basis.claiming(), &wanted);
        // What the index knows and the log does not count is live all the same.
        for (segment, from) in &sorted.tails {
            if pointers.has(*segment, *from)? {
                sorted.damaged.entry(*segment).or_default();
            }
        }
        plan.strays(&mut sorted, state, &mut pointers, basis.claimed.is_none())?;
        plan.defer_chains(&mut sorted, &segments);
        let judge = Judge {
            state,
            segments: &segments,
            seed: seed_of(&loaded.config),
            is_claimed: basis.claimed.is_some(),
            covered: covered(state),
        };
        let mut shelf = Shelf::new(vfs);
        for (id, findings) in sorted.damaged {
            if let Some(missing) = lacks_dictionary(&segments, id)? {
                plan.left.push((
                    Place::whole(file_name(id)),
                    format!("it needs dictionary {missing}, of which there is no copy"),
                ));
                continue;
            }
            let mut salvage = judge.salvage(id, findings, &pointers.of(id)?)?;
            shelf.take(&mut salvage);
            plan.salvages.push(salvage);
        }
        shelf.give_back(&mut plan.salvages)?;
        if basis.claimed.is_none() {
            plan.leave_superseded(state)?;
        }
        plan.attribute(&judge)?;
        if basis.claimed.is_some() {
            plan.leave_answered(state)?;
        }
        if options.accept_older {
            plan.look_for_older(&segments)?;
        }
        // The first COMMIT hides what tells of these: that the log had ended later, and that a segment is missing.
        plan.salvages.sort_by_key(|salvage| (!salvage.has_gone(), salvage.present));
        Ok(plan)
    }

    fn sort(
        &mut self,
        finding: Finding,
        is_loss: bool,
        sorted: &mut Sorted,
        segments: &Segments,
        vfs: &Arc<dyn ReadVfs>,
    ) -> Result<()> {
        let file = finding.place.file.clone();
        if let Some(id) = segment_of(&finding) {
            match &finding.damage {
                Some(damage) if is_of_index(damage) && !is_loss => self.rebuild = true,
                Some(_) => sorted.damaged.entry(id).or_default().push(finding),
                None => {
                    let offset = finding.place.offset.and_then(|at| u32::try_from(at).ok());
                    if let Some(from) = offset.filter(|_| finding.len.is_some()) {
                        sorted.tails.insert(id, from);
                    }
                }
            }
            return Ok(());
        }
        let is_new = |small: &[(String, Mend)]| small.iter().all(|(known, _)| *known != file);
        if file == CONFIG_FILE && is_new(&self.small) {
            self.small.push((file, Mend::Config));
        } else if let Some(id) = dictionary::parse_file_name(&file).filter(|_| is_new(&self.small)) {
            self.dictionary(id, &file, finding.damage.is_some(), segments, vfs)?;
        } else if (file.starts_with("index.") || file.starts_with("hints.")) && finding.damage.is_some() {
            self.rebuild = true;
            if !self.index.contains(&file) {
                self.index.push(file);
            }
        }
        if finding.damage.is_some() {
            self.findings.push(finding);
        }
        Ok(())
    }

    fn dictionary(
        &mut self,
        id: DictionaryId,
        file: &str,
        is_damage: bool,
        segments: &Segments,
        vfs: &Arc<dyn ReadVfs>,
    ) -> Result<()> {
        let mut is_needed = false;
        for segment in segments.ids() {
            let Some(segment) = segments.get(*segment)? else { continue };
            is_needed |= segment.header().as_ref().is_ok_and(|header| header.dictionary == id);
        }
        // Not from memory: what is damaged now may have been read before.
        let intact =
            matches!(dictionary::read_file(&**vfs, id), Ok(Some(_))) || segments.dictionary(id).is_ok();
        if intact {
            self.small.push((file.to_owned(), Mend::Dictionary(id)));
        } else if is_needed {
            self.left.push((
                Place::whole(file),
                "there is no intact copy of this dictionary; put one back".to_owned(),
            ));
        } else if is_damage {
            self.small.push((file.to_owned(), Mend::Stray));
        }
        Ok(())
    }

    /// Files with a number that this store has not come to: nobody's segments. And those that it has left behind: one that a
    /// compaction removed, or a repair gave up, and that was put back.
    fn strays(
        &mut self,
        sorted: &mut Sorted,
        state: &State,
        pointers: &mut Pointers<'_>,
        is_decided: bool,
    ) -> Result<()> {
        let next = state.position.next_segment;
        for id in state.segments.ids() {
            let is_damaged = sorted.damaged.contains_key(id);
            // The last number of all would leave none for a new segment.
            let is_wanted = is_damaged && *id >= next || id.0 == u32::MAX;
            let Some(segment) = state.segments.get(*id)? else { continue };
            let is_named = pointers.has(*id, 0)?;
            let holds = *id <= state.position.link.at.segment || is_named;
            let is_back = is_left_behind(state, *id)? && !is_named;
            if is_wanted && !holds && segment.header().is_err() || is_decided && is_back {
                let findings = sorted.damaged.remove(id).unwrap_or_default();
                self.findings.extend(findings);
                self.small.push((file_name(*id), Mend::Stray));
            }
        }
        Ok(())
    }

    /// A COMMIT that does not follow the one before it is mostly right again once what is before it is repaired.
    /// One in a segment that is missing tells of that, and nothing will later.
    fn defer_chains(&self, sorted: &mut Sorted, segments: &Segments) {
        let is_chain = |finding: &Finding| matches!(finding.damage, Some(Damage::Chain { .. }));
        let only_chains = |of: &[Finding]| !of.is_empty() && of.iter().all(is_chain);
        let is_more = !self.small.is_empty() && self.small.iter().any(|(file, _)| file.starts_with(DATA_DIR));
        if is_more || sorted.damaged.values().any(|of| !only_chains(of)) {
            let is_there = |id: &SegmentId| segments.ids().binary_search(id).is_ok();
            sorted.damaged.retain(|id, of| !only_chains(of) || !is_there(id));
        }
    }

    fn look_for_older(&mut self, segments: &Segments) -> Result<()> {
        let lost = self.salvages.iter().flat_map(|salvage| &salvage.lost);
        let wanted: BTreeSet<Key> = lost.filter_map(|lost| lost.key).filter(|key| !key.is_run()).collect();
        let older = attribute::older(segments, &wanted)?;
        // Carried over with the segment that holds it, if that one's turn comes first: then it is gone.
        let damaged: BTreeSet<SegmentId> = self.salvages.iter().map(|salvage| salvage.segment).collect();
        let mut carried: Vec<(SegmentId, Location)> = Vec::new();
        for salvage in &mut self.salvages {
            for lost in salvage
                .lost
                .iter_mut()
                .filter(|lost| lost.fate == Fate::Lost && lost.kind != super::LostKind::Run)
            {
                lost.fate = Fate::Older;
                match lost.key.and_then(|key| Some((key, older.get(&key)?))) {
                    Some((_, (at, Tag::Put))) => {
                        let is_first = at.segment < salvage.segment && damaged.contains(&at.segment);
                        carried.push((if is_first { at.segment } else { salvage.segment }, *at));
                    }
                    Some((key, _)) => salvage.deleted.push((0, key)),
                    None => {}
                }
            }
        }
        for (with, at) in carried {
            if let Some(salvage) = self.salvages.iter_mut().find(|salvage| salvage.segment == with) {
                salvage.older.push(at);
            }
        }
        Ok(())
    }

    /// Tells whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_for_segments() && self.small.is_empty() && self.index.is_empty() && !self.rebuild
    }

    /// Tells whether segments are to be repaired.
    pub(super) fn is_for_segments(&self) -> bool {
        !self.salvages.is_empty() || !self.swaps.is_empty()
    }

    /// Says what would be done.
    pub(super) fn tell(self, report: &mut RepairReport) {
        report.left = self.left;
        for swap in &self.swaps {
            report.files.push(FileRepair { file: swap.to.clone(), action: swap::ACTION, evidence: None });
        }
        for (file, mend) in self.small {
            report.files.push(FileRepair { file, action: mend.action(), evidence: None });
        }
        for file in self.index {
            report.files.push(FileRepair {
                file,
                action: "the index is built anew from the log",
                evidence: None,
            });
        }
        for salvage in self.salvages {
            report.segments.push(salvage.report(CommitId(0), None));
            report.lost.extend(salvage.lost);
            report.unknown.extend(salvage.unknown);
        }
    }
}

impl Mend {
    pub(super) fn action(self) -> &'static str {
        match self {
            Mend::Config => "written anew from what the segments say",
            Mend::Dictionary(_) => "written anew from another copy",
            Mend::Stray => "set aside: it is no part of the store",
        }
    }
}

impl Salvage {
    pub(super) fn report(&self, commit: CommitId, evidence: Option<String>) -> SegmentRepair {
        SegmentRepair {
            segment: self.segment,
            present: self.present,
            bytes: self.bytes,
            kept: u64::try_from(self.keep.len()).unwrap_or(u64::MAX),
            commit,
            evidence,
        }
    }
}

/// Up to where the index has everything that is live.
fn covered(state: &State) -> Location {
    let Some(newest) = state.newest_index() else { return Location::default() };
    if newest.gaps() > 0 {
        // It was written by who knew of records that nobody can name.
        return Location::default();
    }
    let covered = newest.covered();
    let last = covered.at.segment;
    let is_sealed = newest.segments().flatten().any(|(id, len)| id == last && len.is_some());
    if is_sealed {
        // Nothing was committed in it later.
        return Location { segment: SegmentId(last.0.saturating_add(1)), offset: 0 };
    }
    Location { segment: last, offset: covered.end }
}

fn segment_of(finding: &Finding) -> Option<SegmentId> {
    finding.place.file.strip_prefix("data/").and_then(segment::parse_file_name)
}

/// Segments that may be of another history: where a COMMIT does not follow the one before it, its own and the one before.
fn suspects(findings: &[Finding], segments: &Segments) -> BTreeSet<SegmentId> {
    let is_chain = |damage: &Damage| matches!(damage, Damage::Chain { .. } | Damage::CommitLost { .. });
    let broken = findings.iter().filter(|one| one.damage.as_ref().is_some_and(is_chain));
    let with_before = broken.filter_map(segment_of).flat_map(|id| {
        let before = segments.ids().partition_point(|known| *known < id).checked_sub(1);
        before.and_then(|at| segments.ids().get(at)).copied().into_iter().chain([id])
    });
    with_before.collect()
}

/// The dictionary that a segment's records need and that nobody has.
fn lacks_dictionary(segments: &Segments, id: SegmentId) -> Result<Option<DictionaryId>> {
    let Some(segment) = segments.get(id)? else { return Ok(None) };
    let Ok(header) = segment.header() else { return Ok(None) };
    if header.dictionary == DictionaryId::NONE {
        return Ok(None);
    }
    match segments.dictionary(header.dictionary) {
        Err(error) if error.is_damage() => Ok(Some(header.dictionary)),
        Err(other) => Err(other),
        Ok(_) => Ok(None),
    }
}
