//! Steps through JSON text with serde: the entries of an object, the elements of a list, the bytes of
//! a string. Values stay text ([`RawValue`]), so `1e999`, 30-digit integers and lone surrogate escapes
//! are never converted, and where a value lies follows from where its text lies.
//!
//! serde says what comes next only once it has read it. The functions that look ahead ([`value_start`],
//! [`skip_blanks`]) tell it whether to read an object in place or as text; what they answer is trusted
//! only after serde has read the same bytes.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What `serde_json` answers.
pub(super) type Result<T> = std::result::Result<T, serde_json::Error>;

/// A JSON string, decoded. Bytes and not `str`: a lone surrogate escape has no UTF-8 form, it decodes to
/// the three bytes that UTF-8 would give it.
pub(super) struct Text<'a>(pub(super) Cow<'a, [u8]>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> std::result::Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(bytes)))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> std::result::Result<Self::Value, E> {
        Ok(Text(Cow::Owned(bytes.to_vec())))
    }
}

/// Reads the entries of an object. A generic closure, which Rust has not.
pub(super) trait ReadMap<'de>: Sized {
    /// What the object is read into.
    type Value;

    fn read<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Self::Value, A::Error>;
}

/// Reads an object with its reader; what is no object is an error.
pub(super) struct MapSeed<R>(pub(super) R);

impl<'de, R: ReadMap<'de>> DeserializeSeed<'de> for MapSeed<R> {
    type Value = R::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<R::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, R: ReadMap<'de>> Visitor<'de> for MapSeed<R> {
    type Value = R::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<R::Value, A::Error> {
        self.0.read(map)
    }
}

/// Reads all of `text` with a seed.
pub(super) fn read_all<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: S) -> Result<S::Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Calls `take` for the entries of the object `text`, in order, duplicates too. Cost: one scan of the text.
pub(super) fn each_entry<'a>(text: &'a str, take: impl FnMut(Cow<'a, [u8]>, &'a RawValue)) -> Result<()> {
    read_all(text, MapSeed(Entries(take)))
}

struct Entries<T>(T);

impl<'de, T: FnMut(Cow<'de, [u8]>, &'de RawValue)> ReadMap<'de> for Entries<T> {
    type Value = ();

    fn read<A: MapAccess<'de>>(mut self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some((Text(key), value)) = map.next_entry()? {
            (self.0)(key, value);
        }
        Ok(())
    }
}

/// Calls `take` for each element of the list `text`. Cost: one scan of the text.
pub(super) fn each_element<'a>(text: &'a str, take: impl FnMut(&'a RawValue)) -> Result<()> {
    read_all(text, ElementSeed(take))
}

/// Calls its function for each element of a list; what is no list is an error.
struct ElementSeed<T>(T);

impl<'de, T: FnMut(&'de RawValue)> DeserializeSeed<'de> for ElementSeed<T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: FnMut(&'de RawValue)> Visitor<'de> for ElementSeed<T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> std::result::Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            (self.0)(element);
        }
        Ok(())
    }
}

/// Returns where in `file` a value lies, or the end of the file if it is no part of it.
pub(super) fn start_of(file: &str, value: &RawValue) -> usize {
    let start = value.get().as_ptr().addr().checked_sub(file.as_ptr().addr());
    let start = start.filter(|start| *start < file.len());
    debug_assert!(start.is_some(), "{value} is no part of the file");
    start.unwrap_or(file.len())
}

/// Returns where in `file` the value of an entry starts whose key was just read. `None` if the key has
/// escapes, so that it is no part of the file, or if no colon follows.
pub(super) fn value_start(file: &str, key: &[u8]) -> Option<usize> {
    let start = key.as_ptr().addr().checked_sub(file.as_ptr().addr())?;
    let quote = start.checked_add(key.len())?;
    let colon = skip_blanks(file, quote.checked_add(1)?);
    (file.as_bytes().get(colon) == Some(&b':')).then(|| skip_blanks(file, colon.saturating_add(1)))
}

/// Returns the offset of the first byte at or after `from` that is no blank.
pub(super) fn skip_blanks(file: &str, from: usize) -> usize {
    let rest = file.as_bytes().get(from..).unwrap_or_default();
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
    from.saturating_add(blanks.count())
}

/// Finds a control character in a string, which JSON forbids: the parser looks for them where it reads text, not where it reads
/// bytes. Those between strings it refuses itself.
///
/// Cost: one look at each byte in vector code; if there are any, as the line breaks of a file that is laid out for people, one more
/// from quote to quote.
pub(super) fn control_character(file: &[u8]) -> Option<usize> {
    if !has_control(file) {
        return None;
    }
    let rest = |at: usize| file.get(at..).unwrap_or_default();
    let mut at = 0usize;
    while let Some(open) = memchr::memchr(b'"', rest(at)) {
        at = at.checked_add(open)?.checked_add(1)?;
        loop {
            let len = memchr2(b'"', b'\\', rest(at));
            let text = rest(at).get(..len.unwrap_or(usize::MAX)).unwrap_or(rest(at));
            if let Some(control) = text.iter().position(|byte| *byte < b' ') {
                return at.checked_add(control);
            }
            at = at.checked_add(len?)?;
            if file.get(at) == Some(&b'"') {
                break;
            }
            // A backslash and what it stands before.
            at = at.checked_add(1)?;
            if file.get(at).is_some_and(|byte| *byte < b' ') {
                return Some(at);
            }
            at = at.checked_add(1)?;
        }
        at = at.checked_add(1)?;
    }
    None
}

/// Tells whether there is any control character. Without a way out of each chunk, so that it is vector code.
fn has_control(file: &[u8]) -> bool {
    file.chunks(1024).any(|chunk| chunk.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' ')
}

/// Finds the first bracket that nests deeper than `max`, without recursion.
///
/// Cost: the opening brackets are counted, which the compiler turns into vector code; only a file with
/// more than `max` is read byte by byte, passing over its strings. Text that is no JSON may be called deep
/// or not, but never overflows.
pub(super) fn too_deep(file: &[u8], max: usize) -> Option<usize> {
    if count_brackets(file) <= max {
        return None;
    }
    let (mut at, mut depth) = (0usize, 0usize);
    while let Some(byte) = file.get(at) {
        let next = at.saturating_add(1);
        match byte {
            b'[' | b'{' if depth >= max => return Some(at),
            b'[' | b'{' => depth = depth.saturating_add(1),
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at = if *byte == b'"' { closing_quote(file, next)?.saturating_add(1) } else { next };
    }
    None
}

/// Counts `[` and `{`, which differ in the bit 0x20 only. A chunk's count fits a byte.
fn count_brackets(file: &[u8]) -> usize {
    let chunks = file.chunks(usize::from(u8::MAX));
    chunks.map(|chunk| usize::from(chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>())).sum()
}

/// Finds the quote that closes a string whose first byte after the opening quote is at `from`.
fn closing_quote(file: &[u8], from: usize) -> Option<usize> {
    let mut from = from;
    loop {
        let at = from.checked_add(memchr2(b'"', b'\\', file.get(from..)?)?)?;
        if file.get(at) == Some(&b'"') {
            return Some(at);
        }
        from = at.checked_add(2)?; // the backslash and what it escapes
    }
}

/// Decodes the JSON string whose opening quote is at `start`. Borrowed if it has no escapes.
pub(super) fn string_at(file: &[u8], start: usize) -> Option<Cow<'_, [u8]>> {
    let (quote, rest) = file.get(start..)?.split_first()?;
    if *quote != b'"' {
        return None;
    }
    let len = memchr2(b'"', b'\\', rest)?;
    if rest.get(len) == Some(&b'"') {
        return rest.get(..len).map(Cow::Borrowed);
    }
    let close = closing_quote(file, start.checked_add(1)?)?;
    let Text(bytes) = serde_json::from_slice(file.get(start..=close)?).ok()?;
    Some(bytes)
}
