//! Commits to a damaged store: it works, or it refuses with an error that has a name; and nothing that was not
//! damaged is lost by it.

use std::sync::Arc;

use stix_store::format::put::PutKind;
use stix_store::store::check::{Finding, Severity};
use stix_store::vfs::mem::Mem;
use stix_store::{Body, Instant, Put, Result, RunKey, Store, WriterOptions};

use super::images::Image;
use super::judge::{Tally, findings};
use super::lookups::Asked;

const NAME: &[u8] = b"malware--ffffffff-0000-4000-8000-000000000000";
const BODY: &[u8] = b"{\"type\": \"bundle\", \"objects\": [{\"id\": \"new\"}]}";
/// A run of its own, so that the answers of the others stay what they were.
pub(crate) const AT: Instant = Instant(63_850_000_000);

pub(crate) fn judge(
    image: &Image<'_>,
    before: &[Finding],
    tally: &mut Tally,
) -> std::result::Result<(), String> {
    let mem = image.mem.snapshot_all();
    tally.written += 1;
    let written = write(&mem);
    if written.is_err() {
        tally.refused += 1;
    }
    let store = Store::open_read_only_on(Arc::new(mem.clone()))
        .map_err(|error| format!("after a commit, does not open: {error}"))?;
    let view = store.view();
    if let Ok(run) = written {
        let got = view.get(NAME, run).map_err(|error| format!("what was just committed: {error}"))?;
        let body = got.as_ref().map(|snapshot| snapshot.body().map(std::borrow::Cow::into_owned));
        if !matches!(&body, Some(Ok(body)) if body == BODY) {
            return Err(format!("what was just committed is gone: {body:?}"));
        }
    }
    let touched = image.touched.clone();
    let after = Image { mem, touched, added: Vec::new(), label: String::new(), ..*image };
    Asked::all(&after, &view).map_err(|reason| format!("after a commit ({written:?}): {reason}"))?;
    let found = findings(&after.mem)?;
    // Damage in the log stays known: writing heals the caches only.
    for old in
        before.iter().filter(|one| one.severity == Severity::Damage && one.place.file.starts_with("data/"))
    {
        if !found.iter().any(|new| new.severity == Severity::Damage && new.place.file == old.place.file) {
            return Err(format!("a commit ({written:?}) hides {}: {}", old.place, old.detail));
        }
    }
    Ok(())
}

fn write(mem: &Mem) -> Result<RunKey> {
    let store = Store::open_on(Arc::new(mem.clone()))?;
    let mut writer = store.writer(&WriterOptions::default())?;
    let (run, _) = writer.put_run(AT, &AT.canonical_name(), b"")?;
    let object = 0..u32::try_from(BODY.len()).unwrap_or(0);
    let put = Put { name: NAME, run, kind: PutKind::Snapshot, meta: b"", object, body: Body::Raw(BODY) };
    writer.put(&put)?;
    writer.commit()?;
    writer.close()?;
    Ok(run)
}
