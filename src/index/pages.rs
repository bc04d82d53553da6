//! The bytes of an index file, each page verified when it is first touched.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Damage, Error, Place, Result};
use crate::format::index::{PAGE_BYTES, PageCrc, Section};
use crate::seeded::{self, Bug};

/// Bytes of a page, as a file position.
const PAGE: u64 = 4096;

/// The pages of one file.
pub(super) struct Pages<B> {
    bytes: B,
    name: Box<str>,
    crc: PageCrc,
    /// One bit a page: its checksum held. The bytes never change, so a bit never has to be cleared and
    /// needs no ordering with anything else.
    verified: Box<[AtomicU64]>,
}

impl<B: AsRef<[u8]>> Pages<B> {
    /// Takes `pages` pages, of which none is verified yet. The caller has compared their number with the
    /// length of the file.
    pub(super) fn new(bytes: B, name: &str, crc: PageCrc, pages: u32) -> Pages<B> {
        let words = usize::try_from(pages.div_ceil(64)).unwrap_or(0);
        let verified = std::iter::repeat_with(AtomicU64::default).take(words).collect();
        Pages { bytes, name: name.into(), crc, verified }
    }

    /// Returns the name of the file, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Says what is wrong in a page.
    #[cold]
    pub(super) fn damage(&self, page: u32, damage: Damage) -> Error {
        Error::damaged(Place::at(&*self.name, u64::from(page).saturating_mul(PAGE)), damage)
    }

    /// Returns a page whose checksum holds. O(1); the first touch costs one checksum of 4 KiB.
    ///
    /// # Errors
    /// `Damaged` with the page's place.
    #[inline]
    pub(super) fn page(&self, number: u32) -> Result<&[u8; PAGE_BYTES]> {
        let start = usize::try_from(number).ok().and_then(|n| n.checked_mul(PAGE_BYTES));
        let page = start.and_then(|at| self.bytes.as_ref().get(at..)).and_then(|rest| rest.first_chunk());
        let (Some(page), Some(word)) =
            (page, usize::try_from(number / 64).ok().and_then(|n| self.verified.get(n)))
        else {
            return Err(self.damage(number, Damage::Index { what: "number of pages" }));
        };
        let bit = 1u64.rotate_left(number % 64);
        if word.load(Ordering::Relaxed) & bit == 0 && !seeded::has(Bug::PageUnchecked) {
            self.verify(number, page, word, bit)?;
        }
        Ok(page)
    }

    #[cold]
    fn verify(&self, number: u32, page: &[u8; PAGE_BYTES], word: &AtomicU64, bit: u64) -> Result<()> {
        self.crc.check(number, page).map_err(|damage| self.damage(number, damage))?;
        word.fetch_or(bit, Ordering::Relaxed);
        Ok(())
    }

    /// Verifies a page again, whether or not it was touched before.
    pub(super) fn recheck(&self, number: u32) -> Result<()> {
        let word = usize::try_from(number / 64).ok().and_then(|n| self.verified.get(n));
        if let Some(word) = word {
            word.fetch_and(!1u64.rotate_left(number % 64), Ordering::Relaxed);
        }
        self.page(number).map(drop)
    }

    /// Returns the `index`-th item of a section: `N` bytes, `PER_PAGE` a page.
    #[inline]
    pub(super) fn item<const N: usize, const PER_PAGE: u32>(
        &self,
        section: Section,
        index: u64,
    ) -> Result<&[u8; N]> {
        let per_page = NonZeroU64::from(NonZeroU32::new(PER_PAGE).unwrap_or(NonZeroU32::MIN));
        let page = u32::try_from(index / per_page).ok().and_then(|page| page.checked_add(section.first));
        let (Some(page), true) = (page, index < section.count) else {
            return Err(self.beyond(section, index));
        };
        let at = usize::try_from(index % per_page).ok().and_then(|n| n.checked_mul(N));
        let item = at.and_then(|at| self.page(page).map(|p| p.get(at..)?.first_chunk()).transpose());
        item.unwrap_or_else(|| Err(self.beyond(section, index)))
    }

    /// Returns the items of a section from the `index`-th one to the last of its page: at least one.
    ///
    /// # Errors
    /// `Damaged` with the page's place.
    pub(super) fn items<const N: usize, const PER_PAGE: u32>(
        &self,
        section: Section,
        index: u64,
    ) -> Result<&[[u8; N]]> {
        let per_page = NonZeroU64::from(NonZeroU32::new(PER_PAGE).unwrap_or(NonZeroU32::MIN));
        let page = u32::try_from(index / per_page).ok().and_then(|page| page.checked_add(section.first));
        let (Some(page), true) = (page, index < section.count) else {
            return Err(self.beyond(section, index));
        };
        let (items, _) = self.page(page)?.as_chunks();
        let in_page = usize::try_from(PER_PAGE).unwrap_or(0);
        let from = usize::try_from(index % per_page).unwrap_or(usize::MAX);
        let items = items.get(from..in_page).filter(|items| !items.is_empty());
        items.ok_or_else(|| self.beyond(section, index))
    }

    /// Returns the bytes of the `index`-th item of a section, whose page need not hold; nothing if there is none.
    #[inline]
    pub(super) fn unverified<const N: usize, const PER_PAGE: u32>(
        &self,
        section: Section,
        index: u64,
    ) -> &[u8] {
        let per_page = NonZeroU64::from(NonZeroU32::new(PER_PAGE).unwrap_or(NonZeroU32::MIN));
        let page = u64::from(section.first).saturating_add(index / per_page);
        let start = usize::try_from(page).unwrap_or(usize::MAX).saturating_mul(PAGE_BYTES);
        let at = usize::try_from(index % per_page).unwrap_or(usize::MAX).saturating_mul(N);
        let start = start.saturating_add(at);
        self.bytes.as_ref().get(start..start.saturating_add(N)).unwrap_or_default()
    }

    /// A number that points out of its section, in a page whose checksum holds: a writer's fault, or a
    /// forgery.
    #[cold]
    fn beyond(&self, section: Section, index: u64) -> Error {
        self.damage(section.first, Damage::Field { what: "number of an item of this section", value: index })
    }
}
