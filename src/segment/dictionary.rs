//! Compression dictionaries: content, digest, and their own files beside the segments.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use zstd::zstd_safe::{DCtx, DDict, ErrorCode, get_error_name, get_frame_content_size};

use crate::error::{Damage, Error, Place, Result};
use crate::format::crc::crc32;
use crate::id::{DictionaryId, StoreId};
use crate::limits::DICTIONARY_MAX_BYTES;
use crate::vfs::{Map, ReadFile, ReadVfs};

/// Dictionaries are written once and read often, so they are compressed harder than payloads: two of 64 KiB to 14.7 kB each, in 7 ms. Level
/// 19 keeps 1 and 3 % fewer bytes and takes 27 ms, for each segment; 12 keeps 2 and 8 % more and takes 2.
const PACK_LEVEL: i32 = 15;
/// Bytes of samples that training looks at, about.
const TRAIN_BYTES: usize = 1 << 20;
/// Fewest samples that it looks at, where there are as many.
const TRAIN_MIN_SAMPLES: usize = 256;
/// Payloads decoded with the plain dictionary before a digest of it is made.
const DIGEST_AFTER: u32 = 8;

const FILE_MAGIC: [u8; 8] = *b"STIXDIC\n";
/// Bytes of a dictionary's own file before its content: magic, CRC-32 of what follows, id.
const FILE_HEADER_BYTES: usize = 28;

thread_local! {
    // A decompression context is 150 kB and takes longer to make than a record to decode.
    static DECODER: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// Decompresses a frame that needs no dictionary.
pub(super) fn decompress(out: &mut Vec<u8>, frame: &[u8]) -> std::result::Result<usize, ErrorCode> {
    DECODER.with_borrow_mut(|context| context.decompress(out, frame))
}

/// A compression dictionary, ready for use. Shared by all threads.
pub struct Dictionary {
    id: DictionaryId,
    content: Content,
    digest: OnceLock<DDict<'static>>,
    /// Payloads decoded so far, up to [`DIGEST_AFTER`].
    decoded: AtomicU32,
}

enum Content {
    Owned(Vec<u8>),
    /// A dictionary's own file.
    Mapped(Map),
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Content::Owned(bytes) => bytes,
            Content::Mapped(file) => file.get(FILE_HEADER_BYTES..).unwrap_or_default(),
        }
    }
}

impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dictionary({}, {} bytes)", self.id, self.content().len())
    }
}

impl Dictionary {
    /// Wraps a dictionary's content.
    pub fn new(content: Vec<u8>) -> Arc<Dictionary> {
        Dictionary::with(DictionaryId::of(&content), Content::Owned(content))
    }

    fn with(id: DictionaryId, content: Content) -> Arc<Dictionary> {
        Arc::new(Dictionary { id, content, digest: OnceLock::new(), decoded: AtomicU32::new(0) })
    }

    /// Returns its identity.
    pub fn id(&self) -> DictionaryId {
        self.id
    }

    /// Returns its content.
    pub fn content(&self) -> &[u8] {
        self.content.bytes()
    }

    /// Returns the content as segments carry it: a zstd frame.
    ///
    /// # Errors
    /// What zstd says; memory is the only reason known.
    pub fn packed(&self) -> Result<Vec<u8>> {
        zstd::bulk::compress(self.content(), PACK_LEVEL)
            .map_err(|error| Error::io("compress", "dictionary", error))
    }

    /// Unpacks what [`packed`](Dictionary::packed) made.
    ///
    /// # Errors
    /// `Content` if it does not decompress within the limit.
    pub fn unpack(packed: &[u8]) -> std::result::Result<Arc<Dictionary>, Damage> {
        let bad = |reason: &str| Damage::Content { what: "dictionary", reason: reason.to_owned() };
        let len = get_frame_content_size(packed).ok().flatten().ok_or_else(|| bad("no length"))?;
        let len = usize::try_from(len).ok().filter(|len| *len <= DICTIONARY_MAX_BYTES);
        let mut content = Vec::with_capacity(len.ok_or_else(|| bad("too long"))?);
        decompress(&mut content, packed).map_err(|code| bad(get_error_name(code)))?;
        Ok(Dictionary::new(content))
    }

    /// Trains a dictionary on samples. `None` if they are too few or too much alike.
    ///
    /// The size is a 32nd of the samples, 4 to 64 KiB: zstd's advice is a hundredth, but samples here are few and alike. Measured
    /// on real trees (`benches/compress.rs`): 32 KiB keep 5 % more bytes than 64, 16 KiB 10 % more; 112 KiB keep 4 % fewer, but
    /// each segment carries a copy, and a single lookup has to read it.
    ///
    /// Training costs time in proportion to what it looks at, about 50 ms a MiB; what more of it gains is little, if what it
    /// looks at is spread over all samples. Of 16 MiB, all of them take 710 ms and give 0.162 of the files' bytes, every fourth
    /// 156 ms and 0.165, every eighth 94 ms and 0.166, every 16th 58 ms and 0.166, the first 2 MiB 90 ms and 0.176. Two choices of
    /// as many samples differ by up to 3 %, either way. What lost: 256 KiB (0.20), and 64 KiB of whole samples without any
    /// training (0.185, and compressing takes twice as long).
    pub fn train(samples: &[&[u8]]) -> Option<Arc<Dictionary>> {
        let total: usize = samples.iter().map(|sample| sample.len()).sum();
        let size = (total / 32).clamp(4 << 10, 64 << 10);
        let step = total.div_ceil(TRAIN_BYTES).min(samples.len() / TRAIN_MIN_SAMPLES).max(1);
        let spread: Vec<&[u8]> = samples.iter().step_by(step).copied().collect();
        let content = zstd::dict::from_samples(&spread, size).ok()?;
        Some(Dictionary::new(content))
    }

    /// Decompresses a frame made with this dictionary. A digest of the dictionary makes that faster, but making one copies all of
    /// it: a command that wants one snapshot does without.
    pub(super) fn decompress(
        &self,
        out: &mut Vec<u8>,
        frame: &[u8],
    ) -> std::result::Result<usize, ErrorCode> {
        DECODER.with_borrow_mut(|context| {
            if self.decoded.load(Ordering::Relaxed) < DIGEST_AFTER {
                self.decoded.fetch_add(1, Ordering::Relaxed);
                return context.decompress_using_dict(out, frame, self.content());
            }
            let digest = self.digest.get_or_init(|| DDict::create(self.content()));
            context.decompress_using_ddict(out, frame, digest)
        })
    }
}

/// Returns the path of a dictionary's own copy.
pub fn file_name(id: DictionaryId) -> String {
    format!("dict.{id}")
}

/// Reads a dictionary's id from a file name.
pub fn parse_file_name(name: &str) -> Option<DictionaryId> {
    let hex = name.strip_prefix("dict.")?;
    StoreId::parse(hex).map(|id| DictionaryId(id.0)).filter(|id| id.to_string() == hex)
}

/// Encodes a dictionary's own file. Its content is not compressed, so that it serves as it lies: a lookup maps it and
/// touches only what its payload refers to.
pub fn encode_file(dictionary: &Dictionary) -> Vec<u8> {
    let rest = [&dictionary.id.0, dictionary.content()].concat();
    [&FILE_MAGIC[..], &crc32(&rest).to_le_bytes(), &rest].concat()
}

/// Opens a dictionary's own file, mapped and verified. An absent one is `None`.
///
/// # Errors
/// `Damaged`, and failures of mapping.
pub fn open_file(vfs: &dyn ReadVfs, id: DictionaryId) -> Result<Option<Arc<Dictionary>>> {
    let Some((file, len)) = find_file(vfs, id)? else { return Ok(None) };
    let map = file.map(len)?;
    verify_file(&map, id)?;
    Ok(Some(Dictionary::with(id, Content::Mapped(map))))
}

/// Reads a dictionary's own file and verifies more than [`open_file`]: that the content has this id. An absent one is `None`.
///
/// # Errors
/// `Damaged`, and failures of reading.
pub fn read_file(vfs: &dyn ReadVfs, id: DictionaryId) -> Result<Option<Arc<Dictionary>>> {
    let Some((file, len)) = find_file(vfs, id)? else { return Ok(None) };
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let got = file.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    verify_file(&bytes, id)?;
    let dictionary = Dictionary::new(bytes.split_off(FILE_HEADER_BYTES));
    if dictionary.id() != id {
        return Err(is_another(id, dictionary.id()));
    }
    Ok(Some(dictionary))
}

fn find_file(vfs: &dyn ReadVfs, id: DictionaryId) -> Result<Option<(Arc<dyn ReadFile>, u64)>> {
    let Some(file) = vfs.open(&file_name(id))? else { return Ok(None) };
    let len = file.len()?;
    let max = u64::try_from(DICTIONARY_MAX_BYTES.saturating_add(FILE_HEADER_BYTES)).unwrap_or(u64::MAX);
    if len > max {
        let damage = Damage::Field { what: "dictionary size", value: len };
        return Err(Error::damaged(Place::whole(file_name(id)), damage));
    }
    Ok(Some((file, len)))
}

fn verify_file(bytes: &[u8], id: DictionaryId) -> Result<()> {
    let bad = |damage| Err(Error::damaged(Place::whole(file_name(id)), damage));
    let Some(rest) = bytes.strip_prefix(&FILE_MAGIC) else { return bad(Damage::Magic) };
    let length = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
    let short = Damage::Truncated { expect: length(FILE_HEADER_BYTES), actual: length(bytes.len()) };
    let Some((stored, rest)) = rest.split_first_chunk::<4>() else { return bad(short) };
    let Some((own, _)) = rest.split_first_chunk::<16>() else { return bad(short) };
    let (expect, actual) = (u32::from_le_bytes(*stored), crc32(rest));
    if expect != actual {
        return bad(Damage::Checksum { what: "dictionary", expect, actual });
    }
    if *own == id.0 { Ok(()) } else { Err(is_another(id, DictionaryId(*own))) }
}

fn is_another(id: DictionaryId, found: DictionaryId) -> Error {
    let damage = Damage::Content { what: "dictionary", reason: format!("it is dictionary {found}") };
    Error::damaged(Place::whole(file_name(id)), damage)
}
