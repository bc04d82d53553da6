//! Commands that the output suggests: words for programs, and a line that a shell takes as it stands.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use serde::{Serialize, Serializer};

use super::context::Context;
use super::text::{Text, show};

/// A command line of this program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Command(Vec<Vec<u8>>);

impl Command {
    /// One on the store of this command.
    pub(crate) fn new(context: &Context, name: &str) -> Command {
        Command(vec![b"store".to_vec(), b"-s".to_vec()]).word(&context.store).word(name)
    }

    /// Adds a word.
    pub(crate) fn word(mut self, word: impl AsRef<OsStr>) -> Command {
        self.0.push(word.as_ref().as_bytes().to_vec());
        self
    }

    /// Adds an option and its value, if there is one.
    pub(crate) fn option(self, name: &str, value: Option<impl AsRef<OsStr>>) -> Command {
        match value {
            Some(value) => self.word(name).word(value),
            None => self,
        }
    }

    /// Adds a word if something is so.
    pub(crate) fn flag(self, name: &str, is_set: bool) -> Command {
        if is_set { self.word(name) } else { self }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, word) in self.0.iter().enumerate() {
            let quoted = match std::str::from_utf8(word) {
                // What would move a terminal's cursor, or is no text, is shown: no shell takes it everywhere.
                Ok(text) if !text.chars().any(char::is_control) => shlex::try_quote(text).ok(),
                Ok(_) | Err(_) => None,
            };
            let gap = if place == 0 { "" } else { " " };
            write!(f, "{gap}{}", quoted.unwrap_or_else(|| show(word).into()))?;
        }
        Ok(())
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|word| Text(word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_a_shell_takes_and_the_words_are_what_they_are() {
        let command = Command(vec![b"store".to_vec()])
            .word("my backup's store")
            .option("--shard", Some("1/2"))
            .option("--record", None::<&str>)
            .flag("--all", true)
            .flag("--json", false)
            .word(OsStr::from_bytes(b"\xff"));
        assert_eq!(command.to_string(), r#"store "my backup's store" --shard 1/2 --all \xff"#);
        let words = serde_json::to_string(&command).unwrap();
        assert_eq!(words, r#"["store","my backup's store","--shard","1/2","--all",{"b64":"/w=="}]"#);
    }
}
