//! A backup tree that comes as a tar archive: `.../opencti_data/<run>/<name>.json`, or `<run>/<name>.json`.

use std::io::Read;

use super::scan::{RunEntry, SUFFIX};
use super::stream::Pieces;
use super::target::{Base, Digested, is_long};
use super::{FileOutcome, reason};
use crate::error::Result;
use crate::limits::FILE_MAX_BYTES;
use crate::snapshot::run;
use crate::vfs::tree::{ArchiveEntry, ArchiveKind, BegunArchive, read_archive};

/// The directory that holds the run directories.
const DATA_DIR: &[u8] = b"opencti_data";

/// Reads an archive to its end, into a store that held `base` when the import began.
///
/// # Errors
/// Failures of reading, and of who takes the files. What came before is with them.
pub(super) fn read(archive: BegunArchive, base: &impl Base, pieces: &mut Pieces) -> Result<()> {
    read_archive(archive, &mut |entry, body| take(entry, body, base, pieces))
}

fn take(entry: &ArchiveEntry, body: &mut dyn Read, base: &impl Base, pieces: &mut Pieces) -> Result<()> {
    let is_directory = entry.kind == ArchiveKind::Directory;
    let (parts, is_below_data) = below_data(&entry.path);
    let path: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let run = parts.first().and_then(|name| run_named(name));
    let (code, text) = match (parts.as_slice(), run) {
        // The folders above the runs, whatever their names.
        ([], _) => return Ok(()),
        (_, None) if is_directory && !is_below_data => return Ok(()),
        ([_], Some(run)) if is_directory => {
            pieces.run(&run, entry.mtime);
            return Ok(());
        }
        ([_], _) if !is_directory => (reason::NOT_A_DIRECTORY, "no directory"),
        (_, None) => (reason::NOT_A_DATE, "the name of its directory is no run's"),
        ([_, _], Some(_)) if is_directory => (reason::NOT_A_FILE, "a directory"),
        ([_, _], Some(_)) if entry.kind == ArchiveKind::Other => {
            (reason::NOT_A_FILE, "neither a file nor a link to one")
        }
        ([_, name], Some(_)) if !name.ends_with(SUFFIX) => {
            (reason::NOT_NAMED_JSON, "the name does not end in .json")
        }
        ([_, name], Some(run)) => {
            let name = name.strip_suffix(SUFFIX).unwrap_or(name);
            let look = || base.digest(name, base.run_key(run.at, &run.name)?, entry.len);
            return snapshot(entry, body, &run, path, &look, pieces);
        }
        _ => (reason::NOT_A_FILE, "not where a backup tree has its files"),
    };
    pieces.report(FileOutcome::Ignored, path, (code, text.to_owned()))
}

fn run_named(name: &[u8]) -> Option<RunEntry> {
    let text = std::str::from_utf8(name).ok()?;
    Some(RunEntry { at: run::parse(text)?, name: text.to_owned(), warning: None })
}

fn snapshot(
    entry: &ArchiveEntry,
    body: &mut dyn Read,
    run: &RunEntry,
    path: Vec<Vec<u8>>,
    look: &dyn Fn() -> Option<Digested>,
    pieces: &mut Pieces,
) -> Result<()> {
    let mut rejected = |code, detail: String| {
        let path = path.clone();
        pieces.report(FileOutcome::Rejected, path, (code, detail))
    };
    if entry.kind == ArchiveKind::Link {
        return rejected(reason::LINK, "a link; its content is not in this entry of the archive".to_owned());
    }
    if entry.len > FILE_MAX_BYTES {
        return rejected(reason::TOO_LARGE, format!("{} bytes, at most {FILE_MAX_BYTES}", entry.len));
    }
    let mut room = pieces.room(entry.len)?;
    room.stored = is_long(entry.len).then(look).flatten();
    let mut bytes = Vec::with_capacity(usize::try_from(entry.len).unwrap_or(0).min(1 << 20));
    let read = body.take(entry.len).read_to_end(&mut bytes);
    let failed = |error| crate::error::Error::io("read", "the archive", error);
    read.map_err(failed)?;
    if u64::try_from(bytes.len()) != Ok(entry.len) {
        return Err(failed(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it ends within a file")));
    }
    pieces.run(run, None);
    pieces.file(path.into_iter().nth(1).unwrap_or_default(), bytes, entry.mtime, room)
}

/// Splits a path, below the last `opencti_data` in it if there is one. A path that leads upwards has no parts.
fn below_data(path: &[u8]) -> (Vec<&[u8]>, bool) {
    let parts: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return (vec![path, b""], false);
    }
    match parts.iter().rposition(|part| *part == DATA_DIR) {
        Some(at) => (parts.into_iter().skip(at.saturating_add(1)).collect(), true),
        None => (parts, false),
    }
}
