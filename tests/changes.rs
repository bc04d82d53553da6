//! What another import of a tree does that is as it was, has changed, or has lost something.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::common::{Dir, copy_tree, files, of_type, read_tree, sample, text};
use crate::sample::{CHANGED, answers, assert_same_tree, paths, without};

#[test]
fn a_second_import_writes_no_record() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let before = read_tree(&dir.store());
    let units = dir.import(3, &sample());
    let counts = &units[units.len() - 1]["counts"];
    assert_eq!(counts["unchanged"], answers("tree")[0]["snapshots"]);
    assert_eq!((&counts["added"], &counts["updated"], &counts["removed"]), (&0.into(), &0.into(), &0.into()));
    let after = read_tree(&dir.store());
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "no new file");
    for (path, entry) in before.iter().filter(|(_, entry)| !entry.is_dir) {
        assert!(entry.bytes == after[path].bytes, "{} is as it was", path.display());
    }
}

#[test]
fn a_changed_file_becomes_the_new_state_of_its_snapshot() {
    let dir = Dir::new();
    let source = dir.path("backup");
    copy_tree(&sample(), &source);
    dir.import(3, &source);
    let file = source.join("opencti_data").join(CHANGED);
    let changed = fs::read_to_string(&file).unwrap().replace("\"type\"", "\"x_note\": 1.10, \"type\"");
    fs::write(&file, &changed).unwrap();
    let units = dir.import(3, &source);
    assert_eq!(files(&units, "updated"), BTreeSet::from([CHANGED.to_owned()]));
    assert!(files(&units, "added").is_empty());
    let (run, name) = CHANGED.split_once('/').unwrap();
    let id = name.trim_end_matches(".json");
    assert!(dir.expect(0, &["get", id, "--run", run, "--raw"]) == changed.as_bytes());
    let expect =
        answers("id").iter().find(|answer| answer["id"] == id).unwrap()["runs"].as_array().unwrap().len();
    assert_eq!(of_type(&dir.units(0, &["history", id]), "snapshot").len(), expect, "the old state is gone");
    let stats = dir.units(0, &["stats"]);
    assert!(
        stats.iter().any(|unit| unit["garbage_bytes"].as_u64().is_some_and(|bytes| bytes > 0)),
        "{stats:?}"
    );
    dir.expect(0, &["check", "--level", "content"]);
}

#[test]
fn mirror_removes_the_files_that_the_tree_no_longer_holds() {
    let dir = Dir::new();
    let source = dir.path("backup");
    copy_tree(&sample(), &source);
    dir.import(3, &source);
    let file = source.join("opencti_data").join(CHANGED);
    let folder = fs::File::open(file.parent().unwrap()).unwrap();
    let mtime = folder.metadata().unwrap().modified().unwrap();
    fs::remove_file(&file).unwrap();
    // A new time alone is no change of a run.
    folder.set_modified(mtime).unwrap();
    let kept = dir.units(3, &["import", text(&source)]);
    assert!(files(&kept, "removed").is_empty(), "the default keeps");
    let units = dir.units(3, &["import", text(&source), "--mirror"]);
    assert_eq!(files(&units, "removed"), BTreeSet::from([CHANGED.to_owned()]));
    let (run, name) = CHANGED.split_once('/').unwrap();
    dir.expect(5, &["get", name.trim_end_matches(".json"), "--run", run]);
    assert_mirrored(&dir, &source);
}

/// The run's own record stayed: it was looked for among the snapshots. The run was still listed, and a restore
/// made an empty directory of it.
#[test]
fn mirror_removes_the_runs_that_the_tree_no_longer_holds() {
    let dir = Dir::new();
    let source = dir.path("backup");
    copy_tree(&sample(), &source);
    dir.import(3, &source);
    let run = source.join("opencti_data/20180418T175900Z");
    let gone = fs::read_dir(&run).unwrap().count();
    fs::remove_dir_all(&run).unwrap();
    let units = dir.units(3, &["import", text(&source), "--mirror"]);
    assert_eq!(files(&units, "removed").len(), gone);
    dir.expect(5, &["ls", "20180418T175900Z"]);
    assert_mirrored(&dir, &source);
}

fn assert_mirrored(dir: &Dir, source: &Path) {
    dir.expect(0, &["restore", "--tree", "out"]);
    let listed = paths("ignored").into_iter().chain(paths("rejected")).collect();
    assert_same_tree(&without(source, &listed), &dir.path("out"));
    dir.expect(0, &["check", "--level", "content"]);
}

#[test]
fn a_tree_that_is_mostly_gone_is_mirrored_only_by_force() {
    let dir = Dir::new();
    dir.import(3, &sample());
    fs::create_dir(dir.path("opencti_data")).unwrap();
    dir.expect(2, &["import", "opencti_data", "--mirror"]);
    let runs = dir.units(0, &["runs"]);
    assert_eq!(answers("tree")[0]["run_dirs"], of_type(&runs, "run").len(), "nothing was removed");
    let units = dir.units(0, &["import", "opencti_data", "--mirror=force"]);
    assert_eq!(units[units.len() - 1]["counts"]["removed"], answers("tree")[0]["snapshots"]);
}

/// Runs and files that were links to a volume: with the volume not mounted they pointed nowhere, were no directories and no
/// files any more, and `--mirror` deleted what the store held of them.
#[test]
fn a_link_that_leads_nowhere_is_no_deletion() {
    let dir = Dir::new();
    let source = dir.path("source");
    copy_tree(&sample(), &source);
    let data = source.join("opencti_data");
    let mut runs: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    runs.retain(|path| path.is_dir() && fs::read_dir(path).unwrap().count() > 1);
    runs.sort();
    let (run, within) = (&runs[0], &runs[1]);
    let file = fs::read_dir(within).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let volume = dir.path("volume");
    fs::create_dir(&volume).unwrap();
    for path in [run, &file] {
        let moved = volume.join(path.file_name().unwrap());
        fs::rename(path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, path).unwrap();
    }
    dir.import(3, &sample());
    let before = of_type(&dir.units(0, &["runs"]), "run").len();
    fs::rename(&volume, dir.path("unmounted")).unwrap();
    let units = dir.units(3, &["import", text(&source), "--mirror"]);
    assert!(files(&units, "removed").is_empty());
    assert_eq!(of_type(&dir.units(0, &["runs"]), "run").len(), before);
    let id = file.file_stem().unwrap().to_str().unwrap();
    dir.expect(0, &["get", id, "--run", within.file_name().unwrap().to_str().unwrap()]);
    // What is not listed at all is gone.
    fs::remove_file(&file).unwrap();
    let units = dir.units(3, &["import", text(&source), "--mirror"]);
    assert_eq!(files(&units, "removed").len(), 1);
}
