//! The order in which a run's bundle is written, and where it may be split.

use std::collections::HashMap;
use std::ops::Range;

use crate::id::ObjectKey;

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
    pub(super) broken: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A node of the graph: an object with the ids it goes by.
struct Node<'p> {
    id: &'p [u8],
    other: Option<&'p [u8]>,
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
    nodes.sort_by(|a, b| a.id.cmp(b.id));
    let ordered = order::order(&needs(plan, &nodes));
    let node = |number: u32| usize::try_from(number).ok().and_then(|at| nodes.get(at));
    let mut arranged = Arranged::default();
    for group in ordered.groups {
        let start = arranged.slots.len();
        arranged.slots.extend(group.iter().filter_map(|number| node(*number)).map(|node| node.slot));
        arranged.groups.push(start..arranged.slots.len());
        arranged.cycles = arranged.cycles.saturating_add(u64::from(group.len() > 1));
    }
    let ids = |(from, to): &(u32, u32)| Some((node(*from)?.id.to_vec(), node(*to)?.id.to_vec()));
    arranged.broken = ordered.broken.iter().filter_map(ids).collect();
    arranged
}

/// The objects that are emitted, in the order of names.
fn nodes(plan: &RunPlan) -> Vec<Node<'_>> {
    let mut nodes = Vec::with_capacity(plan.resolved.len().saturating_add(plan.own.len()));
    for (at, found) in plan.resolved.iter().enumerate().filter(|(_, found)| !found.repeated) {
        let other = (found.reference != found.id).then_some(found.reference.as_slice());
        let slot = Slot { at: At::Resolved(at), len: found.part.len };
        nodes.push(Node { id: &found.id, other, part: &found.part, slot });
    }
    for (at, file) in plan.own.iter().enumerate() {
        for (number, id, part) in file.emits() {
            let other = (number == 0 && file.name != id).then_some(file.name.as_slice());
            let slot = Slot { at: At::Own(at, number), len: part.len };
            nodes.push(Node { id, other, part, slot });
        }
    }
    nodes
}

/// What each node needs of the others.
fn needs(plan: &RunPlan, nodes: &[Node<'_>]) -> Vec<Vec<u32>> {
    let mut known: HashMap<ObjectKey, u32> = HashMap::with_capacity(nodes.len());
    for (number, node) in (0..).zip(nodes) {
        known.insert(ObjectKey::of(node.id), number);
    }
    // Other names come second: what has an id for its own is what the id means.
    for (number, node) in (0..).zip(nodes) {
        if let Some(other) = node.other {
            known.entry(ObjectKey::of(other)).or_insert(number);
        }
    }
    for found in plan.resolved.iter().filter(|found| found.repeated) {
        if let Some(number) = known.get(&ObjectKey::of(&found.id)).copied() {
            known.entry(ObjectKey::of(&found.reference)).or_insert(number);
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
