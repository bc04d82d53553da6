//! What damage may look like to `check`: where a finding must point, and the complete list of changes that are
//! harmless or leave no trace.

use std::ops::Range;

use stix_store::format::record::Tag;
use stix_store::store::check::Finding;

use super::fixture::{Covered, Fixture};
use super::images::Image;

/// Bytes of a page of an index file.
const PAGE: u64 = 4096;
/// Bytes of a segment's header.
const HEADER: u64 = 96;

/// What `check` has to say of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    /// Damage, in the file and near the place.
    Damage,
    /// A finding of any severity that names each file.
    Mention,
    /// Nothing, or damage: from the bytes alone nobody can tell.
    Either,
    /// No damage. A notice is welcome.
    Nothing,
}

/// The list: what to expect of each file that was changed or added. Whatever is not on it must be found as damage.
pub(crate) fn expectations<'i>(image: &'i Image<'_>) -> Vec<(&'i str, Expect)> {
    let changed = image.touched.iter().map(|(file, range)| (file.as_str(), of_range(image, file, range)));
    let added = image.added.iter().map(|file| (file.as_str(), Expect::Mention));
    changed.chain(added).collect()
}

fn of_range(image: &Image<'_>, file: &str, range: &Range<u64>) -> Expect {
    let fixture = image.fixture;
    let now = image.mem.bytes(file);
    let then = fixture.file(file);
    if now.as_deref() == Some(then) {
        return Expect::Nothing;
    }
    let Some(now) = now else { return removed(image, file) };
    if file == "lock" || file == "readers" {
        // Only their existence counts.
        return Expect::Nothing;
    }
    if file == "config" && then.eq_ignore_ascii_case(&now) {
        // The case of a hexadecimal digit of the checksum.
        return if then[..then.len() - 10] == now[..now.len() - 10] {
            Expect::Nothing
        } else {
            Expect::Damage
        };
    }
    if file == fixture.last_segment() && range.start >= fixture.tail_start {
        // What was never acknowledged; but a whole segment that is not this one's is worth a word.
        return if now.len() >= 96 && now[12..32] != then[12..32] { Expect::Either } else { Expect::Nothing };
    }
    // Acknowledged, but no index and no later segment knows of it: a crash in the middle of that commit would have
    // left bytes like these.
    if lost_end(image).is_some() { Expect::Either } else { Expect::Damage }
}

fn removed(image: &Image<'_>, file: &str) -> Expect {
    let has_index = image.mem.paths().iter().any(|path| path.starts_with("index."));
    // A cache, or a second copy: the next writer makes it anew. Of the index the last file is missed, of the hints those
    // that the index calls for.
    if file.starts_with("index.") {
        return if has_index { Expect::Nothing } else { Expect::Mention };
    }
    if let Some(commit) = file.strip_prefix("hints.") {
        let index = format!("index.{commit}");
        let is_missed = image.mem.paths().iter().any(|path| path.starts_with(&index));
        return if is_missed { Expect::Mention } else { Expect::Nothing };
    }
    if file.starts_with("dict.") || file == "lock" || file == "readers" {
        return Expect::Mention;
    }
    let fixture = image.fixture;
    if file == fixture.last_segment() {
        return if fixture.covered == Covered::All { Expect::Nothing } else { Expect::Either };
    }
    Expect::Damage
}

/// Where in the last segment the transactions begin that are gone without a trace: their COMMITs are gone, or differ in more
/// bits than are forgiven, nothing is behind them, and no index covers them.
pub(crate) fn lost_end(image: &Image<'_>) -> Option<u64> {
    let (fixture, file) = (image.fixture, image.fixture.last_segment());
    if fixture.covered == Covered::All {
        return None;
    }
    let then = fixture.file(&file);
    let now = image.mem.bytes(&file).unwrap_or_default();
    let start =
        image.touched.iter().filter(|(touched, _)| *touched == file).map(|(_, range)| range.start).min()?;
    let commits = fixture.units.iter().filter(|unit| unit.file == file && unit.tag == Tag::Commit);
    let mut lost = None;
    let mut from = HEADER;
    for commit in commits {
        let at = usize::try_from(commit.range.start).unwrap()..usize::try_from(commit.range.end).unwrap();
        let bits = |at: usize| now.get(at).map_or(u32::from(u8::MAX), |now| (then[at] ^ now).count_ones());
        let bits: u32 = at.map(bits).sum();
        let is_gone = bits > 8 || (bits > 0 && start < commit.range.start);
        lost = if is_gone { lost.or(Some(from)) } else { None };
        from = commit.range.end;
    }
    lost
}

/// Tells whether a finding points to what was touched of a file: to the file, and in it to the record, header or page.
pub(crate) fn is_near(image: &Image<'_>, file: &str, finding: &Finding) -> bool {
    finding.place.file == file
        && image.touched.iter().filter(|(touched, _)| touched == file).any(|(_, range)| {
            let at = finding.place.offset.unwrap_or(range.start);
            unit_start(image.fixture, file, range.start) <= at && at < range.end
        })
}

/// Where the record, header or page begins that holds a byte.
fn unit_start(fixture: &Fixture, file: &str, at: u64) -> u64 {
    if file.starts_with("index.") {
        return at - at % PAGE;
    }
    if !file.starts_with("data/") || at < HEADER {
        return 0;
    }
    let unit = fixture.units.iter().find(|unit| unit.file == file && unit.range.contains(&at));
    unit.map_or(at, |unit| unit.range.start)
}
