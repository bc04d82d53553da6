//! LMDB by heed: one transaction of appends in the order of keys; read through its map.

use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvOpenOptions, PutFlags, RoTxn, WithTls};
use stix_store::{Instant, RunKey};

use super::{Peer, See, Session, last_of, object};
use crate::data::{Data, key_of};

type Table = Database<Bytes, Bytes>;

struct Lmdb {
    env: Env,
    table: Table,
}

struct Reader<'e> {
    table: Table,
    txn: RoTxn<'e, WithTls>,
}

fn env(dir: &Path) -> Env {
    // SAFETY: nobody else touches the file while it is mapped.
    unsafe { EnvOpenOptions::new().map_size(64 << 30).open(dir).unwrap() }
}

pub(super) fn load(dir: &Path, data: &Data) {
    let env = env(dir);
    let mut txn = env.write_txn().unwrap();
    let table: Table = env.create_database(&mut txn, None).unwrap();
    for number in data.sorted() {
        let record = &data.records[number];
        let key = key_of(&record.key, record.run);
        table.put_with_flags(&mut txn, PutFlags::APPEND, &key, &record.body).unwrap();
    }
    txn.commit().unwrap();
    env.prepare_for_closing().wait();
}

pub(super) fn open(dir: &Path) -> Box<dyn Peer> {
    let env = env(dir);
    let txn = env.read_txn().unwrap();
    let table = env.open_database(&txn, None).unwrap().unwrap();
    txn.commit().unwrap();
    Box::new(Lmdb { env, table })
}

impl Peer for Lmdb {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(Reader { table: self.table, txn: self.env.read_txn().unwrap() })
    }
}

impl Session for Reader<'_> {
    fn at(&mut self, id: &str, run: RunKey, see: See<'_>) {
        if let Some(body) = self.table.get(&self.txn, &key_of(&object(id), run)).unwrap() {
            see(body);
        }
    }

    fn newest(&mut self, id: &str, see: See<'_>) -> Option<()> {
        let object = object(id);
        let found = self.table.get_lower_than_or_equal_to(&self.txn, &key_of(&object, RunKey::MAX)).unwrap();
        if let Some((key, body)) = found
            && key[..24] == object
        {
            see(body);
        }
        Some(())
    }

    fn after(&mut self, id: &str, after: Instant, see: See<'_>) -> Option<()> {
        let object = object(id);
        let found = self.table.get_greater_than(&self.txn, &key_of(&object, last_of(after))).unwrap();
        if let Some((key, body)) = found
            && key[..24] == object
        {
            see(body);
        }
        Some(())
    }

    fn scan(&mut self, see: See<'_>) -> Option<()> {
        for item in self.table.iter(&self.txn).unwrap() {
            see(item.unwrap().1);
        }
        Some(())
    }
}
