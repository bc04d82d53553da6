//! Writes the backup tree again.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Damage, Error, Place, Result};
use crate::progress::Stop;
use crate::snapshot::codec::decode_run_meta;
use crate::store::{RunInfo, View};
use crate::vfs::tree::TargetDir;

use super::lookup::{Detail, Source, TreeFile};
use super::options::{Filter, RestoreOptions};
use super::report::{Event, Report, add, selected};
use super::stored::Stored;
use super::{RestoreEvent, RestoreSummary};

/// Writes the backup tree again, byte-identical, below `target/opencti_data`.
///
/// Each live snapshot becomes `<run>/<name>.json` with its modification time, each run a directory, also an
/// empty one. Of the options only the selection of runs, the filter and `durable` matter. Files are replaced one by one
/// (written beside, renamed); what else is in the target stays, but for what killed restores left half written. Cost: each body is decoded once; memory: one of them,
/// and 40 bytes for each snapshot of the run.
///
/// # Errors
/// `Io` when the target fails; `Cancelled` when stopped; those of `event`; whatever the store says except damage, which
/// is an event.
pub fn tree(
    view: &View,
    options: &RestoreOptions,
    target: &Path,
    event: &mut dyn FnMut(RestoreEvent<'_>) -> Result<()>,
    stop: &Stop,
) -> Result<RestoreSummary> {
    tree_from(&Stored::new(&view.without_maps(), Detail::default())?, options, target, event, stop)
}

pub(super) fn tree_from<S: Source>(
    source: &S,
    options: &RestoreOptions,
    target: &Path,
    event: &mut Event<'_>,
    stop: &Stop,
) -> Result<RestoreSummary> {
    let runs = selected(source.runs(), options);
    let mut report = Report::new(runs.clone(), event, stop);
    let root = TargetDir::create(target.join("opencti_data"))?;
    for info in runs {
        report.check()?;
        report.begin(info)?;
        match root.create_dir(OsStr::new(&info.name)) {
            Ok(directory) => {
                directory.sweep();
                write_run(source, (info, &options.filter), &directory, &mut report)?;
            }
            Err(Error::BadInput { reason, .. }) => {
                report.skipped(info.snapshots, b"", reason)?;
            }
            Err(error) => return Err(error),
        }
        if options.durable {
            root.sync()?;
        }
        report.end(info)?;
    }
    Ok(report.summary)
}

fn write_run<S: Source>(
    source: &S,
    (info, filter): (&RunInfo, &Filter),
    directory: &TargetDir,
    report: &mut Report<'_>,
) -> Result<()> {
    source.bodies(info.key, filter, &mut |file| {
        report.check()?;
        match file {
            Ok(file) => write_file(directory, &file, report),
            Err(error) => {
                report.damaged(error)?;
                report.done(1, 0)
            }
        }
    })?;
    if info.damage.is_some() {
        return Ok(());
    }
    // Last, because each file that is written changes it.
    match decode_run_meta(&info.meta) {
        Ok(mtime) => mtime.map_or(Ok(()), |mtime| directory.set_mtime(mtime)),
        Err(reason) => {
            let place = Place::whole(format!("the record of run {}", info.name));
            report.damaged(Error::damaged(place, Damage::Content { what: "run meta", reason }))
        }
    }
}

fn write_file(directory: &TargetDir, file: &TreeFile<'_>, report: &mut Report<'_>) -> Result<()> {
    let len = u64::try_from(file.bytes.len()).unwrap_or(u64::MAX);
    let name = [file.name, b".json"].concat();
    match directory.write_file(OsStr::from_bytes(&name), file.bytes, file.mtime) {
        Ok(()) => {
            add(&mut report.run.own, 1);
            add(&mut report.run.bytes, len);
        }
        Err(Error::BadInput { reason, .. }) => report.skipped(1, file.name, reason)?,
        Err(error) => return Err(error),
    }
    report.done(1, len)
}
