//! The order of a bundle: what is referred to before what refers to it. Knows numbers only.
//!
//! Strongly connected components by Tarjan's algorithm (R. Tarjan, "Depth-first search and linear graph
//! algorithms", 1972), without recursion; these in topological order, the one with the smallest member first
//! wherever there is a choice; the members of one by the heuristic of Eades, Lin and Smyth ("A fast and
//! effective heuristic for the feedback arc set problem", 1993), ties by number. It breaks at most
//! m/2 - n/6 of m references between n objects without 2-cycles; to break the fewest is NP-hard.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// `needs[n]`: the nodes that node `n` refers to, ascending, each once, never `n` itself. Nodes are numbered by id.
pub(super) type Needs = [Vec<u32>];

/// The order of a bundle.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ordered {
    /// The nodes, each group one strongly connected component.
    pub(super) groups: Vec<Vec<u32>>,
    /// The references that lead ahead all the same, ascending: (from, to). Both ends are in one group.
    pub(super) broken: Vec<(u32, u32)>,
}

/// Orders nodes. Cost: O((nodes + references) log nodes). Memory: a few words for each.
pub(super) fn order(needs: &Needs) -> Ordered {
    let component = components(needs);
    let mut members: Vec<Vec<u32>> = Vec::new();
    for (node, component) in (0..).zip(&component) {
        let at = index(*component);
        if members.len() <= at {
            members.resize(at.saturating_add(1), Vec::new());
        }
        if let Some(list) = members.get_mut(at) {
            list.push(node);
        }
    }
    let mut ordered = Ordered::default();
    let mut rank = vec![0u32; needs.len()];
    let mut next = 0u32;
    for at in topological(needs, &component, &members) {
        let list = members.get_mut(at).map(std::mem::take).unwrap_or_default();
        let group = if list.len() > 1 { inside(needs, &component, &list) } else { list };
        for node in &group {
            set(&mut rank, *node, next);
            next = next.saturating_add(1);
        }
        ordered.groups.push(group);
    }
    let rank_of = |node: u32| rank.get(index(node)).copied().unwrap_or(0);
    for (from, list) in (0..).zip(needs) {
        let ahead = list.iter().filter(|to| rank_of(**to) > rank_of(from));
        ordered.broken.extend(ahead.map(|to| (from, *to)));
    }
    ordered
}

/// The component of each node, by Tarjan's algorithm over an explicit stack.
fn components(needs: &Needs) -> Vec<u32> {
    const NONE: u32 = u32::MAX;
    let mut found = vec![NONE; needs.len()];
    let mut entered = vec![NONE; needs.len()];
    let mut low = vec![NONE; needs.len()];
    let (mut open, mut frames) = (Vec::new(), Vec::new());
    let (mut clock, mut count) = (0u32, 0u32);
    for root in (0..).take(needs.len()) {
        if get(&entered, root) != NONE {
            continue;
        }
        frames.push((root, 0usize));
        while let Some((node, at)) = frames.last_mut() {
            let node = *node;
            if *at == 0 && get(&entered, node) == NONE {
                set(&mut entered, node, clock);
                set(&mut low, node, clock);
                clock = clock.saturating_add(1);
                open.push(node);
            }
            if let Some(to) = needs.get(index(node)).and_then(|list| list.get(*at)).copied() {
                *at = at.saturating_add(1);
                if get(&entered, to) == NONE {
                    frames.push((to, 0));
                } else if get(&found, to) == NONE {
                    lower(&mut low, node, get(&entered, to));
                }
                continue;
            }
            frames.pop();
            if let Some((parent, _)) = frames.last() {
                let reached = get(&low, node);
                lower(&mut low, *parent, reached);
            }
            if get(&low, node) == get(&entered, node) {
                while let Some(member) = open.pop() {
                    set(&mut found, member, count);
                    if member == node {
                        break;
                    }
                }
                count = count.saturating_add(1);
            }
        }
    }
    found
}

/// The components, each after those that it refers to; of those that could come next the one with the smallest member.
fn topological(needs: &Needs, component: &[u32], members: &[Vec<u32>]) -> Vec<usize> {
    let mut waits = vec![0u32; members.len()];
    let mut needed_by: Vec<Vec<u32>> = vec![Vec::new(); members.len()];
    for (node, list) in (0..).zip(needs) {
        let own = get(component, node);
        for other in list.iter().map(|to| get(component, *to)).filter(|other| *other != own) {
            let more = get(&waits, own).saturating_add(1);
            set(&mut waits, own, more);
            if let Some(users) = needed_by.get_mut(index(other)) {
                users.push(own);
            }
        }
    }
    let smallest = |at: u32| members.get(index(at)).and_then(|list| list.first()).copied().unwrap_or(0);
    let mut ready: BinaryHeap<Reverse<(u32, u32)>> = BinaryHeap::new();
    for at in (0..).take(members.len()).filter(|at| get(&waits, *at) == 0) {
        ready.push(Reverse((smallest(at), at)));
    }
    let mut order = Vec::with_capacity(members.len());
    while let Some(Reverse((_, at))) = ready.pop() {
        order.push(index(at));
        for user in needed_by.get_mut(index(at)).map(std::mem::take).unwrap_or_default() {
            let left = get(&waits, user).saturating_sub(1);
            set(&mut waits, user, left);
            if left == 0 {
                ready.push(Reverse((smallest(user), user)));
            }
        }
    }
    order
}

/// Orders the members of one component by the heuristic: an arc leads from what is needed to what needs it.
fn inside(needs: &Needs, component: &[u32], members: &[u32]) -> Vec<u32> {
    let own = members.first().map_or(0, |node| get(component, *node));
    let number = |node: u32| members.binary_search(&node).ok().and_then(|at| u32::try_from(at).ok());
    let mut graph = Shrinking::new(members.len());
    for (user, node) in (0..).zip(members) {
        let list = needs.get(index(*node)).map_or(&[][..], Vec::as_slice);
        for needed in list.iter().filter(|to| get(component, **to) == own).filter_map(|to| number(*to)) {
            graph.arc(needed, user);
        }
    }
    graph.sequence().into_iter().filter_map(|at| members.get(index(at)).copied()).collect()
}

/// A graph from which nodes are taken one by one.
struct Shrinking {
    users: Vec<Vec<u32>>,
    needed: Vec<Vec<u32>>,
    /// For each node: arcs out of it less arcs into it, and the arcs of both kinds that are left.
    degrees: Vec<(i64, u32, u32)>,
    /// Nodes that are left, by the class of [`Shrinking::class`].
    left: BTreeSet<(u8, i64, u32)>,
}

impl Shrinking {
    fn new(len: usize) -> Shrinking {
        let (users, needed) = (vec![Vec::new(); len], vec![Vec::new(); len]);
        Shrinking { users, needed, degrees: vec![(0, 0, 0); len], left: BTreeSet::new() }
    }

    fn arc(&mut self, from: u32, to: u32) {
        if let Some(users) = self.users.get_mut(index(from)) {
            users.push(to);
        }
        if let Some(needed) = self.needed.get_mut(index(to)) {
            needed.push(from);
        }
        self.change(from, 1, 0);
        self.change(to, 0, 1);
    }

    fn change(&mut self, node: u32, out: i32, into: i32) {
        if let Some((delta, leaving, coming)) = self.degrees.get_mut(index(node)) {
            *delta = delta.saturating_add(i64::from(out)).saturating_sub(i64::from(into));
            *leaving = leaving.saturating_add_signed(out);
            *coming = coming.saturating_add_signed(into);
        }
    }

    /// Where a node stands in line: sinks first, then sources, then the one with most arcs out of it less those into it.
    fn class(&self, node: u32) -> (u8, i64, u32) {
        match self.degrees.get(index(node)).copied().unwrap_or_default() {
            (_, 0, _) => (0, 0, node),
            (_, _, 0) => (1, 0, node),
            (delta, ..) => (2, delta.saturating_neg(), node),
        }
    }

    fn sequence(mut self) -> Vec<u32> {
        let all: Vec<u32> = (0..).take(self.degrees.len()).collect();
        self.left = all.iter().map(|node| self.class(*node)).collect();
        let (mut front, mut back) = (Vec::new(), Vec::new());
        while let Some((class, _, node)) = self.left.pop_first() {
            if class == 0 {
                back.push(node);
            } else {
                front.push(node);
            }
            let users = self.users.get_mut(index(node)).map(std::mem::take).unwrap_or_default();
            let needed = self.needed.get_mut(index(node)).map(std::mem::take).unwrap_or_default();
            for user in users {
                self.update(user, 0, -1);
            }
            for needed in needed {
                self.update(needed, -1, 0);
            }
        }
        front.extend(back.into_iter().rev());
        front
    }

    /// Changes the degrees of a node, if it is left.
    fn update(&mut self, node: u32, out: i32, into: i32) {
        if self.left.remove(&self.class(node)) {
            self.change(node, out, into);
            self.left.insert(self.class(node));
        }
    }
}

/// 32 bits fit an index wherever this program runs; what did not would find nothing.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn get(list: &[u32], at: u32) -> u32 {
    list.get(index(at)).copied().unwrap_or(u32::MAX)
}

fn set(list: &mut [u32], at: u32, value: u32) {
    if let Some(slot) = list.get_mut(index(at)) {
        *slot = value;
    }
}

fn lower(list: &mut [u32], at: u32, value: u32) {
    if let Some(slot) = list.get_mut(index(at)) {
        *slot = value.min(*slot);
    }
}
