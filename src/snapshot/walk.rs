//! Finds objects and references in the text of a backup file, in one pass.
//!
//! Each reader knows where its object or list starts and answers where it ends; so ranges come without
//! reading anything twice. Only what is rare is read as text first and then again: an interesting key that
//! is written with escapes, a key that stands twice in an extension, what lies deep in an extension.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::bundle::{Bundle, Object, RefClass, Reject};
use super::json::{self, MapSeed, ReadMap, Text};

/// Most warnings kept of one file: they are for people.
const WARNINGS_MAX: usize = 8;
/// Most bytes of a key that a warning quotes.
const WARNING_KEY_MAX_BYTES: usize = 40;
/// Levels of an extension read in place: `extensions` and each definition in it. Deeper ones are rare.
const LEVELS_IN_PLACE: u32 = 2;

/// An entry: its key, decoded, and its value.
type Field<'a> = (Cow<'a, [u8]>, &'a RawValue);

/// Reads a file that does not nest too deep.
pub(super) fn read(file: &str) -> Result<Bundle, Reject> {
    let mut state = State { file, warnings: Vec::new(), found: None };
    if json::read_all(file, MapSeed(Top(&mut state))).is_err() {
        // Of valid JSON, only a top level that is no object is refused.
        let start = json::skip_blanks(file, 0);
        let no_object = Reject::new("no_objects", format_args!("not a JSON object at byte {start}"));
        let valid = json::read_all(file, PhantomData::<IgnoredAny>);
        return Err(valid.err().map_or(no_object, |error| Reject::new("not_json", error)));
    }
    match state.found {
        Some(Ok(objects)) => Ok(Bundle { objects, warnings: state.warnings }),
        Some(Err(reject)) => Err(reject),
        None => Err(Reject::new("no_objects", format_args!("no key `objects` up to byte {}", file.len()))),
    }
}

/// What is known of a file while it is read.
struct State<'a> {
    file: &'a str,
    warnings: Vec<String>,
    /// What the last `objects` holds. A reject is that of the first element that is no object with an id;
    /// it counts only if the whole file turns out to be JSON.
    found: Option<Result<Vec<Object>, Reject>>,
}

/// The top level.
struct Top<'r, 'a>(&'r mut State<'a>);

impl<'a> ReadMap<'a> for Top<'_, 'a> {
    type Value = ();

    fn read<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let state = self.0;
        while let Some(Text(key)) = map.next_key()? {
            if &*key != b"objects" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            state.warnings.clear(); // those of an `objects` that this one overrides
            if let Some(start) = state.starts_with(b'[', &key) {
                state.found = Some(map.next_value_seed(Elements { state, start })?);
                continue;
            }
            let value: &RawValue = map.next_value()?;
            let start = json::start_of(state.file, value);
            state.found = Some(if value.get().starts_with('[') {
                json::read_all(value.get(), Elements { state, start }).map_err(serde::de::Error::custom)?
            } else {
                Err(Reject::new("no_objects", format_args!("`objects` is not a list at byte {start}")))
            });
        }
        Ok(())
    }
}

/// The list of objects at `start`.
struct Elements<'r, 'a> {
    state: &'r mut State<'a>,
    start: usize,
}

impl<'a> DeserializeSeed<'a> for Elements<'_, 'a> {
    type Value = Result<Vec<Object>, Reject>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for Elements<'_, 'a> {
    type Value = Result<Vec<Object>, Reject>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let file = self.state.file;
        let mut objects = Vec::new();
        let mut start = json::skip_blanks(file, self.start.saturating_add(1));
        while file.as_bytes().get(start) == Some(&b'{') {
            let reader = ObjectAt { state: &mut *self.state, start };
            let Some((end, object)) = list.next_element_seed(MapSeed(reader))? else { break };
            match object {
                Some(object) => objects.push(object),
                None => return pass_over(list, start),
            }
            // A comma or the end of the list.
            start = json::skip_blanks(file, json::skip_blanks(file, end).saturating_add(1));
        }
        if list.next_element::<IgnoredAny>()?.is_some() {
            return pass_over(list, start);
        }
        if objects.is_empty() {
            let detail = format_args!("`objects` is an empty list at byte {}", self.start);
            return Ok(Err(Reject::new("no_object", detail)));
        }
        Ok(Ok(objects))
    }
}

/// Reads the rest of a list in which what lies at `start` is no object with an id.
fn pass_over<'a, A: SeqAccess<'a>>(
    mut list: A,
    start: usize,
) -> Result<Result<Vec<Object>, Reject>, A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    let detail = format_args!("no string `id` in the element of `objects` at byte {start}");
    Ok(Err(Reject::new("object_without_id", detail)))
}

/// The object at `start`. Answers where it ends and, if it has a string as its id, what it is.
struct ObjectAt<'r, 'a> {
    state: &'r mut State<'a>,
    start: usize,
}

impl<'a> ReadMap<'a> for ObjectAt<'_, 'a> {
    type Value = (usize, Option<Object>);

    fn read<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let ObjectAt { state, start } = self;
        let mut end = start.saturating_add(1);
        let (mut id, mut fields, mut refs) = (None, Vec::new(), Vec::new());
        while let Some(Text(key)) = map.next_key()? {
            if &*key == b"extensions" {
                refs.clear(); // those of `extensions` that this one overrides
                if let Some(start) = state.starts_with(b'{', &key) {
                    let levels = LEVELS_IN_PLACE.saturating_sub(1);
                    end = map.next_value_seed(MapSeed(Below { state, refs: &mut refs, start, levels }))?;
                    continue;
                }
            }
            let value: &RawValue = map.next_value()?;
            end = state.end_of(value);
            match &*key {
                b"id" => id = Some(value),
                b"extensions" if value.get().starts_with('{') => state.below(value.get(), &mut refs),
                _ if is_reference(&key) => fields.push((key, value)),
                _ => {}
            }
        }
        end = json::skip_blanks(state.file, end).saturating_add(1);
        keep_last(&mut fields);
        for (key, value) in fields {
            let class = if key.starts_with(b"x_") { RefClass::Custom } else { RefClass::Top };
            state.collect(class, &key, value, &mut refs);
        }
        refs.sort_unstable();
        let range = offset(start)..offset(end);
        let id = id.and_then(|id| json::string_at(state.file.as_bytes(), json::start_of(state.file, id)));
        Ok((end, id.map(|id| Object { range, id: id.into_owned(), refs })))
    }
}

/// The object at `start` in an extension; so many `levels` below it are read in place. Answers where it ends.
struct Below<'r, 'a> {
    state: &'r mut State<'a>,
    refs: &'r mut Vec<(RefClass, u32)>,
    start: usize,
    levels: u32,
}

impl<'a> ReadMap<'a> for Below<'_, 'a> {
    type Value = usize;

    fn read<A: MapAccess<'a>>(self, mut map: A) -> Result<usize, A::Error> {
        let Below { state, refs, start, levels } = self;
        let before = refs.len();
        let mut end = start.saturating_add(1);
        // Entries that hold references, read in place or still to be read; and from the first on, all
        // entries, since they may override one before.
        let (mut in_place, mut fields) = (Vec::new(), Vec::new());
        let mut all = false;
        while let Some(Text(key)) = map.next_key()? {
            if let Some(levels) = levels.checked_sub(1)
                && let Some(start) = state.starts_with(b'{', &key)
            {
                let count = refs.len();
                end = map.next_value_seed(MapSeed(Below { state, refs, start, levels }))?;
                if all || refs.len() > count || is_reference(&key) {
                    all = true;
                    in_place.push(key);
                }
                continue;
            }
            let value: &RawValue = map.next_value()?;
            end = state.end_of(value);
            all |= is_container(value) && may_hold_reference(value.get());
            if all || is_reference(&key) {
                fields.push((key, value));
            }
        }
        end = json::skip_blanks(state.file, end).saturating_add(1);
        if !in_place.is_empty() && has_twins(&in_place, &fields) {
            refs.truncate(before);
            state.below(state.file.get(start..end).unwrap_or_default(), refs);
        } else {
            let mut todo = Vec::new();
            state.take(&mut fields, &mut todo, refs);
            for text in todo {
                state.below(text, refs);
            }
        }
        Ok(end)
    }
}

impl<'a> State<'a> {
    /// Returns where the value of the entry starts whose key was just read, if it starts with this byte.
    fn starts_with(&self, byte: u8, key: &[u8]) -> Option<usize> {
        json::value_start(self.file, key).filter(|start| self.file.as_bytes().get(*start) == Some(&byte))
    }

    fn end_of(&self, value: &RawValue) -> usize {
        json::start_of(self.file, value).saturating_add(value.get().len())
    }

    /// Notes the references that an entry holds.
    fn collect(&mut self, class: RefClass, key: &[u8], value: &RawValue, refs: &mut Vec<(RefClass, u32)>) {
        let many = key.ends_with(b"_refs");
        let file = self.file;
        match value.get().as_bytes().first() {
            Some(b'"') if many => self.warn(key, value),
            Some(b'"') => refs.push((class, offset(json::start_of(file, value)))),
            Some(b'[') if many => valid(&json::each_element(value.get(), |element| {
                if element.get().starts_with('"') {
                    refs.push((class, offset(json::start_of(file, element))));
                }
            })),
            _ => {}
        }
    }

    /// Notes the references at any depth below `top`, an object or list in an extension. Without recursion;
    /// text is read once for each level above it, so at most as often as files may nest.
    fn below(&mut self, top: &'a str, refs: &mut Vec<(RefClass, u32)>) {
        let mut todo = vec![top];
        let mut fields = Vec::new();
        while let Some(text) = todo.pop() {
            if !may_hold_reference(text) {
                continue;
            }
            if text.starts_with('{') {
                valid(&json::each_entry(text, |key, value| fields.push((key, value))));
                self.take(&mut fields, &mut todo, refs);
            } else {
                valid(&json::each_element(text, |value| {
                    todo.extend(Some(value).filter(|value| is_container(value)).map(RawValue::get));
                }));
            }
        }
    }

    /// Notes the references that the entries of an object in an extension hold themselves, and in `todo` what
    /// may hold more. Leaves `fields` empty.
    fn take(
        &mut self,
        fields: &mut Vec<Field<'a>>,
        todo: &mut Vec<&'a str>,
        refs: &mut Vec<(RefClass, u32)>,
    ) {
        keep_last(fields);
        for (key, value) in fields.drain(..) {
            if is_reference(&key) {
                self.collect(RefClass::Extension, &key, value, refs);
            }
            todo.extend(Some(value).filter(|value| is_container(value)).map(RawValue::get));
        }
    }

    fn warn(&mut self, key: &[u8], value: &RawValue) {
        if self.warnings.len() < WARNINGS_MAX {
            let key = key.get(..WARNING_KEY_MAX_BYTES).unwrap_or(key).escape_ascii();
            let at = json::start_of(self.file, value);
            self.warnings.push(format!("{key} at byte {at} is a string, not a list: ignored"));
        }
    }
}

/// Narrows an offset: files are shorter than 2^32 bytes.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Reading again what was read before cannot fail.
fn valid(read: &json::Result<()>) {
    debug_assert!(read.is_ok(), "the text was valid a moment ago: {read:?}");
}

/// Tells whether a key may hold references.
fn is_reference(key: &[u8]) -> bool {
    key.ends_with(b"_ref") || key.ends_with(b"_refs")
}

fn is_container(value: &RawValue) -> bool {
    value.get().starts_with(['{', '['])
}

/// Tells whether a key that ends in `_ref` or `_refs` may be in `text`: a quick search that spares most
/// lists a scan. The underscore stands for itself or behind a backslash.
fn may_hold_reference(text: &str) -> bool {
    memchr::memchr2(b'_', b'\\', text.as_bytes()).is_some()
}

/// Of entries with the same key, keeps the last. O(n log n), whatever the keys are.
fn keep_last(fields: &mut Vec<Field<'_>>) {
    fields.reverse();
    fields.sort_by(|a, b| a.0.cmp(&b.0)); // stable: the last one of a key comes first
    fields.dedup_by(|later, first| later.0 == first.0);
}

/// Tells whether a key stands twice.
fn has_twins(keys: &[Cow<'_, [u8]>], fields: &[Field<'_>]) -> bool {
    let mut keys: Vec<&[u8]> =
        keys.iter().chain(fields.iter().map(|(key, _)| key)).map(|key| &**key).collect();
    keys.sort_unstable();
    keys.windows(2).any(|two| two.first() == two.last())
}
