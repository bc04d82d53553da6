//! A reader of intact stores, written from FORMAT.md alone: it shares no code with the program, and answers the same.
//! What it had to guess would be missing from the document.

use std::collections::{BTreeMap, HashMap};

use stix_store::format::types::WELL_KNOWN;
use stix_store::id::Instant;
use stix_store::vfs::ReadVfs;
use stix_store::{ObjectKey, RunKey};

use super::answers::{Answers, Found, describe};
use super::golden::{golden_in_memory, names};
use super::hex::{big_endian, digits};

/// Bytes of a record before its data.
const HEAD: usize = 45;

/// Object key and run: a record's tag, its data, the dictionary of its segment.
type Records = BTreeMap<([u8; 24], u64), (u8, Vec<u8>, Option<Vec<u8>>)>;

#[derive(Default)]
struct Reader {
    records: Records,
    commit: u64,
}

/// What a PUT says.
struct Put {
    kind: u8,
    name: String,
    payload: Vec<u8>,
}

fn crc(parts: &[&[u8]]) -> u32 {
    crc32fast::hash(&parts.concat())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().unwrap())
}

fn leb(rest: &mut &[u8]) -> usize {
    let len = rest.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let (number, after) = rest.split_at(len);
    *rest = after;
    number.iter().rev().fold(0, |value, byte| (value << 7) | usize::from(byte & 0x7f))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(len);
    *rest = after;
    taken
}

impl Reader {
    /// Reads the log.
    fn read(vfs: &dyn ReadVfs) -> Reader {
        let mut reader = Reader::default();
        let mut names: Vec<String> = vfs.list("data").unwrap().unwrap().into_iter().map(|e| e.name).collect();
        names.sort();
        for name in names {
            reader.segment(&vfs.read(&format!("data/{name}"), 1 << 30).unwrap().unwrap());
        }
        reader
    }

    fn segment(&mut self, segment: &[u8]) {
        assert_eq!((&segment[..8], segment[8], segment[9]), (&b"STIXSEG\n"[..], 1, 0));
        assert_eq!(u32_at(segment, 92), crc(&[&segment[..92]]));
        let ids = |dictionary: &[u8]| [&segment[16..32], &segment[12..16], dictionary].concat();
        let mut dictionary = None;
        let (mut at, mut open, mut heads) = (96, Vec::new(), Vec::new());
        while at < segment.len() {
            let record = &segment[at..at + u32_at(segment, at + 4) as usize];
            let (head, data) = record.split_at(HEAD);
            let tag = head[8];
            let ids = ids(if tag == 3 { &[0; 16] } else { &segment[72..88] });
            let offset = (at as u64).to_le_bytes();
            assert_eq!(u32_at(head, 0), crc(&[&ids, &offset, &head[4..]]));
            assert_eq!(u32_at(head, 41), crc(&[&ids, &offset, data]));
            match tag {
                0 | 1 => {
                    let run = big_endian(&head[33..]);
                    let key = (*head[9..].first_chunk::<24>().unwrap(), run);
                    open.push((key, (tag, data.to_vec(), dictionary.clone())));
                    heads.extend_from_slice(head);
                }
                2 => {
                    self.commit += 1;
                    assert_eq!(data[..8], self.commit.to_le_bytes());
                    assert_eq!((u32_at(data, 8) as usize, u32_at(data, 16)), (open.len(), crc(&[&heads])));
                    self.records.extend(open.drain(..));
                    heads.clear();
                }
                _ => {
                    let content = zstd::bulk::decompress(data, 1 << 20).unwrap();
                    assert_eq!(blake3::hash(&content).as_bytes()[..16], head[9..25]);
                    dictionary = Some(content);
                }
            }
            at += record.len();
        }
    }

    /// The PUT under a key, if that is not deleted.
    fn put(&self, key: &([u8; 24], u64)) -> Option<Put> {
        let (tag, data, dictionary) = self.records.get(key).filter(|(tag, ..)| *tag == 0)?;
        assert_eq!(*tag, 0);
        let mut rest = data.as_slice();
        let (code, flags) = (take(&mut rest, 1)[0], take(&mut rest, 1)[0]);
        leb(&mut rest);
        let name_len = if flags & 1 == 1 { Some(leb(&mut rest)) } else { None };
        let (meta_len, raw_len) = (leb(&mut rest), leb(&mut rest));
        assert!(leb(&mut rest) + leb(&mut rest) <= raw_len);
        let name = match name_len {
            Some(len) => String::from_utf8(take(&mut rest, len).to_vec()).unwrap(),
            None => implied_name(key),
        };
        take(&mut rest, meta_len);
        let payload = match code >> 4 {
            0 => rest.to_vec(),
            1 => zstd::bulk::decompress(rest, raw_len).unwrap(),
            _ => {
                let dictionary = dictionary.as_ref().unwrap();
                let mut with = zstd::bulk::Decompressor::with_dictionary(dictionary).unwrap();
                with.decompress(rest, raw_len).unwrap()
            }
        };
        assert_eq!(payload.len(), raw_len);
        Some(Put { kind: code & 15, name, payload })
    }

    fn found(&self, name: &str, run: u64) -> Option<Found> {
        let named = |name: &str| {
            let put = self.put(&(object_key(name), run))?;
            (put.name == name).then_some(put)
        };
        let mut put = named(name)?;
        if put.kind == 1 {
            put = named(std::str::from_utf8(&put.payload).unwrap())?;
        }
        (put.kind == 0).then_some((RunKey(run), put.name, put.payload))
    }
}

fn object_key(name: &str) -> [u8; 24] {
    let hash = |text: &str| *blake3::hash(text.as_bytes()).as_bytes();
    if let Some(cut) = name.len().checked_sub(36)
        && let Some(kind) = name.get(..cut).and_then(|kind| kind.strip_suffix("--"))
        && let Some(uuid) = uuid_bytes(&name[cut..]).filter(|_| !kind.is_empty())
    {
        return *[&uuid[..], &hash(kind)[..8]].concat().first_chunk().unwrap();
    }
    *hash(name).first_chunk().unwrap()
}

/// A UUID in lower-case hyphenated form.
fn uuid_bytes(text: &str) -> Option<Vec<u8>> {
    let hyphens = [8, 13, 18, 23];
    let fits = |(at, byte): (usize, u8)| match byte {
        b'-' => hyphens.contains(&at),
        b'0'..=b'9' | b'a'..=b'f' => !hyphens.contains(&at),
        _ => false,
    };
    let digits = text.replace('-', "");
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    text.bytes().enumerate().all(fits).then(|| (0..32).step_by(2).map(byte).collect::<Option<_>>())?
}

fn implied_name((object, run): &([u8; 24], u64)) -> String {
    if *object == [0; 24] {
        return Instant(run >> 16).canonical_name();
    }
    let hashes: HashMap<[u8; 8], &str> = WELL_KNOWN
        .iter()
        .map(|kind| (*blake3::hash(kind.as_bytes()).as_bytes().first_chunk().unwrap(), *kind))
        .collect();
    let uuid = digits(&object[..16]);
    let parts = [&uuid[..8], &uuid[8..12], &uuid[12..16], &uuid[16..20], &uuid[20..]];
    format!("{}--{}", hashes[object.last_chunk::<8>().unwrap()], parts.join("-"))
}

impl Answers for Reader {
    fn commit(&self) -> u64 {
        self.commit
    }

    fn runs(&self) -> Vec<(RunKey, String, u64, u64)> {
        let runs = self.records.keys().filter(|(object, _)| *object == [0; 24]);
        let row = |key: &([u8; 24], u64)| {
            let files = self.files(RunKey(key.1));
            let bytes: usize = files.iter().map(|(_, body)| body.len()).sum();
            Some((RunKey(key.1), self.put(key)?.name, files.len() as u64, bytes as u64))
        };
        runs.filter_map(row).collect()
    }

    fn files(&self, run: RunKey) -> Vec<(String, Vec<u8>)> {
        let puts = self.records.keys().filter(|(_, of)| *of == run.0).filter_map(|key| self.put(key));
        let mut files: Vec<_> = puts.filter(|put| put.kind == 0).map(|put| (put.name, put.payload)).collect();
        files.sort();
        files
    }

    fn get(&self, name: &str, run: RunKey) -> Option<Found> {
        self.found(name, run.0)
    }

    fn latest(&self, name: &str) -> Option<Found> {
        self.history(name).pop()
    }

    fn at_or_before(&self, name: &str, at: Instant) -> Option<Found> {
        self.history(name).into_iter().rfind(|(run, ..)| run.0 >> 16 <= at.0)
    }

    fn closest_after(&self, name: &str, at: Instant) -> Option<Found> {
        self.history(name).into_iter().find(|(run, ..)| run.0 >> 16 > at.0)
    }

    fn history(&self, name: &str) -> Vec<Found> {
        let key = object_key(name);
        let runs = self.records.keys().filter(|(object, _)| *object == key).map(|(_, run)| *run);
        runs.filter_map(|run| self.found(name, run)).collect()
    }
}

#[test]
fn a_reader_written_from_the_document_alone_answers_as_the_golden_store_must() {
    let expect = String::from_utf8(super::read(super::golden::EXPECT).unwrap()).unwrap();
    let actual = describe(&Reader::read(&golden_in_memory()), names());
    let (_, expect) = expect.split_at(expect.find("commit ").unwrap());
    assert!(expect == actual, "{actual}");
}

#[test]
fn the_reader_makes_the_same_keys_as_the_program() {
    for name in
        ["malware--00112233-4455-6677-8899-aabbccddeeff", "x", "", "--00112233-4455-6677-8899-aabbccddeeff"]
    {
        assert_eq!(object_key(name), ObjectKey::of(name.as_bytes()).0, "{name:?}");
    }
}
