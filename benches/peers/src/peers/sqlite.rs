//! SQLite: one transaction into a table without row ids, pages of 16 KiB, mapped.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use stix_store::{Instant, RunKey};

use super::{Peer, See, Session, last_of, object};
use crate::data::{Data, key_of};

struct Sqlite {
    path: PathBuf,
}

struct Reader {
    connection: Connection,
}

fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA page_size = 16384; PRAGMA cache_size = -2000000; PRAGMA mmap_size = 68719476736; PRAGMA temp_store = MEMORY;",
        )
        .unwrap();
    connection
}

pub(super) fn load(dir: &Path, data: &Data) {
    let connection = connect(&dir.join("sqlite"));
    // The file is whole or not there: nothing to roll back to.
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = FULL; BEGIN; CREATE TABLE s (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID;").unwrap();
    {
        let mut insert = connection.prepare("INSERT INTO s VALUES (?1, ?2)").unwrap();
        for number in data.sorted() {
            let record = &data.records[number];
            insert.execute((&key_of(&record.key, record.run)[..], &record.body[..])).unwrap();
        }
    }
    connection.execute_batch("COMMIT").unwrap();
}

pub(super) fn open(dir: &Path) -> Box<dyn Peer> {
    Box::new(Sqlite { path: dir.join("sqlite") })
}

impl Peer for Sqlite {
    fn session(&self) -> Box<dyn Session + '_> {
        let connection = connect(&self.path);
        // Else every read locks the file.
        connection.execute_batch("PRAGMA locking_mode = NORMAL; BEGIN;").unwrap();
        Box::new(Reader { connection })
    }
}

impl Reader {
    fn ask(&self, sql: &str, from: &[u8], to: &[u8], see: See<'_>) {
        let mut statement = self.connection.prepare_cached(sql).unwrap();
        let mut rows =
            if to.is_empty() { statement.query([from]) } else { statement.query([from, to]) }.unwrap();
        if let Some(row) = rows.next().unwrap() {
            see(row.get_ref(0).unwrap().as_blob().unwrap());
        }
    }
}

impl Session for Reader {
    fn at(&mut self, id: &str, run: RunKey, see: See<'_>) {
        self.ask("SELECT v FROM s WHERE k = ?1", &key_of(&object(id), run), &[], see);
    }

    fn newest(&mut self, id: &str, see: See<'_>) -> Option<()> {
        let object = object(id);
        let (from, to) = (key_of(&object, RunKey(0)), key_of(&object, RunKey::MAX));
        self.ask("SELECT v FROM s WHERE k BETWEEN ?1 AND ?2 ORDER BY k DESC LIMIT 1", &from, &to, see);
        Some(())
    }

    fn after(&mut self, id: &str, after: Instant, see: See<'_>) -> Option<()> {
        let object = object(id);
        let (from, to) = (key_of(&object, last_of(after)), key_of(&object, RunKey::MAX));
        self.ask("SELECT v FROM s WHERE k > ?1 AND k <= ?2 ORDER BY k LIMIT 1", &from, &to, see);
        Some(())
    }

    fn scan(&mut self, see: See<'_>) -> Option<()> {
        let mut statement = self.connection.prepare("SELECT v FROM s").unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            see(row.get_ref(0).unwrap().as_blob().unwrap());
        }
        Some(())
    }
}
