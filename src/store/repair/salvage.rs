//! What there is to save in one damaged segment, and what is lost with it.

use std::collections::BTreeMap;

use super::basis::is_of_index;
use super::kept::Kept;
use super::known::{Known, Seen};
use super::pointers::Pointer;
use super::{Fate, Lost, LostKind, Unknown};
use crate::error::{Damage, Error, Place, Result};
use crate::format::commit::{self, COMMIT_DATA_LEN};
use crate::format::put;
use crate::format::record::{HEAD_BYTES, HEAD_LEN, Head, Tag, key_of};
use crate::format::segment::file_name;
use crate::id::{CommitId, Key, Location, ObjectKey, RunKey, SegmentId};
use crate::index::{EntryFlags, hash_key};
use crate::segment::{Codec, Segment, Segments, Step, Walk, codec};
use crate::store::check::Finding;
use crate::store::state::State;

/// What the plan says of one segment.
#[derive(Debug)]
pub(super) struct Salvage {
    pub(super) segment: SegmentId,
    /// Whether there is a file.
    pub(super) present: bool,
    pub(super) bytes: u64,
    /// What the check has found in it.
    pub(super) findings: Vec<Finding>,
    /// Where live records start that are intact.
    pub(super) keep: Kept,
    /// Keys whose newest record was a DELETE that cannot be read, and where: they stay deleted.
    pub(super) deleted: Vec<(u32, Key)>,
    /// The same where only a hash is known so far.
    pub(super) deleted_hashes: Vec<(u32, u64, RunKey)>,
    pub(super) lost: Vec<Lost>,
    /// Older records that answer in the place of lost ones.
    pub(super) older: Vec<Location>,
    pub(super) unknown: Vec<Unknown>,
}

/// What decides about a segment.
pub(super) struct Judge<'j> {
    pub(super) state: &'j State,
    /// The same segments, not mapped: an error of the disk must be an error here.
    pub(super) segments: &'j Segments,
    pub(super) seed: u64,
    /// The index does not decide, and yet what it names was acknowledged.
    pub(super) is_claimed: bool,
    /// What lies before this is in the index if it was live.
    pub(super) covered: Location,
}

/// The records between two COMMITs, as far as they can be read.
#[derive(Default)]
struct Group {
    count: u64,
    gaps: Vec<(u32, u32)>,
}

impl Judge<'_> {
    /// Goes through a segment. `pointers` is what the index has on it, by offset. Linear in the length of the file,
    /// whatever stands in it.
    pub(super) fn salvage(
        &self,
        id: SegmentId,
        findings: Vec<Finding>,
        pointers: &BTreeMap<u32, Pointer>,
    ) -> Result<Salvage> {
        let known = Known::of(pointers, &findings);
        let mut salvage = Salvage {
            segment: id,
            present: false,
            bytes: 0,
            findings,
            keep: Kept::Listed(Vec::new()),
            deleted: Vec::new(),
            deleted_hashes: Vec::new(),
            lost: Vec::new(),
            older: Vec::new(),
            unknown: Vec::new(),
        };
        let mut seen = Seen::default();
        let segment = self.segments.get(id)?;
        if let Some(segment) = &segment {
            salvage.present = true;
            salvage.bytes = segment.file().len()?;
            self.walk(segment, &known, &mut salvage, &mut seen)?;
        }
        for (offset, pointer) in pointers.iter().filter(|(at, _)| !seen.records.contains(*at)) {
            let key = match (&segment, pointer.key) {
                (_, Some(key)) => Some(key),
                (Some(segment), None) => self.key_by_hash(segment, *offset, pointer)?,
                (None, None) if pointer.hash.is_none() => Some(Key::of_run(pointer.run)),
                (None, None) => None,
            };
            let why = match &segment {
                None => "the segment is missing",
                Some(_) if seen.displaced.contains(offset) => "another record stands in its place",
                Some(_) => "its head is damaged",
            };
            salvage.gone(*offset, pointer, key, why);
        }
        salvage.lost.sort_unstable_by_key(|lost| lost.place.offset);
        self.count_cut_off(&mut salvage);
        self.count_unknown_file(&mut salvage, segment.as_deref());
        salvage.count_gone();
        salvage.count_doubtful();
        Ok(salvage)
    }

    fn walk(
        &self,
        segment: &Segment,
        known: &Known<'_>,
        salvage: &mut Salvage,
        seen: &mut Seen,
    ) -> Result<()> {
        let mut group = Group::default();
        let mut last = segment.header().as_ref().ok().map(|header| header.previous.id);
        let mut walk = segment.walk(None)?;
        while let Some(step) = walk.step()? {
            match step {
                Step::Gap { offset, len, .. } => group.gaps.push((offset, len)),
                Step::Record { offset, head } => {
                    known.cover(offset, &head, self.seed, seen);
                    match head.tag {
                        Tag::Dictionary => {}
                        Tag::Put | Tag::Delete => {
                            group.count = group.count.saturating_add(1);
                            self.record(segment, offset, &head, known.pointers.get(&offset), salvage)?;
                        }
                        Tag::Commit => match read_commit(&mut walk, offset, &head)? {
                            Some(commit) => {
                                if known.chains.contains(&offset) {
                                    self.lost_before(&commit, salvage);
                                }
                                let done = std::mem::take(&mut group);
                                self.close(&done, last, Some(&commit), known, salvage);
                                last = Some(commit.id);
                            }
                            // It held no records of its own.
                            None => last = None,
                        },
                    }
                }
            }
        }
        self.close(&group, last, None, known, salvage);
        Ok(())
    }

    /// Decides about a record whose head can be read.
    fn record(
        &self,
        segment: &Segment,
        offset: u32,
        head: &Head,
        pointer: Option<&Pointer>,
        salvage: &mut Salvage,
    ) -> Result<()> {
        let (key, at) = (head.key(), Location { segment: segment.id(), offset });
        let live = self.state.locate(&key)?;
        if live != Some(at) {
            let named = pointer.filter(|pointer| self.is_claimed && pointer.is_of(&key, self.seed));
            match (named, live) {
                (None, _) => return Ok(()),
                // No COMMIT is behind it, and the index has it as committed.
                (Some(_), None) => {}
                (Some(pointer), Some(_)) => {
                    salvage.gone(offset, pointer, Some(key), "there is no COMMIT behind it");
                    return Ok(());
                }
            }
        }
        match self.verify(segment, offset) {
            Ok(()) => salvage.keep.push(offset),
            Err(Error::Damaged { .. }) if head.tag == Tag::Delete => salvage.deleted.push((offset, key)),
            Err(Error::Damaged { damage, .. }) => {
                let pointer = pointer.copied().unwrap_or(Pointer {
                    run: key.run,
                    hash: (!key.is_run()).then(|| hash_key(&key.object, self.seed)),
                    flags: EntryFlags::default(),
                    key: Some(key),
                });
                salvage.gone(offset, &pointer, Some(key), &damage.to_string());
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Reads a record as far down as a reader would, so that nothing is carried over that cannot be read later.
    fn verify(&self, segment: &Segment, offset: u32) -> Result<()> {
        let bad = |damage: Damage| Error::damaged(segment.place(offset), damage);
        let record = segment.record(offset)?;
        if record.head.tag == Tag::Delete {
            return put::decode_delete(&record.data).map(|_| ()).map_err(bad);
        }
        let put = put::decode(&record.data).map_err(bad)?;
        put.name(&record.head.key()).map_err(bad)?;
        let dictionary = match put.codec {
            Codec::ZstdDictionary => Some(self.segments.dictionary(record.dictionary)?),
            Codec::Raw | Codec::Zstd => None,
        };
        codec::decode(put.codec, put.payload, put.raw_len, dictionary.map(|dictionary| &**dictionary))
            .map(|_| ())
            .map_err(bad)
    }

    /// Reads a key out of a damaged head, if the index vouches for it.
    fn key_by_hash(&self, segment: &Segment, offset: u32, pointer: &Pointer) -> Result<Option<Key>> {
        let Some(hash) = pointer.hash else { return Ok(Some(Key::of_run(pointer.run))) };
        let mut bytes = [0u8; HEAD_BYTES];
        let got = segment.file().read_at(&mut bytes, offset.into())?;
        let key = bytes.get(..got).and_then(|bytes| bytes.get(9..)).and_then(|rest| rest.first_chunk::<32>());
        let object = key.map(|key| key_of(key).object);
        let fits = |object: &ObjectKey| hash_key(object, self.seed) == hash;
        Ok(object.filter(fits).map(|object| Key::new(object, pointer.run)))
    }

    /// Judges the gaps among the records of a transaction: what of them is lost without a trace in the index.
    fn close(
        &self,
        group: &Group,
        last: Option<CommitId>,
        commit: Option<&commit::CommitData>,
        known: &Known<'_>,
        salvage: &mut Salvage,
    ) {
        let is_open = |(offset, len): &&(u32, u32)| {
            let at = Location { segment: salvage.segment, offset: *offset };
            // What no COMMIT follows was committed only if the check says so.
            let told = known.gaps.range(*offset..offset.saturating_add(*len)).next();
            let counts = commit.is_some() || told.is_some();
            at >= self.covered && counts && known.is_open(*offset, *len)
        };
        let open: Vec<&(u32, u32)> = group.gaps.iter().filter(is_open).collect();
        let Some((first, _)) = open.first() else { return };
        let bytes: u64 = group.gaps.iter().map(|(_, len)| u64::from(*len)).sum();
        let between = commit.zip(last).map(|(commit, last)| commit.previous.id.0.saturating_sub(last.0));
        let commit_len = u64::from(HEAD_LEN).saturating_add(COMMIT_DATA_LEN.into());
        if between.is_some_and(|between| between > 0 && between.saturating_mul(commit_len) == bytes) {
            // The COMMITs that are missing fill the gaps: no record can have been there.
            return;
        }
        let records = match (commit, between) {
            (Some(commit), Some(0)) => {
                let named: u64 = group.gaps.iter().map(|(offset, len)| known.count_in(*offset, *len)).sum();
                Some(u64::from(commit.records).saturating_sub(group.count).saturating_sub(named))
            }
            _ => None,
        };
        if records == Some(0) {
            return;
        }
        let len = open.iter().map(|(_, len)| u64::from(*len)).sum();
        let place = Place::at(file_name(salvage.segment), u64::from(*first));
        salvage.unknown.push(Unknown { place, len: Some(len), records });
    }

    /// A COMMIT whose predecessor lay in a segment of which nobody knows anything, or in one that has another in its place:
    /// then that one is not the segment that this COMMIT was written behind, whatever its records say.
    fn lost_before(&self, commit: &commit::CommitData, salvage: &mut Salvage) {
        let before = commit.previous.at.segment;
        let is_there = self.segments.ids().binary_search(&before).is_ok();
        let is_absent = !is_there && !self.state.dead.contains(&before) && before >= self.covered.segment;
        if is_absent || is_there && before != salvage.segment {
            let place = Place::whole(file_name(before));
            salvage.unknown.push(Unknown { place, len: None, records: None });
        }
    }

    /// A file that ends before a COMMIT that another segment names.
    fn count_cut_off(&self, salvage: &mut Salvage) {
        let lost =
            salvage.findings.iter().filter(|one| matches!(one.damage, Some(Damage::CommitLost { .. })));
        let Some(end) = lost.filter_map(|one| one.place.offset).max() else { return };
        let at = Location { segment: salvage.segment, offset: u32::try_from(end).unwrap_or(u32::MAX) };
        if at >= self.covered && end > salvage.bytes && salvage.unknown.is_empty() {
            let place = Place::at(file_name(salvage.segment), salvage.bytes);
            let len = Some(end.saturating_sub(salvage.bytes));
            salvage.unknown.push(Unknown { place, len, records: None });
        }
    }

    /// A file that is missing or another's: of what stood in its place nothing is known beyond the index.
    fn count_unknown_file(&self, salvage: &mut Salvage, segment: Option<&Segment>) {
        let foreign = |segment: &Segment| {
            matches!(segment.header(), Err(Damage::Foreign { .. } | Damage::Misplaced { .. }))
        };
        let place = Place::whole(file_name(salvage.segment));
        let is_ours = salvage.segment < self.state.position.next_segment;
        let at = Location { segment: salvage.segment, offset: u32::MAX };
        let is_gone = segment.is_none_or(foreign) && salvage.keep.is_empty();
        if (is_ours || segment.is_none()) && is_gone && at >= self.covered {
            salvage.unknown.push(Unknown { place, len: None, records: None });
        }
    }
}

impl Salvage {
    /// Tells whether the log ended here once with a transaction that it does not have any more.
    pub(super) fn has_gone(&self) -> bool {
        self.findings.iter().any(|one| matches!(one.damage, Some(Damage::CommitGone { .. })))
    }

    /// Nothing is known of that transaction if the index named none of its records.
    fn count_gone(&mut self) {
        if self.has_gone() && self.unknown.is_empty() {
            self.unknown.push(Unknown {
                place: Place::whole(file_name(self.segment)),
                len: None,
                records: None,
            });
        }
    }

    /// Where a segment does not have what the index names in it, or COMMITs and records that are not each other's, it is of
    /// another history: of what it has where the index names it, nobody knows whether that was acknowledged.
    fn count_doubtful(&mut self) {
        let is_other = |one: &Finding| match &one.damage {
            Some(Damage::Transaction { .. }) => true,
            Some(damage) => is_of_index(damage),
            None => false,
        };
        if !self.keep.is_empty() && self.findings.iter().any(is_other) {
            let records = u64::try_from(self.keep.len()).ok();
            self.unknown.push(Unknown { place: Place::whole(file_name(self.segment)), len: None, records });
        }
    }

    /// Notes that a live record cannot be read.
    fn gone(&mut self, offset: u32, pointer: &Pointer, key: Option<Key>, why: &str) {
        if pointer.flags.tombstone {
            match (key, pointer.hash) {
                (Some(key), _) => self.deleted.push((offset, key)),
                (None, Some(hash)) => self.deleted_hashes.push((offset, hash, pointer.run)),
                (None, None) => {}
            }
            return;
        }
        let kind = match (pointer.hash, pointer.flags.alias) {
            (None, _) => LostKind::Run,
            (Some(_), true) => LostKind::Alias,
            (Some(_), false) => LostKind::Snapshot,
        };
        self.lost.push(Lost {
            place: Place::at(file_name(self.segment), offset.into()),
            kind,
            run: pointer.run,
            key,
            hash: pointer.hash,
            why: why.to_owned(),
            fate: Fate::Lost,
        });
    }
}

fn read_commit(walk: &mut Walk<'_>, offset: u32, head: &Head) -> Result<Option<commit::CommitData>> {
    if walk.verify(offset, head)?.is_err() {
        return Ok(None);
    }
    Ok(commit::decode(walk.data(offset, head)?).ok())
}
