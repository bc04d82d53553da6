//! What is known of a damaged segment besides its bytes: from the index, and from the check.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::pointers::Pointer;
use crate::error::Damage;
use crate::format::record::{Head, Tag};
use crate::store::check::Finding;

/// Places of a segment that records cover.
#[derive(Default)]
pub(super) struct Seen {
    /// Where the records start that are what the index takes them for.
    pub(super) records: HashSet<u32>,
    /// What the index names and another record covers.
    pub(super) displaced: HashSet<u32>,
}

/// What is known of a segment besides its bytes.
pub(super) struct Known<'k> {
    pub(super) pointers: &'k BTreeMap<u32, Pointer>,
    /// Where the check says that acknowledged bytes are no record.
    pub(super) gaps: BTreeSet<u32>,
    /// Where it says that a COMMIT does not follow the one before it.
    pub(super) chains: HashSet<u32>,
}

impl Known<'_> {
    pub(super) fn of<'k>(pointers: &'k BTreeMap<u32, Pointer>, findings: &[Finding]) -> Known<'k> {
        let places = |wanted: &dyn Fn(&&Finding) -> bool| -> HashSet<u32> {
            let offsets = findings.iter().filter(wanted).filter_map(|one| one.place.offset);
            offsets.filter_map(|at| u32::try_from(at).ok()).collect()
        };
        let is_chain = |finding: &&Finding| matches!(finding.damage, Some(Damage::Chain { .. }));
        Known {
            pointers,
            gaps: places(&|finding| is_gap(finding)).into_iter().collect(),
            chains: places(&is_chain),
        }
    }

    /// Tells whether there are acknowledged bytes in a gap that nobody knows the records of.
    pub(super) fn is_open(&self, offset: u32, len: u32) -> bool {
        // Behind a record whose head could be put right the check names a gap of its own.
        let behind = offset.saturating_add(1)..offset.saturating_add(len);
        self.count_in(offset, len) == 0 || self.gaps.range(behind).next().is_some()
    }

    /// Counts the records that the index, or a head put right, names in a range.
    pub(super) fn count_in(&self, offset: u32, len: u32) -> u64 {
        let range = self.pointers.range(offset..offset.saturating_add(len));
        u64::try_from(range.count()).unwrap_or(u64::MAX)
    }

    /// Notes what of the index lies in the place of a record.
    pub(super) fn cover(&self, offset: u32, head: &Head, hash_seed: u64, seen: &mut Seen) {
        let (key, is_keyed) = (head.key(), matches!(head.tag, Tag::Put | Tag::Delete));
        for (at, pointer) in self.pointers.range(offset..offset.saturating_add(head.size)) {
            let is_this = *at == offset && is_keyed && pointer.is_of(&key, hash_seed);
            if is_this { &mut seen.records } else { &mut seen.displaced }.insert(*at);
        }
    }
}

fn is_gap(finding: &Finding) -> bool {
    finding.key.is_none()
        && !matches!(
            finding.damage,
            None | Some(
                Damage::CommitLost { .. }
                    | Damage::CommitGone { .. }
                    | Damage::Chain { .. }
                    | Damage::Transaction { .. }
                    | Damage::Index { .. }
            )
        )
}
