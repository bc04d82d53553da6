//! Which operations of a log survive a power cut, and how: the choices, their short names, and which to try.

use std::fmt;
use std::str::FromStr;

use stix_store::vfs::mem::{Action, Fate, Mem, Op};

/// Most choices of surviving operations that are all tried.
const ALL_SUBSETS_MAX: usize = 64;
/// Choices drawn where there are more.
const DRAWN: usize = 24;
/// Writes up to this length are cut at each byte: a COMMIT and a small record are, a bulk of records is cut at some.
const EACH_BYTE_MAX: usize = 200;
/// Bytes that a disk writes at once.
const SECTOR: usize = 512;

/// What becomes of one operation that was not durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Choice {
    /// Lost.
    Drop,
    /// Done.
    Apply,
    /// Of the bytes written, so many from the start arrived.
    Prefix(usize),
    /// The same, and zeros stand for the rest: the length was written, the data was not.
    Zeroed(usize),
    /// Noise.
    Garbage,
    /// What another write had put on the disk.
    Stale,
}

/// The choices for the operations that were not durable, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Choices(pub(super) Vec<Choice>);

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, choice) in self.0.iter().enumerate() {
            f.write_str(if number > 0 { "," } else { "" })?;
            match choice {
                Choice::Drop => write!(f, "0"),
                Choice::Apply => write!(f, "1"),
                Choice::Prefix(len) => write!(f, "p{len}"),
                Choice::Zeroed(len) => write!(f, "z{len}"),
                Choice::Garbage => write!(f, "g"),
                Choice::Stale => write!(f, "s"),
            }?;
        }
        Ok(())
    }
}

impl FromStr for Choices {
    type Err = String;

    fn from_str(text: &str) -> Result<Choices, String> {
        let choice = |word: &str| {
            let len = || word[1..].parse().map_err(|_| format!("{word:?} is no choice"));
            Ok(match word.as_bytes() {
                b"0" => Choice::Drop,
                b"1" => Choice::Apply,
                b"g" => Choice::Garbage,
                b"s" => Choice::Stale,
                [b'p', ..] => Choice::Prefix(len()?),
                [b'z', ..] => Choice::Zeroed(len()?),
                _ => return Err(format!("{word:?} is no choice")),
            })
        };
        text.split(',').filter(|word| !word.is_empty()).map(choice).collect::<Result<_, _>>().map(Choices)
    }
}

impl Choices {
    /// Makes the file system that these choices leave after `count` operations.
    pub(super) fn image(&self, mem: &Mem, ops: &[Op], pending: &[usize], count: usize) -> Mem {
        mem.crash_at(count, |number, op| {
            let at = pending.binary_search(&number).unwrap();
            self.0.get(at).unwrap_or(&Choice::Apply).fate(ops, number, op)
        })
    }

    /// Tells whether a write was cut or changed on its way.
    pub(super) fn is_torn(&self) -> bool {
        !self.0.iter().all(|choice| matches!(choice, Choice::Drop | Choice::Apply))
    }
}

impl Choice {
    fn fate(self, ops: &[Op], number: usize, op: &Op) -> Fate {
        let Action::Append { bytes, .. } = &op.action else {
            return if self == Choice::Drop { Fate::Drop } else { Fate::Apply };
        };
        let mut torn = bytes.to_vec();
        match self {
            Choice::Drop => return Fate::Drop,
            Choice::Apply => return Fate::Apply,
            Choice::Prefix(len) => torn.truncate(len),
            Choice::Zeroed(len) => torn.iter_mut().skip(len).for_each(|byte| *byte = 0),
            Choice::Garbage => {
                let mut noise = Noise(number as u64 + 1);
                torn.iter_mut().for_each(|byte| *byte = noise.next().to_le_bytes()[0]);
            }
            Choice::Stale => {
                let others = ops.iter().take(number).filter_map(|op| match &op.action {
                    Action::Append { bytes, .. } => Some(bytes.clone()),
                    _ => None,
                });
                let old = others.max_by_key(|bytes| bytes.len()).unwrap_or_default();
                for (at, byte) in torn.iter_mut().enumerate() {
                    *byte = old.get(at).copied().unwrap_or(0);
                }
            }
        }
        Fate::Bytes(torn)
    }
}

/// A small generator of numbers that are the same each time.
#[derive(Clone, Debug)]
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// Returns the next number (splitmix64).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }
}

/// How finely writes are torn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tearing {
    /// At each byte, and in every way.
    Fine,
    /// At sectors, half way, and in every way.
    Coarse,
}

/// Lists what to try for the operations `pending` of a log.
pub(super) fn choices(ops: &[Op], pending: &[usize], tearing: Tearing) -> Vec<Choices> {
    let mut all = subsets(pending.len());
    let writes: Vec<usize> = (0..pending.len()).filter(|at| write_len(ops, pending[*at]).is_some()).collect();
    // Of the operations that arrived, the last two writes may have arrived in part.
    for write in writes.iter().rev().take(2) {
        let len = write_len(ops, pending[*write]).unwrap_or(0);
        for choices in subsets(pending.len()).iter().filter(|choices| choices.0[*write] == Choice::Apply) {
            all.extend(coarse(len).into_iter().map(|choice| choices.with(*write, choice)));
        }
    }
    if let (Tearing::Fine, Some(last)) = (tearing, writes.last()) {
        let len = write_len(ops, pending[*last]).unwrap_or(0);
        let whole = Choices(vec![Choice::Apply; pending.len()]);
        for cut in (0..len).filter(|cut| len <= EACH_BYTE_MAX || cut.is_multiple_of(len / EACH_BYTE_MAX + 1))
        {
            all.push(whole.with(*last, Choice::Prefix(cut)));
            all.push(whole.with(*last, Choice::Zeroed(cut)));
        }
    }
    all
}

impl Choices {
    fn with(&self, at: usize, choice: Choice) -> Choices {
        let mut changed = self.clone();
        changed.0[at] = choice;
        changed
    }
}

fn write_len(ops: &[Op], number: usize) -> Option<usize> {
    match &ops.get(number)?.action {
        Action::Append { bytes, .. } => Some(bytes.len()),
        _ => None,
    }
}

fn coarse(len: usize) -> Vec<Choice> {
    let mut all = vec![Choice::Garbage, Choice::Stale, Choice::Zeroed(0), Choice::Prefix(len / 2)];
    let sectors = (SECTOR..len).step_by(SECTOR).take(4);
    all.extend(sectors.flat_map(|cut| [Choice::Prefix(cut), Choice::Zeroed(cut)]));
    all
}

/// All choices of lost and done among `count` operations, or the telling ones and some drawn by lot.
fn subsets(count: usize) -> Vec<Choices> {
    let pick = |done: &dyn Fn(usize) -> bool| {
        Choices((0..count).map(|at| if done(at) { Choice::Apply } else { Choice::Drop }).collect())
    };
    if 1usize.checked_shl(u32::try_from(count).unwrap()).is_some_and(|all| all <= ALL_SUBSETS_MAX) {
        return (0..1usize << count).map(|set| pick(&|at| set >> at & 1 == 1)).collect();
    }
    let mut all = vec![pick(&|_| false), pick(&|_| true)];
    all.extend((0..count).map(|one| pick(&|at| at != one)));
    all.extend((0..count).map(|one| pick(&|at| at == one)));
    // What came first mostly arrived first.
    all.extend((1..count).map(|end| pick(&|at| at < end)));
    let mut noise = Noise(count as u64);
    all.extend((0..DRAWN).map(|_| {
        let set = noise.next();
        pick(&|at| set >> (at % 64) & 1 == 1)
    }));
    all
}
