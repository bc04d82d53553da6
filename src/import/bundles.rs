//! Plain STIX bundles: each object becomes a snapshot of the one run that they are put into.
//!
//! An object is stored as OpenCTI's backup would have written it, `{"objects": [..]}` around its exact bytes, so that all that reads
//! snapshots reads it.

use std::io::Read;
use std::path::PathBuf;

use super::scan::{RunEntry, SUFFIX, file_name_of};
use super::stream::Pieces;
use super::{FileOutcome, reason};
use crate::error::{Error, Result};
use crate::limits::FILE_MAX_BYTES;
use crate::snapshot::bundle::{self, Ended};
use crate::vfs::Kind;
use crate::vfs::tree::{SourceDir, SourceFile, open_input};

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

/// Reads bundles to their end, object by object: of a file, however long, one object stands in memory beside the budget.
///
/// # Errors
/// Failures of reading, and of who takes the objects. A bad bundle is a report, and what stood in it before the defect counts.
pub(super) fn read(from: &Bundles, run: &RunEntry, pieces: &mut Pieces) -> Result<()> {
    match from {
        Bundles::One(path) => {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            let mut objects = Objects { file: name, run, pieces, count: 0 };
            match objects.take(open_input(path)?)? {
                Ended::Whole => Ok(()),
                Ended::Rejected(reject) => objects.refuse(reject.code, reject.detail),
                Ended::Unreadable(error) => Err(Error::io("read", "the bundle", error)),
            }
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
                let mut objects = Objects { file: name, run, pieces, count: 0 };
                match dir.open_file(&entry.name) {
                    Ok(file) => objects.take_file(file)?,
                    Err(error) => objects.refuse(reason::of_read(&error), error.to_string())?,
                }
            }
            Ok(())
        }
    }
}

/// The objects of a file.
struct Objects<'a> {
    file: &'a [u8],
    run: &'a RunEntry,
    pieces: &'a mut Pieces,
    /// Elements that were met so far.
    count: u64,
}

impl Objects<'_> {
    /// Takes those of a file of a folder, of which the others are read whatever is wrong with it.
    fn take_file(&mut self, mut file: SourceFile<'_>) -> Result<()> {
        let ended = self.take(&mut file)?;
        let changed = file.check_unchanged();
        match (ended, changed) {
            (Ended::Rejected(reject), Ok(())) => self.refuse(reject.code, reject.detail),
            (Ended::Unreadable(error), Ok(())) => {
                let error = Error::io("read", String::from_utf8_lossy(self.file).into_owned(), error);
                self.refuse(reason::of_read(&error), error.to_string())
            }
            (_, Err(error)) => self.refuse(reason::of_read(&error), error.to_string()),
            (Ended::Whole, Ok(())) => Ok(()),
        }
    }

    fn take(&mut self, input: impl Read) -> Result<Ended> {
        bundle::each_object(input, FILE_MAX_BYTES, &mut |text| self.object(text))
    }

    /// Says what is wrong with the file, and what of it was taken all the same.
    fn refuse(&mut self, code: &'static str, mut detail: String) -> Result<()> {
        if self.count > 0 {
            detail = format!("{detail}; the {} objects read before are taken", self.count);
        }
        self.pieces.report(FileOutcome::Rejected, vec![self.file.to_vec()], (code, detail))
    }

    fn object(&mut self, text: Box<str>) -> Result<()> {
        let number = self.count;
        self.count = number.saturating_add(1);
        let len = text.len().saturating_add(BEFORE.len()).saturating_add(AFTER.len());
        let room = self.pieces.room(u64::try_from(len).unwrap_or(u64::MAX))?;
        // In place, as it may be most of a gigabyte.
        let mut whole = text.into_string().into_bytes();
        whole.reserve_exact(len.saturating_sub(whole.len()));
        whole.splice(..0, BEFORE.iter().copied());
        whole.extend_from_slice(AFTER);
        // Its own warnings come when it is prepared.
        match bundle::parse(&whole).map(|bundle| bundle.objects.into_iter().next()) {
            Ok(Some(object)) => {
                self.pieces.run(self.run, None);
                self.pieces.file(file_name_of(&object.id), whole, None, room)
            }
            Ok(None) => Ok(()),
            Err(reject) => {
                let why = match reject.code {
                    "object_without_id" => "no string `id`".to_owned(),
                    _ => reject.detail,
                };
                let path = vec![self.file.to_vec(), format!("objects[{number}]").into_bytes()];
                self.pieces.report(FileOutcome::Rejected, path, (reject.code, why))
            }
        }
    }
}
