//! The workload of all benchmarks: snapshots of STIX objects, the same bytes in every run.
//!
//! 400 files a run directory, a mean of 1.2 kB a file; 5 % of the ids have 2 to 5 snapshots. Descriptions are
//! words of an invented vocabulary, drawn with a bias to the common ones, so that they compress about
//! as prose does. What real data gives is measured in `benches/compress.rs`.

use std::collections::HashSet;
use std::fmt::Write as _;

use stix_store::Instant;
use stix_store::snapshot::codec::Meta;
use stix_store::snapshot::{bundle, run};

/// Files of a run directory.
pub(crate) const FILES_PER_RUN: usize = 400;
/// The first run: 2024-01-01T00:00:00Z; each later one is an hour later.
const FIRST_RUN: &str = "20240101T000000Z";
const SEED: u64 = 1;
const WORDS: u64 = 3000;
const TYPES: [&str; 8] = [
    "relationship",
    "relationship",
    "relationship",
    "indicator",
    "malware",
    "attack-pattern",
    "report",
    "x-acme-note",
];

/// `SplitMix64`: small, and good enough to choose words.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, usize::try_from(self.below(end as u64 + 1)).unwrap());
        }
    }
}

/// One snapshot: which object, in which run.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Item {
    pub(crate) object: u64,
    pub(crate) run: usize,
}

/// All snapshots of a workload, run by run, by name in each.
pub(crate) struct Workload {
    pub(crate) items: Vec<Item>,
    vocabulary: Vec<String>,
}

impl Workload {
    pub(crate) fn new(count: usize) -> Workload {
        let mut random = Random::new(SEED);
        let vocabulary = (0..WORDS).map(|_| word(&mut random)).collect();
        let mut objects = Vec::with_capacity(count + 4);
        let mut next = 0u64;
        while objects.len() < count {
            let versions = if random.below(100) < 5 { 2 + random.below(4) } else { 1 };
            (0..versions).for_each(|_| objects.push(next));
            next += 1;
        }
        objects.truncate(count);
        random.shuffle(&mut objects);
        let mut items = Vec::with_capacity(count);
        for (run, objects) in objects.chunks(FILES_PER_RUN).enumerate() {
            let mut names = HashSet::new();
            for object in objects {
                // Two snapshots of an object need two runs; an object of its own takes the place.
                let object = if names.insert(*object) { *object } else { next };
                next += u64::from(object == next);
                items.push(Item { object, run });
            }
        }
        let mut workload = Workload { items, vocabulary };
        let mut items = std::mem::take(&mut workload.items);
        items.sort_by_cached_key(|item| (item.run, id(item.object)));
        workload.items = items;
        workload
    }

    /// The bytes of a snapshot's file.
    pub(crate) fn file(&self, item: &Item) -> Vec<u8> {
        let mut random = Random::new(item.object.wrapping_mul(0x1_0000).wrapping_add(item.run as u64));
        let id = id(item.object);
        let (kind, _) = id.split_once("--").unwrap();
        let at = timestamp(&mut random);
        let mut out = String::with_capacity(2048);
        write!(
            out,
            "{{\"id\": \"bundle--{}\", \"spec_version\": \"2.1\", \"type\": \"bundle\", ",
            uuid(&mut random)
        )
        .unwrap();
        write!(out, "\"objects\": [{{\"id\": \"{id}\", \"spec_version\": \"2.1\", \"type\": \"{kind}\", ")
            .unwrap();
        write!(
            out,
            "\"created\": \"{at}\", \"modified\": \"{}\", \"revoked\": false, ",
            timestamp(&mut random)
        )
        .unwrap();
        let other = |random: &mut Random| self::id(random.below(self.items.len() as u64));
        write!(out, "\"created_by_ref\": \"identity--{}\", ", uuid(&mut Random::new(item.object % 20)))
            .unwrap();
        if kind == "relationship" {
            let (source, target) = (other(&mut random), other(&mut random));
            write!(out, "\"relationship_type\": \"uses\", \"source_ref\": \"{source}\", \"target_ref\": \"{target}\", ")
                .unwrap();
        } else {
            write!(out, "\"name\": \"{} {}\", ", self.word(&mut random), self.word(&mut random)).unwrap();
        }
        out.push_str(
            "\"object_marking_refs\": [\"marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9\"], ",
        );
        out.push_str("\"description\": \"");
        // The smaller of two draws: many short texts, a few long ones.
        let words = random.below(220).min(random.below(220)) + 8;
        for _ in 0..words {
            out.push_str(self.word(&mut random));
            out.push(' ');
        }
        write!(out, "\", \"x_opencti_score\": {}}}]}}", random.below(100)).unwrap();
        out.into_bytes()
    }

    /// Most words drawn are common ones.
    fn word(&self, random: &mut Random) -> &str {
        let (one, other, third) = (random.below(WORDS), random.below(WORDS), random.below(WORDS));
        &self.vocabulary[usize::try_from(one.min(other).min(third)).unwrap()]
    }
}

/// The id of an object: a canonical name. One type in eight is none that the format knows.
pub(crate) fn id(object: u64) -> String {
    let mut random = Random::new(object ^ 0x5bd1_e995_0000_0000);
    let kind = TYPES[usize::try_from(random.below(8)).unwrap()];
    format!("{kind}--{}", uuid(&mut random))
}

/// The instant of a run.
pub(crate) fn instant(run: usize) -> Instant {
    let first = run::parse(FIRST_RUN).unwrap();
    Instant(first.0 + run as u64 * 3600)
}

/// What import would note beside a file, and where its object lies.
pub(crate) fn meta(file: &[u8], name: &[u8]) -> (Vec<u8>, std::ops::Range<u32>) {
    let parsed = bundle::parse(file).unwrap();
    let object = parsed.objects[0].range.clone();
    (Meta::of(&parsed, name, Some((1_704_067_200, 0))).encode(), object)
}

fn uuid(random: &mut Random) -> String {
    let (high, low) = (random.next(), random.next());
    let (first, second, third) = (high >> 32, (high >> 16) & 0xffff, high & 0x0fff);
    let (fourth, fifth) = ((low >> 48) & 0x3fff, low & 0xffff_ffff_ffff);
    format!("{first:08x}-{second:04x}-4{third:03x}-{:04x}-{fifth:012x}", fourth | 0x8000)
}

fn timestamp(random: &mut Random) -> String {
    let (day, second, milli) = (random.below(28) + 1, random.below(86400), random.below(1000));
    let (month, year) = (random.below(12) + 1, 2018 + random.below(6));
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{milli:03}Z")
}

fn word(random: &mut Random) -> String {
    const SYLLABLES: [&str; 24] = [
        "an", "ba", "co", "de", "er", "fo", "ga", "hi", "in", "ka", "lo", "me", "no", "or", "pe", "ra", "se",
        "ti", "un", "ve", "wi", "xa", "yo", "ze",
    ];
    (0..=random.below(4)).map(|_| SYLLABLES[usize::try_from(random.below(24)).unwrap()]).collect()
}
