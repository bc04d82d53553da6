//! The `error` unit of the stream.

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;

use crate::error::Error;

use super::exit;
use super::output;
use super::text::Text;

/// An `error` unit of the stream.
#[derive(Serialize)]
pub(super) struct ErrorUnit<'a> {
    pub(super) fatal: bool,
    pub(super) code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) op: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seg: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) off: Option<u64>,
    pub(super) msg: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) detail_truncated: bool,
}

/// An `error` unit that is the answer to one of several ids.
#[derive(Serialize)]
pub(super) struct OfId<'a> {
    pub(super) id: Text<'a>,
    #[serde(flatten)]
    pub(super) unit: ErrorUnit<'a>,
}

/// The unit of an error, with its place.
pub(super) fn full_error<'a>(
    error: &'a Error,
    run: Option<&'a str>,
    fatal: bool,
    text: &'a str,
    path: &'a str,
) -> ErrorUnit<'a> {
    let (msg, detail_truncated) = output::clip(text);
    let mut unit = ErrorUnit { fatal, detail_truncated, ..plain_error(exit::error_code(error), run, msg) };
    if let Error::Damaged { place, .. } = error {
        unit.file = Some(&place.file);
        unit.seg = segment_of(&place.file);
        unit.off = place.offset;
    } else if let Error::Io { op, source, .. } = error {
        unit.file = Some(path);
        unit.op = Some(op);
        unit.errno = source.raw_os_error().and_then(errno);
    }
    unit
}

/// The file that the system refused.
pub(super) fn error_path(error: &Error) -> Cow<'_, str> {
    if let Error::Io { path, .. } = error { path.to_string_lossy() } else { Cow::Borrowed("") }
}

/// A unit of an error that has no place. A longer message is cut.
pub(super) fn plain_error<'a>(code: &'a str, run: Option<&'a str>, msg: &'a str) -> ErrorUnit<'a> {
    let fatal = false;
    let (msg, detail_truncated) = output::clip(msg);
    ErrorUnit {
        fatal,
        code,
        op: None,
        errno: None,
        run,
        file: None,
        seg: None,
        off: None,
        msg,
        detail_truncated,
    }
}

/// The segment's number from a path below the store's directory.
pub(crate) fn segment_of(file: &str) -> Option<u32> {
    let name = file.strip_prefix("data/")?;
    Path::new(name).file_stem()?.to_str()?.parse().ok()
}

/// Names of the usual errors of the system; these numbers are the same on Linux and macOS.
fn errno(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "EPERM",
        2 => "ENOENT",
        5 => "EIO",
        13 => "EACCES",
        20 => "ENOTDIR",
        21 => "EISDIR",
        23 => "ENFILE",
        24 => "EMFILE",
        28 => "ENOSPC",
        30 => "EROFS",
        32 => "EPIPE",
        _ => return None,
    })
}
