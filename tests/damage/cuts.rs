//! Files cut short at every byte, and ranges cut out of their middle.

use super::fixture::{Covered, Fixture, build};
use super::images::{Image, drive};

/// Lengths of the ranges cut out: a byte, a record's head, a COMMIT, and more than most records.
const LENGTHS: [usize; 4] = [1, 45, 89, 300];

fn position(at: usize) -> u64 {
    u64::try_from(at).unwrap()
}

fn truncated<'f>(fixture: &'f Fixture, path: &str, len: usize, number: usize) -> Image<'f> {
    let mut bytes = fixture.file(path).to_vec();
    let touched = position(len)..position(bytes.len());
    bytes.truncate(len);
    let image = Image::of(fixture, format!("{path} cut at {len}")).with(path, bytes, touched);
    if path.starts_with("index.") { image.rarely_sampled(number) } else { image.sampled(number) }
}

fn without_range<'f>(fixture: &'f Fixture, path: &str, at: usize, len: usize, number: usize) -> Image<'f> {
    let mut bytes = fixture.file(path).to_vec();
    let touched = position(at)..position(bytes.len());
    drop(bytes.drain(at..bytes.len().min(at + len)));
    let label = format!("{len} bytes from {at} cut out of {path}");
    Image::of(fixture, label).with(path, bytes, touched).sampled(number)
}

/// All places of the files that are wanted: `(path, byte)`.
fn places(fixture: &Fixture, wanted: impl Fn(&str) -> bool) -> Vec<(String, usize)> {
    let paths = fixture.mem.paths().into_iter().filter(|path| wanted(path));
    paths.flat_map(|path| (0..fixture.file(&path).len()).map(move |at| (path.clone(), at))).collect()
}

#[test]
fn a_file_cut_at_any_byte_is_named_and_costs_what_was_cut_off() {
    for covered in [Covered::All, Covered::Part, Covered::None] {
        let fixture = build(covered);
        // An index of the wrong length is one case whatever the length, so one store's are enough.
        let cuts = places(&fixture, |path| !path.starts_with("index.") || covered == Covered::Part);
        drive("files cut short", cuts.len(), |number| {
            truncated(&fixture, &cuts[number].0, cuts[number].1, number)
        });
    }
}

#[test]
fn a_range_cut_out_of_a_file_is_named_and_costs_what_it_moved() {
    for covered in [Covered::All, Covered::Part, Covered::None] {
        let fixture = build(covered);
        let mut cuts = places(&fixture, |path| !path.starts_with("index."));
        let of_index = places(&fixture, |path| path.starts_with("index."));
        cuts.extend(of_index.into_iter().step_by(101));
        drive("ranges cut out", cuts.len() * LENGTHS.len(), |number| {
            let (path, at) = &cuts[number / LENGTHS.len()];
            without_range(&fixture, path, *at, LENGTHS[number % LENGTHS.len()], number)
        });
    }
}
