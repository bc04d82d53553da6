//! Damage, by driver: every bit flipped, every length cut, every file removed, ranges cut out, blocks zeroed, segments
//! swapped, foreign and stray files put in.
//!
//! Each driver makes images of a small store and hands them to one judge (`judge.rs`), which holds every lookup
//! and `check` against what was stored (`fixture.rs`). What may legitimately go unnoticed is listed in one place,
//! `exempt.rs`, so that a later driver (repair) can use fixture, judge and list as they are.

mod bits;
mod blocks;
mod cuts;
mod exempt;
mod files;
mod fixture;
mod images;
mod judge;
mod lookups;
mod repair;
mod repair_killed;
mod segments;
mod stories;
mod writing;
