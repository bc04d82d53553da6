//! `store stats`: figures of the store.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Result;
use crate::store::repair::Evidence;
use crate::store::stats::{SegmentStats, Stats};

use super::context::Context;
use super::exit::Exit;
use super::table::{Field, Rows};
use super::text::{scale, show, show_size};

/// A `stats` unit.
#[derive(Serialize)]
struct StatsUnit<'a> {
    commit: u64,
    ids: u64,
    snapshots: u64,
    aliases: u64,
    runs: u64,
    tombstones: u64,
    lost: u64,
    gaps: u64,
    evidence: Vec<EvidenceUnit<'a>>,
    types: &'a BTreeMap<String, u64>,
    file_bytes: u64,
    store_bytes: u64,
    index_bytes: u64,
    index_files: u64,
    load_factor: f64,
    segment_size: u64,
    compression: &'a str,
    dictionary: Option<DictionaryUnit<'a>>,
    live_bytes: u64,
    tombstone_bytes: u64,
    garbage_bytes: u64,
    overhead_bytes: u64,
    segments: Vec<SegmentUnit>,
    read_only: Option<&'a str>,
    notices: &'a [String],
}

#[derive(Serialize)]
struct DictionaryUnit<'a> {
    id: &'a str,
    bytes: u64,
}

/// A directory of the quarantine.
#[derive(Serialize)]
struct EvidenceUnit<'a> {
    path: &'a str,
    lost: u64,
    unknown: u64,
}

impl EvidenceUnit<'_> {
    fn of(evidence: &Evidence) -> EvidenceUnit<'_> {
        EvidenceUnit { path: &evidence.path, lost: evidence.lost, unknown: evidence.unknown }
    }
}

#[derive(Serialize)]
struct SegmentUnit {
    seg: u32,
    len: u64,
    live: u64,
    tombstones: u64,
    garbage: u64,
    overhead: u64,
    live_records: u64,
}

/// Runs the command.
///
/// # Errors
/// `NoStore`, failures of reading and of the output.
pub(crate) fn run(context: &Context) -> Result<()> {
    let store = context.open_read()?;
    let stats = store.stats()?;
    if stats.read_only.is_some() {
        context.note(Exit::Damage);
    }
    for (name, count) in [("snapshots", stats.snapshots), ("ids", stats.ids), ("runs", stats.runs)] {
        context.out.count(name, count);
    }
    if context.out.is_json() {
        return context.out.unit("stats", &unit(&stats));
    }
    for (name, value) in figures(&stats) {
        context.out.line(&format!("{name:<16} {value}"))?;
    }
    if let Some(reason) = &stats.read_only {
        context.out.line(&format!("{:<16} {reason}", "read-only"))?;
    }
    context.out.line("")?;
    let mut types = Rows::titled(&context.out, &["TYPE", "SNAPSHOTS"])?;
    for (name, count) in &stats.types {
        types.row(&[Field::Name(name.as_bytes().to_vec()), Field::Count(*count)])?;
    }
    types.finish()?;
    context.out.line("")?;
    let titles = ["SEGMENT", "SIZE", "LIVE", "TOMBSTONES", "GARBAGE", "OVERHEAD", "RECORDS"];
    let mut segments = Rows::titled(&context.out, &titles)?;
    for (segment, of) in &stats.segments {
        segments.row(&[
            Field::Count(u64::from(segment.0)),
            Field::Bytes(of.len),
            Field::Bytes(of.live),
            Field::Bytes(of.tombstones),
            Field::Bytes(of.garbage),
            Field::Bytes(of.overhead),
            Field::Count(of.live_records),
        ])?;
    }
    segments.finish()
}

/// Adds up one figure of all segments.
fn sum(stats: &Stats, figure: impl Fn(&SegmentStats) -> u64) -> u64 {
    stats.segments.iter().fold(0, |sum, (_, segment)| sum.saturating_add(figure(segment)))
}

/// Shows `part` of `whole` as a factor with two digits: `3.81`.
fn factor(part: u64, whole: u64) -> String {
    let hundredths = scale(part, 100, whole);
    let (units, rest) = (hundredths.checked_div(100).unwrap_or(0), hundredths.checked_rem(100).unwrap_or(0));
    format!("{units}.{rest:02}")
}

/// Tells how much was lost, and where the evidence lies.
fn lost(stats: &Stats) -> String {
    let places: Vec<&str> = stats.evidence.iter().map(|evidence| evidence.path.as_str()).collect();
    if places.is_empty() {
        stats.lost.to_string()
    } else {
        format!("{}; set aside: {}", stats.lost, places.join(", "))
    }
}

fn figures(stats: &Stats) -> Vec<(&'static str, String)> {
    let live = sum(stats, |segment| segment.live);
    let garbage = sum(stats, |segment| segment.garbage);
    let total = sum(stats, |segment| segment.len);
    let dictionary = match &stats.dictionary {
        Some((id, bytes)) => format!("{id}, {}", show_size(*bytes)),
        None => "none".to_owned(),
    };
    vec![
        ("store", stats.store.to_string()),
        ("last commit", stats.commit.0.to_string()),
        ("runs", stats.runs.to_string()),
        ("snapshots", stats.snapshots.to_string()),
        ("ids", stats.ids.to_string()),
        ("aliases", stats.aliases.to_string()),
        ("tombstones", stats.tombstones.to_string()),
        ("lost", lost(stats)),
        ("gaps", stats.gaps.to_string()),
        ("files' bytes", show_size(stats.file_bytes)),
        ("live bytes", format!("{} ({} times smaller)", show_size(live), factor(stats.file_bytes, live))),
        ("garbage bytes", format!("{} ({} %)", show_size(garbage), scale(garbage, 100, total))),
        ("store bytes", show_size(stats.store_bytes)),
        ("index", format!("{} files, {}", stats.index_files, show_size(stats.index_bytes))),
        ("load factor", format!("{:.2}", stats.load_factor)),
        ("segment size", show_size(stats.segment_size)),
        ("compression", stats.compression.to_owned()),
        ("dictionary", show(dictionary.as_bytes())),
    ]
}

fn unit(stats: &Stats) -> StatsUnit<'_> {
    let segments = stats.segments.iter().map(|(segment, of)| SegmentUnit {
        seg: segment.0,
        len: of.len,
        live: of.live,
        tombstones: of.tombstones,
        garbage: of.garbage,
        overhead: of.overhead,
        live_records: of.live_records,
    });
    StatsUnit {
        commit: stats.commit.0,
        ids: stats.ids,
        snapshots: stats.snapshots,
        aliases: stats.aliases,
        runs: stats.runs,
        tombstones: stats.tombstones,
        lost: stats.lost,
        gaps: stats.gaps,
        evidence: stats.evidence.iter().map(EvidenceUnit::of).collect(),
        types: &stats.types,
        file_bytes: stats.file_bytes,
        store_bytes: stats.store_bytes,
        index_bytes: stats.index_bytes,
        index_files: stats.index_files,
        load_factor: stats.load_factor,
        segment_size: stats.segment_size,
        compression: stats.compression,
        dictionary: stats.dictionary.as_ref().map(|(id, bytes)| DictionaryUnit { id, bytes: *bytes }),
        live_bytes: sum(stats, |segment| segment.live),
        tombstone_bytes: sum(stats, |segment| segment.tombstones),
        garbage_bytes: sum(stats, |segment| segment.garbage),
        overhead_bytes: sum(stats, |segment| segment.overhead),
        segments: segments.collect(),
        read_only: stats.read_only.as_deref(),
        notices: &stats.notices,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_have_two_digits_and_survive_an_empty_store() {
        assert_eq!(factor(381, 100), "3.81");
        assert_eq!(factor(5, 100), "0.05");
        assert_eq!(factor(0, 0), "0.00");
    }
}
