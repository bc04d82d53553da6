//! Compression of payloads: raw, zstd, or zstd with the segment's dictionary.
//!
//! STIX objects are small and alike. zstd alone finds little in 1 kB; with a dictionary trained on the
//! store's own objects it shrinks them several times as well (FORMAT.md, "Payloads").

use std::io::Read;
use std::sync::Arc;

use zstd::zstd_safe::{CParameter, compress_bound, get_error_name};

use super::dictionary::{self, Dictionary};
use crate::error::{Damage, Error, Result};
use crate::limits::FILE_MAX_BYTES;

pub use crate::format::put::Codec;

/// The level new payloads are compressed at. Measured on real trees (`benches/compress.rs`), with a dictionary: 1 packs at 600 MB/s; 2
/// keeps as many bytes at 540, 3 keeps 5 to 8 % fewer at 430, 5 to 12 keep 1 to 11 % fewer still at a half to a tenth of that.
const LEVEL: i32 = 1;
/// The level of the payloads of a tree so small that its dictionary was trained on all of it: packing them takes no time to speak of.
const THOROUGH_LEVEL: i32 = 5;
/// What that level searches for matches, as for inputs of any length: for inputs as short as a dictionary zstd chooses values with
/// which it keeps more bytes than level 3. With these it keeps 9 to 12 % fewer on real trees than level 1, and level 3 keeps 3 to
/// 5 % fewer, in 4/3 of the time. It takes three times the time: up to 65 ms more, shared by all threads.
const THOROUGH: [CParameter; 2] = [CParameter::SearchLog(3), CParameter::MinMatch(5)];

/// An encoded payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// How it is encoded.
    pub codec: Codec,
    /// Length of the payload before encoding, in bytes.
    pub raw_len: u32,
    /// The encoded bytes.
    pub bytes: Vec<u8>,
}

/// Encodes payloads as one store wants them. One per worker thread: `Send`, cloned from one another.
pub struct Encoder {
    mode: Mode,
    is_thorough: bool,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

#[derive(Clone, Debug)]
enum Mode {
    Raw,
    Plain,
    With(Arc<Dictionary>),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoder({:?})", self.mode)
    }
}

impl Clone for Encoder {
    fn clone(&self) -> Self {
        Encoder { mode: self.mode.clone(), is_thorough: self.is_thorough, compressor: None }
    }
}

impl Encoder {
    /// Keeps payloads as they are.
    pub fn raw() -> Encoder {
        Encoder { mode: Mode::Raw, is_thorough: false, compressor: None }
    }

    /// Compresses, with a dictionary if one is given.
    pub fn zstd(dictionary: Option<Arc<Dictionary>>) -> Encoder {
        Encoder { mode: dictionary.map_or(Mode::Plain, Mode::With), is_thorough: false, compressor: None }
    }

    /// An encoder like this one that takes more time, for smaller payloads.
    #[must_use]
    pub fn thorough(&self) -> Encoder {
        Encoder { is_thorough: true, ..self.clone() }
    }

    /// Encodes a payload. Deterministic: same encoder, same payload, same bytes. One that does not
    /// shrink stays raw.
    ///
    /// # Errors
    /// `TooLarge` above [`FILE_MAX_BYTES`].
    pub fn encode(&mut self, payload: &[u8]) -> Result<Encoded> {
        let (codec, raw_len) = self.codec_for(payload)?;
        if codec != Codec::Raw {
            let mut bytes = Vec::new();
            self.compress(payload, &mut bytes)?;
            if bytes.len() < payload.len() {
                return Ok(Encoded { codec, raw_len, bytes });
            }
        }
        Ok(Encoded { codec: Codec::Raw, raw_len, bytes: payload.to_vec() })
    }

    /// Encodes the payload in a buffer. What comes out takes one of the two buffers, and `spare` or nothing is left in its place:
    /// a payload that stays as it is is not copied.
    ///
    /// # Errors
    /// As of [`encode`](Encoder::encode).
    pub fn encode_from(&mut self, buffer: &mut Vec<u8>, spare: &mut Vec<u8>) -> Result<Encoded> {
        let (codec, raw_len) = self.codec_for(buffer)?;
        if codec != Codec::Raw {
            self.compress(buffer, spare)?;
            if spare.len() < buffer.len() {
                return Ok(Encoded { codec, raw_len, bytes: std::mem::take(spare) });
            }
        }
        spare.clear();
        let bytes = std::mem::replace(buffer, std::mem::take(spare));
        Ok(Encoded { codec: Codec::Raw, raw_len, bytes })
    }

    /// Returns how a payload is to be encoded, and its length.
    fn codec_for(&self, payload: &[u8]) -> Result<(Codec, u32)> {
        let len = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let too_large = Error::TooLarge { what: "file", len, max: FILE_MAX_BYTES };
        let raw_len = u32::try_from(len).ok().filter(|_| len <= FILE_MAX_BYTES).ok_or(too_large)?;
        let codec = match self.mode {
            Mode::Raw => Codec::Raw,
            Mode::Plain => Codec::Zstd,
            Mode::With(_) => Codec::ZstdDictionary,
        };
        Ok((codec, raw_len))
    }

    fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        // Exactly: these buffers go round, and none should grow beyond its need.
        out.reserve_exact(compress_bound(payload.len()));
        let compressed = self.compressor().and_then(|compressor| compressor.compress_to_buffer(payload, out));
        compressed.map(drop).map_err(|error| Error::io("compress", "payload", error))
    }

    fn compressor(&mut self) -> std::io::Result<&mut zstd::bulk::Compressor<'static>> {
        let compressor = if let Some(compressor) = self.compressor.take() {
            compressor
        } else {
            let level = if self.is_thorough { THOROUGH_LEVEL } else { LEVEL };
            let mut fresh = match &self.mode {
                Mode::With(dictionary) => {
                    zstd::bulk::Compressor::with_dictionary(level, dictionary.content())?
                }
                Mode::Raw | Mode::Plain => zstd::bulk::Compressor::new(level)?,
            };
            for parameter in THOROUGH.iter().filter(|_| self.is_thorough) {
                fresh.set_parameter(*parameter)?;
            }
            // The record says all of this already: length, checksum, dictionary.
            fresh.set_parameter(CParameter::ContentSizeFlag(false))?;
            fresh.set_parameter(CParameter::ChecksumFlag(false))?;
            fresh.set_parameter(CParameter::DictIdFlag(false))?;
            fresh
        };
        Ok(self.compressor.insert(compressor))
    }
}

/// Decodes a payload of known length. The result has exactly `raw_len` bytes.
///
/// # Errors
/// `Content` if it does not decode to that length; `Dictionary` is the caller's to tell.
pub fn decode(
    codec: Codec,
    payload: &[u8],
    raw_len: u32,
    dictionary: Option<&Dictionary>,
) -> std::result::Result<Vec<u8>, Damage> {
    let bad = |reason: String| Damage::Content { what: "payload", reason };
    let expect = usize::try_from(raw_len).map_err(|error| bad(error.to_string()))?;
    let mut out = Vec::with_capacity(expect);
    let result = match (codec, dictionary) {
        (Codec::Raw, _) => {
            out.extend_from_slice(payload);
            Ok(out.len())
        }
        (Codec::Zstd, _) => dictionary::decompress(&mut out, payload),
        (Codec::ZstdDictionary, Some(dictionary)) => dictionary.decompress(&mut out, payload),
        (Codec::ZstdDictionary, None) => return Err(bad("no dictionary".to_owned())),
    };
    match result {
        Ok(len) if len == expect && out.len() == expect => Ok(out),
        Ok(len) => Err(bad(format!("{len} bytes instead of {expect}"))),
        Err(code) => Err(bad(get_error_name(code).to_owned())),
    }
}

/// Bytes of a long payload that are decoded at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Decodes a payload piece by piece, so that no long one is ever whole in memory, and passes the pieces on. Slower than
/// [`decode`] for short ones.
///
/// # Errors
/// As for [`decode`], after the pieces before.
pub fn decode_in_pieces(
    codec: Codec,
    payload: &[u8],
    raw_len: u32,
    dictionary: Option<&Dictionary>,
    each: &mut dyn FnMut(&[u8]),
) -> std::result::Result<(), Damage> {
    let bad = |reason: String| Damage::Content { what: "payload", reason };
    let content = match (codec, dictionary) {
        (Codec::Raw, _) => {
            each(payload);
            return Ok(());
        }
        (Codec::Zstd, _) => &[],
        (Codec::ZstdDictionary, Some(dictionary)) => dictionary.content(),
        (Codec::ZstdDictionary, None) => return Err(bad("no dictionary".to_owned())),
    };
    let decoder = zstd::stream::read::Decoder::with_dictionary(payload, content);
    let mut decoder = decoder.map_err(|error| bad(error.to_string()))?.single_frame();
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = u64::from(raw_len);
    loop {
        let count = decoder.read(&mut piece).map_err(|error| bad(error.to_string()))?;
        let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        let len = u64::try_from(count).unwrap_or(u64::MAX);
        left = left.checked_sub(len).ok_or_else(|| bad(format!("more than {raw_len} bytes")))?;
        each(bytes);
    }
    if left == 0 { Ok(()) } else { Err(bad(format!("{left} bytes fewer than {raw_len}"))) }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]
mod tests {
    use super::*;

    fn sample(number: usize) -> Vec<u8> {
        format!(
            "{{\"type\": \"bundle\", \"objects\": [{{\"id\": \"malware--{number:032x}\", \"name\": \"name {number}\", \
             \"description\": \"a description of {} words\", \"is_family\": {}}}]}}",
            number * 7919 % 1013,
            number.is_multiple_of(3),
        )
        .into_bytes()
    }

    #[test]
    fn payloads_come_back_whatever_the_codec() {
        let samples: Vec<Vec<u8>> = (0..2000).map(sample).collect();
        let slices: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
        let dictionary = Dictionary::train(&slices).unwrap();
        let again = Dictionary::unpack(&dictionary.packed().unwrap()).unwrap();
        assert_eq!(again.id(), dictionary.id());
        let mut sizes = Vec::new();
        for (mut encoder, codec) in [
            (Encoder::raw(), Codec::Raw),
            (Encoder::zstd(None), Codec::Zstd),
            (Encoder::zstd(Some(dictionary.clone())), Codec::ZstdDictionary),
        ] {
            let payload = sample(5000);
            let encoded = encoder.encode(&payload).unwrap();
            assert_eq!(encoded.codec, codec);
            assert_eq!(encoder.clone().encode(&payload).unwrap(), encoded, "not deterministic");
            let decoded = decode(codec, &encoded.bytes, encoded.raw_len, Some(&again)).unwrap();
            assert_eq!(decoded, payload);
            let mut pieces = Vec::new();
            let len = encoded.raw_len;
            let mut decode = |len| {
                pieces.clear();
                let keep = &mut |piece: &[u8]| pieces.extend_from_slice(piece);
                decode_in_pieces(codec, &encoded.bytes, len, Some(&again), keep)
            };
            if codec != Codec::Raw {
                assert!(decode(len + 1).is_err() && decode(len - 1).is_err());
            }
            decode(len).unwrap();
            assert_eq!(pieces, payload);
            sizes.push(encoded.bytes.len());
        }
        assert!(sizes[2] < sizes[1] && sizes[1] < sizes[0], "{sizes:?}");
    }

    #[test]
    fn an_encoder_that_takes_more_time_keeps_fewer_bytes() {
        // What zstd searches by itself at that level, for inputs as short as these, kept more than the level before it.
        let samples: Vec<Vec<u8>> = (0..2000).map(sample).collect();
        let slices: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
        let dictionary = Dictionary::train(&slices).unwrap();
        let mut fast = Encoder::zstd(Some(dictionary.clone()));
        let mut thorough = fast.thorough();
        let kept = |encoder: &mut Encoder| -> usize {
            samples.iter().map(|sample| encoder.encode(sample).unwrap().bytes.len()).sum()
        };
        assert!(kept(&mut thorough) < kept(&mut fast));
        let payload = sample(5000);
        let encoded = thorough.clone().encode(&payload).unwrap();
        assert_eq!(decode(encoded.codec, &encoded.bytes, encoded.raw_len, Some(&dictionary)), Ok(payload));
    }

    #[test]
    fn incompressible_and_empty_payloads_stay_raw() {
        let mut encoder = Encoder::zstd(None);
        for payload in [&b""[..], b"x", b"\x01\x02\x03"] {
            assert_eq!(encoder.encode(payload).unwrap().codec, Codec::Raw);
        }
    }

    #[test]
    fn a_wrong_length_or_a_wrong_dictionary_is_an_error() {
        let mut encoder = Encoder::zstd(None);
        let small = encoder.encode(&[b'x'; 1000]).unwrap();
        for len in [0, 999, 1001] {
            assert!(decode(small.codec, &small.bytes, len, None).is_err());
        }
        assert!(decode(Codec::ZstdDictionary, &small.bytes, 1000, None).is_err());
        for cut in 0..small.bytes.len() {
            assert!(decode(Codec::Zstd, &small.bytes[..cut], 1000, None).is_err());
        }
    }
}
