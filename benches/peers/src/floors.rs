//! What the machine itself gives, measured in the same run.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::common::data::Random;

const PIECE: usize = 1200;
const LINE: usize = 64;

/// A random walk through memory: each load waits for the one before it. Nanoseconds a load, pages of 4 KiB.
pub(crate) struct Chain {
    lines: Vec<[u32; 16]>,
}

impl Chain {
    pub(crate) fn new(bytes: usize) -> Chain {
        let count = bytes / LINE;
        let mut order: Vec<u32> = (0..u32::try_from(count).unwrap()).collect();
        // Sattolo's shuffle: one cycle through all lines.
        let mut random = Random::new(5);
        for end in (1..count).rev() {
            order.swap(end, usize::try_from(random.below(end as u64)).unwrap());
        }
        Chain { lines: order.into_iter().map(|next| [next; 16]).collect() }
    }

    pub(crate) fn walk(&self, steps: u32) -> f64 {
        let start = Instant::now();
        let mut at = 0usize;
        for _ in 0..steps {
            at = self.lines[at][0] as usize;
        }
        black_box(at);
        start.elapsed().as_nanos() as f64 / f64::from(steps)
    }
}

/// Reads segments once from the page cache and takes the CRC of pieces of 1.2 kB. As the scans are counted: bytes of the files that they
/// hold, a second.
pub(crate) fn read_and_sum(paths: &[std::path::PathBuf], files: u64) -> f64 {
    let mut buffer = vec![0u8; 256 << 10];
    let start = Instant::now();
    let mut sum = 0u32;
    for path in paths {
        let file = File::open(path).unwrap();
        let mut at = 0u64;
        loop {
            let got = file.read_at(&mut buffer, at).unwrap();
            if got == 0 {
                break;
            }
            at += got as u64;
            sum = buffer[..got].chunks(PIECE).map(crc32fast::hash).fold(sum, u32::wrapping_add);
        }
    }
    black_box(sum);
    files as f64 / start.elapsed().as_secs_f64()
}

/// Writes as many bytes to one file and syncs it. Seconds.
pub(crate) fn write_durably(dir: &Path, bytes: u64) -> f64 {
    let piece = vec![0x5a; 1 << 20];
    let start = Instant::now();
    let mut file = File::create(dir.join("floor")).unwrap();
    for _ in 0..bytes / piece.len() as u64 {
        file.write_all(&piece).unwrap();
    }
    file.sync_all().unwrap();
    let took = start.elapsed().as_secs_f64();
    std::fs::remove_file(dir.join("floor")).unwrap();
    took
}
