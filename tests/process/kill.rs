//! `kill -9` at random times. The seed is printed; `STORE_KILL_SEED` sets it, which brings the same times back, though not
//! the same race.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use stix_store::Compression;
use stix_store::vfs::disk::Disk;
use stix_store::vfs::mem::Mem;

use super::{Files, acknowledged, assert_has, files_of, tree_of_much, view, write_file};
use crate::common::{Dir, Entry, copy_tree, read_tree, sample, text};
use crate::crash::fates::Noise;
use crate::expected::Expected;
use crate::session::{Session, body, options};

/// How often each campaign kills: together more than 200 times.
const SMALL: usize = 90;
const SAMPLE: usize = 35;
const MUCH: usize = 15;
const COMPACT: usize = 80;
const REPAIR: usize = 40;

fn seed() -> u64 {
    let now = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() % 1_000_000;
    match std::env::var("STORE_KILL_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => now().try_into().unwrap(),
    }
}

/// Processes that are killed, one after the other, each somewhere within the time that one takes undisturbed.
struct Killer {
    dir: Dir,
    noise: Noise,
    takes: Duration,
    kills: usize,
    ends: usize,
}

impl Killer {
    #[expect(clippy::print_stdout, reason = "a failure is replayed with the seed")]
    fn new(what: &str) -> Killer {
        let seed = seed();
        println!("{what}: STORE_KILL_SEED={seed}");
        Killer { dir: Dir::new(), noise: Noise(seed), takes: Duration::from_millis(100), kills: 0, ends: 0 }
    }

    /// Runs a command and kills it at some time. Returns the exit code, if it came to its end before, and its output.
    fn run(&mut self, args: &[&str]) -> (Option<i32>, Vec<u8>) {
        let out = self.dir.path("out");
        let mut command = self.dir.command(args);
        let start = Instant::now();
        let mut child = command.stdout(File::create(&out).unwrap()).stderr(Stdio::null()).spawn().unwrap();
        let most = usize::try_from(self.takes.as_micros() * 5 / 4).unwrap();
        std::thread::sleep(Duration::from_micros(self.noise.below(most.max(1)).try_into().unwrap()));
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        let code = child.wait().unwrap().code();
        if code.is_some() {
            self.ends += 1;
            // By when it ended is known too well only if it was found ended.
            self.takes = ended.map_or(start.elapsed(), |_| self.takes.min(start.elapsed()));
        } else {
            self.kills += 1;
            // Never quick enough to come to an end: then it takes longer than was thought.
            if self.kills > 20 * (self.ends + 1) {
                self.takes *= 2;
            }
        }
        (code, fs::read(out).unwrap())
    }

    /// Whatever the kill left, a check finds nothing wrong with it.
    fn check(&self) {
        if view(&self.dir.store()).is_some() {
            let checked = self.dir.run(&["check"]);
            let told = String::from_utf8_lossy(&checked.stdout);
            assert_eq!(checked.status.code(), Some(0), "after {} kills: {told}", self.kills);
        }
    }

    #[expect(clippy::print_stdout, reason = "the number of kills is part of what the test shows")]
    fn conclude(&self, what: &str, seconds: f32) {
        println!("{what}: {} kills, {} came to their end, {seconds:.1} s", self.kills, self.ends);
    }
}

/// Kills imports of trees, one tree after the other, until that many were killed.
fn campaign(what: &str, mut killer: Killer, sources: &[PathBuf], kills: usize, good: i32) {
    let start = Instant::now();
    let args: Vec<[&str; 3]> = sources.iter().map(|source| ["--json", "import", text(source)]).collect();
    let time = Instant::now();
    killer.dir.expect(good, &args[0]);
    killer.takes = time.elapsed();
    fs::remove_dir_all(killer.dir.store()).unwrap();
    // What an import was about to acknowledge may have been committed, all the same.
    let all: Vec<Files> = sources.iter().map(|source| files_of(source)).collect();
    let (mut at, mut acked) = (0, Files::new());
    while killer.kills < kills || at > 0 {
        let (code, out) = killer.run(&args[at]);
        acked.extend(acknowledged(&out, &sources[at]));
        assert_has(&killer.dir.store(), &acked, &all[at]);
        killer.check();
        let Some(code) = code else { continue };
        assert_eq!(code, good, "{}", String::from_utf8_lossy(&out));
        at += 1;
        if at == sources.len() {
            killer.dir.expect(0, &["check", "--level", "content"]);
            fs::remove_dir_all(killer.dir.store()).unwrap();
            (at, acked) = (0, Files::new());
        }
    }
    killer.conclude(what, start.elapsed().as_secs_f32());
}

#[test]
fn killed_imports_of_small_trees_keep_what_they_acknowledged() {
    let killer = Killer::new("small trees");
    let sources: Vec<PathBuf> = (0..4)
        .map(|step| {
            let source = killer.dir.path(&format!("source{step}"));
            for number in 0..40 {
                // The second tree overwrites part of the first.
                let run = format!("2024010{}T000000Z", step / 2 + 1);
                let first = if step % 2 == 0 { 0 } else { 20 };
                write_file(&source, &run, first + number, 900, &mut Noise(step * 100 + number));
            }
            source
        })
        .collect();
    campaign("small trees", killer, &sources, SMALL, 0);
}

#[test]
fn killed_imports_of_the_sample_keep_what_they_acknowledged() {
    campaign("the sample", Killer::new("the sample"), &[sample()], SAMPLE, 3);
}

#[test]
fn killed_imports_of_several_transactions_keep_what_they_acknowledged() {
    let killer = Killer::new("several transactions");
    let source = killer.dir.path("source");
    tree_of_much(&source);
    campaign("several transactions", killer, &[source], MUCH, 0);
}

/// A store of many segments with garbage in most.
fn garbage(path: PathBuf) -> Expected {
    let mem = Mem::new();
    let mut session = Session::new(&mem, Arc::new(Disk::new(path)));
    session.create(&options(4096, Compression::Zstd)).unwrap();
    for round in 0..40u32 {
        for number in 0..10 {
            // Some are overwritten again and again, some never.
            let name = if number < 6 { number + round % 3 * 6 } else { 1000 + round * 10 + number };
            session.put(name, u64::from(round % 2), &body(round * 100 + number, 400)).unwrap();
        }
        if round % 5 == 4 {
            session.delete(1000 + round * 10 + 7, u64::from(round % 2)).unwrap();
        }
        session.commit().unwrap();
    }
    session.close().unwrap();
    session.committed().clone()
}

#[test]
fn killed_compactions_change_nothing_that_can_be_read() {
    let mut killer = Killer::new("compactions");
    let (start, template, store) = (Instant::now(), killer.dir.path("template"), killer.dir.store());
    let expect = garbage(template.clone());
    let source = killer.dir.path("source");
    let more = write_file(&source, "20240101T000000Z", 1, 100, &mut Noise(1));
    copy_tree(&template, &store);
    while killer.kills < COMPACT {
        let (code, out) = killer.run(&["--json", "compact", "--threshold", "1"]);
        let found = Expected::of(&view(&store).unwrap()).unwrap();
        assert!(found == expect, "other content after {} kills", killer.kills);
        killer.check();
        let Some(code) = code else { continue };
        assert_eq!(code, 0, "{}", String::from_utf8_lossy(&out));
        let acked = acknowledged(&killer.dir.expect(0, &["--json", "import", text(&source)]), &source);
        assert!(acked.contains_key(&more));
        assert_has(&store, &acked, &Files::new());
        fs::remove_dir_all(&store).unwrap();
        copy_tree(&template, &store);
    }
    killer.conclude("compactions", start.elapsed().as_secs_f32());
}

/// Flips a bit in the middle of every third segment. Returns their names and what they hold now.
fn damage(store: &Path) -> Vec<(String, Vec<u8>)> {
    let segments = read_tree(&store.join("data"));
    let files = segments.into_iter().filter(|(_, entry)| !entry.is_dir && entry.bytes.len() > 2000);
    let damaged = files.step_by(3).map(|(path, entry)| {
        let mut bytes = entry.bytes;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(store.join("data").join(&path), &bytes).unwrap();
        (path.to_str().unwrap().to_owned(), bytes)
    });
    damaged.collect()
}

#[test]
fn killed_repairs_end_as_an_undisturbed_one_and_keep_the_evidence() {
    let mut killer = Killer::new("repairs");
    let (start, template, store) = (Instant::now(), killer.dir.path("template"), killer.dir.store());
    garbage(template.clone());
    let damaged = damage(&template);
    assert!(damaged.len() > 3, "{} damaged segments", damaged.len());
    copy_tree(&template, &store);
    let time = Instant::now();
    killer.dir.expect(1, &["repair"]);
    killer.takes = time.elapsed();
    let expect = Expected::of(&view(&store).unwrap()).unwrap();
    while killer.kills < REPAIR {
        fs::remove_dir_all(&store).unwrap();
        copy_tree(&template, &store);
        let code = loop {
            if let (Some(code), _) = killer.run(&["repair"]) {
                break code;
            }
            let checked = killer.dir.run(&["check"]).status.code();
            assert!(matches!(checked, Some(0 | 1)), "check after {} kills: {checked:?}", killer.kills);
        };
        // 0 if one that was killed had done all but the end.
        assert!(matches!(code, 0 | 1), "{code}");
        killer.dir.expect(0, &["check"]);
        let found = Expected::of(&view(&store).unwrap()).unwrap();
        assert!(found == expect, "other content after {} kills", killer.kills);
        let kept = read_tree(&store.join("quarantine"));
        for (name, bytes) in &damaged {
            let is_kept = |(path, entry): (&PathBuf, &Entry)| path.ends_with(name) && entry.bytes == *bytes;
            assert!(kept.iter().any(is_kept), "{name} is not in quarantine");
        }
    }
    killer.conclude("repairs", start.elapsed().as_secs_f32());
}
