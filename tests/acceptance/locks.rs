//! Many who want the one lock, and readers beside a writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use stix_store::vfs::Vfs;
use stix_store::vfs::disk::Disk;
use stix_store::vfs::mem::Mem;
use stix_store::{Compression, CreateOptions, Store, WriterOptions};

use crate::expected::Expected;
use crate::session::{Session, body, options};

#[test]
fn of_forty_threads_that_want_to_write_never_two_do_and_all_get_their_turn() {
    // [69]
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    Store::create(&path, &CreateOptions::default()).unwrap();
    let (inside, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let options =
                    WriterOptions { lock_wait: Duration::from_secs(120), ..WriterOptions::default() };
                let writer = Store::open(&path).unwrap().writer(&options).unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                std::thread::sleep(Duration::from_millis(1));
                inside.fetch_sub(1, Ordering::SeqCst);
                turns.fetch_add(1, Ordering::SeqCst);
                drop(writer);
            });
        }
    });
    assert_eq!(turns.into_inner(), 40);
}

#[test]
fn twenty_who_read_all_of_it_see_whole_states_while_one_writes_and_compacts() {
    // R19: each sees a state that was committed, and none that is older than one it has seen.
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Vfs> = Arc::new(Disk::new(directory.path().join("store")));
    let mut session = Session::new(&Mem::new(), disk.clone());
    session.create(&options(4096, Compression::Zstd)).unwrap();
    session.put(0, 1, &body(0, 300)).unwrap();
    session.commit().unwrap();
    let states: Mutex<Vec<Expected>> = Mutex::new(session.states.clone());
    let (done, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let read = || {
            let mut newest = 0;
            while !done.load(Ordering::Acquire) {
                let view = Store::open_read_only_on(disk.clone().as_read()).unwrap().view();
                let commit = usize::try_from(view.commit().0).unwrap();
                assert!(commit >= newest, "{commit} after {newest}");
                newest = commit;
                let found = Expected::of(&view).unwrap();
                // What is committed may be read before the writer has come to write it down here.
                while !done.load(Ordering::Acquire) && states.lock().len() <= commit {
                    std::thread::yield_now();
                }
                if let Some(state) = states.lock().get(commit) {
                    assert!(found == *state, "commit {commit}");
                }
                reads.fetch_add(1, Ordering::Relaxed);
            }
        };
        for _ in 0..20 {
            scope.spawn(read);
        }
        let write = || {
            for round in 1..60u32 {
                for number in 0..5 {
                    session.put(number, 1, &body(round * 7 + number, 300)).unwrap();
                }
                session.commit().unwrap();
                states.lock().clone_from(&session.states);
                if round % 6 == 0 {
                    session.compact(10).unwrap();
                    states.lock().clone_from(&session.states);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(write));
        done.store(true, Ordering::Release);
        written.unwrap();
    });
    assert!(reads.into_inner() > 20);
}
