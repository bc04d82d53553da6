//! `store check`: what is wrong with the store, where, and what to do next.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{Damage, Result};
use crate::progress::Progress;
use crate::snapshot::{Meta, bundle};
use crate::store::check::{
    CheckOptions, CheckSink, CheckSummary, Finding, Level, SegmentReport, Severity, check,
};
use crate::store::{PutKind, Snapshot, Store, View};

use super::args::{CheckArgs, LevelArg};
use super::context::{Context, segment_of};
use super::exit::Exit;
use super::files;
use super::lookup::{self, RunNames};
use super::output::clip;
use super::progress::Meter;
use super::repair;
use super::text::{Text, show, show_path, show_size};

/// Damaged files that the last lines name.
const SHOWN_FILES: usize = 5;
/// Affected snapshots that they name.
const SHOWN_NAMES: usize = 10;

/// A `result` unit: one finding.
#[derive(Serialize)]
struct ResultUnit<'a> {
    key: Option<String>,
    path: Option<Vec<Text<'a>>>,
    file: &'a str,
    seg: Option<u32>,
    off: Option<u64>,
    len: Option<u64>,
    live: Option<bool>,
    severity: &'static str,
    state: &'static str,
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail_truncated: Option<bool>,
    fix: Option<&'static str>,
}

/// A `segment` unit.
#[derive(Serialize)]
struct SegmentUnit {
    seg: u32,
    bytes: u64,
    records: u64,
    live: u64,
    bad: u64,
    state: &'static str,
}

/// Runs the command.
///
/// # Errors
/// `NoStore`, `UnsupportedVersion`, `Cancelled`, failures of the output. Damage is noted, not an error.
pub(crate) fn run(context: &Context, args: &CheckArgs) -> Result<()> {
    let stop = context.stop()?;
    let vfs = files::reading(&context.store);
    // Only for names and the store's id: a store that does not open is checked all the same.
    let store = Store::open_read_only(&context.store).ok();
    let view = store.as_ref().map(Store::view);
    let begin = serde_json::json!({
        "level": args.level.name(),
        "commit": view.as_ref().map(|view| view.commit().0),
    });
    context.out.begin(store.as_ref().map(Store::id), &begin)?;
    let level = match args.level {
        LevelArg::Index => Level::Index,
        LevelArg::Crc => Level::Crc,
        LevelArg::Content => Level::Content,
    };
    let meter = context.meter("check", "records");
    let names = RunNames::default();
    let repairs = args.repair;
    let (affected, wrong) = (Affected::default(), BTreeMap::new());
    let mut sink = Sink { context, view: view.as_ref(), names, meter, affected, wrong, repairs };
    let options = CheckOptions { level, judge: Some(&content), ..CheckOptions::default() };
    let result = check(&vfs, &options, &mut sink, &stop);
    sink.meter.finish();
    let (affected, wrong) = (sink.affected, sink.wrong);
    let summary = result?;
    tell(context, &summary)?;
    if summary.damage == 0 {
        return context.say("no damage found");
    }
    if args.repair {
        // A view is a reader, and what is repaired would have to wait for it.
        drop((view, store));
        return repair::after_check(context);
    }
    context.note(Exit::Damage);
    advise(context, &affected, &wrong)
}

fn tell(context: &Context, summary: &CheckSummary) -> Result<()> {
    for (name, count) in [
        ("segments", summary.segments),
        ("records", summary.records),
        ("bytes", summary.bytes),
        ("ok", summary.ok),
        ("damage", summary.damage),
        ("notices", summary.notices),
    ] {
        context.out.count(name, count);
    }
    context.say(&format!(
        "checked {} segments, {} records, {}: {} snapshots good, {} damaged places, {} notices",
        summary.segments,
        summary.records,
        show_size(summary.bytes),
        summary.ok,
        summary.damage,
        summary.notices
    ))
}

/// Says what is wrong, whom it concerns, and what to do next.
fn advise(context: &Context, affected: &Affected, wrong: &BTreeMap<String, u64>) -> Result<()> {
    let files: Vec<String> = wrong
        .iter()
        .take(SHOWN_FILES)
        .map(|(file, places)| match places {
            1 => show(file.as_bytes()),
            places => format!("{} ({places} places)", show(file.as_bytes())),
        })
        .collect();
    let more = wrong.len().saturating_sub(files.len());
    let more = if more > 0 { format!(" and {more} more files") } else { String::new() };
    context.say(&format!("damaged: {}{more}", files.join(", ")))?;
    for name in &affected.shown {
        context.say(&format!("affected: {name}"))?;
    }
    let path = show(context.store.as_os_str().as_encoded_bytes());
    let more = affected.count.saturating_sub(u64::try_from(affected.shown.len()).unwrap_or(u64::MAX));
    if more > 0 {
        context.say(&format!("affected: {more} more; store -s {path} --json check lists all"))?;
    }
    if affected.nameless > 0 {
        let count = affected.nameless;
        context.say(&format!("affected: {count} snapshots whose id nobody can read any more"))?;
    }
    context.say(&format!(
        "next: store -s {path} repair --dry-run      tells what a repair would save and what is lost, and changes nothing"
    ))?;
    let in_log = wrong.keys().any(|file| segment_of(file).is_some());
    let from_tree = if in_log { " --source TREE" } else { "" };
    let does = if in_log {
        "repairs it, and takes what is lost from a backup tree that has it"
    } else {
        "repairs it"
    };
    context.say(&format!("then: store -s {path} repair{from_tree}      {does}"))
}

/// What live snapshots are damaged: the first ones by name.
#[derive(Default)]
struct Affected {
    shown: Vec<String>,
    /// How many have a name.
    count: u64,
    /// How many have none.
    nameless: u64,
}

impl Affected {
    fn add(&mut self, path: Option<&[&[u8]]>) {
        let Some(path) = path else {
            self.nameless = self.nameless.saturating_add(1);
            return;
        };
        self.count = self.count.saturating_add(1);
        if self.shown.len() < SHOWN_NAMES {
            self.shown.push(show_path(path.iter().copied()));
        }
    }
}

struct Sink<'a> {
    context: &'a Context,
    view: Option<&'a View>,
    names: RunNames,
    meter: Meter,
    affected: Affected,
    /// The files with damage, and at how many places.
    wrong: BTreeMap<String, u64>,
    /// Whether a repair follows, which says by itself what could not be repaired.
    repairs: bool,
}

impl CheckSink for Sink<'_> {
    fn finding(&mut self, finding: &Finding) -> Result<()> {
        let segment = segment_of(&finding.place.file);
        if finding.severity == Severity::Damage {
            if !self.repairs {
                self.context.note(Exit::Damage);
            }
            let places = self.wrong.entry(finding.place.file.clone()).or_default();
            *places = places.saturating_add(1);
        }
        let path = match (&finding.name, finding.key) {
            (Some(name), Some(key)) if !key.is_run() => {
                Some(lookup::path(self.names.of(self.view, key.run), name))
            }
            (_, Some(key)) if key.is_run() => {
                Some([self.names.of(self.view, key.run).as_bytes().to_vec(), Vec::new()])
            }
            _ => None,
        };
        let parts: Option<Vec<&[u8]>> = path
            .as_ref()
            .map(|path| path.iter().map(Vec::as_slice).filter(|part| !part.is_empty()).collect());
        if finding.severity == Severity::Damage && finding.live == Some(true) {
            self.affected.add(parts.as_deref());
        }
        let detail = describe(finding);
        if !self.context.out.is_json() {
            return self.context.out.line(&human(finding, parts, &detail));
        }
        let (state, code) = classify(finding.severity, finding.damage.as_ref());
        let (detail, cut) = clip(&detail);
        if finding.severity == Severity::Damage {
            self.context.out.count(state, 1);
        }
        let unit = ResultUnit {
            key: finding.key.map(|key| key.to_string()),
            path: parts.map(|parts| parts.into_iter().map(Text).collect()),
            file: &finding.place.file,
            seg: segment,
            off: finding.place.offset,
            len: finding.len,
            live: finding.live,
            severity: if finding.severity == Severity::Damage { "damage" } else { "notice" },
            state,
            code,
            detail,
            detail_truncated: cut.then_some(true),
            fix: (state == "index_mismatch").then_some("index"),
        };
        self.context.out.unit("result", &unit)
    }

    fn segment(&mut self, report: &SegmentReport) -> Result<()> {
        let state = if report.bad > 0 { "corrupt" } else { "ok" };
        if self.context.out.is_json() {
            let SegmentReport { segment, bytes, records, live, bad, .. } = *report;
            let unit = SegmentUnit { seg: segment.0, bytes, records, live, bad, state };
            return self.context.out.unit("segment", &unit);
        }
        if self.context.console.is_verbose() {
            let size = show_size(report.bytes);
            let text = format!("{size}, {} records, {} live, {state}", report.records, report.live);
            self.context.console.note(&format!("segment {}: {text}", report.segment.0));
        }
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) {
        self.meter.update(progress);
    }
}

fn content(snapshot: &Snapshot<'_>, body: &[u8]) -> Option<String> {
    if snapshot.kind() != PutKind::Snapshot {
        return None;
    }
    judge(snapshot, body).err()
}

/// Parses a stored file again and holds the recorded positions against what is found.
fn judge(snapshot: &Snapshot<'_>, body: &[u8]) -> std::result::Result<(), String> {
    let recorded = Meta::decode(snapshot.meta(), snapshot.object_range())?;
    let parsed = bundle::parse(body).map_err(|reject| reject.to_string())?;
    let expect = Meta::of(&parsed, &snapshot.name(), recorded.mtime);
    if recorded.objects == expect.objects {
        return Ok(());
    }
    let place =
        recorded.objects.iter().zip(&expect.objects).position(|(recorded, expect)| recorded != expect);
    Err(match place {
        Some(place) => format!("object {place} is not as recorded: its id, place or references differ"),
        None => format!("{} objects recorded, {} found", recorded.objects.len(), expect.objects.len()),
    })
}

fn describe(finding: &Finding) -> String {
    match &finding.damage {
        Some(damage) if finding.detail.is_empty() => damage.to_string(),
        Some(_) | None => finding.detail.clone(),
    }
}

/// One line: what, where, what is wrong, whom it concerns.
fn human(finding: &Finding, path: Option<Vec<&[u8]>>, detail: &str) -> String {
    let severity = if finding.severity == Severity::Damage { "damage" } else { "notice" };
    let mut text = format!("{severity}: {}", finding.place);
    if let Some(len) = finding.len {
        text = format!("{text}, {len} bytes");
    }
    text = format!("{text}: {}", show(detail.as_bytes()));
    if let Some(path) = path {
        text = format!("{text} [{}]", show_path(path));
    }
    if finding.live == Some(false) {
        text.push_str(" (superseded)");
    }
    text
}

/// Returns a finding's state and code in machine output.
fn classify(severity: Severity, damage: Option<&Damage>) -> (&'static str, &'static str) {
    let Some(damage) = damage else {
        // Damage that no bytes show is bytes that cannot be read.
        return if severity == Severity::Damage {
            ("unreadable", "unreadable")
        } else {
            ("unknown", "notice")
        };
    };
    match damage {
        Damage::Magic => ("corrupt", "magic"),
        Damage::Checksum { .. } => ("corrupt", "crc_mismatch"),
        Damage::Field { .. } => ("corrupt", "field"),
        Damage::Truncated { .. } => ("truncated", "truncated"),
        Damage::Missing => ("missing", "missing"),
        Damage::Gone => ("missing", "gone"),
        Damage::Unreadable { .. } => ("unreadable", "unreadable"),
        Damage::Foreign { .. } => ("corrupt", "foreign"),
        Damage::Misplaced { .. } => ("corrupt", "misplaced"),
        Damage::Transaction { .. } => ("corrupt", "transaction"),
        Damage::Chain { .. } => ("corrupt", "chain"),
        Damage::CommitLost { .. } => ("missing", "commit_lost"),
        Damage::Content { .. } => ("corrupt", "content"),
        Damage::Index { .. } => ("index_mismatch", "index"),
        Damage::WrongRecord => ("index_mismatch", "wrong_record"),
        Damage::Dictionary { .. } => ("corrupt", "dictionary"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Place;

    fn finding(severity: Severity, damage: Option<Damage>) -> Finding {
        Finding {
            severity,
            place: Place::at("data/0000000003.seg", 5128),
            len: Some(77),
            damage,
            detail: String::new(),
            key: None,
            name: None,
            run: None,
            live: None,
        }
    }

    #[test]
    fn a_finding_is_one_line_with_place_cause_and_name() {
        let damage = Damage::Checksum { what: "data", expect: 1, actual: 2 };
        let finding = finding(Severity::Damage, Some(damage));
        let text = human(&finding, Some(vec![b"run", b"x\n.json"]), &describe(&finding));
        assert_eq!(
            text,
            "damage: data/0000000003.seg at 5128, 77 bytes: \
             data checksum: stored 00000001, computed 00000002 [run/x\\n.json]"
        );
    }

    #[test]
    fn findings_have_the_states_of_the_schema() {
        for (severity, damage, state) in [
            (Severity::Damage, Some(Damage::Missing), "missing"),
            (Severity::Damage, Some(Damage::WrongRecord), "index_mismatch"),
            (Severity::Damage, Some(Damage::Truncated { expect: 2, actual: 1 }), "truncated"),
            (Severity::Damage, Some(Damage::Magic), "corrupt"),
            (Severity::Damage, None, "unreadable"),
            (Severity::Notice, None, "unknown"),
        ] {
            assert_eq!(classify(severity, damage.as_ref()).0, state, "{damage:?}");
        }
    }
}
