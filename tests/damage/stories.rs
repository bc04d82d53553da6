//! Faults that the drivers found, each with its story.

use std::sync::Arc;

use stix_store::format::record::Tag;
use stix_store::store::check::Severity;
use stix_store::vfs::Vfs;
use stix_store::{Key, RunKey, Store, StoreId};

use super::fixture::{Covered, Fixture, RUN_NAMES, Unit, build, build_as};
use super::images::Image;
use super::judge::{Tally, findings, judge};

fn flipped<'f>(fixture: &'f Fixture, path: &str, at: u64, bit: u32) -> Image<'f> {
    let mut bytes = fixture.file(path).to_vec();
    bytes[usize::try_from(at).unwrap()] ^= 1 << bit;
    Image::of(fixture, format!("bit {bit} of byte {at} of {path}")).with(path, bytes, at..at + 1)
}

fn cut<'f>(fixture: &'f Fixture, path: &str, at: u64) -> Image<'f> {
    let bytes = fixture.file(path)[..usize::try_from(at).unwrap()].to_vec();
    Image::of(fixture, format!("{path} cut at {at}")).with(path, bytes, at..u64::MAX)
}

fn holds(image: &Image<'_>) {
    judge(image, &mut Tally::default()).unwrap();
}

fn last(fixture: &Fixture, file: &str, tag: Tag) -> Unit {
    let units = &fixture.units;
    units.iter().rfind(|unit| unit.file == file && unit.tag == tag && unit.committed).unwrap().clone()
}

/// A store that was not closed cleanly has a tail that no index covers, and opening holds each record of the tail against the
/// index. A flipped bit in a page of it then made the store unreadable, although the log was whole.
#[test]
fn a_damaged_index_page_that_the_tail_needs_does_not_keep_the_store_closed() {
    let fixture = build(Covered::Part);
    for page in 0..fixture.file("index.2").len() / 4096 {
        holds(&flipped(&fixture, "index.2", u64::try_from(page).unwrap() * 4096 + 9, 3));
    }
}

/// A directory called `index.99` passed for an index file that vanished while it was opened: after eight tries the store
/// refused to open. A writer failed on it at its checkpoint.
#[test]
fn a_directory_with_the_name_of_an_index_is_no_index() {
    for covered in [Covered::All, Covered::None] {
        let fixture = build(covered);
        for name in ["index.99", "index.99.delta", "hints.99", "data/0000000009.seg"] {
            let image = Image::of(&fixture, name);
            image.mem.create_dir(name).unwrap();
            holds(&image);
        }
    }
}

/// A power cut may leave any part of what was not synced: a segment of no bytes, or of zeros, or one whose data is torn under an
/// intact head. `check` called each of these damage, and so ended a healthy store's check with exit code 1 for ever.
#[test]
fn what_a_crash_tears_of_an_uncommitted_transaction_is_no_damage() {
    let fixture = build(Covered::All);
    let path = fixture.last_segment();
    let len = fixture.file(&path).len();
    let torn_data = flipped(&fixture, &path, u64::try_from(len).unwrap() - 1, 0);
    for image in [cut(&fixture, &path, 0), cut(&fixture, &path, 50), torn_data, {
        Image::of(&fixture, "zeros").with(&path, vec![0; len], 0..u64::MAX)
    }] {
        holds(&image);
        let found = findings(&image.mem).unwrap();
        assert!(
            found.iter().any(|one| one.severity == Severity::Notice && one.place.file == path),
            "{found:?}"
        );
    }
}

/// A transaction whose COMMIT has a flipped bit is adopted, but only at the end of its segment was it looked for: with a
/// later, uncommitted record behind it, an acknowledged transaction was dropped without a word.
#[test]
fn a_damaged_commit_is_adopted_also_where_an_unfinished_transaction_follows() {
    let fixture = build(Covered::Part);
    let commit = last(&fixture, "data/0000000003.seg", Tag::Commit);
    assert!(commit.range.end < u64::try_from(fixture.file(&commit.file).len()).unwrap());
    for at in commit.range.clone() {
        holds(&flipped(&fixture, &commit.file, at, 5));
    }
}

/// A segment cut off right before its last COMMIT, or right before its last transaction: the next segment's header proves that
/// there was one, so the records were adopted, yet nothing was reported, or only the next segment.
#[test]
fn a_commit_that_is_gone_without_a_trace_is_named_by_the_segment_after_it() {
    for covered in [Covered::All, Covered::Part, Covered::None] {
        let fixture = build(covered);
        for path in ["data/0000000001.seg", "data/0000000002.seg"] {
            let commit = last(&fixture, path, Tag::Commit);
            holds(&cut(&fixture, path, commit.range.start));
            let before = fixture.units.iter().filter(|unit| unit.file == path && unit.tag == Tag::Commit);
            holds(&cut(&fixture, path, before.rev().nth(1).unwrap().range.end));
        }
    }
}

/// Without an index, the record of a run whose head does not hold is unknown; and so the run was not listed, and a restore
/// left out every snapshot in it.
#[test]
fn a_run_whose_own_record_is_lost_is_listed_with_its_snapshots() {
    let fixture = build(Covered::None);
    for (run, (_, name)) in fixture.runs.iter().zip(RUN_NAMES) {
        let unit: &Unit = &fixture.newest[&Key::of_run(*run)];
        let image = flipped(&fixture, &unit.file, unit.range.start + 6, 0);
        holds(&image);
        let store = Store::open_read_only_on(Arc::new(image.mem.clone())).unwrap();
        let runs: Vec<RunKey> = store.view().runs().unwrap().iter().map(|info| info.key).collect();
        assert!(runs.contains(run), "{name}");
    }
}

/// Without an index, what a record holds is taken from its first byte before its checksum is compared. A flipped bit there makes
/// an alias of a snapshot, and the listing of a run left it out without an error.
#[test]
fn a_snapshot_that_damage_makes_look_like_an_alias_is_an_error_and_not_left_out() {
    let fixture = build(Covered::None);
    for (name, run) in fixture.bodies.keys() {
        let unit = fixture.read_by(name, *run)[0].clone();
        let image = flipped(&fixture, &unit.file, unit.range.start + 45, 0);
        holds(&image);
        let store = Store::open_read_only_on(Arc::new(image.mem.clone())).unwrap();
        let view = store.view();
        assert_eq!(view.iter_run(*run).unwrap().filter(Result::is_err).count(), 1);
    }
}

/// An intact config of another store made every segment foreign: the store opened as empty, and a writer would have gone on in it
/// under the wrong identity.
#[test]
fn a_config_of_another_store_does_not_hide_this_one() {
    for covered in [Covered::All, Covered::Part, Covered::None] {
        let (fixture, other) = (build(covered), build_as(covered, StoreId([9; 16])));
        let image = Image::of(&fixture, "config of another store");
        let image = image.with("config", other.file("config").to_vec(), 0..u64::MAX);
        holds(&image);
        let store = Store::open_read_only_on(Arc::new(image.mem.clone())).unwrap();
        assert_eq!(store.id(), StoreId([7; 16]));
    }
}
