//! Every lookup there is, held against what was stored.

use std::collections::BTreeMap;

use stix_store::{Error, Instant, Key, ObjectKey, Result, RunKey, Snapshot, View};

use super::exempt;
use super::fixture::{Fixture, RUN_NAMES, Unit};
use super::images::{Ask, Image};
use super::judge::Tally;
use super::writing;

/// An answer that is not the right one but may be excused: which record it needed, and what was said.
#[derive(Debug)]
pub(crate) struct Excused {
    pub(crate) what: String,
    /// `None`: absent, or an older state. Else the file that the error names.
    pub(crate) blamed: Option<String>,
    /// It stood at the end of the log, which is gone without a trace.
    pub(crate) at_lost_end: bool,
}

/// Asks everything. Returns the answers that need an excuse; anything worse is the error.
pub(crate) struct Asked<'i> {
    image: &'i Image<'i>,
    lost_end: Option<u64>,
    pub(crate) excused: Vec<Excused>,
    pub(crate) tally: Tally,
}

type Got = Result<Option<(Vec<u8>, RunKey, Vec<u8>)>>;
type Fails = std::result::Result<(), String>;

fn got(found: Result<Option<Snapshot<'_>>>) -> Got {
    let Some(snapshot) = found? else { return Ok(None) };
    let body = snapshot.body()?.into_owned();
    Ok(Some((snapshot.name().into_owned(), snapshot.run(), body)))
}

impl<'i> Asked<'i> {
    pub(crate) fn all(image: &'i Image<'i>, view: &View) -> std::result::Result<Asked<'i>, String> {
        let mut asked =
            Asked { image, lost_end: exempt::lost_end(image), excused: Vec::new(), tally: Tally::default() };
        let fixture = image.fixture;
        for (number, name) in fixture.names.iter().enumerate() {
            if matches!(image.ask, Ask::One(one) if one % fixture.names.len() != number) {
                continue;
            }
            let (want, needs) = first_live(fixture, name, fixture.runs.iter().rev());
            asked.answer("latest", want, &needs, got(view.latest(name)))?;
            if image.ask == Ask::Everything {
                asked.name(view, name)?;
            }
        }
        if matches!(image.ask, Ask::One(_)) {
            return Ok(asked);
        }
        asked.runs(view)?;
        for run in &fixture.runs {
            asked.iter_run(view, *run)?;
        }
        asked.list(view)?;
        Ok(asked)
    }

    fn name(&mut self, view: &View, name: &[u8]) -> Fails {
        let fixture = self.image.fixture;
        for run in &fixture.runs {
            let (want, needs) = exact(fixture, name, *run);
            self.answer("get", want, &needs, got(view.get(name, *run)))?;
        }
        self.history(view, name)?;
        for (instant, _) in RUN_NAMES {
            for at in [Instant(instant - 1), Instant(instant)] {
                let before = fixture.runs.iter().rev().filter(|run| run.instant() <= at);
                let (want, needs) = first_live(fixture, name, before);
                self.answer("at_or_before", want, &needs, got(view.at_or_before(name, at)))?;
                let after = fixture.runs.iter().filter(|run| run.instant() > at);
                let (want, needs) = first_live(fixture, name, after);
                self.answer("closest_after", want, &needs, got(view.closest_after(name, at)))?;
            }
        }
        Ok(())
    }

    /// Holds one answer against the right one.
    fn answer(&mut self, what: &str, want: Want<'_>, needs: &[&Unit], got: Got) -> Fails {
        let is_right = match (&want, &got) {
            (None, Ok(None)) => true,
            (Some((name, run, body)), Ok(Some(got))) => (*name, *run, &body[..]) == (&got.0, got.1, &got.2),
            _ => false,
        };
        if is_right {
            self.tally.right += 1;
            return Ok(());
        }
        let is_touched = needs.iter().any(|unit| self.is_touched(unit));
        let text = || format!("{what}, where {}", shown(want));
        if !is_touched {
            return Err(format!("{} needs no byte that was touched, got {}", text(), shown_got(&got)));
        }
        let at_lost_end = needs.iter().any(|unit| self.is_at_lost_end(unit));
        match got {
            Ok(found) => {
                if let Some((name, run, body)) = found {
                    let ever = self.image.fixture.ever.get(&(name, run));
                    if !ever.is_some_and(|bodies| bodies.contains(&body)) {
                        return Err(format!("{} got bytes never stored there", text()));
                    }
                }
                self.excused.push(Excused { what: text(), blamed: None, at_lost_end });
            }
            Err(Error::Damaged { place, .. }) => {
                self.tally.damaged += 1;
                self.excused.push(Excused { what: text(), blamed: Some(place.file), at_lost_end });
            }
            Err(other) => return Err(format!("{} got {other:?}", text())),
        }
        Ok(())
    }

    fn history(&mut self, view: &View, name: &[u8]) -> Fails {
        let fixture = self.image.fixture;
        let found = view.history(name).map_err(|error| format!("history of {name:?}: {error}"))?;
        let (found, mut damage): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
        let mut found: Vec<Snapshot<'_>> = found.into_iter().flatten().collect();
        if !found.is_sorted_by_key(Snapshot::run) {
            return Err(format!("history of {name:?} is not ascending"));
        }
        for run in &fixture.runs {
            let (want, needs) = exact(fixture, name, *run);
            let here = found.iter().position(|one| one.run() == *run).map(|at| found.remove(at));
            let is_touched = needs.iter().any(|unit| self.is_touched(unit));
            let answer = match here {
                None if is_touched => damage.pop().map_or(Ok(None), |one| got(one.map(Some))),
                here => got(Ok(here)),
            };
            self.answer("history", want, &needs, answer)?;
        }
        match (found.pop(), damage.pop()) {
            (None, None) => Ok(()),
            (Some(more), _) => Err(format!("history of {name:?} has more than was stored: {more:?}")),
            (None, Some(more)) => Err(format!("history of {name:?} has more damage than touched: {more:?}")),
        }
    }

    fn runs(&mut self, view: &View) -> Fails {
        let fixture = self.image.fixture;
        let found = view.runs().map_err(|error| format!("runs: {error}"))?;
        for (run, (_, name)) in fixture.runs.iter().zip(RUN_NAMES) {
            let unit = fixture.newest.get(&Key::of_run(*run)).unwrap();
            let is_right = found.iter().any(|info| info.key == *run && info.name == name);
            if !is_right && !self.image.touches(&unit.file, &unit.range) {
                return Err(format!("run {name} is not listed: {found:?}"));
            }
        }
        match found.iter().find(|info| !fixture.runs.contains(&info.key) && info.key.instant() != writing::AT)
        {
            Some(info) => Err(format!("a run that never was: {info:?}")),
            None => Ok(()),
        }
    }

    fn iter_run(&mut self, view: &View, run: RunKey) -> Fails {
        let fixture = self.image.fixture;
        let found = view.iter_run(run).map_err(|error| format!("run {run:?}: {error}"))?;
        let (mut seen, mut damage) = (BTreeMap::new(), Vec::new());
        for one in found {
            match got(one.map(Some)) {
                Ok(Some((name, of, body))) => drop(seen.insert((name, of), body)),
                Ok(None) => {}
                Err(error @ Error::Damaged { .. }) => damage.push(error),
                Err(other) => return Err(format!("run {run:?}: {other}")),
            }
        }
        for (key, body) in fixture.bodies.iter().filter(|((_, of), _)| *of == run) {
            let needs = fixture.read_by(&key.0, run);
            // Each damaged one stands for a snapshot that is not there.
            let answer = match seen.remove(key).map(|body| (key.0.clone(), run, body)) {
                None => damage.pop().map_or(Ok(None), Err),
                found => Ok(found),
            };
            self.answer("iter_run", Some((&key.0, run, body)), &needs, answer)?;
        }
        // What is left was deleted, or never committed.
        for (key, body) in seen {
            let needs = fixture.read_by(&key.0, run);
            self.answer("iter_run", None, &needs, Ok(Some((key.0.clone(), run, body))))?;
        }
        Ok(())
    }

    fn list(&mut self, view: &View) -> Fails {
        let fixture = self.image.fixture;
        let listed = view.list(usize::MAX, None).map_err(|error| format!("list: {error}"))?;
        for (name, run) in fixture.bodies.keys() {
            let key = Key::new(ObjectKey::of(name), *run);
            let touched = fixture.read_by(name, *run).iter().any(|unit| self.is_touched(unit));
            if !touched && !listed.contains(&key) {
                return Err(format!("{} in {run:?} is not listed", String::from_utf8_lossy(name)));
            }
        }
        let half = listed.len() / 2;
        let rest = listed.get(..half).and_then(<[_]>::last).map(|marker| view.list(usize::MAX, Some(marker)));
        match rest {
            Some(Ok(rest)) if rest == listed[half..] => Ok(()),
            None => Ok(()),
            Some(other) => Err(format!("list after a marker: {other:?}")),
        }
    }

    fn is_touched(&self, unit: &Unit) -> bool {
        self.image.touches(&unit.file, &unit.range) || self.is_at_lost_end(unit)
    }

    fn is_at_lost_end(&self, unit: &Unit) -> bool {
        let start = self.lost_end.filter(|_| unit.file == self.image.fixture.last_segment());
        start.is_some_and(|start| unit.range.start >= start)
    }
}

type Want<'f> = Option<(&'f Vec<u8>, RunKey, &'f Vec<u8>)>;

/// The right answer to an exact lookup, and the records it needs.
fn exact<'f>(fixture: &'f Fixture, name: &[u8], run: RunKey) -> (Want<'f>, Vec<&'f Unit>) {
    let file = fixture.aliases.get(&(name.to_vec(), run)).cloned().unwrap_or_else(|| name.to_vec());
    let found = fixture.bodies.get_key_value(&(file, run));
    (found.map(|((name, run), body)| (name, *run, body)), fixture.read_by(name, run))
}

/// The first live snapshot among runs, and the records read on the way to it.
fn first_live<'f, 'r>(
    fixture: &'f Fixture,
    name: &[u8],
    runs: impl Iterator<Item = &'r RunKey>,
) -> (Want<'f>, Vec<&'f Unit>) {
    let mut needs = Vec::new();
    for run in runs {
        let (want, more) = exact(fixture, name, *run);
        needs.extend(more);
        if want.is_some() {
            return (want, needs);
        }
    }
    (None, needs)
}

fn shown(want: Want<'_>) -> String {
    match want {
        Some((name, run, _)) => format!("{} of {run:?} is right", String::from_utf8_lossy(name)),
        None => "nothing is right".to_owned(),
    }
}

fn shown_got(got: &Got) -> String {
    match got {
        Ok(Some((name, run, body))) => {
            format!("{} of {run:?}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(body))
        }
        Ok(None) => "nothing".to_owned(),
        Err(error) => format!("an error: {error}"),
    }
}
