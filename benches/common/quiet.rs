//! A check that is to find nothing.

use stix_store::store::check::{CheckSink, Finding, SegmentReport};

/// Ends the benchmark with the first finding.
pub(crate) struct Quiet;

impl CheckSink for Quiet {
    fn finding(&mut self, finding: &Finding) -> stix_store::Result<()> {
        panic!("{}", finding.detail)
    }

    fn segment(&mut self, _: &SegmentReport) -> stix_store::Result<()> {
        Ok(())
    }
}
