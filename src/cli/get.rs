//! `store get`: the bytes of one object, or of its file, with nothing added; or of many, one a line.

use std::path::Path;

use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::id::Instant;
use crate::store::{Snapshot, View, When};

use super::args::GetArgs;
use super::context::Context;
use super::exit::Exit;
use super::files;
use super::lookup::{self, RunNames, SnapshotUnit};
use super::text::{Text, one_line, show};

/// What is wanted of each id.
struct Get<'a> {
    context: &'a Context,
    view: &'a View,
    when: When,
    /// The same, in words.
    words: String,
    raw: bool,
    names: RunNames,
}

/// Runs the command.
///
/// # Errors
/// `NoStore`, `Damaged`, failures of reading and of the output. Nothing found is noted, not an error.
pub(crate) fn run(context: &Context, args: &GetArgs) -> Result<()> {
    let store = context.open_read()?;
    let view = store.view();
    let (when, words) = match (&args.run, &args.at, &args.after) {
        (Some(run), _, _) => match lookup::run(&view, run)? {
            None => return no_run(context, args, &format!("no run {}", run.name)),
            Some(known) => (When::In(known.key), format!(" in run {}", run.name)),
        },
        (_, Some(run), _) => (When::AtOrBefore(run.at), format!(" at or before {}", run.name)),
        (_, _, Some(run)) => (When::After(run.at), format!(" after {}", run.name)),
        (None, None, None) => (When::Newest, String::new()),
    };
    let mut get = Get { context, view: &view, when, words, raw: args.raw, names: RunNames::default() };
    match (&args.id, &args.ids) {
        (Some(id), _) => get.one(id.as_encoded_bytes()),
        (None, Some(file)) => get.many(file),
        (None, None) => Ok(()),
    }
}

/// Says that no such run is known: once for one id, of each for many.
fn no_run(context: &Context, args: &GetArgs, text: &str) -> Result<()> {
    let Some(file) = &args.ids else { return context.not_found(text) };
    for id in ids_of(&files::input(file)?) {
        context.not_found_of(id, text, Exit::NotFound)?;
        no_line(context)?;
    }
    Ok(())
}

/// Returns the ids of a file, one a line. Empty lines are none.
fn ids_of(text: &[u8]) -> Vec<&[u8]> {
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty()).collect()
}

/// So that the n-th line is the answer to the n-th id.
fn no_line(context: &Context) -> Result<()> {
    if context.out.is_json() { Ok(()) } else { context.out.write(b"\n") }
}

impl Get<'_> {
    fn one(&mut self, id: &[u8]) -> Result<()> {
        let Some(snapshot) = self.view.find(id, self.when)? else {
            let text = self.why_not(id)?;
            return self.context.not_found(&text);
        };
        let body = snapshot.body()?;
        let wanted = self.wanted(&snapshot, id, &body)?;
        if self.context.out.is_json() {
            self.unit(&snapshot, id, wanted)
        } else {
            self.context.out.write(wanted)
        }
    }

    /// Prints a line for each id of a file. What is wrong with one is said, and costs that one only.
    fn many(&mut self, file: &Path) -> Result<()> {
        let text = files::input(file)?;
        let (view, when) = (self.view, self.when);
        view.each_of_many(&ids_of(&text), when, |id, answer| match self.line(id, answer) {
            Err(error @ Error::Damaged { .. }) => {
                self.context.report_of(id, &error)?;
                no_line(self.context)
            }
            told => told,
        })
    }

    fn line(&mut self, id: &[u8], answer: Result<Option<Snapshot<'_>>>) -> Result<()> {
        let Some(snapshot) = answer? else {
            let text = self.why_not(id)?;
            self.context.not_found_of(id, &text, Exit::NotFound)?;
            return no_line(self.context);
        };
        let body = snapshot.body()?;
        let wanted = self.wanted(&snapshot, id, &body)?;
        if self.context.out.is_json() {
            return self.unit(&snapshot, id, wanted);
        }
        let mut line = one_line(wanted);
        line.push(b'\n');
        self.context.out.write(&line)
    }

    fn wanted<'b>(&self, snapshot: &Snapshot<'_>, id: &[u8], body: &'b [u8]) -> Result<&'b [u8]> {
        if self.raw { Ok(body) } else { lookup::object(snapshot, id, body) }
    }

    /// Says why there is no snapshot of an id.
    fn why_not(&mut self, id: &[u8]) -> Result<String> {
        let until = match self.when {
            When::Newest => Some(Instant::MAX),
            When::AtOrBefore(at) => Some(at),
            When::In(_) | When::After(_) => None,
        };
        let lost = until.map(|at| self.view.lost(id, at)).transpose()?.flatten();
        let (id, when) = (show(id), &self.words);
        Ok(match lost {
            Some(run) => {
                let run = self.names.of(Some(self.view), run);
                format!("the newest snapshot of {id}{when} was lost in run {run}")
            }
            None => format!("no snapshot of {id}{when}"),
        })
    }

    fn unit(&mut self, snapshot: &Snapshot<'_>, id: &[u8], wanted: &[u8]) -> Result<()> {
        #[derive(serde::Serialize)]
        struct WithContent<'a> {
            #[serde(flatten)]
            head: SnapshotUnit<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            content: Option<Box<RawValue>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            content_bytes: Option<Text<'a>>,
        }
        let path = lookup::path(self.names.of(Some(self.view), snapshot.run()), &snapshot.name());
        let head = SnapshotUnit::of(snapshot, id, &path);
        let json = String::from_utf8(one_line(wanted)).ok().and_then(|text| RawValue::from_string(text).ok());
        // Import takes nothing but JSON, yet a library user may have put what he likes.
        let content_bytes = json.is_none().then_some(Text(wanted));
        self.context.out.count("snapshots", 1);
        self.context.out.unit("snapshot", &WithContent { head, content: json, content_bytes })
    }
}
