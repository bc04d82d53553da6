//! How bytes, sizes and names are shown: to people, and in JSON.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// A name or a path part in JSON: a string, or `{"b64": ".."}` where it is not UTF-8.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

#[derive(Serialize)]
struct Encoded {
    b64: String,
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => to.serialize_str(text),
            Err(_) => Encoded { b64: base64(self.0) }.serialize(to),
        }
    }
}

/// Encodes as base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from((bits >> shift) & 63).ok().and_then(|index| DIGITS.get(index));
            // One byte needs two digits, two bytes three.
            match digit {
                Some(digit) if place <= group.len() => text.push(char::from(*digit)),
                _ => text.push('='),
            }
        }
    }
    text
}

/// Shows a name to people: what is not UTF-8 and what would move a terminal's cursor is escaped.
pub(crate) fn show(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.extend(std::ascii::escape_default(*byte).map(char::from));
        }
    }
    text
}

/// Shows a message to people: as [`show`], but for its line breaks. What others wrote may be in it.
pub(crate) fn show_message(text: &str) -> String {
    text.split('\n').map(|line| show(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

/// Shows the parts of a path to people.
pub(crate) fn show_path<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    parts.into_iter().map(show).collect::<Vec<_>>().join("/")
}

/// Shows a size to people: `512 B`, `1.5 MiB`.
pub(crate) fn show_size(bytes: u64) -> String {
    let mut unit = 1u64;
    let mut name = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        match unit.checked_mul(1024) {
            Some(next) if bytes >= next => (unit, name) = (next, larger),
            _ => break,
        }
    }
    if unit == 1 {
        return format!("{bytes} B");
    }
    let tenths = scale(bytes, 10, unit);
    let (whole, tenth) = (tenths.checked_div(10).unwrap_or(0), tenths.checked_rem(10).unwrap_or(0));
    format!("{whole}.{tenth} {name}")
}

/// Shows a time span to people: `4 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn show_span(span: Duration) -> String {
    let seconds = span.as_secs();
    let split = |by: u64| (seconds.checked_div(by).unwrap_or(0), seconds.checked_rem(by).unwrap_or(0));
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => {
            let (minutes, rest) = split(60);
            format!("{minutes} min {rest} s")
        }
        _ => {
            let (hours, rest) = split(3600);
            format!("{hours} h {} min", rest.checked_div(60).unwrap_or(0))
        }
    }
}

/// Writes a time span as the command line takes it, in the largest unit that it is a whole number of: `30d`, `8h`, `0.5`.
pub(crate) fn write_span(span: Duration) -> String {
    let seconds = span.as_secs();
    let whole = |(of, name): &(u64, &str)| {
        let count = seconds.checked_div(*of).filter(|count| count.checked_mul(*of) == Some(seconds))?;
        Some(format!("{count}{name}"))
    };
    let is_short = seconds == 0 || span.subsec_nanos() > 0;
    let units = if is_short { &[][..] } else { &[(86_400, "d"), (3_600, "h"), (60, "min")] };
    units.iter().find_map(whole).unwrap_or_else(|| span.as_secs_f64().to_string())
}

/// Returns `value * factor / divisor`, rounded down; 0 for a divisor of 0.
pub(crate) fn scale(value: u64, factor: u64, divisor: u64) -> u64 {
    let product = u128::from(value).saturating_mul(u128::from(factor));
    let result = product.checked_div(u128::from(divisor)).unwrap_or(0);
    u64::try_from(result).unwrap_or(u64::MAX)
}

/// Puts a JSON text on one line: line breaks become spaces. They only stand between tokens, because a
/// JSON string holds none.
pub(crate) fn one_line(json: &[u8]) -> Vec<u8> {
    json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_agrees_with_the_vectors_of_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn names_that_are_not_utf8_are_encoded_in_json_and_escaped_for_people() {
        let name = b"a\xff\x1b[2Jb\nc";
        assert_eq!(show(name), "a\\xff\\u{1b}[2Jb\\nc");
        assert_eq!(serde_json::to_string(&Text(name)).unwrap(), r#"{"b64":"Yf8bWzJKYgpj"}"#);
        assert_eq!(serde_json::to_string(&Text("é\"".as_bytes())).unwrap(), r#""é\"""#);
        assert_eq!(show_path([&b"run"[..], b"x.json"]), "run/x.json");
    }

    #[test]
    fn spans_are_written_as_they_are_read() {
        for text in ["0", "0.01", "1.5", "59", "61", "90min", "8h", "30d", "25h"] {
            let span = super::super::values::span(text).unwrap();
            assert_eq!(write_span(span), text);
        }
        assert_eq!(write_span(Duration::from_secs(2_592_000)), "30d");
    }

    #[test]
    fn sizes_are_shown_in_iec_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (64 << 20, "64.0 MiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
    }

    #[test]
    fn spans_are_shown_in_two_units() {
        for (seconds, text) in [(4, "4 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")] {
            assert_eq!(show_span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn one_line_changes_line_breaks_only() {
        assert_eq!(one_line(b"{\r\n\t\"a\": \"\\n\"}\n"), b"{  \t\"a\": \"\\n\"} ");
    }
}
