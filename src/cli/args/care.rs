//! Arguments of the commands that take care of a store.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// How deep to look
    #[arg(long, env = "STORE_LEVEL", value_name = "LEVEL", default_value = "crc")]
    pub(crate) level: LevelArg,
    /// Repair what is found, as `store repair` does
    #[arg(long)]
    pub(crate) repair: bool,
}

/// How deep a check looks.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LevelArg {
    /// Records parse, index entries resolve
    Index,
    /// Every checksum of every record
    Crc,
    /// Payloads too: they decompress, parse, and hold what was noted about them
    Content,
}

impl LevelArg {
    /// Returns its name in the stream.
    pub(crate) fn name(self) -> &'static str {
        match self {
            LevelArg::Index => "index",
            LevelArg::Crc => "crc",
            LevelArg::Content => "content",
        }
    }
}

/// Arguments of `repair`.
#[derive(Args, Debug)]
pub(crate) struct RepairArgs {
    /// Tell what would be done and what is lost, and do nothing
    #[arg(short = 'n', long, conflicts_with = "source")]
    pub(crate) dry_run: bool,
    /// Take lost snapshots again from a backup tree that still has their files
    #[arg(long, value_name = "TREE")]
    pub(crate) source: Option<PathBuf>,
    /// Where a snapshot is lost, let the one before it answer
    #[arg(long)]
    pub(crate) accept_older: bool,
}

/// Arguments of `compact`.
#[derive(Args, Debug)]
pub(crate) struct CompactArgs {
    /// Garbage in percent of a segment from which on it is rewritten
    #[arg(long, env = "STORE_THRESHOLD", value_name = "PERCENT", default_value = "10", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) threshold: u8,
    /// Tell what would be done, and change nothing on disk; waits for no other writer
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}
