//! `store completions`: a completion script, generated from the grammar.

use clap::CommandFactory;

use crate::error::{Error, Result};

use super::args::{Cli, CompletionsArgs};
use super::context::Context;
use super::dump::write_text;

/// Runs the command.
///
/// # Errors
/// Those of the output.
pub(crate) fn run(context: &Context, args: &CompletionsArgs) -> Result<()> {
    // Into memory first: the generator panics when its output fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "store", &mut script);
    write_text(&context.out, |out| {
        out.write_all(&script).map_err(|error| Error::io("write", "standard output", error))
    })
}
