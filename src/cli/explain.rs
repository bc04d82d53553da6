//! `store explain`: why an object is in the bundles of a restore.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::restore::{self, Explanation, MissingState, RestoreEvent, RestoreOptions, Role};

use super::args::ExplainArgs;
use super::context::Context;
use super::lookup;
use super::text::{Text, show};

#[derive(Serialize)]
struct WhyUnit<'a> {
    run: &'a str,
    why: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    chain: Vec<Text<'a>>,
}

/// Runs the command.
///
/// # Errors
/// `NoStore`, `BadInput` for a run that the store does not have, failures of reading and of the output.
pub(crate) fn run(context: &Context, args: &ExplainArgs) -> Result<()> {
    let id = args.id.as_encoded_bytes();
    let stop = context.stop()?;
    let store = context.open_read()?;
    let view = store.view();
    let mut options = RestoreOptions {
        resolve: args.resolve.into(),
        after: args.after.as_ref().map(|run| run.at),
        until: args.until.as_ref().map(|run| run.at),
        include_earlier: args.include_earlier,
        extension_refs: args.extension_refs,
        ..RestoreOptions::default()
    };
    let mut wanted = None;
    if let Some(run) = &args.run {
        let reason =
            || Error::BadInput { what: format!("run {}", run.name), reason: "is not in the store".into() };
        let found = lookup::run(&view, run)?.ok_or_else(reason)?;
        // The runs before it decide what is carried ahead of it.
        options.until = Some(found.key.instant());
        wanted = Some(found.name);
    }
    let mut count = 0u64;
    let mut each = |found: Explanation| {
        if wanted.as_ref().is_some_and(|wanted| *wanted != found.run) {
            return Ok(());
        }
        count = count.saturating_add(1);
        tell(context, &found)
    };
    let mut event = |event: RestoreEvent<'_>| match event {
        RestoreEvent::Damaged { run, error } => context.report(error, Some(run)),
        RestoreEvent::Progress(_)
        | RestoreEvent::Run { .. }
        | RestoreEvent::Broken { .. }
        | RestoreEvent::Decided { .. }
        | RestoreEvent::Done(_)
        | RestoreEvent::Skipped { .. } => Ok(()),
    };
    restore::explain(&view, &options, id, &mut each, &mut event, &stop)?;
    context.out.count("runs", count);
    if count == 0 {
        return context
            .not_found(&format!("{} is in no bundle, and no object of one refers to it", show(id)));
    }
    Ok(())
}

fn tell(context: &Context, found: &Explanation) -> Result<()> {
    let (why, from) = match &found.role {
        Role::Own => ("own", None),
        Role::Carried => ("carried", None),
        Role::Resolved { from } => ("resolved", Some(from.as_str())),
        Role::Missing(MissingState::Earlier) => ("earlier", None),
        Role::Missing(MissingState::Absent) => ("absent", None),
    };
    if context.out.is_json() {
        let chain = found.chain.iter().map(|id| Text(id)).collect();
        return context.out.unit("why", &WhyUnit { run: &found.run, why, from, chain });
    }
    let chain: Vec<String> = found.chain.iter().map(|id| show(id)).collect();
    let text = match &found.role {
        Role::Own => "an object of the run".to_owned(),
        Role::Carried => {
            "an object of the run, emitted already with an earlier one that refers to it".to_owned()
        }
        Role::Resolved { from } => format!("from {}: {}", show(from.as_bytes()), chain.join(" -> ")),
        Role::Missing(MissingState::Earlier) => {
            format!("not in it, as only runs not later hold it: {}", chain.join(" -> "))
        }
        Role::Missing(MissingState::Absent) => {
            format!("not in it, as the store does not hold it: {}", chain.join(" -> "))
        }
    };
    context.out.line(&format!("{}\t{text}", show(found.run.as_bytes())))
}
