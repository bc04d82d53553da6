//! What a finding is called in machine output. The names are a contract.

use crate::error::{Damage, Place};
use crate::store::check::{Finding, Severity};

use super::super::context::segment_of;

/// The states that a finding may have.
pub(super) const STATES: [&str; 8] =
    ["corrupt", "missing", "truncated", "unreadable", "index_mismatch", "orphan", "uncommitted", "unknown"];

/// State, code and remedy of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Verdict {
    /// What is the matter, in one of a few words.
    pub(crate) state: &'static str,
    /// What exactly.
    pub(crate) code: &'static str,
    /// What a repair would do about it.
    pub(crate) fix: Option<&'static str>,
}

impl Verdict {
    /// Judges a finding.
    pub(crate) fn of(finding: &Finding) -> Verdict {
        let (state, code) = match (&finding.damage, finding.severity) {
            // An index is a cache of the log: whatever is wrong with its bytes, it does not say what the log says.
            (Some(damage), _) if is_index(&finding.place) => ("index_mismatch", of_damage(damage).1),
            (Some(damage), _) => of_damage(damage),
            // Damage that no bytes show is bytes that cannot be read.
            (None, Severity::Damage) => ("unreadable", "unreadable"),
            (None, Severity::Notice) => (of_notice(&finding.place), "notice"),
        };
        let fix = if finding.severity == Severity::Damage { remedy(finding, state) } else { None };
        Verdict { state, code, fix }
    }
}

fn of_damage(damage: &Damage) -> (&'static str, &'static str) {
    match damage {
        Damage::Magic => ("corrupt", "magic"),
        Damage::Checksum { .. } => ("corrupt", "crc_mismatch"),
        Damage::Field { .. } => ("corrupt", "field"),
        Damage::Truncated { .. } => ("truncated", "truncated"),
        Damage::Missing => ("missing", "missing"),
        Damage::Gone => ("missing", "gone"),
        Damage::Unreadable { .. } => ("unreadable", "unreadable"),
        Damage::Foreign { .. } => ("corrupt", "foreign"),
        Damage::Misplaced { .. } => ("corrupt", "misplaced"),
        Damage::Transaction { .. } => ("corrupt", "transaction"),
        Damage::Chain { .. } => ("corrupt", "chain"),
        Damage::CommitLost { .. } => ("missing", "commit_lost"),
        Damage::CommitGone { .. } => ("missing", "commit_gone"),
        Damage::Content { .. } => ("corrupt", "content"),
        Damage::Index { .. } => ("index_mismatch", "index"),
        Damage::WrongRecord => ("index_mismatch", "wrong_record"),
        Damage::Dictionary { .. } => ("corrupt", "dictionary"),
    }
}

/// Of bytes in a segment: they were never committed. Of a whole segment: nothing needs it any more.
fn of_notice(place: &Place) -> &'static str {
    match (segment_of(&place.file), place.offset) {
        (Some(_), Some(_)) => "uncommitted",
        (Some(_), None) => "orphan",
        (None, _) => "unknown",
    }
}

fn is_index(place: &Place) -> bool {
    place.file.starts_with("index.")
}

fn remedy(finding: &Finding, state: &str) -> Option<&'static str> {
    let in_log = segment_of(&finding.place.file).is_some();
    match state {
        "unreadable" => None,
        "index_mismatch" => Some("index"),
        // Nothing is lost with it: the segment goes to the quarantine, what is intact in it is kept.
        _ if in_log && finding.live == Some(false) => Some("quarantine"),
        _ if in_log => Some("source"),
        // Config, dictionaries and hints stand, or follow from what stands, in the segments too.
        _ => Some("duplicate"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, damage: Option<Damage>, place: Place) -> Finding {
        let (len, detail, key, name, live) = (None, String::new(), None, None, None);
        Finding { severity, place, len, damage, detail, key, name, run: None, live, kind: None }
    }

    #[test]
    fn findings_have_the_states_of_the_schema() {
        let record = || Place::at("data/0000000003.seg", 5128);
        let (damage, notice) = (Severity::Damage, Severity::Notice);
        for (severity, kind, place, state, fix) in [
            (damage, Some(Damage::Missing), record(), "missing", Some("source")),
            (damage, Some(Damage::WrongRecord), record(), "index_mismatch", Some("index")),
            (damage, Some(Damage::Truncated { expect: 2, actual: 1 }), record(), "truncated", Some("source")),
            (damage, Some(Damage::Magic), record(), "corrupt", Some("source")),
            (damage, Some(Damage::Magic), Place::whole("config"), "corrupt", Some("duplicate")),
            (damage, Some(Damage::Magic), Place::whole("index.3"), "index_mismatch", Some("index")),
            (damage, None, record(), "unreadable", None),
            (notice, None, record(), "uncommitted", None),
            (notice, None, Place::whole("data/0000000003.seg"), "orphan", None),
            (notice, None, Place::whole("data/notes.txt"), "unknown", None),
        ] {
            let verdict = Verdict::of(&finding(severity, kind.clone(), place));
            assert_eq!((verdict.state, verdict.fix), (state, fix), "{kind:?}");
        }
        let mut stale = finding(damage, Some(Damage::Magic), record());
        stale.live = Some(false);
        assert_eq!(Verdict::of(&stale).fix, Some("quarantine"));
    }
}
