//! The text form of a UUID, eight digits at a time in a word. Upper case is refused on the way.
//!
//! All four words are worked on at once, none waits for another. Gathering the digits in an array first, for vector
//! instructions, takes fewer instructions and longer: what was written in pieces is then waited for.

/// One in each byte.
const ONES: u64 = u64::from_le_bytes([1; 8]);

/// Reads `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` in lower case.
#[inline]
pub(super) fn uuid(text: &[u8; 36]) -> Option<[u8; 16]> {
    let four =
        |at: usize| text.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |four| u32::from_le_bytes(*four));
    let word = |low: usize, high: usize| u64::from(four(low)) | (u64::from(four(high)) << 32);
    let (a, wrong_a) = eight(word(0, 4));
    let (b, wrong_b) = eight(word(9, 14));
    let (c, wrong_c) = eight(word(19, 24));
    let (d, wrong_d) = eight(word(28, 32));
    let is_hyphened = [8, 13, 18, 23].iter().all(|at| text.get(*at) == Some(&b'-'));
    let bytes = u128::from(a) | (u128::from(b) << 32) | (u128::from(c) << 64) | (u128::from(d) << 96);
    ((wrong_a | wrong_b | wrong_c | wrong_d) == 0 && is_hyphened).then_some(bytes.to_le_bytes())
}

/// Reads eight digits: four bytes, in a word as they are in memory, and something else than 0 if one is no digit.
#[inline]
fn eight(digits: u64) -> (u32, u64) {
    // Values are at most 24, whatever the bytes are, so that no sum here carries into the next byte.
    let letters = (digits >> 6) & ONES;
    let values = (digits & ONES.wrapping_mul(0x0f)).wrapping_add(letters.wrapping_mul(9));
    // The only text of such a value, in lower case, is the one that was read; and letters are worth ten and more.
    let text = values.wrapping_add(ONES.wrapping_mul(0x30)).wrapping_add(letters.wrapping_mul(0x27));
    let tens = (values.wrapping_add(ONES.wrapping_mul(6)) >> 4) & ONES;
    let wrong = (digits ^ text) | (tens ^ letters) | (values & ONES.wrapping_mul(0xf0));
    // The first digit of a pair is the high one.
    let pairs = ((values << 4) | (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let pairs = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    let [b0, b1, _, _, b2, b3, ..] = pairs.to_le_bytes();
    (u32::from_le_bytes([b0, b1, b2, b3]), wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_read_as_the_uuid_crate_reads_it() {
        let text = *b"01234567-89ab-cdef-fedc-ba9876543210";
        assert_eq!(uuid(&text), uuid::Uuid::try_parse_ascii(&text).ok().map(uuid::Uuid::into_bytes));
        for place in 0..36 {
            for byte in 0..=u8::MAX {
                let mut other = text;
                other[place] = byte;
                let expect = uuid::Uuid::try_parse_ascii(&other).ok().filter(|_| !byte.is_ascii_uppercase());
                assert_eq!(uuid(&other), expect.map(uuid::Uuid::into_bytes), "{byte} at {place}");
            }
        }
    }
}
