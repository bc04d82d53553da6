//! Backup trees made from the workload.

use std::path::{Path, PathBuf};

use super::data::{self, Item, Workload};

/// Writes a tree: a directory for each run, a file for each snapshot.
pub(crate) fn write(root: &Path, workload: &Workload) {
    let mut last = usize::MAX;
    for item in &workload.items {
        let path = path_of(root, item);
        if last != item.run {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            last = item.run;
        }
        std::fs::write(path, workload.file(item)).unwrap();
    }
}

/// The path of a snapshot's file.
pub(crate) fn path_of(root: &Path, item: &Item) -> PathBuf {
    let run = data::instant(item.run).canonical_name();
    root.join("opencti_data").join(run).join(format!("{}.json", data::id(item.object)))
}
