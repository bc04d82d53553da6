//! How far long work is: a bar, log lines, JSON, or nothing. Always on standard error.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::progress::Progress;

use super::console::Console;
use super::text::{scale, show_size, show_span};

/// How often a bar is redrawn.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// How often a line is logged where no terminal is.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How often a machine is told, at most.
const JSON_INTERVAL: Duration = Duration::from_millis(250);

/// How the user wants to be told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProgressOptions {
    /// Not at all.
    pub(crate) off: bool,
    /// As JSON.
    pub(crate) json: bool,
    /// How often; else what suits the form.
    pub(crate) interval: Option<Duration>,
}

/// Shows the progress of one piece of work.
#[derive(Debug)]
pub(crate) struct Meter {
    console: Console,
    form: Form,
    /// What is being done: "import".
    verb: &'static str,
    /// What is counted: "files".
    items: &'static str,
    interval: Duration,
    started: Instant,
    told: Instant,
    last: Progress,
}

#[derive(Debug)]
enum Form {
    None,
    Bar(ProgressBar),
    Log,
    Json,
}

#[derive(Serialize)]
struct Unit {
    cmd: &'static str,
    items: u64,
    items_total: u64,
    bytes: u64,
    bytes_total: u64,
    findings: u64,
    elapsed_ms: u64,
    bytes_per_second: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
}

impl Meter {
    /// Starts the clock.
    pub(crate) fn start(
        console: &Console,
        options: ProgressOptions,
        verb: &'static str,
        items: &'static str,
    ) -> Meter {
        let (form, interval) = if options.off {
            (Form::None, LOG_INTERVAL)
        } else if options.json {
            let asked = options.interval.unwrap_or(JSON_INTERVAL);
            (Form::Json, asked.max(JSON_INTERVAL))
        } else if Console::is_terminal() {
            let bar = console.add_bar(ProgressBar::no_length());
            (Form::Bar(bar), options.interval.unwrap_or(BAR_INTERVAL).max(BAR_INTERVAL))
        } else {
            (Form::Log, options.interval.unwrap_or(LOG_INTERVAL).max(BAR_INTERVAL))
        };
        let (console, now) = (console.clone(), Instant::now());
        let last = Progress::default();
        Meter { console, form, verb, items, interval, started: now, told: now, last }
    }

    /// Tells how far the work is, if it is time to. Cost: one look at the clock.
    pub(crate) fn update(&mut self, progress: &Progress) {
        self.last = *progress;
        let now = Instant::now();
        if matches!(self.form, Form::None) || now.duration_since(self.told) < self.interval {
            return;
        }
        self.told = now;
        self.tell();
    }

    /// Ends the display. A machine gets the last state in any case.
    pub(crate) fn finish(&mut self) {
        match &self.form {
            Form::Bar(bar) => bar.finish_and_clear(),
            Form::Json => self.tell(),
            Form::None | Form::Log => {}
        }
        self.form = Form::None;
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn tell(&mut self) {
        let elapsed = self.started.elapsed();
        match &self.form {
            Form::None => {}
            Form::Bar(bar) => {
                let (done, total) = measure(&self.last);
                if total > 0 && bar.length() != Some(total) {
                    bar.set_length(total);
                    bar.set_style(style("{prefix} [{bar:24}] {wide_msg}"));
                } else if total == 0 {
                    bar.set_style(style("{prefix} {wide_msg}"));
                }
                bar.set_prefix(self.verb);
                bar.set_message(describe(&self.last, self.items, elapsed));
                bar.set_position(done);
            }
            Form::Log => {
                let text = describe(&self.last, self.items, elapsed);
                self.console.note(&format!("{}: {text}", self.verb));
            }
            Form::Json => {
                let left = remaining(&self.last, elapsed);
                let unit = Unit {
                    cmd: self.verb,
                    items: self.last.items,
                    items_total: self.last.items_total,
                    bytes: self.last.bytes,
                    bytes_total: self.last.bytes_total,
                    findings: self.last.findings,
                    elapsed_ms: millis(elapsed),
                    bytes_per_second: rate(self.last.bytes, elapsed),
                    seconds_left: left.map(|span| span.as_secs()),
                };
                self.console.unit("progress", &unit);
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What the work is measured by: bytes where their total is known, else items.
fn measure(progress: &Progress) -> (u64, u64) {
    if progress.bytes_total > 0 {
        (progress.bytes, progress.bytes_total)
    } else {
        (progress.items, progress.items_total)
    }
}

/// Per second, from a count and a time.
pub(crate) fn rate(count: u64, elapsed: Duration) -> u64 {
    scale(count, 1000, millis(elapsed))
}

/// The time left at the rate so far; `None` while there is nothing to tell it from.
fn remaining(progress: &Progress, elapsed: Duration) -> Option<Duration> {
    let (done, total) = measure(progress);
    if done == 0 || total == 0 {
        return None;
    }
    Some(Duration::from_millis(scale(total.saturating_sub(done), millis(elapsed), done)))
}

/// One line for people: count, bytes, rate, time left.
fn describe(progress: &Progress, items: &str, elapsed: Duration) -> String {
    let mut text = progress.items.to_string();
    if progress.items_total > 0 {
        text = format!("{text} of {}", progress.items_total);
    }
    text = format!("{text} {items}, {}", show_size(progress.bytes));
    if progress.bytes_total > 0 {
        text = format!("{text} of {}", show_size(progress.bytes_total));
    }
    let (done, total) = measure(progress);
    if total > 0 {
        text = format!("{text} ({} %)", scale(done.min(total), 100, total));
    }
    text = format!("{text}, {}/s", show_size(rate(progress.bytes, elapsed)));
    if let Some(left) = remaining(progress, elapsed) {
        text = format!("{text}, {} left", show_span(left));
    }
    if progress.findings > 0 {
        text = format!("{text}, {} to look at", progress.findings);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_count_bytes_rate_and_time_left() {
        let progress =
            Progress { items: 10, items_total: 40, bytes: 1 << 20, bytes_total: 4 << 20, findings: 2 };
        assert_eq!(
            describe(&progress, "files", Duration::from_secs(2)),
            "10 of 40 files, 1.0 MiB of 4.0 MiB (25 %), 512.0 KiB/s, 6 s left, 2 to look at"
        );
    }

    #[test]
    fn a_line_without_totals_promises_nothing() {
        let progress = Progress { items: 3, bytes: 100, ..Progress::default() };
        assert_eq!(describe(&progress, "records", Duration::from_secs(1)), "3 records, 100 B, 100 B/s");
        assert_eq!(describe(&Progress::default(), "records", Duration::ZERO), "0 records, 0 B, 0 B/s");
    }

    #[test]
    fn items_measure_the_work_where_bytes_are_not_known() {
        let progress = Progress { items: 1, items_total: 4, bytes: 10, ..Progress::default() };
        assert_eq!(remaining(&progress, Duration::from_secs(1)), Some(Duration::from_secs(3)));
        assert_eq!(
            remaining(&Progress { items: 5, ..progress }, Duration::from_secs(1)),
            Some(Duration::ZERO)
        );
    }
}
