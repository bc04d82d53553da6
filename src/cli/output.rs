//! Standard output: plain data for people and pipes, or the NDJSON stream of schema 1.
//!
//! The stream: one JSON object a line, each with `v`, `type` and `seq` (from 0, no gaps); `begin` first,
//! exactly one `end` last, whose digest covers every byte before it. A stream without `end` is a failed
//! run, whatever the exit code says. The idea and most names are those of Tahoe-LAFS ticket 590, with the
//! end mark that it lacked.

use std::cell::RefCell;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::format::crc::Crc32;
use crate::id::StoreId;

use super::console::Console;

mod write;

pub(crate) use write::{Lines, LongUnits, Plain};

/// Longest line that a unit makes, in bytes, unless it carries data of the store (`bundle`, and `snapshot` of `get`).
pub(crate) const LINE_MAX_BYTES: usize = 64 << 10;
/// Longest text of one field in a unit, in bytes as JSON has it; the rest is cut and said to be.
pub(crate) const DETAIL_MAX_BYTES: usize = LINE_MAX_BYTES / 2;
/// A reader of a slow stream sees a unit at most this much later.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// Standard output. Shared by everything a command does; never used from two threads.
pub(crate) struct Output {
    inner: RefCell<Inner>,
    console: Console,
    json: bool,
    terminal: bool,
}

struct Inner {
    sink: Box<dyn Write>,
    stream: Stream,
    lost: Option<io::ErrorKind>,
    flushed: Instant,
}

struct Stream {
    command: &'static str,
    run: String,
    store: Option<StoreId>,
    seq: u64,
    crc: Crc32,
    counts: Vec<(&'static str, u64)>,
    /// While a unit is open that is passed on piece by piece: the units told meanwhile, kind and fields.
    behind: Option<Vec<(String, String)>>,
    /// What the last unit has besides what every command's has: fields as JSON has them, each after a comma.
    ending: String,
}

/// The last unit.
#[derive(Serialize)]
struct End<'a> {
    status: &'a str,
    exit: u8,
    counts: serde_json::Map<String, serde_json::Value>,
    units: u64,
    digest: String,
    store: Option<String>,
    run: &'a str,
    time: String,
}

impl Output {
    /// Takes the process's standard output.
    ///
    /// # Errors
    /// `Io` if the system gives no file for it, or no random number for the run's id.
    pub(crate) fn stdout(command: &'static str, json: bool, console: Console) -> Result<Output> {
        let terminal = io::stdout().is_terminal();
        let mut id = [0u8; 16];
        if json {
            getrandom::fill(&mut id).map_err(|error| {
                Error::io("read", "the random number source", io::Error::other(error.to_string()))
            })?;
        }
        let sink = Box::new(BufWriter::with_capacity(1 << 16, crate::vfs::standard::output()?));
        Ok(Output::to(sink, command, json, terminal, StoreId(id).to_string(), console))
    }

    /// Writes to `sink` instead. `run` is the id that the stream's units carry.
    pub(crate) fn to(
        sink: Box<dyn Write>,
        command: &'static str,
        json: bool,
        terminal: bool,
        run: String,
        console: Console,
    ) -> Output {
        let (counts, behind, ending) = (Vec::new(), None, String::new());
        let stream = Stream { command, run, store: None, seq: 0, crc: Crc32::new(), counts, behind, ending };
        let inner = Inner { sink, stream, lost: None, flushed: Instant::now() };
        Output { inner: RefCell::new(inner), console, json, terminal }
    }

    /// Tells whether units are wanted instead of lines.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Tells whether a person looks at it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Returns how the output was lost, if it was.
    pub(crate) fn lost(&self) -> Option<io::ErrorKind> {
        self.inner.borrow().lost
    }

    /// Writes data as it is.
    ///
    /// # Errors
    /// `Io`, also on every call after the first failure.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        self.guarded(|inner| inner.sink.write_all(bytes))
    }

    /// Writes a line of data.
    ///
    /// # Errors
    /// As [`write`](Output::write).
    pub(crate) fn line(&self, text: &str) -> Result<()> {
        self.guarded(|inner| {
            inner.sink.write_all(text.as_bytes())?;
            inner.sink.write_all(b"\n")
        })
    }

    /// Begins the stream. Without this the first unit begins it, with no store. No-op without `--json`.
    ///
    /// # Errors
    /// As [`write`](Output::write).
    pub(crate) fn begin<T: Serialize>(&self, store: Option<StoreId>, fields: &T) -> Result<()> {
        if !self.json || self.inner.borrow().stream.seq > 0 {
            return Ok(());
        }
        let fields = to_json(fields)?;
        self.guarded(|inner| {
            inner.stream.store = store;
            inner.begin(&fields)
        })
    }

    /// Writes one unit; `fields` is what it has besides `v`, `type` and `seq`. No-op without `--json`.
    ///
    /// # Errors
    /// As [`write`](Output::write).
    pub(crate) fn unit<T: Serialize>(&self, kind: &str, fields: &T) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let fields = to_json(fields)?;
        self.guarded(|inner| inner.unit(kind, &fields))
    }

    /// Begins a unit whose last field is too long to be held in memory: its text comes by [`part`](Output::part), until
    /// [`close`](Output::close). `fields` are what the unit has before, as JSON has them. Units that are told meanwhile
    /// follow it. If it is never closed, the stream breaks off inside of it. No-op without `--json`.
    ///
    /// # Errors
    /// As [`write`](Output::write).
    pub(crate) fn open(&self, kind: &str, fields: &[(&str, &str)], last: &str) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        self.guarded(|inner| {
            inner.ensure_begun()?;
            inner.open(kind)?;
            inner.stream.behind = Some(Vec::new());
            for (name, value) in fields {
                inner.emit(format!(",\"{name}\":{value}").as_bytes())?;
            }
            inner.emit(format!(",\"{last}\":").as_bytes())
        })
    }

    /// Passes on a part of the last field of an open unit.
    ///
    /// # Errors
    /// As [`write`](Output::write).
    pub(crate) fn part(&self, bytes: &[u8]) -> Result<()> {
        self.guarded(|inner| if inner.stream.behind.is_some() { inner.emit(bytes) } else { Ok(()) })
    }

    /// Ends an open unit.
    ///
    /// # Errors
    /// As [`write`](Output::write).
    pub(crate) fn close(&self) -> Result<()> {
        self.guarded(|inner| {
            let Some(behind) = inner.stream.behind.take() else { return Ok(()) };
            inner.emit(b"}\n")?;
            behind.iter().try_for_each(|(kind, fields)| inner.put(kind, fields))
        })
    }

    /// Adds to a count of the last unit. Counts stand there in the order of their names.
    pub(crate) fn count(&self, name: &'static str, number: u64) {
        let counts = &mut self.inner.borrow_mut().stream.counts;
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count = count.saturating_add(number),
            None => counts.push((name, number)),
        }
    }

    /// Gives the last unit fields of its own; a later call takes their place.
    ///
    /// # Errors
    /// `Io` if they cannot be encoded.
    pub(crate) fn ending<T: Serialize>(&self, fields: &T) -> Result<()> {
        let fields = to_json(fields)?;
        let inner = fields.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        let ending = if inner.is_empty() { String::new() } else { format!(",{inner}") };
        self.inner.borrow_mut().stream.ending = ending;
        Ok(())
    }

    /// Ends the stream, unless it broke off inside of a unit, and writes out what is still held back. What fails is to
    /// be seen in [`lost`](Output::lost).
    pub(crate) fn end(&self, status: &str, exit: u8) {
        let written = self.guarded(|inner| {
            if self.json && inner.stream.behind.is_none() { inner.end(status, exit) } else { Ok(()) }
        });
        if written.is_ok() {
            self.guarded(Inner::flush).ok();
        }
    }

    /// Runs `work` once nothing was lost so far, remembers its failure, and lets data out in time.
    fn guarded(&self, work: impl FnOnce(&mut Inner) -> io::Result<()>) -> Result<()> {
        let mut inner = self.inner.borrow_mut();
        let result = match inner.lost {
            Some(kind) => Err(kind.into()),
            None => work(&mut inner).and_then(|()| {
                if self.terminal {
                    self.console.suspend(|| inner.flush())
                } else if inner.flushed.elapsed() >= FLUSH_INTERVAL {
                    inner.flush()
                } else {
                    Ok(())
                }
            }),
        };
        result.map_err(|error| {
            inner.lost = Some(error.kind());
            Error::io("write", "standard output", error)
        })
    }
}

impl Inner {
    fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        self.sink.flush()
    }

    fn emit(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.crc.update(bytes);
        self.sink.write_all(bytes)
    }

    fn open(&mut self, kind: &str) -> io::Result<()> {
        let head = format!("{{\"v\":1,\"type\":\"{kind}\",\"seq\":{}", self.stream.seq);
        self.stream.seq = self.stream.seq.saturating_add(1);
        self.emit(head.as_bytes())
    }

    /// Writes a unit from the text of a JSON object.
    fn put(&mut self, kind: &str, object: &str) -> io::Result<()> {
        self.open(kind)?;
        // `{"a":1}` continues the unit as `,"a":1}`, `{}` ends it.
        match object.strip_prefix('{') {
            Some("}") | None => self.emit(b"}\n"),
            Some(rest) => {
                self.emit(b",")?;
                self.emit(rest.as_bytes())?;
                self.emit(b"\n")
            }
        }
    }

    fn begin(&mut self, fields: &str) -> io::Result<()> {
        let own = serde_json::json!({
            "cmd": self.stream.command,
            "store": self.stream.store.map(|id| id.to_string()),
            "run": self.stream.run,
            "time": now(),
        });
        let own = own.to_string();
        let both = match (own.strip_suffix('}'), fields.strip_prefix('{')) {
            (Some(head), Some(tail)) if tail != "}" => format!("{head},{tail}"),
            _ => own,
        };
        self.put("begin", &both)
    }

    fn ensure_begun(&mut self) -> io::Result<()> {
        if self.stream.seq == 0 { self.begin("{}") } else { Ok(()) }
    }

    fn unit(&mut self, kind: &str, fields: &str) -> io::Result<()> {
        self.ensure_begun()?;
        match &mut self.stream.behind {
            Some(behind) => behind.push((kind.to_owned(), fields.to_owned())),
            None => self.put(kind, fields)?,
        }
        Ok(())
    }

    fn end(&mut self, status: &str, exit: u8) -> io::Result<()> {
        self.ensure_begun()?;
        let counts = self.stream.counts.iter().map(|(name, count)| ((*name).to_owned(), (*count).into()));
        let end = End {
            status,
            exit,
            counts: counts.collect(),
            units: self.stream.seq,
            digest: format!("crc32:{:08x}", self.stream.crc.finish()),
            store: self.stream.store.map(|id| id.to_string()),
            run: &self.stream.run,
            time: now(),
        };
        let fields = serde_json::to_string(&end)?;
        let fields = fields.strip_suffix('}').unwrap_or_default();
        let fields = format!("{fields}{}}}", self.stream.ending);
        self.put("end", &fields)
    }
}

fn to_json<T: Serialize>(fields: &T) -> Result<String> {
    serde_json::to_string(fields).map_err(|error| Error::io("encode", "a unit", error.into()))
}

/// The present time, RFC 3339, UTC. Commands read the clock; nothing below them does.
pub(crate) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// The same as seconds and nanoseconds since 1970.
pub(crate) fn unix_time() -> (i64, u32) {
    let now = jiff::Timestamp::now();
    (now.as_second(), u32::try_from(now.subsec_nanosecond()).unwrap_or(0))
}

/// Cuts a text that would be too long as JSON has it, at a character border; tells whether it did.
pub(crate) fn clip(text: &str) -> (&str, bool) {
    let mut len = 0usize;
    for (at, character) in text.char_indices() {
        // A control character becomes six, a quote or backslash two.
        let cost = match character {
            '"' | '\\' => 2,
            '\0'..='\x1f' => 6,
            other => other.len_utf8(),
        };
        len = len.saturating_add(cost);
        if len > DETAIL_MAX_BYTES {
            return (text.get(..at).unwrap_or_default(), true);
        }
    }
    (text, false)
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
