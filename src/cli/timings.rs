//! `import --timings`: where the time went, as a table for people and a `timing` unit for machines.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::Result;
use crate::import::Timings;

use super::context::Context;

/// Tells how long the steps took. `index` is the time of closing, which publishes the index.
///
/// # Errors
/// Failures of the output.
pub(crate) fn tell(
    context: &Context,
    timings: &Timings,
    lock_wait: Duration,
    recovery: Duration,
    index: Duration,
) -> Result<()> {
    let steps = [
        ("lock_wait", lock_wait),
        ("recovery", recovery),
        ("scan", timings.scan),
        ("prefilter", timings.prefilter),
        ("read", timings.read),
        ("parse", timings.parse),
        ("encode", timings.encode),
        ("train", timings.train),
        ("reorder_wait", timings.reorder_wait),
        ("append", timings.append),
        ("fsync", timings.fsync),
        ("index", index),
        (
            "total",
            [lock_wait, recovery, timings.total, index]
                .into_iter()
                .fold(Duration::ZERO, Duration::saturating_add),
        ),
    ];
    if context.out.is_json() {
        let micros = |span: Duration| Value::from(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
        let fields: Map<String, Value> =
            steps.iter().map(|(name, span)| (format!("{name}_us"), micros(*span))).collect();
        return context.out.unit("timing", &fields);
    }
    for (name, span) in steps {
        context.say(&format!("{:<13}{:>12.3} ms", name.replace('_', " "), span.as_secs_f64() * 1e3))?;
    }
    Ok(())
}
