//! Every lookup of every name, as text: of the model and of a store.

use std::fmt::Write;

use stix_store::format::crc::crc32;
use stix_store::id::Instant;
use stix_store::store::Snapshot;
use stix_store::{RunKey, View};

use super::script::{Held, Model};

/// What is found: the run, the name of the file, its bytes.
pub(super) type Found = (RunKey, String, Vec<u8>);

/// Answers lookups.
pub(super) trait Answers {
    /// The number of the last commit.
    fn commit(&self) -> u64;
    /// All runs, ascending: key, directory name, number of snapshots, their bytes.
    fn runs(&self) -> Vec<(RunKey, String, u64, u64)>;
    /// All live snapshots of a run, by name.
    fn files(&self, run: RunKey) -> Vec<(String, Vec<u8>)>;
    /// A name in a run.
    fn get(&self, name: &str, run: RunKey) -> Option<Found>;
    /// The newest snapshot of a name.
    fn latest(&self, name: &str) -> Option<Found>;
    /// The newest one at or before an instant.
    fn at_or_before(&self, name: &str, at: Instant) -> Option<Found>;
    /// The oldest one after an instant.
    fn closest_after(&self, name: &str, at: Instant) -> Option<Found>;
    /// All of a name, ascending.
    fn history(&self, name: &str) -> Vec<Found>;
}

/// Asks everything there is to ask.
pub(super) fn describe(answers: &dyn Answers, names: impl IntoIterator<Item = String>) -> String {
    let mut out = format!("commit {}\n", answers.commit());
    let runs = answers.runs();
    for (key, name, snapshots, bytes) in &runs {
        writeln!(out, "\nrun {:016x} {name:?}: {snapshots} snapshots, {bytes} bytes", key.0).unwrap();
        for (name, body) in answers.files(*key) {
            writeln!(out, "  {name}: {} bytes, crc {:08x}", body.len(), crc32(&body)).unwrap();
            writeln!(out, "    {}", body.escape_ascii()).unwrap();
        }
    }
    // Also before, between and after the runs.
    let mut instants: Vec<Instant> = runs.iter().map(|(key, ..)| key.instant()).collect();
    instants.dedup();
    instants.insert(0, Instant(0));
    for name in names {
        writeln!(out, "\nname {name:?}").unwrap();
        writeln!(out, "  latest {}", cell(answers.latest(&name))).unwrap();
        let history: Vec<String> =
            answers.history(&name).into_iter().map(|found| cell(Some(found))).collect();
        writeln!(out, "  history {}", history.join(", ")).unwrap();
        for (key, run, ..) in &runs {
            writeln!(out, "  in {run}: {}", cell(answers.get(&name, *key))).unwrap();
        }
        for at in &instants {
            let before = cell(answers.at_or_before(&name, *at));
            let after = cell(answers.closest_after(&name, *at));
            writeln!(out, "  {}: at or before {before}, after {after}", at.canonical_name()).unwrap();
        }
    }
    out
}

fn cell(found: Option<Found>) -> String {
    match found {
        Some((run, name, body)) => format!("{:016x}/{name}#{:08x}", run.0, crc32(&body)),
        None => "none".to_owned(),
    }
}

impl Model {
    fn found(&self, name: &str, run: RunKey) -> Option<Found> {
        let file = match self.held.get(&(name.to_owned(), run))? {
            Held::File(_) => name,
            Held::Alias(file) => file,
        };
        match self.held.get(&(file.to_owned(), run))? {
            Held::File(body) => Some((run, file.to_owned(), body.clone())),
            Held::Alias(_) => None,
        }
    }
}

impl Answers for Model {
    fn commit(&self) -> u64 {
        self.commit
    }

    fn runs(&self) -> Vec<(RunKey, String, u64, u64)> {
        let row = |(key, name): (&RunKey, &&str)| {
            let files = self.files(*key);
            let bytes: usize = files.iter().map(|(_, body)| body.len()).sum();
            (*key, (*name).to_owned(), u64::try_from(files.len()).unwrap(), u64::try_from(bytes).unwrap())
        };
        self.runs.iter().map(row).collect()
    }

    fn files(&self, run: RunKey) -> Vec<(String, Vec<u8>)> {
        let of_run = self.held.iter().filter(|((_, of), _)| *of == run);
        let file = |((name, _), held): (&(String, RunKey), &Held)| match held {
            Held::File(body) => Some((name.clone(), body.clone())),
            Held::Alias(_) => None,
        };
        of_run.filter_map(file).collect()
    }

    fn get(&self, name: &str, run: RunKey) -> Option<Found> {
        self.found(name, run)
    }

    fn latest(&self, name: &str) -> Option<Found> {
        self.history(name).pop()
    }

    fn at_or_before(&self, name: &str, at: Instant) -> Option<Found> {
        self.history(name).into_iter().rfind(|(run, ..)| run.instant() <= at)
    }

    fn closest_after(&self, name: &str, at: Instant) -> Option<Found> {
        self.history(name).into_iter().find(|(run, ..)| run.instant() > at)
    }

    fn history(&self, name: &str) -> Vec<Found> {
        self.runs.keys().filter_map(|run| self.found(name, *run)).collect()
    }
}

fn found(snapshot: &Snapshot<'_>) -> Found {
    let name = String::from_utf8(snapshot.name().into_owned()).unwrap();
    (snapshot.run(), name, snapshot.body().unwrap().into_owned())
}

impl Answers for View {
    fn commit(&self) -> u64 {
        View::commit(self).0
    }

    fn runs(&self) -> Vec<(RunKey, String, u64, u64)> {
        let runs = View::runs(self).unwrap();
        runs.into_iter().map(|run| (run.key, run.name, run.snapshots, run.bytes)).collect()
    }

    fn files(&self, run: RunKey) -> Vec<(String, Vec<u8>)> {
        let snapshots = self.iter_run(run).unwrap().map(|snapshot| found(&snapshot.unwrap()));
        let mut files: Vec<(String, Vec<u8>)> = snapshots.map(|(_, name, body)| (name, body)).collect();
        files.sort();
        files
    }

    fn get(&self, name: &str, run: RunKey) -> Option<Found> {
        View::get(self, name, run).unwrap().as_ref().map(found)
    }

    fn latest(&self, name: &str) -> Option<Found> {
        View::latest(self, name).unwrap().as_ref().map(found)
    }

    fn at_or_before(&self, name: &str, at: Instant) -> Option<Found> {
        View::at_or_before(self, name, at).unwrap().as_ref().map(found)
    }

    fn closest_after(&self, name: &str, at: Instant) -> Option<Found> {
        View::closest_after(self, name, at).unwrap().as_ref().map(found)
    }

    fn history(&self, name: &str) -> Vec<Found> {
        View::history(self, name).unwrap().into_iter().map(|snapshot| found(&snapshot.unwrap())).collect()
    }
}
