//! Reads `MessagePack` strictly: each value in its shortest form, and no count above the bytes that are left.

use rmp::Marker;
use rmp::decode;

/// The bytes not decoded yet.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    /// Returns how many bytes are left.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether an array of two comes next.
    pub(super) fn pair_follows(&self) -> bool {
        self.0.first() == Some(&Marker::FixArray(2).to_u8())
    }

    /// Reads an integer or the head of an array or byte string, which must be as short as can be.
    fn value<T: Copy, E>(
        &mut self,
        what: &str,
        read: impl FnOnce(&mut &'a [u8]) -> Result<T, E>,
        shortest: impl FnOnce(T) -> Marker,
    ) -> Result<T, String> {
        let before = self.0;
        let value =
            read(&mut self.0).map_err(|_| format!("no {what} {} bytes before the end", before.len()))?;
        if before.first() != Some(&shortest(value).to_u8()) {
            return Err(format!("{what} not in its shortest form {} bytes before the end", before.len()));
        }
        Ok(value)
    }

    pub(super) fn int(&mut self) -> Result<i64, String> {
        self.value("integer", decode::read_int, shortest_int)
    }

    pub(super) fn uint(&mut self) -> Result<u32, String> {
        self.value("integer", decode::read_int, |value: u32| shortest_int(value.into()))
    }

    /// Reads the head of an array. Each element has at least a byte, so no count exceeds the bytes left.
    pub(super) fn array_len(&mut self) -> Result<u32, String> {
        let len = self.value("array", decode::read_array_len, shortest_array)?;
        self.bounded("array", len)
    }

    fn bounded(&self, what: &str, len: u32) -> Result<u32, String> {
        if usize::try_from(len).is_ok_and(|len| len <= self.0.len()) {
            return Ok(len);
        }
        Err(format!("{what} of {len} elements in {} bytes", self.0.len()))
    }

    /// Takes a nil, if one comes next.
    pub(super) fn nil(&mut self) -> bool {
        let rest = self.0.strip_prefix(&[Marker::Null.to_u8()]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    pub(super) fn bin(&mut self) -> Result<Vec<u8>, String> {
        let len = self.value("byte string", decode::read_bin_len, shortest_bin)?;
        let len = self.bounded("byte string", len)?;
        let (bin, rest) = usize::try_from(len)
            .ok()
            .and_then(|len| self.0.split_at_checked(len))
            .ok_or("a byte string ends early")?;
        self.0 = rest;
        Ok(bin.to_vec())
    }

    pub(super) fn end(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes after the end", self.0.len())) }
    }
}

/// Returns how the shortest form of an integer starts.
fn shortest_int(value: i64) -> Marker {
    match value {
        0..=0x7f => Marker::FixPos(u8::try_from(value).unwrap_or(0)),
        0x80..=0xff => Marker::U8,
        0x100..=0xffff => Marker::U16,
        0x1_0000..=0xffff_ffff => Marker::U32,
        0x1_0000_0000.. => Marker::U64,
        -0x20..=-1 => Marker::FixNeg(i8::try_from(value).unwrap_or(0)),
        -0x80..=-0x21 => Marker::I8,
        -0x8000..=-0x81 => Marker::I16,
        -0x8000_0000..=-0x8001 => Marker::I32,
        ..=-0x8000_0001 => Marker::I64,
    }
}

/// Returns how the shortest form of an array of `len` elements starts.
fn shortest_array(len: u32) -> Marker {
    match len {
        0..=0xf => Marker::FixArray(u8::try_from(len).unwrap_or(0)),
        0x10..=0xffff => Marker::Array16,
        0x1_0000.. => Marker::Array32,
    }
}

/// Returns how the shortest form of a byte string of `len` bytes starts.
fn shortest_bin(len: u32) -> Marker {
    match len {
        0..=0xff => Marker::Bin8,
        0x100..=0xffff => Marker::Bin16,
        0x1_0000.. => Marker::Bin32,
    }
}
