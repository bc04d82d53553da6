use super::super::Mirror;
use super::super::fake::{Collect, Fake, TestFile, good, odd, prepared, torn};
use super::*;
use crate::id::{CommitId, Instant};
use crate::limits::GROUP_MAX_BYTES;
use crate::progress::Stop;

const RUN: RunKey = RunKey::new(Instant(1), 0);

/// Imports run directories (instant, name, files) and returns the store, opened again, and the reports.
fn import(fake: Fake, mirror: Mirror, runs: &[(u64, &str, &[TestFile])]) -> (Fake, Collect, ImportSummary) {
    let mut sink = Collect::default();
    let items: Vec<Done> =
        runs.iter().flat_map(|(at, name, files)| prepared(&fake, *at, name, files)).collect();
    let removals = Removals::new(mirror, fake.len_before());
    let mut committer = Committer::new(fake, &mut sink, false, removals);
    items.into_iter().try_for_each(|item| committer.take(item)).unwrap();
    let names: Vec<&str> = runs.iter().map(|run| run.1).collect();
    committer.remove_gone_runs(|name| names.contains(&name), &Stop::default()).unwrap();
    let (fake, summary) = committer.finish_with_target().unwrap();
    (fake, sink, summary)
}

fn import_run(fake: Fake, mirror: Mirror, files: &[TestFile]) -> (Fake, Collect) {
    let (fake, sink, _) = import(fake, mirror, &[(1, "D1", files)]);
    (fake.reopen(), sink)
}

#[test]
fn files_are_added_then_unchanged_then_updated() {
    let (fake, sink, summary) =
        import(Fake::default(), Mirror::Keep, &[(1, "D1", &[good("a", "1"), good("b", "1")])]);
    assert_eq!(sink.lines(), ["D1/a.json Added", "D1/b.json Added"]);
    assert!(sink.reports.iter().all(|report| report.commit == Some(CommitId(1))));
    assert_eq!((summary.added, summary.runs, summary.bytes, summary.commit), (2, 1, 2, CommitId(1)));
    // E27: the second import writes nothing, so it commits nothing.
    let (fake, sink, summary) =
        import(fake.reopen(), Mirror::Keep, &[(1, "D1", &[good("a", "1"), good("b", "1")])]);
    assert_eq!(sink.lines(), ["D1/a.json Unchanged", "D1/b.json Unchanged"]);
    assert_eq!((fake.commits.len(), summary.unchanged, summary.commit), (0, 2, CommitId(0)));
    // E28.
    let (_, sink) = import_run(fake.reopen(), Mirror::Keep, &[good("a", "2"), good("b", "1")]);
    assert_eq!(sink.lines(), ["D1/a.json Updated", "D1/b.json Unchanged"]);
    assert_eq!(
        sink.reports.iter().map(|report| report.commit).collect::<Vec<_>>(),
        [Some(CommitId(1)), None]
    );
}

#[test]
fn an_empty_run_and_two_names_of_one_instant_are_kept() {
    let (fake, _, _) =
        import(Fake::default(), Mirror::Keep, &[(1, "D1", &[]), (1, "D1x", &[good("a", "1")])]);
    assert_eq!(fake.committed.runs.values().collect::<Vec<_>>(), ["D1", "D1x"]);
    assert_eq!(fake.names(RunKey::new(Instant(1), 1)), ["a"]);
}

#[test]
fn a_bad_file_and_a_collision_are_rejections_and_the_rest_goes_in() {
    let (fake, sink) =
        import_run(Fake::default(), Mirror::Keep, &[torn("a"), good("collides", "1"), good("z", "1")]);
    assert_eq!(sink.lines(), ["D1/a.json Rejected", "D1/collides.json Rejected", "D1/z.json Added"]);
    let codes: Vec<_> =
        sink.reports.iter().filter_map(|report| report.reason.as_ref().map(|it| it.0)).collect();
    assert_eq!(codes, ["not_json", reason::KEY_COLLISION]);
    assert_eq!(fake.names(RUN), ["z"]);
}

#[test]
fn a_file_larger_than_a_group_gets_its_own_transaction() {
    let huge = TestFile { bytes: GROUP_MAX_BYTES * 3, ..good("b", "1") };
    let (fake, sink, _) =
        import(Fake::default(), Mirror::Keep, &[(1, "D1", &[good("a", "1"), huge, good("c", "1")])]);
    // The run and `a`; the huge file; `c`.
    assert_eq!(fake.commits, [2, 1, 1]);
    let commits: Vec<_> = sink.reports.iter().filter_map(|report| report.commit.map(|it| it.0)).collect();
    assert_eq!(commits, [1, 2, 3]);
}

#[test]
fn nothing_is_reported_before_its_commit_and_nothing_at_all_if_that_fails() {
    let mut sink = Collect::default();
    let fake = Fake { fail_commit: true, ..Fake::default() };
    let items = prepared(&fake, 1, "D1", &[good("a", "1"), torn("b")]);
    let mut committer = Committer::new(fake, &mut sink, false, Removals::new(Mirror::Keep, 0));
    items.into_iter().try_for_each(|item| committer.take(item)).unwrap();
    assert!(matches!(committer.finish(), Err(Error::Poisoned { .. })));
    assert_eq!(sink.lines(), [""; 0]);
}

#[test]
fn a_dry_run_reports_the_same_and_writes_nothing() {
    let (fake, _) =
        import_run(Fake::default(), Mirror::Keep, &[good("a", "1"), good("b", "1"), odd("o", "1", &["x"])]);
    let files = [good("a", "2"), torn("c"), good("d", "1"), good("x", "1")];
    let items = prepared(&fake, 1, "D1", &files);
    let mut sink = Collect::default();
    let removals = Removals::new(Mirror::Force, fake.len_before());
    let mut committer = Committer::new(fake, &mut sink, true, removals);
    items.into_iter().try_for_each(|item| committer.take(item)).unwrap();
    let (fake, _) = committer.finish_with_target().unwrap();
    assert!(fake.commits.is_empty() && fake.now.entries == fake.before.entries);
    assert!(sink.reports.iter().all(|report| report.commit.is_none()));
    let (_, real) = import_run(fake.reopen(), Mirror::Force, &files);
    assert_eq!(sink.lines(), real.lines());
    assert_eq!(
        real.lines()[..4],
        ["D1/a.json Updated", "D1/c.json Rejected", "D1/d.json Added", "D1/x.json Added"]
    );
    assert_eq!(real.lines()[4..], ["D1/b.json Removed", "D1/o.json Removed"]);
}

#[test]
fn aliases_follow_their_files_through_imports() {
    let keep = Mirror::Keep;
    let (fake, sink) =
        import_run(Fake::default(), keep, &[odd("a", "1", &["x"]), odd("b", "1", &["x", "y"])]);
    assert_eq!(fake.names(RUN), ["a", "b", "x->b", "y->b"]);
    assert_eq!(sink.reports[0].warnings.len(), 0);
    assert!(sink.reports[1].warnings[0].contains("is in \"a.json\" too"), "{:?}", sink.reports[1].warnings);
    // `b` turns plain: `x` falls to `a`, which did not change.
    let (fake, _) = import_run(fake, keep, &[odd("a", "1", &["x"]), good("b", "2")]);
    assert_eq!(fake.names(RUN), ["a", "b", "x->a"]);
    // A file named like the id wins, and is new, though the store held an alias there.
    let (fake, sink) = import_run(fake, keep, &[odd("a", "1", &["x"]), good("b", "2"), good("x", "1")]);
    assert_eq!(fake.names(RUN), ["a", "b", "x"]);
    assert_eq!(sink.lines()[2], "D1/x.json Added");
    assert!(sink.reports[0].warnings[0].contains("has a file of that name"));
    // It goes: the alias is back. So does `a`: nothing is left of it.
    let (fake, _) = import_run(fake, Mirror::Force, &[odd("a", "1", &["x"]), good("b", "2")]);
    assert_eq!(fake.names(RUN), ["a", "b", "x->a"]);
    let (fake, _) = import_run(fake, Mirror::Force, &[good("b", "2")]);
    assert_eq!(fake.names(RUN), ["b"]);
}

#[test]
fn a_bad_file_keeps_its_last_good_snapshot_and_its_aliases() {
    let (fake, _) = import_run(Fake::default(), Mirror::Keep, &[odd("a", "1", &["x"]), good("b", "1")]);
    let (fake, sink) = import_run(fake, Mirror::Force, &[torn("a"), good("b", "1")]);
    assert_eq!(sink.lines(), ["D1/a.json Rejected", "D1/b.json Unchanged"]);
    assert_eq!(fake.names(RUN), ["a", "b", "x->a"]);
}

#[test]
fn a_kept_file_that_left_the_tree_keeps_its_aliases() {
    let (fake, _) = import_run(Fake::default(), Mirror::Keep, &[odd("b", "1", &["x"])]);
    let (fake, _) = import_run(fake, Mirror::Keep, &[odd("a", "1", &["x"])]);
    assert_eq!(fake.names(RUN), ["a", "b", "x->b"]);
}

#[test]
fn an_import_that_ends_inside_a_run_leaves_no_alias_of_former_content() {
    let (fake, _) =
        import_run(Fake::default(), Mirror::Keep, &[odd("a", "1", &["x"]), odd("b", "1", &["x"])]);
    assert_eq!(fake.names(RUN), ["a", "b", "x->b"]);
    let huge = TestFile { bytes: GROUP_MAX_BYTES, ..good("b", "2") };
    let items = prepared(&fake, 1, "D1", &[odd("a", "1", &["x"]), huge.clone(), good("c", "1")]);
    let mut sink = Collect::default();
    let mut committer = Committer::new(fake, &mut sink, false, Removals::new(Mirror::Keep, 0));
    // All but the last file and the run's end.
    items.into_iter().take(3).try_for_each(|item| committer.take(item)).unwrap();
    let fake = std::mem::take(&mut committer.target).reopen();
    assert_eq!(fake.names(RUN), ["a", "b"]);
    let (fake, _) = import_run(fake, Mirror::Keep, &[odd("a", "1", &["x"]), huge, good("c", "1")]);
    assert_eq!(fake.names(RUN), ["a", "b", "c", "x->a"]);
}

#[test]
fn mirroring_removes_what_is_gone_and_whole_runs_with_their_aliases() {
    let files = [good("a", "1"), good("a-b", "1"), good("c", "1"), good("d", "1")];
    let runs: [(u64, &str, &[TestFile]); 2] = [(1, "D1", &files), (2, "D2", &[odd("o", "1", &["x"])])];
    let (fake, _, _) = import(Fake::default(), Mirror::Keep, &runs);
    let rest = [good("c", "1"), good("d", "1")];
    let (kept, sink, _) = import(fake.reopen(), Mirror::Keep, &[(1, "D1", &rest)]);
    assert_eq!((sink.lines().len(), kept.names(RUN).len()), (2, 4));
    let (fake, sink, summary) = import(kept.reopen(), Mirror::Force, &[(1, "D1", &rest)]);
    assert_eq!(sink.lines()[2..], ["D1/a-b.json Removed", "D1/a.json Removed", "D2/o.json Removed"]);
    assert!(sink.reports[2..].iter().all(|report| report.commit == Some(CommitId(1))));
    assert_eq!((summary.removed, fake.names(RUN)), (3, vec!["c".to_owned(), "d".to_owned()]));
    assert_eq!(fake.committed.runs.values().collect::<Vec<_>>(), ["D1"]);
    assert_eq!(fake.committed.entries.len(), 2);
}

#[test]
fn mirroring_stops_before_more_than_half_is_gone_even_if_the_tree_shrinks_meanwhile() {
    let (fake, _) =
        import_run(Fake::default(), Mirror::Keep, &[good("a", "1"), good("b", "1"), good("c", "1")]);
    let items = prepared(&fake, 1, "D1", &[good("a", "1")]);
    let mut sink = Collect::default();
    let removals = Removals::new(Mirror::Tombstone, fake.len_before());
    let mut committer = Committer::new(fake, &mut sink, false, removals);
    let result = items.into_iter().try_for_each(|item| committer.take(item));
    assert!(matches!(result, Err(Error::BadInput { .. })));
    assert!(committer.target.commits.is_empty());
}
