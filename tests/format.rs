//! Keeps `FORMAT.md` true: the examples, lists and limits in it are produced here, and a committed store
//! (`tests/golden/v1`) must be read, dumped and written as it was. `tools/bless.sh` renews all of these.
#![cfg(test)]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "the numbers are small, and a panic is a failed test"
)]

use std::sync::Arc;

use stix_store::StoreId;
use stix_store::vfs::disk::Disk;
use stix_store::vfs::{ReadVfs, Vfs, publish};

mod answers;
mod document;
mod dump;
mod golden;
mod hex;
mod index_hex;
mod reader;
mod script;
mod segment_hex;

/// Largest file that these tests read, in bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// The project's own files.
fn project() -> Arc<Disk> {
    Arc::new(Disk::new(env!("CARGO_MANIFEST_DIR")))
}

/// Tells whether what the tests expect is to be written instead of compared.
fn blessing() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}

fn read(path: &str) -> Option<Vec<u8>> {
    project().read(path, FILE_MAX_BYTES).unwrap()
}

fn write(path: &str, bytes: &[u8]) {
    let (dir, name) = path.rsplit_once('/').unwrap();
    let project = project();
    let mut parent = String::new();
    for part in dir.split('/') {
        parent = if parent.is_empty() { part.to_owned() } else { format!("{parent}/{part}") };
        project.create_dir(&parent).unwrap();
    }
    publish(&*project, dir, &format!("{name}.tmp"), name, bytes).unwrap();
}

/// Compares a text with the committed one.
fn expect_text(path: &str, actual: &str) {
    if blessing() {
        write(path, actual.as_bytes());
    }
    let expect = read(path).unwrap_or_else(|| panic!("{path} is missing: run tools/bless.sh"));
    let expect = String::from_utf8(expect).unwrap();
    if let Some((number, (expect, actual))) =
        (1..).zip(expect.lines().zip(actual.lines())).find(|(_, (expect, actual))| expect != actual)
    {
        panic!("{path}, line {number}\nexpect: {expect}\nactual: {actual}");
    }
    assert_eq!(expect.len(), actual.len(), "{path} ends elsewhere");
}

/// The identity of every store made here: 00 11 22 ... ff.
fn store_id() -> StoreId {
    StoreId::parse("00112233445566778899aabbccddeeff").unwrap()
}
