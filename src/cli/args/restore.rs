//! Arguments of `restore`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, ArgGroup, Args, ValueEnum};

use super::super::values::{self, RunArg};
use crate::id::CommitId;
use crate::restore::{Order, Resolve};

/// Heading of the options that choose what is restored.
const WHAT: &str = "Selection";
/// Heading of the options about references and order.
const HOW: &str = "References and order";
/// Heading of the options of `--directory-bundles`.
const DIRECTORY: &str = "Options of --directory-bundles";

/// Arguments of `restore`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["tree", "bundles", "directory_bundles", "plan"])))]
pub(crate) struct RestoreArgs {
    /// Write the backup tree again, byte-identical, below `DIR/opencti_data`
    #[arg(long, value_name = "DIR")]
    pub(crate) tree: Option<PathBuf>,
    /// Write STIX bundles, one a line, one or more for each run; `-`: to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) bundles: Option<PathBuf>,
    /// Write STIX bundles as files for the directory import of a platform, oldest first
    #[arg(long, value_name = "DIR", requires = "applicant_id")]
    pub(crate) directory_bundles: Option<PathBuf>,
    /// Write nothing: tell for each run what would be restored, from where, and which references stay open
    #[arg(long)]
    pub(crate) plan: bool,

    /// Only this run
    #[arg(long, value_name = "RUN", help_heading = WHAT, conflicts_with_all = ["after", "until", "cursor"])]
    pub(crate) run: Option<RunArg>,
    /// Only runs strictly later than this one
    #[arg(long, value_name = "RUN", help_heading = WHAT, conflicts_with = "cursor")]
    pub(crate) after: Option<RunArg>,
    /// Only runs at or before this one
    #[arg(long, value_name = "RUN", help_heading = WHAT)]
    pub(crate) until: Option<RunArg>,
    /// Only objects of these types, and what they refer to
    #[arg(long = "type", value_name = "TYPE", help_heading = WHAT, value_delimiter = ',', value_parser = values::object_type)]
    pub(crate) types: Vec<String>,
    /// Only these objects, and what they refer to; a file's name: the ids in it, one a line
    #[arg(long = "id", value_name = "FILE|ID", help_heading = WHAT, num_args = 1..)]
    pub(crate) ids: Vec<OsString>,
    /// Only what came or changed after this commit of the store, in whichever run: for a target that follows the store.
    /// `begin` of every `--json` stream names the commit it saw
    #[arg(long, value_name = "COMMIT", help_heading = WHAT, value_parser = values::commit)]
    pub(crate) changed_since: Option<CommitId>,
    /// Only runs that earlier restores with this file did not finish, as it remembers: for a restore in pieces. Moved
    /// when a run's output is on disk. With --changed-since: moved at the end
    #[arg(long, value_name = "FILE", help_heading = WHAT)]
    pub(crate) cursor: Option<PathBuf>,

    /// How to follow references that a run does not hold
    #[arg(long, env = "STORE_RESOLVE", value_name = "HOW", default_value = "once", help_heading = HOW)]
    pub(crate) resolve: ResolveArg,
    /// In which order the objects of a run stand
    #[arg(long, env = "STORE_ORDER", value_name = "HOW", default_value = "dependency", help_heading = HOW)]
    pub(crate) order: OrderArg,
    /// Take what no later run holds from the closest earlier one
    #[arg(long, env = "STORE_INCLUDE_EARLIER", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue, help_heading = HOW)]
    pub(crate) include_earlier: bool,
    /// Follow references in extensions too
    #[arg(long, env = "STORE_EXTENSION_REFS", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue, help_heading = HOW)]
    pub(crate) extension_refs: bool,
    /// Split larger bundles; 0: never. Brokers refuse messages of 16 MiB
    #[arg(long, env = "STORE_MAX_BUNDLE_BYTES", value_name = "SIZE", default_value = "8MiB", value_parser = values::size, help_heading = HOW)]
    pub(crate) max_bundle_bytes: u64,
    /// Split bundles of more objects; 0: never
    #[arg(long, env = "STORE_MAX_BUNDLE_OBJECTS", value_name = "N", default_value_t = 0, help_heading = HOW)]
    pub(crate) max_bundle_objects: u64,

    /// The user of the platform in whose name the directory import works; it maps the id to one of its own
    #[arg(long, env = "STORE_APPLICANT_ID", value_name = "ID", help_heading = DIRECTORY)]
    pub(crate) applicant_id: Option<String>,
    /// The connector's id [default: made from the store's]
    #[arg(long, env = "CONNECTOR_ID", value_name = "ID", help_heading = DIRECTORY)]
    pub(crate) connector_id: Option<String>,
    /// The connector's name, with which the names of the files begin
    #[arg(long, env = "CONNECTOR_NAME", value_name = "NAME", default_value = "store", help_heading = DIRECTORY)]
    pub(crate) connector_name: String,
}

/// How references that a run does not hold are followed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ResolveArg {
    /// Each object once, as early as something refers to it
    Once,
    /// For each run all that its objects need from later runs, as restore-files sends it
    Closure,
    /// Not at all
    None,
}

/// In which order the objects of a run stand.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OrderArg {
    /// What is referred to before what refers to it
    Dependency,
    /// What comes from other runs first, then by name
    Name,
}

impl From<ResolveArg> for Resolve {
    fn from(arg: ResolveArg) -> Resolve {
        match arg {
            ResolveArg::Once => Resolve::Once,
            ResolveArg::Closure => Resolve::Closure,
            ResolveArg::None => Resolve::None,
        }
    }
}

impl From<OrderArg> for Order {
    fn from(arg: OrderArg) -> Order {
        match arg {
            OrderArg::Dependency => Order::Dependency,
            OrderArg::Name => Order::Name,
        }
    }
}
