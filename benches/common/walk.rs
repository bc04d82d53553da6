//! A verified scan of a store, the floor of what reads all of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stix_store::StoreId;
use stix_store::error::Damage;
use stix_store::format::segment::parse_file_name;
use stix_store::segment::{Segment, Step};
use stix_store::vfs::ReadVfs;

/// The segment files of a store, ascending.
pub(crate) fn segment_paths(store: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(store.join("data")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Every record in log order, both checksums verified.
pub(crate) fn walk(vfs: &Arc<dyn ReadVfs>, store: StoreId, paths: &[PathBuf]) -> usize {
    let mut records = 0;
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = vfs.open(&format!("data/{name}")).unwrap().unwrap();
        let segment =
            Segment::open(file, parse_file_name(name).unwrap(), store, u64::MAX, &Vec::new).unwrap();
        let mut walk = segment.walk(None).unwrap();
        while let Some(step) = walk.step().unwrap() {
            let Step::Record { offset, head } = step else { panic!("a gap in {name}") };
            assert_eq!(walk.verify(offset, &head).unwrap(), Ok::<(), Damage>(()));
            records += 1;
        }
    }
    records
}
