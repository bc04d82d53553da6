//! The types whose names a key says by itself, and where each is found in no time. The list is part of format 1:
//! it must never change.
//!
//! Each lookup needs the hash of the type of its id, and whether the type is one of these. To hash a type with
//! blake3 costs more than to find a record, so the hashes of these are kept.

use std::sync::OnceLock;

/// STIX 2.1 objects, OpenCTI's own types and those of ATT&CK, sorted.
pub const WELL_KNOWN: [&str; 108] = [
    "administrative-area",
    "ai-prompt",
    "artifact",
    "attack-pattern",
    "autonomous-system",
    "bank-account",
    "campaign",
    "case-incident",
    "case-rfi",
    "case-rft",
    "channel",
    "city",
    "country",
    "course-of-action",
    "credential",
    "cryptocurrency-wallet",
    "cryptographic-key",
    "data-component",
    "data-source",
    "directory",
    "domain-name",
    "email-addr",
    "email-message",
    "event",
    "extension-definition",
    "external-reference",
    "feedback",
    "file",
    "grouping",
    "hostname",
    "iccid",
    "identity",
    "imei",
    "imsi",
    "incident",
    "indicator",
    "individual",
    "infrastructure",
    "intrusion-set",
    "ipv4-addr",
    "ipv6-addr",
    "kill-chain-phase",
    "label",
    "language",
    "language-content",
    "location",
    "mac-addr",
    "malware",
    "malware-analysis",
    "marking-definition",
    "media-content",
    "mutex",
    "narrative",
    "network-traffic",
    "note",
    "observed-data",
    "opinion",
    "organization",
    "payment-card",
    "persona",
    "phone-number",
    "pir",
    "playbook",
    "position",
    "process",
    "region",
    "relationship",
    "report",
    "sector",
    "security-coverage",
    "security-platform",
    "sighting",
    "software",
    "ssh-key",
    "system",
    "task",
    "text",
    "threat-actor",
    "threat-actor-group",
    "threat-actor-individual",
    "tool",
    "tracking-number",
    "url",
    "user-account",
    "user-agent",
    "vocabulary",
    "vulnerability",
    "windows-registry-key",
    "x-mitre-analytic",
    "x-mitre-asset",
    "x-mitre-collection",
    "x-mitre-data-component",
    "x-mitre-data-source",
    "x-mitre-detection-strategy",
    "x-mitre-matrix",
    "x-mitre-tactic",
    "x-opencti-case-incident",
    "x-opencti-case-rfi",
    "x-opencti-case-rft",
    "x-opencti-credential",
    "x-opencti-cryptocurrency-wallet",
    "x-opencti-cryptographic-key",
    "x-opencti-feedback",
    "x-opencti-hostname",
    "x-opencti-task",
    "x-opencti-text",
    "x-opencti-user-agent",
    "x509-certificate",
];

/// Slots of the table of types: enough that most types stand in the first slot looked at.
const SLOTS: usize = 512;
/// An empty slot.
const EMPTY: u8 = u8::MAX;
/// For each slot the number of a type. Made by the compiler.
static TABLE: [u8; SLOTS] = table();
/// The hash of each type, once it was asked for.
static HASHES: [OnceLock<[u8; 8]>; WELL_KNOWN.len()] = [const { OnceLock::new() }; WELL_KNOWN.len()];

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs in the compiler")]
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "108 is less than 255")]
const fn table() -> [u8; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut number = 0;
    while number < WELL_KNOWN.len() {
        let mut slot = Ends::of(WELL_KNOWN[number].as_bytes()).slot();
        while table[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = number as u8;
        number += 1;
    }
    table
}

/// A type's length and both its ends: of up to [`WHOLE`] bytes all there is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    front: u64,
    back: u64,
    len: usize,
}

/// Up to how many bytes the ends of a type are the whole of it.
const WHOLE: usize = 16;
/// The ends of each type.
static ENDS: [Ends; WELL_KNOWN.len()] = all_ends();

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs in the compiler")]
const fn all_ends() -> [Ends; WELL_KNOWN.len()] {
    let mut all = [Ends { front: 0, back: 0, len: 0 }; WELL_KNOWN.len()];
    let mut number = 0;
    while number < WELL_KNOWN.len() {
        all[number] = Ends::of(WELL_KNOWN[number].as_bytes());
        number += 1;
    }
    all
}

impl Ends {
    #[inline]
    #[expect(clippy::as_conversions, reason = "widening, in a const fn")]
    const fn of(kind: &[u8]) -> Ends {
        let (front, back) = match (kind.first_chunk::<8>(), kind.last_chunk::<8>()) {
            (Some(front), Some(back)) => (u64::from_le_bytes(*front), u64::from_le_bytes(*back)),
            _ => match (kind.first_chunk::<4>(), kind.last_chunk::<4>()) {
                (Some(front), Some(back)) => {
                    (u32::from_le_bytes(*front) as u64, u32::from_le_bytes(*back) as u64)
                }
                _ => match (kind.first_chunk::<2>(), kind.last_chunk::<2>()) {
                    (Some(front), Some(back)) => {
                        (u16::from_le_bytes(*front) as u64, u16::from_le_bytes(*back) as u64)
                    }
                    _ => match kind.first() {
                        Some(only) => (*only as u64, 0),
                        None => (0, 0),
                    },
                },
            },
        };
        Ends { front, back, len: kind.len() }
    }

    /// Mixes them to the number of a slot.
    #[inline]
    #[expect(clippy::as_conversions, reason = "in a const fn; 9 bits remain")]
    const fn slot(self) -> usize {
        let mixed =
            self.front.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.back.rotate_left(23) ^ (self.len as u64);
        (mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 55) as usize
    }
}

/// Returns the number of a type in [`WELL_KNOWN`]. O(1).
#[inline]
pub fn number(kind: &[u8]) -> Option<usize> {
    let ends = Ends::of(kind);
    let mut slot = ends.slot();
    loop {
        let number = TABLE.get(slot).copied().map(usize::from)?;
        // An empty slot has no type's number.
        let known = ENDS.get(number)?;
        if *known == ends && (kind.len() <= WHOLE || WELL_KNOWN.get(number)?.as_bytes() == kind) {
            return Some(number);
        }
        slot = slot.wrapping_add(1) % SLOTS;
    }
}

/// Returns the 8 bytes of blake3 that stand for a type in keys, and whether the type is well known.
#[inline]
pub fn hash_of(kind: &[u8]) -> ([u8; 8], bool) {
    match number(kind).and_then(|number| HASHES.get(number)) {
        Some(hash) => (*hash.get_or_init(|| blake3_of(kind)), true),
        None => (blake3_of(kind), false),
    }
}

fn blake3_of(kind: &[u8]) -> [u8; 8] {
    blake3::hash(kind).as_bytes().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_found_and_nothing_else() {
        for (expect, kind) in WELL_KNOWN.iter().enumerate() {
            assert_eq!(number(kind.as_bytes()), Some(expect));
            for other in
                [format!("{kind}s"), kind[1..].to_owned(), kind.to_uppercase(), kind.replace('a', "b")]
            {
                let expect = WELL_KNOWN.iter().position(|kind| *kind == other);
                assert_eq!(number(other.as_bytes()), expect, "{other}");
            }
        }
        assert_eq!(number(b""), None);
    }

    #[test]
    fn hashes_are_those_of_blake3() {
        for kind in WELL_KNOWN.iter().chain(&["", "x", "wizard"]) {
            let (hash, is_known) = hash_of(kind.as_bytes());
            assert_eq!(hash, blake3::hash(kind.as_bytes()).as_bytes()[..8]);
            assert_eq!(is_known, WELL_KNOWN.contains(kind));
        }
    }
}
