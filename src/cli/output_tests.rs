//! Tests of the output stream.

use std::rc::Rc;

use super::*;

/// A sink that a test can look into, and that fails after some bytes.
#[derive(Clone, Default)]
struct Shared {
    bytes: Rc<RefCell<Vec<u8>>>,
    fails_after: Option<usize>,
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.bytes.borrow_mut();
        if self.fails_after.is_some_and(|max| held.len().saturating_add(bytes.len()) > max) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn output(sink: &Shared, json: bool) -> Output {
    let console = Console::new(true, 0);
    Output::to(Box::new(sink.clone()), "check", json, false, "ab".repeat(16), console)
}

fn lines(sink: &Shared) -> Vec<serde_json::Value> {
    let bytes = sink.bytes.borrow();
    assert!(bytes.ends_with(b"\n"));
    bytes
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect()
}

#[test]
fn a_stream_begins_once_ends_once_and_counts_its_units() {
    let sink = Shared::default();
    let out = output(&sink, true);
    out.begin(Some(StoreId([7; 16])), &serde_json::json!({"level": "crc"})).unwrap();
    out.unit("segment", &serde_json::json!({"seg": 3})).unwrap();
    out.unit("nothing", &serde_json::json!({})).unwrap();
    out.open("bundle", &[("run", "\"r\"")], "bundle").unwrap();
    out.part(b"{\"a\": 1.10}").unwrap();
    out.close().unwrap();
    out.count("ok", 2);
    out.count("damage", 0);
    out.count("ok", 1);
    out.end("complete", 0);

    let units = lines(&sink);
    assert_eq!(units.len(), 5);
    for (seq, unit) in units.iter().enumerate() {
        assert_eq!((unit["v"].as_u64(), unit["seq"].as_u64()), (Some(1), u64::try_from(seq).ok()), "{unit}");
    }
    assert_eq!(units[0]["type"], "begin");
    assert_eq!(units[0]["cmd"], "check");
    assert_eq!(units[0]["level"], "crc");
    assert_eq!(units[0]["store"], "07".repeat(16));
    assert_eq!(units[0]["run"], "ab".repeat(16));
    assert!(units[0]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(units[1]["seg"], 3);
    assert_eq!(units[4]["type"], "end");
    assert_eq!(units[4]["status"], "complete");
    assert_eq!(units[4]["counts"]["ok"], 3);
    assert_eq!(units[4]["counts"]["damage"], 0);
    assert_eq!(units[4]["units"], 4);
    assert!(String::from_utf8_lossy(&sink.bytes.borrow()).contains("\"bundle\":{\"a\": 1.10}}\n"));
}

#[test]
fn the_digest_covers_every_byte_before_the_last_line() {
    let sink = Shared::default();
    let out = output(&sink, true);
    out.unit("x", &serde_json::json!({"name": "é\u{2028}"})).unwrap();
    out.end("complete", 0);
    let bytes = sink.bytes.borrow();
    let cut = bytes[..bytes.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    let mut crc = Crc32::new();
    crc.update(&bytes[..cut]);
    let end: serde_json::Value = serde_json::from_slice(&bytes[cut..]).unwrap();
    assert_eq!(end["digest"], format!("crc32:{:08x}", crc.finish()));
}

#[test]
fn a_stream_whose_command_failed_early_still_begins_and_ends() {
    let sink = Shared::default();
    output(&sink, true).end("failed", 10);
    let units = lines(&sink);
    assert_eq!(units.len(), 2);
    assert_eq!((&units[0]["type"], &units[0]["store"]), (&"begin".into(), &serde_json::Value::Null));
    assert_eq!((units[1]["exit"].as_u64(), &units[1]["status"]), (Some(10), &"failed".into()));
}

#[test]
fn without_json_only_data_is_written() {
    let sink = Shared::default();
    let out = output(&sink, false);
    out.begin(None, &serde_json::json!({})).unwrap();
    out.unit("x", &serde_json::json!({})).unwrap();
    out.write(b"\xff").unwrap();
    out.line("a").unwrap();
    out.end("complete", 0);
    assert_eq!(*sink.bytes.borrow(), b"\xffa\n");
}

#[test]
fn a_lost_output_is_remembered_and_nothing_follows() {
    let sink = Shared { fails_after: Some(4), ..Shared::default() };
    let out = output(&sink, false);
    out.write(b"abc").unwrap();
    assert!(out.write(b"def").is_err());
    assert!(out.write(b"g").is_err(), "no data after a gap");
    out.end("complete", 0);
    assert_eq!(out.lost(), Some(io::ErrorKind::BrokenPipe));
    assert_eq!(*sink.bytes.borrow(), b"abc");
}

#[test]
fn lines_become_units_however_they_are_written() {
    for size in 1..8 {
        let mut seen = Vec::new();
        let mut lines = Lines::new(|line: &[u8]| {
            seen.push(String::from_utf8(line.to_vec()).unwrap());
            Ok(())
        });
        for part in b"one\n\nthree\nfour".chunks(size) {
            lines.write_all(part).unwrap();
        }
        lines.finish().unwrap();
        assert_eq!(seen, ["one", "", "three", "four"]);
    }
}

/// A line of a restore was held until it was whole: a bundle with an attachment of 300 MB took as much memory once more.
#[test]
fn a_long_unit_is_passed_on_as_it_is_written_and_what_is_told_meanwhile_follows_it() {
    for size in 1..8 {
        let sink = Shared::default();
        let out = output(&sink, true);
        let run = RefCell::new("\"r1\"".to_owned());
        let mut units = LongUnits::new(&out, "bundle", &run);
        for part in b"{\"a\":\"bcdef\"}\n".chunks(size) {
            units.write_all(part).unwrap();
            out.unit("error", &serde_json::json!({})).unwrap();
        }
        *run.borrow_mut() = "\"r2\"".to_owned();
        units.write_all(b"{}\n").unwrap();
        out.end("complete", 0);
        let units = lines(&sink);
        let kinds: Vec<_> = units.iter().map(|unit| unit["type"].as_str().unwrap()).collect();
        let errors = 14usize.div_ceil(size);
        assert_eq!(kinds.iter().filter(|kind| **kind == "error").count(), errors);
        assert_eq!((kinds[1], kinds[2 + errors]), ("bundle", "bundle"));
        assert_eq!((&units[1]["run"], &units[1]["bundle"]["a"]), (&"r1".into(), &"bcdef".into()));
        assert_eq!(units[2 + errors]["run"], "r2");
        assert!(units.iter().zip(0u64..).all(|(unit, seq)| unit["seq"] == seq));
    }
}

#[test]
fn a_stream_that_breaks_off_inside_of_a_unit_has_no_end() {
    let sink = Shared::default();
    let out = output(&sink, true);
    let run = RefCell::new("null".to_owned());
    LongUnits::new(&out, "bundle", &run).write_all(b"{\"a\":").unwrap();
    out.unit("error", &serde_json::json!({})).unwrap();
    out.end("failed", 4);
    let text = String::from_utf8(sink.bytes.borrow().clone()).unwrap();
    assert!(text.ends_with(",\"bundle\":{\"a\":"), "{text}");
}

#[test]
fn long_texts_are_clipped_at_a_character_border() {
    assert_eq!(clip("short"), ("short", false));
    let long = "é".repeat(DETAIL_MAX_BYTES);
    let (text, cut) = clip(&long[..long.len() - 2]);
    assert!(cut && text.len() <= DETAIL_MAX_BYTES);
}

/// A text of control characters was cut by its own length, and six times as long in its unit.
#[test]
fn a_unit_with_the_worst_of_details_fits_into_a_line() {
    for character in ["\u{1}", "\"", "\\", "\n", "é", "\u{10ffff}"] {
        let long = character.repeat(DETAIL_MAX_BYTES);
        let (text, cut) = clip(&long);
        let encoded = serde_json::to_string(text).unwrap();
        assert!(cut && encoded.len() <= DETAIL_MAX_BYTES + 2, "{character:?}: {}", encoded.len());
    }
}

#[test]
fn the_last_unit_has_fields_of_the_command() {
    let sink = Shared::default();
    let out = output(&sink, true);
    out.ending(&serde_json::json!({"known_bad": 1})).unwrap();
    out.ending(&serde_json::json!({"known_bad": 2, "cursor": null})).unwrap();
    out.end("complete", 1);
    assert_eq!(lines(&sink)[1]["known_bad"], 2);
    let sink = Shared::default();
    let out = output(&sink, true);
    out.ending(&serde_json::json!({})).unwrap();
    out.end("complete", 0);
    assert_eq!(lines(&sink)[1]["exit"], 0);
}
