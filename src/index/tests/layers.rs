//! Base, deltas and overlay together against a map.

use super::*;
use proptest::prelude::*;

const RUNS: u64 = 4;

/// What the newest record of a key is, beside its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Snapshot(u64),
    Alias,
    Tombstone,
}

impl Kind {
    fn flags(self) -> EntryFlags {
        EntryFlags { tombstone: self == Kind::Tombstone, alias: self == Kind::Alias, replaces: false }
    }

    fn file_len(self) -> u64 {
        if let Kind::Snapshot(len) = self { len } else { 0 }
    }
}

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    Put(usize, u64, Kind),
    Run(u64, bool),
    /// The overlay becomes a delta.
    Delta,
    /// All deltas and the overlay become one delta.
    Squash,
    /// Everything becomes a base.
    Base,
}

/// A store's index as its owner would keep it.
struct Stack {
    log: Log,
    layers: Vec<Index<Vec<u8>>>,
    overlay: Overlay,
    commit: u64,
    model: BTreeMap<Key, (Location, Kind)>,
    runs: BTreeMap<RunKey, (Option<Location>, bool)>,
}

/// Objects whose hashes collide wholly, in the tag, in the home bucket, or not at all.
fn objects() -> Vec<ObjectKey> {
    let tag = 0x7 << 20;
    [(1, 1), (1, 2), (1, 3), (tag, 1), (tag << 8, 1), (tag << 8, 2), (u64::MAX, 1), (u64::MAX - 1, 1)]
        .map(|(hash, number)| object(hash, number))
        .into()
}

impl Stack {
    fn new() -> Stack {
        Stack {
            log: Log::default(),
            layers: Vec::new(),
            overlay: Overlay::new(TEST_SEED, Totals::default()),
            commit: 0,
            model: BTreeMap::new(),
            runs: BTreeMap::new(),
        }
    }

    /// Newest first.
    fn layers(&self) -> Vec<&Index<Vec<u8>>> {
        self.layers.iter().rev().collect()
    }

    fn row(&self, run: RunKey) -> Option<RunRow> {
        let below = self.layers().into_iter().find_map(|layer| layer.run(run).expect("intact"));
        self.overlay.run(run).copied().or(below)
    }

    fn seed_run(&mut self, run: RunKey) {
        if let Some(row) = self.row(run) {
            self.overlay.seed_run(row);
        }
    }

    fn put(&mut self, key: Key, kind: Kind) {
        let at = self.log.append(key);
        let old = self.model.insert(key, (at, kind));
        self.seed_run(key.run);
        self.runs.entry(key.run).or_insert((None, false));
        let below = old.map(|(_, kind)| Below { flags: kind.flags(), file_len: kind.file_len() });
        let new = OverlayEntry { at, flags: kind.flags(), stored_len: 1, file_len: kind.file_len() };
        self.overlay.put(key, new, below);
        self.overlay.set_ids(self.ids(|object| object.0[..].to_vec()));
    }

    /// Counts distinct ids with a live snapshot, told apart by a part of the key.
    fn ids(&self, part: impl Fn(&ObjectKey) -> Vec<u8>) -> u64 {
        let live = self.model.iter().filter(|(_, (_, kind))| matches!(kind, Kind::Snapshot(_)));
        live.map(|(key, _)| part(&key.object)).collect::<BTreeSet<_>>().len() as u64
    }

    fn publish(&mut self, layer: Layer, (rows, entries): (Vec<RunRow>, Vec<Entry>)) {
        self.commit += 1;
        let meta = IndexMeta { layer, ..base_meta(self.commit) };
        let bytes = built(meta, &rows, &entries);
        let index = Index::open(bytes, "index", STORE).expect("intact");
        let found = problems(&index);
        assert!(found.is_empty(), "{found:?}");
        self.layers.push(index);
        self.overlay = Overlay::new(TEST_SEED, self.layers.last().expect("pushed").totals());
    }

    /// Makes one delta of the overlay and the newest layers but `keep`.
    fn publish_delta(&mut self, keep: usize) {
        if self.layers.is_empty() {
            return self.publish_base();
        }
        let keep = keep.max(1);
        let newer: Vec<_> = self.layers[keep.min(self.layers.len())..].iter().rev().collect();
        let merged = merge(&newer, Some(&self.overlay), FileKind::Delta, &self.log)
            .as_ref()
            .map(collected)
            .expect("intact");
        self.layers.truncate(keep);
        let commit = |index: &Index<_>| index.covered().commit;
        let (base, previous) = (commit(&self.layers[0]), commit(self.layers.last().expect("kept")));
        self.publish(Layer::Delta { base, previous, totals: self.overlay.totals() }, merged);
    }

    fn publish_base(&mut self) {
        let merged = merge(&self.layers(), Some(&self.overlay), FileKind::Base, &self.log);
        let merged = merged.as_ref().map(collected).expect("intact");
        self.layers.clear();
        self.publish(Layer::Base, merged);
        let ids = self.ids(|object| object.0[..8].to_vec());
        assert_eq!(self.layers[0].totals().ids, ids, "a base counts ids by hash");
        self.overlay.set_ids(self.ids(|object| object.0[..].to_vec()));
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Put(which, run, kind) => self.put(Key::new(objects()[*which], RunKey(*run)), *kind),
            Step::Run(run, deleted) => {
                let run = RunKey(*run);
                let at = self.log.append(Key::of_run(run));
                self.seed_run(run);
                self.overlay.put_run(run, at, *deleted);
                self.runs.insert(run, (Some(at), *deleted));
            }
            Step::Delta => self.publish_delta(self.layers.len()),
            Step::Squash => self.publish_delta(1),
            Step::Base => self.publish_base(),
        }
    }

    /// Of the layers' answers the one that `better` prefers; on equal runs the newest layer's.
    fn best(
        &self,
        overlay: Option<Found>,
        of: impl Fn(&Index<Vec<u8>>) -> Option<Found>,
        better: impl Fn(RunKey, RunKey) -> bool,
    ) -> Option<(RunKey, Location)> {
        let answers = overlay.into_iter().chain(self.layers().into_iter().filter_map(of));
        let best = answers.reduce(|best, other| if better(other.run, best.run) { other } else { best });
        place(best)
    }

    fn check(&self) {
        for object in objects().into_iter().chain([object(2, 9), object(1, 9)]) {
            let own: BTreeMap<_, _> = self
                .model
                .iter()
                .filter(|(key, _)| key.object == object)
                .map(|(key, new)| (key.run, new.0))
                .collect();
            for run in (0..=RUNS).map(RunKey).chain([RunKey::MAX]) {
                let (log, pair) = (&self.log, |(run, at): (&RunKey, &Location)| (*run, *at));
                let at = self.best(
                    self.overlay.at(&object, run),
                    |layer| layer.at(&object, run, log).expect("intact"),
                    |_, _| false,
                );
                assert_eq!(at, own.get_key_value(&run).map(pair), "{object:?} at {run:?}");
                let floor = self.best(
                    self.overlay.floor(&object, run),
                    |layer| layer.floor(&object, run, log).expect("intact"),
                    |other, best| other > best,
                );
                assert_eq!(floor, own.range(..=run).next_back().map(pair), "{object:?} floor {run:?}");
                let ceil = self.best(
                    self.overlay.ceil(&object, run),
                    |layer| layer.ceil(&object, run, log).expect("intact"),
                    |other, best| other < best,
                );
                assert_eq!(ceil, own.range(run..).next().map(pair), "{object:?} ceil {run:?}");
            }
            let mut all = BTreeMap::new();
            for layer in &self.layers {
                all.extend(layer.all(&object, &self.log).expect("intact").iter().map(|f| (f.run, f.at)));
            }
            all.extend(self.overlay.all(&object).iter().map(|f| (f.run, f.at)));
            assert_eq!(all, own, "all of {object:?}");
        }
        (0..=RUNS).map(RunKey).for_each(|run| self.check_run(run));
        self.check_totals();
    }

    fn check_run(&self, run: RunKey) {
        let own = self.model.iter().filter(|(key, _)| key.run == run);
        let mut expect: Vec<_> = own
            .clone()
            .map(|(key, (at, kind))| (hash_key(&key.object, TEST_SEED), *at, kind.flags()))
            .collect();
        expect.sort_unstable_by_key(|(hash, at, _)| (*hash, *at));
        for from in [0, 1, 2, 0x7 << 20, u64::MAX] {
            let merge =
                RunMerge::new(&self.layers(), Some(&self.overlay), run, from, FileKind::Base, &self.log);
            let entries = merge.expect("intact").map(|entry| entry.map(|e| (e.hash, e.at, e.flags)));
            let entries: Vec<_> = entries.collect::<Result<_>>().expect("intact");
            let rest = expect.iter().copied().filter(|(hash, ..)| *hash >= from);
            assert_eq!(entries, rest.collect::<Vec<_>>(), "{run:?} from {from}");
        }
        let snapshots = own.clone().filter(|(_, (_, kind))| matches!(kind, Kind::Snapshot(_))).count();
        let bytes = own.map(|(_, (_, kind))| kind.file_len()).sum();
        let expect = self.runs.get(&run).map(|(at, deleted)| RunRow {
            run,
            at: *at,
            deleted: *deleted,
            snapshots: snapshots.try_into().expect("small"),
            bytes,
        });
        assert_eq!(self.row(run), expect, "{run:?}");
    }

    fn check_totals(&self) {
        let count =
            |wanted: fn(&Kind) -> bool| self.model.values().filter(|(_, kind)| wanted(kind)).count() as u64;
        let expect = Totals {
            snapshots: count(|kind| matches!(kind, Kind::Snapshot(_))),
            aliases: count(|kind| *kind == Kind::Alias),
            tombstones: count(|kind| *kind == Kind::Tombstone),
            ids: self.ids(|object| object.0[..].to_vec()),
            runs: self.runs.values().filter(|(_, deleted)| !deleted).count() as u64,
            bytes: self.model.values().map(|(_, kind)| kind.file_len()).sum(),
        };
        assert_eq!(self.overlay.totals(), expect);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![
        4 => (0u64..50).prop_map(Kind::Snapshot),
        1 => Just(Kind::Alias),
        2 => Just(Kind::Tombstone),
    ];
    let step = prop_oneof![
        12 => (0..objects().len(), 0..RUNS, kind).prop_map(|(which, run, kind)| Step::Put(which, run, kind)),
        1 => (0..RUNS, any::<bool>()).prop_map(|(run, deleted)| Step::Run(run, deleted)),
        2 => Just(Step::Delta),
        1 => Just(Step::Squash),
        1 => Just(Step::Base),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn layers_answer_as_the_map_does(history in steps()) {
        let mut stack = Stack::new();
        for step in &history {
            stack.step(step);
            if !matches!(step, Step::Put(..)) {
                stack.check();
            }
        }
        stack.check();
    }
}

/// A delta's entry that replaces another object's must not take away one that merely has its hash: `b` came
/// with the first delta, the second replaces `a` of the base, and both deltas are squashed.
#[test]
fn squashing_deltas_does_not_take_a_namesake_by_hash_for_the_replaced_one() {
    let (a, b) = (Key::new(objects()[0], RunKey(1)), Key::new(objects()[1], RunKey(1)));
    let mut stack = Stack::new();
    stack.put(a, Kind::Snapshot(1));
    stack.publish_base();
    stack.put(b, Kind::Snapshot(2));
    stack.step(&Step::Delta);
    stack.put(a, Kind::Snapshot(3));
    stack.step(&Step::Squash);
    assert_eq!(stack.layers.len(), 2);
    stack.check();
    stack.step(&Step::Base);
    stack.check();
}

#[test]
fn superseding_without_collisions_reads_no_records() {
    let mut stack = Stack::new();
    for round in 0..3 {
        for which in [3, 6, 7] {
            stack.put(Key::new(objects()[which], RunKey(1)), Kind::Snapshot(round));
        }
        stack.step(&Step::Delta);
    }
    stack.log.reads.set(0);
    stack.publish_base();
    assert_eq!(stack.log.reads.get(), 0);
    assert_eq!(stack.layers[0].counts().entries, 3);
    stack.check();
}

#[test]
fn layers_that_do_not_follow_each_other_are_refused() {
    let mut stack = Stack::new();
    for step in [Step::Base, Step::Delta, Step::Delta] {
        stack.put(Key::new(objects()[3], RunKey(1)), Kind::Alias);
        stack.step(&step);
    }
    let [base, older, newer] = [0, 1, 2].map(|index| &stack.layers[index]);
    let log = &stack.log;
    for (layers, target) in [
        (vec![newer, base], FileKind::Base),
        (vec![newer, older], FileKind::Base),
        (vec![base, older], FileKind::Base),
        (vec![newer, older, base], FileKind::Delta),
    ] {
        let result = merge(&layers, None, target, log);
        assert!(matches!(result, Err(Error::BadInput { .. })), "{result:?}");
    }
    let other_seed = Overlay::new(1, Totals::default());
    assert!(merge(&[newer, older, base], Some(&other_seed), FileKind::Base, log).is_err());
    assert!(merge(&[newer, older, base], None, FileKind::Base, log).is_ok());
    assert_eq!(newer.follows(), Some((CommitId(1), CommitId(2))));
}

#[test]
fn an_overlay_returns_what_a_put_supersedes_and_clones_stay_apart() {
    let key = Key::new(objects()[3], RunKey(1));
    let at = |offset| Location { segment: SegmentId(1), offset };
    let entry = |offset| OverlayEntry {
        at: at(offset),
        flags: EntryFlags::default(),
        stored_len: 50,
        file_len: u64::from(offset),
    };
    let mut overlay = Overlay::new(TEST_SEED, Totals::default());
    assert!(overlay.is_empty());
    assert_eq!(overlay.put(key, entry(100), None), None);
    let before = overlay.clone();
    assert_eq!(overlay.put(key, entry(200), None), Some(entry(100)));
    assert_eq!((before.totals().bytes, overlay.totals().bytes), (100, 200));
    assert_eq!((before.len(), overlay.len(), overlay.iter().count()), (1, 1, 1));
    assert_eq!(before.get(&key), Some(&entry(100)));
    assert_eq!(overlay.entries_of_from(RunKey::MAX, 0).count(), 0);
    let run = OverlayEntry { flags: EntryFlags { tombstone: true, ..EntryFlags::default() }, ..entry(300) };
    assert_eq!(overlay.put(Key::of_run(RunKey(1)), run, None), None);
    assert_eq!(overlay.run(RunKey(1)).map(|row| (row.at, row.deleted)), Some((Some(at(300)), true)));
    assert_eq!((overlay.len(), overlay.totals().runs), (1, 0));
}
