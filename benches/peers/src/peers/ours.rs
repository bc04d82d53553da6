//! The store: through its public library, checksums verified; and once more with the same index and the same segments, but
//! without a look at the data's checksum, as the others do it.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use stix_store::format::put::{self, Codec};
use stix_store::format::record::Tag;
use stix_store::format::segment::parse_file_name;
use stix_store::id::{Key, Location, SegmentId};
use stix_store::import::{FileReport, ImportOptions, ImportSink, import};
use stix_store::index::{FileKind, Found, Index, Likely, RecordKeys};
use stix_store::progress::Stop;
use stix_store::segment::{Opened, SegmentRef, Segments, Step};
use stix_store::store::PutKind;
use stix_store::store::check::{CheckOptions, CheckSink, Finding, SegmentReport, check};
use stix_store::vfs::{Map, ReadVfs, Soon, disk::Disk, prefetch};
use stix_store::{
    Body, Compression, CreateOptions, Instant, ObjectKey, Put, Result, RunKey, Store, StoreId, View, When,
    WriterOptions,
};

use super::{Peer, See, Session, last_of};
use crate::data::{Data, run_name};
use crate::import::THREADS;

pub(super) const STORE_ID: StoreId = StoreId([7; 16]);
/// What import commits at a time.
const COMMIT_BYTES: usize = 16 << 20;
const SAMPLES: usize = 10_000;

pub(super) fn load_raw(dir: &Path, data: &Data) {
    load(dir, data, Compression::None);
}

pub(super) fn load_zstd(dir: &Path, data: &Data) {
    load(dir, data, Compression::Zstd);
}

fn create(dir: &Path, compression: Compression) -> Store {
    let options = CreateOptions { compression, store_id: Some(STORE_ID), ..CreateOptions::default() };
    Store::create(dir.join("store"), &options).unwrap()
}

struct Quiet;

impl ImportSink for Quiet {
    fn file(&mut self, _: &FileReport) -> Result<()> {
        Ok(())
    }
}

pub(super) fn import_raw(tree: &Path, dir: &Path) {
    import_tree(tree, dir, Compression::None);
}

pub(super) fn import_zstd(tree: &Path, dir: &Path) {
    import_tree(tree, dir, Compression::Zstd);
}

/// On two threads, as the tree is read for the others.
fn import_tree(tree: &Path, dir: &Path, compression: Compression) {
    let store = create(dir, compression);
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    let options = ImportOptions { jobs: THREADS, ..ImportOptions::default() };
    let summary = import(tree, &mut writer, &options, &mut Quiet, &Stop::default()).unwrap();
    assert_eq!((summary.rejected, summary.unchanged), (0, 0));
    writer.close().unwrap();
}

fn load(dir: &Path, data: &Data, compression: Compression) {
    let store = create(dir, compression);
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    if writer.wants_dictionary() {
        let samples: Vec<&[u8]> =
            data.records.iter().take(SAMPLES).map(|record| record.body.as_slice()).collect();
        writer.train_dictionary(&samples).unwrap();
    }
    let mut pending = 0;
    for run in data.records.chunk_by(|one, other| one.run == other.run) {
        writer.put_run(run[0].run.instant(), &run_name(run[0].run), &[]).unwrap();
        for record in run {
            writer
                .put(&Put {
                    name: record.id.as_bytes(),
                    run: record.run,
                    kind: PutKind::Snapshot,
                    meta: &record.meta,
                    object: record.object.clone(),
                    body: Body::Raw(&record.body),
                })
                .unwrap();
            pending += record.body.len();
            if pending >= COMMIT_BYTES {
                writer.commit().unwrap();
                pending = 0;
            }
        }
    }
    writer.commit().unwrap();
    writer.close().unwrap();
}

struct Verified {
    view: View,
    vfs: Arc<dyn ReadVfs>,
}

pub(super) fn open(dir: &Path) -> Box<dyn Peer> {
    let path = dir.join("store");
    let view = Store::open_read_only(&path).unwrap().view();
    Box::new(Verified { view, vfs: Arc::new(Disk::new(&path)) })
}

impl Peer for Verified {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(self)
    }
}

fn show(found: Result<Option<stix_store::Snapshot<'_>>>, see: See<'_>) {
    if let Some(found) = found.unwrap() {
        see(&found.body().unwrap());
    }
}

impl Session for &Verified {
    fn at(&mut self, id: &str, run: RunKey, see: See<'_>) {
        show(self.view.get(id, run), see);
    }

    fn newest(&mut self, id: &str, see: See<'_>) -> Option<()> {
        show(self.view.latest(id), see);
        Some(())
    }

    fn after(&mut self, id: &str, after: Instant, see: See<'_>) -> Option<()> {
        show(self.view.closest_after(id, after), see);
        Some(())
    }

    fn batch(&mut self, ids: &[&str], see: See<'_>) -> Option<()> {
        self.view.get_many(ids, When::Newest).into_iter().for_each(|found| show(found, see));
        Some(())
    }

    /// In the order of the log, every checksum verified. Not of a compressed store: there it would have to decompress, and a look at
    /// the compressed payloads is no answer.
    fn scan(&mut self, see: See<'_>) -> Option<()> {
        for id in segment_ids(&self.vfs) {
            let segments = Segments::new(self.vfs.clone(), STORE_ID, vec![id], None, None).unmapped();
            let segment = segments.require(id).unwrap();
            let mut walk = segment.walk(None).unwrap();
            while let Some(step) = walk.step().unwrap() {
                let Step::Record { offset, head } = step else { panic!("a gap in a new store") };
                walk.verify(offset, &head).unwrap().unwrap();
                if head.tag == Tag::Put {
                    let put = put::decode(walk.data(offset, &head).unwrap()).unwrap();
                    if put.codec != Codec::Raw {
                        return None;
                    }
                    see(put.payload);
                }
            }
        }
        Some(())
    }

    fn check(&mut self) -> Option<()> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let options = CheckOptions { jobs, ..CheckOptions::default() };
        check(&self.vfs, &options, &mut Clean, &Stop::default()).unwrap();
        Some(())
    }
}

/// A check that finds nothing.
struct Clean;

impl CheckSink for Clean {
    fn finding(&mut self, finding: &Finding) -> Result<()> {
        panic!("{}", finding.detail)
    }

    fn segment(&mut self, _: &SegmentReport) -> Result<()> {
        Ok(())
    }
}

pub(super) fn segment_ids(vfs: &Arc<dyn ReadVfs>) -> Vec<SegmentId> {
    let mut ids: Vec<SegmentId> =
        vfs.list("data").unwrap().unwrap().iter().filter_map(|entry| parse_file_name(&entry.name)).collect();
    ids.sort_unstable();
    ids
}

/// The index and the segments of a store that was closed after a bulk: a base, and nothing behind it.
pub(super) struct Unverified {
    pub(super) index: Index<Map>,
    pub(super) segments: Segments,
}

pub(super) fn open_unverified(dir: &Path) -> Box<dyn Peer> {
    Box::new(open_parts(dir))
}

pub(super) fn open_parts(dir: &Path) -> Unverified {
    let vfs: Arc<dyn ReadVfs> = Arc::new(Disk::new(dir.join("store")));
    let name = |entry: &stix_store::vfs::DirEntry| entry.name.clone();
    let mut names: Vec<String> = vfs.list("").unwrap().unwrap().iter().map(name).collect();
    names.retain(|name| name.starts_with("index."));
    let [name] = names.as_slice() else {
        panic!(
            "store unverified reads stores of one index file, and this one has {names:?}: close it after a bulk"
        )
    };
    let file = vfs.open(name).unwrap().unwrap();
    let index = Index::open(file.map(file.len().unwrap()).unwrap(), name, STORE_ID).unwrap();
    assert_eq!(index.kind(), FileKind::Base);
    let segments = Segments::new(vfs.clone(), STORE_ID, segment_ids(&vfs), None, None);
    Unverified { index, segments }
}

impl Peer for Unverified {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(self)
    }
}

struct Keys<'s> {
    segments: &'s Segments,
    last: Cell<Option<Opened<'s>>>,
}

impl RecordKeys for Keys<'_> {
    fn key_at(&self, at: Location) -> Result<Option<Key>> {
        let Some(SegmentRef::Borrowed(segment)) = self.segments.get(at.segment)? else { return Ok(None) };
        let Ok(opened) = segment.open_record(at.offset)? else { return Ok(None) };
        let key = opened.head().stored_key();
        self.last.set(Some(opened));
        Ok(key)
    }
}

impl Unverified {
    /// As `View` answers: in a straight line where there is one entry, and else by a search.
    fn ask(
        &self,
        key: &ObjectKey,
        admits: impl Fn(RunKey) -> bool,
        find: impl Fn(&ObjectKey, &Keys<'_>) -> Result<Option<Found>>,
        see: See<'_>,
    ) {
        let likely = self.index.likely(key);
        if likely == Likely::Absent {
            return;
        }
        if let Likely::At(at) = likely
            && let Some(opened) =
                self.segments.open_already(at.segment).and_then(|it| it.open_mapped(at.offset))
            && opened.head().key().object == *key
        {
            if admits(opened.head().key().run) {
                see(put::decode(opened.unverified()).unwrap().payload);
            }
            return;
        }
        let keys = Keys { segments: &self.segments, last: Cell::new(None) };
        if find(key, &keys).unwrap().is_some()
            && let Some(opened) = keys.last.take()
        {
            see(put::decode(opened.unverified()).unwrap().payload);
        }
    }

    fn newest_of(&self, key: &ObjectKey, see: See<'_>) {
        self.ask(key, |_| true, |key, keys| self.index.floor(key, RunKey::MAX, keys), see);
    }

    /// Asks the processor for the lines that an answer begins with.
    fn prefetch(&self, key: &ObjectKey) {
        if let Likely::At(at) = self.index.likely(key)
            && let Some(segment) = self.segments.open_already(at.segment)
        {
            segment.prefetch(at.offset, 128, Soon::Next);
        }
    }
}

impl Session for &Unverified {
    fn at(&mut self, id: &str, run: RunKey, see: See<'_>) {
        let key = ObjectKey::of(id.as_bytes());
        self.ask(&key, |of| of == run, |key, keys| self.index.at(key, run, keys), see);
    }

    fn newest(&mut self, id: &str, see: See<'_>) -> Option<()> {
        self.newest_of(&ObjectKey::of(id.as_bytes()), see);
        Some(())
    }

    fn after(&mut self, id: &str, after: Instant, see: See<'_>) -> Option<()> {
        let key = ObjectKey::of(id.as_bytes());
        let min = last_of(after).next().unwrap();
        self.ask(&key, |of| of >= min, |key, keys| self.index.ceil(key, min, keys), see);
        Some(())
    }

    fn batch(&mut self, ids: &[&str], see: See<'_>) -> Option<()> {
        for ids in ids.chunks(32) {
            let keys: Vec<ObjectKey> = ids.iter().map(|id| ObjectKey::of(id.as_bytes())).collect();
            keys.iter().for_each(|key| prefetch(self.index.bucket_of(self.index.hash(key)), Soon::Next));
            keys.iter().for_each(|key| self.prefetch(key));
            keys.iter().for_each(|key| self.newest_of(key, see));
        }
        Some(())
    }

    fn scan(&mut self, _: See<'_>) -> Option<()> {
        None
    }
}
