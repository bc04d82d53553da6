//! What import needs of a store, as a trait: so that groups, reports, aliases and mirroring are tested
//! without one.

use std::collections::BTreeSet;

use super::alias::Look;
use crate::error::Result;
use crate::id::{CommitId, Instant, RunKey};
use crate::snapshot::Meta;
use crate::store::{Outcome, Put, PutKind, Snapshot, View, Writer};

/// Bytes from which on a file and what is stored of it are not both in memory.
const LONG_BYTES: u64 = 4 << 20;

/// Tells whether what is stored of a file of that length is to be looked at before the file is read.
pub(super) fn is_long(len: u64) -> bool {
    len >= LONG_BYTES
}

/// What a name stands for in a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stored {
    /// A file, with the ids in it that differ from its name.
    File {
        /// The ids.
        ids: Vec<Vec<u8>>,
    },
    /// An alias.
    Alias {
        /// The name of the file it stands for.
        file: Vec<u8>,
    },
}

/// Receives the records of a run: the name, and what it stands for.
pub(super) type Visit<'a> = dyn FnMut(Vec<u8>, Stored) -> Result<()> + 'a;

/// What the store held under a file's name when the import began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Known {
    /// Nothing.
    Absent,
    /// An alias: as good as nothing, for a file.
    Alias,
    /// A snapshot, with the ids in it that differ from its name.
    File {
        /// The ids.
        ids: Vec<Vec<u8>>,
    },
    /// Something that cannot be read.
    Damaged,
}

/// A file, compared with what the store holds under its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Compared {
    /// What the store holds.
    pub(super) known: Known,
    /// Whether that is the file's bytes.
    pub(super) is_same: bool,
    /// The checksum of the record that the store holds.
    pub(super) checksum: Option<u32>,
}

impl Compared {
    /// Not the same, and no record to speak of.
    pub(super) fn with(known: Known) -> Compared {
        Compared { known, is_same: false, checksum: None }
    }
}

/// What is stored under the name of a long file, looked at before that is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Digested {
    /// What is known of it; not yet the same.
    pub(super) compared: Compared,
    /// The digest of its bytes.
    pub(super) digest: blake3::Hash,
}

impl Digested {
    /// Compares with the file, `None` if it could not be read.
    pub(super) fn with(self, payload: Option<&[u8]>) -> Compared {
        let is_same = payload.is_some_and(|payload| blake3::hash(payload) == self.digest);
        Compared { is_same, ..self.compared }
    }
}

/// The state in which the import began, as the workers look into it.
pub(super) trait Base: Send {
    /// The key of a run. A failure counts as "not there", and so does a name that was made up for a run whose record is
    /// damaged: nothing is skipped then, nor deleted.
    fn run_key(&self, at: Instant, name: &str) -> Option<RunKey>;
    /// Compares a file, `None` if it could not be read, with what is stored. A failure to read the store
    /// says only "not the same": the put will meet it again.
    fn compare(&self, name: &[u8], run: RunKey, payload: Option<&[u8]>) -> Compared;
    /// A digest of what is stored under a name, if that is a snapshot of `len` bytes: for a [long](is_long) file about to be read.
    fn digest(&self, name: &[u8], run: RunKey, len: u64) -> Option<Digested>;
}

impl Base for View {
    fn run_key(&self, at: Instant, name: &str) -> Option<RunKey> {
        self.run_named(at, name).ok().flatten().filter(|run| run.is_named).map(|run| run.key)
    }

    fn compare(&self, name: &[u8], run: RunKey, payload: Option<&[u8]>) -> Compared {
        let record = match self.record(name, run) {
            Ok(Some(record)) if record.kind() == PutKind::Snapshot => record,
            Ok(Some(_)) => return Compared::with(Known::Alias),
            Ok(None) => return Compared::with(Known::Absent),
            Err(_) => return Compared::with(Known::Damaged),
        };
        let Some(ids) = odd_ids(&record) else { return Compared::with(Known::Damaged) };
        let is_same = payload.is_some_and(|payload| {
            // The length first: it costs no decompression.
            u64::try_from(payload.len()) == Ok(record.len()) && holds(&record, payload).unwrap_or(false)
        });
        Compared { known: Known::File { ids }, is_same, checksum: Some(record.checksum()) }
    }

    fn digest(&self, name: &[u8], run: RunKey, len: u64) -> Option<Digested> {
        // Of a map the pages would stay, beside the file.
        let view = self.without_maps();
        let record = view.record(name, run).ok()??;
        if record.kind() != PutKind::Snapshot || record.len() != len {
            return None;
        }
        let known = Known::File { ids: odd_ids(&record)? };
        let mut hasher = blake3::Hasher::new();
        let add = &mut |piece: &[u8]| {
            hasher.update(piece);
        };
        record.pieces(add).ok()?;
        let compared = Compared { known, is_same: false, checksum: Some(record.checksum()) };
        Some(Digested { compared, digest: hasher.finalize() })
    }
}

/// Tells whether a record's file has these bytes.
fn holds(record: &Snapshot<'_>, payload: &[u8]) -> Result<bool> {
    if !is_long(record.len()) {
        return record.body().map(|body| *body == *payload);
    }
    let mut rest = Some(payload);
    record.pieces(&mut |piece| rest = rest.and_then(|rest| rest.strip_prefix(piece)))?;
    Ok(rest == Some(&[]))
}

/// A store to import into.
pub(super) trait Target {
    /// Makes sure that a run is known.
    fn put_run(&mut self, at: Instant, name: &str, meta: &[u8]) -> Result<(RunKey, Outcome)>;
    /// Appends a snapshot or an alias.
    fn put(&mut self, put: &Put<'_>) -> Result<Outcome>;
    /// Deletes a name in a run.
    fn delete(&mut self, name: &[u8], run: RunKey) -> Result<bool>;
    /// Deletes an empty run.
    fn delete_run(&mut self, run: RunKey) -> Result<bool>;
    /// Tells whether a name was put since the last commit.
    fn is_pending(&self, name: &[u8], run: RunKey) -> bool;
    /// Records written since the last commit.
    fn pending(&self) -> u64;
    /// The checksum of each of them, in order.
    fn checksums(&mut self) -> Result<&[u32]>;
    /// Makes it all durable.
    fn commit(&mut self) -> Result<CommitId>;

    /// What a name stands for now, uncommitted changes included.
    fn record(&mut self, name: &[u8], run: RunKey) -> Result<Option<Stored>>;
    /// Tells whether there is something under a name now, uncommitted changes included.
    fn look(&mut self, name: &[u8], run: RunKey) -> Result<Look>;
    /// Visits the records of a run as they are now, in any order; damaged ones are left out.
    fn records(&mut self, run: RunKey, visit: &mut Visit<'_>) -> Result<()>;

    /// Visits the records of a run as they were when the import began.
    fn records_before(&self, run: RunKey, visit: &mut Visit<'_>) -> Result<()>;
    /// The runs as they were when the import began. One whose name is lost is left out: nothing says that it is gone.
    fn runs_before(&self) -> Result<Vec<(RunKey, Instant, String)>>;
    /// The number of live snapshots when the import began.
    fn len_before(&self) -> u64;
    /// The last commit when the import began.
    fn commit_before(&self) -> CommitId;
}

/// The real one.
#[derive(Debug)]
pub(super) struct StoreTarget<'w> {
    /// Writes.
    pub(super) writer: &'w mut Writer,
    /// The state in which the import began.
    pub(super) base: View,
    /// The state with what is not committed yet, and how much that was.
    preview: Option<(u64, View)>,
}

impl<'w> StoreTarget<'w> {
    pub(super) fn new(writer: &'w mut Writer, base: View) -> StoreTarget<'w> {
        StoreTarget { writer, base, preview: None }
    }

    /// Returns the state with what is not committed yet; made anew only after changes.
    fn preview(&mut self) -> Result<&View> {
        let pending = self.writer.pending();
        let view = match self.preview.take() {
            Some((at, view)) if at == pending && pending > 0 => view,
            _ => self.writer.view()?,
        };
        Ok(&self.preview.insert((pending, view)).1)
    }
}

impl Target for StoreTarget<'_> {
    fn put_run(&mut self, at: Instant, name: &str, meta: &[u8]) -> Result<(RunKey, Outcome)> {
        self.writer.put_run(at, name, meta)
    }

    fn put(&mut self, put: &Put<'_>) -> Result<Outcome> {
        self.writer.put(put)
    }

    fn delete(&mut self, name: &[u8], run: RunKey) -> Result<bool> {
        self.writer.delete(name, run)
    }

    fn delete_run(&mut self, run: RunKey) -> Result<bool> {
        self.writer.delete_run(run)
    }

    fn is_pending(&self, name: &[u8], run: RunKey) -> bool {
        self.writer.is_pending(name, run)
    }

    fn pending(&self) -> u64 {
        self.writer.pending()
    }

    fn checksums(&mut self) -> Result<&[u32]> {
        self.writer.checksums()
    }

    fn commit(&mut self) -> Result<CommitId> {
        self.preview = None;
        self.writer.commit()
    }

    fn record(&mut self, name: &[u8], run: RunKey) -> Result<Option<Stored>> {
        let view = self.preview()?;
        let record = view.record(name, run)?;
        record.as_ref().map(stored).transpose()
    }

    fn look(&mut self, name: &[u8], run: RunKey) -> Result<Look> {
        let view = self.preview()?;
        match view.record(name, run) {
            Ok(Some(_)) => Ok(Look::Stored),
            Ok(None) if view.lost(name, run.instant())? == Some(run) => Ok(Look::Lost),
            Ok(None) => Ok(Look::Absent),
            Err(error) if error.is_damage() => Ok(Look::Unreadable),
            Err(error) => Err(error),
        }
    }

    fn records(&mut self, run: RunKey, visit: &mut Visit<'_>) -> Result<()> {
        visit_records(self.preview()?, run, visit)
    }

    fn records_before(&self, run: RunKey, visit: &mut Visit<'_>) -> Result<()> {
        visit_records(&self.base, run, visit)
    }

    fn runs_before(&self) -> Result<Vec<(RunKey, Instant, String)>> {
        let named = self.base.runs()?.into_iter().filter(|run| run.is_named);
        Ok(named.map(|run| (run.key, run.key.instant(), run.name)).collect())
    }

    fn len_before(&self) -> u64 {
        self.base.len()
    }

    fn commit_before(&self) -> CommitId {
        self.base.commit()
    }
}

fn visit_records(view: &View, run: RunKey, visit: &mut Visit<'_>) -> Result<()> {
    for record in view.records_of_run(run)? {
        let what = record.and_then(|record| Ok((record.name().into_owned(), stored(&record)?)));
        match what {
            Ok((name, stored)) => visit(name, stored)?,
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn stored(record: &Snapshot<'_>) -> Result<Stored> {
    Ok(match record.kind() {
        PutKind::Alias => Stored::Alias { file: record.body()?.into_owned() },
        PutKind::Snapshot | PutKind::Run => Stored::File { ids: odd_ids(record).unwrap_or_default() },
    })
}

/// Returns the ids in a stored file that differ from its name; `None` if its meta does not decode.
fn odd_ids(record: &Snapshot<'_>) -> Option<Vec<Vec<u8>>> {
    let meta = Meta::decode(record.meta(), record.object_range()).ok()?;
    Some(object_ids(&meta, &record.name()))
}

/// Returns the ids of a file's objects that differ from its name, each once, in file order.
pub(super) fn object_ids(meta: &Meta, name: &[u8]) -> Vec<Vec<u8>> {
    let mut seen = BTreeSet::new();
    let ids = meta.objects.iter().filter_map(|object| object.id.as_ref());
    ids.filter(|id| *id != name && !id.is_empty() && seen.insert(*id)).cloned().collect()
}
