//! The way to one image, in one line: `overwrite/k12/f1,0,p37` or `overwrite/kill31+50/k60/f1`.

use std::fmt;
use std::str::FromStr;

use super::fates::Choices;

/// One event on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The process is killed at a call to the file system, of which so many bytes are still written; another goes on.
    Kill {
        /// The number of the call.
        at: u64,
        /// Bytes.
        written: usize,
    },
    /// The power fails after so many operations; those that were not durable have these fates. The next step happens in
    /// the recovery.
    Crash {
        /// The number of operations.
        count: usize,
        /// What becomes of them.
        choices: Choices,
    },
}

/// A workload and the events that lead to an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trail {
    /// The name of the workload.
    pub(super) workload: String,
    /// What happens to it.
    pub(super) steps: Vec<Step>,
}

impl Trail {
    /// Returns the trail with one more step.
    pub(super) fn then(&self, step: Step) -> Trail {
        let mut longer = self.clone();
        longer.steps.push(step);
        longer
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.workload)?;
        self.steps.iter().try_for_each(|step| match step {
            Step::Kill { at, written } => write!(f, "/kill{at}+{written}"),
            Step::Crash { count, choices } => write!(f, "/k{count}/f{choices}"),
        })
    }
}

impl FromStr for Trail {
    type Err = String;

    fn from_str(text: &str) -> Result<Trail, String> {
        let bad = |word: &str| format!("{word:?} is no step of a trail");
        let mut words = text.trim().split('/');
        let mut trail = Trail { workload: words.next().unwrap_or_default().to_owned(), steps: Vec::new() };
        while let Some(word) = words.next() {
            let step = if let Some(rest) = word.strip_prefix("kill") {
                let (at, written) = rest.split_once('+').ok_or_else(|| bad(word))?;
                let at = at.parse().map_err(|_| bad(word))?;
                Step::Kill { at, written: written.parse().map_err(|_| bad(word))? }
            } else {
                let count =
                    word.strip_prefix('k').and_then(|rest| rest.parse().ok()).ok_or_else(|| bad(word))?;
                let fates = words.next().and_then(|word| word.strip_prefix('f')).ok_or_else(|| bad(word))?;
                Step::Crash { count, choices: fates.parse()? }
            };
            trail.steps.push(step);
        }
        Ok(trail)
    }
}
