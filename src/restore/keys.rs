//! Ids and their keys, and maps of keys.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::rc::Rc;

use crate::id::ObjectKey;

/// An id, shared, with its key. Where ids are only told apart the key stands for them, as in the store, which holds no two names
/// of one key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Id {
    pub(super) bytes: Rc<[u8]>,
    pub(super) key: ObjectKey,
}

/// Its key is enough: what has the same one is compared by its bytes.
impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Id {
    pub(super) fn of(bytes: &[u8]) -> Id {
        Id { bytes: bytes.into(), key: ObjectKey::of(bytes) }
    }
}

/// A map of keys.
pub(super) type KeyMap<K, V> = HashMap<K, V, Keyed>;
/// A set of keys.
pub(super) type KeySet<K> = HashSet<K, Keyed>;

/// Hashes with XXH3 and a seed of this process: whoever makes up ids does not know which of them share a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed(u64);

impl Default for Keyed {
    fn default() -> Keyed {
        Keyed(RandomState::new().hash_one(()))
    }
}

impl BuildHasher for Keyed {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(self.0)
    }
}

/// What was hashed so far is the seed of what comes.
#[derive(Debug)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    /// The length of a key, which all keys share.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
