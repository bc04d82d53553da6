//! When to commit.

use crate::limits::{GROUP_MAX_BYTES, GROUP_MAX_RECORDS};

/// The open transaction, by size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Group {
    bytes: u64,
    records: u64,
}

impl Group {
    /// Counts a record and the source bytes in it.
    pub(super) fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.records = self.records.saturating_add(1);
    }

    /// Tells whether to commit, given how many reports wait for it.
    pub(super) fn is_full(self, reports: usize) -> bool {
        let reports = u64::try_from(reports).unwrap_or(u64::MAX);
        self.bytes >= GROUP_MAX_BYTES || self.records.max(reports) >= GROUP_MAX_RECORDS
    }

    /// Tells whether to commit before a file of that size: one larger than a group gets its own
    /// transaction, for beside others it might be too large for any.
    pub(super) fn ends_before(self, bytes: u64) -> bool {
        self.records > 0 && bytes > GROUP_MAX_BYTES
    }

    /// Tells whether there is nothing to commit.
    pub(super) fn is_empty(self) -> bool {
        self.records == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_end_by_bytes_and_by_records() {
        let mut group = Group::default();
        assert!(group.is_empty() && !group.is_full(0) && !group.ends_before(u64::MAX));
        group.add(GROUP_MAX_BYTES - 1);
        assert!(
            !group.is_full(0)
                && !group.ends_before(GROUP_MAX_BYTES)
                && group.ends_before(GROUP_MAX_BYTES + 1)
        );
        group.add(1);
        assert!(group.is_full(0));
        let mut group = Group::default();
        (1..GROUP_MAX_RECORDS).for_each(|_| group.add(0));
        assert!(!group.is_full(0));
        assert!(group.is_full(usize::try_from(GROUP_MAX_RECORDS).unwrap()), "reports wait in memory");
        group.add(0);
        assert!(group.is_full(0));
    }
}
