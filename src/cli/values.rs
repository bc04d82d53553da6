//! The values that options take, parsed before a command starts: what comes out is proven.

use std::ffi::OsStr;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::id::{CommitId, Instant, SegmentId, StoreId};
use crate::limits;
use crate::snapshot::run;
use crate::store::check::Shard;

/// Longest id that `put` takes, in bytes: with `.json` it must be a file name, at most 255 bytes long.
pub(crate) const ID_MAX_BYTES: usize = 250;

/// The name of a run directory and the instant it means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RunArg {
    /// As it was given.
    pub(crate) name: String,
    /// What it means.
    pub(crate) at: Instant,
}

impl FromStr for RunArg {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<RunArg, String> {
        match run::parse(text) {
            Some(at) => Ok(RunArg { name: text.to_owned(), at }),
            None => Err("not the name of a run directory, such as 20240115T140000Z".to_owned()),
        }
    }
}

/// Reads a size: `4096`, `8MiB` and `8M` (powers of 1024), `8MB` (powers of 1000).
pub(crate) fn size(text: &str) -> std::result::Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number: u64 = digits.parse().map_err(|_| "not a size, such as 8MiB".to_owned())?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        other => return Err(format!("unknown unit {other:?}; use B, KiB, MiB or GiB")),
    };
    number.checked_mul(factor).ok_or_else(|| "larger than any file".to_owned())
}

/// Reads a type of objects: what stands before `--` in their ids.
pub(crate) fn object_type(text: &str) -> std::result::Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.contains("--") || text.contains(char::is_whitespace) {
        return Err("not a type of STIX objects, such as malware or attack-pattern".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads a segment size and holds it against its limits.
pub(crate) fn segment_size(text: &str) -> std::result::Result<u64, String> {
    let bytes = size(text)?;
    let allowed = limits::SEGMENT_SIZE_MIN_BYTES..=limits::SEGMENT_SIZE_MAX_BYTES;
    if allowed.contains(&bytes) {
        Ok(bytes)
    } else {
        Err(format!("must be {} to {} bytes", allowed.start(), allowed.end()))
    }
}

/// Reads a store id: 32 hex digits.
pub(crate) fn store_id(text: &str) -> std::result::Result<StoreId, String> {
    StoreId::parse(text).ok_or_else(|| "not 32 hex digits".to_owned())
}

/// Reads a time in seconds, fractions allowed.
pub(crate) fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let number: f64 = text.trim().parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|_| "not a number of seconds".to_owned())
}

/// Reads a time that may be long: `90`, `90s`, `15min`, `8h`, `7d`, fractions allowed.
pub(crate) fn span(text: &str) -> std::result::Result<Duration, String> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        other => return Err(format!("unknown unit {other:?}; use s, min, h or d")),
    };
    let number: f64 = number.trim().parse().map_err(|_| "not a time, such as 90min".to_owned())?;
    Duration::try_from_secs_f64(number * factor).map_err(|_| "not a time, such as 90min".to_owned())
}

/// Reads a part of several: `1/4`.
pub(crate) fn shard(text: &str) -> std::result::Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    let (part, of) = parts.ok_or_else(|| "not a part, such as 1/4".to_owned())?;
    Shard::new(part, of).map_err(|_| format!("of {of} parts there is none with number {part}"))
}

/// Reads the number of a commit.
pub(crate) fn commit(text: &str) -> std::result::Result<CommitId, String> {
    text.trim().parse().map(CommitId).map_err(|_| "not the number of a commit".to_owned())
}

/// Reads a segment's number, also as its file's name: `3`, `0000000003`, `data/0000000003.seg`.
pub(crate) fn segment(text: &str) -> std::result::Result<SegmentId, String> {
    let name = text.rsplit('/').next().unwrap_or(text);
    let digits = name.strip_suffix(".seg").unwrap_or(name);
    digits.parse().map(SegmentId).map_err(|_| "not the number of a segment".to_owned())
}

/// Returns an id's bytes for a command that changes the store: it must be fit for a file name.
///
/// # Errors
/// `BadInput` otherwise.
pub(crate) fn file_stem(id: &OsStr) -> Result<&[u8]> {
    let bytes = id.as_encoded_bytes();
    let reason = if bytes.is_empty() {
        "is empty".to_owned()
    } else if bytes.contains(&b'/') || bytes.contains(&0) {
        "has a character that no file name can have".to_owned()
    } else if bytes.len() > ID_MAX_BYTES {
        format!("is {} bytes long, at most {ID_MAX_BYTES}", bytes.len())
    } else {
        return Ok(bytes);
    };
    Err(Error::BadInput { what: format!("id \"{}\"", super::text::show(bytes)), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("8MiB", 8 << 20),
            ("8m", 8 << 20),
            (" 1 GiB ", 1 << 30),
            ("2kB", 2000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "8 elephants", "99999999999GiB", "18446744073709551616"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    /// An empty type, and one behind `, `, chose nothing, and all was well.
    #[test]
    fn types_are_what_stands_before_two_dashes() {
        for (text, kind) in [("malware", "malware"), (" attack-pattern", "attack-pattern"), ("x_y", "x_y")] {
            assert_eq!(object_type(text).unwrap(), kind);
        }
        for text in ["", " ", "malware--1", "a b"] {
            assert!(object_type(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn segment_sizes_keep_within_their_limits() {
        assert_eq!(segment_size("512"), Ok(512));
        assert_eq!(segment_size("1GiB"), Ok(1 << 30));
        assert!(segment_size("511").is_err());
        assert!(segment_size("1073741825").is_err());
    }

    #[test]
    fn seconds_may_have_fractions_but_no_sign() {
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["", "x", "-1", "inf", "NaN", "1e300"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_have_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("1.5min", 90), ("2 h", 7200), ("7d", 604_800)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "-1", "1y", "inf", "1e400", "1 d 2 h"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parts_are_counted_from_one() {
        assert_eq!(shard("2/3"), Ok(Shard::new(2, 3).unwrap()));
        for text in ["", "2", "0/3", "4/3", "1/0", "-1/3", "a/b", "1/2/3"] {
            assert!(shard(text).is_err(), "{text}");
        }
    }

    #[test]
    fn segments_go_by_number_or_file_name() {
        for text in ["3", "0000000003", "0000000003.seg", "data/0000000003.seg"] {
            assert_eq!(segment(text), Ok(SegmentId(3)), "{text}");
        }
        for text in ["", ".seg", "-3", "config", "4294967296"] {
            assert!(segment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ids_that_are_no_file_names_are_refused() {
        assert_eq!(file_stem(OsStr::new("malware--x")).unwrap(), b"malware--x");
        let long = "x".repeat(251);
        for id in ["", "a/b", "a\0b", &long] {
            assert!(matches!(file_stem(OsStr::new(id)), Err(Error::BadInput { .. })), "{id:?}");
        }
        assert!(file_stem(OsStr::new(&long[1..])).is_ok());
    }

    #[test]
    fn run_arguments_keep_their_spelling() {
        let canonical: RunArg = "20240115T140000Z".parse().unwrap();
        assert_eq!((canonical.name.as_str(), canonical.at), ("20240115T140000Z", Instant(63_840_924_000)));
        for text in ["", "yesterday", "20240230T000000Z", "2024-01-15T14:00:00Z"] {
            assert!(text.parse::<RunArg>().is_err(), "{text}");
        }
    }
}
