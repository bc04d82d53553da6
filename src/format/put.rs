//! The data of a PUT: fixed fields, name, meta, payload; and the data of a DELETE.

use std::borrow::Cow;
use std::ops::Range;

use super::bytes::{Cursor, put_leb};
use super::types;
use crate::error::Damage;
use crate::id::{CommitId, DictionaryId, Key, ObjectKey, kinds, split_canonical};
use crate::limits::{FILE_MAX_BYTES, NAME_MAX_BYTES};

/// What a PUT holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutKind {
    /// A backed-up file.
    Snapshot,
    /// Another id under which the snapshot named by the payload is found, in the same run.
    Alias,
    /// A run directory.
    Run,
}

/// How a payload is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// As it is.
    Raw,
    /// zstd without a dictionary.
    Zstd,
    /// zstd with the dictionary of the record's segment.
    ZstdDictionary,
}

/// The decoded data of a PUT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PutData<'a> {
    /// What it holds.
    pub kind: PutKind,
    /// How the payload is stored.
    pub codec: Codec,
    /// The commit that first wrote it; compaction keeps it.
    pub first_commit: CommitId,
    /// Its name, unless the key says it.
    pub name: Option<&'a [u8]>,
    /// Opaque to the store.
    pub meta: &'a [u8],
    /// Length of the payload once decoded, in bytes.
    pub raw_len: u32,
    /// Where the first object lies in the decoded payload.
    pub object: Range<u32>,
    /// The stored payload.
    pub payload: &'a [u8],
}

impl<'a> PutData<'a> {
    /// Returns the record's name, from itself or from its key.
    ///
    /// # Errors
    /// `Field` if neither says it.
    pub fn name(&self, key: &Key) -> Result<Cow<'a, [u8]>, Damage> {
        if let Some(name) = self.name {
            return Ok(Cow::Borrowed(name));
        }
        implied_name(key).map(Cow::Owned).ok_or(Damage::Field { what: "implied name", value: 0 })
    }

    /// Tells whether `name`, whose key is this record's, is the record's name.
    pub fn is_named(&self, name: &[u8]) -> bool {
        match self.name {
            Some(own) => own == name,
            None => types::is_implied(name),
        }
    }
}

/// Returns the name that a key says by itself: a well-known type and its UUID, or a run's canonical name.
pub fn implied_name(key: &Key) -> Option<Vec<u8>> {
    if key.is_run() {
        return Some(key.run.instant().canonical_name().into_bytes());
    }
    types::implied_name(&key.object)
}

/// Tells whether a key says a name by itself.
pub fn has_implied_name(key: &Key) -> bool {
    key.is_run() || types::has_implied_name(&key.object)
}

/// Appends the data of a PUT. The name is left out where the key says it.
pub fn encode(out: &mut Vec<u8>, key: &Key, name: &[u8], put: &PutData<'_>) {
    let kind = match put.kind {
        PutKind::Snapshot => 0u8,
        PutKind::Alias => 1,
        PutKind::Run => 2,
    };
    let codec = match put.codec {
        Codec::Raw => 0u8,
        Codec::Zstd => 1,
        Codec::ZstdDictionary => 2,
    };
    let implied = if key.is_run() {
        name == key.run.instant().canonical_name().as_bytes()
    } else {
        types::is_implied(name)
    };
    out.push(kind | (codec << 4));
    out.push(u8::from(!implied));
    put_leb(out, put.first_commit.0);
    if !implied {
        put_leb(out, u64::try_from(name.len()).unwrap_or(u64::MAX));
    }
    put_leb(out, u64::try_from(put.meta.len()).unwrap_or(u64::MAX));
    put_leb(out, put.raw_len.into());
    put_leb(out, put.object.start.into());
    put_leb(out, put.raw_len.saturating_sub(put.object.end).into());
    if !implied {
        out.extend_from_slice(name);
    }
    out.extend_from_slice(put.meta);
    out.extend_from_slice(put.payload);
}

/// Decodes the data of a PUT.
///
/// # Errors
/// Which field no writer writes like that.
#[inline]
pub fn decode(data: &[u8]) -> Result<PutData<'_>, Damage> {
    intact(data).ok_or_else(|| why_no_put(data))
}

/// The same for those who need no reason: see [`intact_head`](super::record::intact_head).
#[inline]
pub(crate) fn intact(data: &[u8]) -> Option<PutData<'_>> {
    match fields(data) {
        Some(put) if put.is_possible() => Some(put),
        _ => None,
    }
}

/// Says what is wrong with data that is not [`intact`].
#[cold]
pub(crate) fn why_no_put(data: &[u8]) -> Damage {
    let field = |what, value: u64| Damage::Field { what, value };
    let [code, flags, ..] = *data else {
        return field("put fields", u64::try_from(data.len()).unwrap_or(u64::MAX));
    };
    if kind_of(code).is_none() {
        return field("put kind", code.into());
    }
    if codec_of(code).is_none() {
        return field("put codec", code.into());
    }
    if flags > 1 {
        return field("put flags", flags.into());
    }
    let Some(put) = fields(data) else {
        return field("put fields", u64::try_from(data.len()).unwrap_or(u64::MAX));
    };
    if u64::from(put.raw_len) > FILE_MAX_BYTES {
        return field("payload length", put.raw_len.into());
    }
    if put.name.is_some_and(|name| name.len() > NAME_MAX_BYTES) {
        return field("name length", 0);
    }
    field("raw payload length", put.raw_len.into())
}

#[inline]
fn kind_of(code: u8) -> Option<PutKind> {
    match code & 0x0f {
        0 => Some(PutKind::Snapshot),
        1 => Some(PutKind::Alias),
        2 => Some(PutKind::Run),
        _ => None,
    }
}

#[inline]
fn codec_of(code: u8) -> Option<Codec> {
    match code >> 4 {
        0 => Some(Codec::Raw),
        1 => Some(Codec::Zstd),
        2 => Some(Codec::ZstdDictionary),
        _ => None,
    }
}

impl PutData<'_> {
    /// Tells whether no length is one that no writer writes.
    #[inline]
    fn is_possible(&self) -> bool {
        u64::from(self.raw_len) <= FILE_MAX_BYTES
            && self.name.is_none_or(|name| name.len() <= NAME_MAX_BYTES)
            && (self.codec != Codec::Raw || u32::try_from(self.payload.len()) == Ok(self.raw_len))
    }

    /// Tells whether these fields may stand under a key, in a segment with that dictionary.
    ///
    /// # Errors
    /// `Field` with what no writer writes.
    #[inline]
    pub fn fits(&self, key: &Key, dictionary: DictionaryId) -> Result<(), Damage> {
        let is_run = self.kind == PutKind::Run;
        let is_placed = key.is_run() == is_run && !(is_run && self.raw_len > 0);
        if is_placed && (self.codec != Codec::ZstdDictionary || dictionary != DictionaryId::NONE) {
            return Ok(());
        }
        Err(self.why_not(key))
    }

    #[cold]
    fn why_not(&self, key: &Key) -> Damage {
        let code = match self.kind {
            PutKind::Snapshot => 0,
            PutKind::Alias => 1,
            PutKind::Run => 2,
        };
        if key.is_run() != (self.kind == PutKind::Run) {
            Damage::Field { what: "put kind of this key", value: code }
        } else if self.kind == PutKind::Run && self.raw_len > 0 {
            Damage::Field { what: "payload length of a run", value: self.raw_len.into() }
        } else {
            Damage::Field { what: "put codec of a segment without dictionary", value: 2 }
        }
    }
}

/// What the first bytes of a PUT's data say: kind and payload length, for replay, which reads no payloads.
pub fn peek(data: &[u8]) -> Option<(PutKind, u32)> {
    let mut cursor = Cursor::new(data);
    let kind = kind_of(cursor.u8()?)?;
    let named = cursor.u8()? & 1 == 1;
    cursor.leb()?;
    if named {
        cursor.leb()?;
    }
    cursor.leb()?;
    cursor.leb32().map(|raw_len| (kind, raw_len))
}

/// Bytes that [`peek`] needs at most: two, and four LEB128 numbers.
pub const PEEK_BYTES: usize = 42;

#[expect(
    clippy::inline_always,
    reason = "a caller waits for so large a structure to be written before it can read it"
)]
#[inline(always)]
fn fields(data: &[u8]) -> Option<PutData<'_>> {
    let mut cursor = Cursor::new(data);
    let [code, flags] = cursor.array()?;
    let (kind, codec) = (kind_of(code)?, codec_of(code)?);
    let named = match flags {
        0 => false,
        1 => true,
        _ => return None,
    };
    let first_commit = CommitId(cursor.leb()?);
    let name_len = if named { Some(cursor.leb32()?) } else { None };
    let meta_len = cursor.leb32()?;
    let raw_len = cursor.leb32()?;
    let start = cursor.leb32()?;
    let end = raw_len.checked_sub(cursor.leb32()?)?;
    if start > end {
        return None;
    }
    let name = match name_len {
        Some(len) => Some(cursor.take(usize::try_from(len).ok()?)?),
        None => None,
    };
    let meta = cursor.take(usize::try_from(meta_len).ok()?)?;
    let payload = cursor.rest();
    Some(PutData { kind, codec, first_commit, name, meta, raw_len, object: start..end, payload })
}

/// Why a key was deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeleteReason {
    /// Somebody asked for it.
    Deleted,
    /// The file was gone from the mirrored tree.
    Mirrored,
    /// Repair found it unreadable and nothing to heal it from.
    Lost,
}

/// Encodes the data of a DELETE.
pub fn encode_delete(out: &mut Vec<u8>, reason: DeleteReason, commit: CommitId) {
    out.push(match reason {
        DeleteReason::Deleted => 0,
        DeleteReason::Mirrored => 1,
        DeleteReason::Lost => 2,
    });
    put_leb(out, commit.0);
}

/// Decodes the data of a DELETE: why, and by which commit first.
///
/// # Errors
/// `Field` for anything no writer writes.
pub fn decode_delete(data: &[u8]) -> Result<(DeleteReason, CommitId), Damage> {
    let mut cursor = Cursor::new(data);
    let code = cursor.u8();
    let reason = match code {
        Some(0) => DeleteReason::Deleted,
        Some(1) => DeleteReason::Mirrored,
        Some(2) => DeleteReason::Lost,
        _ => return Err(Damage::Field { what: "delete reason", value: code.unwrap_or_default().into() }),
    };
    match cursor.leb() {
        Some(commit) if cursor.rest().is_empty() => Ok((reason, CommitId(commit))),
        _ => {
            Err(Damage::Field { what: "delete length", value: u64::try_from(data.len()).unwrap_or(u64::MAX) })
        }
    }
}

/// Tells whether the data of a DELETE says that the key was lost.
pub fn says_lost(data: &[u8]) -> bool {
    decode_delete(data).is_ok_and(|(reason, _)| reason == DeleteReason::Lost)
}

/// Tells whether a key may be that of `name`: what a reader compares before it trusts a record.
pub fn key_fits(key: &Key, name: &[u8]) -> bool {
    key.is_run() || ObjectKey::of(name) == key.object
}

/// The same for many names: keeps the hash of the last type, which costs more than all else.
#[derive(Debug, Default)]
pub struct NamedKeys {
    kind: Vec<u8>,
    hash: [u8; 8],
}

impl NamedKeys {
    /// Tells whether a key may be that of `name`.
    pub fn fits(&mut self, key: &Key, name: &[u8]) -> bool {
        let Some((kind, uuid)) = split_canonical(name).filter(|_| !key.is_run()) else {
            return key_fits(key, name);
        };
        if kind != self.kind {
            (self.kind, self.hash) = (kind.to_vec(), kinds::hash_of(kind).0);
        }
        key.object.0.split_first_chunk() == Some((uuid.as_bytes(), &self.hash))
    }
}

#[cfg(test)]
mod tests;
