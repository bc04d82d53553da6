//! The acceptance cases of resolution, by number; each first in the connector's way, then in ours.

use super::super::plan::plan_from;
use super::super::{MissingState, PlanUnit, Resolve, RestoreEvent, RestoreOptions, RestoreSummary, Why};
use super::model::{Model, ModelFile, run_key};
use crate::error::Error;
use crate::id::Instant;
use crate::progress::Stop;

/// The plan in short: `D1: i<D2 m | j earlier`.
fn plan(model: &Model, options: &RestoreOptions) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut current = None;
    let text = |id: &[u8]| String::from_utf8_lossy(id).into_owned();
    let mut unit = |unit: &PlanUnit| {
        let (run, word) = match unit {
            PlanUnit::Object { run, id, from, why: Why::Resolved } => (run, format!("{}<{from}", text(id))),
            PlanUnit::Object { run, id, why: Why::Own, .. } => (run, text(id)),
            PlanUnit::Missing { run, reference, state: MissingState::Earlier } => {
                (run, format!("{}:earlier", text(reference)))
            }
            PlanUnit::Missing { run, reference, state: MissingState::Absent } => {
                (run, format!("{}:absent", text(reference)))
            }
            PlanUnit::Attachment { .. } => panic!("the model has no attachments"),
        };
        if current.as_ref() != Some(run) {
            current = Some(run.clone());
            lines.push(format!("{run}:"));
        }
        let line = lines.last_mut().unwrap();
        line.push(' ');
        line.push_str(&word);
        Ok(())
    };
    plan_from(model, options, &mut unit, &mut |_| Ok(()), &Stop::default()).unwrap();
    lines.join("\n")
}

fn with(resolve: Resolve) -> RestoreOptions {
    RestoreOptions { resolve, ..RestoreOptions::default() }
}

fn closure(tree: &str) -> String {
    plan(&Model::of(tree), &with(Resolve::Closure))
}

fn once(tree: &str) -> String {
    plan(&Model::of(tree), &with(Resolve::Once))
}

#[test]
fn e01_missing_references_come_from_later_runs() {
    let tree = "D1: m->i,k\nD2: k\nD3: i";
    assert_eq!(closure(tree), "D1: k<D2 i<D3 m\nD2: k\nD3: i");
    assert_eq!(once(tree), "D1: k<D2 i<D3 m");
}

#[test]
fn e02_a_reference_to_an_earlier_run_is_not_resolved() {
    let tree = "D1: i\nD2: m->i";
    assert_eq!(closure(tree), "D1: i\nD2: m i:earlier");
    assert_eq!(once(tree), "D1: i\nD2: m");
}

#[test]
fn e03_of_several_later_runs_the_closest_is_taken() {
    let tree = "D1: m->i\nD2: i\nD3: i\nD4: i";
    assert_eq!(closure(tree), "D1: i<D2 m\nD2: i\nD3: i\nD4: i");
    assert_eq!(once(tree), "D1: i<D2 m\nD3: i\nD4: i");
}

#[test]
fn e04_a_reference_to_nowhere_is_absent() {
    let tree = "D1: m->x\nD2: n->x";
    for resolve in [Resolve::Closure, Resolve::Once, Resolve::None] {
        assert_eq!(plan(&Model::of(tree), &with(resolve)), "D1: m x:absent\nD2: n x:absent");
    }
}

#[test]
fn e05_cycles_end_and_hold_each_object_once() {
    let tree = "D1: r1->r2\nD2: r2->r3\nD3: r3->r1,r2";
    assert_eq!(closure(tree), "D1: r3<D3 r2<D2 r1\nD2: r3<D3 r2 r1:earlier\nD3: r3 r1:earlier r2:earlier");
    assert_eq!(once(tree), "D1: r3<D3 r2<D2 r1");
}

#[test]
fn e06_an_object_needed_twice_is_taken_once() {
    let tree = "D1: r->m,i\nD2: m->i; i";
    assert_eq!(closure(tree), "D1: m<D2 i<D2 r\nD2: i m");
    assert_eq!(once(tree), "D1: m<D2 i<D2 r");
}

#[test]
fn e07_after_skips_runs_up_to_that_instant() {
    let model = Model::of("D1: a\nD2: b\nD3: c");
    let options = RestoreOptions { after: Some(Instant(1)), ..with(Resolve::Closure) };
    assert_eq!(plan(&model, &options), "D2: b\nD3: c");
    let options = RestoreOptions { until: Some(Instant(2)), ..options };
    assert_eq!(plan(&model, &options), "D2: b");
}

#[test]
fn e08_after_a_cursor_earlier_runs_resolve_only_on_demand() {
    let model = Model::of("D1: i->j\nD2: m->i\nD3: n->i\nD4: j");
    for (resolve, plain, included) in [
        (
            Resolve::Closure,
            "D2: m i:earlier\nD3: n i:earlier\nD4: j",
            "D2: j<D4 i<D1 m\nD3: j<D4 i<D1 n\nD4: j",
        ),
        (Resolve::Once, "D2: m i:earlier\nD3: n i:earlier\nD4: j", "D2: j<D4 i<D1 m\nD3: n"),
    ] {
        let mut options = RestoreOptions { after: Some(Instant(1)), ..with(resolve) };
        assert_eq!(plan(&model, &options), plain);
        options.include_earlier = true;
        assert_eq!(plan(&model, &options), included);
    }
}

#[test]
fn lookups_see_runs_beyond_the_selection() {
    let model = Model::of("D1: m->i\nD2: i");
    let options = RestoreOptions { until: Some(Instant(1)), ..RestoreOptions::default() };
    assert_eq!(plan(&model, &options), "D1: i<D2 m");
}

#[test]
fn e19_a_file_of_two_objects_is_own_as_a_whole_and_gives_its_first_as_target() {
    let tree = "D1: m->f\nD2: f=f->a+g->b\nD3: a; b";
    assert_eq!(closure(tree), "D1: a<D3 f<D2 m\nD2: b<D3 a<D3 f\nD3: a b");
    // The second object still has to come with its run, and what it refers to.
    assert_eq!(once(tree), "D1: a<D3 f<D2 m\nD2: b<D3 f");
    // Beyond the connector: the second object is found by the id it has.
    assert_eq!(closure("D1: m->g\nD2: f=f->a+g->b\nD3: a; b"), "D1: b<D3 g<D2 m\nD2: b<D3 a<D3 f\nD3: a b");
}

#[test]
fn e20_a_file_named_unlike_its_object_is_found_by_both_and_ends() {
    // The connector looks a reference up by file name, takes the object under its own id, and if that
    // object refers to the file's name again, looks it up for ever.
    let tree = "D1: m->n\nD2: n=c->n,c";
    assert_eq!(closure(tree), "D1: n<D2 m\nD2: n n:earlier");
    assert_eq!(closure("D1: m->c\nD2: n=c->n"), "D1: n<D2 c<D2 m\nD2: n n:earlier");
    assert_eq!(once(tree), "D1: n<D2 m");
    assert_eq!(once("D1: m->c\nD2: n=c->n"), "D1: c<D2 m");
}

#[test]
fn e22_a_chain_of_a_hundred_thousand_needs_no_deep_stack() {
    const LEN: u64 = 100_000;
    let mut model = Model::default();
    for at in [1, 2] {
        model.add_run(&format!("D{at}"));
    }
    let id = |at: u64| format!("r{at:06}").into_bytes();
    for at in 0..LEN {
        let objects = vec![(id(at), vec![id(at.saturating_add(1))])];
        let run = if at == 0 { "D1" } else { "D2" };
        model.add(run_key(run), &id(at), ModelFile { objects, ..ModelFile::default() });
    }
    for resolve in [Resolve::Closure, Resolve::Once] {
        let mut first = Vec::new();
        let options = RestoreOptions { until: Some(Instant(1)), ..with(resolve) };
        let mut unit = |unit: &PlanUnit| {
            first.push(unit.clone());
            Ok(())
        };
        let summary = plan_from(&model, &options, &mut unit, &mut |_| Ok(()), &Stop::default()).unwrap();
        let expect = RestoreSummary {
            runs: 1,
            own: 1,
            resolved: LEN.saturating_sub(1),
            missing: 1,
            broken: 0,
            ..summary
        };
        assert_eq!(summary, expect);
        let PlanUnit::Object { id: last, .. } = &first[0] else { panic!("{:?}", first[0]) };
        assert_eq!(*last, id(LEN.saturating_sub(1)));
    }
}

#[test]
fn e23_two_names_of_one_instant_are_not_later_than_each_other() {
    let tree = "D1: a->b,c\nD1b: b->a\nD2: c; b";
    assert_eq!(closure(tree), "D1: c<D2 b<D2 a\nD1b: b a:earlier\nD2: b c");
    assert_eq!(once(tree), "D1: c<D2 b<D2 a\nD1b: b");
    assert_eq!(closure("D1: a->b\nD1b: b"), "D1: a b:earlier\nD1b: b");
}

#[test]
fn none_restores_own_snapshots_and_names_what_the_store_lacks() {
    let model = Model::of("D1: m->i,x\nD2: i->m");
    assert_eq!(plan(&model, &with(Resolve::None)), "D1: m x:absent\nD2: i");
}

#[test]
fn a_damaged_snapshot_is_reported_and_the_rest_goes_on() {
    let model = Model::of("D1: m->i,j; !n\nD2: !i; j\nD3: i");
    for (resolve, expect) in [
        // `i` is there but cannot be read: neither absent nor replaced by a newer one.
        (Resolve::Closure, "D1: j<D2 m\nD2: j\nD3: i"),
        (Resolve::Once, "D1: j<D2 m\nD3: i"),
    ] {
        assert_eq!(plan(&model, &with(resolve)), expect);
        let mut damaged = Vec::new();
        let mut event = |event: RestoreEvent<'_>| {
            if let RestoreEvent::Damaged { run, error } = event {
                assert!(error.is_damage());
                damaged.push(run.to_owned());
            }
            Ok(())
        };
        let summary =
            plan_from(&model, &with(resolve), &mut |_| Ok(()), &mut event, &Stop::default()).unwrap();
        assert_eq!((damaged.join(" ").as_str(), summary.damaged), ("D1 D1 D2", 3));
    }
}

#[test]
fn what_is_damaged_in_an_earlier_run_comes_from_a_later_one() {
    assert_eq!(once("D1: !i\nD2: m->i\nD3: i"), "D2: i<D3 m");
    assert_eq!(once("D1: !i\nD2: m->i"), "D2: m i:earlier");
}

#[test]
fn progress_has_totals_and_reaches_them() {
    let model = Model::of("D1: a; !b\nD2: c->d\nD3:\nD4: d");
    let mut seen = Vec::new();
    let mut runs = Vec::new();
    let mut event = |event: RestoreEvent<'_>| {
        match event {
            RestoreEvent::Progress(progress) => seen.push(*progress),
            RestoreEvent::Run { name } => runs.push(name.to_owned()),
            RestoreEvent::Broken { .. }
            | RestoreEvent::Decided { .. }
            | RestoreEvent::Done(_)
            | RestoreEvent::Damaged { .. }
            | RestoreEvent::Skipped { .. } => {}
        }
        Ok(())
    };
    let options = RestoreOptions { until: Some(Instant(3)), ..RestoreOptions::default() };
    plan_from(&model, &options, &mut |_| Ok(()), &mut event, &Stop::default()).unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.items, last.items_total, last.bytes_total, last.findings), (3, 3, 30, 1));
    assert_eq!(runs, ["D1", "D2", "D3"]);
}

#[test]
fn a_plan_stops_when_asked() {
    let stop = Stop::default();
    stop.raise();
    let result =
        plan_from(&Model::of("D1: a"), &with(Resolve::Once), &mut |_| Ok(()), &mut |_| Ok(()), &stop);
    assert!(matches!(result, Err(Error::Cancelled)));
}
