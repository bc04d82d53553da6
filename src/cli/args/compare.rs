//! Arguments of the commands that explain and compare.

use std::ffi::OsString;

use clap::ArgAction;
use clap::Args;
use clap::builder::BoolishValueParser;

use super::super::values::RunArg;
use super::ResolveArg;

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The object's id
    pub(crate) id: OsString,
    /// Only what it is to this run's bundle
    #[arg(long, value_name = "RUN", conflicts_with_all = ["after", "until"])]
    pub(crate) run: Option<RunArg>,
    /// As if only runs strictly later than this one were restored
    #[arg(long, value_name = "RUN")]
    pub(crate) after: Option<RunArg>,
    /// As if only runs at or before this one were restored
    #[arg(long, value_name = "RUN")]
    pub(crate) until: Option<RunArg>,
    /// How the restore follows references that a run does not hold
    #[arg(long, env = "STORE_RESOLVE", value_name = "HOW", default_value = "once")]
    pub(crate) resolve: ResolveArg,
    /// The restore takes what no later run holds from the closest earlier one
    #[arg(long, env = "STORE_INCLUDE_EARLIER", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) include_earlier: bool,
    /// The restore follows references in extensions too
    #[arg(long, env = "STORE_EXTENSION_REFS", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) extension_refs: bool,
}

/// Arguments of `diff`.
#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// Two runs, two commits, or one id
    #[arg(value_name = "RUN|COMMIT|ID", num_args = 1..=2, required = true)]
    pub(crate) what: Vec<OsString>,
}
