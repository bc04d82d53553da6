//! Large files. The largest that a store takes needs 1 GiB of disk, 3 GiB of memory and half a minute: it is stored where
//! `STORE_LARGEST` is set, else one of 48 MiB.

use std::sync::Arc;

use stix_store::limits::FILE_MAX_BYTES;
use stix_store::vfs::disk::Disk;
use stix_store::vfs::mem::Mem;
use stix_store::{Compression, Store};

use crate::session::{Session, id, options};

#[test]
fn a_file_as_large_as_may_be_comes_back() {
    // [8]: Attic wrote objects that it could not read again.
    let is_largest = std::env::var_os("STORE_LARGEST").is_some();
    let len = if is_largest { usize::try_from(FILE_MAX_BYTES).unwrap() } else { 48 << 20 };
    for compression in [Compression::Zstd, Compression::None] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let mut session = Session::new(&Mem::new(), Arc::new(Disk::new(&path)));
        session.create(&options(512, compression)).unwrap();
        let mut bytes = vec![b'x'; len];
        let last = bytes.len() - 1;
        (bytes[0], bytes[last]) = (b'{', b'}');
        session.put(1, 1, &bytes).unwrap();
        session.commit().unwrap();
        session.close().unwrap();
        session.leave();
        let view = Store::open_read_only(&path).unwrap().view();
        let found = view.latest(id(1)).unwrap().unwrap();
        assert!(*found.body().unwrap() == *bytes, "{compression:?}");
    }
}
