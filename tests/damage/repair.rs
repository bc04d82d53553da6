//! Repair after every kind of damage: what was not hit is there with its bytes, what was hit is gone and says so, nothing
//! older or never committed takes its place, the check finds nothing more, and a second repair does nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use stix_store::progress::Stop;
use stix_store::store::check::Severity;
use stix_store::store::repair::{RepairOptions, RepairReport};
use stix_store::vfs::Vfs;
use stix_store::vfs::mem::Mem;
use stix_store::{Instant, Key, ObjectKey, Store, StoreId, View, WriterOptions};

use super::exempt::lost_end;
use super::fixture::{Covered, Fixture, Fork, Unit, build, build_as, build_fork};
use super::images::{Image, drive_with};
use super::judge::{Tally, findings};

pub(crate) type Judged = Result<(), String>;

pub(crate) fn repair(mem: &Mem, options: RepairOptions<'_>) -> stix_store::Result<RepairReport> {
    repair_on(Arc::new(mem.clone()), options)
}

pub(crate) fn repair_on(vfs: Arc<dyn Vfs>, options: RepairOptions<'_>) -> stix_store::Result<RepairReport> {
    let store = Store::open_on(vfs)?;
    store.repair(&WriterOptions::default(), options, None, &mut |_| {}, &Stop::default())
}

/// All files and their bytes, but for the lock, which names its holder.
pub(crate) fn files(mem: &Mem) -> BTreeMap<String, Vec<u8>> {
    let paths = mem.paths().into_iter().filter(|path| path != "lock");
    paths.filter_map(|path| mem.bytes(&path).map(|bytes| (path, bytes))).collect()
}

fn judge(image: &Image<'_>, tally: &mut Tally) -> Judged {
    let mem = &image.mem;
    let before = files(mem);
    let told = repair(mem, RepairOptions { dry_run: true, ..RepairOptions::default() });
    let told = told.map_err(|error| format!("dry run: {error}"))?;
    if files(mem) != before {
        return Err("a dry run writes".to_owned());
    }
    let report = repair(mem, RepairOptions::default()).map_err(|error| format!("repair: {error}"))?;
    if told.damage != report.damage {
        return Err(format!("the dry run finds {} and the repair {}", told.damage, report.damage));
    }
    evidence_is_kept(mem, &before)?;
    let store = Store::open_read_only_on(Arc::new(mem.clone())).map_err(|error| format!("open: {error}"))?;
    answers(image, &store.view(), &report)?;
    let found = findings(mem)?;
    let damage: Vec<_> = found.iter().filter(|one| one.severity == Severity::Damage).collect();
    if !damage.is_empty() || report.remaining > 0 || !report.left.is_empty() {
        return Err(format!("after the repair: {damage:?}, left {:?}", report.left));
    }
    let stats = store.stats().map_err(|error| format!("stats: {error}"))?;
    let lost = u64::try_from(report.lost.len() + report.unknown.len()).unwrap();
    if report.has_losses() != (stats.lost > 0) || stats.lost < lost || lost > 0 && stats.evidence.is_empty() {
        return Err(format!("stats tells {} of {report:?}", stats.lost));
    }
    let once = files(mem);
    let again = repair(mem, RepairOptions::default()).map_err(|error| format!("again: {error}"))?;
    if again.damage > 0 || files(mem) != once {
        return Err("a second repair does something".to_owned());
    }
    tally.images += 1;
    tally.damaged += report.lost.len();
    Ok(())
}

/// Every segment file that was there and is gone stands in the quarantine, as it was.
pub(crate) fn evidence_is_kept(mem: &Mem, before: &BTreeMap<String, Vec<u8>>) -> Judged {
    let after = files(mem);
    for (path, bytes) in before.iter().filter(|(path, _)| path.starts_with("data/")) {
        let is_kept = after.get(path) == Some(bytes)
            || after.iter().any(|(kept, of)| kept.starts_with("quarantine/") && of == bytes);
        if !is_kept {
            return Err(format!("{path} is neither where it was nor in the quarantine"));
        }
    }
    Ok(())
}

fn answers(image: &Image<'_>, view: &View, report: &RepairReport) -> Judged {
    let fixture = image.fixture;
    for name in &fixture.names {
        for run in &fixture.runs {
            let units = fixture.read_by(name, *run);
            let target = fixture.aliases.get(&(name.clone(), *run)).unwrap_or(name);
            let expect = fixture.bodies.get(&(target.clone(), *run));
            let found = view.get(name, *run).map_err(|error| format!("{name:?} {run:?}: {error}"))?;
            let found = found.map(|found| found.body().map(Cow::into_owned)).transpose();
            let found = found.map_err(|error| error.to_string())?;
            let key = Key::new(ObjectKey::of(name), *run);
            let is_told = !report.unknown.is_empty()
                || report.lost.iter().any(|lost| units.iter().any(|unit| lost.key == Some(unit.key)))
                || report.lost.iter().any(|lost| lost.key.is_none() && lost.run == key.run)
                || at_lost_end(image, &units);
            let hit = units.iter().any(|unit| is_hit(image, unit));
            let is_right = match (&found, expect) {
                (Some(found), Some(expect)) if found == expect => true,
                (None, None) => true,
                // Every snapshot that answered before and does not now is told of.
                (None, Some(_)) => hit && is_told,
                // What nobody can know: a record without a trace may have been the newest.
                (Some(_), _) => hit && (!report.unknown.is_empty() || at_lost_end(image, &units)),
            };
            if !is_right {
                let text = String::from_utf8_lossy(name);
                let found = found.as_deref().map(String::from_utf8_lossy);
                return Err(format!("{text} in {run:?} is {found:?}, hit: {hit}; {report:?}"));
            }
        }
        newest(image, view, name, report)?;
    }
    Ok(())
}

/// The newest one, or nothing: never the one before it.
fn newest(image: &Image<'_>, view: &View, name: &[u8], report: &RepairReport) -> Judged {
    let fixture = image.fixture;
    let newest = fixture.runs.iter().rev().find(|run| fixture.bodies.contains_key(&(name.to_vec(), **run)));
    let Some(run) = newest else { return Ok(()) };
    let found = view.latest(name).map_err(|error| error.to_string())?;
    let units = fixture.read_by(name, *run);
    let is_known = report.unknown.is_empty() && !at_lost_end(image, &units);
    match found {
        Some(found) if found.run() < *run && is_known && is_attributable(image, &units) => Err(format!(
            "{} is served from {:?} instead of {run:?}: {report:?}",
            String::from_utf8_lossy(name),
            found.run()
        )),
        None if is_known && units.iter().any(|unit| is_hit(image, unit)) => {
            let lost = view.lost(name, Instant::MAX).map_err(|error| error.to_string())?;
            let is_named = report.lost.iter().any(|one| one.key == Some(Key::new(ObjectKey::of(name), *run)));
            if is_named && lost != Some(*run) {
                return Err(format!("{} does not say that it is lost", String::from_utf8_lossy(name)));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Another record of the same id can be read, so that the index's hash of a lost one tells whose it was.
fn is_attributable(image: &Image<'_>, units: &[&Unit]) -> bool {
    units.iter().all(|unit| {
        let same = |other: &&Unit| other.key.object == unit.key.object && !is_hit(image, other);
        !is_hit(image, unit) || image.fixture.units.iter().any(|other| same(&other))
    })
}

fn is_hit(image: &Image<'_>, unit: &Unit) -> bool {
    image.touches(&unit.file, &unit.range) || image.added.contains(&unit.file) || at_lost_end(image, &[unit])
}

/// The transactions at the end of the log that a crash could have left like that.
fn at_lost_end(image: &Image<'_>, units: &[&Unit]) -> bool {
    let Some(from) = lost_end(image) else { return false };
    let last = image.fixture.last_segment();
    units.iter().any(|unit| unit.file == last && unit.range.start >= from)
}

fn drive<'f>(driver: &str, count: usize, image: impl Fn(usize) -> Image<'f> + Sync) {
    drive_with(driver, count, image, judge);
}

const ALL: [Covered; 3] = [Covered::All, Covered::Part, Covered::None];

/// All places of some files: `(path, byte)`.
fn places(fixture: &Fixture, wanted: impl Fn(&str) -> bool) -> Vec<(String, usize)> {
    let paths = fixture.mem.paths().into_iter().filter(|path| wanted(path));
    paths.flat_map(|path| (0..fixture.file(&path).len()).map(move |at| (path.clone(), at))).collect()
}

fn at(place: usize) -> u64 {
    u64::try_from(place).unwrap()
}

#[test]
fn an_intact_store_is_left_as_it_is() {
    for covered in [Covered::All, Covered::Part] {
        let fixture = build(covered);
        drive("repair of nothing", 1, |_| Image::of(&fixture, "intact"));
    }
}

#[test]
fn after_any_flipped_bit_repair_leaves_exactly_what_was_not_hit() {
    for covered in ALL {
        let fixture = build(covered);
        let bytes =
            places(&fixture, |path| path != "lock" && path != "readers" && !path.starts_with("index."));
        drive("repair of flipped bits", bytes.len(), |number| flipped(&fixture, &bytes[number], number % 8));
        let pages = places(&fixture, |path| path.starts_with("index."));
        let pages: Vec<_> = pages.into_iter().step_by(211).collect();
        drive("repair of flipped index bits", pages.len(), |number| {
            flipped(&fixture, &pages[number], number % 8)
        });
    }
}

fn flipped<'f>(fixture: &'f Fixture, (path, byte): &(String, usize), bit: usize) -> Image<'f> {
    let mut bytes = fixture.file(path).to_vec();
    bytes[*byte] ^= 1 << bit;
    let label = format!("bit {bit} of byte {byte} of {path}");
    Image::of(fixture, label).with(path, bytes, at(*byte)..at(*byte + 1))
}

#[test]
fn after_any_cut_repair_leaves_exactly_what_was_not_hit() {
    for covered in ALL {
        let fixture = build(covered);
        let cuts =
            places(&fixture, |path| path != "lock" && path != "readers" && !path.starts_with("index."));
        let cuts: Vec<_> = cuts.into_iter().step_by(3).collect();
        drive("repair of files cut short", cuts.len(), |number| {
            let (path, len) = &cuts[number];
            let mut bytes = fixture.file(path).to_vec();
            let touched = at(*len)..at(bytes.len());
            bytes.truncate(*len);
            Image::of(&fixture, format!("{path} cut at {len}")).with(path, bytes, touched)
        });
        drive("repair of overwritten ranges", cuts.len(), |number| {
            let (path, from) = &cuts[number];
            let mut bytes = fixture.file(path).to_vec();
            let to = bytes.len().min(from + 120);
            bytes[*from..to].fill(0xa5);
            Image::of(&fixture, format!("{path} {from}..{to} overwritten")).with(
                path,
                bytes,
                at(*from)..at(to),
            )
        });
    }
}

#[test]
fn after_any_file_removed_repair_leaves_exactly_what_was_not_in_it() {
    for covered in ALL {
        let fixture = build(covered);
        let paths = fixture.mem.paths();
        drive("repair of files removed", paths.len(), |number| {
            Image::of(&fixture, format!("{} removed", paths[number])).without(&paths[number])
        });
    }
}

#[test]
fn segments_in_each_others_places_are_put_back() {
    for covered in ALL {
        let fixture = build(covered);
        let segments = fixture.segments();
        let count = segments.len();
        let pairs: Vec<(usize, usize)> =
            (0..count).flat_map(|one| (one + 1..count).map(move |two| (one, two))).collect();
        drive("repair of segments swapped", pairs.len(), |number| {
            let (one, two) = (&segments[pairs[number].0], &segments[pairs[number].1]);
            let (bytes_one, bytes_two) = (fixture.file(one).to_vec(), fixture.file(two).to_vec());
            let image = Image::of(&fixture, format!("{one} and {two} swapped"));
            image.with(one, bytes_two, 0..u64::MAX).with(two, bytes_one, 0..u64::MAX)
        });
        for (one, two) in pairs {
            let (one, two) = (&segments[one], &segments[two]);
            let mem = fixture.mem.snapshot_all();
            mem.set_bytes(one, fixture.file(two).to_vec());
            mem.set_bytes(two, fixture.file(one).to_vec());
            repair(&mem, RepairOptions::default()).unwrap();
            assert_eq!(mem.bytes(one).unwrap(), fixture.file(one));
            assert_eq!(mem.bytes(two).unwrap(), fixture.file(two));
        }
    }
}

/// A segment was replaced by the one of the same number of a copy of the store that had gone its own way. Every record in it
/// holds, in its own place and for this store, so the repair took the log for right and the index for wrong, built that
/// anew, and said that nothing is lost: of snapshots that the index had named, and readers had been given.
#[test]
fn what_a_segment_of_a_copy_that_went_its_own_way_replaces_is_lost_and_told() {
    for covered in ALL {
        let fixture = build(covered);
        for fork in [1, 2, 3].into_iter().flat_map(|from| [Fork::Bodies(from), Fork::More(from)]) {
            let copy = build_fork(covered, fork);
            let paths: Vec<String> =
                fixture.segments().into_iter().filter(|path| copy.file(path) != fixture.file(path)).collect();
            drive("repair of segments of a copy", paths.len(), |number| {
                let path = &paths[number];
                Image::of(&fixture, format!("{path} of a copy, {fork:?}")).with(
                    path,
                    copy.file(path).to_vec(),
                    0..u64::MAX,
                )
            });
            for path in paths.iter().filter(|path| **path != fixture.last_segment()) {
                let mem = fixture.mem.snapshot_all();
                mem.set_bytes(path, copy.file(path).to_vec());
                let report = repair(&mem, RepairOptions::default()).unwrap();
                assert!(report.has_losses(), "{covered:?} {path} {fork:?}: {report:?}");
                let is_known = report.lost.iter().any(|lost| lost.key.is_some());
                assert!(
                    report.segments.iter().all(|one| one.segment.0 >= number_of(path)),
                    "nothing is wrong with the segments before: {covered:?} {path}: {report:?}"
                );
                // Of one that holds the COMMIT behind which the index was written nobody can tell which of the two is right:
                // what the log has answers, and what the index named is counted.
                // Of one that holds the COMMIT behind which the index was written nobody can tell which of the two is right:
                // what the log has answers, and what the index named is counted.
                let is_between = number_of(path) < if covered == Covered::All { 3 } else { 2 };
                let is_elsewhere = fork == Fork::More(number_of(path)) && is_between;
                assert!(
                    is_known || covered == Covered::None || !is_elsewhere,
                    "{covered:?} {path}: {report:?}"
                );
            }
        }
    }
}

fn number_of(path: &str) -> u32 {
    path.trim_start_matches("data/").trim_end_matches(".seg").parse().unwrap()
}

#[test]
fn a_file_of_another_store_goes_to_the_quarantine() {
    for covered in ALL {
        let (fixture, foreign) = (build(covered), build_as(covered, StoreId([9; 16])));
        let paths: Vec<String> =
            fixture.mem.paths().into_iter().filter(|path| path != "lock" && path != "readers").collect();
        drive("repair of foreign files", paths.len(), |number| {
            let path = &paths[number];
            let Some(bytes) = foreign.mem.bytes(path) else { return Image::of(&fixture, "same dictionary") };
            Image::of(&fixture, format!("{path} of another store")).with(path, bytes, 0..u64::MAX)
        });
        let names = [
            "data/0000000009.seg",
            "data/4294967295.seg",
            "data/4294967294.seg",
            "index.99",
            "index.99.delta",
        ];
        let text = |number: usize| match number % 3 {
            0 => b"not yours\n".to_vec(),
            1 => Vec::new(),
            _ => foreign.file(&foreign.segments()[0]).to_vec(),
        };
        drive("repair of strays", names.len() * 3, |number| {
            let name = names[number / 3];
            Image::of(&fixture, format!("{name}, kind {}", number % 3)).and_file(name, text(number))
        });
    }
}
