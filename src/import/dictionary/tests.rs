use super::super::gate::Ticket;
use super::super::prepare::PreparedFile;
use super::super::target::Known;
use super::*;

fn file(len: usize) -> Done {
    Done::File(PreparedFile {
        index: 0,
        bytes: 0,
        warnings: Vec::new(),
        known: Known::Absent,
        ids: Vec::new(),
        digest: None,
        checksum: None,
        is_repeat: false,
        is_opened: true,
        content: Content::New { meta: Vec::new(), object: 0..0, payload: Payload::Raw(vec![7; len]) },
        ticket: Ticket::free(),
    })
}

fn same() -> Done {
    let Done::File(file) = file(0) else { panic!() };
    Done::File(PreparedFile { content: Content::Same, ..file })
}

fn hold(count: usize, len: usize) -> Held {
    let mut held = Held::default();
    (0..count).for_each(|_| held.push(file(len)));
    held
}

#[test]
fn a_tree_of_too_few_records_trains_nothing() {
    let mut held = hold(DICTIONARY_MIN_RECORDS - 1, 100);
    held.push(same());
    assert!(!held.is_ready() && held.samples().is_none());
    assert_eq!(held.into_encoded(&Encoder::raw(), 2).len(), DICTIONARY_MIN_RECORDS);
}

#[test]
fn a_small_tree_of_enough_records_is_held_whole() {
    let held = hold(DICTIONARY_MIN_RECORDS, 100);
    assert!(!held.is_ready());
    assert_eq!(held.samples().unwrap().len(), DICTIONARY_MIN_RECORDS);
}

#[test]
fn a_group_of_bytes_is_enough_once_there_are_enough_records() {
    let len = usize::try_from(GROUP_MAX_BYTES).unwrap() / DICTIONARY_MIN_RECORDS;
    assert!(!hold(DICTIONARY_MIN_RECORDS, len).is_ready());
    assert!(hold(DICTIONARY_MIN_RECORDS + 1, len).is_ready());
}

#[test]
fn one_huge_file_neither_decides_nor_serves_as_a_sample() {
    let mut held = hold(1, usize::try_from(GROUP_MAX_BYTES).unwrap());
    assert!(!held.is_ready());
    (0..DICTIONARY_MIN_RECORDS).for_each(|_| held.push(file(10)));
    assert!(held.is_ready());
    assert!(held.samples().unwrap().iter().all(|sample| sample.len() == 10));
}

#[test]
fn a_tree_that_is_in_the_store_already_is_not_held_for_ever() {
    let mut held = Held::default();
    (1..GROUP_MAX_RECORDS).for_each(|_| held.push(same()));
    assert!(!held.is_ready());
    held.push(same());
    assert!(held.is_ready() && held.samples().is_none());
}

#[test]
fn what_was_let_go_too_early_to_train_on_still_serves_as_samples() {
    let mut held = hold(DICTIONARY_MIN_RECORDS - 1, 10);
    let gone = held.let_go();
    assert_eq!(gone.into_encoded(&Encoder::raw(), 2).len(), DICTIONARY_MIN_RECORDS - 1);
    assert!(held.samples().is_none());
    held.push(file(20));
    assert_eq!(held.samples().unwrap().len(), DICTIONARY_MIN_RECORDS);
    assert_eq!(held.into_encoded(&Encoder::raw(), 2).len(), 1, "none comes twice");
}
