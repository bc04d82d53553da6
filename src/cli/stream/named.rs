//! What a check's results name: for a repair of that, and of nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::id::{SegmentId, StoreId};
use crate::store::repair::RepairScope;

use super::super::context::segment_of;
use super::reader::{Unit, Units};

/// Most files beside segments that results may name; a store has a handful.
const FILES_MAX: usize = 4096;
/// Most segments that they may name: 64 TiB of the usual size.
const SEGMENTS_MAX: usize = 1 << 20;
/// Longest name of such a file that is taken, in bytes.
const NAME_MAX_BYTES: usize = 4096;

/// Segments and other files with damage in them, and the first state found of each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Named {
    /// Segments.
    pub(crate) segments: BTreeSet<SegmentId>,
    /// Other files.
    pub(crate) files: BTreeSet<String>,
    states: BTreeMap<String, &'static str>,
    /// Files that hold something whose bytes are as they were written, and that does not say what was noted about it. A
    /// repair, which is about bytes, finds nothing wrong with them.
    contents: BTreeSet<String>,
}

impl Named {
    /// Reads results. Holds what is named in memory, one line of the file, and nothing else.
    ///
    /// # Errors
    /// `BadInput` if the file is of another store, holds no results, or lacks its end and may not; `Io`.
    pub(crate) fn read(path: &Path, store: StoreId, may_lack_end: bool) -> Result<Named> {
        let mut units = Units::open(path)?;
        let refused =
            |reason: &str| Error::BadInput { what: path.display().to_string(), reason: reason.to_owned() };
        let store = store.to_string();
        let (mut named, mut has_results) = (Named::default(), false);
        while let Some(unit) = units.next()? {
            if unit.r#type == "begin" {
                if unit.store.as_ref() != Some(&store) {
                    return Err(refused("holds the results of another store"));
                }
                has_results |= unit.cmd.as_deref() == Some("check");
            }
            if !named.take(&unit) {
                return Err(units.refused("names more files than a store has"));
            }
        }
        if !has_results {
            return Err(refused("holds no results of a check"));
        }
        if !units.is_whole() && !may_lack_end {
            return Err(refused(
                "lacks its end, so the check may have found more; --allow-incomplete repairs what it names",
            ));
        }
        Ok(named)
    }

    /// Tells whether nothing is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Tells whether all that is wrong with a file may be what its bytes say.
    pub(crate) fn has_bad_content(&self, file: &str) -> bool {
        self.contents.contains(file)
    }

    /// Notes that a file was found in a state, with the code of the finding.
    pub(crate) fn add(&mut self, file: &str, state: &'static str, code: &str) {
        if code == "content" {
            self.contents.insert(file.to_owned());
        }
        match segment_of(file) {
            Some(segment) => self.segments.insert(SegmentId(segment)),
            None => self.files.insert(file.to_owned()),
        };
        self.states.entry(file.to_owned()).or_insert(state);
    }

    /// What a repair of that may touch.
    pub(crate) fn scope(&self) -> RepairScope {
        RepairScope { segments: self.segments.clone(), files: self.files.clone() }
    }

    /// The state in which a file was found.
    pub(crate) fn state(&self, file: &str) -> Option<&'static str> {
        self.states.get(file).copied()
    }

    /// The files, in the order of the results.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.states.iter().map(|(file, state)| (file.as_str(), *state))
    }

    fn take(&mut self, unit: &Unit) -> bool {
        let is_damage = unit.r#type == "result" && unit.severity.as_deref() == Some("damage");
        let Some(file) = unit.file.as_ref().filter(|_| is_damage) else { return true };
        self.add(file, known(unit.state.as_deref()), unit.code.as_deref().unwrap_or_default());
        self.files.len() <= FILES_MAX && self.segments.len() <= SEGMENTS_MAX && file.len() <= NAME_MAX_BYTES
    }
}

/// The states that damage has.
fn known(state: Option<&str>) -> &'static str {
    let states = ["missing", "truncated", "unreadable", "index_mismatch"];
    states.into_iter().find(|known| Some(*known) == state).unwrap_or("corrupt")
}
