//! What is stored and what is asked for: the workload of the other benchmarks, in memory before any clock starts.

use std::collections::HashMap;
use std::ops::Range;

use stix_store::{Instant, ObjectKey, RunKey};

use crate::common::data::{self, Random, Workload};

/// A snapshot to be stored.
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) key: [u8; 24],
    pub(crate) run: RunKey,
    pub(crate) body: Vec<u8>,
    pub(crate) meta: Vec<u8>,
    pub(crate) object: Range<u32>,
}

/// One question of each kind. The answers are numbers of records.
pub(crate) struct Question {
    pub(crate) id: String,
    pub(crate) run: RunKey,
    pub(crate) before: Instant,
    pub(crate) absent: String,
    pub(crate) newest: usize,
    pub(crate) exact: usize,
}

pub(crate) struct Data {
    /// By run, then by id: the order of a backup.
    pub(crate) records: Vec<Record>,
    pub(crate) questions: Vec<Question>,
    pub(crate) bytes: u64,
}

/// Instant and name of a run.
pub(crate) fn run_name(run: RunKey) -> String {
    run.instant().canonical_name()
}

impl Data {
    /// Makes `count` snapshots, and the questions. With `payload` every file has that many bytes instead of its own.
    pub(crate) fn new(count: usize, questions: usize, payload: Option<usize>) -> Data {
        let workload = Workload::new(count);
        let record = |item: &data::Item| {
            let (id, run) = (data::id(item.object), RunKey::new(data::instant(item.run), 0));
            let key = ObjectKey::of(id.as_bytes()).0;
            let (body, meta, object) = if let Some(len) = payload {
                (format!("{{\"id\": \"{id}\"}}{:len$}", "").into_bytes()[..len].to_vec(), Vec::new(), 0..0)
            } else {
                let body = workload.file(item);
                let (meta, object) = data::meta(&body, id.as_bytes());
                (body, meta, object)
            };
            Record { id, key, run, body, meta, object }
        };
        let records: Vec<Record> = workload.items.iter().map(record).collect();
        let mut newest: HashMap<[u8; 24], usize> = HashMap::new();
        for (number, record) in records.iter().enumerate() {
            newest.insert(record.key, number);
        }
        let mut random = Random::new(2);
        let ask = |_| {
            let exact = usize::try_from(random.below(records.len() as u64)).unwrap();
            let record = &records[exact];
            Question {
                id: record.id.clone(),
                run: record.run,
                before: Instant(record.run.instant().0 - 1),
                absent: data::id(u64::MAX / 2 + random.below(1 << 40)),
                newest: newest[&record.key],
                exact,
            }
        };
        let questions = (0..questions).map(ask).collect();
        let bytes = records.iter().map(|record| record.body.len() as u64).sum();
        Data { records, questions, bytes }
    }

    /// The numbers of the records by key and run: the order of a sorted store.
    pub(crate) fn sorted(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.records.len()).collect();
        order.sort_unstable_by_key(|number| (self.records[*number].key, self.records[*number].run));
        order
    }
}

/// The 32 bytes of a key, as the store itself has them: the smallest that tell all snapshots apart.
pub(crate) fn key_of(object: &[u8; 24], run: RunKey) -> [u8; 32] {
    let mut key = [0; 32];
    key[..24].copy_from_slice(object);
    key[24..].copy_from_slice(&run.0.to_be_bytes());
    key
}
