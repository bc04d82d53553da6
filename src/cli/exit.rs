//! Exit codes: what a script learns without reading a line. The numbers are a contract and agree with
//! those of restic (its manual, "Scripting") wherever both have one.

use std::fmt::Write;

use crate::error::Error;

/// How a command ended. An unknown code must be treated as a failure: later versions may add some.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Exit {
    /// Done, and healthy as far as the command looked.
    #[default]
    Done,
    /// Damage found and not repaired.
    Damage,
    /// The command line makes no sense.
    Usage,
    /// Some inputs were rejected, the rest is done; or a limit ended the command before its end.
    Partial,
    /// The operating system refused, or the output was lost.
    Failed,
    /// What was asked for is not in the store.
    NotFound,
    /// There is no store.
    NoStore,
    /// Another process is writing.
    Locked,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// Returns the number that the process ends with.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Damage => 1,
            Exit::Usage => 2,
            Exit::Partial => 3,
            Exit::Failed => 4,
            Exit::NotFound => 5,
            Exit::NoStore => 10,
            Exit::Locked => 11,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }

    /// Returns the one that must be told when both happened: 4 > 1 > 130 > 3. The codes that end a
    /// command before it has done anything lie between a signal and 3.
    pub(crate) fn worse(self, other: Exit) -> Exit {
        if other.rank() > self.rank() { other } else { self }
    }

    fn rank(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Partial => 1,
            Exit::NotFound => 2,
            Exit::Usage => 3,
            Exit::NoStore => 4,
            Exit::Locked => 5,
            Exit::Interrupted => 6,
            Exit::Terminated => 7,
            Exit::Damage => 8,
            Exit::Failed => 9,
        }
    }

    /// Returns what an error that ended a command means. `terminated` tells which signal asked to stop.
    pub(crate) fn of(error: &Error, terminated: bool) -> Exit {
        match error {
            Error::NoStore { .. } => Exit::NoStore,
            Error::Locked { .. } => Exit::Locked,
            Error::BadInput { .. }
            | Error::Exists { .. }
            | Error::TooLarge { .. }
            | Error::CompactedAway { .. } => Exit::Usage,
            // A store makes itself read-only when it has proof of a loss (an index newer than its log).
            Error::Damaged { .. } | Error::ReadOnly { .. } => Exit::Damage,
            Error::Cancelled if terminated => Exit::Terminated,
            Error::Cancelled => Exit::Interrupted,
            Error::Io { .. }
            | Error::UnsupportedVersion { .. }
            | Error::KeyCollision { .. }
            | Error::Poisoned { .. } => Exit::Failed,
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done, nothing wrong",
            Exit::Damage => "damage found and not repaired",
            Exit::Usage => "the command line or an input makes no sense; nothing was done",
            Exit::Partial => {
                "some inputs were rejected, all others are done; or the time was up before the end"
            }
            Exit::Failed => "operational failure: input or output, no space, output lost",
            Exit::NotFound => "not found",
            Exit::NoStore => "there is no store at the path",
            Exit::Locked => "another process is writing to the store",
            Exit::Interrupted => "stopped by SIGINT at a safe place",
            Exit::Terminated => "stopped by SIGTERM at a safe place",
        }
    }
}

/// The error's name in machine output. Stable.
pub(crate) fn error_code(error: &Error) -> &'static str {
    match error {
        Error::Io { .. } => "io",
        Error::Damaged { .. } => "damaged",
        Error::UnsupportedVersion { .. } => "unsupported_version",
        Error::NoStore { .. } => "no_store",
        Error::Exists { .. } => "exists",
        Error::Locked { .. } => "locked",
        Error::TooLarge { .. } => "too_large",
        Error::BadInput { .. } => "bad_input",
        Error::CompactedAway { .. } => "compacted_away",
        Error::KeyCollision { .. } => "key_collision",
        Error::Poisoned { .. } => "poisoned",
        Error::ReadOnly { .. } => "read_only",
        Error::Cancelled => "cancelled",
    }
}

/// What to do about an error, where there is something better to say than the error itself.
pub(crate) fn advice(error: &Error) -> Option<&'static str> {
    match error {
        Error::NoStore { .. } => {
            Some("-s PATH or STORE_PATH names one; `store init` and `store import SOURCE` make one")
        }
        Error::Locked { .. } => {
            Some("--lock-wait SECONDS waits for it; commands that only read never have to wait")
        }
        Error::Damaged { .. } | Error::ReadOnly { .. } => {
            Some("`store check` shows all damage with its place, `store repair` saves what is intact")
        }
        Error::UnsupportedVersion { .. } => Some("a newer version of this program reads it"),
        Error::Poisoned { .. } => Some("what was acknowledged before is safe; run the command again"),
        Error::CompactedAway { .. } => {
            Some("`restore --changed-since` and the snapshots of an id are known through compactions too")
        }
        Error::Io { .. }
        | Error::Exists { .. }
        | Error::TooLarge { .. }
        | Error::BadInput { .. }
        | Error::KeyCollision { .. }
        | Error::Cancelled => None,
    }
}

/// Exit codes of commands that read: lookups and figures.
pub(crate) const READ: &[Exit] = &[Exit::Done, Exit::Damage, Exit::Usage, Exit::Failed, Exit::NoStore];
/// Exit codes of lookups, which may find nothing.
pub(crate) const LOOKUP: &[Exit] =
    &[Exit::Done, Exit::Damage, Exit::Usage, Exit::Failed, Exit::NotFound, Exit::NoStore];
/// Exit codes of `explain` and `diff`, which may find nothing and take their time.
pub(crate) const COMPARE: &[Exit] = &[
    Exit::Done,
    Exit::Damage,
    Exit::Usage,
    Exit::Failed,
    Exit::NotFound,
    Exit::NoStore,
    Exit::Interrupted,
    Exit::Terminated,
];
/// Exit codes of commands that need neither a store nor much else.
pub(crate) const PLAIN: &[Exit] = &[Exit::Done, Exit::Usage, Exit::Failed];
/// Exit codes of `import`.
pub(crate) const IMPORT: &[Exit] = &[
    Exit::Done,
    Exit::Damage,
    Exit::Usage,
    Exit::Partial,
    Exit::Failed,
    Exit::Locked,
    Exit::Interrupted,
    Exit::Terminated,
];
/// Exit codes of `put`.
pub(crate) const PUT: &[Exit] =
    &[Exit::Done, Exit::Damage, Exit::Usage, Exit::Partial, Exit::Failed, Exit::NoStore, Exit::Locked];
/// Exit codes of `delete`.
pub(crate) const DELETE: &[Exit] =
    &[Exit::Done, Exit::Damage, Exit::Usage, Exit::Failed, Exit::NotFound, Exit::NoStore, Exit::Locked];
/// Exit codes of `restore`.
pub(crate) const RESTORE: &[Exit] = &[
    Exit::Done,
    Exit::Damage,
    Exit::Usage,
    Exit::Partial,
    Exit::Failed,
    Exit::NoStore,
    Exit::Interrupted,
    Exit::Terminated,
];
/// Exit codes of `manifest`.
pub(crate) const MANIFEST: &[Exit] = RESTORE;
/// Exit codes of `check`.
pub(crate) const CHECK: &[Exit] = &[
    Exit::Done,
    Exit::Damage,
    Exit::Usage,
    Exit::Partial,
    Exit::Failed,
    Exit::NoStore,
    Exit::Locked,
    Exit::Interrupted,
    Exit::Terminated,
];
/// Exit codes of `repair`.
pub(crate) const REPAIR: &[Exit] = COMPACT;

/// Exit codes of `compact`.
pub(crate) const COMPACT: &[Exit] = &[
    Exit::Done,
    Exit::Damage,
    Exit::Usage,
    Exit::Failed,
    Exit::NoStore,
    Exit::Locked,
    Exit::Interrupted,
    Exit::Terminated,
];

/// What a run is called, for the help of the commands that take one.
pub(crate) const RUN: &str = "RUN is the name of a run's directory, an instant in UTC as YYYYMMDDTHHMMSSZ: 20240115T140000Z. `store runs` lists those that the store holds.";

/// Returns [`help`] behind what a run is called.
pub(crate) fn help_with_run(exits: &[Exit]) -> String {
    format!("{RUN}\n\n{}", help(exits))
}

/// Returns the section "Exit status" of a command's help.
pub(crate) fn help(exits: &[Exit]) -> String {
    let mut text = String::from("Exit status:\n");
    for exit in exits {
        // Writing to a String cannot fail.
        writeln!(text, "  {:<4} {}", exit.code(), exit.meaning()).ok();
    }
    text.push_str("Treat any other code as a failure.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_two_exits_is_told_in_the_order_4_1_130_3() {
        let order = [Exit::Failed, Exit::Damage, Exit::Interrupted, Exit::Partial, Exit::Done];
        for (place, worse) in order.iter().enumerate() {
            for better in &order[place..] {
                assert_eq!(worse.worse(*better), *worse, "{worse:?} {better:?}");
                assert_eq!(better.worse(*worse), *worse, "{better:?} {worse:?}");
            }
        }
        assert_eq!(Exit::NotFound.worse(Exit::Damage), Exit::Damage);
        assert_eq!(Exit::Terminated.worse(Exit::Partial), Exit::Terminated);
    }

    #[test]
    fn errors_map_to_the_codes_of_the_contract() {
        let path = std::path::PathBuf::from("x");
        let cases = [
            (Error::NoStore { path: path.clone() }, 10),
            (Error::Locked { path: path.clone(), holder: String::new() }, 11),
            (Error::Exists { path: path.clone() }, 2),
            (Error::BadInput { what: String::new(), reason: String::new() }, 2),
            (Error::TooLarge { what: "file", len: 2, max: 1 }, 2),
            (Error::damaged(crate::error::Place::whole("config"), crate::error::Damage::Missing), 1),
            (Error::ReadOnly { reason: String::new() }, 1),
            (Error::io("read", "x", std::io::Error::other("bad")), 4),
            (Error::UnsupportedVersion { path, found: 2, supported: 1 }, 4),
            (Error::Poisoned { reason: String::new() }, 4),
            (Error::CompactedAway { commit: crate::id::CommitId(1), by: crate::id::CommitId(2) }, 2),
            (Error::Cancelled, 130),
        ];
        for (error, code) in cases {
            assert_eq!(Exit::of(&error, false).code(), code, "{error}");
        }
        assert_eq!(Exit::of(&Error::Cancelled, true).code(), 143);
    }

    #[test]
    fn help_lists_each_code_with_its_meaning() {
        let text = help(LOOKUP);
        assert!(text.starts_with("Exit status:\n  0    done"), "{text}");
        assert!(text.contains("\n  5    not found\n"), "{text}");
        assert!(text.contains("\n  10   there is no store"), "{text}");
    }
}
