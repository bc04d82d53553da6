//! A backup tree is read and dropped: every file opened relative to its directory, read once, closed. The floor of an import.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};

/// No file of the workload is longer.
const FILE_BYTES_MAX: usize = 64 << 10;

/// The run directories of a tree, ascending, each with its name.
pub(crate) fn directories(tree: &Path) -> Vec<(String, OwnedFd)> {
    let entries = std::fs::read_dir(tree.join("opencti_data")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, openat(CWD, path, flags, Mode::empty()).unwrap())
    };
    paths.iter().map(open).collect()
}

/// Reads every file of a tree into a buffer of its thread, and shows it: its run, its name, its bytes. Returns what each
/// thread has made of what it saw.
pub(crate) fn read<T: Default + Send>(
    tree: &Path,
    threads: usize,
    see: impl Fn(&mut T, &str, &str, &[u8]) + Sync,
) -> Vec<T> {
    let mut parts: Vec<Vec<(String, OwnedFd)>> = (0..threads).map(|_| Vec::new()).collect();
    for (number, directory) in directories(tree).into_iter().enumerate() {
        parts[number % threads].push(directory);
    }
    let read = |part: Vec<(String, OwnedFd)>| {
        let (mut seen, mut buffer) = (T::default(), vec![0u8; FILE_BYTES_MAX]);
        for (run, directory) in &part {
            for entry in Dir::read_from(directory).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name();
                if name.to_bytes().starts_with(b".") {
                    continue;
                }
                let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
                let len = File::from(file).read(&mut buffer).unwrap();
                see(&mut seen, run, name.to_str().unwrap(), &buffer[..len]);
            }
        }
        seen
    };
    let read = &read;
    std::thread::scope(|scope| {
        let workers: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || read(part))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

/// Reads every file of a tree; returns the bytes.
pub(crate) fn total(tree: &Path, threads: usize) -> u64 {
    read(tree, threads, |total: &mut u64, _, _, bytes| *total += bytes.len() as u64).into_iter().sum()
}
