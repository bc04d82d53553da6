//! The text form of a UUID, all digits at once: plain loops that the compiler turns into vector instructions. Upper case is
//! refused on the way.

/// What stands for a character that is no digit: has bits that no digit has.
const NO_DIGIT: u8 = 0xff;
/// Where the hyphens stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// Reads `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` in lower case.
#[inline]
#[expect(clippy::indexing_slicing, reason = "constant places in arrays, looked at by the compiler")]
pub(super) fn uuid(text: &[u8; 36]) -> Option<[u8; 16]> {
    let mut digits = [0u8; 32];
    digits[..8].copy_from_slice(&text[..8]);
    digits[8..12].copy_from_slice(&text[9..13]);
    digits[12..16].copy_from_slice(&text[14..18]);
    digits[16..20].copy_from_slice(&text[19..23]);
    digits[20..].copy_from_slice(&text[24..]);
    let values = digits.map(value);
    let wrong = values.iter().fold(0, |all, value| all | value) & 0xf0;
    let wrong = HYPHENS.iter().fold(wrong, |all, at| all | (text[*at] ^ b'-'));
    let mut out = [0u8; 16];
    for (byte, [high, low]) in out.iter_mut().zip(values.as_chunks::<2>().0) {
        *byte = (high << 4) | low;
    }
    (wrong == 0).then_some(out)
}

/// What a digit is worth.
#[inline]
fn value(digit: u8) -> u8 {
    let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
    let letter = if letter < 6 { letter.wrapping_add(10) } else { NO_DIGIT };
    if number < 10 { number } else { letter }
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
