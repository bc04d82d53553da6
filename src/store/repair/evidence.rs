//! The quarantine: what a repair set aside, and its reports. Nothing in it is ever removed by the program.
//!
//! `quarantine/<n>/` belongs to commit n: the one that a segment was replaced by, or the last one before other files
//! were set aside.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::salvage::Salvage;
use super::{Fate, Lost, LostKind, Unknown};
use crate::error::{Damage, Error, Place, Result};
use crate::format::segment::file_name;
use crate::id::{CommitId, SegmentId};
use crate::store::check::Finding;
use crate::vfs::{Kind, ReadVfs, Vfs, join, publish};

/// Where repair keeps what it set aside.
pub(crate) const QUARANTINE_DIR: &str = "quarantine";
/// The report about a segment.
const REPORT_FILE: &str = "report.json";
/// The reports about other files.
const FILES_REPORT: &str = "files.json";
/// Longest report that is read back, in bytes.
const REPORT_MAX_BYTES: u64 = 1 << 30;
/// Bytes copied at a time.
const COPY_BYTES: usize = 1 << 20;
/// Names that are tried before a file counts as impossible to set aside.
const NAMES_MAX: u32 = 1000;

/// What stands in one directory of the quarantine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// Its path below the store's directory.
    pub path: String,
    /// Records that the report in it calls lost.
    pub lost: u64,
    /// Those among them whose key does not say so: it is not known, or an older state answers.
    pub unmarked: u64,
    /// Records of which nothing is known, at least.
    pub unknown: u64,
}

#[derive(Serialize, Deserialize, Default)]
struct Counts {
    lost: u64,
    unmarked: u64,
    healed: u64,
    unknown: u64,
}

#[derive(Serialize)]
struct ReportFile<'r> {
    v: u8,
    commit: u64,
    segment: u32,
    file: String,
    present: bool,
    kept: usize,
    counts: Counts,
    findings: Vec<FindingRow<'r>>,
    lost: Vec<LostRow<'r>>,
    unknown: Vec<UnknownRow<'r>>,
}

/// What is read back of it.
#[derive(Deserialize)]
struct ReportHead {
    segment: u32,
    counts: Counts,
}

#[derive(Serialize)]
struct FindingRow<'r> {
    file: &'r str,
    off: Option<u64>,
    len: Option<u64>,
    detail: &'r str,
}

#[derive(Serialize)]
struct LostRow<'r> {
    kind: &'static str,
    run: String,
    id: Option<String>,
    key: Option<String>,
    run_key: String,
    hash: Option<String>,
    file: &'r str,
    off: Option<u64>,
    why: &'r str,
    fate: &'static str,
}

#[derive(Serialize)]
struct UnknownRow<'r> {
    file: &'r str,
    off: Option<u64>,
    len: Option<u64>,
    records: Option<u64>,
}

impl LostKind {
    /// Returns its name in machine output.
    pub fn name(self) -> &'static str {
        match self {
            LostKind::Snapshot => "snapshot",
            LostKind::Alias => "alias",
            LostKind::Run => "run",
            LostKind::Deletion => "deletion",
        }
    }
}

impl Fate {
    /// Returns its name in machine output.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Lost => "lost",
            Fate::Older => "older",
            Fate::Other => "other",
            Fate::Healed => "healed",
        }
    }
}

/// The directory of a commit.
pub(super) fn dir_of(commit: CommitId) -> String {
    format!("{QUARANTINE_DIR}/{}", commit.0)
}

/// Copies the original of a segment and writes the report about it. On return both are durable.
pub(super) fn keep_segment(vfs: &dyn Vfs, commit: CommitId, salvage: &Salvage) -> Result<String> {
    let dir = open_dir(vfs, commit)?;
    if salvage.present {
        copy_into(vfs, &file_name(salvage.segment), &dir)?;
    }
    let bytes = encode(commit, salvage)?;
    publish(vfs, &dir, &format!("{REPORT_FILE}.tmp"), REPORT_FILE, &bytes)?;
    Ok(dir)
}

/// Makes the directory of a commit, durably.
pub(super) fn open_dir(vfs: &dyn Vfs, commit: CommitId) -> Result<String> {
    let dir = dir_of(commit);
    vfs.create_dir(QUARANTINE_DIR)?;
    vfs.sync_dir("")?;
    vfs.create_dir(&dir)?;
    vfs.sync_dir(QUARANTINE_DIR)?;
    Ok(dir)
}

fn encode(commit: CommitId, salvage: &Salvage) -> Result<Vec<u8>> {
    let is = |fate: Fate| move |lost: &&Lost| lost.fate == fate;
    let count = |wanted: &dyn Fn(&&Lost) -> bool| {
        u64::try_from(salvage.lost.iter().filter(wanted).count()).unwrap_or(u64::MAX)
    };
    let unknown = salvage.unknown.iter().map(|one| one.records.unwrap_or(1).max(1));
    let report = ReportFile {
        v: 1,
        commit: commit.0,
        segment: salvage.segment.0,
        file: file_name(salvage.segment),
        present: salvage.present,
        kept: salvage.keep.len(),
        counts: Counts {
            lost: count(&|lost| lost.fate != Fate::Healed),
            unmarked: count(&|lost| lost.fate != Fate::Healed && !lost.is_marked()),
            healed: count(&is(Fate::Healed)),
            unknown: unknown.fold(0, u64::saturating_add),
        },
        findings: salvage.findings.iter().map(FindingRow::of).collect(),
        lost: salvage.lost.iter().map(LostRow::of).collect(),
        unknown: salvage.unknown.iter().map(UnknownRow::of).collect(),
    };
    json(&report)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let failed =
        |error: serde_json::Error| Error::BadInput { what: "report".to_owned(), reason: error.to_string() };
    let mut bytes = serde_json::to_vec_pretty(value).map_err(failed)?;
    bytes.push(b'\n');
    Ok(bytes)
}

impl Lost {
    /// Tells whether a DELETE under its key says that it is lost.
    pub(super) fn is_marked(&self) -> bool {
        self.fate == Fate::Lost && self.kind != LostKind::Run && self.key.is_some()
    }
}

impl<'r> FindingRow<'r> {
    fn of(finding: &'r Finding) -> FindingRow<'r> {
        FindingRow {
            file: &finding.place.file,
            off: finding.place.offset,
            len: finding.len,
            detail: &finding.detail,
        }
    }
}

impl<'r> LostRow<'r> {
    fn of(lost: &'r Lost) -> LostRow<'r> {
        LostRow {
            kind: lost.kind.name(),
            run: lost.run.instant().canonical_name(),
            id: lost.name().map(|name| String::from_utf8_lossy(&name).into_owned()),
            key: lost.key.map(|key| key.to_string()),
            run_key: format!("{:016x}", lost.run.0),
            hash: lost.hash.map(|hash| format!("{hash:016x}")),
            file: &lost.place.file,
            off: lost.place.offset,
            why: &lost.why,
            fate: lost.fate.name(),
        }
    }
}

impl<'r> UnknownRow<'r> {
    fn of(unknown: &'r Unknown) -> UnknownRow<'r> {
        let Unknown { place, len, records } = unknown;
        UnknownRow { file: &place.file, off: place.offset, len: *len, records: *records }
    }
}

/// Copies a file into a directory of the quarantine, durably, unless it is there already.
pub(super) fn copy_into(vfs: &dyn Vfs, path: &str, dir: &str) -> Result<String> {
    let (name, is_there) = free_name(vfs, path, dir)?;
    if is_there {
        return Ok(name);
    }
    let temp = format!("{name}.tmp");
    vfs.remove(&temp)?;
    copy_bytes(vfs, path, &temp)?;
    vfs.rename(&temp, &name)?;
    vfs.sync_dir(dir)?;
    Ok(name)
}

/// Copies a file to a name that is free. Its bytes are durable, its name is not yet.
pub(super) fn copy_bytes(vfs: &dyn Vfs, from: &str, to: &str) -> Result<()> {
    let file = vfs.open(from)?.ok_or_else(|| Error::damaged(Place::whole(from), Damage::Missing))?;
    let mut copy = vfs.create_new(to)?;
    let mut buffer = vec![0u8; COPY_BYTES];
    let mut at = 0u64;
    loop {
        let got = file.read_at(&mut buffer, at)?;
        let Some(bytes) = buffer.get(..got).filter(|bytes| !bytes.is_empty()) else { break };
        copy.append(bytes)?;
        at = at.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
    }
    copy.sync()
}

/// Moves a file into the quarantine, durably. An absent one is `None`.
pub(super) fn move_aside(vfs: &dyn Vfs, commit: CommitId, path: &str) -> Result<Option<String>> {
    if vfs.open(path)?.is_none() {
        return Ok(None);
    }
    let dir = open_dir(vfs, commit)?;
    let (name, is_there) = free_name(vfs, path, &dir)?;
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    if is_there {
        vfs.remove(path)?;
    } else {
        vfs.rename(path, &name)?;
        vfs.sync_dir(&dir)?;
    }
    vfs.sync_dir(parent)?;
    Ok(Some(name))
}

/// Writes what the check has said of the files that are set aside.
pub(super) fn keep_findings(vfs: &dyn Vfs, commit: CommitId, findings: &[Finding]) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let dir = open_dir(vfs, commit)?;
    let rows: Vec<FindingRow<'_>> = findings.iter().map(FindingRow::of).collect();
    let mut name = FILES_REPORT.to_owned();
    // Two repairs of such files between two commits.
    for number in 2..NAMES_MAX {
        if vfs.open(&join(&dir, &name))?.is_none() {
            break;
        }
        name = format!("files-{number}.json");
    }
    publish(vfs, &dir, &format!("{name}.tmp"), &name, &json(&rows)?)
}

/// Finds a name in a directory for a file: its own, or one with a number if something else has that. `true` if the file
/// is there already, byte for byte.
fn free_name(vfs: &dyn Vfs, path: &str, dir: &str) -> Result<(String, bool)> {
    let own = path.rsplit_once('/').map_or(path, |(_, name)| name);
    for number in 1..NAMES_MAX {
        let name = if number == 1 { join(dir, own) } else { format!("{dir}/{own}-{number}") };
        if vfs.open(&name)?.is_none() {
            return Ok((name, false));
        }
        if is_same(vfs, path, &name)? {
            return Ok((name, true));
        }
    }
    Err(Error::Exists { path: vfs.root().join(dir).join(own) })
}

fn is_same(vfs: &dyn Vfs, one: &str, other: &str) -> Result<bool> {
    let (Some(one), Some(other)) = (vfs.open(one)?, vfs.open(other)?) else { return Ok(false) };
    if one.len()? != other.len()? {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0u8; COPY_BYTES], vec![0u8; COPY_BYTES]);
    let mut at = 0u64;
    loop {
        let got = one.read_at(&mut left, at)?;
        if got != other.read_at(&mut right, at)? || left.get(..got) != right.get(..got) {
            return Ok(false);
        }
        if got == 0 {
            return Ok(true);
        }
        at = at.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
    }
}

/// Lists the quarantine, oldest first. A report about a segment that is still `live` is of a repair that never came to
/// its commit; it does not count.
pub(crate) fn list(vfs: &Arc<dyn ReadVfs>, live: &[SegmentId]) -> Result<Vec<Evidence>> {
    let mut all = Vec::new();
    for entry in vfs.list(QUARANTINE_DIR)?.unwrap_or_default() {
        let Ok(number) = entry.name.parse::<u64>() else { continue };
        if entry.kind != Kind::Directory {
            continue;
        }
        let path = join(QUARANTINE_DIR, &entry.name);
        let read = match vfs.read(&join(&path, REPORT_FILE), REPORT_MAX_BYTES) {
            Err(Error::TooLarge { .. }) => None,
            read => read?,
        };
        let head = read.and_then(|bytes| serde_json::from_slice::<ReportHead>(&bytes).ok());
        let head = head.filter(|head| live.binary_search(&SegmentId(head.segment)).is_err());
        let Counts { lost, unmarked, unknown, .. } = head.map(|head| head.counts).unwrap_or_default();
        all.push((number, Evidence { path, lost, unmarked, unknown }));
    }
    all.sort_unstable_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, evidence)| evidence).collect())
}
