//! Answers questions about a store in bulk, through the library: one JSON object a line in, one out.
//!
//! ```text
//! answers STORE < QUESTIONS
//! {"kind":"id","id":i}                   -> with "runs", all that hold it, ascending      (`store history`)
//! {"kind":"snapshot","run":r,"id":i}     -> with "bytes" and "crc32" of the file          (`store get --run --raw`)
//! {"kind":"closest","id":i,"after":r}    -> with "run", the first strictly after, or null (`store get --after`)
//! ```
//!
//! Questions of other kinds are passed over. `tools/real.sh` holds the answers against expected ones.

use std::error::Error;
use std::io::{self, BufRead, BufWriter, Write};

use serde_json::{Value, json};
use stix_store::snapshot::run;
use stix_store::{Instant, Snapshot, Store, View};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: answers STORE < QUESTIONS")?;
    let view = Store::open_read_only(path)?.view();
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let question: Value = serde_json::from_str(&line?)?;
        if let Some(answer) = answer(&view, &question)? {
            writeln!(out, "{answer}")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn answer(view: &View, question: &Value) -> Result<Option<Value>, Box<dyn Error>> {
    let field = |name: &str| {
        question.get(name).and_then(Value::as_str).ok_or_else(|| format!("no {name}: {question}"))
    };
    Ok(Some(match field("kind")? {
        "id" => {
            let id = field("id")?;
            let mut runs = Vec::new();
            for snapshot in view.history(id)? {
                runs.push(run_of(view, &snapshot?)?);
            }
            json!({"kind": "id", "id": id, "runs": runs})
        }
        "snapshot" => {
            let (id, run) = (field("id")?, field("run")?);
            let info = view.run_named(instant(run)?, run)?.ok_or_else(|| format!("no run {run}"))?;
            let Some(snapshot) = view.get(id, info.key)? else {
                return Ok(Some(json!({"kind": "snapshot", "run": run, "id": id, "bytes": null})));
            };
            let body = snapshot.body()?;
            json!({"kind": "snapshot", "run": run, "id": id, "bytes": body.len(), "crc32": crc32fast::hash(&body)})
        }
        "closest" => {
            let (id, after) = (field("id")?, field("after")?);
            let found = view.closest_after(id, instant(after)?)?;
            let run = found.map(|snapshot| run_of(view, &snapshot)).transpose()?;
            json!({"kind": "closest", "id": id, "after": after, "run": run})
        }
        _ => return Ok(None),
    }))
}

fn instant(name: &str) -> Result<Instant, String> {
    run::parse(name).ok_or_else(|| format!("no run has the name {name}"))
}

fn run_of(view: &View, snapshot: &Snapshot<'_>) -> Result<String, Box<dyn Error>> {
    Ok(view.run(snapshot.run())?.ok_or("a snapshot without a run")?.name)
}
