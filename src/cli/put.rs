//! `store put`: one snapshot, acknowledged when it is durable.

use crate::error::{Error, Result};
use crate::import::{FileOutcome, settle_aliases};
use crate::snapshot::{Bundle, Meta, bundle, codec};
use crate::store::{Body, Outcome, Put, PutKind, Writer};

use super::args::PutArgs;
use super::context::Context;
use super::exit::Exit;
use super::import::{FileUnit, ReasonUnit, name as outcome_name};
use super::text::{Text, show, show_path};
use super::{files, lookup, values};

/// Runs the command.
///
/// # Errors
/// `BadInput` for an id that no file can have; `NoStore`, `Locked`, failures of the store.
pub(crate) fn run(context: &Context, args: &PutArgs) -> Result<()> {
    let id = values::file_stem(&args.id)?;
    let store = context.open_write()?;
    let path = lookup::path(&args.run.name, id);
    let bytes = match files::input(&args.file) {
        Ok(bytes) => bytes,
        Err(error @ Error::TooLarge { len, .. }) => {
            return rejected(context, &path, len, "too_large", &error.to_string());
        }
        Err(error) => return Err(error),
    };
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let bundle = match bundle::parse(&bytes) {
        Ok(bundle) => bundle,
        Err(reject) => return rejected(context, &path, len, reject.code, &reject.detail),
    };
    let mut writer = store.writer(context.writer_options())?;
    let outcome = match put(&mut writer, args, id, &bytes, &bundle) {
        Ok(outcome) => outcome,
        Err(Error::KeyCollision { name, other }) => {
            writer.rollback()?;
            let detail = format!("{name:?} has the same key as {other:?}, which the store holds");
            return rejected(context, &path, len, "key_collision", &detail);
        }
        Err(error @ Error::TooLarge { .. }) => {
            writer.rollback()?;
            return rejected(context, &path, len, "too_large", &error.to_string());
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
    let (run, _) = writer.put_run(args.run.at, &args.run.name, &codec::encode_run_meta(None))?;
    let had_others = match writer.view()?.record(id, run) {
        Ok(Some(stored)) if stored.kind() == PutKind::Snapshot => {
            lookup::meta(&stored).is_ok_and(|meta| has_others(&meta, id))
        }
        Ok(_) => false,
        // What is stored is damaged: the new state replaces it, whichever aliases that had.
        Err(error) if error.is_damage() => true,
        Err(error) => return Err(error),
    };
    let object = bundle.objects.first().map(|object| object.range.clone()).unwrap_or_default();
    let kind = PutKind::Snapshot;
    let outcome =
        writer.put(&Put { name: id, run, kind, meta: &meta.encode(), object, body: Body::Raw(bytes) })?;
    if had_others || has_others(&meta, id) {
        settle_aliases(writer, run)?;
    }
    Ok(outcome)
}

/// Tells whether a file holds ids other than its name.
fn has_others(meta: &Meta, name: &[u8]) -> bool {
    meta.objects.iter().filter_map(|object| object.id.as_ref()).any(|id| id != name)
}

fn rejected(context: &Context, path: &[Vec<u8>; 2], bytes: u64, code: &str, detail: &str) -> Result<()> {
    context.note(Exit::Partial);
    let shown = show_path(path.iter().map(Vec::as_slice));
    context.console.error(&format!("rejected {shown}: {code}: {detail}"));
    context.out.count("rejected", 1);
    context.out.unit(
        "file",
        &FileUnit {
            path: path.iter().map(|part| Text(part)).collect(),
            outcome: outcome_name(FileOutcome::Rejected),
            bytes,
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
