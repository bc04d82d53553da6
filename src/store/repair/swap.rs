//! Segments that stand under another's name: nothing of them is lost, they are only in the wrong place.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::segment::{self, HEADER_BYTES, file_name};
use crate::id::{SegmentId, StoreId};
use crate::store::inner::DATA_DIR;
use crate::store::open::files_of;
use crate::vfs::{ReadVfs, join};

/// What is said of such a file.
pub(super) const ACTION: &str = "put back in its place";

/// A file to be put back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Swap {
    /// Where it stands.
    pub(super) from: String,
    /// Where it belongs.
    pub(super) to: String,
}

/// Finds, for each damaged segment that is missing or another's, a file that says it is that one: under another
/// segment's name, or under the temporary name of a repair that was cut off between two renames.
pub(super) fn find(
    vfs: &Arc<dyn ReadVfs>,
    store: StoreId,
    damaged: impl Iterator<Item = SegmentId>,
) -> Result<Vec<Swap>> {
    let mut misplaced: BTreeMap<SegmentId, Vec<String>> = BTreeMap::new();
    let mut at_home = Vec::new();
    for entry in files_of(&vfs.list(DATA_DIR)?.unwrap_or_default()) {
        let temporary = entry.name.strip_suffix(".tmp");
        let Some(named) = segment::parse_file_name(temporary.unwrap_or(&entry.name)) else { continue };
        let path = join(DATA_DIR, &entry.name);
        let Some(says) = number_of(vfs, &path, store)? else { continue };
        if says == named && temporary.is_none() {
            at_home.push(says);
        } else if says != named || temporary.is_some() {
            misplaced.entry(says).or_default().push(path);
        }
    }
    let swap = |to: SegmentId| {
        let mut from = misplaced.get(&to)?.clone();
        // A whole file before one that a repair may not have finished.
        from.sort_by_key(|path| path.strip_suffix(".tmp").is_some());
        (!at_home.contains(&to)).then(|| Swap { from: from.swap_remove(0), to: file_name(to) })
    };
    Ok(damaged.filter_map(swap).collect())
}

/// Reads which segment of this store a file says it is.
fn number_of(vfs: &Arc<dyn ReadVfs>, path: &str, store: StoreId) -> Result<Option<SegmentId>> {
    let Some(file) = vfs.open(path)? else { return Ok(None) };
    let mut bytes = [0u8; HEADER_BYTES];
    let got = file.read_at(&mut bytes, 0)?;
    let bytes = bytes.get(..got).unwrap_or_default();
    let claims = bytes.get(12..).and_then(|rest| rest.first_chunk::<4>());
    let Some(claims) = claims.map(|claims| SegmentId(u32::from_le_bytes(*claims))) else { return Ok(None) };
    match segment::decode(bytes, claims, Some(store)) {
        Ok(_) => Ok(Some(claims)),
        Err(Error::Damaged { .. } | Error::UnsupportedVersion { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}
