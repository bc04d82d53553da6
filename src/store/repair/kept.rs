//! Which records of damaged segments stay: four bytes for each, in a file without a name until their segment's turn comes.

use std::ops::Range;
use std::sync::Arc;

use super::salvage::Salvage;
use crate::error::Result;
use crate::vfs::scratch::{InMemory, Scratch};
use crate::vfs::{Map, ReadVfs};

/// Bytes of an offset.
const OFFSET_BYTES: usize = size_of::<u32>();

/// Where records of a segment start, ascending.
#[derive(Debug)]
pub(super) enum Kept {
    /// While they are found.
    Listed(Vec<u32>),
    /// A range of bytes of a file.
    Shelved(Arc<Map>, Range<usize>),
}

impl Kept {
    /// Adds one behind the last.
    pub(super) fn push(&mut self, offset: u32) {
        if let Kept::Listed(offsets) = self {
            offsets.push(offset);
        }
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Kept::Listed(offsets) => offsets.len(),
            Kept::Shelved(_, range) => range.len().checked_div(OFFSET_BYTES).unwrap_or(0),
        }
    }

    /// Tells whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns one by its number.
    pub(super) fn get(&self, number: usize) -> Option<u32> {
        match self {
            Kept::Listed(offsets) => offsets.get(number).copied(),
            Kept::Shelved(bytes, range) => {
                let bytes = bytes.get(range.clone())?.get(number.checked_mul(OFFSET_BYTES)?..)?;
                bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
            }
        }
    }

    /// Tells whether there is this one. O(log n).
    pub(super) fn contains(&self, offset: u32) -> bool {
        let (mut from, mut until) = (0, self.len());
        while from < until {
            let middle = from.midpoint(until);
            match self.get(middle) {
                Some(found) if found == offset => return true,
                Some(found) if found < offset => from = middle.saturating_add(1),
                _ => until = middle,
            }
        }
        false
    }
}

/// Takes such lists out of memory.
#[derive(Debug)]
pub(super) struct Shelf {
    file: Box<dyn Scratch>,
    len: usize,
    ranges: Vec<Range<usize>>,
    is_full: bool,
}

impl Shelf {
    /// Begins a file. Where there is no room for one, memory has to do.
    pub(super) fn new(vfs: &Arc<dyn ReadVfs>) -> Shelf {
        let file = vfs.scratch().unwrap_or_else(|error| {
            tracing::warn!("{error}; what is kept of damaged segments is listed in memory");
            Box::<InMemory>::default()
        });
        Shelf { file, len: 0, ranges: Vec::new(), is_full: false }
    }

    /// Takes the list of the next segment, if there is room.
    pub(super) fn take(&mut self, salvage: &mut Salvage) {
        let Kept::Listed(offsets) = &mut salvage.keep else { return };
        if self.is_full {
            return;
        }
        let bytes: Vec<u8> = offsets.iter().copied().flat_map(u32::to_le_bytes).collect();
        if let Err(error) = self.file.append(&bytes) {
            tracing::warn!("{error}; what is kept of damaged segments is listed in memory");
            self.is_full = true;
            return;
        }
        *offsets = Vec::new();
        let end = self.len.saturating_add(bytes.len());
        self.ranges.push(self.len..end);
        self.len = end;
    }

    /// Gives the lists back to the segments, which are those that they were taken from, in that order.
    ///
    /// # Errors
    /// `Io`: what was written cannot be read again.
    pub(super) fn give_back(self, salvages: &mut [Salvage]) -> Result<()> {
        let bytes = Arc::new(self.file.into_map()?);
        for (salvage, range) in salvages.iter_mut().zip(self.ranges) {
            salvage.keep = Kept::Shelved(bytes.clone(), range);
        }
        Ok(())
    }
}
