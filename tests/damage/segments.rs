//! Segments in each other's places.

use super::fixture::{Covered, build};
use super::images::{Image, drive};

#[test]
fn two_segments_swapped_are_named_and_cost_what_they_held() {
    for covered in [Covered::All, Covered::Part, Covered::None] {
        let fixture = build(covered);
        let segments = fixture.segments();
        let count = segments.len();
        let pairs: Vec<(usize, usize)> =
            (0..count).flat_map(|one| (one + 1..count).map(move |two| (one, two))).collect();
        drive("segments swapped", pairs.len(), |number| {
            let (one, two) = (&segments[pairs[number].0], &segments[pairs[number].1]);
            let (bytes_one, bytes_two) = (fixture.file(one).to_vec(), fixture.file(two).to_vec());
            let image = Image::of(&fixture, format!("{one} and {two} swapped"));
            image.with(one, bytes_two, 0..u64::MAX).with(two, bytes_one, 0..u64::MAX)
        });
    }
}
