//! Writes pages in order, each with its checksum.

use crate::error::Result;
use crate::format::index::{PAGE_BYTES, PAGE_DATA_BYTES, PageCrc};

/// Bytes handed to the sink at a time, about.
pub(super) const CHUNK_BYTES: usize = 64 * PAGE_BYTES;

/// Receives a file's bytes in order.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Cuts a sequence of items into pages.
pub(super) struct PageWriter<'a> {
    sink: Sink<'a>,
    crc: PageCrc,
    /// Whole pages, and at the end the one being filled.
    chunk: Vec<u8>,
    /// Where in `chunk` the page being filled begins.
    start: usize,
    /// Its number.
    page: u32,
    /// Items in it.
    items: u32,
}

impl<'a> PageWriter<'a> {
    /// Begins with page 0, which is complete.
    pub(super) fn new(sink: Sink<'a>, crc: PageCrc, header: &[u8; PAGE_BYTES]) -> PageWriter<'a> {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES.saturating_add(PAGE_BYTES));
        chunk.extend_from_slice(header);
        PageWriter { sink, crc, start: chunk.len(), chunk, page: 1, items: 0 }
    }

    /// Appends an item to the section.
    #[inline]
    pub(super) fn item(&mut self, item: &[u8], per_page: u32) -> Result<()> {
        self.chunk.extend_from_slice(item);
        self.items = self.items.saturating_add(1);
        if self.items >= per_page { self.end_page() } else { Ok(()) }
    }

    /// Ends the section: the next item begins a page.
    pub(super) fn end_section(&mut self) -> Result<()> {
        if self.items > 0 { self.end_page() } else { Ok(()) }
    }

    /// Hands over what is left; returns the number of pages.
    pub(super) fn finish(mut self) -> Result<u32> {
        self.end_section()?;
        self.flush()?;
        Ok(self.page)
    }

    fn end_page(&mut self) -> Result<()> {
        self.chunk.resize(self.start.saturating_add(PAGE_DATA_BYTES), 0);
        let data = self.chunk.get(self.start..).unwrap_or_default();
        let seal = self.crc.seal(self.page, data);
        self.chunk.extend_from_slice(&seal);
        self.page = self.page.saturating_add(1);
        self.items = 0;
        self.start = self.chunk.len();
        if self.start >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if !self.chunk.is_empty() {
            (self.sink)(&self.chunk)?;
        }
        self.chunk.clear();
        self.start = 0;
        Ok(())
    }
}
