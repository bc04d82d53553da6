//! Arguments of the commands that take care of a store.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::store::check::{Level, Shard};

use super::super::values;

/// Arguments of the commands that go through the whole store: `check`, `manifest`.
#[derive(Args, Debug)]
pub(crate) struct ScanArgs {
    /// Threads that read and verify; 0: one per core. Never changes what is told
    #[arg(short, long, env = "STORE_JOBS", default_value_t = 0, value_name = "N")]
    pub(crate) jobs: usize,
    /// Only part I of N, from 1: the segments whose number leaves that rest. All parts together are the whole
    #[arg(long, value_name = "I/N", value_parser = values::shard)]
    pub(crate) shard: Option<Shard>,
    /// Go on where the last run in FILE ended: what the same command wrote with `--json`, also if it was killed
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    /// End before the next segment once this time has passed: 3600, 90min, 8h
    #[arg(long, value_name = "SECONDS", value_parser = values::span)]
    pub(crate) max_duration: Option<Duration>,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// How deep to look
    #[arg(long, env = "STORE_LEVEL", value_name = "LEVEL", default_value = "crc")]
    pub(crate) level: LevelArg,
    #[command(flatten)]
    pub(crate) scan: ScanArgs,
    /// Keep in FILE, outside the store, which segments were checked when, and what was found
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Pass over segments that the record calls good, no longer ago than this: 7d, 12h, 3600
    #[arg(long, value_name = "AGE", requires = "record", value_parser = values::span)]
    pub(crate) max_age: Option<Duration>,
    /// Tell of each good snapshot too
    #[arg(long)]
    pub(crate) all: bool,
    /// Repair what is found, as `store repair` does
    #[arg(long, conflicts_with_all = ["shard", "resume", "max_duration", "max_age"])]
    pub(crate) repair: bool,
}

/// Arguments of `manifest`.
#[derive(Args, Debug)]
pub(crate) struct ManifestArgs {
    #[command(flatten)]
    pub(crate) scan: ScanArgs,
}

/// How deep a check looks.
#[derive(ValueEnum, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LevelArg {
    /// The index alone: its pages hold, and every entry points into a segment that is there
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

impl From<LevelArg> for Level {
    fn from(level: LevelArg) -> Level {
        match level {
            LevelArg::Index => Level::Index,
            LevelArg::Crc => Level::Crc,
            LevelArg::Content => Level::Content,
        }
    }
}

/// Arguments of `repair`.
#[derive(Args, Debug)]
pub(crate) struct RepairArgs {
    /// Repair only what the results of a check name: what it wrote with `--json`. Each is looked at again first
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Take such a file also without its end: the check may have found more
    #[arg(long, requires = "from")]
    pub(crate) allow_incomplete: bool,
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
