//! What to run next.

use super::super::command::Command;
use super::super::context::Context;
use super::super::text::write_span;
use super::scan::{Task, Tell};

/// Stands for a file that the reader has to name.
const FILE: &str = "FILE";
/// How long what was found good is passed over, where the command did not say.
const MAX_AGE: &str = "30d";

/// How to go on where a run ended: with the file that has what it wrote, or with its record.
pub(super) fn go_on(context: &Context, task: &Task<'_>) -> Command {
    let is_json = context.out.is_json();
    let args = task.args;
    let command = Command::new(context, task.verb);
    let command =
        if task.verb == "check" { command.word("--level").word(task.level.name()) } else { command };
    let command = command
        .flag("--all", task.tell == Tell::All)
        .option("--shard", args.shard.map(|shard| shard.to_string()))
        .option("--max-duration", args.max_duration.map(write_span));
    if let Some(record) = task.record {
        let age = task.max_age.map_or_else(|| MAX_AGE.to_owned(), write_span);
        return command.flag("--json", is_json).word("--record").word(record).word("--max-age").word(age);
    }
    match &args.resume {
        Some(file) if is_json => command.word("--json").word("--resume").word(file),
        _ if is_json || task.verb != "check" => command.word("--json").word("--resume").word(FILE),
        _ => command.word("--record").word(FILE).word("--max-age").word(MAX_AGE),
    }
}

/// What it does, for people.
pub(super) fn why(context: &Context, task: &Task<'_>) -> &'static str {
    match (task.record.is_some(), context.out.is_json() || task.verb != "check") {
        (true, _) => "goes on, and passes over what was found good",
        (false, true) => "goes on from here; FILE has what this run wrote with --json",
        (false, false) => "keeps in FILE what it checked, so that the next run goes on",
    }
}

/// What to run about damage.
pub(super) fn repair(context: &Context) -> Command {
    Command::new(context, "repair").word("--dry-run")
}
