//! Reads the objects of a bundle one after the other: one that is too long to be held in memory.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::json::{MapSeed, ReadMap, Text};
use super::Reject;
use crate::error::{Error, Result};

/// Bytes read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Receives the JSON text of an element. Its error ends the reading.
type Each<'e> = dyn FnMut(Box<str>) -> Result<()> + 'e;

/// How a bundle ended.
#[derive(Debug)]
pub enum Ended {
    /// It was read to its end, and all of it is JSON.
    Whole,
    /// It is no bundle, or not from some place on.
    Rejected(Reject),
    /// It could not be read further.
    Unreadable(io::Error),
}

/// Passes on each element of the list `objects`, whatever it is: exactly its bytes, as soon as they are there. What stands
/// before a defect was passed on when that is met. Memory: the longest element, which has at most `max` bytes.
///
/// # Errors
/// Those of `each`.
pub fn each_object(input: impl Read, max: u64, each: &mut Each<'_>) -> Result<Ended> {
    let left = Cell::new(max);
    let mut input = BufReader::with_capacity(BUFFER_BYTES, Metered { input, left: &left });
    match head(&mut input) {
        Ok(None) => {}
        Ok(Some(reject)) => return Ok(Ended::Rejected(reject)),
        Err(error) => return Ok(Ended::Unreadable(error)),
    }
    let mut state = State { each, left: &left, max, found: false, failure: None };
    let mut deserializer = serde_json::Deserializer::from_reader(input);
    let read = MapSeed(Top(&mut state)).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if let Some(error) = state.failure {
        return Err(error);
    }
    let reject = match read {
        Ok(()) if state.found => return Ok(Ended::Whole),
        Ok(()) => Reject::new("no_objects", "no key `objects`"),
        Err(error) if error.is_io() && left.get() == 0 => {
            Reject::new("too_large", format_args!("an object of more than {max} bytes"))
        }
        Err(error) if error.is_io() => return Ok(Ended::Unreadable(error.into())),
        Err(error) if error.is_data() => Reject::new("no_objects", error),
        Err(error) => Reject::new("not_json", error),
    };
    Ok(Ended::Rejected(reject))
}

/// Looks at how a bundle begins.
fn head(input: &mut impl BufRead) -> io::Result<Option<Reject>> {
    let head = loop {
        match input.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    Ok(if head.is_empty() {
        Some(Reject::new("empty", "the file has 0 bytes"))
    } else if head.starts_with(b"\xef\xbb\xbf") {
        Some(Reject::new("bom", "a byte order mark at byte 0"))
    } else {
        None
    })
}

/// Reads no more than what is left.
struct Metered<'c, R> {
    input: R,
    left: &'c Cell<u64>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let max = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.input.read(buffer.get_mut(..max).unwrap_or_default())?;
        self.left.set(left.saturating_sub(u64::try_from(count).unwrap_or(left)));
        Ok(count)
    }
}

struct State<'s, 'e> {
    each: &'s mut Each<'e>,
    left: &'s Cell<u64>,
    max: u64,
    found: bool,
    failure: Option<Error>,
}

/// The top level.
struct Top<'r, 's, 'e>(&'r mut State<'s, 'e>);

impl<'de> ReadMap<'de> for Top<'_, '_, '_> {
    type Value = ();

    fn read<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let state = self.0;
        while let Some(Text(key)) = map.next_key()? {
            state.left.set(state.max);
            if &*key != b"objects" {
                map.next_value::<serde::de::IgnoredAny>()?;
            } else if state.found {
                // In a file that is read whole the last one counts; here the first is out already.
                return Err(A::Error::custom("a second key `objects`"));
            } else {
                state.found = true;
                map.next_value_seed(List(state))?;
            }
        }
        Ok(())
    }
}

/// The list of objects.
struct List<'r, 's, 'e>(&'r mut State<'s, 'e>);

impl<'de> DeserializeSeed<'de> for List<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list as `objects`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let state = self.0;
        while let Some(element) = list.next_element::<Box<RawValue>>()? {
            if let Err(error) = (state.each)(element.into()) {
                state.failure = Some(error);
                return Err(A::Error::custom("nobody wants the rest"));
            }
            state.left.set(state.max);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, and now and then none because of a signal.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::Interrupted.into());
            }
            let (Some(to), Some((first, rest))) = (buffer.first_mut(), self.0.split_first()) else {
                return Ok(0);
            };
            (*to, self.0) = (*first, rest);
            Ok(1)
        }
    }

    fn read(bytes: &[u8], max: u64) -> (Vec<String>, String) {
        let mut found = Vec::new();
        let ended = each_object(Slow(bytes, false), max, &mut |text| {
            found.push(text.into_string());
            Ok(())
        });
        let ended = match ended.unwrap() {
            Ended::Whole => "whole".to_owned(),
            Ended::Rejected(reject) => reject.code.to_owned(),
            Ended::Unreadable(error) => error.to_string(),
        };
        (found, ended)
    }

    #[test]
    fn elements_come_with_exactly_their_bytes() {
        let text = "{\"n\": [1, {\"objects\": [0]}],\n \"obj\\u0065cts\": [ {\"a\" : 1.10, \"a\":1e999}\n,7 ,\"\\ud800\", [ ] ] , \"z\":null}\n";
        let (found, ended) = read(text.as_bytes(), 1000);
        assert_eq!(found, ["{\"a\" : 1.10, \"a\":1e999}", "7", "\"\\ud800\"", "[ ]"]);
        assert_eq!(ended, "whole");
    }

    #[test]
    fn what_stands_before_a_defect_is_passed_on_and_the_defect_has_a_code() {
        for (text, count, code) in [
            (&b""[..], 0, "empty"),
            (b"\xef\xbb\xbf{}", 0, "not_json"),
            (b"{}", 0, "no_objects"),
            (b"[1]", 0, "no_objects"),
            (b"{\"objects\": 7}", 0, "no_objects"),
            (b"{\"objects\": []}", 0, "whole"),
            (b"{\"objects\": [1,2", 2, "not_json"),
            (b"{\"objects\": [1,2]", 2, "not_json"),
            (b"{\"objects\": [1,2]} x", 2, "not_json"),
            (b"{\"objects\": [1,NaN]}", 1, "not_json"),
            (b"{\"objects\": [1,\"\xff\"]}", 1, "not_json"),
            (b"{\"objects\": [1], \"objects\": [2]}", 1, "no_objects"),
            (b"{\"objects\": [1, \"0123456789012345678901234567890123456789\"]}", 1, "too_large"),
        ] {
            let (found, ended) = read(text, 30);
            assert_eq!((found.len(), ended.as_str()), (count, code), "{}", String::from_utf8_lossy(text));
        }
        let mut whole = io::Cursor::new(b"\xef\xbb\xbf{}");
        assert!(matches!(
            each_object(&mut whole, 9, &mut |_| Ok(())),
            Ok(Ended::Rejected(Reject { code: "bom", .. }))
        ));
    }

    #[test]
    fn nesting_of_a_hundred_thousand_is_passed_on_and_an_error_ends_the_reading() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let text = format!("{{\"x\": {deep}, \"objects\": [{deep}, 1]}}");
        let mut count = 0u32;
        let ended = each_object(text.as_bytes(), 1 << 20, &mut |_| {
            count = count.saturating_add(1);
            Ok(())
        });
        assert!(matches!(ended, Ok(Ended::Whole)));
        assert_eq!(count, 2);
        let ended = each_object(text.as_bytes(), 1 << 20, &mut |_| Err(Error::Cancelled));
        assert!(matches!(ended, Err(Error::Cancelled)));
    }
}
