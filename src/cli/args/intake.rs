//! Arguments of `import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{CreateArgs, values};
use crate::cli::values::RunArg;

/// Arguments of `import`.
#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// The folder that holds `opencti_data`, or that folder itself; or such a tree as a tar archive, plain or compressed with zstd
    /// or gzip, `-` for standard input
    #[arg(env = "BACKUP_PATH")]
    pub(crate) source: PathBuf,
    /// SOURCE is a file of plain STIX bundles, or a folder of them: put each of their objects into this run
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<RunArg>,
    /// Threads that read and parse; 0: one per core. Never changes the result
    #[arg(short, long, env = "STORE_JOBS", default_value_t = 0, value_name = "N")]
    pub(crate) jobs: usize,
    /// Delete what the tree no longer holds; `force`: even if that is most of the store
    #[arg(long, env = "STORE_MIRROR", value_name = "HOW", num_args = 0..=1, require_equals = true, default_value = "no", default_missing_value = "yes")]
    pub(crate) mirror: MirrorArg,
    /// Read every file, also those that look as they did when an earlier import read them
    #[arg(long)]
    pub(crate) force_read: bool,
    /// How much of the files may be in memory at a time; a larger file is taken alone
    #[arg(long, env = "STORE_IMPORT_MEMORY", default_value = "256MiB", value_name = "SIZE", value_parser = values::size)]
    pub(crate) memory: u64,
    /// Say where the time went; of steps on several threads the sum
    #[arg(long)]
    pub(crate) timings: bool,
    /// Report what would be done, and change nothing on disk; waits for no other writer
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) create: CreateArgs,
}

/// What to do with what the tree no longer holds.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MirrorArg {
    /// Keep it
    No,
    /// Delete it, but not most of the store
    Yes,
    /// Delete it in any case
    Force,
}
