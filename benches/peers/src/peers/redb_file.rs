//! redb: one transaction of inserts in the order of keys, a cache that holds everything.

use std::path::Path;

use redb::{ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, TableDefinition};
use stix_store::{Instant, RunKey};

use super::{Peer, See, Session, last_of, object};
use crate::data::{Data, key_of};

const TABLE: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("snapshots");

struct Redb(ReadOnlyDatabase);

struct Reader(ReadOnlyTable<&'static [u8; 32], &'static [u8]>);

pub(super) fn load(dir: &Path, data: &Data) {
    let file = redb::Builder::new().set_cache_size(4 << 30).create(dir.join("redb")).unwrap();
    let txn = file.begin_write().unwrap();
    {
        let mut table = txn.open_table(TABLE).unwrap();
        for number in data.sorted() {
            let record = &data.records[number];
            table.insert(&key_of(&record.key, record.run), record.body.as_slice()).unwrap();
        }
    }
    txn.commit().unwrap();
}

pub(super) fn open(dir: &Path) -> Box<dyn Peer> {
    // Without this it writes its header at each open.
    let file = redb::Builder::new().set_cache_size(4 << 30).open_read_only(dir.join("redb"));
    Box::new(Redb(file.unwrap()))
}

impl Peer for Redb {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(Reader(self.0.begin_read().unwrap().open_table(TABLE).unwrap()))
    }
}

impl Session for Reader {
    fn at(&mut self, id: &str, run: RunKey, see: See<'_>) {
        if let Some(body) = self.0.get(&key_of(&object(id), run)).unwrap() {
            see(body.value());
        }
    }

    fn newest(&mut self, id: &str, see: See<'_>) -> Option<()> {
        let object = object(id);
        let (from, to) = (key_of(&object, RunKey(0)), key_of(&object, RunKey::MAX));
        if let Some(item) = self.0.range::<&[u8; 32]>(&from..=&to).unwrap().next_back() {
            see(item.unwrap().1.value());
        }
        Some(())
    }

    fn after(&mut self, id: &str, after: Instant, see: See<'_>) -> Option<()> {
        let object = object(id);
        let (from, to) = (key_of(&object, last_of(after)), key_of(&object, RunKey::MAX));
        if let Some(item) = self.0.range::<&[u8; 32]>(&from..=&to).unwrap().next() {
            see(item.unwrap().1.value());
        }
        Some(())
    }

    fn scan(&mut self, see: See<'_>) -> Option<()> {
        for item in self.0.range::<&[u8; 32]>(..).unwrap() {
            see(item.unwrap().1.value());
        }
        Some(())
    }
}
