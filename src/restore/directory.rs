//! Bundles as files in a directory, as the platform's own client library writes them (`OpenCTI-Platform/client-python`,
//! connector helper) and its `diode-import` connector reads them: by time of modification, each once, then deleted.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use crate::error::{Error, Result};
use crate::vfs::tree::{FileTime, NewFile, TargetDir};

/// Least distance of two files, in nanoseconds. Readers hold times as floating point numbers of seconds, which tell
/// times of today apart from about a quarter of this on.
const STEP_NANOS: u32 = 1_000;
const NANOS: u32 = 1_000_000_000;

/// Who the bundles are from. The reader registers a connector with this id and name.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// The user in whose name they are imported. Without one the reader deletes them unread.
    pub applicant_id: String,
    /// The connector's id.
    pub connector_id: String,
    /// Its name, with which the names of the files begin.
    pub connector_name: String,
}

/// Makes a file of each line that is written to it: a bundle in the envelope that the reader expects. Each stands under
/// its final name only when it is whole and durable, with a time of modification later than that of all before it.
/// Memory: none to speak of.
pub struct DirectoryBundles<'c> {
    directory: TargetDir,
    clock: &'c mut dyn FnMut() -> FileTime,
    last: FileTime,
    prefix: String,
    head: Vec<u8>,
    open: Option<NewFile>,
}

impl<'c> DirectoryBundles<'c> {
    /// Opens a directory, which is created if absent. `clock` tells seconds and nanoseconds since 1970.
    ///
    /// # Errors
    /// `BadInput` for a sender without an applicant or with a name that no file can have; `Io`.
    pub fn create(
        path: &Path,
        sender: &Sender,
        clock: &'c mut dyn FnMut() -> FileTime,
    ) -> Result<DirectoryBundles<'c>> {
        let bad = |what: &str, reason: &str| {
            Err(Error::BadInput { what: what.to_owned(), reason: reason.to_owned() })
        };
        if sender.applicant_id.is_empty() {
            return bad("applicant", "is empty, and the reader deletes such bundles unread");
        }
        let prefix = sender.connector_name.to_lowercase().replace(' ', "_");
        let is_odd = |c: char| c == '/' || c.is_control();
        if prefix.is_empty() || prefix.starts_with('.') || prefix.contains(is_odd) || prefix.len() > 200 {
            return bad("connector name", "does not fit the name of a file");
        }
        let directory = TargetDir::create(path)?;
        directory.sweep();
        let last = directory.newest_mtime()?.unwrap_or_default();
        let connector = json!({
            "id": sender.connector_id,
            "name": sender.connector_name,
            "type": "EXTERNAL_IMPORT",
            "scope": "restore",
            "auto": false,
            "validate_before_import": false,
        });
        let mut head = json!({
            "bundle_type": "DIRECTORY_BUNDLE",
            "applicant_id": sender.applicant_id,
            "connector": connector,
            "entities_types": null,
            "update": false,
        })
        .to_string();
        head.pop();
        head.push_str(",\"bundle\":");
        Ok(DirectoryBundles { directory, clock, last, prefix, head: head.into_bytes(), open: None })
    }

    /// A time later than all before.
    fn next(&mut self) -> FileTime {
        let now = (self.clock)();
        let least = match self.last.1.saturating_add(STEP_NANOS) {
            nanos if nanos < NANOS => (self.last.0, nanos),
            nanos => (self.last.0.saturating_add(1), nanos.saturating_sub(NANOS)),
        };
        self.last = now.max(least);
        self.last
    }

    fn begin(&mut self) -> Result<NewFile> {
        let (seconds, nanos) = self.next();
        let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
        let name = format!(
            "{}-{}-{seconds}.{nanos:09}.json",
            self.prefix,
            at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y%m%d-%H%M%S")
        );
        let mut file = self.directory.create_file(OsStr::new(&name))?;
        file.write(&self.head)?;
        Ok(file)
    }

    fn end(&mut self, mut file: NewFile) -> Result<()> {
        file.write(b"}")?;
        // The time when it appears: whoever has looked at the directory by then remembers an earlier one.
        let mtime = self.next();
        file.finish(mtime)
    }
}

impl Write for DirectoryBundles<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut file = match self.open.take() {
            Some(file) => file,
            None => self.begin().map_err(into_io)?,
        };
        let end = memchr::memchr(b'\n', bytes);
        let text = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        file.write(text).map_err(into_io)?;
        if end.is_some() {
            self.end(file).map_err(into_io)?;
        } else {
            self.open = Some(file);
        }
        Ok(text.len().saturating_add(usize::from(end.is_some())))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn into_io(error: Error) -> io::Error {
    if let Error::Io { source, .. } = error { source } else { io::Error::other(error) }
}
