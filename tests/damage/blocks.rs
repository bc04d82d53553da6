//! Blocks of zeros, as a disk gives for what it lost.

use super::fixture::{Covered, build};
use super::images::{Image, drive};

const SIZES: [usize; 4] = [1, 16, 128, 512];

#[test]
fn a_block_of_zeros_is_named_and_costs_what_it_covers() {
    for covered in [Covered::All, Covered::Part, Covered::None] {
        let fixture = build(covered);
        let mut blocks = Vec::new();
        for path in fixture.mem.paths() {
            let len = fixture.file(&path).len();
            // Of the index, whose pages are all alike, the larger blocks will do.
            let smallest = if path.starts_with("index.") { 128 } else { 1 };
            for size in SIZES.into_iter().filter(|size| *size >= smallest) {
                blocks.extend((0..len).step_by(size).map(|at| (path.clone(), at, size)));
            }
        }
        drive("blocks of zeros", blocks.len(), |number| {
            let (path, at, size) = &blocks[number];
            let mut bytes = fixture.file(path).to_vec();
            let end = bytes.len().min(at + size);
            bytes[*at..end].fill(0);
            let touched = u64::try_from(*at).unwrap()..u64::try_from(end).unwrap();
            let label = format!("{size} zeros at {at} of {path}");
            Image::of(&fixture, label).with(path, bytes, touched).sampled(number)
        });
    }
}
