use super::*;
use crate::vfs::publish;

fn write(mem: &Mem, path: &str, bytes: &[u8]) -> Box<dyn File> {
    let mut file = mem.create_new(path).unwrap();
    file.append(bytes).unwrap();
    file
}

#[test]
fn a_crash_keeps_synced_bytes_under_synced_names_only() {
    let mem = Mem::new();
    let mut file = write(&mem, "a", b"durable");
    file.sync().unwrap();
    // The bytes are on disk, but nothing leads to them.
    assert_eq!(mem.crash().paths(), [""; 0]);
    mem.sync_dir("").unwrap();
    file.append(b" and not").unwrap();
    assert_eq!(mem.crash().bytes("a").unwrap(), b"durable");
    assert_eq!(mem.snapshot_all().bytes("a").unwrap(), b"durable and not");
    let unsynced = write(&mem, "b", b"x");
    mem.sync_dir("").unwrap();
    assert_eq!(mem.crash().bytes("b").unwrap(), b"");
    drop(unsynced);
}

#[test]
fn what_another_has_appended_can_be_made_durable() {
    let mem = Mem::new();
    let file = write(&mem, "a", b"left by another");
    mem.sync_dir("").unwrap();
    drop(file);
    assert_eq!(mem.crash().bytes("a").unwrap(), b"");
    mem.sync_file("a").unwrap();
    assert_eq!(mem.crash().bytes("a").unwrap(), b"left by another");
}

#[test]
fn removals_and_renames_are_undone_until_their_directory_is_synced() {
    let mem = Mem::new();
    mem.create_dir("d").unwrap();
    for name in ["d/a", "d/b", "d/c"] {
        write(&mem, name, name.as_bytes()).sync().unwrap();
    }
    mem.sync_dir("d").unwrap();
    assert_eq!(mem.crash().paths(), [""; 0], "the directory itself was not durable");
    mem.sync_dir("").unwrap();
    mem.rename("d/a", "d/b").unwrap();
    mem.remove("d/c").unwrap();
    let before = mem.crash();
    assert_eq!(before.paths(), ["d/a", "d/b", "d/c"]);
    assert_eq!(before.bytes("d/b").unwrap(), b"d/b");
    mem.sync_dir("d").unwrap();
    let after = mem.crash();
    assert_eq!(after.paths(), ["d/b"]);
    assert_eq!(after.bytes("d/b").unwrap(), b"d/a");
}

#[test]
fn a_rename_between_directories_needs_both_synced() {
    let mem = Mem::new();
    mem.create_dir("q").unwrap();
    write(&mem, "a", b"1").sync().unwrap();
    mem.sync_dir("").unwrap();
    mem.rename("a", "q/a").unwrap();
    mem.sync_dir("q").unwrap();
    assert_eq!(mem.crash().paths(), ["a"]);
    mem.sync_dir("").unwrap();
    assert_eq!(mem.crash().paths(), ["q/a"]);
}

#[test]
fn later_bytes_may_arrive_without_earlier_ones() {
    let mem = Mem::new();
    let mut file = write(&mem, "a", b"1234");
    file.append(b"5678").unwrap();
    mem.sync_dir("").unwrap();
    assert_eq!(mem.pending(usize::MAX), [1, 2]);
    let fates = |first: Fate, second: Fate| {
        mem.crash_at(usize::MAX, |number, _| if number == 1 { first.clone() } else { second.clone() })
            .bytes("a")
            .unwrap()
    };
    assert_eq!(fates(Fate::Drop, Fate::Apply), b"\0\0\0\x005678");
    assert_eq!(fates(Fate::Apply, Fate::Bytes(b"56".to_vec())), b"123456");
    assert_eq!(fates(Fate::Bytes(b"12".to_vec()), Fate::Apply), b"12\0\x005678");
    assert_eq!(fates(Fate::Bytes(vec![0; 4]), Fate::Drop), b"\0\0\0\0");
}

#[test]
fn the_log_cut_after_each_operation_gives_the_state_a_killed_process_leaves() {
    let mem = Mem::new();
    let mut states = vec![Vec::new()];
    let look = |mem: &Mem| -> Vec<(String, Vec<u8>)> {
        mem.paths().into_iter().map(|path| (path.clone(), mem.bytes(&path).unwrap())).collect()
    };
    let mut file = mem.create_new("a").unwrap();
    states.push(look(&mem));
    file.append(b"one").unwrap();
    states.push(look(&mem));
    file.sync().unwrap();
    states.push(look(&mem));
    mem.mark("acknowledged");
    states.push(look(&mem));
    mem.rename("a", "b").unwrap();
    states.push(look(&mem));
    file.append(b"two").unwrap();
    states.push(look(&mem));
    mem.remove("b").unwrap();
    states.push(look(&mem));
    assert_eq!(mem.ops().len() + 1, states.len());
    for (count, state) in states.iter().enumerate() {
        assert_eq!(look(&mem.crash_at(count, |_, _| Fate::Apply)), *state, "after {count}");
    }
    assert_eq!(mem.ops()[3], Op { path: "acknowledged".into(), action: Action::Mark });
}

#[test]
fn a_crashed_file_system_works_and_crashes_again() {
    let mem = Mem::new();
    write(&mem, "a", b"1").sync().unwrap();
    mem.sync_dir("").unwrap();
    let _lock = mem.lock_exclusive("lock", "me").unwrap();
    let second = mem.crash();
    // The lock went with the process that held it.
    drop(second.lock_exclusive("lock", "you").unwrap());
    write(&second, "b", b"2").sync().unwrap();
    second.rename("a", "c").unwrap();
    assert_eq!(second.crash().paths(), ["a"]);
    second.sync_dir("").unwrap();
    assert_eq!(second.crash().paths(), ["b", "c", "lock"]);
    assert_eq!(mem.paths(), ["a", "lock"], "the first one is another file system");
}

#[test]
fn damage_done_by_a_test_is_durable_at_once() {
    let mem = Mem::new();
    for name in ["a", "b"] {
        write(&mem, name, b"good").sync().unwrap();
    }
    mem.sync_dir("").unwrap();
    let open = mem.open("a").unwrap().unwrap();
    assert!(mem.set_bytes("a", b"bad".to_vec()));
    assert!(mem.set_bytes("planted", b"new".to_vec()));
    assert!(mem.remove_raw("b"));
    assert!(!mem.remove_raw("b"));
    assert!(!mem.set_bytes("absent/a", Vec::new()));
    assert_eq!(open.len().unwrap(), 3);
    let after = mem.crash();
    assert_eq!(after.paths(), ["a", "planted"]);
    assert_eq!(after.bytes("a").unwrap(), b"bad");
}

/// Counts the images that a crash during `work` can leave and that are not `good`.
fn bad_images(start: &Mem, work: impl Fn(&Mem), good: impl Fn(&Mem) -> bool) -> usize {
    let mem = start.crash();
    work(&mem);
    let cuts = 0..=mem.ops().len();
    let images = cuts.flat_map(|count| {
        let (mem, pending) = (&mem, mem.pending(count));
        (0..1u32 << pending.len()).flat_map(move |choice| {
            let applied: Vec<usize> = (0u32..)
                .zip(&pending)
                .filter(|(bit, _)| choice & (1 << bit) != 0)
                .map(|(_, &number)| number)
                .collect();
            [false, true].map(|torn| {
                mem.crash_at(count, |number, op| {
                    if !applied.contains(&number) {
                        return Fate::Drop;
                    }
                    if let (true, Action::Append { bytes, .. }) = (torn, &op.action) {
                        return Fate::Bytes(bytes[..bytes.len() / 2].to_vec());
                    }
                    Fate::Apply
                })
            })
        })
    });
    images.filter(|image| !good(image)).count()
}

#[test]
fn publishing_leaves_the_old_file_or_the_new_one_at_every_crash() {
    let start = Mem::new();
    publish(&start, "", "tmp", "config", b"old!").unwrap();
    start.set_bytes("tmp", b"a leftover".to_vec());
    let whole = |image: &Mem| matches!(image.bytes("config").as_deref(), Some(b"old!" | b"new!"));
    let replace = |mem: &Mem| publish(mem, "", "tmp", "config", b"new!").unwrap();
    assert_eq!(bad_images(&start, replace, whole), 0);

    // The same without the sync must be caught, or this test proves nothing.
    let careless = |mem: &Mem| {
        mem.remove("tmp").unwrap();
        drop(write(mem, "tmp", b"new!"));
        mem.rename("tmp", "config").unwrap();
        mem.sync_dir("").unwrap();
    };
    assert!(bad_images(&start, careless, whole) > 0);
}
