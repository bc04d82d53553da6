//! Shows every field of every record of a segment, with offset and hex, for people.

use std::io::{self, Write};
use std::sync::Arc;

use super::identity::load_true_config;
use crate::error::{Damage, Error, Result};
use crate::format::commit;
use crate::format::put::{self, PutKind};
use crate::format::record::{HEAD_BYTES, Head, Tag};
use crate::format::segment::HEADER_BYTES;
use crate::id::{Location, SegmentId};
use crate::segment::{Segment, Segments, Step, Walk};
use crate::vfs::ReadVfs;

/// Bytes shown of a payload or a meta part; a segment's header is shown whole.
const SHOWN_BYTES: usize = 96;
/// Bytes shown of what is damaged.
const SHOWN_DAMAGED_BYTES: usize = 4096;
/// Bytes a line of hex.
const LINE_BYTES: usize = 16;

/// Dumps one segment, damaged bytes included. `false` if there is no such file.
///
/// # Errors
/// `NoStore`, failures of reading and of `out`. Damage is shown, not an error.
pub fn dump(vfs: &Arc<dyn ReadVfs>, segment: SegmentId, out: &mut dyn Write) -> Result<bool> {
    let config = load_true_config(vfs, &mut Vec::new())?;
    let segments = Segments::new(vfs.clone(), config.store, vec![segment], Some((segment, 0)), None);
    let Some(segment) = segments.get(segment)? else { return Ok(false) };
    let mut dump = Dump { segment: &segment, out };
    dump.header()?;
    let mut walk = segment.walk(None)?;
    while let Some(step) = walk.step()? {
        match step {
            Step::Record { offset, head } => dump.record(&mut walk, offset, &head)?,
            Step::Gap { offset, len, damage } => dump.gap(&mut walk, offset, len, &damage)?,
        }
    }
    let end = walk.position();
    dump.line(&format!("{end:>10}  end"))?;
    Ok(true)
}

struct Dump<'d> {
    segment: &'d Segment,
    out: &'d mut dyn Write,
}

impl Dump<'_> {
    fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.out, "{text}").map_err(|error: io::Error| Error::io("write", "dump", error))
    }

    fn field(&mut self, name: &str, value: impl std::fmt::Display) -> Result<()> {
        self.line(&format!("{:>10}    {name:<14} {value}", ""))
    }

    /// Shows bytes as hex and text, no more than a few lines.
    fn hex(&mut self, offset: u32, bytes: &[u8]) -> Result<()> {
        self.hex_up_to(SHOWN_BYTES, offset, bytes)
    }

    fn hex_up_to(&mut self, max: usize, offset: u32, bytes: &[u8]) -> Result<()> {
        let shown = bytes.get(..max).unwrap_or(bytes);
        let mut at = offset;
        for line in shown.chunks(LINE_BYTES) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let text: String = line.iter().map(|byte| printable(*byte)).collect();
            self.line(&format!("{at:>10}    {:<47}  {text}", hex.join(" ")))?;
            at = at.saturating_add(16);
        }
        let more = bytes.len().saturating_sub(shown.len());
        if more > 0 {
            self.field("...", format!("{more} more bytes"))?;
        }
        Ok(())
    }

    fn header(&mut self) -> Result<()> {
        let mut bytes = [0u8; HEADER_BYTES];
        let got = self.segment.file().read_at(&mut bytes, 0)?;
        self.line(&format!(
            "{:>10}  segment {}, {} bytes",
            0,
            self.segment.id(),
            self.segment.file().len()?
        ))?;
        match self.segment.header() {
            Ok(header) => {
                let previous = header.previous;
                self.field("store", header.store)?;
                self.field("segment size", header.segment_size)?;
                self.field("compression", if header.compressed { "zstd" } else { "none" })?;
                self.field("previous", format!("commit {}, {}", previous.id.0, previous.at))?;
                self.field("previous crc", format!("{:08x}", previous.data_crc))?;
                self.field("first record", header.first_record)?;
                self.field("dictionary", header.dictionary)?;
            }
            Err(damage) => self.field("DAMAGED", damage)?,
        }
        self.hex(0, bytes.get(..got).unwrap_or_default())
    }

    fn gap(&mut self, walk: &mut Walk<'_>, offset: u32, len: u32, damage: &Damage) -> Result<()> {
        self.line(&format!("{offset:>10}  DAMAGED, {len} bytes: {damage}"))?;
        let bytes = walk.bytes(offset, usize::try_from(len).unwrap_or(0))?.to_vec();
        if let Some((head, _)) = self.segment.bindings().correct_head(&bytes, offset) {
            self.field(
                "probably",
                format!("{}, {} bytes, key {}", name_of(head.tag), head.size, head.key()),
            )?;
        }
        self.hex_up_to(SHOWN_DAMAGED_BYTES, offset, &bytes)
    }

    fn record(&mut self, walk: &mut Walk<'_>, offset: u32, head: &Head) -> Result<()> {
        let bytes = walk.bytes(offset, HEAD_BYTES)?;
        let stored = bytes.first_chunk::<4>().map_or(0, |crc| u32::from_le_bytes(*crc));
        self.line(&format!("{offset:>10}  {}, {} bytes", name_of(head.tag), head.size))?;
        self.field("head crc", format!("{stored:08x}"))?;
        self.field("key", head.key())?;
        self.field("data crc", format!("{:08x}", head.data_crc))?;
        let verified = walk.verify(offset, head)?;
        let data = walk.data(offset, head)?.to_vec();
        if let Err(damage) = verified {
            self.field("DAMAGED", damage)?;
            return self.hex_up_to(SHOWN_DAMAGED_BYTES, offset.saturating_add(45), &data);
        }
        match head.tag {
            Tag::Put => self.put(offset, head, &data),
            Tag::Delete => match put::decode_delete(&data) {
                Ok((reason, commit)) => {
                    self.field("reason", format!("{reason:?}").to_lowercase())?;
                    self.field("first commit", commit.0)
                }
                Err(damage) => self.field("DAMAGED", damage),
            },
            Tag::Commit => self.commit(&data),
            Tag::Dictionary => self.hex(offset.saturating_add(45), &data),
        }
    }

    fn put(&mut self, offset: u32, head: &Head, data: &[u8]) -> Result<()> {
        let put = match put::decode(data) {
            Ok(put) => put,
            Err(damage) => return self.field("DAMAGED", damage),
        };
        let kind = match put.kind {
            PutKind::Snapshot => "snapshot",
            PutKind::Alias => "alias",
            PutKind::Run => "run",
        };
        let name = put.name(&head.key());
        let from = if put.name.is_some() { "stored" } else { "from the key" };
        self.field("kind", kind)?;
        self.field("codec", format!("{:?}", put.codec).to_lowercase())?;
        self.field("first commit", put.first_commit.0)?;
        match name {
            Ok(name) => self.field("name", format!("{} ({from})", name.escape_ascii()))?,
            Err(damage) => self.field("DAMAGED", damage)?,
        }
        self.field("file length", put.raw_len)?;
        self.field("object", format!("{}..{}", put.object.start, put.object.end))?;
        let end = offset.saturating_add(head.size);
        let start = |len: usize| end.saturating_sub(u32::try_from(len).unwrap_or(u32::MAX));
        self.field("meta", format!("{} bytes", put.meta.len()))?;
        self.hex(start(put.payload.len().saturating_add(put.meta.len())), put.meta)?;
        self.field("payload", format!("{} bytes", put.payload.len()))?;
        self.hex(start(put.payload.len()), put.payload)
    }

    fn commit(&mut self, data: &[u8]) -> Result<()> {
        let commit = match commit::decode(data) {
            Ok(commit) => commit,
            Err(damage) => return self.field("DAMAGED", damage),
        };
        let Location { segment, offset } = commit.previous.at;
        self.field("commit", commit.id.0)?;
        self.field("records", commit.records)?;
        self.field("kind", format!("{:?}", commit.kind).to_lowercase())?;
        self.field("heads crc", format!("{:08x}", commit.heads_crc))?;
        self.field(
            "previous",
            format!("segment {segment} at {offset}, crc {:08x}", commit.previous.data_crc),
        )?;
        self.field("next segment", commit.next_segment)?;
        for (first, last) in &commit.live {
            self.field("live", format!("{first} to {last}"))?;
        }
        Ok(())
    }
}

fn name_of(tag: Tag) -> &'static str {
    match tag {
        Tag::Put => "PUT",
        Tag::Delete => "DELETE",
        Tag::Commit => "COMMIT",
        Tag::Dictionary => "DICT",
    }
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }
}
