//! What is asked of the store alone: the shape of its index, decompression without anything around it, and which bytes a
//! lookup touches.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use stix_store::format::put;
use stix_store::format::record::Tag;
use stix_store::id::{Key, Location};
use stix_store::index::{Likely, RecordKeys};
use stix_store::segment::{Codec, Segments, Step, codec};
use stix_store::vfs::{ReadVfs, disk::Disk};
use stix_store::{ObjectKey, Result, RunKey, Store, WriterOptions};

use super::ours::{STORE_ID, Unverified, open_parts, segment_ids};
use crate::data::Data;
use crate::{Figures, measure};

/// Records that are decompressed: few enough for their bytes to stay in the second cache or near it.
const PAYLOADS: usize = 10_000;
const SLICE: usize = 400;

/// Counts the records whose key the index asks for.
struct Counted<'s> {
    segments: &'s Segments,
    count: Cell<u32>,
}

impl RecordKeys for Counted<'_> {
    fn key_at(&self, at: Location) -> Result<Option<Key>> {
        self.count.set(self.count.get() + 1);
        let Some(segment) = self.segments.get(at.segment)? else { return Ok(None) };
        Ok(segment.head(at.offset)?.ok().and_then(|head| head.stored_key()))
    }
}

/// Tells of the index: bytes for a snapshot, how full it is, and how often an absent id makes it read a record.
pub(crate) fn index(dir: &Path, data: &Data, figures: &mut Figures) {
    let Unverified { index, segments } = open_parts(dir);
    let keys = Counted { segments: &segments, count: Cell::new(0) };
    for question in &data.questions {
        let key = ObjectKey::of(question.absent.as_bytes());
        assert!(index.floor(&key, RunKey::MAX, &keys).unwrap().is_none());
    }
    let bytes = std::fs::read_dir(dir.join("store"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("index."));
    let bytes: u64 = bytes.map(|entry| entry.metadata().unwrap().len()).sum();
    let mut add = |what, value| figures.add("store", what, Some(value));
    add("index, B / snapshot", bytes as f64 / data.records.len() as f64);
    add("index, load factor", index.load_factor());
    add("index, false probes / absent id", f64::from(keys.count.get()) / data.questions.len() as f64);
}

/// Nanoseconds to decompress one record of a store, in memory: the median of slices.
pub(crate) fn decompression(dir: &Path) -> f64 {
    let path = dir.join("store");
    let dictionary = Store::open(&path).unwrap().writer(&WriterOptions::default()).unwrap().dictionary();
    let vfs: Arc<dyn ReadVfs> = Arc::new(Disk::new(&path));
    let mut payloads: Vec<(Codec, Vec<u8>, u32)> = Vec::new();
    for id in segment_ids(&vfs) {
        let segments = Segments::new(vfs.clone(), STORE_ID, vec![id], None, None).unmapped();
        let segment = segments.require(id).unwrap();
        let mut walk = segment.walk(None).unwrap();
        while payloads.len() < PAYLOADS
            && let Some(step) = walk.step().unwrap()
        {
            let Step::Record { offset, head } = step else { panic!("a gap in a new store") };
            if head.tag == Tag::Put {
                let put = put::decode(walk.data(offset, &head).unwrap()).unwrap();
                payloads.push((put.codec, put.payload.to_vec(), put.raw_len));
            }
        }
    }
    payloads.retain(|(codec, _, _)| *codec != Codec::Raw);
    let mut times = Vec::new();
    for _ in 0..2 {
        times.clear();
        for slice in payloads.chunks(SLICE) {
            let start = Instant::now();
            for (codec, bytes, raw_len) in slice {
                std::hint::black_box(codec::decode(*codec, bytes, *raw_len, dictionary.as_deref()).unwrap());
            }
            times.push(start.elapsed().as_nanos() as f64 / slice.len() as f64);
        }
    }
    measure::median(&mut times)
}

/// Shows the bytes that lookups of these ids need: the bucket, and the record.
pub(crate) fn each_touched<'i>(dir: &Path, ids: impl Iterator<Item = &'i str>, touch: &mut dyn FnMut(&[u8])) {
    let Unverified { index, segments } = open_parts(dir);
    for id in ids {
        let key = ObjectKey::of(id.as_bytes());
        touch(index.bucket_of(index.hash(&key)));
        if let Likely::At(at) = index.likely(&key) {
            let segment = segments.require(at.segment).unwrap();
            touch(segment.open_record(at.offset).unwrap().unwrap().unverified());
        }
    }
}
