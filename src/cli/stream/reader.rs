//! Reads a stream back, unit by unit: for going on after it, and for repairing what it names. A file may hold several
//! runs, one behind the other, and each but a whole one ends where its process was killed.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::format::crc::Crc32;
use crate::vfs::{Kind, tree};

use super::super::output::LINE_MAX_BYTES;
use super::units::{Again, Done};

/// How a stream begins. No other unit holds these bytes, as in a text the quotes would have a backslash before them. So
/// where a run was appended to one that was cut within a line, it is found all the same.
const BEGIN: &[u8] = br#"{"v":1,"type":"begin","seq":0,"#;

/// A place in the log, as it is written.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    pub(super) seg: u32,
    pub(super) off: u32,
}

/// Fields of all units that are read back; each has some of them.
#[derive(Deserialize, Debug, Default)]
pub(super) struct Unit {
    v: u64,
    pub(super) r#type: String,
    seq: u64,
    pub(super) cmd: Option<String>,
    pub(super) store: Option<String>,
    pub(super) run: Option<String>,
    pub(super) level: Option<String>,
    pub(super) shard: Option<String>,
    pub(super) resumed: Option<String>,
    pub(super) cursor: Option<Cursor>,
    pub(super) done: Option<Done>,
    pub(super) again: Option<Vec<Again>>,
    pub(super) file: Option<String>,
    pub(super) seg: Option<u32>,
    pub(super) state: Option<String>,
    pub(super) code: Option<String>,
    pub(super) severity: Option<String>,
    units: Option<u64>,
    digest: Option<String>,
}

/// The units of a file, in order. Holds one line in memory.
pub(super) struct Units<R> {
    input: R,
    /// For messages.
    name: String,
    line: u64,
    /// The rest of a line in which a run begins behind one that was cut.
    rest: Option<Vec<u8>>,
    next: u64,
    crc: Crc32,
    ended: bool,
    /// Nothing was there but, at most, the beginning of a first unit.
    blank: bool,
}

impl Units<BufReader<tree::Input>> {
    /// Opens a file.
    ///
    /// # Errors
    /// `BadInput` for an absent file; `Io`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let refused = |reason: &str| {
            let what = path.display().to_string();
            Err(Error::BadInput { what, reason: reason.to_owned() })
        };
        match tree::kind_at(path)? {
            None => return refused("there is no such file"),
            Some(Kind::Directory) => return refused("is a directory"),
            Some(Kind::File | Kind::Other) => {}
        }
        Ok(Units::new(BufReader::new(tree::open_input(path)?), path.display().to_string()))
    }
}

impl<R: BufRead> Units<R> {
    pub(super) fn new(input: R, name: String) -> Units<R> {
        Units { input, name, line: 0, rest: None, next: 0, crc: Crc32::new(), ended: true, blank: true }
    }

    /// The next whole unit. Passes over what was cut off at the end of a run.
    ///
    /// # Errors
    /// `BadInput` for what no run of this program has written; `Io`.
    pub(super) fn next(&mut self) -> Result<Option<Unit>> {
        while let Some(line) = self.line()? {
            let begins = line.starts_with(BEGIN);
            let is_cut = !line.ends_with(b"\n");
            self.blank &= is_cut && (begins || BEGIN.starts_with(&line));
            match serde_json::from_slice::<Unit>(&line) {
                // A number or a name may be cut and still be one.
                Ok(unit) if !is_cut => {
                    self.accept(&unit, &line, begins)?;
                    return Ok(Some(unit));
                }
                // Only the last line of a file may be cut off, and one that a run was appended to.
                _ if is_cut => {}
                _ => match memchr::memmem::rfind(&line, BEGIN).filter(|at| *at > 0) {
                    Some(at) => self.rest = line.get(at..).map(<[u8]>::to_vec),
                    None => return Err(self.refused("is no unit of a stream")),
                },
            }
            self.ended = false;
        }
        Ok(None)
    }

    /// Tells whether there was nothing to read yet: a run that was killed at once leaves no more than part of a line.
    pub(super) fn is_blank(&self) -> bool {
        self.blank
    }

    /// Tells whether all that was read belongs to runs that came to their end.
    pub(super) fn is_whole(&self) -> bool {
        self.ended
    }

    /// An error that names the file and the line.
    pub(super) fn refused(&self, reason: &str) -> Error {
        Error::BadInput { what: self.name.clone(), reason: format!("line {} {reason}", self.line) }
    }

    fn accept(&mut self, unit: &Unit, line: &[u8], begins: bool) -> Result<()> {
        if unit.v != 1 {
            return Err(self.refused("is of another version of the schema"));
        }
        if begins {
            (self.next, self.crc, self.ended) = (0, Crc32::new(), false);
        }
        if self.ended || unit.seq != self.next {
            return Err(self.refused("does not follow the one before it"));
        }
        if unit.r#type == "end" {
            let digest = format!("crc32:{:08x}", self.crc.finish());
            if unit.digest != Some(digest) || unit.units != Some(self.next) {
                return Err(self.refused("says that something before it was changed"));
            }
            self.ended = true;
        }
        self.next = self.next.saturating_add(1);
        self.crc.update(line);
        Ok(())
    }

    /// The next line, with its line break unless the file ends without one.
    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        let mut line = Vec::new();
        let max = u64::try_from(LINE_MAX_BYTES).unwrap_or(u64::MAX).saturating_mul(2);
        let mut limited = self.input.by_ref().take(max);
        limited.read_until(b'\n', &mut line).map_err(|error| Error::io("read", &self.name, error))?;
        if line.is_empty() {
            return Ok(None);
        }
        self.line = self.line.saturating_add(1);
        // Twice as long may be one that was cut and one that begins behind it.
        if u64::try_from(line.len()).unwrap_or(u64::MAX) >= max {
            return Err(self.refused("is longer than any line of a check"));
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(units: &[&str]) -> Vec<u8> {
        let mut text = Vec::new();
        for (seq, unit) in units.iter().enumerate() {
            let (kind, fields) = unit.split_once(' ').unwrap_or((unit, ""));
            text.extend(format!("{{\"v\":1,\"type\":\"{kind}\",\"seq\":{seq},\"a\":0{fields}}}\n").bytes());
        }
        let (crc, seq) = (crate::format::crc::crc32(&text), units.len());
        let end = format!(
            "{{\"v\":1,\"type\":\"end\",\"seq\":{seq},\"units\":{seq},\"digest\":\"crc32:{crc:08x}\"}}\n"
        );
        [text, end.into_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Result<(usize, bool)> {
        let mut units = Units::new(bytes, "file".to_owned());
        let count = std::iter::from_fn(|| units.next().transpose()).collect::<Result<Vec<Unit>>>()?.len();
        Ok((count, units.is_whole()))
    }

    #[test]
    fn a_stream_is_whole_only_to_its_last_byte() {
        let whole = stream(&["begin", "segment ,\"seg\":1", "checkpoint"]);
        assert_eq!(read(&whole).unwrap(), (4, true));
        for cut in 1..whole.len() {
            let (count, is_whole) = read(&whole[..cut]).unwrap();
            assert_eq!(count, whole[..cut].split(|byte| *byte == b'\n').count().saturating_sub(1));
            assert!(!is_whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_run_is_found_behind_one_that_was_cut_anywhere() {
        let whole = stream(&["begin", "segment ,\"seg\":1"]);
        for cut in 0..whole.len() {
            let (count, is_whole) = read(&[&whole[..cut], &whole].concat()).unwrap();
            assert!(is_whole && count >= 3, "cut at {cut}: {count}");
        }
    }

    #[test]
    fn what_was_changed_is_refused_with_its_line() {
        let whole = stream(&["begin", "segment ,\"seg\":1", "checkpoint"]);
        let text = String::from_utf8(whole).unwrap();
        for (changed, line) in [
            (text.replace("\"seg\":1", "\"seg\":2"), "line 4"),
            (text.replace("\"seq\":2", "\"seq\":3"), "line 3"),
            (text.replace("{\"v\":1,\"type\":\"segment\"", "segment"), "line 2"),
            (text.replace("\"v\":1,\"type\":\"checkpoint\"", "\"v\":2,\"type\":\"checkpoint\""), "line 3"),
            (format!("{text}{text}").replacen("begin", "began", 1), "line 1"),
            ("x".repeat(1 << 20), "line 1"),
        ] {
            let told = read(changed.as_bytes()).unwrap_err().to_string();
            assert!(told.contains(line), "{told}");
        }
        assert_eq!(read(b"").unwrap(), (0, true));
    }
}
