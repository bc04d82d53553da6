//! The first group of an import that is to train a dictionary: held back, unencoded, until that is decided.

use std::thread;

use parking_lot::Mutex;

use super::buffers::Payload;
use super::prepare::{Content, Done};
use crate::limits::{DICTIONARY_MIN_RECORDS, GROUP_MAX_BYTES, GROUP_MAX_RECORDS};
use crate::segment::Encoder;

/// Most bytes held while too few records have come: a few huge files at the start of a tree are not to
/// decide that the store does without a dictionary.
const HELD_MAX_BYTES: u64 = 4 * GROUP_MAX_BYTES;
/// Largest payload that serves as a sample, in bytes. A dictionary helps with the start of small files; large
/// ones would fill it with what is theirs alone.
const SAMPLE_MAX_BYTES: usize = 128 << 10;

/// Where the workers find an encoder, once it is decided which.
#[derive(Default)]
pub(super) struct EncoderSlot(Mutex<Option<Encoder>>);

impl EncoderSlot {
    /// Decides.
    pub(super) fn set(&self, encoder: Encoder) {
        *self.0.lock() = Some(encoder);
    }

    /// Returns it, once it is decided.
    pub(super) fn get(&self) -> Option<Encoder> {
        self.0.lock().clone()
    }
}

/// Items held back, in scan order.
#[derive(Debug, Default)]
pub(super) struct Held {
    items: Vec<Done>,
    /// Copies of the samples that were let go already.
    kept: Vec<Vec<u8>>,
    bytes: u64,
    samples: usize,
}

impl Held {
    /// Adds the next item.
    pub(super) fn push(&mut self, done: Done) {
        if let Some(payload) = raw(&done) {
            self.bytes = self.bytes.saturating_add(u64::try_from(payload.len()).unwrap_or(u64::MAX));
            self.samples = self.samples.saturating_add(usize::from(is_sample(payload)));
        }
        self.items.push(done);
    }

    /// Tells whether it holds enough to decide. Depends on the tree and the store alone.
    pub(super) fn is_ready(&self) -> bool {
        let items = u64::try_from(self.items.len()).unwrap_or(u64::MAX);
        let enough = self.samples >= DICTIONARY_MIN_RECORDS;
        items >= GROUP_MAX_RECORDS
            || self.bytes >= HELD_MAX_BYTES
            || (enough && self.bytes >= GROUP_MAX_BYTES)
    }

    /// Returns what to train on; nothing if that is too little.
    pub(super) fn samples(&self) -> Option<Vec<&[u8]>> {
        let held = self.items.iter().filter_map(raw).filter(|payload| is_sample(payload));
        let samples: Vec<&[u8]> = self.kept.iter().map(Vec::as_slice).chain(held).collect();
        (samples.len() >= DICTIONARY_MIN_RECORDS).then_some(samples)
    }

    /// Hands out the items before enough have come to decide, and keeps copies of the samples among them.
    pub(super) fn let_go(&mut self) -> Held {
        let held = self.items.iter().filter_map(raw).filter(|payload| is_sample(payload));
        self.kept.extend(held.map(<[u8]>::to_vec));
        Held { items: std::mem::take(&mut self.items), ..Held::default() }
    }

    /// Gives the items back, encoded on so many threads: the workers may be as far ahead by now as they may get. What does not
    /// encode stays as it is, for the store to say why.
    pub(super) fn into_encoded(mut self, encoder: &Encoder, threads: usize) -> Vec<Done> {
        let share = self.items.len().div_ceil(threads.max(1)).max(1);
        thread::scope(|scope| {
            let mut shares = self.items.chunks_mut(share);
            let own = shares.next();
            for share in shares {
                let mut encoder = encoder.clone();
                scope.spawn(move || encode(share, &mut encoder));
            }
            encode(own.unwrap_or_default(), &mut encoder.clone());
        });
        self.items
    }
}

fn encode(items: &mut [Done], encoder: &mut Encoder) {
    let mut spare = Vec::new();
    for item in items {
        if let Done::File(file) = item
            && let Content::New { payload, .. } = &mut file.content
            && let Payload::Raw(bytes) = payload
            && let Ok(encoded) = encoder.encode_from(bytes, &mut spare)
        {
            // The payload's buffer serves the next one.
            let used = std::mem::replace(payload, Payload::Encoded(encoded));
            if let Payload::Raw(bytes) = used
                && spare.capacity() == 0
            {
                spare = bytes;
            }
        }
    }
}

fn is_sample(payload: &[u8]) -> bool {
    payload.len() <= SAMPLE_MAX_BYTES
}

fn raw(done: &Done) -> Option<&[u8]> {
    let Done::File(file) = done else { return None };
    match &file.content {
        Content::New { payload: Payload::Raw(bytes), .. } => Some(bytes),
        Content::New { payload: Payload::Encoded(_), .. } | Content::Same | Content::Bad { .. } => None,
    }
}

#[cfg(test)]
mod tests;
