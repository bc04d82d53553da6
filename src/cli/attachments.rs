//! Attachments whose bytes a backup does not have, for a check that reads contents. Nothing is damaged then: the store has
//! what the backup had; but the platform refuses such an object.

use serde::Serialize;

use crate::error::Result;
use crate::snapshot::{Meta, attachment};
use crate::store::Snapshot;
use crate::store::check::Remark;

use super::context::Context;
use super::text::{Text, show};

#[derive(Serialize)]
struct AttachmentUnit<'a> {
    run: &'a str,
    id: Text<'a>,
    name: &'a str,
}

/// Finds those of a snapshot's objects. Cost: a search through the file; only an object with files is parsed again.
pub(crate) fn missing(snapshot: &Snapshot<'_>, body: &[u8]) -> Vec<Remark> {
    let Ok(meta) = Meta::decode(snapshot.meta(), snapshot.object_range()) else { return Vec::new() };
    let file = snapshot.name();
    let mut missing = Vec::new();
    for object in &meta.objects {
        let bounds = usize::try_from(object.range.start).ok().zip(usize::try_from(object.range.end).ok());
        let text = bounds.and_then(|(start, end)| body.get(start..end)).unwrap_or_default();
        let about = object.id.as_deref().unwrap_or(&file);
        let names = attachment::missing(text).into_iter();
        missing.extend(names.map(|text| Remark { about: about.to_vec(), text }));
    }
    missing
}

/// Tells of one.
///
/// # Errors
/// Those of the output.
pub(crate) fn tell(context: &Context, run: &str, remark: &Remark) -> Result<()> {
    let Remark { about, text: name } = remark;
    context.out.count("attachments", 1);
    if context.out.is_json() {
        return context.out.unit("attachment", &AttachmentUnit { run, id: Text(about), name });
    }
    let (run, id, name) = (show(run.as_bytes()), show(about), show(name.as_bytes()));
    context.out.line(&format!("attachment: {run}: {id} lacks the bytes of {name}"))
}
