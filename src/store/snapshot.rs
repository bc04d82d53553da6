//! One stored snapshot, read and verified.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::{Damage, Error, Place, Result};
use crate::format::put::{self, PutData, PutKind};
use crate::format::record::key_of;
use crate::format::segment;
use crate::id::{CommitId, DictionaryId, Key, Location, Name, RunKey};
use crate::segment::codec::{self, Codec};
use crate::segment::{Record, Segments};

/// One stored snapshot, its checksums verified. Borrows from the view; its payload is decoded on demand.
#[derive(Clone, Debug)]
pub struct Snapshot<'v> {
    segments: &'v Segments,
    at: Location,
    size: u32,
    key: [u8; 32],
    data_crc: u32,
    data: Cow<'v, [u8]>,
    dictionary: DictionaryId,
    kind: PutKind,
    codec: Codec,
    first_commit: CommitId,
    raw_len: u32,
    object: Range<u32>,
    // Where the parts begin. Each ends where the next begins, the payload with the data. In 32 bits, since a lookup hands this
    // through several calls.
    name: Option<u32>,
    meta: u32,
    payload: u32,
}

impl<'v> Snapshot<'v> {
    /// Takes a verified PUT record apart.
    pub(crate) fn new(segments: &'v Segments, at: Location, record: Record<'v>) -> Result<Snapshot<'v>> {
        let place =
            |damage| Error::damaged(Place::at(segment::file_name(at.segment), at.offset.into()), damage);
        Snapshot::decode(segments, at, record).map_err(place)
    }

    /// The same, where what is wrong needs no place.
    #[inline]
    pub(super) fn decode(
        segments: &'v Segments,
        at: Location,
        record: Record<'v>,
    ) -> std::result::Result<Snapshot<'v>, Damage> {
        let Record { head, data, dictionary } = record;
        let put = put::decode(&data)?;
        put.fits(&head.key(), dictionary)?;
        let PutData { kind, codec, first_commit, name, meta, raw_len, object, payload } = put;
        // The three parts stand at the end, in this order. No record has 2^32 bytes.
        let narrow = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let payload = narrow(data.len()).saturating_sub(narrow(payload.len()));
        let meta = payload.saturating_sub(narrow(meta.len()));
        let name = name.map(|name| meta.saturating_sub(narrow(name.len())));
        let (size, key, data_crc) = (head.size, head.key, head.data_crc);
        Ok(Snapshot {
            segments,
            at,
            size,
            key,
            data_crc,
            data,
            dictionary,
            kind,
            codec,
            first_commit,
            raw_len,
            object,
            name,
            meta,
            payload,
        })
    }

    #[inline]
    fn part(&self, start: u32, end: u32) -> &[u8] {
        let [start, end] = [start, end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
        self.data.get(start..end.min(self.data.len())).unwrap_or_default()
    }

    fn place(&self) -> Place {
        Place::at(segment::file_name(self.at.segment), self.at.offset.into())
    }

    /// Its key.
    pub fn key(&self) -> Key {
        key_of(&self.key)
    }

    /// Its run.
    pub fn run(&self) -> RunKey {
        self.key().run
    }

    /// Its name: the stem of its file.
    pub fn name(&self) -> Cow<'_, [u8]> {
        match self.name {
            Some(start) => Cow::Borrowed(self.part(start, self.meta)),
            None => Cow::Owned(put::implied_name(&self.key()).unwrap_or_default()),
        }
    }

    /// Tells whether a name, which has this record's key, is its name.
    #[inline]
    pub(crate) fn is_named(&self, name: &Name<'_>) -> bool {
        match self.name {
            Some(start) => self.part(start, self.meta) == name.bytes,
            None if self.key().is_run() => self.name() == name.bytes,
            None => name.is_implied,
        }
    }

    /// What it is; `Alias` only from [`View::record`](super::View::record) and
    /// [`View::records_of_run`](super::View::records_of_run).
    pub fn kind(&self) -> PutKind {
        self.kind
    }

    /// Where its record lies.
    pub fn location(&self) -> Location {
        self.at
    }

    /// The checksum of its record's data: it holds for this content, in this place of this store.
    pub fn checksum(&self) -> u32 {
        self.data_crc
    }

    /// Bytes of its record in the log, header included.
    pub fn stored_len(&self) -> u64 {
        self.size.into()
    }

    /// Bytes of its file.
    pub fn len(&self) -> u64 {
        self.raw_len.into()
    }

    /// Tells whether its file is empty.
    pub fn is_empty(&self) -> bool {
        self.raw_len == 0
    }

    /// The transaction that first wrote it.
    pub fn first_commit(&self) -> CommitId {
        self.first_commit
    }

    /// Where the first object lies in the file.
    pub fn object_range(&self) -> Range<u32> {
        self.object.clone()
    }

    /// The meta part, as it was put.
    pub fn meta(&self) -> &[u8] {
        self.part(self.meta, self.payload)
    }

    /// How the payload is stored.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The payload as it is stored.
    pub(crate) fn payload(&self) -> &[u8] {
        self.part(self.payload, u32::MAX)
    }

    /// The dictionary of its segment.
    pub(crate) fn dictionary(&self) -> DictionaryId {
        self.dictionary
    }

    /// The file's bytes, exactly as they were; borrowed where they are stored raw.
    ///
    /// # Errors
    /// `Damaged` if the payload does not decode or its dictionary is lost.
    #[inline]
    pub fn body(&self) -> Result<Cow<'_, [u8]>> {
        if self.codec == Codec::Raw {
            return Ok(Cow::Borrowed(self.payload()));
        }
        let dictionary = match self.codec {
            Codec::ZstdDictionary => Some(self.segments.dictionary(self.dictionary)?),
            Codec::Raw | Codec::Zstd => None,
        };
        let decoded = codec::decode(
            self.codec,
            self.payload(),
            self.raw_len,
            dictionary.map(|dictionary| &**dictionary),
        );
        decoded.map(Cow::Owned).map_err(|damage| Error::damaged(self.place(), damage))
    }

    /// Passes the same bytes on piece by piece: of a long file only what is stored is whole in memory.
    ///
    /// # Errors
    /// As [`body`](Snapshot::body), after the pieces before.
    pub(crate) fn pieces(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let dictionary = match self.codec {
            Codec::ZstdDictionary => Some(self.segments.dictionary(self.dictionary)?),
            Codec::Raw | Codec::Zstd => None,
        };
        let dictionary = dictionary.map(|dictionary| &**dictionary);
        codec::decode_in_pieces(self.codec, self.payload(), self.raw_len, dictionary, each)
            .map_err(|damage| Error::damaged(self.place(), damage))
    }

    /// The same, kept: of a long file there are not two copies, where it is stored raw.
    ///
    /// # Errors
    /// As [`body`](Snapshot::body).
    pub fn into_body(self) -> Result<Vec<u8>> {
        if self.codec != Codec::Raw {
            return self.body().map(Cow::into_owned);
        }
        let start = usize::try_from(self.payload).unwrap_or(usize::MAX);
        Ok(match self.data {
            Cow::Borrowed(data) => data.get(start..).unwrap_or_default().to_vec(),
            Cow::Owned(mut data) => {
                data.drain(..start.min(data.len()));
                data
            }
        })
    }
}
