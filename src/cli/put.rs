//! `store put`: one snapshot, acknowledged when it is durable.

use crate::error::{Error, Result};
use crate::import::FileOutcome;
use crate::snapshot::{Bundle, Meta, bundle, codec};
use crate::store::{Body, Outcome, Put, PutKind, Writer};

use super::args::PutArgs;
use super::context::Context;
use super::exit::Exit;
use super::import::{FileUnit, ReasonUnit, name as outcome_name};
use super::text::{Text, show, show_path};
use super::{alias, files, lookup, values};

/// Runs the command.
///
/// # Errors
/// `BadInput` for an id that no file can have; `NoStore`, `Locked`, failures of the store.
pub(crate) fn run(context: &Context, args: &PutArgs) -> Result<()> {
    let id = values::file_stem(&args.id)?;
    let store = context.open_write()?;
    let bytes = files::input(&args.file)?;
    let path = lookup::path(&args.run.name, id);
    let bundle = match bundle::parse(&bytes) {
        Ok(bundle) => bundle,
        Err(reject) => return rejected(context, &path, &bytes, reject.code, &reject.detail),
    };
    let mut writer = store.writer(context.writer_options())?;
    let outcome = match put(&mut writer, args, id, &bytes, &bundle) {
        Ok(outcome) => outcome,
        Err(Error::KeyCollision { name, other }) => {
            writer.rollback()?;
            let detail = format!("{name:?} has the same key as {other:?}, which the store holds");
            return rejected(context, &path, &bytes, "key_collision", &detail);
        }
        Err(error) => return Err(error),
    };
    let wrote = writer.pending() > 0;
    let commit = writer.commit()?;
    tell(context, &path, &bytes, outcome, wrote.then_some(commit.0), &bundle.warnings)?;
    writer.close()
}

fn put(writer: &mut Writer, args: &PutArgs, id: &[u8], bytes: &[u8], bundle: &Bundle) -> Result<Outcome> {
    let meta = Meta::of(bundle, id, None);
    let ids = alias::other_ids(&meta, id);
    let (run, _) = writer.put_run(args.run.at, &args.run.name, &codec::encode_run_meta(None))?;
    let view = writer.view()?;
    // What is stored may be damaged: then the new state replaces it, and its aliases cannot be told.
    if let Some(stored) = view.record(id, run).ok().flatten()
        && stored.kind() == PutKind::Snapshot
    {
        alias::drop_stale(writer, &stored, &view, &ids)?;
    }
    let object = bundle.objects.first().map(|object| object.range.clone()).unwrap_or_default();
    let kind = PutKind::Snapshot;
    let outcome =
        writer.put(&Put { name: id, run, kind, meta: &meta.encode(), object, body: Body::Raw(bytes) })?;
    alias::put(writer, id, run, &ids)?;
    Ok(outcome)
}

fn rejected(context: &Context, path: &[Vec<u8>; 2], bytes: &[u8], code: &str, detail: &str) -> Result<()> {
    context.note(Exit::Partial);
    let shown = show_path(path.iter().map(Vec::as_slice));
    context.console.error(&format!("rejected {shown}: {code}: {detail}"));
    context.out.count("rejected", 1);
    context.out.unit(
        "file",
        &FileUnit {
            path: path.iter().map(|part| Text(part)).collect(),
            outcome: outcome_name(FileOutcome::Rejected),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            txn: None,
            error: Some(ReasonUnit { code, msg: detail }),
            warnings: &[],
            dry_run: false,
        },
    )
}

fn tell(
    context: &Context,
    path: &[Vec<u8>; 2],
    bytes: &[u8],
    outcome: Outcome,
    txn: Option<u64>,
    warnings: &[String],
) -> Result<()> {
    let outcome = match outcome {
        Outcome::Added => "added",
        Outcome::Updated => "updated",
        Outcome::Unchanged => "unchanged",
    };
    let shown = show_path(path.iter().map(Vec::as_slice));
    for warning in warnings {
        context.console.warn(&format!("{shown}: {}", show(warning.as_bytes())));
    }
    context.out.count(outcome, 1);
    if context.out.is_json() {
        let path = path.iter().map(|part| Text(part)).collect();
        let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        return context
            .out
            .unit("file", &FileUnit { path, outcome, bytes, txn, error: None, warnings, dry_run: false });
    }
    match txn {
        Some(txn) => context.say(&format!("{outcome} {shown} in commit {txn}")),
        None => context.say(&format!("{outcome} {shown}")),
    }
}
