//! The command line's grammar. Names and meanings are a contract: scripts are written against them.
//!
//! Settings come from `STORE_*` variables too. Options that choose *which data* a command touches
//! (`--run`, `--after`, `--tree`, ...) do not: a variable left over in a shell must not change what is
//! restored or deleted.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::id::{SegmentId, StoreId};

use super::exit;
use super::values::{self, RunArg};

mod bench;
mod care;
mod compare;
mod get;
mod intake;
mod restore;

pub(crate) use bench::BenchArgs;
pub(crate) use care::{CheckArgs, CompactArgs, LevelArg, ManifestArgs, RepairArgs, ScanArgs};
pub(crate) use compare::{DiffArgs, ExplainArgs};
pub(crate) use get::GetArgs;
pub(crate) use intake::{ImportArgs, MirrorArg};
pub(crate) use restore::{ResolveArg, RestoreArgs};

/// A crash-safe snapshot store for OpenCTI backups.
///
/// Takes a backup tree in once, and then looks up, verifies and restores from a few large files instead
/// of millions of small ones. Data goes to standard output, everything else to standard error.
#[derive(Parser, Debug)]
#[command(name = "store", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The store's directory
    #[arg(
        short,
        long,
        global = true,
        env = "STORE_PATH",
        default_value = "./opencti.store",
        value_name = "PATH"
    )]
    pub(crate) store: PathBuf,
    /// Write NDJSON units to standard output, from `begin` to `end`
    #[arg(long, global = true, env = "STORE_JSON", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) json: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true, env = "STORE_QUIET", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) quiet: bool,
    /// Say more; twice, thrice: even more. `STORE_LOG` chooses in detail, as `RUST_LOG` does
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How often to show progress [default: 0.1 on a terminal, else 10]
    #[arg(long, global = true, env = "STORE_PROGRESS_INTERVAL", value_name = "SECONDS", value_parser = values::seconds)]
    pub(crate) progress_interval: Option<Duration>,
    /// Show no progress
    #[arg(long, global = true, env = "STORE_NO_PROGRESS", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) no_progress: bool,
    /// Show progress as NDJSON on standard error, at most four times a second
    #[arg(long, global = true, env = "STORE_JSON_PROGRESS", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) json_progress: bool,
    /// How long to wait for another process that writes to the store
    #[arg(long, global = true, env = "STORE_LOCK_WAIT", default_value = "0", value_name = "SECONDS", value_parser = values::seconds)]
    pub(crate) lock_wait: Duration,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Create an empty store
    #[command(after_long_help = exit::help(exit::PLAIN))]
    Init(InitArgs),
    /// Take a backup tree in; creates the store if there is none
    #[command(after_long_help = exit::help(exit::IMPORT))]
    Import(ImportArgs),
    /// Store one snapshot, from a file or standard input
    #[command(after_help = exit::RUN, after_long_help = exit::help_with_run(exit::PUT))]
    Put(PutArgs),
    /// Delete one snapshot of an id, or all of them
    #[command(after_help = exit::RUN, after_long_help = exit::help_with_run(exit::DELETE))]
    Delete(DeleteArgs),
    /// Print a snapshot of an object: the newest, or the one asked for
    #[command(after_help = exit::RUN, after_long_help = exit::help_with_run(exit::LOOKUP))]
    Get(GetArgs),
    /// List all snapshots of an id, oldest first: run, location, size
    #[command(after_long_help = exit::help(exit::LOOKUP))]
    History(HistoryArgs),
    /// List all runs: name, snapshots, bytes
    #[command(after_long_help = exit::help(exit::READ))]
    Runs,
    /// List the snapshots of a run, by name: name, size, location
    #[command(after_help = exit::RUN, after_long_help = exit::help_with_run(exit::LOOKUP))]
    Ls(LsArgs),
    /// Bring data out again: as a backup tree, as STIX bundles, or as a plan only
    #[command(after_help = exit::RUN, after_long_help = exit::help_with_run(exit::RESTORE))]
    Restore(Box<RestoreArgs>),
    /// Tell why an object is in the bundles of a restore: the references that lead to it
    #[command(after_help = exit::RUN, after_long_help = exit::help_with_run(exit::COMPARE))]
    Explain(ExplainArgs),
    /// Tell what changed between two runs, two commits, or the snapshots of one object
    #[command(after_help = exit::RUN, after_long_help = exit::help_with_run(exit::COMPARE))]
    Diff(DiffArgs),
    /// List every live snapshot in the order of the log: run, name, size, location
    #[command(after_long_help = exit::help(exit::MANIFEST))]
    Manifest(ManifestArgs),
    /// Verify the store; never writes, unless it is to repair what it finds
    #[command(after_long_help = exit::help(exit::CHECK))]
    Check(CheckArgs),
    /// Save what is intact of damaged files, set the originals aside, and say what is lost
    #[command(after_long_help = exit::help(exit::REPAIR))]
    Repair(RepairArgs),
    /// Reclaim what was overwritten and deleted
    #[command(after_long_help = exit::help(exit::COMPACT))]
    Compact(CompactArgs),
    /// Show figures: counts, sizes, garbage, compression
    #[command(after_long_help = exit::help(exit::READ))]
    Stats,
    /// Show every field of every record of a segment, damaged bytes included
    #[command(after_long_help = exit::help(exit::LOOKUP))]
    Dump(DumpArgs),
    /// Measure how fast this store answers on this machine: lookups, opening, a scan
    #[command(after_long_help = exit::help(exit::LOOKUP))]
    Bench(BenchArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = exit::help(exit::PLAIN))]
    Completions(CompletionsArgs),
    /// Print the manual page of `store` or of one of its commands
    #[command(after_long_help = exit::help(exit::PLAIN))]
    Man(ManArgs),
}

impl Command {
    /// Returns its name, as the stream's `begin` unit carries it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Init(_) => "init",
            Command::Import(_) => "import",
            Command::Put(_) => "put",
            Command::Delete(_) => "delete",
            Command::Get(_) => "get",
            Command::History(_) => "history",
            Command::Runs => "runs",
            Command::Ls(_) => "ls",
            Command::Restore(_) => "restore",
            Command::Manifest(_) => "manifest",
            Command::Explain(_) => "explain",
            Command::Diff(_) => "diff",
            Command::Check(_) => "check",
            Command::Repair(_) => "repair",
            Command::Compact(_) => "compact",
            Command::Stats => "stats",
            Command::Dump(_) => "dump",
            Command::Bench(_) => "bench",
            Command::Completions(_) => "completions",
            Command::Man(_) => "man",
        }
    }

    /// Tells whether a reader that leaves early, such as `head`, is as good as one that stays. Where the
    /// output is the command's proof of what it did or found, a part of it is a failure.
    pub(crate) fn may_lose_its_reader(&self) -> bool {
        match self {
            Command::Get(_)
            | Command::History(_)
            | Command::Runs
            | Command::Ls(_)
            | Command::Explain(_)
            | Command::Diff(_)
            | Command::Stats
            | Command::Dump(_)
            | Command::Bench(_)
            | Command::Completions(_)
            | Command::Man(_) => true,
            Command::Init(_)
            | Command::Import(_)
            | Command::Put(_)
            | Command::Delete(_)
            | Command::Restore(_)
            | Command::Manifest(_)
            | Command::Check(_)
            | Command::Repair(_)
            | Command::Compact(_) => false,
        }
    }
}

/// Heading of the options that only matter where a store is created.
const NEW_STORE: &str = "Options for a new store";

/// What a new store is like.
#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// Size at which a segment is sealed [default: 64MiB]
    #[arg(long, help_heading = NEW_STORE, env = "STORE_SEGMENT_SIZE", value_name = "SIZE", value_parser = values::segment_size)]
    pub(crate) segment_size: Option<u64>,
    /// How payloads are stored [default: zstd]
    #[arg(long, help_heading = NEW_STORE, env = "STORE_COMPRESSION", value_name = "KIND")]
    pub(crate) compression: Option<CompressionArg>,
    /// Identity of the store, for reproducible files [default: random]
    #[arg(long, help_heading = NEW_STORE, env = "STORE_ID", value_name = "HEX", value_parser = values::store_id)]
    pub(crate) store_id: Option<StoreId>,
}

/// How payloads are stored.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CompressionArg {
    /// zstd, with a dictionary once there is one
    Zstd,
    /// As they are
    None,
}

/// Arguments of `init`.
#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) create: CreateArgs,
}

/// Arguments of `put`.
#[derive(Args, Debug)]
pub(crate) struct PutArgs {
    /// The id to store it under: the name of its file, without `.json`
    pub(crate) id: OsString,
    /// The run to store it in; created if there is none
    #[arg(long, value_name = "RUN")]
    pub(crate) run: RunArg,
    /// A file as a backup has it, `{"objects": [..]}`; `-`: standard input
    pub(crate) file: PathBuf,
}

/// Arguments of `delete`.
#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// The id
    pub(crate) id: OsString,
    /// Only its snapshot of this run
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<RunArg>,
}

/// Arguments of `history`.
#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// The object's id
    pub(crate) id: OsString,
}

/// Arguments of `ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// The run
    pub(crate) run: RunArg,
}

/// Arguments of `dump`.
#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    /// The segment's number, or its file's name
    #[arg(value_parser = values::segment)]
    pub(crate) segment: SegmentId,
}

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// A command
    pub(crate) command: Option<String>,
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
