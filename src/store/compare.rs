//! Compares what is to be put with what is stored.

use super::open::is_index_damage;
use super::snapshot::Snapshot;
use super::stage::Before;
use super::txn::{Put, Writer};
use super::working::Working;
use crate::error::{Error, Place, Result};
use crate::id::{Key, Location, Name, RunKey};
use crate::segment::{Codec, Dictionary, Encoded, codec};

/// How what is to be put compares with what is stored under its key.
pub(super) enum Compared {
    /// The same kind and payload.
    Same,
    /// Something else.
    Other(Before),
    /// Nothing.
    Absent,
}

impl Writer {
    /// Asks the committed state; if its index turns out to be damaged, the state that the log alone gives.
    pub(super) fn ask<T>(&mut self, question: impl Fn(&Working) -> Result<T>) -> Result<T> {
        match question(&self.working) {
            Err(error) if is_index_damage(&error) => {
                self.forget_index(&error)?;
                question(&self.working)
            }
            answer => answer,
        }
    }

    /// Finds where the newest committed record of a key lies. Of a run that no index file knows the overlay says all: so a
    /// snapshot of a run that is new costs no look into each of them.
    fn locate(&mut self, key: &Key) -> Result<Option<Location>> {
        if key.is_run() || self.is_indexed(key.run)? {
            return self.ask(|working| working.state.locate(key));
        }
        Ok(self.state().overlay.get(key).map(|entry| entry.at))
    }

    /// Tells whether an index file knows a run.
    fn is_indexed(&mut self, run: RunKey) -> Result<bool> {
        let newest = self.state().layers.first().map(|layer| layer.covered().commit).unwrap_or_default();
        if let Some((of, at, known)) = self.indexed
            && (of, at) == (run, newest)
        {
            return Ok(known);
        }
        let known = self.ask(|working| {
            let mut rows = working.state.layers.iter().map(|layer| layer.run(run));
            rows.find_map(Result::transpose).transpose().map(|row| row.is_some())
        })?;
        self.indexed = Some((run, newest, known));
        Ok(known)
    }

    /// Compares what is to be put with what is stored under its key.
    pub(super) fn compare(&mut self, key: &Key, put: &Put<'_>, payload: &Encoded) -> Result<Compared> {
        let Some(at) = self.locate(key)? else { return Ok(Compared::Absent) };
        let stored = match self.state().record(at, key) {
            Ok(Some(stored)) => stored,
            // What is damaged is replaced: storing an object again heals it.
            Ok(None) | Err(Error::Damaged { .. }) => {
                return Ok(Compared::Other(self.working.before(at)?));
            }
            Err(other) => return Err(other),
        };
        if !stored.is_named(&Name::of(put.name)) {
            let lossy = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            return Err(Error::KeyCollision { name: lossy(put.name), other: lossy(&stored.name()) });
        }
        if stored.kind() == put.kind && same_payload(&stored, payload, self.dictionary.as_deref())? {
            return Ok(Compared::Same);
        }
        Ok(Compared::Other(Before {
            at,
            stored_len: u32::try_from(stored.stored_len()).unwrap_or(u32::MAX),
            file_len: u32::try_from(stored.len()).unwrap_or(u32::MAX),
            kind: Some(stored.kind()),
        }))
    }
}

/// Tells whether a stored payload is the one at hand. Equal encoders give equal bytes, so mostly nothing is decoded.
fn same_payload(stored: &Snapshot<'_>, new: &Encoded, dictionary: Option<&Dictionary>) -> Result<bool> {
    if stored.len() != u64::from(new.raw_len) {
        return Ok(false);
    }
    let same_dictionary = new.codec != Codec::ZstdDictionary
        || dictionary.is_some_and(|dictionary| dictionary.id() == stored.dictionary());
    if stored.codec() == new.codec && same_dictionary && stored.payload() == new.bytes {
        return Ok(true);
    }
    let broken = |damage| Error::damaged(Place::whole("memory"), damage);
    let raw = codec::decode(new.codec, &new.bytes, new.raw_len, dictionary).map_err(broken)?;
    match stored.body() {
        Ok(body) => Ok(*body == *raw),
        Err(Error::Damaged { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}
