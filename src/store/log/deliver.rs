//! Hands on what stands before a COMMIT, in order.

use super::open::{Open, Part};
use super::piece::{Event, Survey};
use super::{LogReader, piece};
use crate::error::{Damage, Result};
use crate::id::{CommitId, Location, SegmentId};
use crate::segment::Segment;

impl<S: Survey> LogReader<'_, S> {
    /// Tells of what stands before a COMMIT at `until`, now that it is known to be committed. `lost`: that COMMIT does not hold.
    pub(super) fn deliver(
        &mut self,
        segment: &Segment,
        open: Open<S::Notes>,
        until: u32,
        lost: Option<CommitId>,
    ) -> Result<()> {
        if !open.dropped {
            return self.tell(segment.id(), open.parts, until, lost);
        }
        // Too much to keep: read it again. Its own COMMIT ends it, so there is none in it.
        let mut from = open.start.unwrap_or(until);
        while from < until {
            let limit = piece::border(from).min(until);
            let piece = self.source.range(segment, from, limit)?;
            from = piece.end.max(from.saturating_add(1));
            let mut again = Open::of_piece();
            for event in piece.events {
                match event {
                    Event::Records(batch) => again.push(batch),
                    Event::Gap { offset, len, damage } => {
                        let mut gap = (offset, len);
                        while gap.1 > 0 {
                            gap = self.no_commit(segment, &mut again, gap, &damage)?;
                        }
                    }
                    Event::Commit { .. } => {}
                }
            }
            self.tell(segment.id(), again.parts, until, lost)?;
        }
        Ok(())
    }

    fn tell(
        &mut self,
        segment: SegmentId,
        parts: Vec<Part<S::Notes>>,
        until: u32,
        lost: Option<CommitId>,
    ) -> Result<()> {
        for part in parts {
            match part {
                Part::Notes(notes) => self.sink.committed(notes)?,
                Part::Gap { offset, len, damage } => {
                    let at = Location { segment, offset };
                    match lost.filter(|_| offset == until) {
                        // All records before it are here.
                        Some(commit) => self.sink.damage(at, len, Damage::CommitLost { commit })?,
                        None => self.lose(at, len, damage)?,
                    }
                }
            }
        }
        Ok(())
    }
}
