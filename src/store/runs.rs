//! Runs and the names of their directories. No two live runs have the same name, whatever is damaged: what belongs to two
//! directories must never come out in one.

use std::collections::{BTreeMap, BTreeSet};

use super::state::State;
use super::txn::{Body, Outcome, Put, Writer, bad_input};
use super::view::View;
use crate::error::{Damage, Error, Place, Result};
use crate::format::put::{self, PutKind};
use crate::format::record::{HEAD_BYTES, HEAD_LEN};
use crate::id::{Instant, Key, RunKey};
use crate::index::RunRow;
use crate::limits::NAME_MAX_BYTES;

/// Bytes of a damaged run record that are looked at: fields, the longest name, a short meta.
const CLAIM_MAX_BYTES: usize = NAME_MAX_BYTES + 256;

/// A run directory as the store knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunInfo {
    /// Its key.
    pub key: RunKey,
    /// Its directory name, which no other run has.
    pub name: String,
    /// Whether its record says that name. If not, that record is damaged or lost, and the name was made up: one that means
    /// the same instant.
    pub is_named: bool,
    /// Live snapshots in it (aliases do not count).
    pub snapshots: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// The meta given with it.
    pub meta: Vec<u8>,
    /// What is wrong with its own record, and where: that costs it name and meta, and none of its snapshots.
    pub damage: Option<(Place, Damage)>,
}

impl RunInfo {
    /// What is wrong with its own record, as an error.
    pub fn error(&self) -> Option<Error> {
        self.damage.as_ref().map(|(place, damage)| Error::damaged(place.clone(), damage.clone()))
    }
}

impl View {
    /// All runs, ascending by key. Cost: one record read a run.
    ///
    /// # Errors
    /// Failures of reading. That a run's own record is damaged stands in its [`RunInfo`].
    pub fn runs(&self) -> Result<Vec<RunInfo>> {
        self.ask(|state| infos(state, &state.run_rows()?))
    }

    /// One run by its key.
    ///
    /// # Errors
    /// As for [`runs`](View::runs).
    pub fn run(&self, run: RunKey) -> Result<Option<RunInfo>> {
        let found = self.runs_of(run.instant())?.into_iter().find(|info| info.key == run);
        if let Some((info, error)) = found.as_ref().and_then(|info| Some((info, info.error()?))) {
            tracing::warn!("the name of a run is lost, which is shown as {}: {error}", info.name);
        }
        Ok(found)
    }

    /// One run by its directory name, whose instant the caller has parsed.
    ///
    /// # Errors
    /// As for [`runs`](View::runs).
    pub fn run_named(&self, at: Instant, name: &str) -> Result<Option<RunInfo>> {
        Ok(self.runs_of(at)?.into_iter().find(|info| info.name == name))
    }

    /// The runs of one instant, ascending by key. Mostly one.
    ///
    /// # Errors
    /// As for [`runs`](View::runs).
    pub fn runs_of(&self, at: Instant) -> Result<Vec<RunInfo>> {
        self.ask(|state| infos(state, &state.run_rows_of(at)?))
    }
}

/// Reads the records of live runs, ascending, all of an instant or none.
fn infos(state: &State, rows: &[RunRow]) -> Result<Vec<RunInfo>> {
    let mut infos = rows.iter().map(|row| info(state, row)).collect::<Result<Vec<_>>>()?;
    for same in infos.chunk_by_mut(|one, next| one.key.instant() == next.key.instant()) {
        name_apart(same);
    }
    Ok(infos)
}

/// Reads a run's own record; without it the name is empty.
fn info(state: &State, row: &RunRow) -> Result<RunInfo> {
    let mut info = RunInfo {
        key: row.run,
        name: String::new(),
        is_named: false,
        snapshots: row.snapshots.into(),
        bytes: row.bytes,
        meta: Vec::new(),
        damage: None,
    };
    let Some(at) = row.at else { return Ok(info) };
    match state.record(at, &Key::of_run(row.run)) {
        Ok(Some(record)) => {
            info.name = String::from_utf8_lossy(&record.name()).into_owned();
            info.is_named = true;
            info.meta = record.meta().to_vec();
        }
        Ok(None) => {}
        Err(Error::Damaged { place, damage }) => info.damage = Some((place, damage)),
        Err(other) => return Err(other),
    }
    Ok(info)
}

/// Gives the runs of one instant names that differ. Those that records say stand.
fn name_apart(infos: &mut [RunInfo]) {
    let mut taken = BTreeSet::new();
    for info in infos.iter_mut().filter(|info| info.is_named) {
        info.is_named = taken.insert(info.name.clone());
    }
    for info in infos.iter_mut().filter(|info| !info.is_named) {
        info.name = spare_name(info.key.instant(), |name| taken.contains(name));
        taken.insert(info.name.clone());
    }
}

/// Returns a name for a run whose own is lost: the canonical one of its instant, or another spelling that is read as the same
/// instant. When all these are taken, one that at least stands for nothing else.
fn spare_name(at: Instant, is_taken: impl Fn(&str) -> bool) -> String {
    let canonical = at.canonical_name();
    let spellings =
        [canonical.replace('Z', "z"), canonical.replace('T', "t"), canonical.to_ascii_lowercase()];
    let others = (1u32..).map(|number| format!("{canonical}~{number}"));
    let mut names = [canonical.clone()].into_iter().chain(spellings).chain(others);
    names.find(|name| !is_taken(name)).unwrap_or_default()
}

/// What is known of the name of a live run.
enum Naming {
    /// Its record says it.
    Known(Vec<u8>),
    /// Its record is damaged or lost. What can still be read of it may be the name.
    Unknown(Option<Vec<u8>>),
}

impl Naming {
    fn is(&self, name: &[u8]) -> bool {
        matches!(self, Naming::Known(known) if known == name)
    }
}

impl Writer {
    /// Makes sure that a run directory is known and returns its key. Nothing is written if it is known
    /// under this name; a changed `meta` alone is no change. A run of that instant whose name was lost, and can have been this
    /// one, is taken for it, and its record is written anew.
    ///
    /// # Errors
    /// `BadInput` for a name of more than 1,024 bytes or an instant beyond year 9999; failures of the store.
    pub fn put_run(&mut self, at: Instant, name: &str, meta: &[u8]) -> Result<(RunKey, Outcome)> {
        if at > Instant::MAX {
            return Err(bad_input(name, "no such instant"));
        }
        if name.len() > NAME_MAX_BYTES {
            return Err(bad_input("run", "the directory name is longer than 1024 bytes"));
        }
        let names = self.names_of(at)?;
        if let Some((run, _)) = names.iter().find(|(_, naming)| naming.is(name.as_bytes())) {
            return Ok((*run, Outcome::Unchanged));
        }
        let mut all = (0..=u16::MAX).map(|number| RunKey::new(at, number));
        let run = heir(&names, name.as_bytes())
            .or_else(|| all.find(|run| !names.contains_key(run)))
            .ok_or_else(|| bad_input(name, "too many directory names of one instant"))?;
        let body = Body::Raw(&[]);
        let put = Put { name: name.as_bytes(), run, kind: PutKind::Run, meta, object: 0..0, body };
        self.append(Key::of_run(run), &put).map(|outcome| (run, outcome))
    }

    /// Returns the directory name that a run key stands for, uncommitted ones included.
    pub(super) fn run_name(&mut self, run: RunKey) -> Result<Option<Vec<u8>>> {
        Ok(match self.names_of(run.instant())?.remove(&run) {
            Some(Naming::Known(name)) => Some(name),
            Some(Naming::Unknown(_)) | None => None,
        })
    }

    /// Tells whether another run than this one has a directory name.
    pub(super) fn is_name_of_another(&mut self, name: &[u8], run: RunKey) -> Result<bool> {
        let names = self.names_of(run.instant())?;
        Ok(names.iter().any(|(other, naming)| *other != run && naming.is(name)))
    }

    /// Returns a name for a run whose own is lost, as a view gives it one.
    pub(super) fn spare_run_name(&mut self, run: RunKey) -> Result<String> {
        let names = self.names_of(run.instant())?;
        let is_taken = |name: &str| names.values().any(|naming| naming.is(name.as_bytes()));
        Ok(spare_name(run.instant(), is_taken))
    }

    /// Returns the live runs of an instant, uncommitted ones included.
    fn names_of(&mut self, at: Instant) -> Result<BTreeMap<RunKey, Naming>> {
        let mut names = self.ask(|working| {
            let rows = working.state.run_rows_of(at)?;
            rows.iter().map(|row| Ok((row.run, naming(&working.state, row)?))).collect::<Result<_>>()
        })?;
        self.stage.name_runs(at, |run, name| {
            match name {
                Some(name) => BTreeMap::insert(&mut names, run, Naming::Known(name.to_vec())),
                None => names.remove(&run),
            };
        });
        Ok(names)
    }
}

fn naming(state: &State, row: &RunRow) -> Result<Naming> {
    let key = Key::of_run(row.run);
    let Some(at) = row.at else { return Ok(Naming::Unknown(None)) };
    match state.record(at, &key) {
        Ok(Some(record)) => Ok(Naming::Known(record.name().into_owned())),
        Ok(None) => Ok(Naming::Unknown(None)),
        Err(Error::Damaged { .. }) => claim(state, row).map(Naming::Unknown),
        Err(other) => Err(other),
    }
}

/// Reads the name out of a damaged record, as far as its fields still make sense.
fn claim(state: &State, row: &RunRow) -> Result<Option<Vec<u8>>> {
    let key = Key::of_run(row.run);
    let Some(at) = row.at else { return Ok(None) };
    let Some(segment) = state.segments.get(at.segment)? else { return Ok(None) };
    let Some(head) = segment.head(at.offset)?.ok().filter(|head| head.key() == key) else { return Ok(None) };
    let len = usize::try_from(head.size).unwrap_or(usize::MAX).saturating_sub(HEAD_BYTES);
    let mut data = vec![0; len.min(CLAIM_MAX_BYTES)];
    let got = segment.file().read_at(&mut data, u64::from(at.offset).saturating_add(HEAD_LEN.into()))?;
    data.truncate(got);
    Ok(put::decode(&data).ok().and_then(|put| put.name(&key).ok().map(std::borrow::Cow::into_owned)))
}

/// Returns the run whose lost name a name can have been: the one of whose record it can be read, else the first one that
/// does not seem to have had quite another.
fn heir(names: &BTreeMap<RunKey, Naming>, name: &[u8]) -> Option<RunKey> {
    let lost = || {
        names.iter().filter_map(|(run, naming)| match naming {
            Naming::Known(_) => None,
            // What another run is named it cannot have been named.
            Naming::Unknown(claim) => {
                Some((run, claim.as_ref().filter(|claim| !names.values().any(|naming| naming.is(claim)))))
            }
        })
    };
    let sure = lost().find(|(_, claim)| claim.is_some_and(|claim| claim == name));
    let found = sure.or_else(|| lost().find(|(_, claim)| claim.is_none_or(|claim| may_be(claim, name))));
    found.map(|(run, _)| *run)
}

/// Tells whether a name can have become `claim` by damage: that is no name of a run any more, or differs in one byte.
fn may_be(claim: &[u8], name: &[u8]) -> bool {
    let letters = |letter: u8| claim.iter().filter(|byte| byte.eq_ignore_ascii_case(&letter)).count();
    let is_date = claim.iter().all(|byte| byte.is_ascii_digit() || b"tTzZ ".contains(byte));
    if !is_date || letters(b'T') != 1 || letters(b'Z') != 1 || !claim.ends_with(b"Z") {
        return true;
    }
    claim.len() == name.len() && claim.iter().zip(name).filter(|(one, other)| one != other).count() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_names_differ_and_most_of_them_mean_the_instant() {
        let mut taken: Vec<String> = Vec::new();
        for _ in 0..6 {
            let name = spare_name(Instant(63_840_924_000), |name| taken.iter().any(|one| one == name));
            taken.push(name);
        }
        let expect = ["20240115T140000Z", "20240115T140000z", "20240115t140000Z", "20240115t140000z"];
        assert_eq!(taken[..4], expect);
        assert_eq!(taken[4..], ["20240115T140000Z~1", "20240115T140000Z~2"]);
        for name in expect {
            assert_eq!(crate::snapshot::run::parse(name), Some(Instant(63_840_924_000)));
        }
    }

    #[test]
    fn a_damaged_name_is_one_that_differs_little_or_makes_no_sense() {
        let name = b"20240115T1400Z";
        for claim in [&b"20240115T1400Z"[..], b"20240115T1408Z", b"20240115T14\x070Z", b"20240115T14", b""] {
            assert!(may_be(claim, name), "{claim:?}");
        }
        for claim in [&b"20240115T140000Z"[..], b"20240115T1511Z"] {
            assert!(!may_be(claim, name), "{claim:?}");
        }
    }
}
