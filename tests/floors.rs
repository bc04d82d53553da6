//! The house plan, held by a test: floors as folders, one home for each low-level crate, no file over 400 lines,
//! nothing half done. A crude scan of the text (comments, strings and test code blanked), which is enough: the
//! plan forbids more than it could miss, and the unit tests at the end show that it does find what it looks for.
//! The idea is that of `src/tidy.zig` in `tigerbeetle/tigerbeetle`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FLOORS: &[(&str, u8)] = &[
    ("error", 0),
    ("limits", 0),
    ("id", 0),
    ("progress", 0),
    ("seeded", 0),
    ("format", 1),
    ("vfs", 1),
    ("snapshot", 1),
    ("segment", 2),
    ("index", 2),
    ("store", 3),
    ("import", 4),
    ("restore", 4),
    ("cli", 5),
];

/// The ground floor has steps of its own: an error names ids, and progress can be told to stop with an error.
const STEPS: &[(&str, &str)] = &[("error", "id"), ("progress", "error")];

/// Narrower than the floors: who may not import what, although it is below.
const NEVER: &[(&str, &str)] =
    &[("store", "snapshot"), ("segment", "snapshot"), ("index", "snapshot"), ("index", "vfs")];

/// Low-level names and the files that may use them (prefixes of paths below `src/`).
const HOMES: &[(&str, &[&str])] = &[
    ("memmap2", &["vfs/"]),
    ("rustix", &["vfs/", "cli/context.rs"]),
    ("tempfile", &["vfs/"]),
    ("fs", &["vfs/"]), // `std::fs`, `std::os::unix::fs`
    ("byteorder", &["format/"]),
    ("crc32fast", &["format/"]),
    ("rmp", &["snapshot/"]),
    ("rmp_serde", &["format/hints.rs"]),
    ("zstd", &["segment/codec.rs", "segment/dictionary.rs", "vfs/tree/archive.rs"]),
    ("tar", &["vfs/tree/archive.rs"]),
    ("flate2", &["vfs/tree/archive.rs"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("comfy_table", &["cli/"]),
    ("anstream", &["cli/"]),
    ("signal_hook", &["cli/"]),
    ("tracing_subscriber", &["cli/"]),
    ("unsafe", &["vfs/map.rs"]),
];

// In halves, so that a search for unfinished marks finds none here.
const HALF_DONE: &[&str] =
    &[concat!("to", "do!"), concat!("un", "implemented!"), concat!("db", "g!"), concat!("#[", "ignore")];
const LINES_MAX: usize = 400;

#[test]
fn the_house_stands_as_planned() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        let paths = sources_below(&root.join(folder));
        assert!(folder != "src" || paths.len() > 50, "the scan finds the sources");
        let sources: Vec<(String, String)> = paths
            .iter()
            .map(|path| {
                let name = path.strip_prefix(root.join(folder)).unwrap();
                (name.to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
            })
            .collect();
        let for_tests: BTreeSet<String> =
            sources.iter().flat_map(|(name, text)| test_modules(name, text)).collect();
        for (name, text) in &sources {
            let is_test = folder != "src" || for_tests.iter().any(|prefix| name.starts_with(prefix.as_str()));
            faults.extend(judge(name, text, is_test).into_iter().map(|fault| format!("{folder}/{fault}")));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn sources_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What is wrong with one file; `name` is its path below `src/`.
fn judge(name: &str, text: &str, is_test: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let blank = blank(text);
    let lines = text.lines().count();
    if lines > LINES_MAX {
        faults.push(format!("{name}: {lines} lines, at most {LINES_MAX}"));
    }
    for word in HALF_DONE.iter().filter(|word| blank.contains(**word)) {
        faults.push(format!("{name}: holds {word}"));
    }
    if is_test || !name.contains('/') && ["lib.rs", "main.rs"].contains(&name) {
        return faults;
    }
    let code = without_tests(&blank);
    let own = name.split(['/', '.']).next().unwrap_or_default();
    let Some(floor) = floor(own) else { return vec![format!("{name}: module {own} has no floor")] };
    for target in imports(name, &code) {
        let allowed = match self::floor(&target) {
            _ if target == own => true,
            Some(below) => {
                let pair = (own, target.as_str());
                STEPS.contains(&pair) || below < floor && !NEVER.contains(&pair)
            }
            None => false,
        };
        if !allowed {
            faults.push(format!("{name}: {own} imports {target}"));
        }
    }
    for (word, homes) in HOMES {
        let at_home = homes.iter().any(|home| name.starts_with(home));
        if !at_home && uses(&code, word) {
            faults.push(format!("{name}: {word} has its home in {}", homes.join(", ")));
        }
    }
    faults
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The names that follow `crate::`, or as many `super::` as lead there. Of a group, each.
fn imports(name: &str, code: &str) -> BTreeSet<String> {
    let depth = name.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if !code[..at].ends_with(is_word) {
            found.extend(heads(&code[at + "crate::".len()..]));
        }
    }
    let up = "super::".repeat(depth);
    for (at, _) in code.match_indices(&up) {
        found.extend(heads(&code[at + up.len()..]).into_iter().filter(|head| head != "super"));
    }
    found
}

/// First names of a path or of each path of a group.
fn heads(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        let end = path.find(|c| !is_word(c)).unwrap_or(path.len());
        return vec![path[..end].to_owned()];
    };
    let (mut found, mut open, mut fresh) = (Vec::new(), 1, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open == 1 => fresh = true,
            _ if fresh && is_word(c) => {
                found.extend(heads(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    found
}

/// Tells whether code names a crate, a module in a path or group, or a keyword.
fn uses(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        if before.ends_with(is_word) || after.starts_with(is_word) {
            return false;
        }
        match word {
            "unsafe" => true,
            "fs" => {
                let path = before.trim_end().trim_end_matches(|c| is_word(c) || ", {".contains(c));
                path.ends_with("std::") || path.ends_with("std::os::unix::")
            }
            _ => (after.starts_with("::") && !before.ends_with("::")) || before.ends_with("use "),
        }
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Prefixes of the files that `#[cfg(test)] mod name;` in this file brings in.
fn test_modules(name: &str, text: &str) -> Vec<String> {
    let folder = name.trim_end_matches(".rs").trim_end_matches("mod").trim_end_matches('/');
    let folder = if ["lib", "main"].contains(&folder) { "" } else { folder };
    let mut found = Vec::new();
    for (at, _) in text.match_indices("#[cfg(test)]") {
        let item: Vec<&str> =
            text[at..].lines().skip(1).skip_while(|line| line.starts_with("#[")).take(1).collect();
        let attributes: Vec<&str> =
            text[at..].lines().skip(1).take_while(|line| line.starts_with("#[")).collect();
        let Some(module) = item.first().and_then(|line| line.trim().strip_prefix("mod ")?.strip_suffix(';'))
        else {
            continue;
        };
        let path = attributes.iter().find_map(|line| line.strip_prefix("#[path = \"")?.strip_suffix("\"]"));
        let parent = Path::new(name).parent().and_then(Path::to_str).unwrap_or_default();
        found.push(match path {
            Some(path) => format!("{parent}/{path}"),
            None => format!("{folder}/{module}.rs"),
        });
        if path.is_none() {
            found.push(format!("{folder}/{module}/"));
        }
    }
    found.iter().map(|path| path.trim_start_matches('/').to_owned()).collect()
}

/// Cuts out the items under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let (mut kept, mut rest) = (String::new(), code);
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let mut open = 0;
        let end = item.char_indices().find(|(_, c)| {
            open += i32::from(*c == '{') - i32::from(*c == '}');
            open == 0 && [';', '}'].contains(c)
        });
        rest = end.map_or("", |(end, _)| &item[end + 1..]);
    }
    kept + rest
}

/// Blanks comments, strings and characters.
fn blank(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let word_before = out.ends_with(is_word);
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(len) = raw_string(rest).filter(|_| !word_before || out.ends_with('b')) {
            len
        } else if c == '"' {
            1 + escaped(&rest[1..], '"')
        } else if c == '\'' && is_char(rest) {
            1 + escaped(&rest[1..], '\'')
        } else {
            0
        };
        out.push(if skip == 0 { c } else { ' ' });
        rest = &rest[if skip == 0 { c.len_utf8() } else { skip }..];
    }
    out
}

fn raw_string(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('r')?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    inner[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let body = hashes + 2;
    Some(text[body..].find(&end).map_or(text.len(), |at| body + at + end.len()))
}

/// A character, not a lifetime.
fn is_char(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

fn escaped(text: &str, end: char) -> usize {
    let mut slash = false;
    for (at, c) in text.char_indices() {
        if c == end && !slash {
            return at + 1;
        }
        slash = c == '\\' && !slash;
    }
    text.len()
}

fn faults(name: &str, text: &str) -> String {
    judge(name, text, false).join("; ")
}

#[test]
fn an_upward_or_sideways_import_is_a_fault() {
    assert_eq!(faults("format/a.rs", "use crate::store::Store;"), "format/a.rs: format imports store");
    assert_eq!(
        faults("format/a.rs", "use crate::{id::Key, vfs::{A, B}};"),
        "format/a.rs: format imports vfs"
    );
    assert_eq!(faults("format/a.rs", "use super::super::vfs::A;"), "format/a.rs: format imports vfs");
    assert_eq!(faults("format/mod.rs", "use super::vfs::A;"), "format/mod.rs: format imports vfs");
    assert_eq!(
        faults("format/a/b.rs", "fn f() { super::super::super::vfs::a() }"),
        "format/a/b.rs: format imports vfs"
    );
    assert_eq!(
        faults("import/a.rs", "fn f(v: &crate::restore::A) {}"),
        "import/a.rs: import imports restore"
    );
    assert_eq!(faults("store/a.rs", "use crate::snapshot::A;"), "store/a.rs: store imports snapshot");
    assert_eq!(faults("index/a.rs", "use crate::vfs::A;"), "index/a.rs: index imports vfs");
    assert_eq!(faults("id.rs", "use crate::error::A;"), "id.rs: id imports error");
    assert_eq!(faults("vfs/a.rs", "use crate::Store;"), "vfs/a.rs: vfs imports Store");
    assert_eq!(faults("other.rs", ""), "other.rs: module other has no floor");
}

#[test]
fn imports_downward_and_from_siblings_are_fine() {
    for (name, text) in [
        ("format/a.rs", "use super::b; use crate::format::c; use crate::{error::{A, B}, id};"),
        ("format/mod.rs", "use self::a::b; // use crate::store"),
        (
            "format/a/b.rs",
            "use super::super::c; fn f<'a>(x: &'a str) { \"crate::store\"; '\"'; r#\"crate::cli\"#; }",
        ),
        (
            "vfs/a.rs",
            "use std::fs::File;\n#[cfg(test)]\nmod tests { use crate::store::A; fn f() { {} } }\nuse crate::id;",
        ),
    ] {
        assert_eq!(faults(name, text), "");
    }
}

#[test]
fn a_low_level_crate_outside_its_home_is_a_fault() {
    for (word, text) in [
        ("memmap2", "use memmap2::Mmap;"),
        ("fs", "use std::{fs, io};"),
        ("fs", "fn f() { std::fs::read(p); }"),
        ("fs", "use std::os::unix::fs::symlink;"),
        ("fs", "use std::{io, fs::File};"),
        ("rmp", "use rmp::encode;"),
        ("zstd", "use zstd;"),
        ("clap", "#[derive(clap::Parser)] struct A;"),
        ("unsafe", "fn f() { unsafe { g() } }"),
    ] {
        assert!(faults("store/a.rs", text).contains(&format!("{word} has its home")), "{text}");
    }
    assert_eq!(
        faults(
            "store/a.rs",
            "use super::zstd_like; use rustfs::fs; // unsafe\n#[expect(unsafe_code)] fn f() {}"
        ),
        ""
    );
}

#[test]
fn half_done_work_and_long_files_are_faults_in_tests_too() {
    for word in HALF_DONE {
        assert_eq!(judge("a.rs", &format!("fn f() {{ {word} }}"), true).len(), 1, "{word}");
        assert_eq!(
            judge("a.rs", &format!("// {word}\nconst A: &str = \"{word}\";"), true).len(),
            0,
            "{word}"
        );
    }
    assert_eq!(judge("a.rs", &"\n".repeat(LINES_MAX + 1), true).len(), 1);
    assert_eq!(judge("a.rs", &"\n".repeat(LINES_MAX), true).len(), 0);
}

#[test]
fn test_modules_are_found_with_their_files() {
    assert_eq!(test_modules("a/mod.rs", "#[cfg(test)]\nmod fake;"), ["a/fake.rs", "a/fake/"]);
    assert_eq!(
        test_modules("a/b.rs", "#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;"),
        ["a/b_tests.rs"]
    );
    assert_eq!(test_modules("a/b.rs", "#[cfg(test)]\nmod tests {}"), [""; 0]);
}
