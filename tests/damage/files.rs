//! Files removed, files of another store or of another time put in, and files that do not belong.

use stix_store::StoreId;
use stix_store::vfs::Vfs;

use super::fixture::{Covered, Fixture, build, build_as};
use super::images::{Image, drive};

const ALL: [Covered; 3] = [Covered::All, Covered::Part, Covered::None];

#[test]
fn any_file_removed_is_named_and_costs_only_what_it_alone_held() {
    for covered in ALL {
        let fixture = build(covered);
        let paths = fixture.mem.paths();
        drive("files removed", paths.len(), |number| {
            Image::of(&fixture, format!("{} removed", paths[number])).without(&paths[number])
        });
    }
}

#[test]
fn all_that_can_be_rebuilt_removed_at_once_costs_nothing() {
    let kinds = ["index.", "hints.", "lock", "readers", "config"];
    for covered in ALL {
        let fixture = build(covered);
        // Each subset of the kinds.
        drive("caches removed", 1 << kinds.len(), |subset| {
            let mut image = Image::of(&fixture, format!("caches removed, subset {subset:b}"));
            for (bit, kind) in kinds.iter().enumerate().filter(|(bit, _)| subset >> bit & 1 == 1) {
                let _: usize = bit;
                for path in fixture.mem.paths().iter().filter(|path| path.starts_with(kind)) {
                    image = image.without(path);
                }
            }
            image
        });
    }
}

/// Paths and contents of files that no store writes, or not there.
fn strays(fixture: &Fixture) -> Vec<(String, Vec<u8>)> {
    let text = || b"not yours\n".to_vec();
    let names = [
        "notes.txt",
        ".hidden",
        "config.tmp",
        "index.tmp",
        "index.02",
        "index.+6",
        "index.",
        "index.x",
        "index.6.delta.tmp",
        "index.99999999999999999999",
        "index.-1",
        "index.1.DELTA",
        "hints.x",
        "hints.",
        "dict.",
        "dict.AB901A178315F8A365C9510494BE9ECC",
        "dict.0",
        "quarantine",
        "data.bak",
        "data/notes.txt",
        "data/1.seg",
        "data/0000000001.seg.bak",
        "data/0000000001.SEG",
        "data/00000000001.seg",
        "data/+000000001.seg",
        "data/9999999999.seg",
        "data/.0000000001.seg.swp",
        "data/0000000005.seg.tmp",
    ];
    let mut strays: Vec<(String, Vec<u8>)> = names.iter().map(|name| ((*name).to_owned(), text())).collect();
    // Rightly named, wrong inside.
    for name in ["index.99", "index.99.delta", "index.0", "index.1", "index.18446744073709551615", "hints.99"]
    {
        strays.push((name.to_owned(), text()));
        strays.push((name.to_owned(), Vec::new()));
    }
    for name in ["data/0000000000.seg", "data/0000000009.seg", "data/4294967295.seg"] {
        strays.push((name.to_owned(), text()));
        strays.push((name.to_owned(), Vec::new()));
        strays.push((name.to_owned(), vec![0; 4096]));
    }
    strays.push(("dict.00000000000000000000000000000000".to_owned(), text()));
    // Their own content under another name.
    for path in fixture.segments() {
        for name in ["data/0000000000.seg", "data/0000000009.seg", "data/4294967294.seg"] {
            strays.push((name.to_owned(), fixture.file(&path).to_vec()));
        }
    }
    for path in fixture.mem.paths().into_iter().filter(|path| path.starts_with("index.")) {
        for name in ["index.1", "index.99", "index.3.delta", "index.99.delta"] {
            strays.push((name.to_owned(), fixture.file(&path).to_vec()));
        }
    }
    strays
}

#[test]
fn stray_files_are_mentioned_and_change_no_answer() {
    for covered in ALL {
        let fixture = build(covered);
        let strays = strays(&fixture);
        drive("stray files", strays.len(), |number| {
            let (path, bytes) = &strays[number];
            Image::of(&fixture, format!("stray {path} of {} bytes", bytes.len()))
                .and_file(path, bytes.clone())
        });
    }
}

#[test]
fn stray_directories_are_mentioned_and_change_no_answer() {
    let names =
        ["old", "index.99", "index.99.delta", "hints.99", "data/sub", "data/0000000009.seg", "config.tmp"];
    for covered in ALL {
        let fixture = build(covered);
        drive("stray directories", names.len(), |number| {
            let mut image = Image::of(&fixture, format!("directory {}", names[number]));
            image.mem.create_dir(names[number]).unwrap();
            image.added.push(names[number].to_owned());
            image
        });
    }
}

#[test]
fn a_file_of_another_store_or_of_another_time_is_named_and_costs_what_it_replaced() {
    let other = StoreId([9; 16]);
    for covered in ALL {
        let (fixture, foreign) = (build(covered), build_as(covered, other));
        let paths: Vec<String> =
            fixture.mem.paths().into_iter().filter(|path| path != "lock" && path != "readers").collect();
        drive("foreign files", paths.len(), |number| {
            let path = &paths[number];
            let Some(bytes) = foreign.mem.bytes(path) else { return Image::of(&fixture, "same dictionary") };
            let image = Image::of(&fixture, format!("{path} of another store"));
            image.with(path, bytes, 0..u64::MAX)
        });
    }
    // The same store at another time: a base in the place of the delta, an old index beside a newer log.
    let (part, all) = (build(Covered::Part), build(Covered::All));
    let swaps = [("index.2", "index.4.delta"), ("index.4.delta", "index.2")];
    drive("indexes swapped", swaps.len(), |number| {
        let (to, from) = swaps[number];
        Image::of(&part, format!("{from} in the place of {to}")).with(
            to,
            part.file(from).to_vec(),
            0..u64::MAX,
        )
    });
    drive("older indexes", 2, |number| {
        let image = Image::of(&all, "the index of an earlier commit").without("index.6");
        let image = if number == 0 { image } else { image.without("hints.6") };
        for path in ["index.2", "index.4.delta", "hints.4"] {
            assert!(image.mem.set_bytes(path, part.file(path).to_vec()));
        }
        image
    });
}
