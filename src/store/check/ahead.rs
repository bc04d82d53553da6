//! Reads the log ahead, in several threads, for one that puts the pieces together.

use std::collections::VecDeque;
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::error::{Error, Result};
use crate::id::SegmentId;
use crate::segment::{Segment, Segments};
use crate::store::log::piece::{PIECE_BYTES, Piece, Source, Survey, border, find, read};

/// Pieces that are read ahead for each thread: bounds the memory, whatever the store holds and however slow its reader is.
const AHEAD_PER_JOB: usize = 3;

/// A piece to be read.
struct Task<N> {
    segment: SegmentId,
    from: u32,
    /// Whether a record starts at `from`; else the first one behind it is looked for.
    exact: bool,
    /// Takes the piece, or `None` where no record starts near.
    reply: Sender<Result<Option<Piece<N>>>>,
}

/// A piece that is being read.
struct Coming<N> {
    segment: SegmentId,
    border: u32,
    piece: Receiver<Result<Option<Piece<N>>>>,
}

/// Where the next task begins.
struct Plan {
    /// What is to be read, ascending: first record and length of each segment.
    segments: VecDeque<(SegmentId, u32, u32)>,
    /// Where to go on in the first of them; `None` where its first record is next.
    at: Option<u32>,
}

impl Plan {
    fn next(&mut self) -> Option<(SegmentId, u32, bool)> {
        loop {
            let (segment, first, len) = *self.segments.front()?;
            let (from, exact) = self.at.map_or((first, true), |at| (at, false));
            if from < len {
                self.at = Some(border(from));
                return Some((segment, from, exact));
            }
            self.segments.pop_front();
            self.at = None;
        }
    }
}

/// Pieces of the log, read ahead.
pub(super) struct Ahead<'a, S: Survey> {
    survey: &'a S,
    plan: Plan,
    tasks: Option<Sender<Task<S::Notes>>>,
    coming: VecDeque<Coming<S::Notes>>,
    window: usize,
    buffer: Vec<u8>,
}

impl<'a, S: Survey> Ahead<'a, S> {
    /// Starts `jobs` threads that read these segments; one job needs none. They end with the source.
    pub(super) fn start<'s>(
        scope: &'s Scope<'s, 'a>,
        survey: &'a S,
        segments: &'a Segments,
        jobs: usize,
        plan: Vec<(SegmentId, u32, u32)>,
    ) -> Ahead<'a, S>
    where
        S::Notes: 'a,
    {
        let plan = Plan { segments: plan.into(), at: None };
        let mut ahead =
            Ahead { survey, plan, tasks: None, coming: VecDeque::new(), window: 0, buffer: Vec::new() };
        if jobs > 1 {
            let (tasks, todo) = unbounded();
            for _ in 0..jobs {
                let todo = todo.clone();
                scope.spawn(move || work(survey, segments, &todo));
            }
            (ahead.tasks, ahead.window) = (Some(tasks), jobs.saturating_mul(AHEAD_PER_JOB));
        }
        ahead
    }

    /// Keeps the threads busy.
    fn order(&mut self) {
        let Some(tasks) = &self.tasks else { return };
        while self.coming.len() < self.window {
            let Some((segment, from, exact)) = self.plan.next() else { return };
            let (reply, piece) = bounded(1);
            // Without threads nothing comes, and the piece is read when it is asked for.
            tasks.send(Task { segment, from, exact, reply }).ok();
            self.coming.push_back(Coming { segment, border: border(from), piece });
        }
    }

    /// Takes the piece that begins at `from`, if it was read ahead.
    fn take(&mut self, segment: SegmentId, from: u32) -> Option<Result<Piece<S::Notes>>> {
        loop {
            self.order();
            let wanted = (segment, border(from));
            let first = self.coming.front().map(|coming| (coming.segment, coming.border))?;
            if first > wanted {
                return None;
            }
            let coming = self.coming.pop_front()?;
            if first == wanted {
                // Where a thread came to another beginning, it was misled; where it failed, it may not fail again.
                let piece = coming.piece.recv().ok()?.ok()??;
                return (piece.start() == from).then_some(Ok(piece));
            }
        }
    }
}

fn work<S: Survey>(survey: &S, segments: &Segments, todo: &Receiver<Task<S::Notes>>) {
    let mut buffer = Vec::new();
    while let Ok(task) = todo.recv() {
        let piece = read_task(survey, segments, &task, &mut buffer);
        // Nobody waits for it any more where the reading has ended.
        task.reply.send(piece).ok();
    }
}

fn read_task<S: Survey>(
    survey: &S,
    segments: &Segments,
    task: &Task<S::Notes>,
    buffer: &mut Vec<u8>,
) -> Result<Option<Piece<S::Notes>>> {
    let Some(segment) = segments.get(task.segment)? else { return Ok(None) };
    let limit = border(task.from);
    segment.file().will_need(limit.into(), PIECE_BYTES.into());
    if task.exact {
        read(survey, &segment, task.from, limit, buffer).map(Some)
    } else {
        find(survey, &segment, task.from, limit, buffer)
    }
}

impl<S: Survey> Source<S> for Ahead<'_, S> {
    fn survey(&self) -> &S {
        self.survey
    }

    fn piece(&mut self, segment: &Segment, from: u32) -> Result<Piece<S::Notes>> {
        if let Some(piece) = self.take(segment.id(), from) {
            return piece;
        }
        match self.range(segment, from, border(from)) {
            // Once: what fails twice is told.
            Err(Error::Io { op, path, source }) => {
                tracing::warn!("cannot {op} {}: {source}; trying again", path.display());
                self.range(segment, from, border(from))
            }
            piece => piece,
        }
    }

    fn range(&mut self, segment: &Segment, from: u32, limit: u32) -> Result<Piece<S::Notes>> {
        read(self.survey, segment, from, limit, &mut self.buffer)
    }
}
