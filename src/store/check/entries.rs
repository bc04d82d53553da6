//! The check that reads no records: whether every entry of the index points into a segment that is there.

use std::collections::BTreeMap;

use super::claims::Claims;
use super::finding::RecordKind;
use super::options::CheckOptions;
use super::scope::{Part, Scope, len_of};
use super::{Finding, Report, SegmentReport};
use crate::error::{Damage, Error, Place, Result};
use crate::format::record::HEAD_LEN;
use crate::format::segment::file_name;
use crate::id::{Location, SegmentId};
use crate::progress::Stop;
use crate::store::state::{IndexFile, State};

/// What the index has in a segment.
#[derive(Clone, Copy, Default)]
struct Wanted {
    live: u64,
    snapshots: u64,
    /// How long the segment must be.
    len: u64,
}

/// Checks the segments of a scope against the index. Time and page cache: those of one pass over the index, and one header
/// a segment. Returns where the deadline ended it.
pub(super) fn check(
    state: &State,
    scope: &Scope,
    options: &CheckOptions<'_>,
    report: &mut Report<'_>,
    stop: &Stop,
) -> Result<Option<Location>> {
    let mut claims = Claims::new(state);
    let mut claimed: BTreeMap<SegmentId, Wanted> = BTreeMap::new();
    let counted = claims.each(&mut |claim| {
        let of = claimed.entry(claim.at.segment).or_default();
        of.live = of.live.saturating_add(u64::from(claim.kind != RecordKind::Delete));
        of.snapshots = of.snapshots.saturating_add(u64::from(claim.kind == RecordKind::Snapshot));
        of.len = of.len.max(u64::from(claim.at.offset).saturating_add(HEAD_LEN.into()));
        Ok(())
    });
    match counted {
        // Its pages were reported.
        Err(Error::Damaged { .. }) => claimed.clear(),
        counted => counted?,
    }
    if let Some(covered) = state.newest_index().map(IndexFile::covered) {
        let of = claimed.entry(covered.at.segment).or_default();
        of.len = of.len.max(covered.end.into());
    }
    let mut has_read = false;
    for (id, part) in &scope.parts {
        stop.check()?;
        let of = claimed.remove(id).unwrap_or_default();
        match part {
            Part::Read(_) if has_read && options.is_late() => {
                return Ok(Some(Location { segment: *id, offset: 0 }));
            }
            Part::Read(_) | Part::Missing | Part::Refused => {
                segment(state, (*id, *part, scope.refused.get(id)), of, &mut claims, report)?;
                has_read |= matches!(part, Part::Read(_)) && options.is_new(*id);
            }
            Part::Skip => report.sink.segment(&SegmentReport {
                segment: *id,
                bytes: len_of(state, *id)?.unwrap_or_default(),
                present: true,
                skipped: true,
                next: behind(*id),
                ..SegmentReport::default()
            })?,
            Part::Pass => {}
        }
    }
    Ok(None)
}

fn behind(id: SegmentId) -> Location {
    Location { segment: SegmentId(id.0.saturating_add(1)), offset: 0 }
}

fn segment(
    state: &State,
    (id, part, refused): (SegmentId, Part, Option<&Damage>),
    claimed: Wanted,
    claims: &mut Claims<'_>,
    report: &mut Report<'_>,
) -> Result<()> {
    let (file, next) = (file_name(id), behind(id));
    let mut told = SegmentReport { segment: id, live: claimed.live, next, ..SegmentReport::default() };
    told.sealed = state.segments.active() != Some(id);
    let mut gone_from = None;
    if let Part::Read(len) = part {
        (told.present, told.bytes) = (true, len);
        let header = state.segments.require(id)?.header().clone();
        // A header that a crash has torn is nobody's loss where nothing was committed.
        if let Err(damage) = header.as_ref()
            && claimed.len > 0
        {
            let damage = damage.clone();
            report.damage(Place::at(&file, 0), damage)?;
            told.bad = 1;
        }
        if len < claimed.len {
            report.damage(Place::at(&file, len), Damage::Truncated { expect: claimed.len, actual: len })?;
            told.bad = told.bad.saturating_add(1);
            gone_from = Some(u32::try_from(len).unwrap_or(u32::MAX));
        }
    } else {
        match refused {
            Some(refused) => {
                (told.present, told.unreadable) = (true, true);
                report.refusal(Place::whole(&file), refused)?;
            }
            None => report.damage(Place::whole(&file), Damage::Missing)?,
        }
        (told.bad, gone_from) = (1, Some(0));
    }
    let mut gone = 0u64;
    if let Some(offset) = gone_from {
        let (mut from, until) =
            (Location { segment: id, offset }, Location { segment: id, offset: u32::MAX });
        while let Some(claim) = claims.next(from, until)? {
            gone = gone.saturating_add(u64::from(claim.kind == RecordKind::Snapshot));
            report.add(&Finding::gone(&claim, Damage::Gone))?;
            from = Location { offset: claim.at.offset.saturating_add(1), ..claim.at };
        }
    }
    let summary = &mut report.summary;
    summary.ok = summary.ok.saturating_add(claimed.snapshots.saturating_sub(gone));
    summary.segments = summary.segments.saturating_add(u64::from(told.present));
    told.ok = claimed.snapshots.saturating_sub(gone);
    report.sink.segment(&told)
}
