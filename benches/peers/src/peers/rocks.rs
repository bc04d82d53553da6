//! RocksDB: one sorted file, ingested; blocks with a hash index, a bloom filter over object keys, a cache that holds everything.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRawIterator, DataBlockIndexType, Options, ReadOptions,
    SliceTransform, SstFileWriter,
};
use stix_store::{Instant, RunKey};

use super::{Peer, See, Session, last_of, object};
use crate::data::{Data, key_of};

struct Rocks(DB);

struct Reader<'d> {
    db: &'d DB,
    /// Reused: to make one costs more than to seek.
    iterator: DBRawIterator<'d>,
}

fn options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(4 << 30));
    blocks.set_bloom_filter(10.0, false);
    blocks.set_whole_key_filtering(true);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    blocks.set_data_block_hash_ratio(0.75);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::None);
    options.set_prefix_extractor(SliceTransform::create_fixed_prefix(24));
    options.set_block_based_table_factory(&blocks);
    options
}

pub(super) fn load(dir: &Path, data: &Data) {
    let options = options();
    let file = dir.join("sorted.sst");
    let mut writer = SstFileWriter::create(&options);
    writer.open(&file).unwrap();
    for number in data.sorted() {
        let record = &data.records[number];
        writer.put(key_of(&record.key, record.run), &record.body).unwrap();
    }
    writer.finish().unwrap();
    let db = DB::open(&options, dir.join("db")).unwrap();
    let mut ingest = rocksdb::IngestExternalFileOptions::default();
    ingest.set_move_files(true);
    db.ingest_external_file_opts(&ingest, vec![&file]).unwrap();
}

pub(super) fn open(dir: &Path) -> Box<dyn Peer> {
    Box::new(Rocks(DB::open_for_read_only(&options(), dir.join("db"), false).unwrap()))
}

impl Peer for Rocks {
    fn session(&self) -> Box<dyn Session + '_> {
        let mut read = ReadOptions::default();
        read.set_prefix_same_as_start(true);
        Box::new(Reader { db: &self.0, iterator: self.0.raw_iterator_opt(read) })
    }
}

impl Reader<'_> {
    fn see(&self, object: &[u8; 24], see: See<'_>) {
        if let Some((key, body)) = self.iterator.item()
            && key[..24] == *object
        {
            see(body);
        }
    }
}

impl Session for Reader<'_> {
    fn at(&mut self, id: &str, run: RunKey, see: See<'_>) {
        if let Some(body) = self.db.get_pinned(key_of(&object(id), run)).unwrap() {
            see(&body);
        }
    }

    fn newest(&mut self, id: &str, see: See<'_>) -> Option<()> {
        let object = object(id);
        self.iterator.seek_for_prev(key_of(&object, RunKey::MAX));
        self.see(&object, see);
        Some(())
    }

    fn after(&mut self, id: &str, after: Instant, see: See<'_>) -> Option<()> {
        let object = object(id);
        self.iterator.seek(key_of(&object, last_of(after).next().unwrap_or(RunKey::MAX)));
        self.see(&object, see);
        Some(())
    }

    /// The bloom filter of whole keys answers this; a seek would read a block.
    fn absent(&mut self, id: &str, see: See<'_>) -> Option<()> {
        self.at(id, RunKey::MAX, see);
        Some(())
    }

    fn scan(&mut self, see: See<'_>) -> Option<()> {
        let mut read = ReadOptions::default();
        read.set_verify_checksums(true);
        read.set_readahead_size(2 << 20);
        read.fill_cache(false);
        read.set_total_order_seek(true);
        let mut iterator = self.db.raw_iterator_opt(read);
        iterator.seek_to_first();
        while let Some((_, body)) = iterator.item() {
            see(body);
            iterator.next();
        }
        Some(())
    }

    /// Its own `VerifyChecksum` cannot be reached from here; it reads every block through the same code as this does.
    fn check(&mut self) -> Option<()> {
        self.scan(&mut |_| {})
    }
}
