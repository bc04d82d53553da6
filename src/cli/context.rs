//! What every command works with: the store's path, the output, the console, the signals; and how a
//! command's end becomes an exit code.

use std::cell::{Cell, OnceCell};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::error::{Error, Place, Result};
use crate::limits::NAME_MAX_BYTES;
use crate::progress::Stop;
use crate::store::{Store, WriterOptions, is_harmless};

use super::args::Global;
use super::console::Console;
pub(crate) use super::errors::segment_of;
use super::errors::{OfId, error_path, full_error, plain_error};
use super::exit::{self, Exit};
use super::output::{self, Output};
use super::progress::{Meter, ProgressOptions};
use super::signals::Signals;
use super::text;

/// Longest command line that the lock file shows to others, in bytes.
const HOLDER_MAX_CHARS: usize = 200;

/// The surroundings of one command.
pub(crate) struct Context {
    /// The store's directory.
    pub(crate) store: PathBuf,
    /// Standard output.
    pub(crate) out: Output,
    /// Standard error.
    pub(crate) console: Console,
    writer: WriterOptions,
    progress: ProgressOptions,
    /// Raised by the first signal, once these are caught.
    raised: Arc<AtomicBool>,
    signals: OnceCell<Signals>,
    noted: Cell<Exit>,
    /// Whether the command ended before its end, as it was asked to.
    partial: Cell<bool>,
}

impl Context {
    /// Sets up what a command works with. `args` is the command line, for others to see in the lock file.
    ///
    /// # Errors
    /// `Io` if the system gives no random number.
    pub(crate) fn new(command: &'static str, global: &Global, args: &[OsString]) -> Result<Context> {
        let console = Console::new(global.quiet, global.verbose).for_machines(global.json_progress);
        let out = Output::stdout(command, global.json, console.clone())?;
        let progress = ProgressOptions {
            off: global.quiet || global.no_progress,
            json: global.json_progress,
            interval: global.progress_interval,
        };
        let raised = Arc::<AtomicBool>::default();
        let stop = Stop::from_flag(Arc::clone(&raised));
        let writer = WriterOptions { lock_wait: global.lock_wait, holder: holder(args), stop };
        Ok(Context {
            store: global.store.clone(),
            out,
            console,
            writer,
            progress,
            raised,
            signals: OnceCell::new(),
            noted: Cell::new(Exit::Done),
            partial: Cell::new(false),
        })
    }

    /// Surroundings that write where a test can look.
    #[cfg(test)]
    pub(crate) fn writing_to(sink: Box<dyn std::io::Write>) -> Context {
        let console = Console::new(true, 0);
        let out = Output::to(sink, "check", true, false, String::new(), console.clone());
        Context {
            store: PathBuf::new(),
            out,
            console,
            writer: WriterOptions::default(),
            progress: ProgressOptions { off: true, ..ProgressOptions::default() },
            raised: Arc::default(),
            signals: OnceCell::new(),
            noted: Cell::new(Exit::Done),
            partial: Cell::new(false),
        }
    }

    /// Opens the store for reading, tells what open noticed, and begins the stream.
    ///
    /// # Errors
    /// Those of opening and of the output.
    pub(crate) fn open_read(&self) -> Result<Store> {
        let store = Store::open_read_only(&self.store)?;
        self.begin(&store)?;
        Ok(store)
    }

    /// Opens the store for writing, tells what open noticed, and begins the stream.
    ///
    /// # Errors
    /// Those of opening and of the output.
    pub(crate) fn open_write(&self) -> Result<Store> {
        let store = Store::open(&self.store)?;
        self.begin(&store)?;
        Ok(store)
    }

    /// Opens the store for a dry run, tells what open noticed, and begins the stream.
    ///
    /// # Errors
    /// Those of opening and of the output.
    pub(crate) fn open_draft(&self) -> Result<Store> {
        let store = Store::open_draft(&self.store)?;
        self.begin(&store)?;
        Ok(store)
    }

    /// The same for a command that judges the damage itself.
    ///
    /// # Errors
    /// As for `open_read` and `open_write`.
    pub(crate) fn open_damaged(&self, read_only: bool) -> Result<Store> {
        let store = if read_only { Store::open_read_only(&self.store)? } else { Store::open(&self.store)? };
        self.tell_notices(&store)?;
        Ok(store)
    }

    fn begin(&self, store: &Store) -> Result<()> {
        self.tell_notices(store)?;
        if let Some(loss) = store.loss() {
            self.note(Exit::Damage);
            self.console.warn(&format!("read-only: {loss}"));
        }
        let gaps = store.view().gaps();
        if gaps > 0 {
            self.note(Exit::Damage);
            let places = if gaps == 1 { "place" } else { "places" };
            self.console.warn(&format!(
                "acknowledged records are lost at {gaps} {places}, nobody knows whose: an answer may be out of date; run `store check`"
            ));
        }
        Ok(())
    }

    fn tell_notices(&self, store: &Store) -> Result<()> {
        self.warn_of(store);
        self.out.begin(Some(store.id()), &serde_json::json!({ "commit": store.view().commit().0 }))
    }

    /// Tells what open noticed; what needs nobody's attention only to those who want to know more.
    pub(crate) fn warn_of(&self, store: &Store) {
        for notice in store.notices() {
            if !is_harmless(&notice) {
                self.console.warn(&notice);
            } else if self.console.is_verbose() {
                self.console.note(&notice);
            }
        }
    }

    /// Returns how to take the write lock.
    pub(crate) fn writer_options(&self) -> &WriterOptions {
        &self.writer
    }

    /// Starts a progress display.
    pub(crate) fn meter(&self, verb: &'static str, items: &'static str) -> Meter {
        Meter::start(&self.console, self.progress, verb, items)
    }

    /// Catches SIGINT and SIGTERM from now on, and returns the flag that they raise.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub(crate) fn stop(&self) -> Result<Stop> {
        if self.signals.get().is_none() {
            let signals = Signals::install(&self.raised)?;
            self.signals.get_or_init(|| signals);
        }
        Ok(self.writer.stop.clone())
    }

    /// Says on standard output what was done, unless nothing but errors is wanted or units are.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn say(&self, text: &str) -> Result<()> {
        if self.out.is_json() || self.console.is_quiet() { Ok(()) } else { self.out.line(text) }
    }

    /// Remembers something for the exit code; the worst counts.
    pub(crate) fn note(&self, exit: Exit) {
        self.noted.set(self.noted.get().worse(exit));
    }

    /// Remembers that the command ended before its end, as a limit of its own asked for.
    pub(crate) fn be_partial(&self) {
        self.partial.set(true);
        self.note(Exit::Partial);
    }

    /// Returns the worst that was noted so far.
    pub(crate) fn noted(&self) -> Exit {
        self.noted.get()
    }

    /// Reports that what was asked for is not there.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn not_found(&self, text: &str) -> Result<()> {
        self.note(Exit::NotFound);
        self.console.error(text);
        self.out.unit("error", &plain_error("not_found", None, text))
    }

    /// Reports that one of several ids that were asked for is not there; the others go on. `exit` is what that means for
    /// the command.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn not_found_of(&self, id: &[u8], text: &str, exit: Exit) -> Result<()> {
        self.note(exit);
        self.console.error(text);
        self.out.unit(
            "error",
            &OfId { id: text::Text(shortened(id)), unit: plain_error("not_found", None, text) },
        )
    }

    /// Reports an error that answers one of several ids; the others go on.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn report_of(&self, id: &[u8], error: &Error) -> Result<()> {
        self.note(Exit::of(error, false));
        let text = format!("{}: {error}", text::show(id));
        self.console.error(&text);
        let path = error_path(error);
        let unit = full_error(error, None, false, &text, &path);
        self.out.unit("error", &OfId { id: text::Text(shortened(id)), unit })
    }

    /// Reports an input that is refused; the rest goes on.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn skipped(&self, run: &str, code: &str, text: &str) -> Result<()> {
        self.note(Exit::Partial);
        self.console.error(text);
        self.out.unit("error", &plain_error(code, Some(run), text))
    }

    /// Reports an error that does not end the command, and notes it for the exit code.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn report(&self, error: &Error, run: Option<&str>) -> Result<()> {
        self.note(Exit::of(error, false));
        self.console.error(&error.to_string());
        self.error_unit(error, run, None, false)
    }

    /// Reports that a place of the store cannot be read. What follows from it for the exit code says the finding about it.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn report_at(&self, error: &Error, place: &Place) -> Result<()> {
        self.console.error(&error.to_string());
        self.error_unit(error, None, Some(place), false)
    }

    fn error_unit(&self, error: &Error, run: Option<&str>, place: Option<&Place>, fatal: bool) -> Result<()> {
        let (text, path) = (error.to_string(), error_path(error));
        let mut unit = full_error(error, run, fatal, &text, &path);
        if let Some(place) = place {
            unit.file = Some(&place.file);
            unit.seg = segment_of(&place.file);
            unit.off = place.offset;
        }
        self.out.unit("error", &unit)
    }

    /// Ends the command: reports the error if one ended it, ends the stream, and returns the exit code.
    pub(crate) fn conclude(&self, result: &Result<()>, may_lose_reader: bool) -> Exit {
        let mut exit = self.noted.get();
        let mut status = if self.partial.get() { "partial" } else { "complete" };
        if let Err(error) = result {
            let is_stopped = matches!(error, Error::Cancelled);
            status = if is_stopped { "interrupted" } else { "failed" };
            // The failure of a lost output is told once, below.
            if self.out.lost().is_none() {
                let terminated = self.signals.get().is_some_and(Signals::is_terminated);
                exit = exit.worse(Exit::of(error, terminated));
                self.console.error(&error.to_string());
                if let Some(advice) = exit::advice(error) {
                    self.console.hint(advice);
                }
                // To be stopped is no error: the status says it. If it fails, the output is lost.
                if !is_stopped {
                    self.error_unit(error, None, None, true).ok();
                }
            }
        }
        self.out.end(status, exit.code());
        match self.out.lost() {
            None => exit,
            Some(std::io::ErrorKind::BrokenPipe) if may_lose_reader => exit,
            Some(kind) => {
                self.console.error(&format!("cannot write to standard output: {kind}"));
                exit.worse(Exit::Failed)
            }
        }
    }
}

/// What the lock file tells others: who writes, where, what for, since when.
fn holder(args: &[OsString]) -> String {
    let words: Vec<String> = args
        .iter()
        .enumerate()
        .map(|(place, word)| {
            // The program goes by its name: where it is installed is nobody's concern.
            let name = Path::new(word).file_name().filter(|_| place == 0).unwrap_or(word);
            text::show(name.as_encoded_bytes())
        })
        .collect();
    let command: String = words.join(" ").chars().take(HOLDER_MAX_CHARS).collect();
    let system = rustix::system::uname();
    let host = text::show(system.nodename().to_bytes());
    format!("pid {} on {host} ({command:?}) since {}", std::process::id(), output::now())
}

/// An id as far as one can be: what is longer is no id, and would make a line too long.
fn shortened(id: &[u8]) -> &[u8] {
    id.get(..NAME_MAX_BYTES).unwrap_or(id)
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
