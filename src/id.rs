//! Floor 0: the numbers and keys that cross module borders, each a type of its own.

use std::fmt;

mod hex;
pub mod kinds;

/// The 24 bytes under which an object's snapshots are found (FORMAT.md, "Keys").
///
/// A canonical `type--uuid` name gives the 16 UUID bytes and 8 bytes of blake3 of the type; any other
/// name gives 24 bytes of blake3 of the name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectKey(pub [u8; 24]);

impl ObjectKey {
    /// The key that names no object: run records live under it.
    pub const RUN: ObjectKey = ObjectKey([0; 24]);

    /// Returns the key of a name: an object id, or the stem of a backup file.
    pub fn of(name: &[u8]) -> ObjectKey {
        Name::of(name).key
    }
}

/// A name, and what follows from it. Made once for each lookup.
#[derive(Clone, Copy, Debug)]
pub struct Name<'n> {
    /// Its bytes.
    pub bytes: &'n [u8],
    /// Its key.
    pub key: ObjectKey,
    /// The key says the name: it is canonical and of a well-known type.
    pub is_implied: bool,
}

impl<'n> Name<'n> {
    /// Works out what follows from a name. Some ten nanoseconds for a canonical name of a well-known type.
    #[inline]
    pub fn of(bytes: &'n [u8]) -> Name<'n> {
        let mut key = [0u8; 24];
        let mut is_implied = false;
        if let Some((kind, uuid)) = split_canonical(bytes) {
            let (hash, is_known) = kinds::hash_of(kind);
            let (head, tail) = key.split_at_mut(16);
            head.copy_from_slice(uuid.as_bytes());
            tail.copy_from_slice(&hash);
            is_implied = is_known;
        } else {
            for (to, from) in key.iter_mut().zip(blake3::hash(bytes).as_bytes()) {
                *to = *from;
            }
        }
        Name { bytes, key: ObjectKey(key), is_implied }
    }
}

/// Splits a canonical name into its type and its UUID: lower-case, hyphenated, with a type before `--`.
#[inline]
pub fn split_canonical(name: &[u8]) -> Option<(&[u8], uuid::Uuid)> {
    let (kind, text) = name.split_last_chunk::<36>()?;
    let kind = kind.strip_suffix(b"--").filter(|kind| !kind.is_empty())?;
    hex::uuid(text).map(|uuid| (kind, uuid::Uuid::from_bytes(uuid)))
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// An instant in whole seconds since 0001-01-01T00:00:00Z, as run directories name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The largest instant: 9999-12-31T23:59:59Z.
    pub const MAX: Instant = Instant(315_537_897_599);

    /// Returns the canonical directory name, `%Y%m%dT%H%M%SZ`.
    pub fn canonical_name(self) -> String {
        // Counted from 1970: jiff adds no more days than lie between 1970 and its last year.
        let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
        let seconds = i64::try_from(self.0.min(Instant::MAX.0)).unwrap_or(0).saturating_sub(62_135_596_800);
        let at = epoch.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(epoch);
        format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        )
    }
}

/// A run directory: its instant (upper 48 bits) and a discriminator (lower 16 bits) for a further
/// directory name of the same instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RunKey(pub u64);

impl RunKey {
    /// The largest run key.
    pub const MAX: RunKey = RunKey(u64::MAX);

    /// Returns the key of the `discriminator`-th directory name of an instant.
    pub const fn new(instant: Instant, discriminator: u16) -> RunKey {
        #[expect(clippy::as_conversions, reason = "widening, in a const fn")]
        RunKey((instant.0 << 16) | discriminator as u64)
    }

    /// Returns the instant of the run.
    pub const fn instant(self) -> Instant {
        Instant(self.0 >> 16)
    }

    /// Returns the discriminator among directory names of one instant.
    pub const fn discriminator(self) -> u16 {
        #[expect(clippy::as_conversions, reason = "the mask leaves 16 bits")]
        {
            (self.0 & 0xffff) as u16
        }
    }

    /// Returns the largest key an instant can have.
    pub const fn last_of(instant: Instant) -> RunKey {
        RunKey::new(instant, u16::MAX)
    }

    /// Returns the next key, or `None` after the largest.
    pub fn next(self) -> Option<RunKey> {
        self.0.checked_add(1).map(RunKey)
    }

    /// Returns the key before, or `None` for zero.
    pub fn previous(self) -> Option<RunKey> {
        self.0.checked_sub(1).map(RunKey)
    }
}

/// The full 32-byte key of a record: object key, then run, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// Which object.
    pub object: ObjectKey,
    /// In which run.
    pub run: RunKey,
}

impl Key {
    /// Joins an object key and a run.
    pub const fn new(object: ObjectKey, run: RunKey) -> Key {
        Key { object, run }
    }

    /// Returns the key of a run's own record.
    pub const fn of_run(run: RunKey) -> Key {
        Key { object: ObjectKey::RUN, run }
    }

    /// Tells whether this is the key of a run's own record.
    pub fn is_run(&self) -> bool {
        self.object == ObjectKey::RUN
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.object.0)?;
        write!(f, "{:016x}", self.run.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The number of a segment file. Numbers only grow and are never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SegmentId(pub u32);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// The number of a committed transaction, from 1. 0 stands for the empty store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CommitId(pub u64);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a record lies: segment and byte offset. Ordered as the log is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Location {
    /// The segment.
    pub segment: SegmentId,
    /// Bytes from the start of the segment file.
    pub offset: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} at {}", self.segment, self.offset)
    }
}

/// The identity of a store: 16 random bytes, written as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl StoreId {
    /// Reads 32 hex digits.
    pub fn parse(text: &str) -> Option<StoreId> {
        if text.len() != 32 {
            return None;
        }
        uuid::Uuid::try_parse(text).ok().map(|id| StoreId(id.into_bytes()))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// The identity of a dictionary: the first 16 bytes of blake3 of its content. All zeros: none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DictionaryId(pub [u8; 16]);

impl DictionaryId {
    /// Stands for "no dictionary".
    pub const NONE: DictionaryId = DictionaryId([0; 16]);

    /// Returns the identity of a dictionary's content.
    pub fn of(content: &[u8]) -> DictionaryId {
        let mut id = [0u8; 16];
        for (to, from) in id.iter_mut().zip(blake3::hash(content).as_bytes()) {
            *to = *from;
        }
        DictionaryId(id)
    }
}

impl fmt::Debug for DictionaryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for DictionaryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names_carry_their_uuid_and_others_are_hashed() {
        let name = b"malware--00112233-4455-6677-8899-aabbccddeeff";
        let key = ObjectKey::of(name);
        assert_eq!(key.0[..4], [0, 0x11, 0x22, 0x33]);
        assert_eq!(key.0[16..], blake3::hash(b"malware").as_bytes()[..8]);
        for other in [
            &b"malware--00112233-4455-6677-8899-AABBCCDDEEFF"[..],
            b"--00112233-4455-6677-8899-aabbccddeeff",
            b"00112233-4455-6677-8899-aabbccddeeff",
            b"malware--{0112233-4455-6677-8899-aabbccddee}",
            b"malware-00112233-4455-6677-8899-aabbccddeeff",
            b"",
            b"x",
        ] {
            assert_eq!(ObjectKey::of(other).0[..], blake3::hash(other).as_bytes()[..24], "{other:?}");
        }
    }

    #[test]
    fn instants_have_canonical_names() {
        assert_eq!(Instant(0).canonical_name(), "00010101T000000Z");
        assert_eq!(Instant::MAX.canonical_name(), "99991231T235959Z");
        assert_eq!(Instant(63_840_924_000).canonical_name(), "20240115T140000Z");
    }

    #[test]
    fn run_keys_order_by_instant_then_discriminator() {
        let run = RunKey::new(Instant(7), 3);
        assert_eq!((run.instant(), run.discriminator()), (Instant(7), 3));
        assert!(RunKey::last_of(Instant(7)) < RunKey::new(Instant(8), 0));
    }
}
