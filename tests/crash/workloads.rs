//! What a program does with a store while it crashes: each workload shows one thing and is short, since every place in it
//! is visited.

use std::sync::Arc;

use stix_store::vfs::Vfs;
use stix_store::vfs::mem::Mem;
use stix_store::{Compression, CreateOptions, Result};

use super::mutants::{Forget, Forgetful};
use crate::session::{Session, body, options};

/// A named sequence of calls.
#[derive(Clone, Copy)]
pub(crate) struct Workload {
    /// Its name, as trails use it.
    pub(crate) name: &'static str,
    /// The calls.
    pub(crate) run: fn(&mut Session) -> Result<()>,
    /// Segment size, in bytes.
    pub(crate) segment_size: u64,
    /// How payloads are stored.
    pub(crate) compression: Compression,
    /// What the file system forgets to do, to show that the simulator would see a store that forgets it.
    pub(crate) forget: Option<Forget>,
}

impl Workload {
    /// The options it creates its store with.
    pub(crate) fn options(&self) -> CreateOptions {
        options(self.segment_size, self.compression)
    }

    /// The file system that it uses.
    pub(crate) fn vfs(&self, mem: &Mem) -> Arc<dyn Vfs> {
        match self.forget {
            None => Arc::new(mem.clone()),
            Some(forget) => Arc::new(Forgetful::new(mem, forget)),
        }
    }
}

const SMALL: u64 = 512;
const LARGE: u64 = 1 << 20;

macro_rules! workloads {
    ($($name:ident $size:ident $compression:ident,)*) => {
        /// Every workload.
        pub(crate) const ALL: &[Workload] = &[$(Workload {
            name: stringify!($name),
            run: |session| {
                session.create(&options($size, Compression::$compression))?;
                $name(session)
            },
            segment_size: $size,
            compression: Compression::$compression,
            forget: None,
        },)*];
    };
}

workloads! {
    create SMALL None,
    first_commit SMALL None,
    segments SMALL None,
    overwrite SMALL Zstd,
    delete SMALL None,
    rollback SMALL None,
    dictionary LARGE Zstd,
    checkpoints LARGE None,
    uncommitted_tail SMALL None,
    two_commits LARGE Zstd,
    recovery_only LARGE None,
    aliases_and_runs LARGE None,
    unchanged LARGE None,
    rollbacks LARGE None,
    compaction SMALL None,
    compaction_after_rollback SMALL Zstd,
}

/// Too long for the fault pass and for kills at every call: only its end is simulated.
pub(super) const MERGE: &Workload = &Workload {
    name: "merge",
    run: |session| {
        session.create(&options(LARGE, Compression::None))?;
        merge(session)
    },
    segment_size: LARGE,
    compression: Compression::None,
    forget: None,
};

/// Finds a workload.
pub(crate) fn named(name: &str) -> &'static Workload {
    ALL.iter().chain([MERGE]).find(|workload| workload.name == name).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "a workload like the others")]
fn create(_: &mut Session) -> Result<()> {
    Ok(())
}

fn first_commit(session: &mut Session) -> Result<()> {
    session.put(1, 1, &body(1, 60))?;
    session.put(2, 1, &body(2, 40))?;
    session.commit()
}

fn segments(session: &mut Session) -> Result<()> {
    for number in 1..5 {
        session.put(number, 1, &body(number, 150))?;
        session.put(number, 2, &body(number + 100, 130))?;
        session.commit()?;
    }
    Ok(())
}

fn overwrite(session: &mut Session) -> Result<()> {
    session.put(1, 1, &body(1, 300))?;
    session.put(2, 1, &body(2, 80))?;
    session.commit()?;
    session.close()?;
    session.put(1, 1, &body(11, 280))?;
    session.put(1, 1, &body(12, 90))?;
    session.commit()?;
    session.put(1, 1, &body(13, 50))?;
    session.commit()
}

fn delete(session: &mut Session) -> Result<()> {
    session.put(1, 1, &body(1, 50))?;
    session.put(1, 2, &body(2, 50))?;
    session.put(2, 1, &body(3, 50))?;
    session.commit()?;
    session.close()?;
    session.delete(1, 2)?;
    session.commit()?;
    session.delete(2, 1)?;
    session.put(1, 2, &body(4, 50))?;
    session.commit()
}

fn rollback(session: &mut Session) -> Result<()> {
    session.put(1, 1, &body(1, 50))?;
    session.commit()?;
    session.put(1, 1, &body(2, 70))?;
    session.look()?;
    session.rollback()?;
    session.put(2, 2, &body(3, 60))?;
    session.commit()?;
    session.close()
}

fn dictionary(session: &mut Session) -> Result<()> {
    let samples: Vec<Vec<u8>> = (0..400).map(|number| body(number, 60)).collect();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    assert!(session.writer()?.train_dictionary(&samples)?, "the samples do");
    let used = session.writer()?.dictionary().map_or(0, |dictionary| dictionary.content().len());
    // Compressed they are larger than the dictionary, so the segment takes a copy of it.
    for number in 0..u32::try_from(used / 300 + 4).unwrap() {
        session.put(number, 1, &body(number, 800))?;
    }
    session.commit()?;
    session.put(0, 2, &body(500, 300))?;
    session.commit()
}

fn checkpoints(session: &mut Session) -> Result<()> {
    for number in 0..20 {
        session.put(number, 1, &body(number, 4))?;
    }
    session.commit()?;
    session.close()?;
    session.put(1, 1, b"a delta")?;
    session.commit()?;
    session.close()?;
    for number in 0..3 {
        session.put(number, 2, b"merged into the base")?;
    }
    session.commit()?;
    session.close()
}

fn uncommitted_tail(session: &mut Session) -> Result<()> {
    session.put(1, 1, &body(1, 50))?;
    session.commit()?;
    session.put(1, 1, &body(2, 90))?;
    session.put(2, 1, &body(3, 300))?;
    session.look()?;
    session.open()?;
    session.writer()?;
    session.close()?;
    session.put(2, 2, &body(4, 60))?;
    session.look()?;
    session.open()?;
    session.put(3, 1, &body(5, 70))?;
    session.commit()
}

fn two_commits(session: &mut Session) -> Result<()> {
    session.put(1, 1, &body(1, 120))?;
    session.commit()?;
    session.put(2, 1, &body(2, 90))?;
    session.delete(1, 1)?;
    session.commit()?;
    session.put(1, 1, &body(3, 20))?;
    session.commit()
}

fn recovery_only(session: &mut Session) -> Result<()> {
    session.put(1, 1, &body(1, 40))?;
    session.commit()?;
    session.put(2, 1, &body(2, 40))?;
    session.look()?;
    session.open()?;
    session.writer()?;
    session.open()?;
    session.close()
}

fn aliases_and_runs(session: &mut Session) -> Result<()> {
    session.put_empty_run(3)?;
    session.alias(9, 1, 1)?;
    session.put(1, 1, &body(1, 40))?;
    session.commit()?;
    session.close()?;
    session.delete_run(3)?;
    session.alias(9, 1, 2)?;
    session.put(9, 2, &body(2, 30))?;
    session.commit()?;
    session.delete(9, 1)?;
    session.delete(1, 1)?;
    session.delete_run(1)?;
    session.commit()
}

/// What is put a second time is acknowledged without a byte being written.
fn unchanged(session: &mut Session) -> Result<()> {
    session.put(1, 1, &body(1, 40))?;
    session.commit()?;
    session.put(1, 1, &body(1, 40))?;
    session.commit()?;
    session.put(1, 2, &body(1, 40))?;
    session.commit()
}

/// One handle that rolls back before, between and after commits.
fn rollbacks(session: &mut Session) -> Result<()> {
    session.put(1, 1, &body(1, 60))?;
    session.look()?;
    session.rollback()?;
    session.put(1, 1, &body(2, 80))?;
    session.commit()?;
    session.delete(1, 1)?;
    session.rollback()?;
    session.put(2, 1, &body(3, 70))?;
    session.commit()?;
    session.put(1, 1, &body(4, 90))?;
    session.look()?;
    session.rollback()?;
    session.put(1, 2, &body(5, 50))?;
    session.commit()?;
    session.close()
}

/// First a sparse segment alone, whose DELETE is still needed for an older one; then all of them.
fn compaction(session: &mut Session) -> Result<()> {
    session.put(5, 1, &body(5, 330))?;
    session.put(2, 1, &body(2, 10))?;
    session.commit()?;
    session.put(1, 1, &body(1, 260))?;
    session.delete(2, 1)?;
    session.commit()?;
    session.put(1, 1, &body(11, 300))?;
    session.commit()?;
    session.close()?;
    session.compact(50)?;
    session.put(3, 1, &body(3, 40))?;
    session.commit()?;
    session.compact(1)?;
    session.put(5, 1, &body(55, 20))?;
    session.commit()?;
    session.close()
}

/// On the handle that rolled back, with the tail of that in a segment, and without an index before.
fn compaction_after_rollback(session: &mut Session) -> Result<()> {
    session.put(1, 1, &body(1, 200))?;
    session.commit()?;
    session.put(1, 1, &body(2, 300))?;
    session.look()?;
    session.rollback()?;
    session.put(1, 1, &body(3, 210))?;
    session.put(2, 1, &body(4, 50))?;
    session.commit()?;
    session.put(2, 2, &body(5, 50))?;
    // An open transaction is refused, so that nobody loses one by compacting.
    assert!(matches!(session.compact(1), Err(stix_store::Error::BadInput { .. })));
    session.rollback()?;
    session.compact(1)?;
    session.put(2, 2, &body(6, 50))?;
    session.commit()?;
    session.close()
}

/// Small segments, one more than are left alone.
fn merge(session: &mut Session) -> Result<()> {
    for number in 0..65 {
        // Each handle writes a segment of its own.
        session.put(number % 50, 1, &body(number, 20))?;
        session.commit()?;
        session.open()?;
    }
    session.simulate_from_here();
    session.delete(3, 1)?;
    session.commit()?;
    session.close_and_merge()
}
