//! The stable codes that say why an entry of the tree was ignored or rejected; those of a file's content
//! are [`Reject`](crate::snapshot::Reject)'s.

use std::io::ErrorKind;

use crate::error::Error;

/// Beside the run directories, and no directory.
pub(super) const NOT_A_DIRECTORY: &str = "not_a_directory";
/// A directory whose name is no run's.
pub(super) const NOT_A_DATE: &str = "not_a_date";
/// In a run directory, and no file.
pub(super) const NOT_A_FILE: &str = "not_a_file";
/// A file that is not named as snapshots are.
pub(super) const NOT_NAMED_JSON: &str = "not_named_json";
/// A link in an archive.
pub(super) const LINK: &str = "link";
/// The system refuses to read it.
pub(super) const UNREADABLE: &str = "unreadable";
/// It went away between listing and reading.
pub(super) const VANISHED: &str = "vanished";
/// It keeps changing while it is read.
pub(super) const UNSTABLE: &str = "unstable";
/// It is larger than a record can be.
pub(super) const TOO_LARGE: &str = "too_large";
/// The store cannot take its name.
pub(super) const BAD_NAME: &str = "bad_name";
/// Its name is longer than a record's can be.
pub(super) const NAME_TOO_LONG: &str = "name_too_long";
/// Its name's key is another name's already.
pub(super) const KEY_COLLISION: &str = "key_collision";

/// Returns the code for a failure to read from the source.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever it is, the file was not read")]
pub(super) fn of_read(error: &Error) -> &'static str {
    match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => VANISHED,
        Error::TooLarge { .. } => TOO_LARGE,
        // It was a file when it was listed, and is none now, or changes all the time.
        Error::BadInput { .. } => UNSTABLE,
        _ => UNREADABLE,
    }
}

/// Returns the code for a put that the store refuses because of the file; `None` for its own failures,
/// which end the import.
#[expect(clippy::wildcard_enum_match_arm, reason = "an error not known to be the file's ends the import")]
pub(super) fn of_put(error: &Error) -> Option<&'static str> {
    match error {
        Error::KeyCollision { .. } => Some(KEY_COLLISION),
        Error::TooLarge { .. } => Some(TOO_LARGE),
        Error::BadInput { .. } => Some(BAD_NAME),
        _ => None,
    }
}
