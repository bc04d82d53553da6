//! The order of a bundle: what is referred to before what refers to it. Knows numbers only.
//!
//! Strongly connected components by Tarjan's algorithm (R. Tarjan, "Depth-first search and linear graph
//! algorithms", 1972), without recursion; these in topological order, the one with the smallest member first
//! wherever there is a choice; the members of one by the heuristic of Eades, Lin and Smyth ("A fast and
//! effective heuristic for the feedback arc set problem", 1993), ties by number. It breaks at most
//! m/2 - n/6 of m references between n objects without 2-cycles; to break the fewest is NP-hard.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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
    let mut place = vec![0u32; needs.len()];
    for (node, component) in (0..).zip(&component) {
        let at = index(*component);
        if members.len() <= at {
            members.resize(at.saturating_add(1), Vec::new());
        }
        if let Some(list) = members.get_mut(at) {
            set(&mut place, node, u32::try_from(list.len()).unwrap_or(u32::MAX));
            list.push(node);
        }
    }
    let mut ordered = Ordered::default();
    let mut rank = vec![0u32; needs.len()];
    let mut next = 0u32;
    for at in topological(needs, &component, &members) {
        let list = members.get_mut(at).map(std::mem::take).unwrap_or_default();
        let group = if list.len() > 1 { inside(needs, (&component, &place), &list) } else { list };
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
    let arcs = || {
        (0..).zip(needs).flat_map(|(node, list)| {
            let own = get(component, node);
            list.iter()
                .map(|to| get(component, *to))
                .filter(move |other| *other != own)
                .map(move |other| (other, own))
        })
    };
    for (_, own) in arcs() {
        let more = get(&waits, own).saturating_add(1);
        set(&mut waits, own, more);
    }
    let needed_by = Lists::of(members.len(), arcs);
    let smallest = |at: u32| members.get(index(at)).and_then(|list| list.first()).copied().unwrap_or(0);
    let mut ready: BinaryHeap<Reverse<(u32, u32)>> = BinaryHeap::new();
    for at in (0..).take(members.len()).filter(|at| get(&waits, *at) == 0) {
        ready.push(Reverse((smallest(at), at)));
    }
    let mut order = Vec::with_capacity(members.len());
    while let Some(Reverse((_, at))) = ready.pop() {
        order.push(index(at));
        for user in needed_by.get(at) {
            let left = get(&waits, *user).saturating_sub(1);
            set(&mut waits, *user, left);
            if left == 0 {
                ready.push(Reverse((smallest(*user), *user)));
            }
        }
    }
    order
}

/// Orders the members of one component by the heuristic: an arc leads from what is needed to what needs it. `place`: where each
/// node stands among the members of its component.
fn inside(needs: &Needs, (component, place): (&[u32], &[u32]), members: &[u32]) -> Vec<u32> {
    let own = members.first().map_or(0, |node| get(component, *node));
    let arcs = || {
        (0..).zip(members).flat_map(|(user, node)| {
            let list = needs.get(index(*node)).map_or(&[][..], Vec::as_slice);
            let inside = list.iter().filter(|to| get(component, **to) == own);
            inside.map(move |to| (get(place, *to), user))
        })
    };
    let users = Lists::of(members.len(), arcs);
    let needed = Lists::of(members.len(), || arcs().map(|(needed, user)| (user, needed)));
    let sequence = Shrinking::new(users, needed).sequence();
    sequence.into_iter().filter_map(|at| members.get(index(at)).copied()).collect()
}

/// A list of numbers for each number, one behind the other.
struct Lists {
    /// Where each list ends; it begins where the one before ends.
    ends: Vec<usize>,
    items: Vec<u32>,
}

impl Lists {
    /// Puts each pair's second number into the list of its first one, in the order of the pairs.
    fn of<P: Iterator<Item = (u32, u32)>>(count: usize, pairs: impl Fn() -> P) -> Lists {
        let mut ends = vec![0usize; count];
        for (list, _) in pairs() {
            if let Some(len) = ends.get_mut(index(list)) {
                *len = len.saturating_add(1);
            }
        }
        let mut sum = 0usize;
        for end in &mut ends {
            // What was the length becomes the beginning, and with each item that is put there moves to the end.
            sum = sum.saturating_add(std::mem::replace(end, sum));
        }
        let mut items = vec![0u32; sum];
        for (list, item) in pairs() {
            if let Some(end) = ends.get_mut(index(list))
                && let Some(slot) = items.get_mut(*end)
            {
                *slot = item;
                *end = end.saturating_add(1);
            }
        }
        Lists { ends, items }
    }

    fn get(&self, list: u32) -> &[u32] {
        let end = self.ends.get(index(list)).copied().unwrap_or(0);
        let start = index(list).checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.items.get(start..end).unwrap_or_default()
    }
}

/// A graph from which nodes are taken one by one.
struct Shrinking {
    users: Lists,
    needed: Lists,
    /// For each node: arcs out of it and arcs into it that are left; `None`: it was taken.
    degrees: Vec<Option<(u32, u32)>>,
    /// Nodes that are left, each by its [`rank`], the least first. Ranks that were overtaken stay until they come up.
    line: BinaryHeap<Reverse<u128>>,
}

impl Shrinking {
    fn new(users: Lists, needed: Lists) -> Shrinking {
        let len = |list: &[u32]| u32::try_from(list.len()).unwrap_or(u32::MAX);
        let nodes = (0..).take(users.ends.len());
        let degrees: Vec<_> = nodes.map(|node| Some((len(users.get(node)), len(needed.get(node))))).collect();
        let ranks = (0..).zip(&degrees).filter_map(|(node, degrees)| Some(Reverse(rank(node, (*degrees)?))));
        let line = ranks.collect::<Vec<_>>().into();
        Shrinking { users, needed, degrees, line }
    }

    fn sequence(mut self) -> Vec<u32> {
        let (mut front, mut back) = (Vec::new(), Vec::new());
        while let Some(Reverse(least)) = self.line.pop() {
            // The node is in the lowest bits of a rank.
            let node = u32::try_from(least & u128::from(u32::MAX)).unwrap_or(u32::MAX);
            let Some(slot) = self.degrees.get_mut(index(node)) else { continue };
            let Some(degrees) = slot.take_if(|degrees| rank(node, *degrees) == least) else { continue };
            if degrees.0 == 0 {
                back.push(node);
            } else {
                front.push(node);
            }
            for user in self.users.get(node) {
                change(&mut self.degrees, &mut self.line, *user, |(out, into)| (out, into.saturating_sub(1)));
            }
            for needed in self.needed.get(node) {
                change(&mut self.degrees, &mut self.line, *needed, |(out, into)| {
                    (out.saturating_sub(1), into)
                });
            }
        }
        front.extend(back.into_iter().rev());
        front
    }
}

/// Changes the degrees of a node, if it is left, and puts it in line anew.
fn change(
    degrees: &mut [Option<(u32, u32)>],
    line: &mut BinaryHeap<Reverse<u128>>,
    node: u32,
    to: impl Fn((u32, u32)) -> (u32, u32),
) {
    if let Some(Some(degrees)) = degrees.get_mut(index(node)) {
        let before = rank(node, *degrees);
        *degrees = to(*degrees);
        let after = rank(node, *degrees);
        if after != before {
            line.push(Reverse(after));
        }
    }
}

/// Where a node stands in line: sinks first, then sources, then the one with most arcs out of it less those into it; ties by
/// number. One number, because comparing them is most of the work.
fn rank(node: u32, (out, into): (u32, u32)) -> u128 {
    let (class, surplus) = match (out, into) {
        (0, _) => (0u128, 0),
        (_, 0) => (1, 0),
        _ => (2, u128::from(u32::MAX).saturating_add(into.into()).saturating_sub(out.into())),
    };
    class << 96 | surplus << 32 | u128::from(node)
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
