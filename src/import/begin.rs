//! Looks at a source before a store is made for it: what is none leaves no store behind.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::scan::Tree;
use super::{Bundles, Source};
use crate::error::{Error, Result};
use crate::progress::Stop;
use crate::vfs::tree::{SourceDir, begin_archive, open_input};

/// How often it is asked whether to stop while a pipe says nothing.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Tells whether there is a tree, an archive or a folder to import, and returns the source to import. Of an archive the first
/// block is read, of a pipe once it comes.
///
/// # Errors
/// `BadInput` if there is none; failures of reading the folder, or the beginning of the archive; `Cancelled`.
pub fn begin(source: Source, stop: &Stop) -> Result<Source> {
    match &source {
        Source::Tree(path) => {
            Tree::open(path)?;
        }
        Source::Archive(path) => {
            let input = open_input(path)?;
            return wait_for(stop, move || begin_archive(input)).map(Source::Begun);
        }
        Source::Bundles { path: Bundles::Folder(path), .. } => {
            SourceDir::open(path)?;
        }
        Source::Begun(_) | Source::Bundles { path: Bundles::One(_), .. } => {}
    }
    Ok(source)
}

/// Reads on a thread of its own, which is left behind if it hangs in a pipe when nobody wants it any more.
fn wait_for<T: Send + 'static>(stop: &Stop, read: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (sender, receiver) = bounded(1);
    let thread = thread::Builder::new().name("begin".to_owned());
    thread
        .spawn(move || drop(sender.send(read())))
        .map_err(|source| Error::io("start", "a reading thread", source))?;
    loop {
        match receiver.recv_timeout(ASK_EVERY) {
            Ok(read) => return read,
            Err(RecvTimeoutError::Timeout) => stop.check()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::io(
                    "read",
                    "the archive",
                    std::io::Error::other("the reading thread panicked"),
                ));
            }
        }
    }
}
