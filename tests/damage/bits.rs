//! Every bit of every file, flipped.

use super::fixture::{Covered, Fixture, build};
use super::images::{Image, drive};
use super::judge::Tally;

fn flip<'f>(fixture: &'f Fixture, files: &[(String, Vec<u8>)], image: usize) -> Image<'f> {
    let mut number = image;
    for (path, bytes) in files {
        let bits = bytes.len() * 8;
        if number >= bits {
            number -= bits;
            continue;
        }
        let (at, bit) = (number / 8, number % 8);
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << bit;
        let range = u64::try_from(at).unwrap()..u64::try_from(at + 1).unwrap();
        let label = format!("bit {bit} of byte {at} of {path}");
        let flipped = Image::of(fixture, label).with(path, bytes, range);
        return if path.starts_with("index.") {
            flipped.rarely_sampled(image)
        } else {
            flipped.sampled(image)
        };
    }
    panic!("no such bit")
}

fn flip_all(driver: &str, covered: Covered, wanted: impl Fn(&str) -> bool) -> Tally {
    let fixture = build(covered);
    let paths = fixture.mem.paths().into_iter().filter(|path| wanted(path));
    let files: Vec<(String, Vec<u8>)> =
        paths.map(|path| (path.clone(), fixture.file(&path).to_vec())).collect();
    let bits = files.iter().map(|(_, bytes)| bytes.len() * 8).sum();
    drive(driver, bits, |number| flip(&fixture, &files, number))
}

#[test]
fn any_flipped_bit_of_the_log_is_named_and_costs_its_record_only() {
    for covered in [Covered::All, Covered::Part, Covered::None] {
        let tally = flip_all("bits of the log", covered, |path| path.starts_with("data/"));
        // One bit never hides whose record is damaged, index or not.
        assert_eq!(tally.announced, 0);
    }
}

#[test]
fn any_flipped_bit_of_a_small_file_is_named_and_costs_nothing() {
    for covered in [Covered::All, Covered::Part, Covered::None] {
        flip_all("bits of small files", covered, |path| {
            !path.starts_with("data/") && !path.starts_with("index.")
        });
    }
}

#[test]
fn any_flipped_bit_of_an_index_is_named_and_costs_nothing() {
    flip_all("bits of indexes", Covered::Part, |path| path.starts_with("index."));
}
