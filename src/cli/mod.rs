//! Floor 5: the command line. The only part of the crate that reads the command line, the environment
//! and the clock, prints, catches signals and installs a log subscriber. What it prints is data on standard
//! output; everything else goes to standard error. One file per command.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::error::Result;

mod args;
mod attachments;
mod bench;
mod check;
mod command;
mod compact;
mod completions;
mod console;
mod context;
mod delete;
mod diff;
mod dump;
mod errors;
mod exit;
mod explain;
mod files;
mod get;
mod history;
mod import;
mod init;
mod lookup;
mod ls;
mod man;
mod manifest;
mod output;
mod progress;
mod put;
mod repair;
mod restore;
mod runs;
mod signals;
mod stats;
mod stream;
mod table;
mod text;
mod timings;
mod values;

use args::{Cli, Command};
use context::Context;
use exit::Exit;

/// Runs the command line and returns its exit code. `args` begins with the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(run_to_exit(&args.into_iter().collect::<Vec<_>>()).code())
}

fn run_to_exit(args: &[OsString]) -> Exit {
    let cli = match parse(args) {
        Ok(cli) => cli,
        Err(refusal) => return refuse(&refusal),
    };
    let context = match Context::new(cli.command.name(), &cli.global, args) {
        Ok(context) => context,
        Err(error) => {
            let console = console::Console::new(cli.global.quiet, 0);
            console.for_machines(cli.global.json_progress).error(&error.to_string());
            return Exit::Failed;
        }
    };
    context.console.install_log();
    let result = dispatch(&context, &cli.command);
    context.conclude(&result, cli.command.may_lose_its_reader())
}

/// Parses the command line. A variable that is set but empty is not set: that is how container tools pass those that
/// nobody gave a value.
fn parse(args: &[OsString]) -> std::result::Result<Cli, clap::Error> {
    let mut command = without_empty_variables(Cli::command());
    let mut matches = command.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let forget = |arg: clap::Arg| {
        if arg.get_env().is_some_and(is_empty) { arg.env(clap::builder::Resettable::Reset) } else { arg }
    };
    command.mut_args(forget).mut_subcommands(without_empty_variables)
}

fn dispatch(context: &Context, command: &Command) -> Result<()> {
    match command {
        Command::Init(args) => init::run(context, args),
        Command::Import(args) => import::run(context, args),
        Command::Put(args) => put::run(context, args),
        Command::Delete(args) => delete::run(context, args),
        Command::Get(args) => get::run(context, args),
        Command::History(args) => history::run(context, args),
        Command::Runs => runs::run(context),
        Command::Ls(args) => ls::run(context, args),
        Command::Restore(args) => restore::run(context, args),
        Command::Manifest(args) => manifest::run(context, args),
        Command::Explain(args) => explain::run(context, args),
        Command::Diff(args) => diff::run(context, args),
        Command::Check(args) => check::run(context, args),
        Command::Repair(args) => repair::run(context, args),
        Command::Compact(args) => compact::run(context, args),
        Command::Stats => stats::run(context),
        Command::Dump(args) => dump::run(context, args),
        Command::Bench(args) => bench::run(context, args),
        Command::Completions(args) => completions::run(context, args),
        Command::Man(args) => man::run(context, args),
    }
}

/// Shows what the parser has to say: help and version are data, the rest is a usage error.
fn refuse(refusal: &clap::Error) -> Exit {
    let usage = refusal.use_stderr();
    match refusal.print() {
        Ok(()) => {}
        // `store --help | head -1`
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(_) => return Exit::Failed,
    }
    if usage { Exit::Usage } else { Exit::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_makes_no_sense_is_a_usage_error() {
        for line in ["store", "store fly", "store get", "store restore", "store --lock-wait x runs"] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(run_to_exit(&args), Exit::Usage, "{line}");
        }
    }
}
