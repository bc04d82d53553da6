//! The way to files from the command line: everything goes through `vfs`.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::limits;
use crate::vfs::{ReadVfs, Vfs, disk::Disk, mem::Mem, tree};

/// Opens a directory for reading only.
pub(crate) fn reading(path: &Path) -> Arc<dyn ReadVfs> {
    Arc::new(Disk::new(path))
}

/// Makes a file system in memory, for work that must leave no trace.
pub(crate) fn memory() -> Arc<dyn Vfs> {
    Arc::new(Mem::new())
}

/// Reads one input whole: a file, or standard input for `-`.
///
/// # Errors
/// `Io`, an absent file included; `TooLarge` for what no record can hold.
pub(crate) fn input(path: &Path) -> Result<Vec<u8>> {
    let max = limits::FILE_MAX_BYTES;
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let mut input = std::io::stdin().lock().take(max.saturating_add(1));
        input.read_to_end(&mut bytes).map_err(|error| Error::io("read", "standard input", error))?;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        return if len > max { Err(Error::TooLarge { what: "standard input", len, max }) } else { Ok(bytes) };
    }
    tree::read_input(path, max)
}

/// Refuses a path for an output that lies in the store: there it would overwrite what the store holds, or be a stray file in it.
///
/// # Errors
/// `BadInput`, and failures of looking it up.
pub(crate) fn outside(path: &Path, store: &Path) -> Result<()> {
    if tree::kind_at(store)?.is_some() && tree::lies_in(path, store)? {
        let what = path.display().to_string();
        return Err(Error::BadInput { what, reason: "lies in the store; give another place".to_owned() });
    }
    Ok(())
}

/// Writes an output whole: it appears at its path when it is finished.
///
/// # Errors
/// `Io`, and `BadInput` for a directory.
pub(crate) fn output(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = tree::create_file(path)?;
    file.write_all(bytes).map_err(|error| Error::io("write", path, error))?;
    file.finish()
}
