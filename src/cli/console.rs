//! Standard error: messages, the progress bar, and room for one beside the other.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::builder::styling::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use serde::Serialize;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::text::show_message;

/// Standard error. Clones share the progress bar, so that a message never runs into it.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    bars: MultiProgress,
    quiet: bool,
    verbose: u8,
    /// The number of the next unit, where all that is said is NDJSON.
    units: Option<Arc<AtomicU64>>,
}

/// A `message` unit: what a person would read as a line.
#[derive(Serialize)]
struct Message<'a> {
    level: &'a str,
    msg: &'a str,
}

impl Console {
    /// Takes standard error. `quiet` drops what is not an error.
    pub(crate) fn new(quiet: bool, verbose: u8) -> Console {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Console { bars, quiet, verbose, units: None }
    }

    /// Makes every line a unit for machines, messages too, if `json`.
    #[must_use]
    pub(crate) fn for_machines(self, json: bool) -> Console {
        Console { units: json.then(Arc::default), ..self }
    }

    /// Tells whether a person looks at standard error.
    pub(crate) fn is_terminal() -> bool {
        std::io::stderr().is_terminal()
    }

    /// Tells whether the user asked for more (`-v`).
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Tells whether the user wants nothing but errors (`-q`).
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Reports an error.
    pub(crate) fn error(&self, text: &str) {
        self.labelled("error", AnsiColor::Red.on_default().bold(), text);
    }

    /// Reports what a user wants to know although the work goes on.
    pub(crate) fn warn(&self, text: &str) {
        if !self.quiet {
            self.labelled("warning", AnsiColor::Yellow.on_default().bold(), text);
        }
    }

    /// Says something in passing.
    pub(crate) fn note(&self, text: &str) {
        if self.quiet {
        } else if self.units.is_some() {
            self.message("note", text);
        } else {
            self.raw(format!("{}\n", show_message(text)).as_bytes());
        }
    }

    /// Says what could help, on a line of its own.
    pub(crate) fn hint(&self, text: &str) {
        if !self.quiet {
            self.labelled("hint", Style::new().bold(), text);
        }
    }

    fn labelled(&self, label: &str, style: Style, text: &str) {
        if self.units.is_some() {
            return self.message(label, text);
        }
        let indent = if label == "hint" { " " } else { "" };
        self.raw(format!("{style}{indent}{label}:{style:#} {}\n", show_message(text)).as_bytes());
    }

    fn message(&self, level: &str, msg: &str) {
        self.unit("message", &Message { level, msg });
    }

    /// Writes a unit for machines.
    pub(crate) fn unit<T: Serialize>(&self, kind: &str, fields: &T) {
        let seq = self.units.as_ref().map_or(0, |units| units.fetch_add(1, Ordering::Relaxed));
        let Ok(fields) = serde_json::to_string(fields) else { return };
        let rest = fields.strip_prefix('{').unwrap_or("}");
        self.raw(format!("{{\"v\":1,\"type\":\"{kind}\",\"seq\":{seq},{rest}\n").as_bytes());
    }

    /// Writes bytes to standard error, colours removed where it is no terminal. A failure is dropped:
    /// there is nowhere left to report it.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        self.suspend(|| anstream::stderr().lock().write_all(bytes)).ok();
    }

    /// Runs `work` while the progress bar is out of the way.
    pub(crate) fn suspend<R>(&self, work: impl FnOnce() -> R) -> R {
        self.bars.suspend(work)
    }

    /// Shows a progress bar until it is cleared.
    pub(crate) fn add_bar(&self, bar: ProgressBar) -> ProgressBar {
        self.bars.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        self.bars.add(bar)
    }

    /// Sends the library's events to standard error: `STORE_LOG` in the syntax of `RUST_LOG`, else by
    /// the number of `-v`. The systemd journal has its own time stamps, so it gets none. Without either, and for
    /// machines, they look like all other messages.
    pub(crate) fn install_log(&self) {
        let level = match self.verbose {
            0 if self.quiet => LevelFilter::ERROR,
            0 => LevelFilter::WARN,
            1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        let ansi =
            Console::is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let base = tracing_subscriber::fmt().with_writer(self.clone()).with_ansi(ansi).with_target(false);
        let filter = std::env::var("STORE_LOG").ok().filter(|text| !text.is_empty());
        let journal = std::env::var_os("JOURNAL_STREAM").is_some();
        let is_plain = self.units.is_some() || self.verbose == 0 && filter.is_none();
        let filter =
            filter.map(|text| EnvFilter::builder().with_default_directive(level.into()).parse_lossy(text));
        // A subscriber that is there already (a test ran in this process before) stays.
        if is_plain {
            let filter = filter.unwrap_or_else(|| EnvFilter::default().add_directive(level.into()));
            base.event_format(Messages(self.clone())).with_env_filter(filter).try_init().ok();
            return;
        }
        match (filter, journal) {
            (Some(filter), false) => base.with_env_filter(filter).try_init().ok(),
            (Some(filter), true) => base.with_env_filter(filter).without_time().try_init().ok(),
            (None, false) => base.with_max_level(level).try_init().ok(),
            (None, true) => base.with_max_level(level).without_time().try_init().ok(),
        };
    }
}

/// Tells events as messages.
struct Messages(Console);

impl<S, N> FormatEvent<S, N> for Messages
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, _: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        match *event.metadata().level() {
            Level::ERROR => self.0.error(&text),
            Level::WARN => self.0.warn(&text),
            _ => self.0.note(&text),
        }
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Console {
    type Writer = ConsoleWriter;

    fn make_writer(&'a self) -> ConsoleWriter {
        ConsoleWriter(self.clone())
    }
}

/// Writes log lines beside the progress bar.
#[derive(Debug)]
pub(crate) struct ConsoleWriter(Console);

impl Write for ConsoleWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.raw(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
