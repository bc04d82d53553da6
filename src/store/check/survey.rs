//! Looks at records: their bytes, and whether the index agrees. Runs in several threads.

use std::borrow::Cow;

use super::finding::{Finding, RecordKind, RecordReport};
use super::options::{Judge, Judgement, Level, Remark};
use crate::error::{Damage, Error, Place, Result};
use crate::format::put::{self, NamedKeys, PutData, PutKind};
use crate::format::record::{HEAD_LEN, Head, Tag};
use crate::format::segment::file_name;
use crate::id::{CommitId, DictionaryId, Key, Location, RunKey, SegmentId};
use crate::index::hash_key;
use crate::progress::Stop;
use crate::segment::{Dictionary, Record, Walk};
use crate::store::Snapshot;
use crate::store::log::{Notes, Survey};
use crate::store::state::State;
use crate::vfs::{Soon, prefetch};

pub(super) use counts::Counts;
use newest::{Newest, Numbers, is_at_home};

mod counts;
mod newest;

/// Records that wait before they are held against the index: by then the lines of memory that they were asked for are there.
const BATCH: usize = 32;

/// What one thing to tell takes, with a name of the usual length.
const TOLD_BYTES: usize = size_of::<Told>().saturating_add(64);

/// What there is to tell, in the order of the log.
#[derive(Debug)]
pub(super) enum Told {
    Finding(Box<Finding>),
    Record(RecordReport),
    Remark(RunKey, Remark),
}

/// What is kept of records until their COMMIT.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) segment: Option<SegmentId>,
    pub(super) counts: Counts,
    /// There are records whose heads do not hold.
    pub(super) broken: bool,
    pub(super) told: Vec<Told>,
    /// Records that wait: of one segment, and of one run.
    queue: Vec<Seen>,
    /// How the layers of the index number these two.
    within: Option<Numbers>,
    keys: NamedKeys,
}

impl Notes for Noted {
    fn weight(&self) -> usize {
        size_of::<Noted>().saturating_add(self.told.len().saturating_mul(TOLD_BYTES))
    }
}

/// A record before it is held against the index. Small, as there is one for each record.
#[derive(Debug)]
struct Seen {
    at: Location,
    key: Key,
    is_run: bool,
    size: u32,
    tag: Tag,
    kind: Option<PutKind>,
    /// The object's hash in the index.
    hash: u64,
    txn: CommitId,
    /// The index has it as the newest of its key. `false`: that is not known yet.
    is_newest: bool,
    rare: Option<Box<Rare>>,
}

/// What is known of few records, or wanted seldom.
#[derive(Debug, Default)]
struct Rare {
    damage: Option<Damage>,
    name: Option<Vec<u8>>,
}

impl Seen {
    /// Tells whether it is a snapshot with nothing to tell of.
    fn is_plain(&self) -> bool {
        self.rare.is_none() && self.kind == Some(PutKind::Snapshot)
    }

    #[inline]
    fn is_damaged(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.damage.is_some())
    }

    #[cold]
    fn damaged(&mut self, damage: Damage) {
        self.rare.get_or_insert_default().damage = Some(damage);
    }
}

/// Looks at records.
pub(super) struct Inspect<'i> {
    /// With segments that are not mapped: an error of the disk must be an error here.
    pub(super) state: &'i State,
    pub(super) level: Level,
    /// Whether good records are told of too.
    pub(super) records: bool,
    pub(super) judge: Option<Judge<'i>>,
    pub(super) stop: &'i Stop,
}

impl Survey for Inspect<'_> {
    type Notes = Noted;

    #[inline]
    fn record(&self, walk: &mut Walk<'_>, at: Location, head: &Head, notes: &mut Noted) -> Result<()> {
        notes.segment = Some(at.segment);
        notes.counts.records = notes.counts.records.saturating_add(1);
        if head.tag == Tag::Dictionary {
            return dictionary(walk, at, head, notes);
        }
        let mut seen = self.seen(at, head);
        // What is wrong is put down where it is seen: to hand it back costs each record for which there is nothing.
        if walk.is_intact(at.offset, head)? {
            self.decode(walk, head, &mut seen, &mut notes.keys)?;
        } else {
            match walk.verify(at.offset, head)? {
                Err(damage) => seen.damaged(damage),
                Ok(()) => self.decode(walk, head, &mut seen, &mut notes.keys)?,
            }
        }
        if seen.is_damaged() {
            seen.kind = kind_of(walk, at, head)?;
        } else if self.level == Level::Content && seen.kind == Some(PutKind::Snapshot) {
            return self.judge(walk, head, seen, notes);
        }
        self.put_off(seen, notes)
    }

    fn broken(
        &self,
        walk: &mut Walk<'_>,
        at: Location,
        head: &Head,
        damage: &Damage,
        notes: &mut Noted,
    ) -> Result<()> {
        notes.segment = Some(at.segment);
        notes.counts.records = notes.counts.records.saturating_add(1);
        notes.broken = true;
        let mut seen = self.seen(at, head);
        seen.damaged(damage.clone());
        seen.kind = kind_of(walk, at, head)?;
        self.put_off(seen, notes)
    }

    fn settle(&self, notes: &mut Noted) -> Result<()> {
        self.stop.check()?;
        self.compare(notes)
    }
}

impl Inspect<'_> {
    fn seen(&self, at: Location, head: &Head) -> Seen {
        let (key, size, tag) = (head.key(), head.size, head.tag);
        let hash = hash_key(&key.object, self.state.overlay.seed());
        let (is_run, txn) = (key.is_run(), CommitId(0));
        Seen { at, key, is_run, size, tag, kind: None, hash, txn, is_newest: false, rare: None }
    }

    /// Lets a record wait until what it is held against is there.
    #[inline]
    fn put_off(&self, seen: Seen, notes: &mut Noted) -> Result<()> {
        let is_other = !notes.within.as_ref().is_some_and(|within| within.is_of(&seen));
        if is_other || notes.queue.len() >= BATCH {
            self.compare(notes)?;
        }
        if is_other {
            notes.within = self.numbers_of(&seen)?;
        }
        if let Some((layer, _)) = self.first(notes.within.as_ref()) {
            prefetch(layer.bucket_of(seen.hash), Soon::Next);
        }
        notes.queue.push(seen);
        Ok(())
    }

    /// Decodes what a record holds, as strictly as every reader does.
    #[inline]
    fn decode(&self, walk: &mut Walk<'_>, head: &Head, seen: &mut Seen, keys: &mut NamedKeys) -> Result<()> {
        let dictionary = walk.dictionary();
        let data = walk.data(seen.at.offset, head)?;
        match head.tag {
            Tag::Put => match &put::intact(data) {
                Some(put) => self.decode_put(put, dictionary, seen, keys),
                None => seen.damaged(put::why_no_put(data)),
            },
            Tag::Delete => match put::decode_delete(data) {
                Ok((_, commit)) => seen.txn = commit,
                Err(damage) => seen.damaged(damage),
            },
            Tag::Dictionary | Tag::Commit => {}
        }
        Ok(())
    }

    #[inline]
    fn decode_put(&self, put: &PutData<'_>, dictionary: DictionaryId, seen: &mut Seen, keys: &mut NamedKeys) {
        let key = &seen.key;
        if let Err(damage) = put.fits(key, dictionary) {
            return seen.damaged(damage);
        }
        match put.name {
            Some(name) if !keys.fits(key, name) => return seen.damaged(Damage::WrongRecord),
            None if !put::has_implied_name(key) => {
                return seen.damaged(Damage::Field { what: "implied name", value: 0 });
            }
            _ => {}
        }
        if self.records {
            let name = put.name(key).ok().map(Cow::into_owned);
            seen.rare.get_or_insert_default().name = name;
        }
        (seen.kind, seen.txn) = (Some(put.kind), put.first_commit);
    }

    /// Decodes the payload of a live snapshot and lets the caller judge it.
    fn judge(&self, walk: &mut Walk<'_>, head: &Head, mut seen: Seen, notes: &mut Noted) -> Result<()> {
        self.compare(notes)?;
        if !notes.within.as_ref().is_some_and(|within| within.is_of(&seen)) {
            notes.within = self.numbers_of(&seen)?;
        }
        let newest = self.newest(&seen, notes.within.as_ref())?;
        if newest == Newest::This {
            let dictionary = walk.dictionary();
            let data = Cow::Borrowed(walk.data(seen.at.offset, head)?);
            let record = Record { head: *head, data, dictionary };
            let judged = Snapshot::new(&self.state.segments, seen.at, record).and_then(|snapshot| {
                let body = snapshot.body()?;
                Ok(self.judge.map(|judge| judge(&snapshot, &body)).unwrap_or_default())
            });
            let Judgement { bad, remarks } = match judged {
                Ok(judgement) => judgement,
                Err(Error::Damaged { damage, .. }) => {
                    Judgement { bad: Some(damage.to_string()), ..Judgement::default() }
                }
                Err(other) => return Err(other),
            };
            let run = seen.key.run;
            notes.told.extend(remarks.into_iter().map(|remark| Told::Remark(run, remark)));
            if let Some(reason) = bad {
                let damage = Damage::Content { what: "snapshot", reason };
                seen.rare.get_or_insert_default().damage = Some(damage);
            }
        }
        self.note(&mut seen, newest, notes);
        Ok(())
    }

    /// Holds the records that wait against the index.
    fn compare(&self, notes: &mut Noted) -> Result<()> {
        let mut queue = std::mem::take(&mut notes.queue);
        if let Some((layer, within)) = self.first(notes.within.as_ref()) {
            for seen in queue.iter_mut().filter(|seen| !seen.is_run) {
                seen.is_newest = is_at_home(layer, within, seen);
            }
        }
        let (mut plain, mut bytes) = (0u64, 0u64);
        for seen in &mut queue {
            if seen.is_newest && seen.is_plain() {
                plain = plain.saturating_add(1);
                bytes = bytes.saturating_add(seen.size.into());
                continue;
            }
            let newest =
                if seen.is_newest { Newest::This } else { self.newest(seen, notes.within.as_ref())? };
            self.note(seen, newest, notes);
        }
        let (entries, live, ok) = (plain, plain, plain);
        notes.counts.add(&Counts { entries, live, ok, newest_bytes: bytes, ..Counts::default() });
        queue.clear();
        notes.queue = queue;
        Ok(())
    }

    /// Counts a record, and notes what there is to tell.
    fn note(&self, seen: &mut Seen, newest: Newest, notes: &mut Noted) {
        let add = |counter: &mut u64| *counter = counter.saturating_add(1);
        let (is_this, is_run) = (newest == Newest::This, seen.is_run);
        let good = seen.rare.as_ref().is_none_or(|rare| rare.damage.is_none());
        let counts = &mut notes.counts;
        match newest {
            Newest::This if is_run && seen.tag == Tag::Delete => {}
            Newest::This if is_run => add(&mut counts.runs),
            Newest::This => add(&mut counts.entries),
            Newest::Unknown => add(&mut counts.unknown),
            Newest::Later | Newest::Missed(_) => {}
        }
        if is_this {
            counts.newest_bytes = counts.newest_bytes.saturating_add(seen.size.into());
        }
        if is_this && seen.kind.is_some() {
            add(&mut counts.live);
        }
        if is_this && good && seen.kind == Some(PutKind::Snapshot) {
            add(&mut counts.ok);
        }
        if !good || self.records || matches!(newest, Newest::Missed(_)) {
            self.tell(seen, newest, notes);
        }
    }

    /// Notes what there is to tell of a record.
    #[cold]
    fn tell(&self, seen: &mut Seen, newest: Newest, notes: &mut Noted) {
        let Rare { damage, name } = seen.rare.take().map(|rare| *rare).unwrap_or_default();
        let (is_this, good) = (newest == Newest::This, damage.is_none());
        let mut find = |damage: Damage, live: Option<bool>| {
            notes.counts.bad = notes.counts.bad.saturating_add(1);
            notes.told.push(Told::Finding(Box::new(about(seen, damage, live))));
        };
        if let Some(damage) = damage {
            find(damage, (newest != Newest::Unknown).then_some(is_this));
        }
        if let Newest::Missed(what) = newest {
            find(Damage::Index { what }, Some(true));
        }
        if self.records {
            let Seen { at, key, size: len, kind, txn, .. } = *seen;
            notes.told.push(Told::Record(RecordReport {
                at,
                len,
                key,
                name,
                kind,
                txn,
                live: is_this,
                good,
            }));
        }
    }
}

/// Verifies a dictionary, which is nobody's newest.
#[cold]
fn dictionary(walk: &mut Walk<'_>, at: Location, head: &Head, notes: &mut Noted) -> Result<()> {
    let good = match walk.verify(at.offset, head)? {
        Ok(()) => Dictionary::unpack(walk.data(at.offset, head)?).and_then(|dictionary| {
            let named = head.key.first_chunk::<16>() == Some(&dictionary.id().0);
            if named { Ok(()) } else { Err(Damage::WrongRecord) }
        }),
        bad => bad,
    };
    if let Err(damage) = good {
        notes.counts.bad = notes.counts.bad.saturating_add(1);
        notes.told.push(Told::Finding(Box::new(about_dictionary(at, head.size, damage))));
    }
    Ok(())
}

/// What a damaged record holds, as its first bytes have it.
fn kind_of(walk: &mut Walk<'_>, at: Location, head: &Head) -> Result<Option<PutKind>> {
    if head.tag != Tag::Put {
        return Ok(None);
    }
    let first = walk.bytes(at.offset.saturating_add(HEAD_LEN), put::PEEK_BYTES)?;
    Ok(put::peek(first).map(|(kind, _)| kind))
}

/// A finding about a record, with all that is known of it.
fn about(seen: &Seen, damage: Damage, live: Option<bool>) -> Finding {
    let place = Place::at(file_name(seen.at.segment), seen.at.offset.into());
    let (len, key, name) = (Some(seen.size.into()), Some(seen.key), put::implied_name(&seen.key));
    let kind = Some(match seen.kind {
        _ if seen.tag == Tag::Delete => RecordKind::Delete,
        _ if seen.is_run => RecordKind::Run,
        Some(PutKind::Alias) => RecordKind::Alias,
        _ => RecordKind::Snapshot,
    });
    Finding { len, key, name, live, kind, ..Finding::damage(place, damage) }
}

fn about_dictionary(at: Location, size: u32, damage: Damage) -> Finding {
    let place = Place::at(file_name(at.segment), at.offset.into());
    Finding { len: Some(size.into()), ..Finding::damage(place, damage) }
}
