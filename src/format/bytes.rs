//! Reading and writing numbers: little-endian, and LEB128 for those that are mostly small.

/// Takes values off the front of a slice; `None` once it is too short.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the front.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    /// Returns what was not taken yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes a fixed number of bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    /// Takes a byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes 16 bits.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes 32 bits.
    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes 64 bits.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes an unsigned LEB128 number of at most 64 bits. Only the shortest form is valid, so that equal
    /// values have equal bytes.
    #[inline]
    pub fn leb(&mut self) -> Option<u64> {
        // Most are of one byte or two.
        match self.rest {
            [byte @ ..0x80, rest @ ..] => {
                self.rest = rest;
                Some(u64::from(*byte))
            }
            [low, high @ 1..0x80, rest @ ..] => {
                self.rest = rest;
                Some(u64::from(low & 0x7f) | (u64::from(*high) << 7))
            }
            _ => self.long_leb(),
        }
    }

    #[cold]
    fn long_leb(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0u32..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits.checked_shl(shift)?;
            if shifted >> shift != bits {
                return None;
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { None } else { Some(value) };
            }
        }
        None
    }

    /// Takes a LEB128 number that fits 32 bits.
    #[inline]
    pub fn leb32(&mut self) -> Option<u32> {
        self.leb().and_then(|value| u32::try_from(value).ok())
    }
}

/// Appends a number in LEB128.
pub fn put_leb(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leb128_round_trips_and_refuses_longer_forms() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_leb(&mut out, value);
            let mut cursor = Cursor::new(&out);
            assert_eq!(cursor.leb(), Some(value));
            assert!(cursor.rest().is_empty());
        }
        for bad in [&[0x80, 0x00][..], &[0xff, 0x80, 0x00], &[0x80], &[0xff; 11], &[]] {
            assert_eq!(Cursor::new(bad).leb(), None, "{bad:?}");
        }
        let overflow = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Cursor::new(&overflow).leb(), None);
    }
}
