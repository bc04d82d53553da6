//! What a store must say: a plain map that is changed beside it, and compared with all its answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use stix_store::id::{Instant, RunKey};
use stix_store::progress::Stop;
use stix_store::store::check::{CheckOptions, CheckSink, Finding, Level, SegmentReport, Severity, check};
use stix_store::vfs::mem::Mem;
use stix_store::{Damage, PutKind, Result as StoreResult, Snapshot, View};

/// A sentence that says what is wrong.
pub(crate) type Complaint = String;
/// A comparison that may end in a complaint.
pub(crate) type Compared<T = ()> = Result<T, Complaint>;

/// One record of a run.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// The bytes of a file.
    Snapshot(Vec<u8>),
    /// The name that an alias leads to.
    Alias(Vec<u8>),
}

/// The committed content of a store.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Expected {
    /// Directory names.
    pub(crate) runs: BTreeMap<RunKey, String>,
    /// What each run holds under which name.
    pub(crate) records: BTreeMap<(RunKey, Vec<u8>), Record>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, bytes) = match self {
            Record::Snapshot(bytes) => ("file", bytes),
            Record::Alias(bytes) => ("alias of", bytes),
        };
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(24)]).into_owned();
        write!(f, "{word} {shown:?} ({} bytes)", bytes.len())
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "runs {:?}", self.runs.values())?;
        for ((run, name), record) in &self.records {
            write!(f, "; {:x} {}: {record:?}", run.0 >> 16, String::from_utf8_lossy(name))?;
        }
        Ok(())
    }
}

/// Turns an error of the store into a complaint.
pub(crate) fn said<T>(what: &str, result: StoreResult<T>) -> Compared<T> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// Complains unless `good`.
pub(crate) fn ensure(good: bool, complaint: impl FnOnce() -> Complaint) -> Compared {
    if good { Ok(()) } else { Err(complaint()) }
}

impl Expected {
    /// Reads everything that a view lists, each record through its run and again by its name.
    pub(crate) fn of(view: &View) -> Compared<Expected> {
        let mut all = Expected::default();
        let mut snapshots = 0;
        for info in said("runs", view.runs())? {
            let mut counted = (0, 0);
            for record in said("records of a run", view.records_of_run(info.key))? {
                let record = said("a record of a run", record)?;
                let name = record.name().into_owned();
                let body = said("its body", record.body())?.into_owned();
                let again = said("the record by its name", view.record(&name, info.key))?;
                let same = again.is_some_and(|again| again.location() == record.location());
                ensure(same, || format!("{} is not found by its name", String::from_utf8_lossy(&name)))?;
                let record = if record.kind() == PutKind::Alias {
                    Record::Alias(body)
                } else {
                    counted = (counted.0 + 1, counted.1 + record.len());
                    Record::Snapshot(body)
                };
                all.records.insert((info.key, name), record);
            }
            ensure(counted == (info.snapshots, info.bytes), || format!("{info:?} counts, not {counted:?}"))?;
            snapshots += counted.0;
            all.runs.insert(info.key, info.name);
        }
        ensure(view.len() == snapshots, || format!("len is {}, not {snapshots}", view.len()))?;
        let listed = said("list", view.list(usize::MAX, None))?.len();
        ensure(usize::try_from(snapshots) == Ok(listed), || format!("{listed} listed, not {snapshots}"))?;
        Ok(all)
    }

    /// The snapshot of exactly that name and run.
    pub(crate) fn snapshot(&self, name: &[u8], run: RunKey) -> Option<Vec<u8>> {
        match self.records.get(&(run, name.to_vec()))? {
            Record::Snapshot(body) => Some(body.clone()),
            Record::Alias(_) => None,
        }
    }

    /// The file that a name leads to in a run.
    fn resolved(&self, run: RunKey, name: &[u8]) -> Option<&[u8]> {
        let record = |name: &[u8]| self.records.get(&(run, name.to_vec()));
        match record(name)? {
            Record::Snapshot(body) => Some(body),
            Record::Alias(target) => match record(target)? {
                Record::Snapshot(body) => Some(body),
                Record::Alias(_) => None,
            },
        }
    }

    /// Complains unless a view holds exactly this and gives the right answer to every lookup by name: of the names it
    /// holds and of `others`.
    pub(crate) fn compare(&self, view: &View, others: &BTreeSet<Vec<u8>>) -> Compared {
        let found = Expected::of(view)?;
        ensure(found == *self, || format!("the store holds {found:?}, expected {self:?}"))?;
        let own = self.records.keys().map(|(_, name)| name.clone());
        let names: BTreeSet<Vec<u8>> = own.chain(others.iter().cloned()).collect();
        for name in names {
            self.compare_name(view, &name)
                .map_err(|complaint| format!("{}: {complaint}", String::from_utf8_lossy(&name)))?;
        }
        Ok(())
    }

    fn compare_name(&self, view: &View, name: &[u8]) -> Compared {
        let runs: Vec<RunKey> = self.runs.keys().copied().collect();
        let history: Vec<(RunKey, &[u8])> =
            runs.iter().filter_map(|run| Some((*run, self.resolved(*run, name)?))).collect();
        let found = said("history", view.history(name))?;
        let found: Vec<Snapshot<'_>> =
            found.into_iter().map(|one| said("history", one)).collect::<Result<_, _>>()?;
        ensure(found.len() == history.len(), || format!("history has {} of {}", found.len(), history.len()))?;
        for (found, expect) in found.iter().zip(&history) {
            same("history", Some(found.clone()), Some(*expect))?;
        }
        same("latest", said("latest", view.latest(name))?, history.last().copied())?;
        for run in runs {
            let exact = history.iter().find(|(at, _)| *at == run).copied();
            same("get", said("get", view.get(name, run))?, exact)?;
            let at = run.instant();
            let before = history.iter().rev().find(|(run, _)| run.instant() <= at).copied();
            same("at or before", said("at or before", view.at_or_before(name, at))?, before)?;
            let after = history.iter().find(|(run, _)| run.instant() > at).copied();
            same("closest after", said("closest after", view.closest_after(name, at))?, after)?;
        }
        let never = said("closest after the end", view.closest_after(name, Instant::MAX))?;
        ensure(never.is_none(), || "something lies after the end of time".to_owned())
    }
}

fn same(what: &str, found: Option<Snapshot<'_>>, expect: Option<(RunKey, &[u8])>) -> Compared {
    let (found, expect) = match (found, expect) {
        (None, None) => return Ok(()),
        (Some(found), Some(expect)) => (found, expect),
        (found, expect) => {
            return Err(format!("{what}: found {}, expected {}", found.is_some(), expect.is_some()));
        }
    };
    let body = said(what, found.body())?;
    ensure(found.run() == expect.0, || format!("{what}: run {:?}, expected {:?}", found.run(), expect.0))?;
    ensure(*body == *expect.1, || format!("{what}: other bytes than were put"))
}

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Damage, with the sentence that tells of it.
    pub(crate) damage: Vec<(Option<Damage>, String)>,
    /// What the system refused to read.
    pub(crate) refused: Vec<String>,
    /// Files that only await their removal.
    pub(crate) dead: Vec<String>,
}

impl CheckSink for Found {
    fn finding(&mut self, finding: &Finding) -> StoreResult<()> {
        if finding.severity == Severity::Damage {
            let text = format!("{}: {}", finding.place, finding.detail);
            match &finding.damage {
                Some(damage) => self.damage.push((Some(damage.clone()), text)),
                None => self.refused.push(text),
            }
        } else if finding.detail.starts_with("left behind by a compaction") {
            self.dead.push(finding.place.file.clone());
        }
        Ok(())
    }

    fn segment(&mut self, _: &SegmentReport) -> StoreResult<()> {
        Ok(())
    }
}

/// Checks a store as deep as can be and returns the damage.
pub(crate) fn damage_of(mem: &Mem) -> Compared<Found> {
    let mut found = Found::default();
    let vfs: std::sync::Arc<dyn stix_store::vfs::ReadVfs> = std::sync::Arc::new(mem.clone());
    said(
        "check",
        check(
            &vfs,
            &CheckOptions { level: Level::Content, ..CheckOptions::default() },
            &mut found,
            &Stop::default(),
        ),
    )?;
    Ok(found)
}
