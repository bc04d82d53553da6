//! Applies the log to a state: what opening does with the part that no index covers.

use super::aside::Aside;
use super::log::{LogPosition, LogSink, Survey, Transaction};
use super::stage::Change;
use super::working::Working;
use crate::error::{Damage, Place, Result};
use crate::format::put::{self, DeleteReason, PutKind};
use crate::format::record::{HEAD_BYTES, Head, Tag};
use crate::format::segment::file_name;
use crate::id::{CommitId, Location};
use crate::segment::Walk;

/// Notices that an open keeps; more are counted.
const NOTICES_MAX: usize = 20;

/// What a notice of an uncommitted tail says.
const TAIL: &str = "bytes of a transaction that was never committed are ignored";

/// Tells whether a notice is about nothing that anybody must know: what a writer beside has not committed yet, or one that
/// was cut off never will.
pub fn is_harmless(notice: &str) -> bool {
    notice.ends_with(TAIL)
}

fn place(at: Location) -> Place {
    Place::at(file_name(at.segment), at.offset.into())
}

/// Applies transactions to a state.
pub(crate) struct Replay<'w> {
    working: &'w mut Working,
    aside: Aside<'w>,
    /// Of the transaction that is being applied.
    count: u64,
    bytes: u64,
    notices: Vec<String>,
    more: u64,
}

/// What replay keeps of a record until its COMMIT.
pub(crate) struct Seen {
    at: Location,
    head: Head,
    kind: Option<PutKind>,
    file_len: u32,
    lost: bool,
}

/// Reads what replay needs of a record's data.
pub(crate) struct Look;

impl Survey for Look {
    type Notes = Vec<Seen>;

    fn record(&self, walk: &mut Walk<'_>, at: Location, head: &Head, notes: &mut Vec<Seen>) -> Result<()> {
        let (kind, file_len, lost) = match head.tag {
            Tag::Put => {
                let first = walk.bytes(at.offset, HEAD_BYTES.saturating_add(put::PEEK_BYTES))?;
                let peeked = put::peek(first.get(HEAD_BYTES..).unwrap_or_default());
                let (kind, file_len) = peeked.unwrap_or((PutKind::Snapshot, 0));
                (Some(kind), file_len, false)
            }
            Tag::Delete => {
                let reason = put::decode_delete(walk.data(at.offset, head)?);
                (None, 0, reason.is_ok_and(|(reason, _)| reason == DeleteReason::Lost))
            }
            Tag::Commit | Tag::Dictionary => return Ok(()),
        };
        notes.push(Seen { at, head: *head, kind, file_len, lost });
        Ok(())
    }
}

impl<'w> Replay<'w> {
    /// Goes on from a state. What memory shall not hold goes `aside`.
    pub(super) fn new(working: &'w mut Working, aside: Aside<'w>) -> Replay<'w> {
        Replay { working, aside, count: 0, bytes: 0, notices: Vec::new(), more: 0 }
    }

    /// Returns what was noticed.
    pub(crate) fn finish(mut self, position: LogPosition) -> Vec<String> {
        self.working.state.position = position;
        if self.more > 0 {
            self.notices.push(format!("and {} more", self.more));
        }
        self.notices
    }

    fn notice(&mut self, text: String) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(text);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}

impl LogSink<Vec<Seen>> for Replay<'_> {
    fn committed(&mut self, notes: Vec<Seen>) -> Result<()> {
        for Seen { at, head, kind, file_len, lost } in notes {
            if self.aside.is_dead(at.segment) {
                continue;
            }
            let key = head.key();
            let found = self.working.state.locate(&key)?;
            let before = found.map(|found| self.working.before(found)).transpose()?;
            self.count = self.count.saturating_add(1);
            self.bytes = self.bytes.saturating_add(head.size.into());
            let stored_len = head.size;
            self.working.apply(&Change { key, at, stored_len, file_len, kind, lost, before })?;
            self.aside.relieve(self.working)?;
        }
        Ok(())
    }

    fn transaction(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        if let Some(commit) = transaction.commit
            && !commit.live.is_empty()
        {
            self.working.keep_segments(&commit.live, transaction.link.at.segment);
        }
        let (count, bytes) = (std::mem::take(&mut self.count), std::mem::take(&mut self.bytes));
        let end = transaction.end;
        let next_segment = transaction.commit.map_or(self.working.next_segment, |commit| commit.next_segment);
        self.working.committed(LogPosition { link: transaction.link, end, next_segment }, count, bytes);
        Ok(())
    }

    fn damage(&mut self, at: Location, len: u32, damage: Damage) -> Result<()> {
        self.notice(format!("{}, {len} bytes: {damage}", place(at)));
        Ok(())
    }

    fn tail(&mut self, at: Location, len: u32, _: CommitId) -> Result<()> {
        self.notice(format!("{}: {len} {TAIL}", place(at)));
        Ok(())
    }
}
