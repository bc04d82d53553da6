//! A store in memory, for tests: commits, and can be told to fail.
#![expect(clippy::arithmetic_side_effects, reason = "counts of a test")]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::alias::Look;
use super::buffers::Payload;
use super::gate::Ticket;
use super::prepare::{Content, Done, PreparedFile};
use super::scan::{RunDir, RunEntry, file_name_of};
use super::seen::SeenRun;
use super::target::{Base, Compared, Digested, Known, Stored, Target, Visit, object_ids};
use super::{FileReport, ImportSink};
use crate::error::{Error, Result};
use crate::id::{CommitId, Instant, RunKey};
use crate::snapshot::codec::{Meta, MetaObject};
use crate::store::{Body, Outcome, Put, PutKind};
use crate::vfs::Kind;
use crate::vfs::tree::SourceEntry;

/// What is under a name: the payload, and what it stands for.
type Entry = (Vec<u8>, Stored);

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) entries: BTreeMap<(RunKey, Vec<u8>), Entry>,
    pub(super) runs: BTreeMap<RunKey, String>,
}

#[derive(Debug, Default)]
pub(super) struct Fake {
    pub(super) before: State,
    pub(super) now: State,
    pub(super) committed: State,
    /// Records of each commit of this import.
    pub(super) commits: Vec<usize>,
    /// All that was written, in order.
    pub(super) log: Vec<String>,
    pub(super) pending: usize,
    pub(super) checksums: Vec<u32>,
    pub(super) fail_commit: bool,
}

impl Fake {
    /// Starts another import on what is committed.
    pub(super) fn reopen(self) -> Fake {
        let state = self.committed;
        Fake { before: state.clone(), now: state.clone(), committed: state, ..Fake::default() }
    }

    /// The committed records of a run: `name` or `name->file`.
    pub(super) fn names(&self, run: RunKey) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let of_run = self.committed.entries.iter().filter(|((at, _), _)| *at == run);
        of_run
            .map(|((_, name), (_, stored))| match stored {
                Stored::File { .. } => text(name),
                Stored::Alias { file } => format!("{}->{}", text(name), text(file)),
            })
            .collect()
    }
}

impl Target for Fake {
    fn put_run(&mut self, at: Instant, name: &str, _meta: &[u8]) -> Result<(RunKey, Outcome)> {
        for discriminator in 0..=u16::MAX {
            let key = RunKey::new(at, discriminator);
            match self.now.runs.get(&key) {
                Some(other) if other == name => return Ok((key, Outcome::Unchanged)),
                Some(_) => {}
                None => {
                    self.now.runs.insert(key, name.to_owned());
                    self.pending += 1;
                    return Ok((key, Outcome::Added));
                }
            }
        }
        Err(Error::Cancelled)
    }

    fn put(&mut self, put: &Put<'_>) -> Result<Outcome> {
        if put.name == b"collides" {
            return Err(Error::KeyCollision { name: "collides".into(), other: "other".into() });
        }
        assert!(self.now.runs.contains_key(&put.run), "a put without its run");
        let Body::Raw(body) = put.body else { panic!("nothing encodes here") };
        let stored = match put.kind {
            PutKind::Alias => Stored::Alias { file: body.to_vec() },
            PutKind::Snapshot | PutKind::Run => {
                let meta = Meta::decode(put.meta, put.object.clone()).unwrap();
                Stored::File { ids: object_ids(&meta, put.name) }
            }
        };
        self.log.push(format!("{put:?}"));
        let entry = (body.to_vec(), stored);
        match self.now.entries.insert((put.run, put.name.to_vec()), entry.clone()) {
            Some(before) if before == entry => Ok(Outcome::Unchanged),
            before => {
                self.pending += 1;
                Ok(if before.is_some() { Outcome::Updated } else { Outcome::Added })
            }
        }
    }

    fn delete(&mut self, name: &[u8], run: RunKey) -> Result<bool> {
        let was = self.now.entries.remove(&(run, name.to_vec())).is_some();
        self.pending += usize::from(was);
        Ok(was)
    }

    fn delete_run(&mut self, run: RunKey) -> Result<bool> {
        if self.now.entries.keys().any(|(at, _)| *at == run) {
            return Err(Error::BadInput { what: "run".into(), reason: "not empty".into() });
        }
        let was = self.now.runs.remove(&run).is_some();
        self.pending += usize::from(was);
        Ok(was)
    }

    fn is_pending(&self, name: &[u8], run: RunKey) -> bool {
        let key = (run, name.to_vec());
        self.now.entries.get(&key) != self.committed.entries.get(&key)
    }

    fn pending(&self) -> u64 {
        self.pending.try_into().unwrap()
    }

    fn checksums(&mut self) -> Result<&[u32]> {
        self.checksums.resize(self.pending, 7);
        Ok(&self.checksums)
    }

    fn commit(&mut self) -> Result<CommitId> {
        if self.fail_commit {
            return Err(Error::Poisoned { reason: "sync".into() });
        }
        self.log.push("commit".to_owned());
        self.committed = self.now.clone();
        self.commits.push(std::mem::take(&mut self.pending));
        Ok(CommitId(u64::try_from(self.commits.len()).unwrap()))
    }

    fn record(&mut self, name: &[u8], run: RunKey) -> Result<Option<Stored>> {
        Ok(self.now.entries.get(&(run, name.to_vec())).map(|entry| entry.1.clone()))
    }

    fn look(&mut self, name: &[u8], run: RunKey) -> Result<Look> {
        Ok(if self.record(name, run)?.is_some() { Look::Stored } else { Look::Absent })
    }

    fn records(&mut self, run: RunKey, visit: &mut Visit<'_>) -> Result<()> {
        visit_state(&self.now, run, visit)
    }

    fn records_before(&self, run: RunKey, visit: &mut Visit<'_>) -> Result<()> {
        visit_state(&self.before, run, visit)
    }

    fn runs_before(&self) -> Result<Vec<(RunKey, Instant, String)>> {
        Ok(self.before.runs.iter().map(|(key, name)| (*key, key.instant(), name.clone())).collect())
    }

    fn len_before(&self) -> u64 {
        let is_file = |entry: &&Entry| matches!(entry.1, Stored::File { .. });
        u64::try_from(self.before.entries.values().filter(is_file).count()).unwrap()
    }

    fn commit_before(&self) -> CommitId {
        CommitId(0)
    }
}

impl Base for State {
    fn run_key(&self, at: Instant, name: &str) -> Option<RunKey> {
        self.runs.iter().find(|(key, other)| key.instant() == at && *other == name).map(|(key, _)| *key)
    }

    fn compare(&self, name: &[u8], run: RunKey, payload: Option<&[u8]>) -> Compared {
        match self.entries.get(&(run, name.to_vec())) {
            None => Compared::with(Known::Absent),
            Some((_, Stored::Alias { .. })) => Compared::with(Known::Alias),
            Some((body, Stored::File { ids })) => Compared {
                known: Known::File { ids: ids.clone() },
                is_same: payload == Some(body),
                checksum: Some(7),
            },
        }
    }

    fn digest(&self, name: &[u8], run: RunKey, len: u64) -> Option<Digested> {
        let (body, _) = self.entries.get(&(run, name.to_vec()))?;
        let compared = self.compare(name, run, None);
        (u64::try_from(body.len()) == Ok(len)).then(|| Digested { compared, digest: blake3::hash(body) })
    }
}

fn visit_state(state: &State, run: RunKey, visit: &mut Visit<'_>) -> Result<()> {
    let of_run = state.entries.iter().filter(|((at, _), _)| *at == run);
    of_run.into_iter().try_for_each(|((_, name), (_, stored))| visit(name.clone(), stored.clone()))
}

/// A file of a test's run directory.
#[derive(Clone, Debug)]
pub(super) struct TestFile {
    pub(super) name: &'static str,
    /// `None`: a bad file.
    pub(super) body: Option<&'static str>,
    pub(super) ids: &'static [&'static str],
    /// Its length, as the group counts it.
    pub(super) bytes: u64,
}

pub(super) fn good(name: &'static str, body: &'static str) -> TestFile {
    TestFile { name, body: Some(body), ids: &[], bytes: 1 }
}

pub(super) fn odd(name: &'static str, body: &'static str, ids: &'static [&'static str]) -> TestFile {
    TestFile { name, body: Some(body), ids, bytes: 1 }
}

pub(super) fn torn(name: &'static str) -> TestFile {
    TestFile { name, body: None, ids: &[], bytes: 1 }
}

/// What the workers would deliver for a run directory with these files.
pub(super) fn prepared(fake: &Fake, at: u64, run: &str, files: &[TestFile]) -> Vec<Done> {
    let mut files = files.to_vec();
    files.sort_by_key(|file| file_name_of(file.name.as_bytes()));
    let key = fake.before.runs.iter().find(|(_, name)| *name == run).map(|(key, _)| *key);
    let entry =
        |file: &TestFile| SourceEntry { name: format!("{}.json", file.name).into(), kind: Kind::File };
    let dir = Arc::new(RunDir {
        entry: RunEntry { at: Instant(at), name: run.to_owned(), warning: None },
        meta: Vec::new(),
        entries: files.iter().map(entry).collect(),
        is_whole: true,
        seen: SeenRun::default(),
        stored: OnceLock::from(key),
    });
    let mut items = vec![Done::Begin(Arc::clone(&dir))];
    for (index, file) in files.iter().enumerate() {
        items.push(Done::File(prepared_file(fake, key, index, file)));
    }
    items.push(Done::End(dir));
    items
}

fn prepared_file(fake: &Fake, run: Option<RunKey>, index: usize, file: &TestFile) -> PreparedFile {
    let none = Compared::with(Known::Absent);
    let payload = file.body.map(str::as_bytes);
    let compared = run.map_or(none, |run| fake.before.compare(file.name.as_bytes(), run, payload));
    let ids: Vec<Vec<u8>> = file.ids.iter().map(|id| id.as_bytes().to_vec()).collect();
    let object = |id: Option<&Vec<u8>>| MetaObject { id: id.cloned(), range: 0..0, refs: Vec::new() };
    let mut objects: Vec<MetaObject> = ids.iter().map(|id| object(Some(id))).collect();
    if objects.is_empty() {
        objects.push(object(None));
    }
    let meta = Meta { mtime: None, objects }.encode();
    let content = match file.body {
        None => Content::Bad { code: "not_json", detail: "torn".to_owned() },
        Some(_) if compared.is_same => Content::Same,
        Some(body) => Content::New { meta, object: 0..0, payload: Payload::Raw(body.into()) },
    };
    let ids = if file.body.is_some() { ids } else { Vec::new() };
    PreparedFile {
        index,
        bytes: file.bytes,
        warnings: Vec::new(),
        known: compared.known,
        ids,
        digest: None,
        checksum: None,
        is_repeat: false,
        is_opened: true,
        content,
        ticket: Ticket::free(),
    }
}

/// Keeps all reports, and how many commits there were at each.
#[derive(Debug, Default)]
pub(super) struct Collect {
    pub(super) reports: Vec<FileReport>,
}

impl Collect {
    /// The reports as `run/name outcome`.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |report: &FileReport| {
            let path: Vec<_> = report.path.iter().map(|part| String::from_utf8_lossy(part)).collect();
            format!("{} {:?}", path.join("/"), report.outcome)
        };
        self.reports.iter().map(line).collect()
    }
}

impl ImportSink for Collect {
    fn file(&mut self, report: &FileReport) -> Result<()> {
        self.reports.push(report.clone());
        Ok(())
    }
}
