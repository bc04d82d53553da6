//! Tar archives, compressed or not, read from their beginning to their end: a backup that comes through a pipe.

use std::fmt;
use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::{FileTime, Input};
use crate::error::{Error, Result};

/// Bytes read from the input at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// A tar archive comes in blocks of so many bytes, and at least one of zeros ends it.
const BLOCK_BYTES: usize = 512;
/// How formats begin.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const OTHERS: [(&[u8], &str); 4] =
    [(b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"\x04\x22\x4d\x18", "lz4"), (b"PK\x03\x04", "zip")];

/// What an entry of an archive is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArchiveKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link of either kind: the archive holds the file under another name, or not at all.
    Link,
    /// A pipe, a device, or what only some programs know.
    Other,
}

/// What an archive says of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchiveEntry {
    /// Its path, any bytes.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: ArchiveKind,
    /// Bytes of its content, as the archive says.
    pub len: u64,
    /// When it was last modified.
    pub mtime: Option<FileTime>,
}

/// An archive of which the first block was read: it is the head of an entry, or the mark of the end.
pub struct BegunArchive(Box<dyn Read + Send>);

impl fmt::Debug for BegunArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BegunArchive")
    }
}

/// Reads the first block of a tar archive: whether it is one shows there. zstd and gzip are recognised by how they begin.
///
/// # Errors
/// `Io` for a failure to read, and for what is no archive.
pub fn begin_archive(input: Input) -> Result<BegunArchive> {
    let failed = |error| Error::io("read", "the archive", error);
    let mut plain = decompressed(input).map_err(failed)?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let length = u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX);
    plain.by_ref().take(length).read_to_end(&mut block).map_err(failed)?;
    if block.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, "nothing is packed in it")));
    }
    // Raw, for otherwise the reader of tar would read on.
    Archive::new(block.as_slice())
        .entries()
        .and_then(|entries| entries.raw(true).next().transpose().map(|_| ()))
        .map_err(failed)?;
    Ok(BegunArchive(Box::new(io::Cursor::new(block).chain(plain))))
}

/// Calls `each` for every entry of a tar archive, in its order, with a reader of the entry's content; what `each` does not
/// read is passed over. Memory: what zstd needs, 128 MiB at most; nothing depends on the size of the archive.
///
/// # Errors
/// Those of `each`; `Io` for a failure to read, for damage, and for an archive that ends early: before its end marker, too.
pub fn read_archive(
    archive: BegunArchive,
    each: &mut dyn FnMut(&ArchiveEntry, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let failed = |error| Error::io("read", "the archive", error);
    let mut archive = Archive::new(Tail { input: archive.0, zeros: 0 });
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let about = describe(&mut entry).map_err(failed)?;
        each(&about, &mut entry)?;
    }
    // The reader of tar takes any end for the end.
    let tail = archive.into_inner();
    if tail.zeros < BLOCK_BYTES {
        let reason = "it ends without the mark of its end: the rest is missing";
        return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, reason)));
    }
    Ok(())
}

fn decompressed(mut input: Input) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    input.by_ref().take(6).read_to_end(&mut head)?;
    if head.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has no bytes"));
    }
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
        let reason = format!("it is compressed with {name}; tar, tar.gz and tar.zst are understood");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let (is_gzip, is_zstd) = (head.starts_with(GZIP), head.starts_with(ZSTD));
    let whole = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(head).chain(input));
    Ok(if is_gzip {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(whole)))
    } else if is_zstd {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, zstd::Decoder::with_buffer(whole)?))
    } else {
        Box::new(whole)
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "there is nothing to do with all others")]
fn describe(entry: &mut Entry<'_, impl Read>) -> io::Result<ArchiveEntry> {
    let header = entry.header();
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => ArchiveKind::File,
        EntryType::Directory => ArchiveKind::Directory,
        EntryType::Link | EntryType::Symlink => ArchiveKind::Link,
        _ => ArchiveKind::Other,
    };
    let seconds = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok());
    let exact = exact_mtime(entry)?;
    Ok(ArchiveEntry {
        path: entry.path_bytes().into_owned(),
        kind,
        len: entry.size(),
        mtime: exact.or(seconds.map(|seconds| (seconds, 0))),
    })
}

/// Reads the modification time with its fraction, which pax archives have beside the header.
fn exact_mtime(entry: &mut Entry<'_, impl Read>) -> io::Result<Option<FileTime>> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(None) };
    for extension in extensions {
        let extension = extension?;
        if extension.key_bytes() == b"mtime" {
            return Ok(extension.value().ok().and_then(pax_time));
        }
    }
    Ok(None)
}

/// Reads `1700000000.25`.
fn pax_time(text: &str) -> Option<FileTime> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanos): (i64, u32) = (seconds.parse().ok()?, digits.parse().ok()?);
    // Of a time before 1970 the fraction counts backwards.
    if text.starts_with('-') && nanos > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000_u32.checked_sub(nanos)?));
    }
    Some((seconds, nanos))
}

/// Counts the zeros at the end of what was read.
struct Tail<R> {
    input: R,
    zeros: usize,
}

impl<R: Read> Read for Tail<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        let zeros = read.iter().rev().take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == count { self.zeros.saturating_add(zeros) } else { zeros };
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_pax_archives_have_fractions() {
        assert_eq!(pax_time("1700000000.25"), Some((1_700_000_000, 250_000_000)));
        assert_eq!(pax_time("1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(pax_time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(pax_time("1.0000000019"), Some((1, 1)));
        for bad in ["", "x", "1.x", "99999999999999999999"] {
            assert_eq!(pax_time(bad), None, "{bad}");
        }
    }
}
