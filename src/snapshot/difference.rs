//! What differs between two JSON texts, in places of RFC 6901. Numbers are compared as they are written, since a reader
//! would be told nothing of `1.10` against `1.1`; so nothing is turned into numbers here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// One place at which two texts differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// A JSON pointer: `/external_references/0/url`. An element that came or went has the number it has in its own text.
    pub at: String,
    /// What stood there, as it is written.
    pub before: Option<String>,
    /// What stands there.
    pub after: Option<String>,
}

/// A value taken apart by one level.
enum Level<'a> {
    Object(BTreeMap<Cow<'a, str>, &'a RawValue>),
    Array(Vec<&'a RawValue>),
    Scalar,
}

/// Returns what differs, in the order of keys. Of a list what stands at both ends is taken for the same; where both lists
/// have as many elements between, these are compared one by one.
///
/// Cost: each level is read once more. Depth is bounded by what import takes.
///
/// # Errors
/// A reason, if a text is not JSON.
pub fn edits(before: &[u8], after: &[u8]) -> Result<Vec<Edit>, String> {
    let read = |text| serde_json::from_slice::<&RawValue>(text).map_err(|error| error.to_string());
    let mut edits = Vec::new();
    walk(String::new(), read(before)?, read(after)?, &mut edits);
    Ok(edits)
}

fn walk(at: String, before: &RawValue, after: &RawValue, edits: &mut Vec<Edit>) {
    if before.get() == after.get() {
        return;
    }
    match (level(before), level(after)) {
        (Level::Object(old), Level::Object(mut new)) => {
            let mut all: BTreeMap<Cow<'_, str>, (Option<&RawValue>, Option<&RawValue>)> = BTreeMap::new();
            for (key, value) in old {
                let other = new.remove(&key);
                all.insert(key, (Some(value), other));
            }
            all.extend(new.into_iter().map(|(key, value)| (key, (None, Some(value)))));
            for (key, (old, new)) in all {
                pair(format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), old, new, edits);
            }
        }
        (Level::Array(old), Level::Array(new)) => lists(&at, &old, &new, edits),
        (Level::Scalar, Level::Scalar) | (Level::Object(_) | Level::Array(_) | Level::Scalar, _) => {
            pair_as_whole(at, Some(before), Some(after), edits);
        }
    }
}

fn pair(at: String, before: Option<&RawValue>, after: Option<&RawValue>, edits: &mut Vec<Edit>) {
    match (before, after) {
        (Some(before), Some(after)) => walk(at, before, after, edits),
        (before, after) => pair_as_whole(at, before, after, edits),
    }
}

fn pair_as_whole(at: String, before: Option<&RawValue>, after: Option<&RawValue>, edits: &mut Vec<Edit>) {
    let [before, after] = [before, after].map(|value| value.map(compact));
    if before != after {
        edits.push(Edit { at, before, after });
    }
}

fn lists(at: &str, old: &[&RawValue], new: &[&RawValue], edits: &mut Vec<Edit>) {
    let same = |(a, b): &(&&RawValue, &&RawValue)| compact(a) == compact(b);
    let head = old.iter().zip(new).take_while(same).count();
    let (old_rest, new_rest) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
    let middle = |rest: &[&RawValue]| rest.len().saturating_sub(tail);
    let (old_len, new_len) = (middle(old_rest), middle(new_rest));
    let old = old_rest.iter().take(old_len).map(|value| Some(*value));
    let new = new_rest.iter().take(new_len).map(|value| Some(*value));
    let place = |offset: usize| format!("{at}/{}", head.saturating_add(offset));
    if old_len == new_len {
        for (offset, (old, new)) in old.zip(new).enumerate() {
            pair(place(offset), old, new, edits);
        }
        return;
    }
    for (offset, old) in old.enumerate() {
        pair(place(offset), old, None, edits);
    }
    for (offset, new) in new.enumerate() {
        pair(place(offset), None, new, edits);
    }
}

fn level(value: &RawValue) -> Level<'_> {
    let text = value.get();
    if text.starts_with('{') {
        serde_json::from_str(text).map_or(Level::Scalar, Level::Object)
    } else if text.starts_with('[') {
        serde_json::from_str(text).map_or(Level::Scalar, Level::Array)
    } else {
        Level::Scalar
    }
}

/// A value without the spaces between its tokens.
fn compact(value: &RawValue) -> String {
    let mut text = String::with_capacity(value.get().len());
    let (mut inside, mut escaped) = (false, false);
    for character in value.get().chars() {
        if !inside && character.is_ascii_whitespace() {
            continue;
        }
        text.push(character);
        if inside && !escaped && character == '\\' {
            escaped = true;
            continue;
        }
        inside ^= character == '"' && !escaped;
        escaped = false;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: &str, after: &str) -> Vec<String> {
        let edits = edits(before.as_bytes(), after.as_bytes()).unwrap();
        let show = |value: &Option<String>| value.clone().unwrap_or_default();
        edits.iter().map(|edit| format!("{} {}>{}", edit.at, show(&edit.before), show(&edit.after))).collect()
    }

    #[test]
    fn edits_name_the_place_and_both_values() {
        assert_eq!(
            shown(
                r#"{"a": 1, "b": {"c": [1, 2], "d": null}, "same": "x", "x/y~": 1}"#,
                r#"{"a": 2, "b": {"c": [1, 3], "e": {}}, "same": "x", "x/y~": 2}"#
            ),
            ["/a 1>2", "/b/c/1 2>3", "/b/d null>", "/b/e >{}", "/x~1y~0 1>2"]
        );
        assert_eq!(shown(r#""a""#, "[1]"), [r#" "a">[1]"#]);
    }

    #[test]
    fn numbers_differ_as_they_are_written_and_spaces_do_not_count() {
        assert_eq!(shown(r#"{"n": 1.10, "m": [ 1,2 ]}"#, "{\"n\":1.1,\n\"m\":[1, 2]}"), ["/n 1.10>1.1"]);
        assert_eq!(shown(r#"["a \" b", 1]"#, "[ \"a \\\" b\" ,1 ]"), [""; 0]);
    }

    #[test]
    fn an_element_that_comes_or_goes_moves_no_other() {
        assert_eq!(shown("[1, 2, 3]", "[0, 1, 2, 3]"), ["/0 >0"]);
        assert_eq!(shown("[1, 2, 3]", "[1, 3]"), ["/1 2>"]);
        assert_eq!(shown("[1, 2, 3]", "[1, 4, 5, 3]"), ["/1 2>", "/1 >4", "/2 >5"]);
        assert_eq!(shown(r#"[{"a": 1}, 2]"#, r#"[{"a": 2}, 2]"#), ["/0/a 1>2"]);
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        assert!(edits(b"{", b"{}").is_err());
        assert!(edits(b"{}", b"\xff").is_err());
    }
}
