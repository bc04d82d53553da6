//! The counts of a scan, kept where its units are written: so an interrupted one has them too.

use crate::store::check::{SegmentReport, Severity};

use super::units::{Done, Stats};

/// Upper ends of the classes of the histogram: half decades, as Tahoe-LAFS has them.
const CLASSES: [u64; 20] = [
    0,
    3,
    10,
    31,
    100,
    316,
    1_000,
    3_162,
    10_000,
    31_622,
    100_000,
    316_227,
    1_000_000,
    3_162_277,
    10_000_000,
    31_622_776,
    100_000_000,
    316_227_766,
    1_000_000_000,
    4_294_967_295,
];

/// Counts of what this run told.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) segments: u64,
    pub(super) skipped: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Good live snapshots.
    pub(super) ok: u64,
    /// Damaged live snapshots.
    pub(super) bad_live: u64,
    pub(super) damage: u64,
    /// Damage in the log, the segment being read included.
    bad_in_log: u64,
    /// The same, that segment left out: who goes on finds it again.
    bad_done: u64,
    pub(super) notices: u64,
    /// Objects told of.
    pub(super) objects: u64,
    sizes: [u64; CLASSES.len()],
}

fn add(count: &mut u64, number: u64) {
    *count = count.saturating_add(number);
}

impl Tally {
    pub(super) fn finding(&mut self, severity: Severity, in_log: bool, is_live: bool) {
        match severity {
            Severity::Notice => return add(&mut self.notices, 1),
            Severity::Damage => add(&mut self.damage, 1),
        }
        add(&mut self.bad_in_log, u64::from(in_log));
        add(&mut self.bad_live, u64::from(is_live));
    }

    pub(super) fn segment(&mut self, report: &SegmentReport) {
        self.bad_done = self.bad_in_log;
        if report.skipped {
            return add(&mut self.skipped, 1);
        }
        add(&mut self.segments, u64::from(report.present));
        add(&mut self.records, report.records);
        add(&mut self.bytes, report.bytes);
        add(&mut self.ok, report.ok);
    }

    pub(super) fn object(&mut self, len: u32) {
        add(&mut self.objects, 1);
        let class = CLASSES.partition_point(|max| *max < u64::from(len));
        if let Some(count) = self.sizes.get_mut(class) {
            add(count, 1);
        }
    }

    /// What was done by now, with what was done before this run.
    pub(super) fn done(&self, before: Done) -> Done {
        let segments = self.segments.saturating_add(self.skipped);
        Done {
            segments: before.segments.saturating_add(segments),
            bytes: before.bytes.saturating_add(self.bytes),
            bad: before.bad.saturating_add(self.bad_done),
        }
    }

    /// The histogram, up to the largest class that has something.
    pub(super) fn stats(&self) -> Stats {
        let used = self.sizes.iter().rposition(|count| *count > 0).map_or(0, |last| last.saturating_add(1));
        let mut from = 0;
        let mut size_hist = Vec::new();
        for (max, count) in CLASSES.into_iter().zip(self.sizes).take(used) {
            size_hist.push((from, max, count));
            from = max.saturating_add(1);
        }
        Stats { size_hist }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fall_into_half_decades() {
        let mut tally = Tally::default();
        for len in [0, 1, 3, 4, 1_000, 1_001] {
            tally.object(len);
        }
        let classes = tally.stats().size_hist;
        assert_eq!(classes[..3], [(0, 0, 1), (1, 3, 2), (4, 10, 1)]);
        assert_eq!(classes[6..], [(317, 1_000, 1), (1_001, 3_162, 1)]);
        tally.object(u32::MAX);
        assert_eq!(tally.stats().size_hist.iter().map(|(.., count)| count).sum::<u64>(), 7);
        assert!(Tally::default().stats().size_hist.is_empty());
    }
}
