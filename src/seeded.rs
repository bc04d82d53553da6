//! Floor 0: bugs put in on purpose, to show that the tests find them (`tools/mutants.sh`).
//!
//! Only with the feature `seeded-bugs`, which nothing else turns on. Without it no bug is there, which is known when this
//! is compiled. The idea is that of mutation testing; one build serves all mutants.

macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident $name:literal,)*) => {
        /// What can be done wrong.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Bug {
            $($(#[$doc])* $bug,)*
        }

        /// The bugs by their names.
        #[cfg(feature = "seeded-bugs")]
        const ALL: &[(&str, Bug)] = &[$(($name, Bug::$bug)),*];
    };
}

bugs! {
    /// Records are not durable before their COMMIT is written.
    CommitBeforeData "commit-before-data",
    /// A commit is acknowledged before its COMMIT is durable.
    CommitUnsynced "commit-unsynced",
    /// The name of a new segment is not made durable.
    SegmentUnnamed "segment-unnamed",
    /// What a killed process left is built on as it is.
    FoundUnsynced "found-unsynced",
    /// A small file gets its name before its bytes are durable.
    PublishedBeforeData "published-before-data",
    /// An index gets its name before its bytes are durable.
    IndexBeforeData "index-before-data",
    /// Segments that were compacted are removed before the index that does without them is there.
    UnlinkBeforeIndex "unlink-before-index",
    /// They are removed although that index may be in the cache only.
    UnlinkBeforeIndexSynced "unlink-before-index-synced",
    /// A compaction drops every DELETE.
    DeleteDropped "delete-dropped",
    /// What was rolled back stays where the next transaction is appended.
    RollbackAppends "rollback-appends",
    /// A writer goes on after a failed write or sync.
    NotPoisoned "not-poisoned",
    /// The checksum of a record's head is not verified.
    HeadUnchecked "head-unchecked",
    /// The checksum of a record's data is not verified.
    DataUnchecked "data-unchecked",
    /// The checksum of a page of the index is not verified.
    PageUnchecked "page-unchecked",
}

/// Tells whether a bug is there.
#[cfg(not(feature = "seeded-bugs"))]
pub(crate) const fn has(_: Bug) -> bool {
    false
}

/// Tells whether a bug is there: the one that `STORE_SEEDED_BUG` names, if it is set.
#[cfg(feature = "seeded-bugs")]
pub(crate) fn has(bug: Bug) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("STORE_SEEDED_BUG").ok()?;
        let found = ALL.iter().find(|(known, _)| *known == name);
        // What is misspelt must not pass for a bug that is not found.
        assert!(found.is_some(), "STORE_SEEDED_BUG={name} is none of {ALL:?}");
        found.map(|(_, bug)| *bug)
    });
    *chosen == Some(bug)
}
