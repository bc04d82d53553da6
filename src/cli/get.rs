//! `store get`: the bytes of one object, or of its file, with nothing added.

use serde_json::value::RawValue;

use crate::error::Result;
use crate::id::Instant;
use crate::store::Snapshot;

use super::args::GetArgs;
use super::context::Context;
use super::lookup::{self, RunNames, SnapshotUnit};
use super::text::{Text, one_line, show};

/// Runs the command.
///
/// # Errors
/// `NoStore`, `Damaged`, failures of reading and of the output. Nothing found is noted, not an error.
pub(crate) fn run(context: &Context, args: &GetArgs) -> Result<()> {
    let id = args.id.as_encoded_bytes();
    let store = context.open_read()?;
    let view = store.view();
    let (found, when) = match (&args.run, &args.at, &args.after) {
        (Some(run), _, _) => match lookup::run(&view, run)? {
            None => return context.not_found(&format!("no run {}", run.name)),
            Some(known) => (view.get(id, known.key)?, format!(" in run {}", run.name)),
        },
        (_, Some(run), _) => (view.at_or_before(id, run.at)?, format!(" at or before {}", run.name)),
        (_, _, Some(run)) => (view.closest_after(id, run.at)?, format!(" after {}", run.name)),
        (None, None, None) => (view.latest(id)?, String::new()),
    };
    let Some(snapshot) = found else {
        let until = if args.run.is_some() || args.after.is_some() { None } else { Some(args.at.as_ref()) };
        let lost = until.map(|at| view.lost(id, at.map_or(Instant::MAX, |run| run.at))).transpose()?;
        if let Some(run) = lost.flatten() {
            let run = RunNames::default().of(Some(&view), run).to_owned();
            return context
                .not_found(&format!("the newest snapshot of {}{when} was lost in run {run}", show(id)));
        }
        return context.not_found(&format!("no snapshot of {}{when}", show(id)));
    };
    let body = snapshot.body()?;
    let wanted = if args.raw { &*body } else { lookup::object(&snapshot, id, &body)? };
    if !context.out.is_json() {
        return context.out.write(wanted);
    }
    let mut names = RunNames::default();
    let path = lookup::path(names.of(Some(&view), snapshot.run()), &snapshot.name());
    unit(context, &snapshot, id, &path, wanted)
}

fn unit(
    context: &Context,
    snapshot: &Snapshot<'_>,
    id: &[u8],
    path: &[Vec<u8>; 2],
    wanted: &[u8],
) -> Result<()> {
    #[derive(serde::Serialize)]
    struct WithContent<'a> {
        #[serde(flatten)]
        head: SnapshotUnit<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content_bytes: Option<Text<'a>>,
    }
    let head = SnapshotUnit::of(snapshot, id, path);
    let json = String::from_utf8(one_line(wanted)).ok().and_then(|text| RawValue::from_string(text).ok());
    // Import takes nothing but JSON, yet a library user may have put what he likes.
    let content_bytes = json.is_none().then_some(Text(wanted));
    context.out.count("snapshots", 1);
    context.out.unit("snapshot", &WithContent { head, content: json, content_bytes })
}
