//! Looks at records: their bytes, and whether the index agrees. Runs in several threads.

use std::borrow::Cow;

use super::finding::{Finding, RecordKind, RecordReport};
use super::options::{Judge, Judgement, Level, Remark};
use crate::error::{Damage, Error, Place, Result};
use crate::format::put::{self, NamedKeys, PutKind};
use crate::format::record::{HEAD_LEN, Head, Tag};
use crate::format::segment::file_name;
use crate::id::{CommitId, Key, Location, RunKey, SegmentId};
use crate::index::hash_key;
use crate::progress::Stop;
use crate::segment::{Dictionary, Record, Walk};
use crate::store::Snapshot;
use crate::store::log::{Notes, Survey};
use crate::store::state::State;

use newest::{Newest, Numbers};

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

/// Counts of some records.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    /// Newest ones of their keys that are PUTs.
    pub(super) live: u64,
    /// Live snapshots found good.
    pub(super) ok: u64,
    /// Damaged records.
    pub(super) bad: u64,
    /// Entries of the index that they back.
    pub(super) entries: u64,
    /// The same of the records of runs.
    pub(super) runs: u64,
    /// Bytes of the newest records of their keys, deletions included.
    pub(super) newest_bytes: u64,
    /// Records of which a damaged index did not say whether they are the newest.
    pub(super) unknown: u64,
}

impl Counts {
    /// Adds those of more records.
    pub(super) fn add(&mut self, more: &Counts) {
        let Counts { records, live, ok, bad, entries, runs, newest_bytes, unknown } = *more;
        for (count, more) in [
            (&mut self.records, records),
            (&mut self.live, live),
            (&mut self.ok, ok),
            (&mut self.bad, bad),
            (&mut self.entries, entries),
            (&mut self.runs, runs),
            (&mut self.newest_bytes, newest_bytes),
            (&mut self.unknown, unknown),
        ] {
            *count = count.saturating_add(more);
        }
    }
}

/// What is kept of records until their COMMIT.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) segment: Option<SegmentId>,
    pub(super) counts: Counts,
    /// There are records whose heads do not hold.
    pub(super) broken: bool,
    pub(super) told: Vec<Told>,
    queue: Vec<Seen>,
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
        let damage = match walk.verify(at.offset, head)? {
            Ok(()) => self.decode(walk, head, &mut seen, &mut notes.keys)?.err(),
            Err(damage) => Some(damage),
        };
        if let Some(damage) = damage {
            seen.damaged(damage);
            seen.kind = kind_of(walk, at, head)?;
        } else if self.level == Level::Content && seen.kind == Some(PutKind::Snapshot) {
            return self.judge(walk, head, seen, notes);
        }
        self.ask(&seen, &mut notes.within);
        notes.queue.push(seen);
        if notes.queue.len() >= BATCH { self.compare(notes) } else { Ok(()) }
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
        notes.queue.push(seen);
        Ok(())
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
        Seen { at, key, size, tag, kind: None, hash, txn: CommitId(0), is_newest: false, rare: None }
    }

    /// Decodes what a record holds, as strictly as every reader does.
    #[inline]
    fn decode(
        &self,
        walk: &mut Walk<'_>,
        head: &Head,
        seen: &mut Seen,
        keys: &mut NamedKeys,
    ) -> Result<std::result::Result<(), Damage>> {
        let dictionary = walk.dictionary();
        let data = walk.data(seen.at.offset, head)?;
        Ok(match head.tag {
            Tag::Put => put::decode(data).and_then(|put| {
                let key = &seen.key;
                put.fits(key, dictionary)?;
                match put.name {
                    Some(name) if !keys.fits(key, name) => return Err(Damage::WrongRecord),
                    None if !put::has_implied_name(key) => {
                        return Err(Damage::Field { what: "implied name", value: 0 });
                    }
                    _ => {}
                }
                if self.records {
                    let name = put.name(key).ok().map(Cow::into_owned);
                    seen.rare.get_or_insert_default().name = name;
                }
                (seen.kind, seen.txn) = (Some(put.kind), put.first_commit);
                Ok(())
            }),
            Tag::Delete => put::decode_delete(data).map(|(_, commit)| seen.txn = commit),
            Tag::Dictionary | Tag::Commit => Ok(()),
        })
    }

    /// Decodes the payload of a live snapshot and lets the caller judge it.
    fn judge(&self, walk: &mut Walk<'_>, head: &Head, mut seen: Seen, notes: &mut Noted) -> Result<()> {
        self.compare(notes)?;
        let newest = self.newest(&seen, &mut notes.within)?;
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
        for seen in &mut queue {
            seen.is_newest = self.is_newest(seen, &mut notes.within);
        }
        for seen in &mut queue {
            let newest = if seen.is_newest { Newest::This } else { self.newest(seen, &mut notes.within)? };
            self.note(seen, newest, notes);
        }
        queue.clear();
        notes.queue = queue;
        Ok(())
    }

    /// Counts a record, and notes what there is to tell.
    #[inline]
    fn note(&self, seen: &mut Seen, newest: Newest, notes: &mut Noted) {
        let add = |counter: &mut u64| *counter = counter.saturating_add(1);
        let (is_this, is_run) = (newest == Newest::This, seen.key.is_run());
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
        _ if seen.key.is_run() => RecordKind::Run,
        Some(PutKind::Alias) => RecordKind::Alias,
        _ => RecordKind::Snapshot,
    });
    Finding { len, key, name, live, kind, ..Finding::damage(place, damage) }
}

fn about_dictionary(at: Location, size: u32, damage: Damage) -> Finding {
    let place = Place::at(file_name(at.segment), at.offset.into());
    Finding { len: Some(size.into()), ..Finding::damage(place, damage) }
}
