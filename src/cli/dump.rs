//! `store dump`: a segment's records with offsets and hex, for people.

use std::io::Write;

use crate::error::Result;
use crate::store::dump::dump;

use super::args::DumpArgs;
use super::context::Context;
use super::files;
use super::output::{Lines, Output, Plain};
use super::text::Text;

/// Runs the command. It does not open the store, so it works on one that does not open.
///
/// # Errors
/// Failures of reading and of the output.
pub(crate) fn run(context: &Context, args: &DumpArgs) -> Result<()> {
    let vfs = files::reading(&context.store);
    let mut found = false;
    write_text(&context.out, |out| {
        found = dump(&vfs, args.segment, out)?;
        Ok(())
    })?;
    if found { Ok(()) } else { context.not_found(&format!("no segment {}", args.segment)) }
}

/// Writes text for people: as it is, or a `line` unit for each line.
///
/// # Errors
/// Those of `work` and of the output.
pub(crate) fn write_text(out: &Output, work: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        text: Text<'a>,
    }
    if !out.is_json() {
        return work(&mut Plain(out));
    }
    let mut lines = Lines::new(|line: &[u8]| out.unit("line", &Line { text: Text(line) }));
    work(&mut lines)?;
    lines.finish()
}
