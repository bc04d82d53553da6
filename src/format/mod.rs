//! Floor 1: bytes only: no files, no clock, no threads. `FORMAT.md` beside this file is normative.

pub mod bytes;
pub mod commit;
pub mod config;
pub mod crc;
pub mod hints;
pub mod index;
pub mod put;
pub mod record;
pub mod segment;
pub mod types;
