//! `store repair`: saves what is intact, sets the rest aside, and says what is lost.

use std::path::Path;

use serde::Serialize;

use crate::error::Result;
use crate::import::TreeSource;
use crate::store::repair::{
    Fate, FileRepair, Lost, LostKind, RepairOptions, RepairReport, RepairSource, SegmentRepair, Unknown,
};
use crate::store::{Store, View};
use crate::vfs::tree;

use super::args::RepairArgs;
use super::command::Command;
use super::context::{Context, segment_of};
use super::exit::Exit;
use super::lookup::{self, RunNames};
use super::stream::{Named, Outcome};
use super::text::{Text, show, show_path, show_size};

/// A `repair` unit: one file that was, or would be, repaired; or that needs no repair any more.
#[derive(Serialize)]
struct RepairUnit<'a> {
    /// None: it is about a whole file. A `lost` unit is about a record.
    key: Option<&'a str>,
    file: &'a str,
    seg: Option<u32>,
    off: Option<u64>,
    action: &'a str,
    detail: &'a str,
    #[serde(flatten)]
    outcome: Outcome<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    txn: Option<u64>,
    evidence: Option<&'a str>,
    dry_run: bool,
}

/// A `lost` unit: one record that could not be read.
#[derive(Serialize)]
struct LostUnit<'a> {
    kind: &'a str,
    outcome: &'a str,
    run: &'a str,
    id: Option<Text<'a>>,
    key: Option<String>,
    hash: Option<String>,
    file: &'a str,
    seg: Option<u32>,
    off: Option<u64>,
    why: &'a str,
    action: &'a str,
    #[serde(flatten)]
    fate: Outcome<'a>,
    dry_run: bool,
}

/// An `unknown` unit: bytes of which nobody knows what they held.
#[derive(Serialize)]
struct UnknownUnit<'a> {
    file: &'a str,
    seg: Option<u32>,
    off: Option<u64>,
    len: Option<u64>,
    records: Option<u64>,
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// `NoStore`, `Locked`, `Cancelled`, `BadInput` for results that cannot be used, failures of the store. Losses are noted,
/// not errors.
pub(crate) fn run(context: &Context, args: &RepairArgs) -> Result<()> {
    let store = context.open_damaged(args.dry_run)?;
    let named = args.from.as_ref().map(|path| Named::read(path, store.id(), args.allow_incomplete));
    let named = named.transpose()?;
    if named.as_ref().is_some_and(Named::is_empty) {
        return context.say("the results name no damage; nothing to repair");
    }
    let scope = named.as_ref().map(Named::scope);
    let RepairArgs { dry_run, accept_older, .. } = *args;
    let options = RepairOptions { scope: scope.as_ref(), dry_run, accept_older };
    carry_out(context, &store, options, args.source.as_deref(), named.as_ref()).map(|_| ())
}

/// Repairs what a check has found and told.
///
/// # Errors
/// As of [`run`].
pub(super) fn after_check(context: &Context, named: &Named) -> Result<()> {
    let store = Store::open(&context.store)?;
    let report = carry_out(context, &store, RepairOptions::default(), None, Some(named))?;
    if report.damage == 0 {
        // A finding that is not of the bytes, or one of bytes that are gone since: the next check tells.
        context.note(Exit::Damage);
        return Ok(());
    }
    context.out.ending(&serde_json::json!({ "known_bad": report.remaining, "cursor": null, "next": null }))
}

fn carry_out(
    context: &Context,
    store: &Store,
    options: RepairOptions<'_>,
    tree: Option<&Path>,
    named: Option<&Named>,
) -> Result<RepairReport> {
    let stop = context.stop()?;
    let mut source = tree.map(TreeSource::open).transpose()?;
    let source = source.as_mut().map(|source| -> &mut dyn RepairSource { source });
    let mut meter = context.meter("repair", "segments");
    let report = store.repair(context.writer_options(), options, source, &mut |at| meter.update(at), &stop);
    meter.finish();
    let report = report?;
    Teller { context, view: None, names: RunNames::default(), named, dry_run: options.dry_run }
        .tell(&report)?;
    Ok(report)
}

struct Teller<'a> {
    context: &'a Context,
    view: Option<View>,
    names: RunNames,
    /// What a check found before.
    named: Option<&'a Named>,
    dry_run: bool,
}

impl Teller<'_> {
    fn tell(&mut self, report: &RepairReport) -> Result<()> {
        self.view = Store::open_read_only(&self.context.store).ok().map(|store| store.view());
        for file in &report.files {
            self.file(file)?;
        }
        for segment in &report.segments {
            self.segment(segment)?;
        }
        self.untouched(report)?;
        for lost in &report.lost {
            self.lost(lost)?;
        }
        for unknown in &report.unknown {
            self.unknown(unknown)?;
        }
        for (place, why) in &report.left {
            self.context.note(Exit::Damage);
            self.context.console.error(&format!("{place} cannot be repaired: {why}"));
        }
        self.conclude(report)
    }

    fn line(&self, text: &str) -> Result<()> {
        if self.context.out.is_json() { Ok(()) } else { self.context.out.line(text) }
    }

    /// The state before and after of what was repaired, or would be.
    fn outcome<'e>(&self, file: &str, is_there: bool, evidence: Option<&'e str>) -> Outcome<'e> {
        let guess = if is_there { "corrupt" } else { "missing" };
        let pre = self.named.and_then(|named| named.state(file)).unwrap_or(guess);
        let post = if self.dry_run { pre } else { "ok" };
        Outcome { pre, attempted: !self.dry_run, ok: !self.dry_run, post, quarantine: evidence }
    }

    fn file(&self, file: &FileRepair) -> Result<()> {
        let FileRepair { file, action: detail, evidence } = file;
        let evidence = evidence.as_deref();
        let unit = RepairUnit {
            key: None,
            file,
            seg: None,
            off: None,
            action: "rebuild",
            detail,
            outcome: self.outcome(file, evidence.is_some(), evidence),
            kept: None,
            txn: None,
            evidence,
            dry_run: self.dry_run,
        };
        self.context.out.unit("repair", &unit)?;
        let whence = evidence.map(|path| format!("; what was there is {path}")).unwrap_or_default();
        self.line(&format!("{file}: {detail}{whence}"))
    }

    fn segment(&self, segment: &SegmentRepair) -> Result<()> {
        let file = format!("data/{}.seg", segment.segment);
        let (action, detail) = if segment.present {
            ("salvage", "replaced by what is intact in it")
        } else {
            ("declare_lost", "it is missing")
        };
        let evidence = segment.evidence.as_deref();
        let unit = RepairUnit {
            key: None,
            file: &file,
            seg: Some(segment.segment.0),
            off: None,
            action,
            detail,
            outcome: self.outcome(&file, segment.present, evidence),
            kept: Some(segment.kept),
            txn: (!self.dry_run).then_some(segment.commit.0),
            evidence,
            dry_run: self.dry_run,
        };
        self.context.out.unit("repair", &unit)?;
        let size = show_size(segment.bytes);
        let whence = evidence.map(|path| format!("; the original is in {path}")).unwrap_or_default();
        self.line(&format!("{file}, {size}: {detail}, {} live records{whence}", segment.kept))
    }

    /// What the check named and the repair found nothing to do about: somebody has repaired, replaced or deleted it since; or
    /// it cannot be repaired.
    fn untouched(&self, report: &RepairReport) -> Result<()> {
        for (file, was) in self.named.into_iter().flat_map(Named::all) {
            let is_done = report.files.iter().any(|done| done.file == file)
                || report.segments.iter().any(|done| segment_of(file) == Some(done.segment.0));
            if is_done {
                continue;
            }
            let left = report.left.iter().find(|(place, _)| place.file == file);
            let (ok, detail) = match left {
                Some((_, why)) => (false, why.as_str()),
                None if self.has_bad_content(file)? => {
                    self.context.note(Exit::Damage);
                    (false, "its bytes are as they were written; no repair changes what they say")
                }
                None => (true, "nothing is wrong with it now"),
            };
            let now = if ok { "ok" } else { was };
            let unit = RepairUnit {
                key: None,
                file,
                seg: segment_of(file),
                off: None,
                action: "none",
                detail,
                outcome: Outcome { pre: now, attempted: false, ok, post: now, quarantine: None },
                kept: None,
                txn: None,
                evidence: None,
                dry_run: self.dry_run,
            };
            self.context.out.unit("repair", &unit)?;
            if left.is_none() {
                self.line(&format!("{}: {detail}", show(file.as_bytes())))?;
            }
        }
        Ok(())
    }

    /// Tells whether a file that is still there has something in it that no repair changes.
    fn has_bad_content(&self, file: &str) -> Result<bool> {
        let is_named = self.named.is_some_and(|named| named.has_bad_content(file));
        Ok(is_named && tree::kind_at(&self.context.store.join(file))?.is_some())
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        let run = self.names.of(self.view.as_ref(), lost.run).to_owned();
        let name = lost.name().filter(|_| lost.kind != LostKind::Run);
        let (file, off) = (lost.place.file.as_str(), lost.place.offset);
        self.context.out.count(lost.fate.name(), 1);
        let (action, ok, post) = match lost.fate {
            Fate::Healed => ("reput_from_source", true, "ok"),
            Fate::Older => ("accept_older", true, "ok"),
            Fate::Other => ("accept_other", false, "lost"),
            Fate::Lost => ("declare_lost", false, "lost"),
        };
        let pre = self.named.and_then(|named| named.state(file)).unwrap_or("corrupt");
        let attempted = !self.dry_run;
        let fate = Outcome { pre, attempted, ok: ok && attempted, post, quarantine: None };
        let unit = LostUnit {
            kind: lost.kind.name(),
            outcome: lost.fate.name(),
            run: &run,
            id: name.as_deref().map(Text),
            key: lost.key.map(|key| key.to_string()),
            hash: lost.hash.map(|hash| format!("{hash:016x}")),
            file,
            seg: segment_of(file),
            off,
            why: &lost.why,
            action,
            fate,
            dry_run: self.dry_run,
        };
        self.context.out.unit("lost", &unit)?;
        let what = match (lost.kind, &name, lost.key) {
            (LostKind::Run, ..) => format!("the name and time of run {run}"),
            (kind, Some(name), _) => {
                let path = lookup::path(&run, name);
                let path = show_path(path.iter().map(Vec::as_slice));
                if kind == LostKind::Deletion { format!("the deletion of {path}") } else { path }
            }
            (LostKind::Deletion, None, Some(key)) => format!("a deletion of run {run}, key {key}"),
            (_, None, Some(key)) => format!("{run}, key {key}"),
            (_, None, None) => format!("a {} of run {run}, id unknown", lost.kind.name()),
        };
        self.line(&format!("{}: {what} ({}: {})", lost.fate.name(), lost.place, lost.why))
    }

    fn unknown(&self, unknown: &Unknown) -> Result<()> {
        let Unknown { place, len, records } = unknown;
        let unit = UnknownUnit {
            file: &place.file,
            seg: segment_of(&place.file),
            off: place.offset,
            len: *len,
            records: *records,
            dry_run: self.dry_run,
        };
        self.context.out.count("unknown", 1);
        self.context.out.unit("unknown", &unit)?;
        let len = len.map(|len| format!(", {len} bytes")).unwrap_or_default();
        let records = records.map_or("records".to_owned(), |records| format!("{records} records"));
        self.line(&format!("lost: {records} of which nothing is known ({place}{len})"))
    }

    fn conclude(&self, report: &RepairReport) -> Result<()> {
        let context = self.context;
        if report.has_losses() || report.remaining > 0 {
            context.note(Exit::Damage);
        }
        context.out.count("damage", report.damage);
        context.out.count("remaining", report.remaining);
        if report.damage == 0 {
            return context.say("no damage found; nothing to repair");
        }
        let count = report.lost.len();
        if self.dry_run {
            return context.say(&format!(
                "{} damaged places; {count} records are lost, {} ranges of unknown content; nothing was changed",
                report.damage,
                report.unknown.len()
            ));
        }
        if report.waiting_bytes > 0 {
            let waiting = show_size(report.waiting_bytes);
            context.say(&format!(
                "{waiting} wait until no reader uses them; the next writing command removes them"
            ))?;
        }
        if report.remaining > 0 {
            let check = Command::new(context, "check");
            return context.say(&format!("{} damaged places remain; {check}", report.remaining));
        }
        let losses = if report.has_losses() { "see above for what is lost" } else { "nothing is lost" };
        context.say(&format!("repaired: no damage found any more; {losses}"))
    }
}
