//! The `config` file: what a store is, as text. The last line is the checksum of all lines before it.

use serde::{Deserialize, Serialize};

use super::crc::crc32;
use super::segment::FORMAT_VERSION;
use crate::error::{Damage, Error, Place, Result};
use crate::id::StoreId;
use crate::limits::{SEGMENT_SIZE_MAX_BYTES, SEGMENT_SIZE_MIN_BYTES};

/// The file's name below the store.
pub const CONFIG_FILE: &str = "config";
/// Longest config file, in bytes.
pub const CONFIG_MAX_BYTES: u64 = 4096;

/// What a store is. Fixed for its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Its identity.
    pub store: StoreId,
    /// Size at which a segment is sealed, in bytes.
    pub segment_size: u64,
    /// Whether payloads are compressed.
    pub compressed: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u16,
    store: String,
    segment_size: u64,
    compression: String,
}

/// Encodes the file.
pub fn encode(config: &Config) -> String {
    let body = format!(
        "# This directory is a store of OpenCTI snapshots: see `store --help`. Change nothing in it by hand.\n\
         format = {FORMAT_VERSION}\n\
         store = \"{}\"\n\
         segment_size = {}\n\
         compression = \"{}\"\n",
        config.store,
        config.segment_size,
        if config.compressed { "zstd" } else { "none" },
    );
    let crc = crc32(body.as_bytes());
    format!("{body}crc = \"{crc:08x}\"\n")
}

/// Decodes the file.
///
/// # Errors
/// `UnsupportedVersion` or `Damaged`.
pub fn decode(bytes: &[u8]) -> Result<Config> {
    let bad = |reason: &str| {
        let damage = Damage::Content { what: "config", reason: reason.to_owned() };
        Error::damaged(Place::whole(CONFIG_FILE), damage)
    };
    let text = std::str::from_utf8(bytes).map_err(|_| bad("not UTF-8"))?;
    let (body, last) = text
        .strip_suffix('\n')
        .and_then(|text| text.rsplit_once('\n'))
        .ok_or_else(|| bad("no checksum line"))?;
    let stored = last.strip_prefix("crc = \"").and_then(|rest| rest.strip_suffix('"'));
    let stored = stored.filter(|hex| hex.len() == 8).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let expect = stored.ok_or_else(|| bad("no checksum line"))?;
    let covered = body.len().saturating_add(1);
    let actual = crc32(bytes.get(..covered).unwrap_or_default());
    if expect != actual {
        let damage = Damage::Checksum { what: "config", expect, actual };
        return Err(Error::damaged(Place::whole(CONFIG_FILE), damage));
    }
    if let Some(config) = decode_plain(body) {
        return Ok(config);
    }
    // Only now is the text our own, so that an unknown version is no damage.
    let version = toml::from_str::<toml::Table>(body)
        .ok()
        .and_then(|table| table.get("format").and_then(toml::Value::as_integer))
        .and_then(|version| u32::try_from(version).ok())
        .filter(|version| *version > 0)
        .ok_or_else(|| bad("no format version"))?;
    if version != u32::from(FORMAT_VERSION) {
        let supported = FORMAT_VERSION.into();
        return Err(Error::UnsupportedVersion { path: CONFIG_FILE.into(), found: version, supported });
    }
    let text: Text = toml::from_str(body).map_err(|error| bad(error.message()))?;
    let compressed = match text.compression.as_str() {
        "zstd" => true,
        "none" => false,
        _ => return Err(bad("unknown compression")),
    };
    if !(SEGMENT_SIZE_MIN_BYTES..=SEGMENT_SIZE_MAX_BYTES).contains(&text.segment_size) {
        return Err(bad("impossible segment size"));
    }
    let store = StoreId::parse(&text.store).ok_or_else(|| bad("malformed store id"))?;
    Ok(Config { store, segment_size: text.segment_size, compressed })
}

/// Decodes the lines that [`encode`] writes, in their order: every command begins with this, and the general parser takes
/// longer than the lookup of a snapshot. Anything else is `None`.
fn decode_plain(body: &str) -> Option<Config> {
    let mut lines = body.lines().filter(|line| !line.starts_with('#'));
    let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(" = ");
    if value("format")?.parse() != Ok(FORMAT_VERSION) {
        return None;
    }
    let text = |value: &str| value.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    let store = StoreId::parse(&text(value("store")?)?)?;
    let segment_size = value("segment_size")?.parse().ok()?;
    let compressed = match value("compression")? {
        "\"zstd\"" => true,
        "\"none\"" => false,
        _ => return None,
    };
    let is_possible = (SEGMENT_SIZE_MIN_BYTES..=SEGMENT_SIZE_MAX_BYTES).contains(&segment_size);
    (is_possible && lines.next().is_none()).then_some(Config { store, segment_size, compressed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_round_trips_and_any_flipped_bit_is_found() {
        let config = Config { store: StoreId([0xab; 16]), segment_size: 4096, compressed: true };
        let text = encode(&config);
        assert_eq!(decode(text.as_bytes()).unwrap(), config);
        for bit in 0..text.len() * 8 {
            let mut bad = text.clone().into_bytes();
            bad[bit / 8] ^= 1 << (bit % 8);
            // A flip of case in the hexadecimal checksum itself changes nothing that is said.
            assert!(decode(&bad).is_err() || decode(&bad).unwrap() == config, "bit {bit}");
        }
        for len in 0..text.len() {
            assert!(decode(&text.as_bytes()[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn any_spelling_that_toml_allows_is_the_same_config() {
        let config = Config { store: StoreId([0xab; 16]), segment_size: 4096, compressed: false };
        let id = config.store;
        for body in [
            format!("format = 1\nstore = \"{id}\"\nsegment_size = 4096\ncompression = \"none\"\n"),
            format!("compression='none' # so\nsegment_size=4_096\n\nstore = '{id}'\nformat=1\n"),
        ] {
            let text = format!("{body}crc = \"{:08x}\"\n", crc32(body.as_bytes()));
            assert_eq!(decode(text.as_bytes()).unwrap(), config, "{text}");
        }
    }

    #[test]
    fn a_newer_config_is_not_damage() {
        let body = "format = 2\nanything = true\n";
        let text = format!("{body}crc = \"{:08x}\"\n", crc32(body.as_bytes()));
        let found = decode(text.as_bytes());
        assert!(matches!(found, Err(Error::UnsupportedVersion { found: 2, .. })), "{found:?}");
    }
}
