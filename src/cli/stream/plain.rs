//! Findings as people read them.

use crate::store::check::{Finding, Severity};

use super::super::text::{show, show_path};

/// The parts of a path that it has: a run's own record has no file.
pub(super) fn parts(path: Option<&[Vec<u8>; 2]>) -> Option<Vec<&[u8]>> {
    path.map(|path| path.iter().map(Vec::as_slice).filter(|part| !part.is_empty()).collect())
}

/// What is wrong, in a sentence.
pub(super) fn describe(finding: &Finding) -> String {
    match &finding.damage {
        Some(damage) if finding.detail.is_empty() => damage.to_string(),
        Some(_) | None => finding.detail.clone(),
    }
}

/// One line: what, where, what is wrong, whom it concerns.
pub(super) fn human(finding: &Finding, path: Option<Vec<&[u8]>>, detail: &str) -> String {
    let severity = if finding.severity == Severity::Damage { "damage" } else { "notice" };
    let mut text = format!("{severity}: {}", finding.place);
    if let Some(len) = finding.len {
        text = format!("{text}, {len} bytes");
    }
    text = format!("{text}: {}", show(detail.as_bytes()));
    if let Some(path) = path {
        text = format!("{text} [{}]", show_path(path));
    }
    if finding.live == Some(false) {
        text.push_str(" (superseded)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Damage, Place};

    #[test]
    fn a_finding_is_one_line_with_place_cause_and_name() {
        let damage = Damage::Checksum { what: "data", expect: 1, actual: 2 };
        let finding = Finding {
            severity: Severity::Damage,
            place: Place::at("data/0000000003.seg", 5128),
            len: Some(77),
            damage: Some(damage),
            detail: String::new(),
            key: None,
            name: None,
            run: None,
            live: None,
            kind: None,
        };
        let text = human(&finding, Some(vec![b"run", b"x\n.json"]), &describe(&finding));
        assert_eq!(
            text,
            "damage: data/0000000003.seg at 5128, 77 bytes: \
             data checksum: stored 00000001, computed 00000002 [run/x\\n.json]"
        );
    }
}
