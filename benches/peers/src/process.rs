//! What a process of its own costs: from its start to its first answer, and the memory that lookups take.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use stix_store::RunKey;

use crate::data::{Data, Question};
use crate::peers::{KINDS, Kind, own};
use crate::{Figures, measure};

/// Lookups of which the memory is told.
const RESIDENT: usize = 2000;
/// Processes started one after the other; their median counts.
const STARTS: usize = 15;
/// What the kernel maps at the first touch of a page, where it has them: `fault_around_bytes`.
const WINDOW: usize = 64 << 10;

/// Resident memory of this process, without and with a file behind it, in KiB.
fn resident() -> [f64; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    ["RssAnon:", "RssFile:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    })
}

/// The child: answers the questions on its standard input from a store, and prints by how much its memory has grown since the
/// first one, and how much of that the answers touched.
pub(crate) fn answer(kind: &str, dir: &Path) {
    let mut asked = String::new();
    std::io::stdin().read_to_string(&mut asked).unwrap();
    let mut questions = asked.lines().map(|line| line.split_once(' ').unwrap());
    let Some(kind) = KINDS.iter().find(|one| one.name == kind) else { return };
    let peer = (kind.open)(dir);
    let mut session = peer.session();
    let mut seen = 0;
    let mut ask = |(run, id): (&str, &str)| {
        session.at(id, RunKey(run.parse().unwrap()), &mut |body| seen += body.len().min(1));
    };
    questions.next().into_iter().for_each(&mut ask);
    let Some(more) = questions.next() else { return };
    let before = resident();
    std::iter::once(more).chain(questions).for_each(ask);
    let after = resident();
    assert_eq!(seen, asked.lines().count());
    let touched = if kind.name == "store" { touched(dir, &asked) } else { 0 };
    println!("{} {} {}", after[0] - before[0], after[1] - before[1], touched >> 10);
}

/// The bytes of all windows that these answers and the way to them lie in.
fn touched(dir: &Path, asked: &str) -> usize {
    let mut windows = BTreeSet::new();
    own::each_touched(dir, asked.lines().map(|line| line.split_once(' ').unwrap().1), &mut |bytes| {
        let range = bytes.as_ptr_range();
        windows.extend(range.start.addr() / WINDOW..=(range.end.addr() - 1) / WINDOW);
    });
    windows.len() * WINDOW
}

/// Starts a process that answers these questions. Returns what it printed.
fn start(kind: &str, dir: &Path, questions: &[Question]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--ask").arg(kind).arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let asked: String =
        questions.iter().map(|question| format!("{} {}\n", question.run.0, question.id)).collect();
    child.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{kind}: the process failed");
    String::from_utf8(output.stdout).unwrap()
}

fn started(kind: &str, dir: &Path, data: &Data) -> f64 {
    let mut times: Vec<f64> = (0..STARTS)
        .map(|number| {
            let begin = Instant::now();
            start(kind, dir, &data.questions[number..=number]);
            begin.elapsed().as_nanos() as f64 / 1000.0
        })
        .collect();
    measure::median(&mut times)
}

/// A process that is started and ends, the floor of those that answer.
pub(crate) fn floor(data: &Data, figures: &mut Figures) {
    figures.add("floor", "open as a process, us", Some(started("nobody", Path::new("."), data)));
}

/// Measures processes that ask a store.
pub(crate) fn measure(kind: &Kind, dir: &Path, data: &Data, figures: &mut Figures) {
    figures.add(kind.name, "open as a process, us", Some(started(kind.name, dir, data)));
    let told = start(kind.name, dir, &data.questions[..RESIDENT]);
    let told: Vec<f64> = told.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let each = |kib: f64| Some(kib / (RESIDENT - 1) as f64);
    figures.add(kind.name, "resident, KiB / lookup", each(told[0] + told[1]));
    figures.add(kind.name, "resident without a file, KiB / lookup", each(told[0]));
    if told[2] > 0.0 {
        figures.add("floor", "resident, KiB / lookup", each(told[2]));
    }
}
