//! `store check`: what is wrong with the store, where, and what to do next.

use crate::error::Result;
use crate::snapshot::{Meta, bundle};
use crate::store::check::Judgement;
use crate::store::{PutKind, Snapshot};

use super::args::CheckArgs;
use super::attachments;
use super::context::Context;
use super::repair;
use super::stream::{Scan, Task, Tell, scan};

/// Runs the command.
///
/// # Errors
/// `NoStore`, `UnsupportedVersion`, `BadInput` for a file that it cannot go on from or a record in the store, `Cancelled`,
/// failures of the output. Damage is noted, not an error; so is what cannot be read.
pub(crate) fn run(context: &Context, args: &CheckArgs) -> Result<()> {
    let task = Task {
        verb: "check",
        level: args.level,
        args: &args.scan,
        tell: if args.all { Tell::All } else { Tell::Findings },
        record: args.record.as_deref(),
        max_age: args.max_age,
        judge: Some(&content),
        repairs: args.repair,
    };
    let done = scan(context, &task)?;
    context.say(&done.sentence())?;
    if args.repair && done.damage() > 0 {
        return repair::after_check(context, &done.wrong.named_files);
    }
    tell(context, &done)
}

/// Says what it all means.
fn tell(context: &Context, done: &Scan) -> Result<()> {
    if done.damage() > 0 {
        done.wrong.advise(context)?;
    }
    let earlier = done.known_bad.saturating_sub(done.damage());
    if earlier > 0 {
        context.say(&format!("{earlier} damaged places that were found before are not read again yet"))?;
    }
    if let Some(go_on) = &done.go_on {
        context.say("the time is up: not all was checked")?;
        context.say(go_on)?;
    } else if done.known_bad == 0 {
        context.say("no damage found")?;
    }
    Ok(())
}

/// What there is to say of a snapshot's content.
fn content(snapshot: &Snapshot<'_>, body: &[u8]) -> Judgement {
    if snapshot.kind() != PutKind::Snapshot {
        return Judgement::default();
    }
    match judge(snapshot, body) {
        Ok(()) => Judgement { bad: None, remarks: attachments::missing(snapshot, body) },
        Err(reason) => Judgement { bad: Some(reason), remarks: Vec::new() },
    }
}

/// Parses a stored file again and holds the recorded positions against what is found.
fn judge(snapshot: &Snapshot<'_>, body: &[u8]) -> std::result::Result<(), String> {
    let recorded = Meta::decode(snapshot.meta(), snapshot.object_range())?;
    let parsed = bundle::parse(body).map_err(|reject| reject.to_string())?;
    let expect = Meta::of(&parsed, &snapshot.name(), recorded.mtime);
    if recorded.objects == expect.objects {
        return Ok(());
    }
    let place =
        recorded.objects.iter().zip(&expect.objects).position(|(recorded, expect)| recorded != expect);
    Err(match place {
        Some(place) => format!("object {place} is not as recorded: its id, place or references differ"),
        None => format!("{} objects recorded, {} found", recorded.objects.len(), expect.objects.len()),
    })
}
