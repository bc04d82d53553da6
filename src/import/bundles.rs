//! Plain STIX bundles: each object becomes a snapshot of the one run that they are put into.
//!
//! An object is stored as OpenCTI's backup would have written it, `{"objects": [..]}` around its exact bytes, so that all that reads
//! snapshots reads it.

use std::path::PathBuf;

use super::scan::{RunEntry, SUFFIX, file_name_of};
use super::stream::Pieces;
use super::{FileOutcome, reason};
use crate::error::{Error, Result};
use crate::limits::FILE_MAX_BYTES;
use crate::snapshot::bundle;
use crate::vfs::Kind;
use crate::vfs::tree::{Input, SourceDir, open_input};

const BEFORE: &[u8] = b"{\"type\": \"bundle\", \"objects\": [";
const AFTER: &[u8] = b"]}";

/// Where bundles are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bundles {
    /// In a file, or `-`.
    One(PathBuf),
    /// In the files of a folder that are named `*.json`, by name.
    Folder(PathBuf),
}

/// Reads bundles to their end, each whole: a file of at most [`FILE_MAX_BYTES`] stands in memory beside the budget.
///
/// # Errors
/// Failures of reading, and of who takes the objects. A bad bundle is a report.
pub(super) fn read(from: &Bundles, run: &RunEntry, pieces: &mut Pieces) -> Result<()> {
    let mut bytes = Vec::new();
    match from {
        Bundles::One(path) => {
            read_all(open_input(path)?, &mut bytes)?;
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            take(name, &bytes, run, pieces)
        }
        Bundles::Folder(path) => {
            let dir = SourceDir::open(path)?;
            for entry in dir.list()? {
                let name = entry.name.as_encoded_bytes();
                if entry.kind != Kind::File || !name.ends_with(SUFFIX) {
                    let why = (reason::NOT_NAMED_JSON, "no file whose name ends in .json".to_owned());
                    pieces.report(FileOutcome::Ignored, vec![name.to_vec()], why)?;
                    continue;
                }
                match dir.read_file(&entry.name, &mut bytes, FILE_MAX_BYTES) {
                    Ok(_) => take(name, &bytes, run, pieces)?,
                    Err(error) => {
                        let why = (reason::of_read(&error), error.to_string());
                        pieces.report(FileOutcome::Rejected, vec![name.to_vec()], why)?;
                    }
                }
            }
            Ok(())
        }
    }
}

fn read_all(input: Input, bytes: &mut Vec<u8>) -> Result<()> {
    use std::io::Read as _;
    let read = input.take(FILE_MAX_BYTES.saturating_add(1)).read_to_end(bytes);
    read.map_err(|error| Error::io("read", "the bundle", error))?;
    match u64::try_from(bytes.len()) {
        Ok(len) if len <= FILE_MAX_BYTES => Ok(()),
        len => Err(Error::TooLarge { what: "bundle", len: len.unwrap_or(u64::MAX), max: FILE_MAX_BYTES }),
    }
}

fn take(file: &[u8], bytes: &[u8], run: &RunEntry, pieces: &mut Pieces) -> Result<()> {
    let elements = match bundle::elements(bytes) {
        Ok(elements) => elements,
        Err(reject) => {
            return pieces.report(FileOutcome::Rejected, vec![file.to_vec()], (reject.code, reject.detail));
        }
    };
    for (number, range) in elements.into_iter().enumerate() {
        let at = range.start;
        let own = bytes.get(range).unwrap_or_default();
        let len = own.len().saturating_add(BEFORE.len()).saturating_add(AFTER.len());
        let room = pieces.room(u64::try_from(len).unwrap_or(u64::MAX))?;
        let whole = [BEFORE, own, AFTER].concat();
        // Its own warnings come when it is prepared.
        match bundle::parse(&whole).map(|bundle| bundle.objects.into_iter().next()) {
            Ok(Some(object)) => {
                pieces.run(run, None);
                pieces.file(file_name_of(&object.id), whole, None, room)?;
            }
            Ok(None) => {}
            Err(reject) => {
                let why = match reject.code {
                    "object_without_id" => "no string `id`".to_owned(),
                    _ => reject.detail,
                };
                let path = vec![file.to_vec(), format!("objects[{number}]").into_bytes()];
                pieces.report(FileOutcome::Rejected, path, (reject.code, format!("{why}, at byte {at}")))?;
            }
        }
    }
    Ok(())
}
