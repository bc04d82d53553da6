//! Floor 1: bytes only: no files, no clock, no threads. What follows is `FORMAT.md`, which is normative.
//!
#![doc = include_str!("FORMAT.md")]

pub mod bytes;
pub mod commit;
pub mod config;
pub mod crc;
pub mod hints;
pub mod index;
pub mod put;
pub mod record;
pub mod segment;
pub mod sources;
pub mod types;
