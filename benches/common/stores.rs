//! Stores made from the workload through the library's writer.

use std::path::Path;

use stix_store::snapshot::codec::encode_run_meta;
use stix_store::store::PutKind;
use stix_store::{Body, Compression, CreateOptions, Put, Store, StoreId, View, WriterOptions};

use super::data::{self, Workload};
use super::machine::fact;

const COMMIT_BYTES: usize = 16 << 20;
const SAMPLES: usize = 10_000;

/// The ways to store payloads that are compared.
pub(crate) const COMPRESSIONS: [(&str, Compression); 2] =
    [("none", Compression::None), ("zstd", Compression::Zstd)];

/// Makes a store, closes it, and opens it again for reading.
pub(crate) fn build(path: &Path, workload: &Workload, compression: Compression) -> View {
    let options = CreateOptions { compression, store_id: Some(StoreId([7; 16])), ..CreateOptions::default() };
    let store = Store::create(path, &options).unwrap();
    let mut writer = store.writer(&WriterOptions::default()).unwrap();
    if writer.wants_dictionary() {
        let samples: Vec<Vec<u8>> =
            workload.items.iter().take(SAMPLES).map(|item| workload.file(item)).collect();
        let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
        assert!(writer.train_dictionary(&samples).unwrap(), "no dictionary");
    }
    let (mut bytes, mut pending) = (0usize, 0usize);
    let (mut run, mut key) = (usize::MAX, None);
    for item in &workload.items {
        if run != item.run {
            run = item.run;
            let at = data::instant(run);
            key = Some(writer.put_run(at, &at.canonical_name(), &encode_run_meta(None)).unwrap().0);
        }
        let (name, file) = (data::id(item.object), workload.file(item));
        let (meta, object) = data::meta(&file, name.as_bytes());
        let body = Body::Raw(&file);
        let put = Put {
            name: name.as_bytes(),
            run: key.unwrap(),
            kind: PutKind::Snapshot,
            meta: &meta,
            object,
            body,
        };
        writer.put(&put).unwrap();
        bytes += file.len();
        pending += file.len();
        if pending >= COMMIT_BYTES {
            writer.commit().unwrap();
            pending = 0;
        }
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    let stored = size_of(path);
    let count = workload.items.len();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    fact(&format!("{name}: mean file"), &format!("{} B of {count}", bytes / count));
    fact(&format!("{name}: bytes on disk / bytes of files"), &format!("{:.3}", stored as f64 / bytes as f64));
    Store::open_read_only(path).unwrap().view()
}

/// Bytes of all files below a directory.
pub(crate) fn size_of(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap().map(Result::unwrap);
    let sizes = entries.map(|entry| {
        if entry.file_type().unwrap().is_dir() {
            size_of(&entry.path())
        } else {
            entry.metadata().unwrap().len()
        }
    });
    sizes.sum()
}
