//! cdb64, mapped. Under the object's key lie its runs and its newest snapshot, under object and run each older one: so the newest
//! costs one search, and any other two.

use std::fs::File;
use std::path::Path;

use cdb64::{Cdb, CdbHash, CdbWriter};
use stix_store::{Instant, RunKey};

use super::{Peer, See, Session, last_of, object, sync_dir};
use crate::data::{Data, key_of};

struct Constant(Cdb<File, CdbHash>);

pub(super) fn load(dir: &Path, data: &Data) {
    let path = dir.join("cdb");
    let mut writer = CdbWriter::<_, CdbHash>::create(&path).unwrap();
    let order = data.sorted();
    for versions in order.chunk_by(|one, other| data.records[*one].key == data.records[*other].key) {
        let (newest, older) = versions.split_last().unwrap();
        for number in older {
            let record = &data.records[*number];
            writer.put(&key_of(&record.key, record.run), &record.body).unwrap();
        }
        let mut value = vec![u8::try_from(versions.len()).unwrap()];
        versions.iter().for_each(|number| value.extend(data.records[*number].run.0.to_le_bytes()));
        value.extend(&data.records[*newest].body);
        writer.put(&data.records[*newest].key, &value).unwrap();
    }
    writer.finalize().unwrap();
    drop(writer);
    File::open(&path).unwrap().sync_all().unwrap();
    sync_dir(dir);
}

pub(super) fn open(dir: &Path) -> Box<dyn Peer> {
    Box::new(Constant(Cdb::open_mmap(dir.join("cdb")).unwrap()))
}

impl Peer for Constant {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(self)
    }
}

/// Runs and newest snapshot of an object.
fn parts(value: &[u8]) -> (Vec<RunKey>, &[u8]) {
    let (runs, body) = value[1..].split_at(usize::from(value[0]) * 8);
    (runs.chunks_exact(8).map(|run| RunKey(u64::from_le_bytes(run.try_into().unwrap()))).collect(), body)
}

impl Constant {
    fn of(&self, object: &[u8; 24], runs: &[RunKey], wanted: RunKey, newest: &[u8], see: See<'_>) {
        if runs.last() == Some(&wanted) {
            see(newest);
        } else if let Some(body) = self.0.get(&key_of(object, wanted)).unwrap() {
            see(&body);
        }
    }
}

impl Session for &Constant {
    fn at(&mut self, id: &str, run: RunKey, see: See<'_>) {
        let object = object(id);
        if let Some(value) = self.0.get(&object).unwrap() {
            let (runs, newest) = parts(&value);
            self.of(&object, &runs, run, newest, see);
        }
    }

    fn newest(&mut self, id: &str, see: See<'_>) -> Option<()> {
        if let Some(value) = self.0.get(&object(id)).unwrap() {
            see(&value[1 + usize::from(value[0]) * 8..]);
        }
        Some(())
    }

    fn after(&mut self, id: &str, after: Instant, see: See<'_>) -> Option<()> {
        let object = object(id);
        if let Some(value) = self.0.get(&object).unwrap() {
            let (runs, newest) = parts(&value);
            if let Some(run) = runs.iter().find(|run| **run > last_of(after)) {
                self.of(&object, &runs, *run, newest, see);
            }
        }
        Some(())
    }

    fn scan(&mut self, see: See<'_>) -> Option<()> {
        for item in self.0.iter() {
            let (key, value) = item.unwrap();
            see(if key.len() == 32 { &value } else { &value[1 + usize::from(value[0]) * 8..] });
        }
        Some(())
    }
}
