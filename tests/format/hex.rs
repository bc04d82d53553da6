//! Bytes as annotated hex, one field a line. The readers that use it know the format from FORMAT.md alone.

use std::fmt::{Display, Write};

/// Bytes of a line.
const LINE_BYTES: usize = 16;

/// Takes fields off the front of a file and writes down each with its offset.
pub(super) struct Annotated<'a> {
    bytes: &'a [u8],
    at: usize,
    out: String,
}

impl<'a> Annotated<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Annotated<'a> {
        Annotated { bytes, at: 0, out: String::new() }
    }

    /// Where the next field starts.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The bytes that the next fields take, without taking them.
    pub(super) fn peek(&self, len: usize) -> &'a [u8] {
        &self.bytes[self.at..self.at + len]
    }

    /// Begins a paragraph.
    pub(super) fn title(&mut self, text: impl Display) {
        writeln!(self.out, "{}{text}", if self.out.is_empty() { "" } else { "\n" }).unwrap();
    }

    /// Takes a field and says what it is.
    pub(super) fn field(&mut self, len: usize, what: impl Display) -> &'a [u8] {
        let field = self.peek(len);
        let what = what.to_string();
        let mut what = what.as_str();
        for line in field.chunks(LINE_BYTES) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let text = format!("{:>5}  {:<48} {}", self.at, hex.join(" "), std::mem::take(&mut what));
            writeln!(self.out, "{}", text.trim_end()).unwrap();
            self.at += line.len();
        }
        field
    }

    /// Takes bytes that must be zero and does not write them down.
    pub(super) fn zeros(&mut self, len: usize) {
        assert!(self.peek(len).iter().all(|byte| *byte == 0), "{len} zero bytes at {}", self.at);
        writeln!(self.out, "{:>5}  00 ... 00 ({len} bytes)", self.at).unwrap();
        self.at += len;
    }

    pub(super) fn u8(&mut self, what: &str) -> u8 {
        let value = self.peek(1)[0];
        self.field(1, format!("{what}: {value}"));
        value
    }

    pub(super) fn u16(&mut self, what: &str) -> u16 {
        let value = u16::from_le_bytes(*self.peek(2).first_chunk().unwrap());
        self.field(2, format!("{what}: {value}"));
        value
    }

    pub(super) fn u32(&mut self, what: &str) -> u32 {
        let value = u32::from_le_bytes(*self.peek(4).first_chunk().unwrap());
        self.field(4, format!("{what}: {value}"));
        value
    }

    pub(super) fn u64(&mut self, what: &str) -> u64 {
        let value = u64::from_le_bytes(*self.peek(8).first_chunk().unwrap());
        self.field(8, format!("{what}: {value}"));
        value
    }

    /// A checksum, which must be that of `covered`.
    pub(super) fn crc(&mut self, what: &str, covered: &[&[u8]]) -> u32 {
        let value = u32::from_le_bytes(*self.peek(4).first_chunk().unwrap());
        assert_eq!(value, crc32fast::hash(&covered.concat()), "{what} at {}", self.at);
        self.field(4, what);
        value
    }

    /// A number in LEB128.
    pub(super) fn leb(&mut self, what: &str) -> usize {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let value = rest[..len].iter().rev().fold(0, |value, byte| (value << 7) | usize::from(byte & 0x7f));
        self.field(len, format!("{what}: {value}"));
        value
    }

    pub(super) fn finish(self) -> String {
        assert!(self.is_at_end(), "{} of {} bytes read", self.at, self.bytes.len());
        self.out
    }
}

/// The hex digits of bytes.
pub(super) fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The number in 8 bytes, the highest first.
pub(super) fn big_endian(bytes: &[u8]) -> u64 {
    bytes[..8].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}
