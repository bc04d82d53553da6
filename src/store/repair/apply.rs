//! Carries out the plan for one segment, by one transaction.

use std::collections::BTreeSet;

use super::evidence::keep_segment;
use super::salvage::Salvage;
use super::{Fate, Lost, LostKind, RepairReport, RepairSource, Replacement, Wanted};
use crate::error::{Error, Result};
use crate::format::commit::CommitKind;
use crate::format::put::{self, DeleteReason, PutKind};
use crate::format::record::Tag;
use crate::id::{Key, Location, ObjectKey, SegmentId};
use crate::limits::REPLAY_MAX_RECORDS;
use crate::segment::{Codec, SegmentWriter, Segments};
use crate::store::aside::Aside;
use crate::store::compact::{change_of, ranges};
use crate::store::index_file::IndexFiles;
use crate::store::open::seed_of;
use crate::store::stage::{Before, Change};
use crate::store::txn::{Body, Put, Writer};

impl Writer {
    /// Replaces a segment by what can be saved of it. `pending` are missing segments whose turn is yet to come.
    pub(super) fn salvage(
        &mut self,
        salvage: &mut Salvage,
        pending: &BTreeSet<SegmentId>,
        source: Option<&mut (dyn RepairSource + '_)>,
        report: &mut RepairReport,
    ) -> Result<()> {
        self.rollback()?;
        self.segment = None;
        self.working.seal_all(&self.inner);
        let staged = self.stage_salvage(salvage, pending, source);
        if let Err(error) = staged {
            self.rollback()?;
            return Err(error);
        }
        // The evidence is durable before the COMMIT that takes the original out of the store.
        let commit = self.next_commit();
        let evidence = keep_segment(&*self.vfs, commit, salvage)?;
        self.settle()?;
        if self.segment.is_none() {
            self.segment = Some(self.create_segment(None)?);
        }
        let own = self.segment.as_ref().map(SegmentWriter::segment);
        let survivors = self.survivors(salvage.segment, pending);
        self.commit_as(CommitKind::Repair, ranges(survivors.into_iter().chain(own)))?;
        self.segment = None;
        self.working.seal_all(&self.inner);
        self.set_moved_aside()?;
        report.segments.push(salvage.report(commit, Some(evidence)));
        report.lost.append(&mut salvage.lost);
        report.unknown.append(&mut salvage.unknown);
        Ok(())
    }

    /// Takes what was moved out of memory: the index is not published before all segments are done.
    fn set_moved_aside(&mut self) -> Result<()> {
        let (read, vfs, config) = (&self.inner.read, Some(&*self.vfs), &self.inner.config);
        let none = BTreeSet::new();
        let mut aside = Aside::new(IndexFiles { read, vfs, config }, &none, REPLAY_MAX_RECORDS);
        aside.relieve(&mut self.working)?;
        self.inner.publish(&self.working.state);
        Ok(())
    }

    fn survivors(&self, without: SegmentId, pending: &BTreeSet<SegmentId>) -> BTreeSet<SegmentId> {
        let known = self.state().segments.ids().iter().chain(pending);
        known.filter(|id| **id != without).copied().collect()
    }

    fn stage_salvage(
        &mut self,
        salvage: &mut Salvage,
        pending: &BTreeSet<SegmentId>,
        mut source: Option<&mut (dyn RepairSource + '_)>,
    ) -> Result<()> {
        let segments = self.state().segments.unmapped();
        let id = salvage.segment;
        let older_survives = self.survivors(id, pending).first().is_some_and(|oldest| *oldest < id);
        for offset in (0..salvage.keep.len()).filter_map(|number| salvage.keep.get(number)) {
            self.carry_over(&segments, Location { segment: id, offset }, older_survives)?;
        }
        for at in &salvage.older {
            self.carry_over(&segments, *at, older_survives)?;
        }
        for (_, key) in &salvage.deleted {
            self.stage_delete(*key, DeleteReason::Deleted)?;
        }
        // Runs first: a source may need their names.
        salvage.lost.sort_by_key(|lost| lost.kind != LostKind::Run);
        for lost in salvage.lost.iter_mut().filter(|lost| lost.fate != Fate::Other) {
            if let Some(source) = &mut source
                && self.heal(lost, &mut **source)?
            {
                lost.fate = Fate::Healed;
                continue;
            }
            match (lost.kind, lost.key) {
                (LostKind::Run, _) => self.stage_run(lost)?,
                (_, Some(key)) if lost.is_marked() => self.stage_delete(key, DeleteReason::Lost)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Copies a live record that was verified.
    fn carry_over(&mut self, segments: &Segments, at: Location, older_survives: bool) -> Result<()> {
        let segment = segments.require(at.segment)?;
        let record = segment.record(at.offset)?;
        match record.head.tag {
            Tag::Put => {
                let needs = put::decode(&record.data).is_ok_and(|put| put.codec == Codec::ZstdDictionary);
                let own = needs.then_some(record.dictionary);
                self.move_put(own, at, &record.head, &record.data)
            }
            Tag::Delete if older_survives || put::says_lost(&record.data) => {
                self.move_delete(at, &record.head, &record.data)
            }
            Tag::Delete | Tag::Commit | Tag::Dictionary => Ok(()),
        }
    }

    fn stage_delete(&mut self, key: Key, reason: DeleteReason) -> Result<()> {
        let at = self.ask(|working| working.state.locate(&key))?;
        let nothing =
            Before { at: Location::default(), stored_len: 0, file_len: 0, kind: Some(PutKind::Snapshot) };
        let before = match at {
            Some(at) => self.working.before(at)?,
            None => nothing,
        };
        let change = Change {
            lost: reason == DeleteReason::Lost,
            before: at.map(|_| before),
            ..change_of(key, 0, None, before)
        };
        let commit = self.next_commit();
        self.stage.push(Tag::Delete, change, false, |out| put::encode_delete(out, reason, commit))?;
        self.spill()
    }

    /// Writes a run's record anew, with a name that means its instant and that no other run has: without a record an older
    /// DELETE could hide it.
    fn stage_run(&mut self, lost: &Lost) -> Result<()> {
        let name = self.spare_run_name(lost.run)?;
        self.stage_run_as(lost, &Replacement { name: name.into_bytes(), ..Replacement::default() })
    }

    fn stage_run_as(&mut self, lost: &Lost, from: &Replacement) -> Result<()> {
        let put = Put {
            name: &from.name,
            run: lost.run,
            kind: PutKind::Run,
            meta: &from.meta,
            object: 0..0,
            body: Body::Raw(&[]),
        };
        self.append(Key::of_run(lost.run), &put).map(|_| ())
    }

    /// Takes a lost record from the source. `false` if that does not have it.
    fn heal(&mut self, lost: &mut Lost, source: &mut dyn RepairSource) -> Result<bool> {
        let run_name = match lost.kind {
            LostKind::Deletion => return Ok(false),
            LostKind::Run => None,
            LostKind::Snapshot | LostKind::Alias => self.run_name_of(lost)?,
        };
        let seed = seed_of(&self.inner.config);
        let wanted = Wanted { lost, run_name: run_name.as_deref(), seed };
        let Some(found) = source.find(&wanted)? else { return Ok(false) };
        if lost.kind == LostKind::Run {
            // Two runs of one name would be one directory.
            if self.is_name_of_another(&found.name, lost.run)? {
                return Ok(false);
            }
            return self.stage_run_as(lost, &found).map(|()| true);
        }
        if !wanted.is_named(&found.name) {
            return Ok(false);
        }
        let kind = if lost.kind == LostKind::Alias { PutKind::Alias } else { PutKind::Snapshot };
        let Replacement { name, meta, object, body } = &found;
        let body = Body::Raw(body);
        let put = Put { name, run: lost.run, kind, meta, object: object.clone(), body };
        match self.put(&put) {
            Ok(_) => {
                lost.key = Some(Key::new(ObjectKey::of(name), lost.run));
                Ok(true)
            }
            Err(error @ (Error::KeyCollision { .. } | Error::TooLarge { .. } | Error::BadInput { .. })) => {
                tracing::warn!("not taken from the source: {error}");
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    fn run_name_of(&mut self, lost: &Lost) -> Result<Option<String>> {
        Ok(self.run_name(lost.run)?.and_then(|name| String::from_utf8(name).ok()))
    }
}
