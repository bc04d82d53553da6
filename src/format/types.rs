//! The types whose names a key says by itself. The list is part of format 1: it must never change.
//!
//! A key holds the UUID of a canonical name and 8 bytes of blake3 of its type. For the types below a
//! record leaves its name out, which saves about 45 bytes a snapshot.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::id::{ObjectKey, split_canonical};

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

fn by_hash() -> &'static HashMap<[u8; 8], &'static str> {
    static TABLE: OnceLock<HashMap<[u8; 8], &'static str>> = OnceLock::new();
    TABLE.get_or_init(|| WELL_KNOWN.iter().map(|kind| (hash_of(kind.as_bytes()), *kind)).collect())
}

fn hash_of(kind: &[u8]) -> [u8; 8] {
    let mut out = [0u8; 8];
    for (to, from) in out.iter_mut().zip(blake3::hash(kind).as_bytes()) {
        *to = *from;
    }
    out
}

/// Tells whether a name is canonical and of a well-known type.
pub fn is_implied(name: &[u8]) -> bool {
    split_canonical(name).is_some_and(|(kind, _)| is_well_known(kind))
}

fn is_well_known(kind: &[u8]) -> bool {
    WELL_KNOWN.iter().any(|known| known.as_bytes() == kind)
}

/// Tells whether an object key says a name: whether its type is well known.
pub fn has_implied_name(key: &ObjectKey) -> bool {
    key.0.last_chunk::<8>().is_some_and(|hash| by_hash().contains_key(hash))
}

/// Returns the name that an object key says, if its type is well known.
pub fn implied_name(key: &ObjectKey) -> Option<Vec<u8>> {
    let (uuid, hash) = key.0.split_first_chunk::<16>()?;
    let hash: [u8; 8] = hash.try_into().ok()?;
    let kind = by_hash().get(&hash)?;
    let mut name = Vec::with_capacity(kind.len().saturating_add(38));
    name.extend_from_slice(kind.as_bytes());
    name.extend_from_slice(b"--");
    name.extend_from_slice(uuid::Uuid::from_bytes(*uuid).hyphenated().encode_lower(&mut [0; 36]).as_bytes());
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_types_are_distinct_and_so_are_their_hashes() {
        assert_eq!(by_hash().len(), WELL_KNOWN.len());
    }

    #[test]
    fn implied_names_come_back() {
        let name = b"intrusion-set--00112233-4455-6677-8899-aabbccddeeff";
        assert!(is_implied(name));
        assert_eq!(implied_name(&ObjectKey::of(name)).unwrap(), name);
        assert!(!is_implied(b"wizard--00112233-4455-6677-8899-aabbccddeeff"));
        assert_eq!(implied_name(&ObjectKey::of(b"wizard--00112233-4455-6677-8899-aabbccddeeff")), None);
    }
}
