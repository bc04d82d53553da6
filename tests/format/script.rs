//! Stores made by a script of operations, and a model of what they must answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stix_store::format::put::PutKind;
use stix_store::snapshot::{Meta, bundle, codec, run};
use stix_store::vfs::mem::Mem;
use stix_store::{Body, CreateOptions, Put, RunKey, Store, Writer, WriterOptions};

/// One operation.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A run directory: its name and modification time.
    Run(&'static str, i64),
    /// A file of a run: run, name, content.
    File(&'static str, String, String),
    /// Another id under which a file of a run is found: run, id, name.
    Alias(&'static str, String, String),
    /// The record of a name in a run goes.
    Delete(&'static str, String),
    /// The end of a transaction.
    Commit,
    /// The writer closes and publishes the index; another one goes on.
    Close,
    /// The writer dies here. What it did not commit is in its segment.
    Die,
}

/// The content of a name in a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Held {
    /// A file's bytes.
    File(Vec<u8>),
    /// The name of the file that an alias leads to.
    Alias(String),
}

/// What a store must answer, kept the plain way.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// Runs: directory names.
    pub(super) runs: BTreeMap<RunKey, &'static str>,
    /// Live names, by name and run.
    pub(super) held: BTreeMap<(String, RunKey), Held>,
    /// The number of the last commit.
    pub(super) commit: u64,
    /// Every name that was ever mentioned, uncommitted ones too.
    pub(super) mentioned: BTreeSet<String>,
}

/// Makes a store in memory.
pub(super) fn build(options: &CreateOptions, script: &[Op]) -> Mem {
    let mem = Mem::new();
    let store = Store::create_on(Arc::new(mem.clone()), options).unwrap();
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    let mut keys = BTreeMap::new();
    for op in script {
        match op {
            Op::Close => {
                writer.close().unwrap();
                writer = store.writer(&WriterOptions::default()).unwrap();
            }
            Op::Die => {
                // The view makes the writer hand over what it has gathered.
                writer.view().unwrap();
                drop(writer);
                return mem;
            }
            Op::Run(..) | Op::File(..) | Op::Alias(..) | Op::Delete(..) | Op::Commit => {
                apply(&mut writer, &mut keys, op);
            }
        }
    }
    writer.close().unwrap();
    mem
}

fn apply(writer: &mut Writer, keys: &mut BTreeMap<&'static str, RunKey>, op: &Op) {
    match op {
        Op::Run(name, mtime) => {
            let meta = codec::encode_run_meta(Some((*mtime, 0)));
            let (key, _) = writer.put_run(run::parse(name).unwrap(), name, &meta).unwrap();
            keys.insert(name, key);
        }
        Op::File(run, name, content) => {
            let bundle = bundle::parse(content.as_bytes()).unwrap();
            let nanos = if name.contains('-') { 0 } else { 500_000_000 };
            let meta = Meta::of(&bundle, name.as_bytes(), Some((1_705_327_260, nanos))).encode();
            let object = bundle.objects[0].range.clone();
            put(writer, keys[run], PutKind::Snapshot, name, &meta, object, content);
        }
        Op::Alias(run, id, name) => put(writer, keys[run], PutKind::Alias, id, &[], 0..0, name),
        Op::Delete(run, name) => assert!(writer.delete(name, keys[run]).unwrap(), "{name} is there"),
        Op::Commit => drop(writer.commit().unwrap()),
        Op::Close | Op::Die => unreachable!("the caller's"),
    }
}

fn put(
    writer: &mut Writer,
    run: RunKey,
    kind: PutKind,
    name: &str,
    meta: &[u8],
    object: std::ops::Range<u32>,
    body: &str,
) {
    let body = Body::Raw(body.as_bytes());
    writer.put(&Put { name: name.as_bytes(), run, kind, meta, object, body }).unwrap();
}

impl Model {
    /// Follows a script; what it does not commit counts as mentioned only.
    pub(super) fn of(script: &[Op]) -> Model {
        let mut committed = Model::default();
        let mut open = Model::default();
        for op in script {
            open.follow(op);
            match op {
                Op::Commit => committed = open.clone(),
                Op::Close | Op::Die => open = Model { mentioned: open.mentioned, ..committed.clone() },
                Op::Run(..) | Op::File(..) | Op::Alias(..) | Op::Delete(..) => {}
            }
        }
        Model { mentioned: open.mentioned, ..committed }
    }

    fn follow(&mut self, op: &Op) {
        match op {
            Op::Run(name, _) => {
                // The first directory name of an instant has discriminator 0, the next one 1.
                let at = run::parse(name).unwrap();
                let taken = self.runs.iter().filter(|(key, other)| key.instant() == at && *other != name);
                let key = RunKey::new(at, u16::try_from(taken.count()).unwrap());
                self.runs.insert(key, name);
            }
            Op::File(run, name, content) => self.hold(run, name, Held::File(content.clone().into_bytes())),
            Op::Alias(run, id, name) => self.hold(run, id, Held::Alias(name.clone())),
            Op::Delete(run, name) => drop(self.held.remove(&(name.clone(), self.key(run)))),
            Op::Commit => self.commit += 1,
            Op::Close | Op::Die => {}
        }
    }

    fn hold(&mut self, run: &str, name: &str, held: Held) {
        self.mentioned.insert(name.to_owned());
        self.held.insert((name.to_owned(), self.key(run)), held);
    }

    fn key(&self, run: &str) -> RunKey {
        *self.runs.iter().find(|(_, name)| **name == run).unwrap().0
    }
}
