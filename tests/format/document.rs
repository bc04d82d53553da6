//! The blocks of FORMAT.md that are produced here: examples, lists, limits.

use std::fmt::Write;

use stix_store::format::types::WELL_KNOWN;
use stix_store::{Compression, CreateOptions, ObjectKey, limits};

use super::script::{Op, build};
use super::{blessing, index_hex, read, segment_hex, store_id, write};

const DOCUMENT: &str = "src/format/FORMAT.md";
const NAME: &str = "malware--00112233-4455-4677-8899-aabbccddeeff";
const FIRST: &str = "20240115T140000Z";
const SECOND: &str = "20240201T093000Z";

/// Two transactions: a snapshot; a newer one of the same id, and the first one deleted.
fn script() -> Vec<Op> {
    let object = format!("{{\"id\":\"{NAME}\",\"type\":\"malware\"}}");
    let bundle = |spaces: &str| format!("{{\"objects\":[{object}]}}{spaces}");
    vec![
        Op::Run(FIRST, 1_705_327_260),
        Op::File(FIRST, NAME.to_owned(), bundle("")),
        Op::Commit,
        Op::Run(SECOND, 1_706_779_860),
        Op::File(SECOND, NAME.to_owned(), bundle("\n")),
        Op::Delete(FIRST, NAME.to_owned()),
        Op::Commit,
    ]
}

/// The segment and the index that the examples show.
fn example() -> (Vec<u8>, Vec<u8>) {
    let options = CreateOptions {
        compression: Compression::None,
        store_id: Some(store_id()),
        ..CreateOptions::default()
    };
    let store = build(&options, &script());
    (store.bytes("data/0000000001.seg").unwrap(), store.bytes("index.2").unwrap())
}

fn types() -> String {
    let mut out = String::new();
    let mut width = 0;
    for name in WELL_KNOWN {
        let separator = match width {
            0 => "",
            1..100 => " ",
            _ => {
                width = 0;
                "\n"
            }
        };
        write!(out, "{separator}{name}").unwrap();
        width += name.len() + 1;
    }
    out.push('\n');
    out
}

fn limit_table() -> String {
    let mut out = "| limit | value |\n|---|---|\n".to_owned();
    for (what, value) in [
        ("segment size that a store is created with, smallest, bytes", limits::SEGMENT_SIZE_MIN_BYTES),
        ("the same, largest, bytes", limits::SEGMENT_SIZE_MAX_BYTES),
        ("transaction and record, bytes", limits::TRANSACTION_MAX_BYTES),
        ("decoded payload, bytes", limits::FILE_MAX_BYTES),
        ("name, bytes", limits::NAME_MAX_BYTES.try_into().unwrap()),
        ("dictionary, unpacked and as `dict.` file, bytes", limits::DICTIONARY_MAX_BYTES.try_into().unwrap()),
        ("segments in an index", limits::SEGMENT_COUNT_MAX),
        ("entries in an index file", limits::INDEX_ENTRIES_MAX),
        ("ranges in a COMMIT", stix_store::format::commit::RANGES_MAX.try_into().unwrap()),
        ("`config`, bytes", stix_store::format::config::CONFIG_MAX_BYTES),
        ("hints file, bytes", stix_store::format::hints::HINTS_MAX_BYTES),
    ] {
        writeln!(out, "| {what} | {value} |").unwrap();
    }
    out
}

/// Replaces what stands between the markers of a block; the block must exist.
fn replace(document: &str, block: &str, content: &str) -> String {
    let (begin, end) = (format!("<!-- begin {block} -->\n"), format!("<!-- end {block} -->"));
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no {begin:?}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end:?}"));
    format!("{before}{begin}{content}{end}{after}")
}

#[test]
fn the_examples_lists_and_limits_in_the_format_document_are_true() {
    let (segment, index) = example();
    let text = |content: String| format!("```text\n{content}```\n");
    let blocks = [
        ("types", text(types())),
        ("crc", text(segment_hex::worked_crc(&segment))),
        ("segment", text(segment_hex::annotate(&segment))),
        ("index", text(index_hex::annotate(&index, &ObjectKey::of(NAME.as_bytes()).0))),
        ("limits", limit_table()),
    ];
    let committed = String::from_utf8(read(DOCUMENT).unwrap()).unwrap();
    let actual = blocks.iter().fold(committed.clone(), |all, (block, text)| replace(&all, block, text));
    if blessing() {
        write(DOCUMENT, actual.as_bytes());
    } else {
        let different = blocks.iter().find(|(block, text)| replace(&committed, block, text) != committed);
        assert!(different.is_none(), "run tools/bless.sh: {different:?}");
    }
}

#[test]
fn the_checksum_of_the_document_has_its_well_known_check_value() {
    assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
    assert_eq!(stix_store::format::crc::crc32(b"123456789"), 0xcbf4_3926);
}
