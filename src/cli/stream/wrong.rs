//! What is wrong, for people: where, whom it concerns, and what to do next.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::store::check::{Finding, RecordKind, Severity};

use super::super::command::Command;
use super::super::context::{Context, segment_of};
use super::super::text::{show, show_path};
use super::states::Verdict;
use super::{Named, next};

/// Damaged files that the last lines name.
const SHOWN_FILES: usize = 5;
/// Affected snapshots that they name.
const SHOWN_NAMES: usize = 10;

/// Damage found. Memory: for each damaged file, and for the first affected snapshots.
#[derive(Default)]
pub(crate) struct Wrong {
    /// The files with damage, and at how many places.
    files: BTreeMap<String, u64>,
    /// What live snapshots are damaged: the first ones by name.
    shown: Vec<String>,
    /// How many have a name.
    named: u64,
    /// How many have none.
    nameless: u64,
    /// The same files, for a repair.
    pub(crate) named_files: Named,
}

impl Wrong {
    /// Adds a finding; a notice is nothing wrong.
    pub(super) fn add(&mut self, finding: &Finding, verdict: Verdict, path: Option<&[&[u8]]>) {
        if finding.severity != Severity::Damage {
            return;
        }
        let places = self.files.entry(finding.place.file.clone()).or_default();
        *places = places.saturating_add(1);
        self.named_files.add(&finding.place.file, verdict.state, verdict.code);
        if finding.live != Some(true) || finding.kind != Some(RecordKind::Snapshot) {
            return;
        }
        // A path without an id is a run's own, or that of something in it that is gone.
        let Some(path) = path.filter(|_| finding.key.is_some()) else {
            self.nameless = self.nameless.saturating_add(1);
            return;
        };
        self.named = self.named.saturating_add(1);
        if self.shown.len() < SHOWN_NAMES {
            self.shown.push(show_path(path.iter().copied()));
        }
    }

    /// Tells whether anything is.
    pub(crate) fn is_any(&self) -> bool {
        !self.files.is_empty()
    }

    /// Says what is wrong, whom it concerns, and what to do next.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn advise(&self, context: &Context) -> Result<()> {
        let files: Vec<String> = self
            .files
            .iter()
            .take(SHOWN_FILES)
            .map(|(file, places)| match places {
                1 => show(file.as_bytes()),
                places => format!("{} ({places} places)", show(file.as_bytes())),
            })
            .collect();
        let more = self.files.len().saturating_sub(files.len());
        let more = if more > 0 { format!(" and {more} more files") } else { String::new() };
        context.say(&format!("damaged: {}{more}", files.join(", ")))?;
        for name in &self.shown {
            context.say(&format!("affected: {name}"))?;
        }
        let more = self.named.saturating_sub(u64::try_from(self.shown.len()).unwrap_or(u64::MAX));
        if more > 0 {
            let all = Command::new(context, "check").word("--json");
            context.say(&format!("affected: {more} more; {all} lists all"))?;
        }
        if self.nameless > 0 {
            let count = self.nameless;
            context.say(&format!("affected: {count} snapshots whose id nobody can read any more"))?;
        }
        let next = next::repair(context);
        context.say(&format!(
            "next: {next}      tells what a repair would save and what is lost, and changes nothing"
        ))?;
        let in_log = self.files.keys().any(|file| segment_of(file).is_some());
        let then = Command::new(context, "repair").option("--source", in_log.then_some("TREE"));
        let does = if in_log {
            "repairs it, and takes what is lost from a backup tree that has it"
        } else {
            "repairs it"
        };
        context.say(&format!("then: {then}      {does}"))
    }
}
