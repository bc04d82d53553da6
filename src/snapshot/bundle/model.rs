//! Compares [`parse`] with a naive model that reads the whole tree.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// JSON text, with keys that matter, repeated keys, escapes and blanks.
fn json(depth: u32) -> BoxedStrategy<String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("-1.5e3".to_owned()),
        Just("[]".to_owned()),
        Just("{ }".to_owned()),
        string(),
    ];
    let tree = scalar.prop_recursive(depth, 60, 6, |inner| {
        prop_oneof![
            1 => list_of(inner.clone()),
            1 => list_of(string()),
            3 => prop::collection::vec(entry(inner), 0..6).prop_map(|entries| object(&entries)),
        ]
    });
    tree.boxed()
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-c]{0,2}".prop_map(|s| format!("\"{s}\"")),
        1 => "[a-c]{0,2}".prop_map(|s| format!("\"\\u00e9{s}\\\"_ref\"")),
    ]
}

fn list_of(element: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(element, 0..4).prop_map(|list| format!("[ {} ]", list.join(" ,\n")))
}

/// An entry of an object; half of them have the type that belongs to their key.
fn entry(value: BoxedStrategy<String>) -> BoxedStrategy<(String, String)> {
    let entry = prop_oneof![
        3 => (key(&["a_ref", "x_b_ref", "_ref", "c_ref"]), string()),
        3 => (key(&["a_refs", "x_b_refs", "_refs"]), list_of(string())),
        3 => (key(&["extensions", "d"]), value.clone()),
        3 => (key(&["id", "extensions", "objects", "a_ref", "b_refs", "x_b_ref", "k"]), value),
    ];
    entry.boxed()
}

fn object(entries: &[(String, String)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key} :\t{value}")).collect();
    format!("{{{}}}", entries.join(", "))
}

/// One of `keys`, now and then with an escaped character.
fn key(keys: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    (prop::sample::select(keys.to_vec()), 0..40usize).prop_map(|(key, at)| match key.split_at_checked(at) {
        Some((head, tail)) if !tail.is_empty() => {
            format!("\"{head}\\u{:04x}{}\"", u32::from(tail.as_bytes()[0]), &tail[1..])
        }
        _ => format!("\"{key}\""),
    })
}

fn bundle() -> impl Strategy<Value = String> {
    let element = (prop::collection::vec(entry(json(4)), 0..8), 0..8usize, 0..20);
    let element = element.prop_map(|(mut entries, at, bare)| {
        if bare > 0 {
            entries.insert(at.min(entries.len()), ("\"id\"".to_owned(), "\"i\"".to_owned()));
        }
        object(&entries)
    });
    let list = prop::collection::vec(prop_oneof![30 => element, 1 => json(1)], 1..4);
    let list = list.prop_map(|list| format!(" [{}] ", list.join(" , ")));
    let objects = list.prop_map(|list| ("\"objects\"".to_owned(), list));
    let others = prop::collection::vec(entry(json(2)), 0..3);
    let entries = (others.clone(), objects, others).prop_map(|(mut before, objects, after)| {
        before.push(objects);
        before.extend(after);
        object(&before)
    });
    prop_oneof![20 => entries, 1 => json(3)]
}

/// The id and the references of an object.
type Found = (String, Vec<(RefClass, String)>);

/// What [`parse`] must find, on a tree in which the last of equal keys has won.
fn model(all: &Value) -> Result<Vec<Found>, &'static str> {
    let objects = all.get("objects").and_then(Value::as_array).ok_or("no_objects")?;
    if objects.is_empty() {
        return Err("no_object");
    }
    let objects = objects.iter().map(|object| {
        let id = object.get("id").and_then(Value::as_str).ok_or("object_without_id")?;
        let mut refs = Vec::new();
        for (key, value) in object.as_object().ok_or("object_without_id")? {
            let class = if key.starts_with("x_") { RefClass::Custom } else { RefClass::Top };
            model_entry(class, key, value, &mut refs);
        }
        if let Some(extensions) = object.get("extensions").filter(|value| value.is_object()) {
            model_below(extensions, &mut refs);
        }
        refs.sort();
        Ok((id.to_owned(), refs))
    });
    objects.collect()
}

fn model_below(value: &Value, refs: &mut Vec<(RefClass, String)>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        model_entry(RefClass::Extension, key, value, refs);
        model_below(value, refs);
    }
    value.as_array().into_iter().flatten().for_each(|value| model_below(value, refs));
}

fn model_entry(class: RefClass, key: &str, value: &Value, refs: &mut Vec<(RefClass, String)>) {
    let one = Some(value).filter(|_| key.ends_with("_ref"));
    let many = value.as_array().filter(|_| key.ends_with("_refs"));
    refs.extend(
        one.into_iter()
            .chain(many.into_iter().flatten())
            .filter_map(Value::as_str)
            .map(|id| (class, id.to_owned())),
    );
}

/// Compares a file with the model.
fn compare(text: &str) {
    let all: Value = serde_json::from_str(text).unwrap();
    let file = text.as_bytes();
    let actual = parse(file);
    let found = actual.as_ref().map_err(|reject| reject.code).map(|bundle| {
        let objects = bundle.objects.iter().map(|object| {
            assert!(object.refs.is_sorted() && object.refs.windows(2).all(|two| two[0] != two[1]));
            let text = |at| String::from_utf8(string_at(file, at).unwrap().into_owned()).unwrap();
            let mut refs: Vec<_> = object.refs.iter().map(|(class, at)| (*class, text(*at))).collect();
            refs.sort();
            (String::from_utf8(object.id.clone()).unwrap(), refs)
        });
        objects.collect()
    });
    assert_eq!(found, model(&all), "{text}");
    for (object, expect) in
        actual.iter().flat_map(|bundle| &bundle.objects).zip(all["objects"].as_array().into_iter().flatten())
    {
        let range = usize::try_from(object.range.start).unwrap()..usize::try_from(object.range.end).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text[range.clone()]).unwrap(), *expect);
        assert!(text[range.clone()].starts_with('{') && text[range].ends_with('}'));
    }
}

/// Three values under one key, at the top of an object and at each level of its extensions.
#[test]
fn whatever_the_last_of_equal_keys_overrides_agrees_with_the_model() {
    let values = ["5", "\"1\"", "[\"2\"]", "{}", "{\"b_ref\": \"3\"}", "[[], {\"c_refs\": [\"4\"]}]"];
    let levels = [
        "@",
        "\"extensions\": {@}",
        "\"extensions\": {\"d\": {@}}",
        "\"extensions\": {\"d\": {\"e\": [{@}]}}",
    ];
    let triples = (0..values.len().pow(3)).map(|n| [n / 36, n / 6 % 6, n % 6].map(|n| values[n]));
    for [a, b, c] in triples {
        for (level, key) in
            levels.iter().flat_map(|level| ["k", "a_ref", "a_refs", "extensions"].map(|key| (level, key)))
        {
            let entries = format!("\"{key}\": {a}, \"{key}\": {b}, \"x\": {b}, \"{key}\": {c}");
            compare(&format!("{{\"objects\": [{{\"id\": \"i\", {}}}]}}", level.replace('@', &entries)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn parsing_agrees_with_a_naive_model(text in bundle()) {
        compare(&text);
    }

    #[test]
    fn damaged_files_are_rejected_or_read_but_never_panic(
        text in bundle(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut file = text.into_bytes();
        let at = at.index(file.len());
        if cut { file.truncate(at) } else { file[at] = byte }
        if let Ok(bundle) = parse(&file) {
            for (_, at) in bundle.objects.iter().flat_map(|object| &object.refs) {
                prop_assert!(string_at(&file, *at).is_some());
            }
        }
    }

    #[test]
    fn no_bytes_panic(file in prop::collection::vec(any::<u8>(), 0..200), at in 0..200u32) {
        drop((parse(&file), string_at(&file, at)));
    }
}
