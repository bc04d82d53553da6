//! Applies the log to a state: what opening does with the part that no index covers.

use std::collections::HashMap;

use super::log::{LogPosition, LogSink, Transaction};
use super::stage::Change;
use super::working::Working;
use crate::error::{Damage, Place, Result};
use crate::format::put::{self, DeleteReason, PutKind};
use crate::format::record::{HEAD_BYTES, Head, Tag};
use crate::format::segment::file_name;
use crate::id::Location;
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
    /// What the records since the last COMMIT hold: read when they pass, applied with their COMMIT.
    seen: HashMap<Location, Seen>,
    notices: Vec<String>,
    more: u64,
}

#[derive(Clone, Copy)]
struct Seen {
    kind: Option<PutKind>,
    file_len: u32,
    lost: bool,
}

impl<'w> Replay<'w> {
    /// Goes on from a state.
    pub(crate) fn new(working: &'w mut Working) -> Replay<'w> {
        Replay { working, seen: HashMap::new(), notices: Vec::new(), more: 0 }
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

impl LogSink for Replay<'_> {
    fn record(&mut self, walk: &mut Walk<'_>, at: Location, head: &Head) -> Result<()> {
        let seen = match head.tag {
            Tag::Put => {
                let first = walk.bytes(at.offset, HEAD_BYTES.saturating_add(put::PEEK_BYTES))?;
                let peeked = put::peek(first.get(HEAD_BYTES..).unwrap_or_default());
                let (kind, file_len) = peeked.unwrap_or((PutKind::Snapshot, 0));
                Seen { kind: Some(kind), file_len, lost: false }
            }
            Tag::Delete => {
                let reason = put::decode_delete(walk.data(at.offset, head)?);
                Seen {
                    kind: None,
                    file_len: 0,
                    lost: reason.is_ok_and(|(reason, _)| reason == DeleteReason::Lost),
                }
            }
            Tag::Commit | Tag::Dictionary => return Ok(()),
        };
        self.seen.insert(at, seen);
        Ok(())
    }

    fn broken(&mut self, walk: &mut Walk<'_>, at: Location, head: &Head, _: &Damage) -> Result<()> {
        self.record(walk, at, head)
    }

    fn damage(&mut self, at: Location, len: u32, damage: Damage) -> Result<()> {
        self.notice(format!("{}, {len} bytes: {damage}", place(at)));
        Ok(())
    }

    fn transaction(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        let mut bytes = 0u64;
        for (at, head) in transaction.records {
            let Some(seen) = self.seen.remove(at) else { continue };
            let key = head.key();
            let found = self.working.state.locate(&key)?;
            let before = found.map(|found| self.working.before(found)).transpose()?;
            bytes = bytes.saturating_add(head.size.into());
            self.working.apply(&Change {
                key,
                at: *at,
                stored_len: head.size,
                file_len: seen.file_len,
                kind: seen.kind,
                lost: seen.lost,
                before,
            })?;
        }
        if let Some(commit) = transaction.commit
            && !commit.live.is_empty()
        {
            self.working.keep_segments(&commit.live, transaction.link.at.segment);
        }
        let count = u64::try_from(transaction.records.len()).unwrap_or(u64::MAX);
        let end = transaction.end;
        let next_segment = transaction.commit.map_or(self.working.next_segment, |commit| commit.next_segment);
        self.working.committed(LogPosition { link: transaction.link, end, next_segment }, count, bytes);
        Ok(())
    }

    fn tail(&mut self, at: Location, len: u32) -> Result<()> {
        self.notice(format!("{}: {len} {TAIL}", place(at)));
        Ok(())
    }
}
