//! The checksum over the heads of a transaction, in parts that may be computed apart.

use crate::format::crc::Crc32;
use crate::format::record::HEAD_BYTES;

/// Bytes of heads that are gathered before their checksum is taken: of longer runs that is several times as fast.
const GATHERED_BYTES: usize = HEAD_BYTES.saturating_mul(32);

/// The heads of some records that follow each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads {
    crc: Crc32,
    count: u64,
    /// The last of them, which are not in the checksum yet.
    gathered: Vec<u8>,
}

impl Heads {
    /// Adds a head.
    #[inline]
    pub(super) fn add(&mut self, head: &[u8; HEAD_BYTES]) {
        // Straight from where it was read: to move an array takes it through the stack, and waits for it there.
        self.gathered.extend_from_slice(head);
        self.count = self.count.saturating_add(1);
        if self.gathered.len() >= GATHERED_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        self.crc.update(&self.gathered);
        self.gathered.clear();
    }

    /// Adds the heads that follow.
    pub(super) fn append(&mut self, mut more: Heads) {
        self.close();
        more.close();
        match (self.count, more.count) {
            (_, 0) => {}
            // To join two checksums takes some microseconds, and mostly there is nothing to join.
            (0, _) => *self = more,
            _ => {
                self.crc.append(&more.crc);
                self.count = self.count.saturating_add(more.count);
            }
        }
    }

    /// Returns the checksum.
    pub(super) fn finish(&self) -> u32 {
        let mut crc = self.crc;
        crc.update(&self.gathered);
        crc.finish()
    }
}
