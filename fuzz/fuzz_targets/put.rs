//! See `put_data`.
#![no_main]

#[path = "../entries.rs"]
#[allow(dead_code, reason = "each target uses one of them")]
mod entries;

libfuzzer_sys::fuzz_target!(|input: &[u8]| entries::put_data(input));
