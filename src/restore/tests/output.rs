//! What is written: bundles and trees.

use std::time::{Duration, UNIX_EPOCH};

use super::super::bundles::bundles_from;
use super::super::tree::tree_from;
use super::super::{Order, Resolve, RestoreEvent, RestoreOptions, RestoreSummary};
use super::model::{Model, ModelFile, run_key};
use crate::error::Error;
use crate::progress::Stop;

fn bundles(model: &Model, options: &RestoreOptions) -> (String, RestoreSummary) {
    let mut out = Vec::new();
    let summary = bundles_from(model, options, &mut out, &mut |_| Ok(()), &Stop::default()).unwrap();
    assert_eq!(u64::try_from(out.len()).unwrap(), summary.bytes);
    (String::from_utf8(out).unwrap(), summary)
}

/// Each line as `run#part: ids`, after a check that it is one bundle.
fn brief(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let bundle: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(bundle["type"], "bundle");
        let id = bundle["id"].as_str().unwrap().strip_prefix("bundle--").unwrap();
        assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 5);
        let part = bundle.get("x_part").map_or(String::new(), |part| format!("#{part}"));
        let ids: Vec<_> =
            bundle["objects"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
        format!("{}{part}: {}", bundle["x_run"].as_str().unwrap(), ids.join(" "))
    };
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(line).collect()
}

fn options(resolve: Resolve, max_bundle_bytes: u64) -> RestoreOptions {
    RestoreOptions { resolve, max_bundle_bytes, order: Order::Name, ..RestoreOptions::default() }
}

#[test]
fn a_bundle_is_one_line_that_holds_the_exact_bytes() {
    let mut model = Model::of("D1:");
    let text = b"{\r\n  \"id\" : \"a\",\n\t\"n\": 1.10, \"n\": \"\\n \\u2028\"\r}".to_vec();
    let objects = vec![(b"a".to_vec(), Vec::new())];
    model.add(run_key("D1"), b"a", ModelFile { objects, text: Some(text), ..ModelFile::default() });
    let (text, summary) = bundles(&model, &RestoreOptions::default());
    assert_eq!(
        text,
        "{\"type\":\"bundle\",\"id\":\"bundle--b25cecdb-9267-5639-bf69-fc3e787a1fba\",\"x_run\":\"D1\",\
         \"objects\":[{    \"id\" : \"a\", \t\"n\": 1.10, \"n\": \"\\n \\u2028\" }]}\n"
    );
    assert_eq!((summary.runs, summary.own, summary.bundles), (1, 1, 1));
}

#[test]
fn resolved_objects_stand_before_own_ones() {
    let model = Model::of("D1: z->i; f=f+g->j\nD2: j; i->k\nD3: k");
    let (text, summary) = bundles(&model, &options(Resolve::Closure, 0));
    assert_eq!(brief(&text), ["D1: j k i f g z", "D2: k i j", "D3: k"]);
    assert_eq!((summary.own, summary.resolved, summary.bundles), (6, 4, 3));
    let (text, summary) = bundles(&model, &options(Resolve::Once, 0));
    assert_eq!(brief(&text), ["D1: j k i f g z"]);
    assert_eq!((summary.runs, summary.own, summary.resolved, summary.bundles), (3, 3, 3, 1));
}

/// Two files of 3,000 objects took two seconds: where their objects alternate, each file was read for each of its objects.
#[test]
fn files_whose_objects_alternate_are_read_once_each() {
    let mut model = Model::of("D1:\nD2:");
    for (run, name, first) in [("D1", "f", 0), ("D1", "g", 1), ("D2", "h", 2)] {
        let id = |number: u32| format!("{:05}", number * 3 + first).into_bytes();
        let refs = |number: u32| {
            if first == 0 { vec![format!("{:05}", number * 3 + 2).into_bytes()] } else { Vec::new() }
        };
        let objects = (0..1000).map(|number| (id(number), refs(number))).collect();
        model.add(run_key(run), name.as_bytes(), ModelFile { objects, ..ModelFile::default() });
    }
    let (text, summary) = bundles(&model, &RestoreOptions::default());
    assert_eq!((summary.own, summary.resolved, model.read.get()), (2000, 1000, 3));
    assert!(text.starts_with(r#"{"type":"bundle","id":"bundle--b25cecdb-9267-5639-bf69-fc3e787a1fba","x_run":"D1","objects":[{"id":"00001""#));
}

#[test]
fn e11_a_run_without_objects_counts_and_writes_nothing() {
    let (text, summary) = bundles(&Model::of("D1:\nD2: a"), &RestoreOptions::default());
    assert_eq!(brief(&text), ["D2: a"]);
    assert_eq!((summary.runs, summary.bundles), (2, 1));
}

#[test]
fn e21_an_id_in_two_files_of_a_run_comes_once() {
    // The connector sends both and the platform keeps one of them.
    let named = Model::of("D1: a=c->x; c=c->y; d=c->z");
    let (text, summary) = bundles(&named, &RestoreOptions::default());
    assert_eq!(brief(&text), ["D1: c"]);
    assert!(text.contains(r#""refs":"y""#));
    assert_eq!(summary.own, 1);
    let (text, _) = bundles(&Model::of("D1: a=c->x; b=c->y+c->z"), &RestoreOptions::default());
    assert!(brief(&text) == ["D1: c"] && text.contains(r#""refs":"y""#));
}

#[test]
fn an_object_found_under_two_names_is_written_once() {
    let model = Model::of("D1: m->c,n\nD2: n=c; c=c");
    for resolve in [Resolve::Closure, Resolve::Once] {
        let (text, _) = bundles(&model, &options(resolve, 0));
        assert_eq!(brief(&text)[0], "D1: c m");
    }
}

#[test]
fn bundles_split_at_the_limit_and_a_larger_object_stands_alone() {
    let model = Model::of("D1: a; b; c; d->dddddddddddddddddddddddddddddddddddddddddddddddddddddddd; e");
    let (whole, _) = bundles(&model, &options(Resolve::None, 0));
    let (one, _) = bundles(&Model::of("D1: a; b"), &options(Resolve::None, 0));
    let max = u64::try_from(one.len()).unwrap().saturating_sub(1);
    let (text, summary) = bundles(&model, &options(Resolve::None, max));
    assert_eq!(brief(&text), ["D1: a b", "D1#2: c", "D1#3: d", "D1#4: e"]);
    assert_eq!(summary.bundles, 4);
    let ids: std::collections::BTreeSet<_> = text.lines().map(|line| &line[25..71]).collect();
    assert_eq!(ids.len(), 4);
    // One byte less, and two objects are too many; the limit of the whole run splits nothing.
    let (text, _) = bundles(&model, &options(Resolve::None, max.saturating_sub(1)));
    assert_eq!(brief(&text)[0], "D1: a");
    let (text, _) = bundles(&model, &options(Resolve::None, u64::try_from(whole.len()).unwrap()));
    assert_eq!(text, whole);
}

#[test]
fn the_same_store_gives_the_same_bytes() {
    let model = Model::of("D1: z->i; f=f+g->j\nD1b: a->f\nD2: j; i->k\nD3: k->x");
    for resolve in [Resolve::Closure, Resolve::Once, Resolve::None] {
        assert_eq!(bundles(&model, &options(resolve, 90)), bundles(&model, &options(resolve, 90)));
    }
}

#[test]
fn a_request_to_stop_leaves_whole_lines() {
    let model = Model::of("D1: a; b; c; d\nD2: e");
    let stop = Stop::default();
    let mut out = Vec::new();
    let mut event = |event: RestoreEvent<'_>| {
        if let RestoreEvent::Progress(progress) = event
            && progress.items == 2
        {
            stop.raise();
        }
        Ok(())
    };
    let result = bundles_from(&model, &options(Resolve::None, 0), &mut out, &mut event, &stop);
    assert!(matches!(result, Err(Error::Cancelled)));
    assert_eq!(brief(&String::from_utf8(out).unwrap()), ["D1: a b c d"]);
}

#[test]
fn an_output_that_fails_ends_the_restore() {
    let mut full = [0; 40];
    let mut out = &mut full[..];
    let result = bundles_from(
        &Model::of("D1: a"),
        &RestoreOptions::default(),
        &mut out,
        &mut |_| Ok(()),
        &Stop::default(),
    );
    assert!(matches!(result, Err(Error::Io { op: "write", .. })));
}

#[test]
fn a_tree_is_written_with_its_times_and_what_cannot_be_a_file_is_skipped() {
    let mut model = Model::of("D1: a; !b\nD2: x/y; c\nD3:");
    for info in &mut model.runs {
        info.meta = crate::snapshot::codec::encode_run_meta(Some((1_600_000_000, 7)));
    }
    let target = tempfile::tempdir().unwrap();
    let mut skipped = Vec::new();
    let mut event = |event: RestoreEvent<'_>| {
        if let RestoreEvent::Skipped { run, name, .. } = event {
            skipped.push((run.to_owned(), name.to_vec()));
        }
        Ok(())
    };
    let options = RestoreOptions::default();
    let summary = tree_from(&model, &options, target.path(), &mut event, &Stop::default()).unwrap();
    assert_eq!(skipped, [("D2".to_owned(), b"x/y".to_vec())]);
    let expect = RestoreSummary { runs: 3, own: 2, bytes: 4, damaged: 1, skipped: 1, ..summary };
    assert_eq!((summary, summary.bundles), (expect, 0));
    let root = target.path().join("opencti_data");
    let times = |path: &str| {
        root.join(path).metadata().unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap()
    };
    for file in ["D1/a.json", "D2/c.json"] {
        assert_eq!(times(file), Duration::new(1_700_000_000, 5));
    }
    for run in ["D1", "D2", "D3"] {
        assert_eq!(times(run), Duration::new(1_600_000_000, 7));
    }
}
