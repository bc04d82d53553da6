//! Floor 0: what can go wrong, by meaning. "Absent" is not an error: it is `Ok(None)`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::id::{CommitId, SegmentId, StoreId};

/// The result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "sync", ...
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes on disk are not what was written. Run `store check`.
    #[error("{place}: {damage}")]
    Damaged {
        /// Which file, and where in it.
        place: Place,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The file is from a newer version of this program; it is not damaged.
    #[error("{} has format version {found}, this program reads {supported}", path.display())]
    UnsupportedVersion {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version this program reads.
        supported: u32,
    },
    /// There is no store at the path.
    #[error("there is no store at {}", path.display())]
    NoStore {
        /// The path.
        path: PathBuf,
    },
    /// There is something at the path already.
    #[error("{} exists already", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// Another process is writing.
    #[error("{} is being written by {holder}", path.display())]
    Locked {
        /// The store.
        path: PathBuf,
        /// Who holds the lock, as that process wrote it down.
        holder: String,
    },
    /// Something is larger than the format or a limit allows.
    #[error("{what} is too large: {len}, at most {max}")]
    TooLarge {
        /// What was measured.
        what: &'static str,
        /// Its size, in bytes unless `what` says otherwise.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// The caller's input cannot be used.
    #[error("{what}: {reason}")]
    BadInput {
        /// Which input.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A state of the past that nobody can tell any more.
    #[error(
        "the state after commit {commit} is not known any more: commit {by} removed records that it may have had"
    )]
    CompactedAway {
        /// The commit that was asked for.
        commit: CommitId,
        /// The first later commit of a compaction or a repair.
        by: CommitId,
    },
    /// Two different names have the same key. The second one is refused.
    #[error("{name:?} has the same key as {other:?}, which the store holds")]
    KeyCollision {
        /// The name that is refused.
        name: String,
        /// The name that was there.
        other: String,
    },
    /// An earlier write of this handle failed. Open the store again: what was acknowledged is there.
    #[error("an earlier write failed ({reason}); open the store again")]
    Poisoned {
        /// The failure that poisoned the writer.
        reason: String,
    },
    /// The store cannot be written in its present state.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// Why.
        reason: String,
    },
    /// The caller's stop flag was raised.
    #[error("stopped on request")]
    Cancelled,
}

impl Error {
    /// Wraps an error of the operating system.
    pub fn io(op: &'static str, path: impl AsRef<Path>, source: io::Error) -> Error {
        Error::Io { op, path: path.as_ref().to_path_buf(), source }
    }

    /// Says that bytes on disk are wrong.
    pub fn damaged(place: Place, damage: Damage) -> Error {
        Error::Damaged { place, damage }
    }

    /// Returns an error that says the same, for one that was told and must end the work too.
    pub(crate) fn again(&self) -> Error {
        let Error::Io { op, path, source } = self else {
            return Error::io("read", "", io::Error::other(self.to_string()));
        };
        let number = source.raw_os_error();
        let other = || io::Error::other(source.to_string());
        Error::Io { op, path: path.clone(), source: number.map_or_else(other, io::Error::from_raw_os_error) }
    }

    /// Tells whether the error is about bytes on disk, so that `check` and `repair` are the remedy.
    pub fn is_damage(&self) -> bool {
        matches!(self, Error::Damaged { .. })
    }
}

/// A file of the store and, where known, a byte offset in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file's path below the store's directory.
    pub file: String,
    /// Bytes from its start.
    pub offset: Option<u64>,
}

impl Place {
    /// A place in a file.
    pub fn at(file: impl Into<String>, offset: u64) -> Place {
        Place { file: file.into(), offset: Some(offset) }
    }

    /// A file as a whole.
    pub fn whole(file: impl Into<String>) -> Place {
        Place { file: file.into(), offset: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{} at {offset}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// What is wrong with bytes on disk. `check` reports these and `repair` matches on them.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file does not start as its kind of file does.
    #[error("wrong magic bytes")]
    Magic,
    /// A checksum does not match.
    #[error("{what} checksum: stored {expect:08x}, computed {actual:08x}")]
    Checksum {
        /// Which checksum.
        what: &'static str,
        /// The stored one.
        expect: u32,
        /// The one computed from the bytes.
        actual: u32,
    },
    /// A field has a value that no writer writes.
    #[error("{what} is {value}, which is not possible here")]
    Field {
        /// Which field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// The file ends too early.
    #[error("the file ends after {actual} bytes, expected {expect}")]
    Truncated {
        /// How long it must at least be.
        expect: u64,
        /// How long it is.
        actual: u64,
    },
    /// A file that must be there is not.
    #[error("the file is missing")]
    Missing,
    /// The operating system refuses to read the bytes: whether they are wrong is not known.
    #[error("cannot {op}: {reason}")]
    Unreadable {
        /// What was tried: "read", "open".
        op: &'static str,
        /// The system's number for it.
        errno: Option<i32>,
        /// What the system said.
        reason: String,
    },
    /// A record that the index knows as live is not in its place.
    #[error("the record is gone")]
    Gone,
    /// A file of another store.
    #[error("belongs to store {actual}, not {expect}")]
    Foreign {
        /// This store.
        expect: StoreId,
        /// The store that the file names.
        actual: StoreId,
    },
    /// A segment file under the wrong name.
    #[error("holds segment {actual}, named {expect}")]
    Misplaced {
        /// The number in the file's name.
        expect: SegmentId,
        /// The number in its header.
        actual: SegmentId,
    },
    /// A transaction whose records do not match its COMMIT.
    #[error("transaction {commit}: {what}")]
    Transaction {
        /// Its number.
        commit: CommitId,
        /// What does not match.
        what: &'static str,
    },
    /// A COMMIT that does not follow the one before it.
    #[error("commit {commit} does not follow the commit before it")]
    Chain {
        /// Its number.
        commit: CommitId,
    },
    /// Bytes at the end that belong to no transaction although they were acknowledged.
    #[error("the COMMIT of acknowledged transaction {commit} is damaged or missing")]
    CommitLost {
        /// The number of the transaction.
        commit: CommitId,
    },
    /// Something beside the log, an index file or hints, is of a commit that the log ends before.
    #[error("acknowledged transaction {commit} is not in the log any more")]
    CommitGone {
        /// The number of the transaction.
        commit: CommitId,
    },
    /// A record's content does not decode.
    #[error("{what} does not decode: {reason}")]
    Content {
        /// Which part.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The index and the log disagree.
    #[error("the index disagrees with the log: {what}")]
    Index {
        /// About what.
        what: &'static str,
    },
    /// The record found is another one than the key asked for.
    #[error("holds another record than the index says")]
    WrongRecord,
    /// The dictionary needed to decompress is nowhere to be found.
    #[error("needs dictionary {id}, of which no intact copy exists")]
    Dictionary {
        /// The dictionary's id.
        id: String,
    },
}
