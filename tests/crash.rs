//! The crash simulator. A workload is recorded on a file system in memory; then every state that a power cut or the end of
//! the process could leave at any place of its log is made and judged: all choices among the operations that were not
//! durable (or the telling ones, where they are many), the last writes cut, zeroed, or replaced by noise or by what was on
//! the disk before; and again for a crash during the recovery, and for a power cut after another process went on where a
//! killed one had stopped.
//!
//! A failing image prints a line that leads to it alone:
//! `STORE_CRASH_REPLAY='overwrite/k12/f1,0,p37' cargo test --test integration crash`.
//!
//! Not simulated: a rename that leaves both names, sync calls that do nothing (`mutants.rs` shows that these are noticed),
//! and damage of what was durable, which the damage drivers see to.
//!
//! Sources of the method: ALICE (cut the log of calls at each), `SQLite` `test6.c` and `RocksDB`
//! `fault_injection_fs.h` (drop what was not synced), `CrashMonkey` (short workloads, all of them, beat long ones).

#![expect(
    clippy::as_conversions,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::needless_for_each,
    clippy::wildcard_enum_match_arm,
    reason = "numbers of tests are small, names are the store's own, and most actions are of no interest"
)]

use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub(crate) mod fates;
mod mutants;
mod regressions;
mod simulate;
mod trail;
pub(crate) mod verify;
pub(crate) mod workloads;

use simulate::{Simulation, Tally, replay};
use trail::Trail;

/// Images and time of all workloads simulated so far.
static TOTAL: Mutex<(Tally, Duration)> = Mutex::new((Tally { images: 0, judged: 0 }, Duration::ZERO));

/// Simulates a workload, or the one image that the environment names.
#[expect(clippy::print_stdout, reason = "the number of images is part of what the test shows")]
fn simulate(name: &str) {
    let workload = workloads::named(name);
    if let Ok(line) = std::env::var("STORE_CRASH_REPLAY") {
        let trail: Trail = line.parse().unwrap();
        if trail.workload == name {
            replay(workload, &trail).unwrap_or_else(|complaint| panic!("{complaint}"));
        }
        return;
    }
    let start = Instant::now();
    let tally = Simulation::run(workload).unwrap_or_else(|failure| panic!("{failure}"));
    let mut total = TOTAL.lock();
    total.0.images += tally.images;
    total.0.judged += tally.judged;
    total.1 += start.elapsed();
    let (Tally { images, judged }, all) = (tally, total.0);
    println!(
        "crash simulator, {name}: {images} images, {judged} of them distinct, {:.1} s; in all {} images, {} distinct, {:.1} s",
        start.elapsed().as_secs_f32(),
        all.images,
        all.judged,
        total.1.as_secs_f32(),
    );
}

macro_rules! simulated {
    ($($test:ident $workload:literal,)*) => {
        $(#[test]
        fn $test() {
            simulate($workload);
        })*
        const SIMULATED: &[&str] = &[$($workload),*];
    };
}

simulated! {
    a_crash_while_a_store_is_created_leaves_it_or_nothing "create",
    a_crash_in_the_first_commit_leaves_all_or_nothing_of_it "first_commit",
    a_crash_among_several_segments_leaves_whole_commits "segments",
    a_crash_in_an_overwrite_leaves_the_old_or_the_new_bytes "overwrite",
    a_crash_in_a_delete_leaves_the_snapshot_or_not "delete",
    a_crash_after_a_rollback_brings_nothing_rolled_back_to_life "rollback",
    a_crash_in_a_bulk_with_a_new_dictionary_leaves_all_readable "dictionary",
    a_crash_in_checkpoints_loses_no_commit "checkpoints",
    a_crash_of_a_writer_behind_an_uncommitted_tail_revives_none_of_it "uncommitted_tail",
    a_crash_between_two_commits_of_one_segment_keeps_the_first "two_commits",
    a_crash_in_a_recovery_alone_changes_nothing "recovery_only",
    a_crash_among_aliases_and_runs_leaves_whole_commits "aliases_and_runs",
    a_crash_after_an_unchanged_put_keeps_what_was_acknowledged "unchanged",
    a_crash_of_a_handle_that_rolls_back_again_and_again_revives_none_of_it "rollbacks",
    a_crash_in_a_compaction_changes_nothing_that_can_be_read "compaction",
    a_crash_in_a_compaction_after_a_rollback_revives_none_of_it "compaction_after_rollback",
    a_crash_in_a_close_that_merges_small_segments_changes_nothing_that_can_be_read "merge",
}

#[test]
fn every_workload_is_simulated() {
    let all = workloads::ALL.iter().chain([workloads::MERGE]);
    let all: Vec<&str> = all.map(|workload| workload.name).collect();
    assert_eq!(all, SIMULATED);
}

#[test]
fn a_trail_is_read_back_from_its_line() {
    for line in ["overwrite/k12/f1,0,p37", "create/k0/f", "delete/kill31+50/k60/fz8,g,s", "a/k1/f0/k2/f1"] {
        assert_eq!(line.parse::<Trail>().unwrap().to_string(), line);
    }
    for line in ["overwrite/12", "overwrite/k1", "overwrite/kill3/k1/f", "overwrite/k1/fx"] {
        line.parse::<Trail>().unwrap_err();
    }
}
