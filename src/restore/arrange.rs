//! The order in which a run's bundle is written, and where it may be split.

use std::ops::Range;

use crate::id::ObjectKey;

use super::keys::{Id, KeyMap};
use super::lookup::Part;
use super::options::Order;
use super::order;
use super::resolve::RunPlan;

/// One object of a bundle: where a plan has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum At {
    /// The place among what is resolved.
    Resolved(usize),
    /// The place among the run's files, and the number of the object.
    Own(usize, u32),
}

/// One object in line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) at: At,
    /// Bytes of its text.
    pub(super) len: u64,
}

/// The objects of a run in line.
#[derive(Debug, Default)]
pub(super) struct Arranged {
    pub(super) slots: Vec<Slot>,
    /// Slots that belong together, in line: between two groups a bundle may end.
    pub(super) groups: Vec<Range<usize>>,
    /// Groups whose members refer to each other in a circle.
    pub(super) cycles: u64,
    /// References that lead ahead, by id: from, to.
    pub(super) broken: Vec<(Id, Id)>,
}

/// A node of the graph: an object with the ids it goes by.
struct Node<'p> {
    id: &'p Id,
    other: Option<&'p Id>,
    part: &'p Part,
    slot: Slot,
}

/// Puts the objects of a run in line. Cost: O(ids and references of the run), times a logarithm.
pub(super) fn arrange(plan: &RunPlan, order: Order) -> Arranged {
    let mut nodes = nodes(plan);
    if order == Order::Name {
        let slots: Vec<Slot> = nodes.iter().map(|node| node.slot).collect();
        let groups = (0..slots.len()).map(|at| at..at.saturating_add(1)).collect();
        return Arranged { slots, groups, ..Arranged::default() };
    }
    nodes.sort_by(|a, b| a.id.bytes.cmp(&b.id.bytes));
    let ordered = order::order(&needs(plan, &nodes));
    let node = |number: u32| usize::try_from(number).ok().and_then(|at| nodes.get(at));
    let mut arranged = Arranged::default();
    for group in ordered.groups {
        let start = arranged.slots.len();
        arranged.slots.extend(group.iter().filter_map(|number| node(*number)).map(|node| node.slot));
        arranged.groups.push(start..arranged.slots.len());
        arranged.cycles = arranged.cycles.saturating_add(u64::from(group.len() > 1));
    }
    let ids = |(from, to): &(u32, u32)| Some((node(*from)?.id.clone(), node(*to)?.id.clone()));
    arranged.broken = ordered.broken.iter().filter_map(ids).collect();
    arranged
}

/// The objects that are emitted, in the order of names.
fn nodes(plan: &RunPlan) -> Vec<Node<'_>> {
    let mut nodes = Vec::with_capacity(plan.resolved.len().saturating_add(plan.own.len()));
    for (at, found) in plan.resolved.iter().enumerate().filter(|(_, found)| !found.repeated) {
        let target = &found.target;
        let other = (found.reference != target.id).then_some(&found.reference);
        let slot = Slot { at: At::Resolved(at), len: target.part.len };
        nodes.push(Node { id: &target.id, other, part: &target.part, slot });
    }
    for (at, file) in plan.own.iter().enumerate() {
        for (number, id, part) in file.emits() {
            let other = (number == 0 && file.name != *id).then_some(&file.name);
            let slot = Slot { at: At::Own(at, number), len: part.len };
            nodes.push(Node { id, other, part, slot });
        }
    }
    nodes
}

/// What each node needs of the others.
fn needs(plan: &RunPlan, nodes: &[Node<'_>]) -> Vec<Vec<u32>> {
    let mut known: KeyMap<ObjectKey, u32> =
        (0..).zip(nodes).map(|(number, node)| (node.id.key, number)).collect();
    // Other names come second: what has an id for its own is what the id means.
    for (number, node) in (0..).zip(nodes) {
        if let Some(other) = node.other {
            known.entry(other.key).or_insert(number);
        }
    }
    for found in plan.resolved.iter().filter(|found| found.repeated) {
        if let Some(number) = known.get(&found.target.id.key).copied() {
            known.entry(found.reference.key).or_insert(number);
        }
    }
    let of = |(number, node): (u32, &Node<'_>)| {
        let mut list: Vec<u32> = node.part.needs.iter().filter_map(|key| known.get(key).copied()).collect();
        list.retain(|needed| *needed != number);
        list.sort_unstable();
        list.dedup();
        list
    };
    (0..).zip(nodes).map(of).collect()
}
