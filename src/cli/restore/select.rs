//! What a command line selects, as the library takes it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::id::{Instant, split_canonical};
use crate::restore::{Cursor, Filter, RestoreOptions, Sender};
use crate::store::{Store, View};
use crate::vfs::tree;

use super::super::args::RestoreArgs;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::lookup;
use super::super::text::show;

/// Largest file of ids, in bytes: some millions.
const IDS_MAX_BYTES: u64 = 256 << 20;

/// Makes the options of a restore out of the command line.
///
/// # Errors
/// `BadInput` for a run or a commit that the store does not have, and for a file of ids that is none; failures of
/// reading.
pub(super) fn options(
    context: &Context,
    args: &RestoreArgs,
    view: &View,
    cursor: Option<&Cursor>,
) -> Result<RestoreOptions> {
    let mut options = RestoreOptions {
        resolve: args.resolve.into(),
        order: args.order.into(),
        run: None,
        after: args.after.as_ref().map(|run| run.at),
        until: args.until.as_ref().map(|run| run.at),
        filter: Filter {
            types: args.types.iter().map(|kind| kind.as_bytes().to_vec()).collect(),
            ids: ids(context, args, view)?,
            changed_since: args.changed_since,
        },
        include_earlier: args.include_earlier,
        extension_refs: args.extension_refs,
        max_bundle_bytes: args.max_bundle_bytes,
        max_bundle_objects: args.max_bundle_objects,
        durable: false,
    };
    if let Some(run) = &args.run {
        let reason =
            || Error::BadInput { what: format!("run {}", run.name), reason: "is not in the store".into() };
        options.run = Some(lookup::run(view, run)?.ok_or_else(reason)?.key);
    }
    match (cursor, args.changed_since) {
        (Some(cursor), None) => options.after = cursor.at(),
        (Some(cursor), Some(_)) => options.until = Some(behind(cursor, args)?),
        (None, _) => {}
    }
    let newest = view.commit();
    if let Some(since) = args.changed_since.filter(|since| *since > newest) {
        let reason = format!("the newest commit of the store is {newest}");
        return Err(Error::BadInput { what: format!("commit {since}"), reason });
    }
    Ok(options)
}

/// Up to where a restore of what changed behind a cursor goes.
fn behind(cursor: &Cursor, args: &RestoreArgs) -> Result<Instant> {
    let bad = |reason| Err(Error::BadInput { what: "--changed-since with --cursor".to_owned(), reason });
    let Some(at) = cursor.at() else { return bad("the cursor stands before all runs".to_owned()) };
    if let (Some(known), Some(since)) = (cursor.commit(), args.changed_since)
        && since > known
    {
        return bad(format!(
            "what stands behind the cursor was restored as of commit {known}, so begin there"
        ));
    }
    Ok(args.until.as_ref().map_or(at, |run| run.at.min(at)))
}

/// The ids that are given, and those in files. One that the store does not hold is told of.
fn ids(context: &Context, args: &RestoreArgs, view: &View) -> Result<Option<BTreeSet<Vec<u8>>>> {
    if args.ids.is_empty() {
        return Ok(None);
    }
    let mut ids = BTreeSet::new();
    for given in &args.ids {
        match listed(given)? {
            Some(text) => {
                let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
                ids.extend(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
            }
            None => {
                ids.insert(given.as_encoded_bytes().to_vec());
            }
        }
    }
    for id in &ids {
        match view.latest(id) {
            Ok(None) => {
                // It may be a file of ids that is not where it was said to be.
                let is_given = args.ids.iter().any(|given| given.as_encoded_bytes() == id);
                let is_id = split_canonical(id).is_some();
                let file = if is_given && !is_id { ", and no file of that name" } else { "" };
                let text = format!("no snapshot of {}{file}", show(id));
                context.not_found_of(id, &text, Exit::Partial)?;
            }
            // A damaged one is told of when it is restored.
            Ok(Some(_)) | Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(ids))
}

/// What a file of ids holds. What looks like an id is one, even if a file has that name.
fn listed(given: &OsStr) -> Result<Option<Vec<u8>>> {
    if split_canonical(given.as_encoded_bytes()).is_some() {
        return Ok(None);
    }
    match tree::read_input(Path::new(given), IDS_MAX_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Who a directory bundle says it is from.
pub(super) fn sender(args: &RestoreArgs, store: &Store) -> Sender {
    let id = args.connector_id.clone();
    Sender {
        applicant_id: args.applicant_id.clone().unwrap_or_default(),
        connector_id: id.unwrap_or_else(|| uuid::Uuid::from_bytes(store.id().0).to_string()),
        connector_name: args.connector_name.clone(),
    }
}
