//! The `sources.<id>` file: what an importer saw of a source's files. A cache, outside log and index.
//!
//! A row says: when the file looked like *digest*, its content was that of the record with *checksum*. It answers nothing by
//! itself: whoever reads it asks whether the store is still as it was when all rows held, and else looks the record up, so that
//! losing the file, or finding one of another time, costs reading only.

use std::collections::BTreeMap;
use std::fmt;

use super::bytes::{Cursor, put_leb};
use super::crc::crc32;
use crate::error::{Damage, Error, Place, Result};
use crate::id::{CommitId, StoreId};

/// Longest file, in bytes: rows of 85 million files, and change.
pub const SOURCES_MAX_BYTES: u64 = 1 << 30;

const MAGIC: [u8; 8] = *b"STIXSRC\n";
/// Magic, CRC-32 of what follows, store, source, commit, its checksum.
const HEADER_BYTES: usize = 8 + 4 + 16 + 16 + 8 + 4;
const CRC_END: usize = 12;
const ROW_BYTES: usize = 12;

/// Which source: the first 16 bytes of BLAKE3 of the absolute path of the folder that holds the run directories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceId(pub [u8; 16]);

impl SourceId {
    /// Names the source at a path.
    pub fn of(path: &[u8]) -> SourceId {
        let mut id = [0u8; 16];
        for (to, from) in id.iter_mut().zip(blake3::hash(path).as_bytes()) {
            *to = *from;
        }
        SourceId(id)
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        StoreId(self.0).fmt(f)
    }
}

/// A file as it was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct SourceRow {
    /// XXH3 of its name and of what the system said about it, but for bit 0: whether it holds ids other than its name.
    pub digest: u64,
    /// The `data_crc` of the record that holds its content. It is bound to the record's place and to the store.
    pub checksum: u32,
}

/// The rows of each run directory, by its name; ascending.
pub type SourceRows = BTreeMap<Vec<u8>, Vec<SourceRow>>;

/// Returns the path of the file.
pub fn file_name(source: SourceId) -> String {
    format!("sources.{source}")
}

/// Tells whether a file name is that of such a file.
pub fn is_file_name(name: &str) -> bool {
    let hex = name.strip_prefix("sources.").unwrap_or_default();
    StoreId::parse(hex).is_some_and(|id| id.to_string() == hex)
}

/// The COMMIT as of which a file was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AsOf {
    /// Its number.
    pub commit: CommitId,
    /// The checksum of its data if, as of it, the newest record under the name of each row's file was the row's; else 0.
    pub exact: u32,
}

/// Encodes the file. The rows of each run directory ascend.
pub fn encode(rows: &SourceRows, store: StoreId, source: SourceId, as_of: AsOf) -> Vec<u8> {
    let count = rows.values().map(Vec::len).sum::<usize>();
    let mut out = Vec::with_capacity(count.saturating_mul(ROW_BYTES).saturating_add(HEADER_BYTES));
    out.extend_from_slice(&[0; CRC_END]);
    out.extend_from_slice(&store.0);
    out.extend_from_slice(&source.0);
    out.extend_from_slice(&as_of.commit.0.to_le_bytes());
    out.extend_from_slice(&as_of.exact.to_le_bytes());
    for (run, rows) in rows {
        put_leb(&mut out, u64::try_from(run.len()).unwrap_or(u64::MAX));
        out.extend_from_slice(run);
        put_leb(&mut out, u64::try_from(rows.len()).unwrap_or(u64::MAX));
        for row in rows {
            out.extend_from_slice(&row.digest.to_le_bytes());
            out.extend_from_slice(&row.checksum.to_le_bytes());
        }
    }
    let crc = crc32(out.get(CRC_END..).unwrap_or_default());
    let head = MAGIC.into_iter().chain(crc.to_le_bytes());
    out.iter_mut().zip(head).for_each(|(to, from)| *to = from);
    out
}

/// Decodes the file.
///
/// # Errors
/// `Damaged`, also when it belongs to another store or source.
pub fn decode(bytes: &[u8], store: StoreId, source: SourceId) -> Result<(AsOf, SourceRows)> {
    decode_rows(bytes, store, source)
        .map_err(|damage| Error::damaged(Place::whole(file_name(source)), damage))
}

/// Reads the commit as of which a file was written, from its first bytes and unverified: good for telling old ones from new.
pub fn age(bytes: &[u8]) -> Option<CommitId> {
    let mut cursor = Cursor::new(bytes.strip_prefix(&MAGIC)?);
    cursor.take(4 + 16 + 16)?;
    cursor.u64().map(CommitId)
}

fn decode_rows(
    bytes: &[u8],
    store: StoreId,
    source: SourceId,
) -> std::result::Result<(AsOf, SourceRows), Damage> {
    let content = |reason: &str| Damage::Content { what: "sources", reason: reason.to_owned() };
    let mut cursor = Cursor::new(bytes.strip_prefix(&MAGIC).ok_or(Damage::Magic)?);
    let expect = cursor.u32().ok_or_else(|| content("too short"))?;
    let actual = crc32(cursor.rest());
    if expect != actual {
        return Err(Damage::Checksum { what: "sources", expect, actual });
    }
    let (found, of) = (cursor.array::<16>(), cursor.array::<16>());
    let (Some(found), Some(of), Some(commit), Some(exact)) = (found, of, cursor.u64(), cursor.u32()) else {
        return Err(content("too short"));
    };
    if found != store.0 {
        return Err(Damage::Foreign { expect: store, actual: StoreId(found) });
    }
    if of != source.0 {
        return Err(content("of another source"));
    }
    let mut rows = SourceRows::new();
    while !cursor.rest().is_empty() {
        let (run, found) = decode_run(&mut cursor).ok_or_else(|| content("a run that ends early"))?;
        if rows.insert(run, found).is_some() {
            return Err(content("a run twice"));
        }
    }
    Ok((AsOf { commit: CommitId(commit), exact }, rows))
}

fn decode_run(cursor: &mut Cursor<'_>) -> Option<(Vec<u8>, Vec<SourceRow>)> {
    let name = usize::try_from(cursor.leb()?).ok()?;
    let name = cursor.take(name)?.to_vec();
    let count = usize::try_from(cursor.leb()?).ok()?;
    let bytes = cursor.take(count.checked_mul(ROW_BYTES)?)?;
    let rows = bytes.chunks_exact(ROW_BYTES).map(|row| {
        let mut row = Cursor::new(row);
        Some(SourceRow { digest: row.u64()?, checksum: row.u32()? })
    });
    let rows: Vec<SourceRow> = rows.collect::<Option<_>>()?;
    // Whoever looks a file up searches by halves.
    rows.is_sorted().then_some((name, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId([1; 16]);
    const AS_OF: AsOf = AsOf { commit: CommitId(4), exact: 9 };

    fn rows() -> SourceRows {
        let row = |digest, checksum| SourceRow { digest, checksum };
        SourceRows::from([(b"D1".to_vec(), vec![row(3, 7), row(u64::MAX, 1)]), (b"D2".to_vec(), Vec::new())])
    }

    #[test]
    fn rows_come_back_and_any_flipped_bit_is_found() {
        let source = SourceId::of(b"/backup/opencti_data");
        let bytes = encode(&rows(), STORE, source, AS_OF);
        assert_eq!(decode(&bytes, STORE, source).unwrap(), (AS_OF, rows()));
        assert_eq!(age(&bytes), Some(CommitId(4)));
        assert!(decode(&bytes, StoreId([2; 16]), source).is_err());
        assert!(decode(&bytes, STORE, SourceId::of(b"/other")).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad, STORE, source).is_err());
        }
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], STORE, source).is_err() && age(&bytes[..len.min(51)]).is_none());
        }
    }

    #[test]
    fn a_valid_checksum_over_nonsense_is_refused_and_allocates_nothing() {
        let source = SourceId([9; 16]);
        let refuse = |tail: &[u8]| {
            let mut bytes = encode(&SourceRows::new(), STORE, source, AsOf::default());
            bytes.extend_from_slice(tail);
            let crc = crc32(&bytes[CRC_END..]).to_le_bytes();
            bytes[8..12].copy_from_slice(&crc);
            assert!(decode(&bytes, STORE, source).is_err(), "{tail:?}");
        };
        refuse(&[1]);
        refuse(&[1, b'a', 0xff, 0xff, 0xff, 0xff, 0x0f]);
        refuse(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        refuse(&[1, b'a', 0, 1, b'a', 0]);
        let falling = [&[1, b'a', 2][..], &[2; 12], &[1; 12]].concat();
        refuse(&falling);
    }

    #[test]
    fn only_sixteen_bytes_in_hex_name_such_a_file() {
        assert!(is_file_name(&file_name(SourceId([0xab; 16]))));
        for name in ["sources.", "sources.12", "sources.txt", "sources.ABABABABABABABABABABABABABABABAB"] {
            assert!(!is_file_name(name), "{name}");
        }
    }
}
