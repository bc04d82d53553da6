//! Which store a directory holds: what its config says, held against the segments.

use std::sync::Arc;

use super::open::list_segments;
use crate::error::{Damage, Error, Place, Result};
use crate::format::config::{self, CONFIG_FILE, CONFIG_MAX_BYTES, Config};
use crate::format::segment::{self, SegmentHeader};
use crate::id::StoreId;
use crate::vfs::ReadVfs;

/// Reads the config file, or what the segments say of it.
pub(crate) fn load_config(vfs: &Arc<dyn ReadVfs>, notices: &mut Vec<String>) -> Result<Config> {
    let damage = match vfs.read(CONFIG_FILE, CONFIG_MAX_BYTES) {
        Ok(Some(bytes)) => match config::decode(&bytes) {
            Ok(config) => return Ok(config),
            Err(error @ Error::Damaged { .. }) => error,
            Err(other) => return Err(other),
        },
        Ok(None) => Error::damaged(Place::whole(CONFIG_FILE), Damage::Missing),
        Err(Error::TooLarge { len, .. }) => {
            Error::damaged(Place::whole(CONFIG_FILE), Damage::Field { what: "config size", value: len })
        }
        Err(other) => return Err(other),
    };
    let Some(config) = config_of_segments(&**vfs, None)? else {
        // A config that is there but damaged is no sign that there is no store.
        let is_missing = matches!(&damage, Error::Damaged { damage: Damage::Missing, .. });
        return Err(if is_missing { Error::NoStore { path: vfs.root().to_path_buf() } } else { damage });
    };
    notices.push(format!("{damage}; using what the segments say"));
    Ok(config)
}

/// Reads the config, and holds it against the segments: one that is intact but another store's would make all of
/// them foreign. One positioned read for each segment up to the first that agrees.
///
/// # Errors
/// As for [`load_config`].
pub(crate) fn load_true_config(vfs: &Arc<dyn ReadVfs>, notices: &mut Vec<String>) -> Result<Config> {
    let config = load_config(vfs, notices)?;
    let Some(other) = config_of_segments(&**vfs, Some(config.store))? else { return Ok(config) };
    if other.store == config.store {
        return Ok(config);
    }
    notices.push(format!("config is of store {}; using what the segments say", config.store));
    Ok(other)
}

/// Reads what the segments say of their store: the one that is `expected` if any belongs to it, else the one
/// that most belong to.
fn config_of_segments(vfs: &dyn ReadVfs, expected: Option<StoreId>) -> Result<Option<Config>> {
    let mut found: Vec<(Config, usize)> = Vec::new();
    for id in list_segments(vfs)? {
        let Some(file) = vfs.open(&segment::file_name(id))? else { continue };
        let mut bytes = [0u8; segment::HEADER_BYTES];
        let got = file.read_at(&mut bytes, 0)?;
        let Ok(header) = segment::decode(bytes.get(..got).unwrap_or_default(), id, None) else { continue };
        let SegmentHeader { store, segment_size, compressed, .. } = header;
        let config = Config { store, segment_size, compressed };
        if expected == Some(store) {
            return Ok(Some(config));
        }
        match found.iter_mut().find(|(other, _)| other.store == store) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => found.push((config, 1)),
        }
    }
    // Of equal numbers the first: it is the oldest.
    found.reverse();
    Ok(found.into_iter().max_by_key(|(_, count)| *count).map(|(config, _)| config))
}
