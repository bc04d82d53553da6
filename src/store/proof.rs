//! What proves that the log had a commit which it does not have any more.
//!
//! An index file and hints are published when the commit that they cover is durable. So one of them that is intact, and of a
//! later commit than the last one of the log, proves a loss, whatever else has become of it: an index of which only the first
//! page is left, and hints beside which there is no index, do so as well as a whole one.

use std::cmp::Reverse;

use super::open::parse_index_name;
use crate::error::{Damage, Place};
use crate::format::hints;
use crate::format::index::{Covered, FileKind, Header, PAGE_BYTES};
use crate::format::segment::{CommitLink, file_name};
use crate::id::{CommitId, Location, SegmentId, StoreId};
use crate::vfs::ReadVfs;

/// A commit that was acknowledged and is not in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proof {
    /// Its COMMIT. None of the numbers up to its own is given again: whoever has noted one meant another state.
    pub(crate) link: CommitLink,
    /// Where that ended in its segment.
    end: u64,
    /// The number that the next segment had then, at least.
    pub(crate) next_segment: SegmentId,
    /// The place and the checksum are known, and not only the number.
    is_exact: bool,
}

impl Proof {
    /// Looks among files of the store's directory, in a listing from before the log is read, for one that is of a later commit
    /// than `known`. What cannot be read proves nothing. Cost: none where no name says so.
    pub(crate) fn find<'n>(
        vfs: &dyn ReadVfs,
        store: StoreId,
        names: impl Iterator<Item = &'n str>,
        known: CommitId,
    ) -> Option<Proof> {
        let mut later: Vec<(CommitId, &str)> = names
            .filter_map(|name| Some((commit_of(name)?, name)))
            .filter(|(of, _)| is_later(*of, known))
            .collect();
        // Of one commit the index knows more than the hints.
        later.sort_unstable_by_key(|(of, name)| (Reverse(*of), !name.starts_with("index."), *name));
        later.into_iter().find_map(|(of, name)| match parse_index_name(name) {
            Some((_, kind)) => by_index(vfs, store, name, of, kind),
            None => by_hints(vfs, store, name, of),
        })
    }

    /// Returns it if the log, whose last COMMIT is this one, does not have that commit: it ends before, or with another of the same
    /// number.
    pub(crate) fn held_against(self, last: &CommitLink) -> Option<Proof> {
        let is_other = last.id == self.link.id && self.is_exact && *last != self.link;
        (last.id < self.link.id || is_other).then_some(self)
    }

    /// Where the commit stood.
    pub(crate) fn place(&self) -> Place {
        Place::at(file_name(self.link.at.segment), self.end)
    }

    /// What is wrong.
    pub(crate) fn damage(&self) -> Damage {
        Damage::CommitGone { commit: self.link.id }
    }
}

/// Numbers that no store has come to prove nothing: they would use up those that are left.
fn is_later(of: CommitId, known: CommitId) -> bool {
    of > known && u32::try_from(of.0.saturating_sub(known.0)).is_ok()
}

fn commit_of(name: &str) -> Option<CommitId> {
    let index = parse_index_name(name).map(|(commit, _)| commit);
    index.or_else(|| {
        let commit = CommitId(name.strip_prefix("hints.")?.parse().ok()?);
        (hints::file_name(commit) == name).then_some(commit)
    })
}

fn by_index(vfs: &dyn ReadVfs, store: StoreId, name: &str, of: CommitId, kind: FileKind) -> Option<Proof> {
    let mut page = [0u8; PAGE_BYTES];
    let got = vfs.open(name).ok().flatten()?.read_at(&mut page, 0).ok()?;
    let header = Header::decode(&page, name).ok().filter(|_| got == PAGE_BYTES)?;
    let Covered { commit, at, data_crc, end, next_segment } = header.covered;
    let is_own = header.store == store && header.kind == kind && commit == of;
    let link = CommitLink { id: of, at, data_crc };
    is_own.then_some(Proof { link, end: end.into(), next_segment, is_exact: true })
}

/// Hints know how long each segment was, so the last COMMIT ended there.
fn by_hints(vfs: &dyn ReadVfs, store: StoreId, name: &str, of: CommitId) -> Option<Proof> {
    let bytes = vfs.read(name, hints::HINTS_MAX_BYTES).ok().flatten()?;
    let hints = hints::decode(&bytes, store, of).ok()?;
    let (last, known) = hints.segments.iter().rfind(|(id, _)| !hints.dead.contains(id))?;
    let next_segment = SegmentId(last.saturating_add(1));
    let at = Location { segment: SegmentId(*last), offset: u32::try_from(known.len).ok()? };
    let link = CommitLink { id: of, at, data_crc: 0 };
    Some(Proof { link, end: known.len, next_segment, is_exact: false })
}
