//! What a check counts of records.

/// Counts of some records.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::store::check) struct Counts {
    pub(in crate::store::check) records: u64,
    /// Newest ones of their keys that are PUTs.
    pub(in crate::store::check) live: u64,
    /// Live snapshots found good.
    pub(in crate::store::check) ok: u64,
    /// Damaged records.
    pub(in crate::store::check) bad: u64,
    /// Entries of the index that they back.
    pub(in crate::store::check) entries: u64,
    /// The same of the records of runs.
    pub(in crate::store::check) runs: u64,
    /// Bytes of the newest records of their keys, deletions included.
    pub(in crate::store::check) newest_bytes: u64,
    /// Records of which a damaged index did not say whether they are the newest.
    pub(in crate::store::check) unknown: u64,
}

impl Counts {
    /// Adds those of more records.
    pub(in crate::store::check) fn add(&mut self, more: &Counts) {
        let Counts { records, live, ok, bad, entries, runs, newest_bytes, unknown } = *more;
        for (count, more) in [
            (&mut self.records, records),
            (&mut self.live, live),
            (&mut self.ok, ok),
            (&mut self.bad, bad),
            (&mut self.entries, entries),
            (&mut self.runs, runs),
            (&mut self.newest_bytes, newest_bytes),
            (&mut self.unknown, unknown),
        ] {
            *count = count.saturating_add(more);
        }
    }
}
