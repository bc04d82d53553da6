//! The order of a bundle, by itself and in what is written.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "numbers below a hundred thousand"
)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::super::bundles::bundles_from;
use super::super::order::{Ordered, order};
use super::super::{Order, Resolve, RestoreEvent, RestoreOptions};
use super::model::Model;
use super::naive;
use crate::progress::Stop;

fn ranks(ordered: &Ordered) -> BTreeMap<u32, usize> {
    let all: Vec<u32> = ordered.groups.iter().flatten().copied().collect();
    all.iter().enumerate().map(|(rank, node)| (*node, rank)).collect()
}

/// The fewest references that any order of the nodes breaks: the best order of each set of nodes, by its last one.
fn fewest(needs: &[Vec<u32>]) -> usize {
    let sets = 1usize << needs.len();
    let mut best = vec![usize::MAX; sets];
    best[0] = 0;
    for set in 1..sets {
        for last in (0..needs.len()).filter(|node| set & (1 << node) != 0) {
            // What of the set needs the last one has it behind itself.
            let rest = set & !(1 << last);
            let ahead = (0..needs.len())
                .filter(|node| rest & (1 << node) != 0 && needs[*node].iter().any(|to| *to as usize == last));
            best[set] = best[set].min(best[rest] + ahead.count());
        }
    }
    best[sets - 1]
}

fn graph() -> impl Strategy<Value = Vec<Vec<u32>>> {
    (1..=8u32).prop_flat_map(|len| {
        let list = move |node: u32| {
            prop::collection::btree_set(0..len, 0..4).prop_map(move |list: BTreeSet<u32>| {
                list.into_iter().filter(|to| *to != node).collect::<Vec<u32>>()
            })
        };
        (0..len).map(list).collect::<Vec<_>>()
    })
}

/// The heuristic as it is written down, looking at all that is left for each step: sinks, then sources, then what has most arcs
/// out of it less those into it, ties by number. An arc leads from what is needed to what needs it.
fn heuristic(needs: &[Vec<u32>], members: &[u32]) -> Vec<u32> {
    let mut left: BTreeSet<u32> = members.iter().copied().collect();
    let (mut front, mut back) = (Vec::new(), Vec::new());
    while !left.is_empty() {
        let rank = |node: &u32| {
            let out = left.iter().filter(|user| needs[**user as usize].contains(node)).count();
            let into = needs[*node as usize].iter().filter(|needed| left.contains(needed)).count();
            match (out, into) {
                (0, _) => (0, 0, *node),
                (_, 0) => (1, 0, *node),
                _ => (2, members.len() + into - out, *node),
            }
        };
        let (class, _, node) = left.iter().map(rank).min().unwrap();
        if class == 0 {
            back.push(node);
        } else {
            front.push(node);
        }
        left.remove(&node);
    }
    front.extend(back.into_iter().rev());
    front
}

#[test]
fn the_members_of_a_circle_stand_as_a_search_for_each_of_them_puts_them() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config { cases: 300, ..Config::default() }, rng);
    let mut several = 0;
    let graph = (2..=30u32).prop_flat_map(|len| {
        let list = prop::collection::btree_set(0..len, 0..4);
        prop::collection::vec(list, len as usize)
    });
    for _ in 0..300 {
        let lists = graph.new_tree(&mut runner).unwrap().current();
        let without =
            |(node, list): (u32, BTreeSet<u32>)| list.into_iter().filter(|to| *to != node).collect();
        let needs: Vec<Vec<u32>> = (0..).zip(lists).map(without).collect();
        for group in order(&needs).groups.iter().filter(|group| group.len() > 1) {
            assert_eq!(*group, heuristic(&needs, group), "{needs:?}");
            several += 1;
        }
    }
    assert!(several > 200, "{several} circles");
}

#[test]
fn the_order_breaks_no_more_than_the_heuristic_promises_and_mostly_the_fewest() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config { cases: 4000, ..Config::default() }, rng);
    let (mut optimal, mut cyclic, mut ours, mut least) = (0, 0, 0, 0);
    let mut each = |needs: Vec<Vec<u32>>| {
        let ordered = order(&needs);
        let rank = ranks(&ordered);
        prop_assert_eq!(rank.len(), needs.len(), "each node once");
        let ahead: BTreeSet<(u32, u32)> = (0..)
            .zip(&needs)
            .flat_map(|(from, list)| list.iter().map(move |to| (from, *to)))
            .filter(|(from, to)| rank[to] > rank[from])
            .collect();
        prop_assert_eq!(&ordered.broken.iter().copied().collect::<BTreeSet<_>>(), &ahead);
        let fewest = fewest(&needs);
        prop_assert!(ahead.len() >= fewest, "the comparison is right");
        prop_assert_eq!(ahead.is_empty(), fewest == 0, "what can be kept is kept");
        // The bound of the paper holds for each component, for graphs without two nodes that need each other.
        let group: BTreeMap<u32, usize> = ordered
            .groups
            .iter()
            .enumerate()
            .flat_map(|(at, list)| list.iter().map(move |node| (*node, at)))
            .collect();
        for (at, list) in ordered.groups.iter().enumerate().filter(|(_, list)| list.len() > 1) {
            let inside = |from: &u32, to: &u32| group[from] == at && group[to] == at;
            let arcs: Vec<(u32, u32)> = list
                .iter()
                .flat_map(|from| {
                    needs[*from as usize]
                        .iter()
                        .filter(move |to| inside(from, to))
                        .map(move |to| (*from, *to))
                })
                .collect();
            let mutual = arcs.iter().any(|(from, to)| arcs.contains(&(*to, *from)));
            let broken = arcs.iter().filter(|arc| ahead.contains(arc)).count();
            let spared = if mutual { 0 } else { list.len() };
            prop_assert!(6 * broken + spared <= 3 * arcs.len(), "{} of {} in {:?}", broken, arcs.len(), list);
        }
        if fewest > 0 {
            cyclic += 1;
            optimal += usize::from(ahead.len() == fewest);
            ours += ahead.len();
            least += fewest;
        }
        Ok(())
    };
    for _ in 0..4000 {
        let needs = graph().new_tree(&mut runner).unwrap().current();
        each(needs).unwrap();
    }
    assert!(cyclic > 1000, "{cyclic}");
    assert!(optimal * 10 > cyclic * 8, "the fewest in {optimal} of {cyclic}");
    assert!(ours * 10 < least * 12, "{ours} broken where {least} would do");
}

#[test]
fn what_is_needed_comes_first_and_ties_go_by_number() {
    let groups = |needs: &[Vec<u32>]| order(needs).groups.concat();
    assert_eq!(groups(&[]), [0u32; 0]);
    assert_eq!(groups(&[vec![], vec![], vec![]]), [0, 1, 2]);
    // 0 -> 2 -> 1; 3 stands alone.
    assert_eq!(groups(&[vec![2], vec![], vec![1], vec![]]), [1, 2, 0, 3]);
    // A diamond: 0 -> {1, 2} -> 3.
    assert_eq!(groups(&[vec![1, 2], vec![3], vec![3], vec![]]), [3, 1, 2, 0]);
    // A circle of three that 0 needs and that needs 4.
    let ordered = order(&[vec![1], vec![2], vec![3], vec![1, 4], vec![]]);
    assert_eq!(ordered.groups.iter().map(Vec::len).collect::<Vec<_>>(), [1, 3, 1]);
    assert_eq!((ordered.groups.concat()[0], ordered.groups.concat()[4], ordered.broken.len()), (4, 0, 1));
}

#[test]
fn a_chain_and_a_circle_of_a_hundred_thousand_need_no_deep_stack() {
    const LEN: u32 = 100_000;
    let chain: Vec<Vec<u32>> =
        (0..LEN).map(|node| if node + 1 < LEN { vec![node + 1] } else { Vec::new() }).collect();
    let ordered = order(&chain);
    assert!(ordered.broken.is_empty());
    assert_eq!(ordered.groups[0], [LEN - 1]);
    let circle: Vec<Vec<u32>> = (0..LEN).map(|node| vec![(node + 1) % LEN]).collect();
    let ordered = order(&circle);
    assert_eq!((ordered.groups.len(), ordered.broken.len()), (1, 1));
}

/// What was written: for each bundle its run and ids; and the broken references that were told of, as `run: from to`.
pub(super) fn written(
    model: &Model,
    options: &RestoreOptions,
) -> (Vec<(String, Vec<String>)>, BTreeSet<String>) {
    let mut out = Vec::new();
    let mut broken = BTreeSet::new();
    let mut event = |event: RestoreEvent<'_>| {
        if let RestoreEvent::Broken { run, id, reference } = event {
            let text = |id: &[u8]| String::from_utf8_lossy(id).into_owned();
            assert!(broken.insert(format!("{run}: {} {}", text(id), text(reference))));
        }
        Ok(())
    };
    bundles_from(model, options, &mut out, &mut event, &Stop::default()).unwrap();
    let bundle = |line: &[u8]| {
        let bundle: serde_json::Value = serde_json::from_slice(line).unwrap();
        let ids = bundle["objects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|object| object["id"].as_str().unwrap().to_owned());
        (bundle["x_run"].as_str().unwrap().to_owned(), ids.collect())
    };
    let bundles = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(bundle).collect();
    (bundles, broken)
}

#[test]
fn bundles_stand_in_the_order_of_their_references() {
    let model = Model::of("D1: a->z; b->a; z->m\nD2: m->n\nD3: n");
    let options = RestoreOptions { resolve: Resolve::Closure, ..RestoreOptions::default() };
    let (bundles, broken) = written(&model, &options);
    let lines: Vec<String> = bundles.iter().map(|(run, ids)| format!("{run}: {}", ids.join(" "))).collect();
    assert_eq!(lines, ["D1: n m z a b", "D2: n m", "D3: n"]);
    assert!(broken.is_empty());
}

#[test]
fn a_circle_is_told_of_and_the_objects_stay_as_they_are() {
    let model = Model::of("D1: a->b; b->c; c->a; d->d,a; e->f; f->e");
    let (bundles, broken) = written(&model, &RestoreOptions::default());
    assert_eq!(bundles[0].1.len(), 6);
    assert_eq!(broken.iter().map(String::as_str).collect::<Vec<_>>(), ["D1: a b", "D1: e f"]);
    // An object that refers to itself has it: nothing is broken. And the bytes are those of the file.
    let mut out = Vec::new();
    bundles_from(&model, &RestoreOptions::default(), &mut out, &mut |_| Ok(()), &Stop::default()).unwrap();
    assert!(String::from_utf8(out).unwrap().contains(r#"{"id":"d",  "refs":"a d"}"#));
}

#[test]
fn a_bundle_ends_only_where_no_reference_leads_ahead() {
    // Three circles of two and a chain; each circle stays whole.
    let model = Model::of("D1: a->b; b->a; c->d; d->c,a; e->f; f->e; g->h; h");
    let split = |max| {
        let options = RestoreOptions { max_bundle_objects: max, ..RestoreOptions::default() };
        let bundles = written(&model, &options).0;
        bundles.into_iter().map(|(_, ids)| ids.join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(split(0).len(), 1);
    assert_eq!(split(3), ["a b", "c d", "e f h", "g"]);
    assert_eq!(split(2), ["a b", "c d", "e f", "h g"]);
    // A circle larger than the limit has to be split: the limit is the broker's.
    assert_eq!(split(1).len(), 8);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_random_trees_every_reference_leads_back_unless_it_is_told_of(
        model in naive::model(),
        options in naive::options(),
        max in 1..5u64,
    ) {
        let by_name = written(&model, &RestoreOptions { order: Order::Name, ..options.clone() });
        let (bundles, broken) = written(&model, &RestoreOptions { max_bundle_objects: max, ..options });
        let gather = |bundles: &[(String, Vec<String>)]| {
            let mut runs: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (run, ids) in bundles {
                runs.entry(run.clone()).or_default().extend(ids.iter().cloned());
            }
            runs
        };
        let (runs, named) = (gather(&bundles), gather(&by_name.0));
        let sorted = |runs: &BTreeMap<String, Vec<String>>| {
            runs.iter().map(|(run, ids)| (run.clone(), ids.iter().cloned().collect::<BTreeSet<_>>())).collect::<Vec<_>>()
        };
        prop_assert_eq!(sorted(&runs), sorted(&named), "the same objects in any order");
        prop_assert!(by_name.1.is_empty());
        for (run, ids) in &runs {
            let rank: BTreeMap<&str, usize> = ids.iter().enumerate().map(|(rank, id)| (id.as_str(), rank)).collect();
            prop_assert_eq!(rank.len(), ids.len(), "each id once");
            for line in broken.iter().filter_map(|line| line.strip_prefix(&format!("{run}: "))) {
                let (from, to) = line.split_once(' ').unwrap();
                prop_assert!(rank[to] > rank[from], "{} leads ahead", line);
            }
        }
        for (_, ids) in &bundles {
            prop_assert!(ids.len() as u64 <= max);
        }
    }
}
