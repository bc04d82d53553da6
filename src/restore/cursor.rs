//! A file that remembers how far restores have come.
//!
//! It holds what the restore-files connector keeps as its state, `{"current": "20240115T140000Z"}`, so that one can be
//! taken over from it, and besides the commit as of which the runs up to there were restored, and of which store.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::{CommitId, Instant, StoreId};
use crate::snapshot::run;
use crate::vfs::tree;

/// A cursor is some hundred bytes long.
const CURSOR_MAX_BYTES: u64 = 1 << 20;

/// How far restores have come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    path: PathBuf,
    current: Option<(String, Instant)>,
    commit: Option<CommitId>,
    store: Option<StoreId>,
}

#[derive(Serialize, Deserialize, Default)]
struct State {
    #[serde(default)]
    current: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<String>,
}

impl Cursor {
    /// Reads a cursor. An absent file is one that stands before all runs, and so is a state without a run.
    ///
    /// # Errors
    /// `BadInput` for what is no cursor; `Io`, `TooLarge`.
    pub fn load(path: &Path) -> Result<Cursor> {
        let none = || Cursor { path: path.to_path_buf(), current: None, commit: None, store: None };
        let bytes = match tree::read_input(path, CURSOR_MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(none()),
            Err(error) => return Err(error),
        };
        let bad = |reason| Error::BadInput { what: format!("cursor {}", path.display()), reason };
        let state: Option<State> = serde_json::from_slice(&bytes)
            .map_err(|error| bad(format!("not as a restore writes it, {{\"current\": RUN}}: {error}")))?;
        let State { current: Some(name), commit, store } = state.unwrap_or_default() else {
            return Ok(none());
        };
        let Some(at) = run::parse(&name) else {
            return Err(bad(format!(
                "{name:?} is not the name of a run directory, such as 20240115T140000Z"
            )));
        };
        let of_none = || bad("its \"store\" is not the id of a store".to_owned());
        let store = store.map(|text| StoreId::parse(&text).ok_or_else(of_none)).transpose()?;
        let (path, commit) = (path.to_path_buf(), commit.map(CommitId));
        Ok(Cursor { path, current: Some((name, at)), commit, store })
    }

    /// Says which store it is used with from now on, and the newest commit there. One that knows no store is taken over.
    ///
    /// # Errors
    /// `BadInput` if it was moved for another store, or for a later state of this one than is at hand: then its commit
    /// tells nothing of what changed behind it.
    pub fn bind(&mut self, store: StoreId, newest: CommitId) -> Result<()> {
        let reason = match (self.store, self.commit) {
            (Some(other), _) if other != store => {
                format!("it was moved for the store {other}, and this is {store}")
            }
            (_, Some(known)) if known > newest => {
                format!(
                    "it was moved as of commit {known}, and the newest one here is {newest}: an older copy of the store?"
                )
            }
            _ => {
                self.store = Some(store);
                return Ok(());
            }
        };
        let reason = format!(
            "{reason}. To go on from the run it names all the same, leave nothing in it but \"current\""
        );
        Err(Error::BadInput { what: format!("cursor {}", self.path.display()), reason })
    }

    /// Where it stands: only later runs are still to be restored.
    pub fn at(&self) -> Option<Instant> {
        self.current.as_ref().map(|(_, at)| *at)
    }

    /// The run it stands at.
    pub fn run(&self) -> Option<&str> {
        self.current.as_ref().map(|(name, _)| name.as_str())
    }

    /// The commit as of which everything up to there was restored, where that is known.
    pub fn commit(&self) -> Option<CommitId> {
        self.commit
    }

    /// Moves it to a run whose output is durable, restored from the state after `commit`. On return the file is on
    /// disk, replaced at once. It never moves back.
    ///
    /// # Errors
    /// `Io`; the file is then as it was, unless only the last sync failed.
    pub fn move_to(&mut self, name: &str, at: Instant, commit: CommitId) -> Result<()> {
        if self.at().is_some_and(|current| at <= current) {
            return Ok(());
        }
        // The runs before it may have been restored from an older state; then that one stays.
        let commit = if self.current.is_none() { Some(commit) } else { self.commit };
        self.write(Some((name.to_owned(), at)), commit)
    }

    /// Says that in the runs up to where it stands everything was restored that changed up to `commit`.
    ///
    /// # Errors
    /// As for [`move_to`](Cursor::move_to).
    pub fn catch_up(&mut self, commit: CommitId) -> Result<()> {
        self.write(self.current.clone(), Some(commit))
    }

    fn write(&mut self, current: Option<(String, Instant)>, commit: Option<CommitId>) -> Result<()> {
        let state = State {
            current: current.as_ref().map(|(name, _)| name.clone()),
            commit: commit.map(|it| it.0),
            store: self.store.map(|id| id.to_string()),
        };
        let mut text =
            serde_json::to_string(&state).map_err(|error| Error::io("encode", &self.path, error.into()))?;
        text.push('\n');
        let mut file = tree::create_file(&self.path)?;
        file.write_all(text.as_bytes()).map_err(|error| Error::io("write", &self.path, error))?;
        file.finish()?;
        (self.current, self.commit) = (current, commit);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Cursor> {
        let file = tempfile::NamedTempFile::new().unwrap();
        (&mut file.as_file()).write_all(text.as_bytes()).unwrap();
        Cursor::load(file.path())
    }

    #[test]
    fn e09_a_state_without_a_run_is_a_full_restore() {
        for text in ["null", "{}", r#"{"current": null}"#, r#"{"current": null, "commit": 5, "more": [1]}"#] {
            assert_eq!(load(text).unwrap().at(), None, "{text}");
        }
        let absent = Cursor::load(Path::new("/nowhere/at/all")).unwrap();
        assert_eq!((absent.at(), absent.commit()), (None, None));
    }

    #[test]
    fn e10_a_state_that_names_no_run_is_a_typed_error() {
        for text in [
            r#"{"current": "yesterday"}"#,
            r#"{"current": 5}"#,
            r#"{"current": "20240230T000000Z"}"#,
            "",
            "20240115T140000Z",
            r#"{"current": "20240115T14"#,
            "[]x",
        ] {
            assert!(matches!(load(text), Err(Error::BadInput { .. })), "{text}");
        }
    }

    #[test]
    fn a_cursor_moves_forward_only_and_keeps_the_oldest_commit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        let mut cursor = Cursor::load(&path).unwrap();
        cursor.bind(StoreId([7; 16]), CommitId(3)).unwrap();
        for (name, at, commit) in
            [("20240115T140000Z", 5, 3), ("20240115T150000Z", 9, 4), ("20240101T000000Z", 1, 7)]
        {
            cursor.move_to(name, Instant(at), CommitId(commit)).unwrap();
        }
        let read = Cursor::load(&path).unwrap();
        assert_eq!((read.run(), read.commit()), (Some("20240115T150000Z"), Some(CommitId(3))));
        cursor.catch_up(CommitId(8)).unwrap();
        let read = Cursor::load(&path).unwrap();
        assert_eq!((read.run(), read.commit()), (Some("20240115T150000Z"), Some(CommitId(8))));
        let text = tree::read_input(&path, 100).unwrap();
        let expect =
            format!("{{\"current\":\"20240115T150000Z\",\"commit\":8,\"store\":\"{}\"}}\n", "07".repeat(16));
        assert_eq!(String::from_utf8(text).unwrap(), expect);
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_state_of_the_connector_is_taken_over_and_knows_no_commit() {
        let mut cursor = load(r#"{"current": "20240115T140000Z"}"#).unwrap();
        let dir = tempfile::tempdir().unwrap();
        cursor.path = dir.path().join("cursor");
        cursor.move_to("20250115T140000Z", Instant(u64::MAX), CommitId(3)).unwrap();
        assert_eq!(cursor.commit(), None);
    }

    /// A cursor of another store was taken for one of this: it skipped this one's runs, and its commit, which was none of
    /// this store's, said what had changed.
    #[test]
    fn a_cursor_of_another_store_or_of_a_later_state_is_refused() {
        let mut old = load(r#"{"current": "20240115T140000Z", "commit": 5}"#).unwrap();
        assert!(matches!(old.bind(StoreId([7; 16]), CommitId(4)), Err(Error::BadInput { .. })));
        old.bind(StoreId([7; 16]), CommitId(5)).unwrap();
        let text =
            format!(r#"{{"current": "20240115T140000Z", "commit": 5, "store": "{}"}}"#, StoreId([7; 16]));
        assert!(matches!(
            load(&text).unwrap().bind(StoreId([8; 16]), CommitId(9)),
            Err(Error::BadInput { .. })
        ));
        load(&text).unwrap().bind(StoreId([7; 16]), CommitId(9)).unwrap();
        assert!(matches!(load(&text.replace("07", "0x")), Err(Error::BadInput { .. })));
    }
}
