//! The one writer: put, delete, commit, rollback.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::compare::Compared;
use super::inner::{Inner, publish_dictionary};
use super::stage::{Before, Change, STAGE_BYTES, Stage};
use super::state::State;
use super::working::Working;
use crate::error::{Error, Result};
use crate::format::put::{self, DeleteReason, PutData, PutKind};
use crate::format::record::Tag;
use crate::id::{CommitId, Key, Location, Name, ObjectKey, RunKey};
use crate::limits::NAME_MAX_BYTES;
use crate::progress::Stop;
use crate::seeded::{self, Bug};
use crate::segment::{Codec, Dictionary, Encoded, Encoder, SegmentWriter};
use crate::vfs::{Lock, Vfs};

/// How to take the write lock.
#[derive(Clone, Debug, Default)]
pub struct WriterOptions {
    /// How long to wait for another writer. Zero: not at all.
    pub lock_wait: Duration,
    /// What to write into the lock file for others to see: pid, host, command, since when.
    pub holder: String,
    /// Raised, it ends the waiting with `Cancelled`.
    pub stop: Stop,
}

/// The payload of a PUT.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// To be encoded by the writer.
    Raw(&'a [u8]),
    /// Encoded already, by an [`Encoder`] of this writer.
    Encoded(&'a Encoded),
}

/// One snapshot to store.
#[derive(Clone, Debug)]
pub struct Put<'a> {
    /// Its name: the stem of its file.
    pub name: &'a [u8],
    /// Its run; [`Writer::put_run`] gives the key.
    pub run: RunKey,
    /// What it is: `Snapshot` or `Alias`.
    pub kind: PutKind,
    /// Opaque bytes that readers get back with it.
    pub meta: &'a [u8],
    /// Where the first object lies in the payload.
    pub object: Range<u32>,
    /// The file's bytes; for an alias the name of the file's snapshot.
    pub body: Body<'a>,
}

/// What a put did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The key is new.
    Added,
    /// The key had another payload.
    Updated,
    /// The key had this payload already; nothing was written.
    Unchanged,
}

/// The one writer of a store. Dropping it forgets what was not committed.
#[derive(Debug)]
pub struct Writer {
    pub(super) inner: Arc<Inner>,
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) working: Working,
    pub(super) segment: Option<SegmentWriter>,
    pub(super) dictionary: Option<Arc<Dictionary>>,
    encoder: Encoder,
    pub(super) stage: Stage,
    poisoned: Option<String>,
    /// Whether an index file knows the run that was put into last, asked when that was the newest index file.
    pub(super) indexed: Option<(RunKey, CommitId, bool)>,
    pub(super) waited: Duration,
    /// Records that it committed.
    pub(super) committed: u64,
    _lock: Box<dyn Lock>,
}

impl Writer {
    pub(super) fn new(
        inner: Arc<Inner>,
        vfs: Arc<dyn Vfs>,
        working: Working,
        dictionary: Option<Arc<Dictionary>>,
        lock: Box<dyn Lock>,
    ) -> Writer {
        let encoder = encoder_of(&inner, dictionary.as_ref());
        let (segment, stage, poisoned) = (None, Stage::default(), None);
        Writer {
            inner,
            vfs,
            working,
            segment,
            dictionary,
            encoder,
            stage,
            poisoned,
            indexed: None,
            waited: Duration::ZERO,
            committed: 0,
            _lock: lock,
        }
    }

    pub(super) fn state(&self) -> &State {
        &self.working.state
    }

    /// Appends a snapshot or an alias to the open transaction. `Unchanged` if kind and payload are as
    /// stored; a stored one that is damaged is replaced, and so healed.
    ///
    /// # Errors
    /// `TooLarge`, `KeyCollision`, `BadInput` for a kind that is not to be put; failures of the store.
    pub fn put(&mut self, put: &Put<'_>) -> Result<Outcome> {
        if put.name.len() > NAME_MAX_BYTES {
            let len = u64::try_from(put.name.len()).unwrap_or(u64::MAX);
            return Err(Error::TooLarge {
                what: "name",
                len,
                max: NAME_MAX_BYTES.try_into().unwrap_or(u64::MAX),
            });
        }
        if put.kind == PutKind::Run {
            return Err(bad_input("put", "runs are put by put_run"));
        }
        let object = ObjectKey::of(put.name);
        if object == ObjectKey::RUN {
            return Err(bad_input(&String::from_utf8_lossy(put.name), "this id is reserved"));
        }
        self.append(Key::new(object, put.run), put)
    }

    pub(super) fn append(&mut self, key: Key, put: &Put<'_>) -> Result<Outcome> {
        self.alive()?;
        let encoded;
        let payload = match put.body {
            Body::Encoded(encoded) => encoded,
            Body::Raw(raw) => {
                encoded = match put.kind {
                    PutKind::Snapshot => self.encoder.encode(raw)?,
                    PutKind::Alias | PutKind::Run => Encoder::raw().encode(raw)?,
                };
                &encoded
            }
        };
        if put.object.start > put.object.end || put.object.end > payload.raw_len {
            return Err(bad_input("put", "the object does not lie within its file"));
        }
        let before = match self.stage.newest(&key) {
            Some(change) => Some(before_of(change)),
            None => match self.compare(&key, put, payload)? {
                Compared::Same => return Ok(Outcome::Unchanged),
                Compared::Other(before) => Some(before),
                Compared::Absent => None,
            },
        };
        let change = Change {
            key,
            at: Location::default(),
            stored_len: 0,
            file_len: payload.raw_len,
            kind: Some(put.kind),
            lost: false,
            before,
        };
        let data = PutData {
            kind: put.kind,
            codec: payload.codec,
            first_commit: self.next_commit(),
            name: None,
            meta: put.meta,
            raw_len: payload.raw_len,
            object: put.object.clone(),
            payload: &payload.bytes,
        };
        let with_dictionary = payload.codec == Codec::ZstdDictionary;
        if payload.bytes.len() < STAGE_BYTES {
            self.stage
                .push(Tag::Put, change, with_dictionary, |out| put::encode(out, &key, put.name, &data))?;
            self.spill()?;
        } else {
            // A large one is not copied: it goes to the segment at once, behind what is staged.
            if self.stage.staged_bytes() > 0 {
                self.settle()?;
            }
            let front = PutData { payload: &[], ..data };
            let apart = payload.bytes.len();
            self.stage.push_front(Tag::Put, change, with_dictionary, apart, |out| {
                put::encode(out, &key, put.name, &front);
            })?;
            self.settle_with(&payload.bytes)?;
        }
        let is_new = before.is_none_or(|before| before.kind.is_none());
        Ok(if is_new { Outcome::Added } else { Outcome::Updated })
    }

    /// Deletes the record of a name in a run. `false` if there was none.
    ///
    /// # Errors
    /// Failures of the store.
    pub fn delete(&mut self, name: impl AsRef<[u8]>, run: RunKey) -> Result<bool> {
        self.delete_key(
            Key::new(ObjectKey::of(name.as_ref()), run),
            Some(name.as_ref()),
            DeleteReason::Deleted,
        )
    }

    /// Like [`delete`](Writer::delete), for what is gone from a mirrored tree.
    ///
    /// # Errors
    /// As for `delete`.
    pub fn delete_mirrored(&mut self, name: impl AsRef<[u8]>, run: RunKey) -> Result<bool> {
        self.delete_key(
            Key::new(ObjectKey::of(name.as_ref()), run),
            Some(name.as_ref()),
            DeleteReason::Mirrored,
        )
    }

    /// Deletes a run's own record. The caller has deleted its snapshots.
    ///
    /// # Errors
    /// `BadInput` while it holds snapshots.
    pub fn delete_run(&mut self, run: RunKey) -> Result<bool> {
        let staged = self.stage.live_in(run);
        let live = self.ask(|working| working.live_in(run))?.saturating_add_signed(staged);
        if live > 0 {
            return Err(bad_input(&run.instant().canonical_name(), "the run still holds snapshots"));
        }
        self.delete_key(Key::of_run(run), None, DeleteReason::Deleted)
    }

    fn delete_key(&mut self, key: Key, name: Option<&[u8]>, reason: DeleteReason) -> Result<bool> {
        self.alive()?;
        let before = if let Some(change) = self.stage.newest(&key) {
            before_of(change)
        } else {
            let Some(at) = self.ask(|working| working.state.locate(&key))? else { return Ok(false) };
            let other_name = match (self.state().record(at, &key), name) {
                (Ok(Some(stored)), Some(name)) => !stored.is_named(&Name::of(name)),
                (Ok(_) | Err(Error::Damaged { .. }), _) => false,
                (Err(other), _) => return Err(other),
            };
            if other_name {
                return Ok(false);
            }
            self.working.before(at)?
        };
        if before.kind.is_none() {
            return Ok(false);
        }
        let change = Change {
            key,
            at: Location::default(),
            stored_len: 0,
            file_len: 0,
            kind: None,
            lost: reason == DeleteReason::Lost,
            before: Some(before),
        };
        let commit = self.next_commit();
        self.stage.push(Tag::Delete, change, false, |out| put::encode_delete(out, reason, commit))?;
        self.spill()?;
        Ok(true)
    }

    /// Encodes a payload as this store wants it.
    pub(super) fn encode(&mut self, payload: &[u8]) -> Result<Encoded> {
        self.encoder.encode(payload)
    }

    /// Returns how long it waited for the lock.
    pub fn lock_wait(&self) -> Duration {
        self.waited
    }

    /// Returns an encoder for this store's payloads; workers clone it.
    pub fn encoder(&self) -> Encoder {
        self.encoder.clone()
    }

    /// Returns the dictionary in use.
    pub fn dictionary(&self) -> Option<Arc<Dictionary>> {
        self.dictionary.clone()
    }

    /// Tells whether this store wants a dictionary and has none.
    pub fn wants_dictionary(&self) -> bool {
        self.inner.config.compressed && self.dictionary.is_none()
    }

    /// Trains a dictionary on sample payloads and makes it durable; encoders taken from now on use it.
    /// `false` if the samples are too few or too much alike to train on: the store goes on without.
    ///
    /// # Errors
    /// Failures of the store.
    pub fn train_dictionary(&mut self, samples: &[&[u8]]) -> Result<bool> {
        let Some(dictionary) = Dictionary::train(samples) else { return Ok(false) };
        publish_dictionary(&*self.vfs, &dictionary)?;
        self.encoder = encoder_of(&self.inner, Some(&dictionary));
        self.dictionary = Some(dictionary);
        Ok(true)
    }

    pub(super) fn alive(&self) -> Result<()> {
        match &self.poisoned {
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Poisons the writer if a write failed: what is on disk is only known after opening it again.
    pub(super) fn guard<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && !seeded::has(Bug::NotPoisoned)
        {
            self.poisoned = Some(error.to_string());
        }
        result
    }
}

fn before_of(change: &Change) -> Before {
    Before { at: change.at, stored_len: change.stored_len, file_len: change.file_len, kind: change.kind }
}

pub(super) fn bad_input(what: &str, reason: &str) -> Error {
    Error::BadInput { what: what.to_owned(), reason: reason.to_owned() }
}

fn encoder_of(inner: &Inner, dictionary: Option<&Arc<Dictionary>>) -> Encoder {
    if inner.config.compressed { Encoder::zstd(dictionary.cloned()) } else { Encoder::raw() }
}
