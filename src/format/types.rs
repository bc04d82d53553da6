//! Names that a key says by itself: those of well-known types (`id/kinds.rs`).
//!
//! A key holds the UUID of a canonical name and 8 bytes of blake3 of its type. For the types below a
//! record leaves its name out, which saves about 45 bytes a snapshot.

use std::sync::OnceLock;

use crate::id::{ObjectKey, kinds, split_canonical};

pub use crate::id::kinds::WELL_KNOWN;

/// Slots of the table: more than twice as many as there are types.
const SLOTS: usize = 256;

/// The hashes of the types, and for each slot the number of a type. A hash is as good as random, so its first byte is its slot,
/// or one of those behind it.
struct Table {
    hashes: [[u8; 8]; WELL_KNOWN.len()],
    slots: [Option<u8>; SLOTS],
}

impl Table {
    fn get() -> &'static Table {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| {
            let hashes = WELL_KNOWN.map(|kind| kinds::hash_of(kind.as_bytes()).0);
            let mut slots = [None; SLOTS];
            for (number, hash) in (0u8..).zip(hashes) {
                let (before, from) = slots.split_at_mut(usize::from(first_byte(hash)));
                if let Some(free) = from.iter_mut().chain(before).find(|slot| slot.is_none()) {
                    *free = Some(number);
                }
            }
            Table { hashes, slots }
        })
    }

    /// Returns the type of a hash. O(1).
    #[inline]
    fn find(&self, hash: [u8; 8]) -> Option<&'static str> {
        let (before, from) = self.slots.split_at(usize::from(first_byte(hash)));
        let numbers = from.iter().chain(before).map_while(|slot| slot.map(usize::from));
        let mut matching = numbers.filter(|number| self.hashes.get(*number) == Some(&hash));
        matching.next().and_then(|number| WELL_KNOWN.get(number)).copied()
    }
}

#[inline]
fn first_byte(hash: [u8; 8]) -> u8 {
    let [first, ..] = hash;
    first
}

/// Tells whether a name is canonical and of a well-known type.
pub fn is_implied(name: &[u8]) -> bool {
    split_canonical(name).is_some_and(|(kind, _)| kinds::number(kind).is_some())
}

/// Tells whether an object key says a name: whether its type is well known.
pub fn has_implied_name(key: &ObjectKey) -> bool {
    key.0.last_chunk().is_some_and(|hash| Table::get().find(*hash).is_some())
}

/// Returns the name that an object key says, if its type is well known.
pub fn implied_name(key: &ObjectKey) -> Option<Vec<u8>> {
    let (uuid, hash) = key.0.split_first_chunk::<16>()?;
    let hash: [u8; 8] = hash.try_into().ok()?;
    let kind = Table::get().find(hash)?;
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
        for kind in WELL_KNOWN {
            let (hash, _) = kinds::hash_of(kind.as_bytes());
            assert_eq!(Table::get().find(hash), Some(kind));
            for bit in 0..64 {
                let mut other = hash;
                other[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Table::get().find(other), None, "{kind}, bit {bit}");
            }
        }
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
