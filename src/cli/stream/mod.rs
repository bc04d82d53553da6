//! The streams of `manifest`, `check` and `repair`: their units, what is read back of them, and the record of what was
//! checked when. `schema-1.json` beside this file describes every unit of every command.

mod named;
mod next;
mod plain;
mod reader;
mod record;
mod resume;
mod scan;
mod sink;
mod states;
mod tally;
mod units;
mod wrong;

pub(crate) use named::Named;
pub(crate) use scan::{Scan, Task, Tell, scan};
pub(crate) use units::Outcome;
