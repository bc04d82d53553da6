//! The files beside the log: config, dictionaries, index, hints, and what does not belong.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Report;
use crate::error::{Damage, Error, Place, Result};
use crate::format::config::{self, CONFIG_FILE, CONFIG_MAX_BYTES, Config};
use crate::format::hints::{self, Hints};
use crate::format::index::FileKind;
use crate::format::segment;
use crate::format::sources;
use crate::id::{CommitId, DictionaryId, StoreId};
use crate::index::{Index, Places};
use crate::segment::dictionary;
use crate::store::inner::{DATA_DIR, LOCK_FILE, READERS_FILE};
use crate::store::open::{files_of, parse_index_name};
use crate::store::repair::evidence::QUARANTINE_DIR;
use crate::store::state::State;
use crate::vfs::{Kind, ReadFile, ReadVfs};

/// Checks the config file of the store that the segments belong to.
pub(super) fn config(vfs: &Arc<dyn ReadVfs>, expect: StoreId, report: &mut Report<'_>) -> Result<()> {
    match vfs.read(CONFIG_FILE, CONFIG_MAX_BYTES) {
        Ok(Some(bytes)) => match config::decode(&bytes) {
            Ok(Config { store: actual, .. }) if actual != expect => {
                report.damage(Place::whole(CONFIG_FILE), Damage::Foreign { expect, actual })
            }
            Ok(_) => Ok(()),
            Err(error) => report.error(error),
        },
        Ok(None) => report.damage(Place::whole(CONFIG_FILE), Damage::Missing),
        Err(Error::TooLarge { len, .. }) => {
            report.damage(Place::whole(CONFIG_FILE), Damage::Field { what: "config size", value: len })
        }
        Err(other) => Err(other),
    }
}

/// Names files that no store writes, and files that the commands need and that are gone.
pub(super) fn strays(vfs: &Arc<dyn ReadVfs>, state: &State, report: &mut Report<'_>) -> Result<()> {
    let entries = vfs.list("")?.unwrap_or_default();
    for entry in &entries {
        let name = entry.name.as_str();
        let is_index = parse_index_name(name).is_some();
        let is_hints = is_hints_name(name);
        let is_file = name == CONFIG_FILE
            || name == LOCK_FILE
            || name == READERS_FILE
            || is_index
            || is_hints
            || sources::is_file_name(name)
            || dictionary::parse_file_name(name).is_some();
        let is_dir = name == DATA_DIR || name == QUARANTINE_DIR;
        let known = if is_dir { entry.kind == Kind::Directory } else { is_file && entry.kind == Kind::File };
        let place = || Place::whole(name);
        if name.strip_suffix(".tmp").is_some() {
            report
                .notice(place(), "being written, or left behind by a command that was cut off; harmless")?;
        } else if !known {
            report.notice(place(), "not a file of the store; ignored")?;
        }
    }
    for name in [LOCK_FILE, READERS_FILE] {
        if !entries.iter().any(|entry| entry.name == name) {
            report.notice(Place::whole(name), "the lock file is missing; the next writer creates it")?;
        }
    }
    for entry in vfs.list(DATA_DIR)?.unwrap_or_default() {
        if segment::parse_file_name(&entry.name).is_none() || entry.kind != Kind::File {
            let name = format!("{DATA_DIR}/{}", entry.name);
            report.notice(Place::whole(name), "not a segment of the store; ignored")?;
        }
    }
    for id in state.dead.iter() {
        let place = Place::whole(segment::file_name(*id));
        report.notice(place, "left behind by a compaction; the next writing command removes it")?;
    }
    if state.published().is_empty() && state.position.link.id.0 > 0 {
        report.notice(Place::whole("index"), "there is no index; the next writer builds it from the log")?;
    }
    Ok(())
}

/// Checks each dictionary's own file, and that each dictionary that a segment needs has one.
pub(super) fn dictionaries(vfs: &Arc<dyn ReadVfs>, state: &State, report: &mut Report<'_>) -> Result<()> {
    let mut needed = BTreeSet::new();
    for id in state.segments.ids() {
        // What cannot be read is told of when its turn comes.
        let Ok(Some(segment)) = state.segments.get(*id) else { continue };
        needed.extend(segment.header().as_ref().ok().map(|header| header.dictionary.0));
    }
    needed.remove(&DictionaryId::NONE.0);
    for entry in files_of(&vfs.list("")?.unwrap_or_default()) {
        let Some(id) = dictionary::parse_file_name(&entry.name) else { continue };
        needed.remove(&id.0);
        if let Err(error) = dictionary::read_file(&**vfs, id) {
            report.error(error)?;
        }
    }
    for id in needed {
        let id = DictionaryId(id);
        let place = Place::whole(dictionary::file_name(id));
        match state.segments.dictionary(id) {
            Ok(_) => report
                .notice(place, "the second copy of this dictionary is missing; segments have the first")?,
            Err(error) => report.error(error)?,
        }
    }
    Ok(())
}

/// Checks every page of every index file, that the files follow each other, and the hints beside them. Returns the latter, if
/// they are of the very state that is checked.
pub(super) fn index(
    vfs: &Arc<dyn ReadVfs>,
    config: Config,
    state: &State,
    places: Places,
    report: &mut Report<'_>,
) -> Result<Option<Hints>> {
    for entry in vfs.list("")?.unwrap_or_default() {
        let Some((commit, kind)) = parse_index_name(&entry.name) else { continue };
        let map = |file: Arc<dyn ReadFile>| file.map(file.len()?);
        let map = match vfs.open(&entry.name).and_then(|file| file.map(map).transpose()) {
            Ok(Some(map)) => map,
            Ok(None) => continue,
            Err(error) => {
                report.error(error)?;
                continue;
            }
        };
        let index = match Index::open(map, &entry.name, config.store) {
            Ok(index) => index,
            Err(error) => {
                report.error(error)?;
                continue;
            }
        };
        let named = FileKind::file_name(kind, commit);
        let own = index.kind().file_name(index.covered().commit);
        if own != named {
            report.damage(Place::at(named, 0), Damage::Index { what: "the file has another's name" })?;
        }
        let in_use = state.published().iter().any(|layer| layer.name() == entry.name);
        index.verify(places, &mut |problem| report.error(problem))?;
        // One that is newer came since: a writer is at work beside.
        if !in_use && commit <= state.position.link.id {
            report.notice(Place::whole(&entry.name), "this index file is not in use")?;
        }
    }
    let newest = state.newest_index().map(|newest| newest.covered().commit);
    let own = newest.map(hints::file_name);
    let mut has_writer = false;
    for entry in files_of(&vfs.list("")?.unwrap_or_default()) {
        if is_of_writer(vfs, config, state, &entry.name) {
            has_writer = true;
        } else if is_hints_name(&entry.name) && own.as_ref() != Some(&entry.name) {
            report.notice(Place::whole(&entry.name), "these hints are not in use")?;
        }
    }
    // One that is at work beside has put its own in the place of those of this state.
    if has_writer {
        return Ok(None);
    }
    let hints = newest.map(|commit| check_hints(vfs, config, commit, report)).transpose()?.flatten();
    Ok(hints.filter(|_| newest == Some(state.position.link.id)))
}

/// Tells whether these are hints that a writer has published since the state was loaded.
fn is_of_writer(vfs: &Arc<dyn ReadVfs>, config: Config, state: &State, name: &str) -> bool {
    let newer = hints_of(name).map(CommitId).filter(|commit| *commit > state.position.link.id);
    newer.is_some_and(|commit| {
        let bytes = vfs.read(name, hints::HINTS_MAX_BYTES).ok().flatten();
        bytes.is_some_and(|bytes| hints::decode(&bytes, config.store, commit).is_ok())
    })
}

fn is_hints_name(name: &str) -> bool {
    hints_of(name).is_some()
}

fn hints_of(name: &str) -> Option<u64> {
    name.strip_prefix("hints.")?.parse().ok()
}

fn check_hints(
    vfs: &Arc<dyn ReadVfs>,
    config: Config,
    commit: CommitId,
    report: &mut Report<'_>,
) -> Result<Option<Hints>> {
    let name = hints::file_name(commit);
    let place = Place::whole(&name);
    match vfs.read(&name, hints::HINTS_MAX_BYTES) {
        Ok(Some(bytes)) => match hints::decode(&bytes, config.store, commit) {
            Ok(hints) => return Ok(Some(hints)),
            Err(error) => report.error(error)?,
        },
        Ok(None) => {
            report.notice(place, "there are no hints; the next writer reads the whole log for them")?;
        }
        Err(Error::TooLarge { len, .. }) => {
            report.damage(place, Damage::Field { what: "hints size", value: len })?;
        }
        Err(other) => report.error(other)?,
    }
    Ok(None)
}
