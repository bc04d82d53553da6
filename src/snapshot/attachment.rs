//! Attachments: a backup puts the bytes of each into `files[].data` of the platform's extension, as base64. Where it
//! could not fetch them it leaves `null` there, and the platform's importer then fails on the object
//! (`OpenCTI-Platform/connectors`, `stream/backup-files`, from its behaviour).

use std::borrow::Cow;
use std::collections::BTreeMap;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The extension in which the platform lists the files of an object.
const EXTENSION: &str = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba";

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, default)]
    extensions: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
    /// Where they stood before 2022-05.
    #[serde(borrow, default)]
    x_opencti_files: Option<Vec<Entry<'a>>>,
}

#[derive(Deserialize)]
struct Extension<'a> {
    #[serde(borrow, default)]
    files: Option<Vec<Entry<'a>>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// Returns the names of an object's attachments whose bytes are not there, in the order of the object; of one without
/// a name its number, as `#2`. `object` is the object's JSON text.
///
/// Cost: a search for the key; only an object that has it is parsed. What does not look as the platform writes it names
/// no attachment.
pub fn missing(object: &[u8]) -> Vec<String> {
    if memmem::find(object, b"files\"").is_none() {
        return Vec::new();
    }
    let Ok(object) = serde_json::from_slice::<Object<'_>>(object) else { return Vec::new() };
    let extension = object.extensions.as_ref().and_then(|all| all.get(EXTENSION));
    let extension = extension.and_then(|raw| serde_json::from_str::<Extension<'_>>(raw.get()).ok());
    let listed = extension.and_then(|extension| extension.files).unwrap_or_default();
    let all = listed.iter().chain(object.x_opencti_files.iter().flatten());
    // An absent key and `null` are told apart by nobody who needs the bytes; an empty file is `""`.
    let lacking = (1u64..).zip(all).filter(|(_, entry)| entry.data.is_none());
    lacking
        .map(|(at, entry)| entry.name.as_ref().map_or_else(|| format!("#{at}"), ToString::to_string))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_extension(files: &str) -> Vec<String> {
        let text = format!(
            r#"{{"id": "report--x", "extensions": {{"a": 5, "{EXTENSION}": {{"files": {files}}}}}}}"#
        );
        missing(text.as_bytes())
    }

    #[test]
    fn e32_an_attachment_without_bytes_is_named() {
        let files = r#"[{"name": "a.pdf", "data": "QQ=="}, {"name": "b.pdf", "data": null},
            {"name": "c\u00e9.pdf", "uri": "/storage/get/x"}, {"data": null}, {"name": "e", "data": ""}]"#;
        assert_eq!(in_extension(files), ["b.pdf", "cé.pdf", "#4"]);
        let old =
            br#"{"x_opencti_files": [{"name": "old.txt", "data": null}, {"name": "kept", "data": "QQ=="}]}"#;
        assert_eq!(missing(old), ["old.txt"]);
    }

    #[test]
    fn what_the_platform_does_not_write_names_no_attachment() {
        for files in ["null", "5", "[]", "{}", r#"["a"]"#] {
            assert_eq!(in_extension(files), [""; 0], "{files}");
        }
        for text in
            ["", "[]", "null", r#"{"files": [{"data": null}]}"#, r#"{"extensions": [], "x_files": 1}"#, "{"]
        {
            assert_eq!(missing(text.as_bytes()), [""; 0], "{text}");
        }
    }
}
