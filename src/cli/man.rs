//! `store man`: the manual pages, generated from the grammar.

use clap::CommandFactory;

use crate::error::{Error, Result};

use super::args::{Cli, ManArgs};
use super::context::Context;
use super::dump::write_text;

/// Runs the command.
///
/// # Errors
/// `BadInput` for a command that there is not; those of the output.
pub(crate) fn run(context: &Context, args: &ManArgs) -> Result<()> {
    let page = page(args.command.as_deref())?;
    let failed = |error| Error::io("write", "standard output", error);
    write_text(&context.out, |out| page.render(out).map_err(failed))
}

fn page(command: Option<&str>) -> Result<clap_mangen::Man> {
    let mut all = Cli::command();
    // Global options and full names are only handed down when the grammar is built.
    all.build();
    let Some(name) = command else { return Ok(clap_mangen::Man::new(all)) };
    let found = all.find_subcommand(name).cloned().ok_or_else(|| Error::BadInput {
        what: format!("command {name:?}"),
        reason: "there is no such command".to_owned(),
    })?;
    let title = format!("store-{name}");
    Ok(clap_mangen::Man::new(found.display_name(title)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(command: Option<&str>) -> String {
        let mut bytes = Vec::new();
        page(command).unwrap().render(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn there_is_a_page_for_the_program_and_for_each_command() {
        let all = text(None);
        assert!(all.contains(".TH store 1"), "{all}");
        assert!(all.contains("restore"), "{all}");
        let one = text(Some("restore"));
        assert!(one.contains("max\\-bundle\\-bytes") && one.contains("Exit status"), "{one}");
        assert!(page(Some("fly")).is_err());
    }
}
