//! Reads one backup file: `{"objects": [{"id": ...}, ...]}`.
//!
//! What counts as an object and as a reference is what OpenCTI's `restore-files` connector takes for one
//! (`OpenCTI-Platform/connectors`, `external-import/restore-files`), read from its behaviour. Where a key
//! stands twice, the last one counts, as in a Python dict.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::IgnoredAny;

use super::{json, walk};
use crate::limits::{FILE_MAX_BYTES, JSON_DEPTH_MAX};

/// Where a reference stands in its object. Only top-level ones are followed unless a user asks for more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum RefClass {
    /// A top-level key that does not start with `x_`.
    Top,
    /// A top-level key that starts with `x_`.
    Custom,
    /// Anywhere below the top-level key `extensions`.
    Extension,
}

/// One object of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Where its JSON text lies in the file, braces included.
    pub range: Range<u32>,
    /// Its id, decoded.
    pub id: Vec<u8>,
    /// Where each reference id lies: the offset in the file of its opening quote, ascending within a class.
    pub refs: Vec<(RefClass, u32)>,
}

/// A good backup file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle {
    /// Its objects, in file order; at least one.
    pub objects: Vec<Object>,
    /// What a reader of the file may want to know, though it is accepted: a `_refs` that is a string. At most 8.
    pub warnings: Vec<String>,
}

/// Why a file is no snapshot.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Reject {
    /// A stable code for machines: `empty`, `not_utf8`, `bom`, `not_json`, `too_deep`, `no_objects`,
    /// `no_object`, `object_without_id`, `too_large`.
    pub code: &'static str,
    /// The reason with its place, for people.
    pub detail: String,
}

impl Reject {
    pub(super) fn new(code: &'static str, detail: impl fmt::Display) -> Reject {
        Reject { code, detail: detail.to_string() }
    }
}

/// Parses a file's bytes. Cost: one pass that validates and finds all; lists of references and nested parts
/// of extensions are read again.
///
/// # Errors
/// [`Reject`] when the file is no backup of an object.
pub fn parse(file: &[u8]) -> Result<Bundle, Reject> {
    walk::read(checked(file)?)
}

/// Checks what can be said of a file before it is read.
fn checked(file: &[u8]) -> Result<&str, Reject> {
    let text = text_of(file)?;
    if let Some(at) = json::control_character(file) {
        let plain = json::read_all(text, PhantomData::<IgnoredAny>).err();
        let detail =
            plain.map_or_else(|| format!("control character at byte {at}"), |error| error.to_string());
        return Err(Reject::new("not_json", detail));
    }
    if let Some(at) = json::too_deep(file, JSON_DEPTH_MAX) {
        let detail = format_args!("nested deeper than {JSON_DEPTH_MAX} levels at byte {at}");
        return Err(Reject::new("too_deep", detail));
    }
    Ok(text)
}

/// Decodes the JSON string whose opening quote lies at `offset` of a file that [`parse`] accepted:
/// a reference id at a recorded position. `None` if there is no whole string there.
///
/// Borrowed unless the string has escapes. Cost: one search for the closing quote.
pub fn string_at(file: &[u8], offset: u32) -> Option<Cow<'_, [u8]>> {
    json::string_at(file, usize::try_from(offset).ok()?)
}

/// Checks what can be said of a file before it is parsed.
fn text_of(file: &[u8]) -> Result<&str, Reject> {
    let len = u64::try_from(file.len()).unwrap_or(u64::MAX);
    if len > FILE_MAX_BYTES {
        return Err(Reject::new("too_large", format_args!("{len} bytes, at most {FILE_MAX_BYTES}")));
    }
    if file.is_empty() {
        return Err(Reject::new("empty", "the file has 0 bytes"));
    }
    if file.starts_with(b"\xef\xbb\xbf") {
        return Err(Reject::new("bom", "a byte order mark at byte 0"));
    }
    std::str::from_utf8(file).map_err(|error| {
        Reject::new("not_utf8", format_args!("invalid UTF-8 at byte {}", error.valid_up_to()))
    })
}

mod stream;

pub use self::stream::{Ended, each_object};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
