//! Which ids are looked up: some of the store's own, in no order.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::id::{Instant, RunKey};
use crate::store::View;

/// Different ids at most. More than fit the processor's caches with their records; all of them fit memory.
const DIFFERENT: usize = 200_000;

/// What is asked about one snapshot.
pub(super) struct Question {
    /// Its name.
    pub(super) id: Vec<u8>,
    /// Its run.
    pub(super) run: RunKey,
    /// The second before its run.
    pub(super) before: Instant,
    /// A name like it that the store does not have.
    pub(super) absent: Vec<u8>,
}

/// Draws `count` snapshots. Runs are taken in a random order until there are enough; what is damaged is passed over.
///
/// # Errors
/// Failures of reading, and damage of the index.
pub(super) fn questions(view: &View, count: u32, seed: u64) -> Result<Vec<Question>> {
    let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(DIFFERENT);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut runs = view.runs()?;
    random.shuffle(&mut runs);
    let mut questions: Vec<Question> = Vec::new();
    let mut known: HashSet<Vec<u8>> = HashSet::new();
    for run in runs {
        if questions.len() >= wanted {
            break;
        }
        for snapshot in view.iter_run(run.key)? {
            let id = match snapshot {
                Ok(snapshot) => snapshot.name().into_owned(),
                Err(Error::Damaged { .. }) => continue,
                Err(other) => return Err(other),
            };
            let before = Instant(run.key.instant().0.saturating_sub(1));
            let absent = like(&id, &mut random);
            known.insert(id.clone());
            questions.push(Question { id, run: run.key, before, absent });
        }
    }
    questions.retain(|question| !known.contains(&question.absent));
    random.shuffle(&mut questions);
    questions.truncate(wanted);
    Ok(questions)
}

/// Makes a name of the same form with other digits at its end.
fn like(id: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let kept = id.len().saturating_sub(12);
    let mut other = id.get(..kept).unwrap_or_default().to_vec();
    other.extend(format!("{:012x}", random.u64(..1 << 48)).bytes());
    other
}
