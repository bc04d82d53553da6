//! Holds one damaged image against the three things that damage must never do: panic, lie, or go unnoticed.

use std::sync::Arc;

use stix_store::progress::Stop;
use stix_store::store::check::{CheckOptions, CheckSink, Finding, SegmentReport, Severity, check};
use stix_store::vfs::ReadVfs;
use stix_store::vfs::mem::Mem;
use stix_store::{Result, Store};

use super::exempt::{self, Expect};
use super::images::Image;
use super::lookups::Asked;
use super::writing;

/// What a driver has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) images: usize,
    /// Answers that were right.
    pub(crate) right: usize,
    /// Answers that named the damage.
    pub(crate) damaged: usize,
    /// Answers that were absent or older, where the view says that somebody's records are lost.
    pub(crate) announced: usize,
    /// Images that were written to.
    pub(crate) written: usize,
    /// Of these, those that refused with an error that has a name.
    pub(crate) refused: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.images += other.images;
        self.right += other.right;
        self.damaged += other.damaged;
        self.announced += other.announced;
        self.written += other.written;
        self.refused += other.refused;
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl CheckSink for Findings {
    fn finding(&mut self, finding: &Finding) -> Result<()> {
        self.0.push(finding.clone());
        Ok(())
    }

    fn segment(&mut self, _: &SegmentReport) -> Result<()> {
        Ok(())
    }
}

/// Checks a store and returns what was found.
pub(crate) fn findings(mem: &Mem) -> std::result::Result<Vec<Finding>, String> {
    let read: Arc<dyn ReadVfs> = Arc::new(mem.clone());
    let mut found = Findings::default();
    let summary = check(&read, &CheckOptions::default(), &mut found, &Stop::default());
    let summary = summary.map_err(|error| format!("check failed: {error}"))?;
    let damage = found.0.iter().filter(|finding| finding.severity == Severity::Damage).count();
    if u64::try_from(damage) != Ok(summary.damage) {
        return Err(format!("check counts {} and tells {damage}", summary.damage));
    }
    Ok(found.0)
}

/// Judges an image.
pub(crate) fn judge(image: &Image<'_>, tally: &mut Tally) -> std::result::Result<(), String> {
    let read: Arc<dyn ReadVfs> = Arc::new(image.mem.clone());
    let store = Store::open_read_only_on(read).map_err(|error| format!("does not open: {error}"))?;
    let asked = Asked::all(image, &store.view())?;
    let has_gaps = store.view().gaps() > 0;
    let found = findings(&image.mem)?;
    let noticed = found_as_expected(image, &found)?;
    let mut seen = asked.tally;
    for excused in &asked.excused {
        match &excused.blamed {
            Some(file) if image.touched.iter().any(|(touched, _)| touched == file) => {}
            Some(file) => return Err(format!("{} blames {file}", excused.what)),
            None if excused.at_lost_end => {}
            None if noticed && has_gaps => seen.announced += 1,
            None => return Err(format!("{} is silently absent or older", excused.what)),
        }
    }
    if image.write {
        writing::judge(image, &found, &mut seen)?;
    }
    tally.add(&seen);
    Ok(())
}

/// Tells whether a notice is about a file: it says "segment 3", or the file's name.
fn names(notice: &str, file: &str) -> bool {
    let number = file.trim_start_matches("data/").trim_end_matches(".seg");
    notice.contains(file) || notice.contains(number)
}

/// Holds the findings against what the image calls for. Returns whether there was damage.
fn found_as_expected(image: &Image<'_>, found: &[Finding]) -> std::result::Result<bool, String> {
    let damage: Vec<&Finding> = found.iter().filter(|one| one.severity == Severity::Damage).collect();
    let shown = || found.iter().map(|one| format!("\n    {:?} {}: {}", one.severity, one.place, one.detail));
    let all = || shown().collect::<String>();
    let expectations = exempt::expectations(image);
    for (file, expect) in &expectations {
        let mentions = |one: &Finding| names(&one.place.file, file) || file.starts_with(&one.place.file);
        let holds = match expect {
            Expect::Damage => damage.iter().any(|one| exempt::is_near(image, file, one)),
            Expect::Mention => found.iter().any(mentions),
            Expect::Either | Expect::Nothing => true,
        };
        if !holds {
            return Err(format!("check does not name the place in {file} ({expect:?}):{}", all()));
        }
    }
    let is_harmless = |(_, expect): &(&str, Expect)| *expect == Expect::Nothing;
    if expectations.iter().all(is_harmless) && !damage.is_empty() {
        return Err(format!("check cries over harmless bytes:{}", all()));
    }
    Ok(!damage.is_empty())
}
