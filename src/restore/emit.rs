//! Reads the objects of a run, in the order of its bundle.
//!
//! In that order the objects of long files may alternate. So they are read a window at a time: of all objects in line that
//! fit a window, in the order of the log and each file once. A file is then decoded at most once for each window
//! that needs it, however its objects stand in line: for `n` bytes of a run no more than `n / WINDOW_BYTES + 1` times.

use std::collections::HashMap;

use crate::error::{Damage, Error, Place, Result};
use crate::id::{Location, RunKey};

use super::arrange::{At, Slot};
use super::lookup::{Body, FileAt, Source};
use super::resolve::RunPlan;

/// Bytes of texts that are read before the first of them is written.
const WINDOW_BYTES: u64 = 16 << 20;

/// Receives the texts: the number in line, and the text or why there is none.
type Each<'e> = dyn FnMut(usize, Result<&[u8]>) -> Result<()> + 'e;

/// Passes on the texts of all objects in line, each with its number there. Cost: what is in memory already is not read; any other
/// file is read once for each window that needs it. Memory: a window, and the longest file.
///
/// # Errors
/// Those of `each`; what hinders reading goes to `each`, once for all objects of a file in a window.
pub(super) fn each_text<S: Source>(
    source: &S,
    (plan, run): (&RunPlan, RunKey),
    slots: &[Slot],
    each: &mut Each<'_>,
) -> Result<()> {
    let mut reader = Reader { source, last: None };
    let mut begin = 0usize;
    while begin < slots.len() {
        let end = window_end(slots, begin);
        let wanted = (begin..end).zip(slots.get(begin..end).unwrap_or_default());
        let window: Vec<Wanted<'_>> =
            wanted.filter_map(|(number, slot)| Wanted::of(plan, run, number, slot)).collect();
        match window.as_slice() {
            [only] => reader.pass(only, each)?,
            several => reader.window(several, each)?,
        }
        begin = end;
    }
    Ok(())
}

/// Where the window ends that begins at a place in line.
fn window_end(slots: &[Slot], begin: usize) -> usize {
    let mut room = WINDOW_BYTES;
    let fits = |slot: &&Slot| {
        let left = room.checked_sub(slot.len);
        room = left.unwrap_or(0);
        left.is_some()
    };
    let count = slots.iter().skip(begin).take_while(fits).count();
    begin.saturating_add(count.max(1))
}

/// One object in line.
struct Wanted<'p> {
    number: usize,
    file: FileAt<'p>,
    object: u32,
    len: u64,
    /// The file may have other objects.
    among_others: bool,
    kept: Option<&'p [u8]>,
}

impl<'p> Wanted<'p> {
    fn of(plan: &'p RunPlan, run: RunKey, number: usize, slot: &Slot) -> Option<Wanted<'p>> {
        let (file, object, text, among_others) = match slot.at {
            At::Resolved(at) => {
                let found = plan.resolved.get(at)?;
                let target = &found.target;
                let file = FileAt { at: target.at, run: target.run, name: &target.name };
                (file, target.object, &found.text, target.object > 0 || target.name != target.id)
            }
            At::Own(at, object) => {
                let own = plan.own.get(at)?;
                let file = FileAt { at: own.at, run, name: &own.name };
                (file, object, own.texts.get(usize::try_from(object).ok()?)?, own.parts.len() > 1)
            }
        };
        Some(Wanted { number, file, object, len: slot.len, among_others, kept: text.as_deref() })
    }

    fn text_in<'b>(&self, body: &'b Body) -> Result<&'b [u8]> {
        let FileAt { at, .. } = self.file;
        body.text(self.object).ok_or_else(|| {
            let place = Place::at(format!("data/{}.seg", at.segment), at.offset.into());
            Error::damaged(place, Damage::WrongRecord)
        })
    }
}

struct Reader<'s, S> {
    source: &'s S,
    /// The last file of several objects: a long one is not read again for the next window.
    last: Option<(Location, Body)>,
}

impl<S: Source> Reader<'_, S> {
    /// Passes one object on. As long as a window perhaps, so it is not copied.
    fn pass(&mut self, wanted: &Wanted<'_>, each: &mut Each<'_>) -> Result<()> {
        if let Some(text) = wanted.kept {
            return each(wanted.number, Ok(text));
        }
        self.read(wanted, &mut |body| each(wanted.number, body.and_then(|body| wanted.text_in(body))))
    }

    /// Reads what is not in memory, file by file, and passes all of it on in line.
    fn window(&mut self, window: &[Wanted<'_>], each: &mut Each<'_>) -> Result<()> {
        let mut absent: Vec<&Wanted<'_>> = window.iter().filter(|wanted| wanted.kept.is_none()).collect();
        let last = self.last.as_ref().map(|(at, _)| *at);
        absent.sort_by_key(|wanted| (last != Some(wanted.file.at), wanted.file));
        let mut read: HashMap<usize, Result<Box<[u8]>>> = HashMap::with_capacity(absent.len());
        for same in absent.chunk_by(|one, next| one.file == next.file) {
            let Some(first) = same.first() else { continue };
            self.read(first, &mut |body| {
                match body {
                    Ok(body) => {
                        read.extend(
                            same.iter().map(|wanted| (wanted.number, wanted.text_in(body).map(Box::from))),
                        );
                    }
                    // Told of once, though it costs all of them.
                    Err(error) => read.extend([(first.number, Err(error))]),
                }
                Ok(())
            })?;
        }
        for wanted in window {
            match (wanted.kept, read.remove(&wanted.number)) {
                (Some(text), _) => each(wanted.number, Ok(text))?,
                (None, Some(Ok(text))) => each(wanted.number, Ok(&text))?,
                (None, Some(Err(error))) => each(wanted.number, Err(error))?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// Reads a file; of several objects the last one stays at hand.
    fn read(&mut self, wanted: &Wanted<'_>, with: &mut dyn FnMut(Result<&Body>) -> Result<()>) -> Result<()> {
        if let Some((_, body)) = self.last.as_ref().filter(|(at, _)| *at == wanted.file.at) {
            return with(Ok(body));
        }
        if wanted.among_others || wanted.len > WINDOW_BYTES {
            // Before another long one takes room.
            self.last = None;
        }
        match self.source.body(&wanted.file) {
            Ok(body) => {
                with(Ok(&body))?;
                if wanted.among_others {
                    self.last = Some((wanted.file.at, body));
                }
                Ok(())
            }
            Err(error) => with(Err(error)),
        }
    }
}
