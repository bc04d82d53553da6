//! Standard output as a `Write`, for library calls that produce data.

use std::cell::RefCell;
use std::io::{self, Write};

use super::Output;
use crate::error::{Error, Result};

/// What is written, as it is.
pub(crate) struct Plain<'a>(pub(crate) &'a Output);

impl Write for Plain<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(into_io)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a unit of each line that is written to it. Holds one line in memory.
pub(crate) struct Lines<F> {
    line: Vec<u8>,
    unit: F,
}

impl<F: FnMut(&[u8]) -> Result<()>> Lines<F> {
    /// Calls `unit` with each line, without its line break.
    pub(crate) fn new(unit: F) -> Lines<F> {
        Lines { line: Vec::new(), unit }
    }

    /// Ends a last line that has no line break.
    ///
    /// # Errors
    /// Those of the unit.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.line.is_empty() { Ok(()) } else { (self.unit)(&self.line) }
    }
}

impl<F: FnMut(&[u8]) -> Result<()>> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (taken, whole) = up_to_line_break(bytes);
        self.line.extend_from_slice(taken);
        if whole {
            (self.unit)(&self.line).map_err(into_io)?;
            self.line.clear();
        }
        Ok(taken.len().saturating_add(usize::from(whole)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a unit of each line that is written to it, while it is written: no line is held in memory.
pub(crate) struct LongUnits<'a> {
    out: &'a Output,
    kind: &'static str,
    /// The run that the next line is of, as JSON.
    run: &'a RefCell<String>,
    open: bool,
}

impl<'a> LongUnits<'a> {
    /// Units of this kind, each with its `run` and the line under the name of the kind.
    pub(crate) fn new(out: &'a Output, kind: &'static str, run: &'a RefCell<String>) -> LongUnits<'a> {
        LongUnits { out, kind, run, open: false }
    }

    fn pass(&mut self, text: &[u8], whole: bool) -> Result<()> {
        if !self.open {
            self.out.open(self.kind, &[("run", &self.run.borrow())], self.kind)?;
            self.open = true;
        }
        self.out.part(text)?;
        if whole {
            self.open = false;
            self.out.close()?;
        }
        Ok(())
    }
}

impl Write for LongUnits<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let (text, whole) = up_to_line_break(bytes);
        self.pass(text, whole).map_err(into_io)?;
        Ok(text.len().saturating_add(usize::from(whole)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The rest of the line, and whether it ends here.
fn up_to_line_break(bytes: &[u8]) -> (&[u8], bool) {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => (bytes.get(..end).unwrap_or_default(), true),
        None => (bytes, false),
    }
}

fn into_io(error: Error) -> io::Error {
    if let Error::Io { source, .. } = error { source } else { io::Error::other(error) }
}
