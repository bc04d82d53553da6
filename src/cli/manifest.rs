//! `store manifest`: every live snapshot, in the order of the log.

use crate::error::Result;

use super::args::{LevelArg, ManifestArgs};
use super::context::Context;
use super::stream::{Task, Tell, scan};

/// Runs the command. It is a check that tells what is good: a snapshot whose bytes do not hold is a finding, not listed.
///
/// # Errors
/// `NoStore`, `UnsupportedVersion`, `BadInput` for a file that it cannot go on from, `Cancelled`, failures of the output.
/// Damage is noted, not an error.
pub(crate) fn run(context: &Context, args: &ManifestArgs) -> Result<()> {
    let task = Task {
        verb: "manifest",
        level: LevelArg::Crc,
        args: &args.scan,
        tell: Tell::Objects,
        record: None,
        max_age: None,
        judge: None,
        repairs: false,
    };
    let done = scan(context, &task)?;
    if done.wrong.is_any() {
        context.console.hint("`store check` shows all damage and what to do about it");
    }
    Ok(())
}
