//! The resolver against a naive re-implementation, over random trees.
//!
//! The naive one follows the connector's rules as sets, by recursion, with everything in memory. Beyond the
//! connector it knows aliases: an id that no file is named after leads to the last file that holds it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::plan::plan_from;
use super::super::{Filter, MissingState, PlanUnit, Resolve, RestoreOptions, Why};
use super::model::{Model, ModelFile, run_key};
use crate::id::{CommitId, Instant, RunKey};
use crate::progress::Stop;

/// The plan as a set of lines: run, id, and where from or what state.
type Lines = BTreeSet<(RunKey, Vec<u8>, String)>;

struct Naive<'a> {
    model: &'a Model,
    options: &'a RestoreOptions,
    /// For `Once`: ids of which something was emitted, and the objects themselves.
    emitted_ids: BTreeSet<Vec<u8>>,
    emitted: BTreeSet<(RunKey, Vec<u8>, usize)>,
    lines: Lines,
}

impl Naive<'_> {
    fn closest(&self, id: &[u8], run: RunKey) -> Option<RunKey> {
        let runs: Vec<RunKey> =
            self.model.files.keys().copied().filter(|run| self.model.holder(id, *run).is_some()).collect();
        let same = runs.iter().find(|other| **other == run && self.options.filter.is_active());
        let later = runs.iter().find(|other| other.instant() > run.instant());
        let earlier = runs.iter().rfind(|other| other.instant() <= run.instant());
        let earlier = earlier.filter(|other| self.options.include_earlier && **other != run);
        same.or(later).or(earlier).copied()
    }

    fn follow(&mut self, id: &[u8], run: RunKey, have: &mut BTreeSet<Vec<u8>>) {
        let once = self.options.resolve == Resolve::Once;
        if have.contains(id) || (once && self.emitted_ids.contains(id)) {
            return;
        }
        let Some(source) = self.closest(id, run).filter(|_| self.options.resolve != Resolve::None) else {
            let held = |run: &RunKey| self.model.holder(id, *run).is_some();
            let not_later = |other: &&RunKey| other.instant() <= run.instant();
            let state = if self.options.resolve == Resolve::None {
                if self.model.files.keys().any(held) {
                    return;
                }
                MissingState::Absent
            } else if self.model.files.keys().filter(not_later).any(held) {
                MissingState::Earlier
            } else {
                MissingState::Absent
            };
            self.lines.insert((run, id.to_vec(), format!("{state:?}")));
            return;
        };
        let (name, file) = self.model.holder(id, source).unwrap();
        let at = Model::object_of(id, name, file);
        let (own, refs) = &file.objects[at];
        let repeated = own != id && (have.contains(own) || self.emitted_ids.contains(own));
        have.insert(id.to_vec());
        if once {
            if repeated {
                return;
            }
            self.emitted_ids.extend([id.to_vec(), own.clone()]);
            self.emitted.insert((source, name.clone(), at));
        }
        have.insert(own.clone());
        self.lines.insert((run, id.to_vec(), format!("from {source:?}")));
        for id in refs {
            self.follow(id, run, have);
        }
    }

    fn selects(&self, name: &[u8], file: &ModelFile, at: usize) -> bool {
        let (filter, id) = (&self.options.filter, &file.objects[at].0);
        let kind = id.split(|byte| *byte == b'-').next().unwrap().to_vec();
        let listed = |ids: &BTreeSet<Vec<u8>>| ids.contains(id) || (at == 0 && ids.contains(name));
        (filter.types.is_empty() || filter.types.contains(&kind))
            && filter.ids.as_ref().is_none_or(listed)
            && filter.changed_since.is_none_or(|since| file.commit > since.0)
    }

    fn run(&mut self, run: RunKey) {
        let files = &self.model.files[&run];
        let all: BTreeSet<Vec<u8>> =
            files.values().flat_map(|file| &file.objects).map(|(id, _)| id.clone()).collect();
        let mut winners: BTreeMap<&[u8], (&Vec<u8>, usize)> = BTreeMap::new();
        for id in &all {
            let (name, file) = self.model.holder(id, run).unwrap();
            // A file named after the id need not hold it; then the last one that does stands for it.
            let holder = Some((name, file)).filter(|(_, file)| file.objects.iter().any(|(own, _)| own == id));
            let holds = |entry: &(&Vec<u8>, &ModelFile)| entry.1.objects.iter().any(|(own, _)| own == id);
            let (name, file) = holder.or_else(|| files.iter().rev().find(holds)).unwrap();
            winners.insert(id, (name, file.objects.iter().position(|(own, _)| own == id).unwrap()));
        }
        let mut have = all.clone();
        have.retain(|id| {
            let (name, at) = winners[id.as_slice()];
            self.selects(name, &files[name], at)
        });
        let mut wanted = BTreeSet::new();
        let ahead = self.emitted.clone();
        for (name, file) in files {
            let mut listed = false;
            for (at, (id, refs)) in file.objects.iter().enumerate() {
                let (winner, number) = winners[id.as_slice()];
                let carried = ahead.contains(&(run, name.clone(), at));
                let selected = self.selects(name, file, at);
                listed |= selected && !carried && !ahead.contains(&(run, winner.clone(), number));
                if selected && !carried {
                    wanted.extend(refs.iter().cloned());
                }
            }
            if listed {
                self.lines.insert((run, name.clone(), "own".to_owned()));
            }
        }
        if self.options.resolve == Resolve::Once {
            let names = files.iter().filter(|(name, file)| self.selects(name, file, 0));
            let names: Vec<Vec<u8>> = names.map(|(name, _)| name.clone()).collect();
            self.emitted_ids.extend(have.iter().cloned().chain(names));
        }
        for id in &wanted {
            self.follow(id, run, &mut have);
        }
    }
}

fn naive(model: &Model, options: &RestoreOptions) -> Lines {
    let mut naive =
        Naive { model, options, emitted_ids: BTreeSet::new(), emitted: BTreeSet::new(), lines: Lines::new() };
    for run in model.runs.iter().map(|run| run.key) {
        let at = run.instant();
        if options.after.is_none_or(|after| at > after)
            && options.until.is_none_or(|until| at <= until)
            && options.run.is_none_or(|only| only == run)
        {
            naive.run(run);
        }
    }
    naive.lines
}

fn planned(model: &Model, options: &RestoreOptions) -> Lines {
    let mut lines = Lines::new();
    let mut unit = |unit: &PlanUnit| {
        let new = match unit {
            PlanUnit::Object { run, id, from, why: Why::Own } => {
                assert_eq!(run, from);
                lines.insert((run_key(run), id.clone(), "own".to_owned()))
            }
            PlanUnit::Object { run, id, from, why: Why::Resolved } => {
                lines.insert((run_key(run), id.clone(), format!("from {:?}", run_key(from))))
            }
            PlanUnit::Missing { run, reference, state } => {
                lines.insert((run_key(run), reference.clone(), format!("{state:?}")))
            }
            PlanUnit::Attachment { .. } => false,
        };
        assert!(new, "said twice: {unit:?}");
        Ok(())
    };
    plan_from(model, options, &mut unit, &mut |_| Ok(()), &Stop::default()).unwrap();
    lines
}

fn id() -> impl Strategy<Value = Vec<u8>> {
    (0..12u8)
        .prop_map(|number| vec![b'x'.saturating_add(number % 3), b'-', b'-', b'a'.saturating_add(number)])
}

fn object() -> impl Strategy<Value = (Vec<u8>, Vec<Vec<u8>>)> {
    (id(), prop::collection::vec(id(), 0..4))
}

/// Mostly plain files; some of two objects, some whose object has another id than the file's name.
fn file() -> impl Strategy<Value = (Vec<u8>, ModelFile)> {
    let plain = object().prop_map(|(id, refs)| (id.clone(), vec![(id, refs)]));
    let odd = (id(), prop::collection::vec(object(), 1..3));
    (prop_oneof![6 => plain.boxed(), 1 => odd.boxed()], 0..4u64)
        .prop_map(|((name, objects), commit)| (name, ModelFile { objects, commit, ..ModelFile::default() }))
}

pub(super) fn model() -> impl Strategy<Value = Model> {
    let run = (1..7u8, any::<bool>(), prop::collection::vec(file(), 0..5));
    prop::collection::vec(run, 0..8).prop_map(|runs| {
        let mut model = Model::default();
        for (instant, second, files) in runs {
            let name = format!("D{instant}{}", if second { "b" } else { "" });
            if model.files.contains_key(&run_key(&name)) {
                continue;
            }
            model.add_run(&name);
            for (id, file) in files {
                model.add(run_key(&name), &id, file);
            }
        }
        model
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let types = prop::collection::btree_set((b'x'..=b'z').prop_map(|kind| vec![kind]), 0..2);
    let ids = prop::option::weighted(0.3, prop::collection::btree_set(id(), 1..4));
    let since = prop::option::weighted(0.3, (0..4u64).prop_map(CommitId));
    (types, ids, since).prop_map(|(types, ids, changed_since)| Filter { types, ids, changed_since })
}

pub(super) fn options() -> impl Strategy<Value = RestoreOptions> {
    let resolve = prop_oneof![Just(Resolve::Once), Just(Resolve::Closure), Just(Resolve::None)];
    let only =
        prop::option::weighted(0.2, (1..7u64, 0..2u16).prop_map(|(at, name)| RunKey::new(Instant(at), name)));
    let filter = prop_oneof![Just(Filter::default()).boxed(), filter().boxed()];
    (resolve, prop::option::of(0..7u64), prop::option::of(0..7u64), any::<bool>(), only, filter).prop_map(
        |(resolve, after, until, include_earlier, run, filter)| RestoreOptions {
            resolve,
            after: after.filter(|_| run.is_none()).map(Instant),
            until: until.filter(|_| run.is_none()).map(Instant),
            run,
            filter,
            include_earlier,
            ..RestoreOptions::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_of_random_trees_equal_the_naive_ones(model in model(), options in options()) {
        prop_assert_eq!(planned(&model, &options), naive(&model, &options));
    }
}
