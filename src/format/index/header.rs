//! Page 0 of an index file.

use super::{
    BUCKETS_PER_PAGE, CommitId, Damage, ENTRIES_PER_PAGE, Error, FileKind, LIST_ITEMS_PER_PAGE, Location,
    MAGIC, PAGE_BYTES, PAGE_DATA_BYTES, PageCrc, Place, RUNS_PER_PAGE, Result, SEGMENTS_PER_PAGE,
    SLOTS_PER_BUCKET, SegmentId, StoreId, VERSION,
};
use crate::limits::SEGMENT_COUNT_MAX;

/// End of the named fields.
const FIELDS_END: usize = 240;

/// The state of the log that an index reflects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Covered {
    /// The last commit in the index.
    pub commit: CommitId,
    /// Its COMMIT record.
    pub at: Location,
    /// That record's `data_crc`.
    pub data_crc: u32,
    /// Offset in that segment at which the log goes on.
    pub end: u32,
    /// Next free segment number as of the commit.
    pub next_segment: SegmentId,
}

/// Figures of the whole store as of the covered commit: all layers together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Live snapshots, aliases not counted.
    pub snapshots: u64,
    /// Live aliases.
    pub aliases: u64,
    /// Keys whose newest record is a DELETE.
    pub tombstones: u64,
    /// Distinct ids with a live snapshot, told apart by their hashes.
    pub ids: u64,
    /// Runs that are not deleted.
    pub runs: u64,
    /// Bytes of the live snapshots' files.
    pub bytes: u64,
}

/// Numbers of items in one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Entries.
    pub entries: u32,
    /// Buckets that are some hash's home.
    pub home_buckets: u32,
    /// Buckets, spill buckets included.
    pub buckets: u32,
    /// Slots used: distinct hashes.
    pub slots: u32,
    /// Items of the list section.
    pub list_items: u64,
    /// Rows of runs.
    pub runs: u32,
    /// Rows of segments.
    pub segments: u32,
}

/// Where a section lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// Its first page.
    pub first: u32,
    /// Its pages.
    pub pages: u32,
    /// Its items.
    pub count: u64,
}

/// The sections of a file, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sections {
    /// Section 1.
    pub buckets: Section,
    /// Section 2.
    pub lists: Section,
    /// Section 3.
    pub entries: Section,
    /// Section 4.
    pub runs: Section,
    /// Section 5.
    pub segments: Section,
    /// Pages of the file, the header included.
    pub pages: u32,
}

impl Sections {
    /// Lays out sections for those numbers of items; `None` if the pages cannot be numbered.
    pub fn of(counts: &Counts) -> Option<Sections> {
        let mut next = 1u32;
        let mut section = |count: u64, per_page: u32| {
            let pages = u32::try_from(count.div_ceil(u64::from(per_page))).ok()?;
            let first = next;
            next = next.checked_add(pages)?;
            Some(Section { first, pages, count })
        };
        let buckets = section(counts.buckets.into(), BUCKETS_PER_PAGE)?;
        let lists = section(counts.list_items, LIST_ITEMS_PER_PAGE)?;
        let entries = section(counts.entries.into(), ENTRIES_PER_PAGE)?;
        let runs = section(counts.runs.into(), RUNS_PER_PAGE)?;
        let segments = section(counts.segments.into(), SEGMENTS_PER_PAGE)?;
        Some(Sections { buckets, lists, entries, runs, segments, pages: next })
    }

    pub(super) fn in_order(&self) -> [Section; 5] {
        [self.buckets, self.lists, self.entries, self.runs, self.segments]
    }
}

/// What page 0 says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Base or delta.
    pub kind: FileKind,
    /// Whose index it is.
    pub store: StoreId,
    /// Up to where it reflects the log.
    pub covered: Covered,
    /// Seed of the hash.
    pub seed: u64,
    /// For a delta, the commit of its base.
    pub base: CommitId,
    /// For a delta, the commit of the layer before it.
    pub previous: CommitId,
    /// Numbers of items.
    pub counts: Counts,
    /// Figures of the store.
    pub totals: Totals,
    /// Places of the log up to the covered commit where committed records are damaged beyond naming: no entry stands for them.
    pub gaps: u64,
}

impl Header {
    /// Returns what the checksums of the file's pages start from.
    pub fn crc(&self) -> PageCrc {
        PageCrc::new(self.store, self.covered.commit, self.kind)
    }

    /// Writes page 0.
    ///
    /// # Errors
    /// `TooLarge` if the pages cannot be numbered with 32 bits.
    pub fn encode(&self) -> Result<[u8; PAGE_BYTES]> {
        let sections = Sections::of(&self.counts).ok_or(Error::TooLarge {
            what: "index file, in pages",
            len: u64::MAX,
            max: u32::MAX.into(),
        })?;
        let mut page = Vec::with_capacity(PAGE_BYTES);
        page.extend(MAGIC);
        page.extend(VERSION.to_le_bytes());
        page.extend([self.kind.byte(), 0, 0, 0, 0, 0]);
        page.extend(self.store.0);
        page.extend(self.covered.commit.0.to_le_bytes());
        let Location { segment, offset } = self.covered.at;
        let next = self.covered.next_segment.0;
        for number in [segment.0, offset, self.covered.data_crc, self.covered.end, next, 0] {
            page.extend(number.to_le_bytes());
        }
        for number in [self.seed, self.base.0, self.previous.0] {
            page.extend(number.to_le_bytes());
        }
        for section in sections.in_order() {
            page.extend(section.first.to_le_bytes());
            page.extend(section.pages.to_le_bytes());
        }
        let (c, t) = (&self.counts, &self.totals);
        for number in [c.entries, c.home_buckets, c.buckets, c.slots] {
            page.extend(u64::from(number).to_le_bytes());
        }
        for number in [c.list_items, c.runs.into(), c.segments.into()] {
            page.extend(number.to_le_bytes());
        }
        for number in [t.snapshots, t.aliases, t.tombstones, t.ids, t.runs, t.bytes, self.gaps] {
            page.extend(number.to_le_bytes());
        }
        debug_assert_eq!(page.len(), FIELDS_END, "the header's fields end where the layout says");
        page.resize(PAGE_DATA_BYTES, 0);
        page.extend(self.crc().of(0, &page).to_le_bytes());
        let mut out = [0; PAGE_BYTES];
        out.iter_mut().zip(page).for_each(|(to, from)| *to = from);
        Ok(out)
    }

    /// Reads page 0 of the file called `name`. The sections that it announces are those of
    /// [`Sections::of`] its counts.
    ///
    /// # Errors
    /// `Damaged` for what no writer writes, `UnsupportedVersion` for an intact page of a newer version.
    pub fn decode(page: &[u8; PAGE_BYTES], name: &str) -> Result<Header> {
        let damaged = |damage| Error::damaged(Place::at(name, 0), damage);
        let fields = Fields { page };
        if fields.array(0) != MAGIC {
            return Err(damaged(Damage::Magic));
        }
        let (store, kind) = (StoreId(fields.array(16)), fields.array::<1>(10));
        PageCrc::raw(&store.0, fields.u64(32), kind[0]).check(0, page).map_err(damaged)?;
        let version = u16::from_le_bytes(fields.array(8));
        if version == 0 {
            return Err(damaged(Damage::Field { what: "index version", value: 0 }));
        }
        if version != VERSION {
            return Err(Error::UnsupportedVersion {
                path: name.into(),
                found: version.into(),
                supported: VERSION.into(),
            });
        }
        fields.read(store, kind[0]).map_err(|(what, value)| damaged(Damage::Field { what, value }))
    }

    /// Returns the first field whose value does not go with the others.
    fn contradiction(&self) -> Option<(&'static str, u64)> {
        let c = &self.counts;
        let slots_max = u64::from(c.buckets).saturating_mul(u64::try_from(SLOTS_PER_BUCKET).unwrap_or(8));
        let lists_max = u64::from(c.entries).saturating_add(u64::from(c.entries / 2));
        let (base, previous, commit) = (self.base, self.previous, self.covered.commit);
        let layers_agree = match self.kind {
            FileKind::Base => base.0 == 0 && previous.0 == 0,
            FileKind::Delta => base <= previous && previous < commit,
        };
        let empty = c.entries == 0;
        let rules = [
            (layers_agree, "commit of the layer before a delta", previous.0),
            (c.slots <= c.entries && (c.slots == 0) == empty, "number of slots", c.slots.into()),
            (u64::from(c.slots) <= slots_max, "number of buckets", c.buckets.into()),
            (c.home_buckets <= c.buckets, "number of home buckets", c.home_buckets.into()),
            ((c.home_buckets == 0) == (c.buckets == 0), "number of home buckets", c.home_buckets.into()),
            (c.list_items <= lists_max, "number of list items", c.list_items),
            (empty || c.runs > 0, "number of runs", c.runs.into()),
            (empty || c.segments > 0, "number of segments", c.segments.into()),
            (u64::from(c.segments) <= SEGMENT_COUNT_MAX, "number of segments", c.segments.into()),
        ];
        rules.into_iter().find(|(holds, ..)| !holds).map(|(_, what, value)| (what, value))
    }
}

/// A field that cannot be, and its value.
type BadField = (&'static str, u64);

/// Reads fields by their places, which are constants inside the page.
struct Fields<'a> {
    page: &'a [u8; PAGE_BYTES],
}

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.page.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    fn count(&self, at: usize, what: &'static str) -> std::result::Result<u32, BadField> {
        let value = self.u64(at);
        u32::try_from(value).map_err(|_| (what, value))
    }

    fn read(&self, store: StoreId, kind: u8) -> std::result::Result<Header, BadField> {
        let kind = match kind {
            0 => FileKind::Base,
            1 => FileKind::Delta,
            other => return Err(("kind of index file", other.into())),
        };
        let header = Header {
            kind,
            store,
            covered: Covered {
                commit: CommitId(self.u64(32)),
                at: Location { segment: SegmentId(self.u32(40)), offset: self.u32(44) },
                data_crc: self.u32(48),
                end: self.u32(52),
                next_segment: SegmentId(self.u32(56)),
            },
            seed: self.u64(64),
            base: CommitId(self.u64(72)),
            previous: CommitId(self.u64(80)),
            counts: Counts {
                entries: self.count(128, "number of entries")?,
                home_buckets: self.count(136, "number of home buckets")?,
                buckets: self.count(144, "number of buckets")?,
                slots: self.count(152, "number of slots")?,
                list_items: self.u64(160),
                runs: self.count(168, "number of runs")?,
                segments: self.count(176, "number of segments")?,
            },
            totals: Totals {
                snapshots: self.u64(184),
                aliases: self.u64(192),
                tombstones: self.u64(200),
                ids: self.u64(208),
                runs: self.u64(216),
                bytes: self.u64(224),
            },
            gaps: self.u64(232),
        };
        header.contradiction().map_or(Ok(()), Err)?;
        self.check_sections(&header.counts)?;
        self.check_zeros()?;
        Ok(header)
    }

    fn check_sections(&self, counts: &Counts) -> std::result::Result<(), BadField> {
        let sections = Sections::of(counts).ok_or(("number of pages", u64::MAX))?;
        for (at, section) in (88..).step_by(8).zip(sections.in_order()) {
            let (first, pages) = (self.u32(at), self.u32(at.saturating_add(4)));
            if first != section.first {
                return Err(("first page of a section", first.into()));
            }
            if pages != section.pages {
                return Err(("pages of a section", pages.into()));
            }
        }
        Ok(())
    }

    fn check_zeros(&self) -> std::result::Result<(), BadField> {
        let unused = [11..16, 60..64, FIELDS_END..PAGE_DATA_BYTES];
        let bytes = unused.into_iter().filter_map(|range| self.page.get(range)).flatten();
        match bytes.copied().find(|byte| *byte != 0) {
            Some(byte) => Err(("unused byte of the header", byte.into())),
            None => Ok(()),
        }
    }
}
