//! Mapped files, and prefetching from them: the only `unsafe` of the crate.
//!
//! What it rests on: a mapping is made only of bytes that are synced and never written again: sealed segments, of the one
//! that grows what a published index covers, index files that were published by a rename, and
//! files without a name that are written no more. Nothing in the
//! [`Vfs`](super::Vfs) could write into them, since it has neither `write_at` nor `set_len`. What is appended later is read with
//! [`ReadFile::read_at`](super::ReadFile::read_at), and so is everything that scans: an error of the
//! device is then an error, not a signal.
//!
//! The kernel's default advice stays: `MADV_RANDOM` would turn off fault-around, which brings in the
//! neighbouring cached pages of a touched one, and with it the cheap first touch of a warm file.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

use crate::error::{Damage, Error, Place, Result};

/// The first bytes of a file, mapped for reading. Unmapped when dropped.
#[derive(Debug)]
pub struct Mapped {
    /// `None` for no bytes at all, which not every system can map.
    map: Option<Mmap>,
}

impl Mapped {
    /// Maps the first `len` bytes. `name` is the file below the root, `path` the whole path. Reads
    /// nothing: pages come in at their first touch.
    ///
    /// # Errors
    /// `Damaged` if the file is shorter than `len`, `Io` if the system refuses, `TooLarge` if `len`
    /// exceeds the address space.
    pub(super) fn new(file: &File, len: u64, name: &str, path: &Path) -> Result<Mapped> {
        let actual = file.metadata().map_err(|error| Error::io("stat", path, error))?.len();
        if actual < len {
            return Err(Error::damaged(Place::whole(name), Damage::Truncated { expect: len, actual }));
        }
        if len == 0 {
            return Ok(Mapped { map: None });
        }
        let max = u64::try_from(isize::MAX).unwrap_or(u64::MAX);
        let Some(len) = usize::try_from(len).ok().filter(|_| len <= max) else {
            return Err(Error::TooLarge { what: "mapping", len, max });
        };
        #[expect(unsafe_code, reason = "there is no safe way to map a file; see the module's documentation")]
        // SAFETY: the bytes must not change while they are mapped. This is upheld by the rule that only
        // synced bytes which are never written again are mapped, and by the shape of `Vfs`, which can append
        // to a file and not write into it. Removing or renaming a file leaves its mapping
        // intact. The length was checked above, so no page lies past the end. What remains is another
        // program writing into the store, against its lock: changed bytes are then caught by the
        // checksums or returned as they are, and a truncated file ends this process with SIGBUS.
        let map = unsafe { MmapOptions::new().len(len).map(file) };
        let map = map.map_err(|error| Error::io("map", path, error))?;
        Ok(Mapped { map: Some(map) })
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

/// Bytes of a line of the processor's caches, on most.
const LINE_BYTES: usize = 64;

/// How soon bytes are needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Soon {
    /// Next: they are brought into the first cache.
    Next,
    /// Among the next some dozens of records: into the second cache, as the first one holds no more than a few.
    Later,
}

/// Asks the processor for bytes that will be needed soon, without waiting for them. Changes nothing else, and does nothing on
/// processors other than x86-64. A page of a mapping that was never touched is not brought in.
#[inline]
pub fn prefetch(bytes: &[u8], soon: Soon) {
    let (lines, rest) = bytes.as_chunks::<LINE_BYTES>();
    for line in lines {
        prefetch_line(line, soon);
    }
    if !rest.is_empty() {
        prefetch_line(rest, soon);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch_line(line: &[u8], soon: Soon) {
    use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
    let line = line.as_ptr().cast();
    #[expect(unsafe_code, reason = "there is no safe way to prefetch")]
    // SAFETY: a prefetch reads nothing that the program sees, and faults on no address; this one is of a live slice besides.
    unsafe {
        match soon {
            Soon::Next => _mm_prefetch::<_MM_HINT_T0>(line),
            Soon::Later => _mm_prefetch::<_MM_HINT_T1>(line),
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn prefetch_line(_: &[u8], _: Soon) {}
