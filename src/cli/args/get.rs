//! Arguments of `get`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::super::values::RunArg;

/// Arguments of `get`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").args(["id", "ids"]).required(true)))]
#[command(group(ArgGroup::new("when").args(["run", "at", "after"])))]
pub(crate) struct GetArgs {
    /// The object's id
    pub(crate) id: Option<OsString>,
    /// Look up many: the ids in this file, one a line (`-`: standard input; empty lines are passed over). Prints a line for each,
    /// in this order, empty where there is none; line breaks in what it prints become spaces
    #[arg(long, value_name = "FILE")]
    pub(crate) ids: Option<PathBuf>,
    /// The snapshot of exactly this run
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<RunArg>,
    /// The newest snapshot at or before this run
    #[arg(long, value_name = "RUN")]
    pub(crate) at: Option<RunArg>,
    /// The closest snapshot strictly later than this run
    #[arg(long, value_name = "RUN")]
    pub(crate) after: Option<RunArg>,
    /// Print the whole file, not the object in it
    #[arg(long)]
    pub(crate) raw: bool,
}
