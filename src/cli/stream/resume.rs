//! Where an earlier run ended: the last whole checkpoint of the last run in a file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::id::{Location, SegmentId};

use super::reader::{Unit, Units};
use super::units::Done;

/// What a run goes on from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Before {
    /// The run's id.
    pub(super) run: String,
    /// The store's id.
    pub(super) store: Option<String>,
    cmd: Option<String>,
    level: Option<String>,
    shard: Option<String>,
    /// Where it goes on; `None`: from the start.
    pub(super) cursor: Option<Location>,
    /// What is done.
    pub(super) done: Done,
    /// Segments that were last found damaged, before the cursor, and at how many places.
    pub(super) bad: BTreeMap<SegmentId, u64>,
    /// The same since the last segment that was told whole.
    open: BTreeMap<SegmentId, u64>,
}

impl Before {
    /// Reads a file and holds its last run against the one that is to go on. `None` if nothing was written to it yet: so the
    /// first run can be started like those that go on.
    ///
    /// # Errors
    /// `BadInput` if there is no run, or one of another kind; `Io`.
    pub(super) fn read(path: &Path, cmd: &str, level: &str, shard: Option<&str>) -> Result<Option<Before>> {
        let mut units = Units::open(path)?;
        let mut last: Option<Before> = None;
        while let Some(unit) = units.next()? {
            if unit.r#type == "begin" {
                last = Some(Before::begun(unit, last.take()));
            } else if let Some(last) = &mut last {
                last.take(&unit);
            }
        }
        if last.is_none() && units.is_blank() {
            return Ok(None);
        }
        let refused = |reason: String| Error::BadInput { what: path.display().to_string(), reason };
        let last = last.ok_or_else(|| refused("holds no run to go on from".to_owned()))?;
        for (what, had, has) in [
            ("command", &last.cmd, Some(cmd)),
            ("level", &last.level, Some(level)),
            ("shard", &last.shard, shard),
        ] {
            if had.as_deref() != has {
                let (had, has) = (had.as_deref().unwrap_or("none"), has.unwrap_or("none"));
                return Err(refused(format!(
                    "its last run has {what} {had}, not {has}: it cannot be gone on with"
                )));
            }
        }
        Ok(Some(last))
    }

    fn take(&mut self, unit: &Unit) {
        let segment = unit.seg.map(SegmentId);
        match (unit.r#type.as_str(), segment) {
            ("result", Some(segment)) if unit.severity.as_deref() == Some("damage") => {
                let count = self.open.entry(segment).or_default();
                *count = count.saturating_add(1);
            }
            ("segment", Some(segment)) => {
                match self.open.remove(&segment) {
                    Some(count) => self.bad.insert(segment, count),
                    None => self.bad.remove(&segment),
                };
            }
            _ => {}
        }
        if let Some(done) = unit.done {
            self.done = done;
            self.cursor = unit.cursor.map(|at| Location { segment: SegmentId(at.seg), offset: at.off });
            for known in unit.again.iter().flatten() {
                self.bad.entry(SegmentId(known.seg)).or_insert(known.bad);
            }
        }
    }

    /// A run that goes on from the one before, and was cut before it could say from where, goes on from there.
    fn begun(unit: Unit, before: Option<Before>) -> Before {
        let Unit { cmd, store, run, level, shard, resumed, .. } = unit;
        let from = before.filter(|before| resumed.is_some_and(|resumed| resumed == before.run));
        let Before { cursor, done, bad, .. } = from.unwrap_or_default();
        let (run, open) = (run.unwrap_or_default(), BTreeMap::new());
        Before { run, store, cmd, level, shard, cursor, done, bad, open }
    }
}
