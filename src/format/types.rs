//! Names that a key says by itself: those of well-known types (`id/kinds.rs`).
//!
//! A key holds the UUID of a canonical name and 8 bytes of blake3 of its type. For the types below a
//! record leaves its name out, which saves about 45 bytes a snapshot.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::id::{ObjectKey, kinds, split_canonical};

pub use crate::id::kinds::WELL_KNOWN;

fn by_hash() -> &'static HashMap<[u8; 8], &'static str> {
    static TABLE: OnceLock<HashMap<[u8; 8], &'static str>> = OnceLock::new();
    TABLE.get_or_init(|| WELL_KNOWN.iter().map(|kind| (kinds::hash_of(kind.as_bytes()).0, *kind)).collect())
}

/// Tells whether a name is canonical and of a well-known type.
pub fn is_implied(name: &[u8]) -> bool {
    split_canonical(name).is_some_and(|(kind, _)| kinds::number(kind).is_some())
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
