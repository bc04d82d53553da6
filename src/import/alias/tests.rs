use std::collections::BTreeSet;

use super::*;

/// A run as `name: ids` for files and `name -> file` for aliases; applies the changes and returns the aliases.
struct Run {
    files: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    aliases: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Files that are damaged: a listing leaves them out.
    unreadable: Vec<&'static [u8]>,
}

impl Run {
    fn new() -> Run {
        Run { files: BTreeMap::new(), aliases: BTreeMap::new(), unreadable: Vec::new() }
    }

    /// A file, put or changed. It takes the place of an alias of its name, as in the store.
    fn file(&mut self, name: &str, ids: &[&str]) -> &mut Run {
        self.aliases.remove(name.as_bytes());
        self.files.insert(name.into(), ids.iter().map(|id| id.as_bytes().to_vec()).collect());
        self
    }

    fn gone(&mut self, name: &str) -> &mut Run {
        self.files.remove(name.as_bytes());
        self
    }

    fn settle(&mut self) -> Vec<Change> {
        let mut state = RunAliases::default();
        for (name, ids) in self.files.iter().rev() {
            state.add(name.clone(), Stored::File { ids: ids.clone() });
        }
        for (id, file) in &self.aliases {
            state.add(id.clone(), Stored::Alias { file: file.clone() });
        }
        let names: BTreeSet<Vec<u8>> = self.files.keys().cloned().collect();
        let look = |name: &[u8]| {
            Ok(if self.unreadable.contains(&name) {
                Look::Unreadable
            } else if names.contains(name) {
                Look::Stored
            } else {
                Look::Absent
            })
        };
        let changes = state.changes(look).unwrap();
        for change in &changes {
            match change {
                Change::Put { id, file } => {
                    assert!(!names.contains(id), "an alias over a file");
                    self.aliases.insert(id.clone(), file.clone());
                }
                Change::Delete { id } => assert!(self.aliases.remove(id).is_some()),
            }
        }
        changes
    }

    #[track_caller]
    fn expect(&mut self, aliases: &[(&str, &str)]) {
        self.settle();
        let expect: Vec<_> =
            aliases.iter().map(|(id, file)| (id.as_bytes().into(), file.as_bytes().into())).collect();
        assert_eq!(self.aliases.clone().into_iter().collect::<Vec<(Vec<u8>, Vec<u8>)>>(), expect);
        assert_eq!(self.settle(), [], "a second time there is nothing to do");
    }
}

#[test]
fn e19_the_second_object_of_a_file_is_found_under_its_id() {
    Run::new().file("a", &["b"]).expect(&[("b", "a")]);
}

#[test]
fn e20_a_content_id_other_than_the_name_is_found_and_a_file_of_that_name_wins() {
    let mut run = Run::new();
    run.file("a", &["x"]).expect(&[("x", "a")]);
    run.file("x", &[]).expect(&[]);
    run.gone("x").expect(&[("x", "a")]);
}

#[test]
fn e21_of_several_files_with_one_id_the_last_name_wins() {
    let mut run = Run::new();
    run.file("b", &["x"]).file("a", &["x"]).file("c", &["x", "y"]).expect(&[("x", "c"), ("y", "c")]);
    run.gone("c").expect(&[("x", "b")]);
    run.file("d", &["x"]).expect(&[("x", "d")]);
}

#[test]
fn file_names_are_compared_not_stems() {
    // `a-b.json` stands before `a.json`, though `a` stands before `a-b`.
    Run::new().file("a-b", &["x"]).file("a", &["x"]).expect(&[("x", "a")]);
}

#[test]
fn a_file_that_turns_plain_or_goes_leaves_no_alias() {
    let mut run = Run::new();
    run.file("a", &["x"]).file("b", &["y"]).expect(&[("x", "a"), ("y", "b")]);
    run.file("a", &[]).gone("b").expect(&[]);
}

#[test]
fn two_files_may_hold_each_others_ids() {
    Run::new().file("a", &["b"]).file("b", &["a"]).expect(&[]);
}

#[test]
fn a_plain_run_needs_nothing() {
    assert_eq!(Run::new().file("a", &[]).file("b", &[]).settle(), []);
}

#[test]
fn an_id_longer_than_a_name_can_be_gets_no_alias() {
    let (fits, long) = ("x".repeat(NAME_MAX_BYTES), "x".repeat(NAME_MAX_BYTES + 1));
    Run::new().file("a", &[&long, &fits]).expect(&[(&fits, "a")]);
}

/// A file that could not be read was taken for one that holds no ids. Its aliases went, and an id that is in it only had an
/// older state for an answer instead of an error.
#[test]
fn the_aliases_of_a_file_that_cannot_be_read_stay() {
    let mut run = Run::new();
    run.file("b", &["x", "y"]).file("a", &["x"]).expect(&[("x", "b"), ("y", "b")]);
    run.gone("b").unreadable.push(b"b");
    run.expect(&[("x", "b"), ("y", "b")]);
    run.file("c", &["x"]).expect(&[("x", "c"), ("y", "b")]);
    run.unreadable.clear();
    run.gone("c").expect(&[("x", "a")]);
}
