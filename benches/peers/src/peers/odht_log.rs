//! No product, but what its parts give: a flat mapped log, and rustc's on-disk hash table from an object to its newest snapshot.
//! Each record of the log names the run and the place of the one before it.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use memmap2::Mmap;
use odht::{Config, FxHashFn, HashTable, HashTableOwned};
use stix_store::{Instant, RunKey};

use super::{Peer, See, Session, last_of, object, sync_dir};
use crate::data::Data;

/// Bytes before a body: its length, its run, run and place of the one before it.
const HEAD: usize = 28;
const NONE: u64 = u64::MAX;

struct Objects;

impl Config for Objects {
    type Key = [u8; 24];
    type Value = u64;
    type EncodedKey = [u8; 24];
    type EncodedValue = [u8; 8];
    type H = FxHashFn;

    #[inline]
    fn encode_key(key: &[u8; 24]) -> [u8; 24] {
        *key
    }

    #[inline]
    fn encode_value(value: &u64) -> [u8; 8] {
        value.to_le_bytes()
    }

    #[inline]
    fn decode_key(key: &[u8; 24]) -> [u8; 24] {
        *key
    }

    #[inline]
    fn decode_value(value: &[u8; 8]) -> u64 {
        u64::from_le_bytes(*value)
    }
}

struct Mapped(Mmap);

impl Borrow<[u8]> for Mapped {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

struct Log {
    log: Mmap,
    table: HashTable<Objects, Mapped>,
}

pub(super) fn load(dir: &Path, data: &Data) {
    let mut table = HashTableOwned::<Objects>::with_capacity(data.records.len(), 70);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(dir.join("log")).unwrap());
    let mut newest = std::collections::HashMap::new();
    let mut at = 0u64;
    for record in &data.records {
        let (run, before) = newest.insert(record.key, (record.run.0, at)).unwrap_or((0, NONE));
        table.insert(&record.key, &at);
        out.write_all(&u32::try_from(record.body.len()).unwrap().to_le_bytes()).unwrap();
        [record.run.0, run, before].iter().for_each(|field| out.write_all(&field.to_le_bytes()).unwrap());
        out.write_all(&record.body).unwrap();
        at += (HEAD + record.body.len()) as u64;
    }
    out.into_inner().unwrap().sync_all().unwrap();
    let mut file = File::create(dir.join("table")).unwrap();
    file.write_all(table.raw_bytes()).unwrap();
    file.sync_all().unwrap();
    sync_dir(dir);
}

fn map(path: &Path) -> Mmap {
    // SAFETY: nobody else touches the file while it is mapped.
    unsafe { Mmap::map(&File::open(path).unwrap()).unwrap() }
}

pub(super) fn open(dir: &Path) -> Box<dyn Peer> {
    let table = HashTable::from_raw_bytes(Mapped(map(&dir.join("table")))).unwrap();
    Box::new(Log { log: map(&dir.join("log")), table })
}

impl Peer for Log {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(self)
    }
}

struct Entry<'l> {
    run: RunKey,
    before: (RunKey, u64),
    body: &'l [u8],
}

impl Log {
    fn entry(&self, at: u64) -> Entry<'_> {
        let bytes = &self.log[usize::try_from(at).unwrap()..];
        let field = |from: usize| u64::from_le_bytes(bytes[from..from + 8].try_into().unwrap());
        let len = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        Entry {
            run: RunKey(field(4)),
            before: (RunKey(field(12)), field(20)),
            body: &bytes[HEAD..HEAD + len],
        }
    }
}

impl Session for &Log {
    fn at(&mut self, id: &str, run: RunKey, see: See<'_>) {
        let mut next = self.table.get(&object(id));
        while let Some(at) = next {
            let entry = self.entry(at);
            if entry.run == run {
                return see(entry.body);
            }
            next = (entry.before.1 != NONE && entry.before.0 >= run).then_some(entry.before.1);
        }
    }

    fn newest(&mut self, id: &str, see: See<'_>) -> Option<()> {
        if let Some(at) = self.table.get(&object(id)) {
            see(self.entry(at).body);
        }
        Some(())
    }

    fn after(&mut self, id: &str, after: Instant, see: See<'_>) -> Option<()> {
        let last = last_of(after);
        let mut entry = self.table.get(&object(id)).map(|at| self.entry(at)).filter(|entry| entry.run > last);
        while let Some(found) = entry {
            if found.before.1 == NONE || found.before.0 <= last {
                see(found.body);
                break;
            }
            entry = Some(self.entry(found.before.1));
        }
        Some(())
    }

    fn scan(&mut self, see: See<'_>) -> Option<()> {
        let mut at = 0;
        while at < self.log.len() as u64 {
            let entry = self.entry(at);
            see(entry.body);
            at += (HEAD + entry.body.len()) as u64;
        }
        Some(())
    }
}
