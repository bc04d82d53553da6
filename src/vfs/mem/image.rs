//! The state of a file system in memory, and the operations that change it.
//!
//! An operation names files by number and not by path, so that any part of a log can be applied without
//! the rest: bytes go to their file although the operation that gave it its name was lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Kind;

/// The number of a file or directory: what an inode is to the system. Never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(u64);

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The directory.
    pub dir: NodeId,
    /// The name in it.
    pub name: String,
}

/// One operation that changed something, or made a change durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Op {
    /// The path it was issued for; the new one for a rename.
    pub path: String,
    /// What it does.
    pub action: Action,
}

/// What an operation does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Creates an empty file.
    Create {
        /// Its name.
        at: Entry,
        /// Its number.
        node: NodeId,
    },
    /// Creates a directory.
    CreateDir {
        /// Its name.
        at: Entry,
        /// Its number.
        node: NodeId,
    },
    /// Appends to a file.
    Append {
        /// The file.
        node: NodeId,
        /// Where the bytes go: the length the file had.
        offset: usize,
        /// The bytes.
        bytes: Arc<[u8]>,
    },
    /// Makes all bytes appended to a file durable.
    Sync {
        /// The file.
        node: NodeId,
    },
    /// Gives a file another name, atomically.
    Rename {
        /// The old name.
        from: Entry,
        /// The new name.
        to: Entry,
        /// The file.
        node: NodeId,
    },
    /// Removes a name.
    Remove {
        /// The name.
        at: Entry,
    },
    /// Makes all changes of names in a directory durable.
    SyncDir {
        /// The directory.
        node: NodeId,
    },
    /// A test gave a file other bytes, behind the back of the program. Durable at once.
    Damage {
        /// Its name.
        at: Entry,
        /// The file.
        node: NodeId,
        /// All its bytes from now on.
        bytes: Arc<[u8]>,
    },
    /// A test took a file away, behind the back of the program. Durable at once.
    Lose {
        /// The name.
        at: Entry,
    },
    /// Nothing: a test noted that the program acknowledged something.
    Mark,
}

/// What a crash does to an operation that was not durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It never reached the disk. Later bytes of the same file may have: zeros stand in the gap.
    Drop,
    /// It did, although nobody made sure.
    Apply,
    /// These bytes arrived in place of the appended ones: a part of them, zeros, what was on the disk
    /// before. Anything but an append is applied.
    Bytes(Vec<u8>),
}

/// A file or a directory. Cloning is cheap: bytes are shared until one side changes them.
#[derive(Clone, Debug)]
enum Node {
    File(Arc<Vec<u8>>),
    Directory(BTreeMap<String, NodeId>),
}

/// All files and directories.
#[derive(Clone, Debug)]
pub(super) struct Image {
    nodes: BTreeMap<NodeId, Node>,
    next: NodeId,
}

/// The root directory.
const ROOT: NodeId = NodeId(0);

impl Image {
    /// Returns an empty root.
    pub(super) fn new() -> Image {
        Image { nodes: BTreeMap::from([(ROOT, Node::Directory(BTreeMap::new()))]), next: NodeId(1) }
    }

    /// Returns a number that names nothing yet.
    pub(super) fn fresh(&self) -> NodeId {
        self.next
    }

    /// Finds what a path names; `""` is the root.
    pub(super) fn find(&self, path: &str) -> Option<NodeId> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        parts.try_fold(ROOT, |dir, part| self.names(dir)?.get(part).copied())
    }

    /// Finds the directory that a path's last part stands in. `None` if that is absent or no directory.
    pub(super) fn entry(&self, path: &str) -> Option<Entry> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = self.find(dir)?;
        self.names(dir)?;
        Some(Entry { dir, name: name.to_owned() })
    }

    /// Returns the names in a directory.
    pub(super) fn names(&self, node: NodeId) -> Option<&BTreeMap<String, NodeId>> {
        match self.nodes.get(&node)? {
            Node::Directory(names) => Some(names),
            Node::File(_) => None,
        }
    }

    /// Returns the bytes of a file.
    pub(super) fn bytes(&self, node: NodeId) -> Option<&Arc<Vec<u8>>> {
        match self.nodes.get(&node)? {
            Node::File(bytes) => Some(bytes),
            Node::Directory(_) => None,
        }
    }

    /// Tells what a number names.
    pub(super) fn kind(&self, node: NodeId) -> Kind {
        if self.names(node).is_some() { Kind::Directory } else { Kind::File }
    }

    /// Adds the paths of all files below a directory, sorted by name.
    pub(super) fn collect_paths(&self, dir: NodeId, prefix: &str, paths: &mut Vec<String>) {
        for (name, &node) in self.names(dir).into_iter().flatten() {
            let path = super::super::join(prefix, name);
            if self.kind(node) == Kind::Directory {
                self.collect_paths(node, &path, paths);
            } else {
                paths.push(path);
            }
        }
    }

    /// Returns the root's number.
    pub(super) fn root() -> NodeId {
        ROOT
    }

    /// Applies an operation. One that no longer fits, since others before it were dropped, does what of
    /// it still can be done.
    pub(super) fn apply(&mut self, action: &Action, fate: &Fate) {
        let dropped = *fate == Fate::Drop;
        match action {
            Action::Create { at, node } => self.add(*node, Node::File(Arc::default()), at, dropped),
            Action::CreateDir { at, node } => {
                self.add(*node, Node::Directory(BTreeMap::new()), at, dropped);
            }
            Action::Append { node, offset, bytes } => match fate {
                Fate::Drop => {}
                Fate::Apply => self.write(*node, *offset, bytes),
                Fate::Bytes(other) => self.write(*node, *offset, other),
            },
            Action::Damage { at, node, bytes } => {
                self.add(*node, Node::File(Arc::new(bytes.to_vec())), at, false);
            }
            Action::Rename { from, to, node } if !dropped => {
                if self.names(from.dir).and_then(|names| names.get(&from.name)) == Some(node) {
                    self.unlink(from);
                }
                self.link(to, *node);
            }
            Action::Remove { at } | Action::Lose { at } if !dropped => self.unlink(at),
            Action::Rename { .. }
            | Action::Remove { .. }
            | Action::Lose { .. }
            | Action::Sync { .. }
            | Action::SyncDir { .. }
            | Action::Mark => {}
        }
    }

    fn add(&mut self, id: NodeId, node: Node, at: &Entry, dropped: bool) {
        self.nodes.insert(id, node);
        self.next = self.next.max(NodeId(id.0.saturating_add(1)));
        if !dropped {
            self.link(at, id);
        }
    }

    fn link(&mut self, at: &Entry, node: NodeId) {
        if let Some(Node::Directory(names)) = self.nodes.get_mut(&at.dir) {
            names.insert(at.name.clone(), node);
        }
    }

    fn unlink(&mut self, at: &Entry) {
        if let Some(Node::Directory(names)) = self.nodes.get_mut(&at.dir) {
            names.remove(&at.name);
        }
    }

    fn write(&mut self, node: NodeId, offset: usize, bytes: &[u8]) {
        if let Some(Node::File(file)) = self.nodes.get_mut(&node) {
            let file = Arc::make_mut(file);
            // The end of a file only moves on, so this drops nothing but what an overlong fate wrote.
            file.resize(offset, 0);
            file.extend_from_slice(bytes);
        }
    }
}

/// Tells for each operation of a log whether it is durable at the log's end. Bytes become durable when
/// their file is synced, names when their directory is, a rename when both its directories are. Syncing
/// a file does not make its name durable: stricter than most file systems, as a portable program must be.
pub(super) fn durable(ops: &[Op]) -> Vec<bool> {
    let mut syncs_needed = Vec::with_capacity(ops.len());
    let mut waiting: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for (number, op) in ops.iter().enumerate() {
        let mut needs = 0u8;
        let mut wait = |node: NodeId| {
            waiting.entry(node).or_default().push(number);
            needs = needs.saturating_add(1);
        };
        match &op.action {
            Action::Create { at, .. } | Action::CreateDir { at, .. } | Action::Remove { at } => wait(at.dir),
            Action::Append { node, .. } => wait(*node),
            Action::Rename { from, to, .. } => {
                wait(to.dir);
                if from.dir != to.dir {
                    wait(from.dir);
                }
            }
            Action::Sync { node } | Action::SyncDir { node } => {
                for number in waiting.remove(node).unwrap_or_default() {
                    if let Some(needs) = syncs_needed.get_mut(number) {
                        *needs = u8::saturating_sub(*needs, 1);
                    }
                }
            }
            Action::Damage { .. } | Action::Lose { .. } | Action::Mark => {}
        }
        syncs_needed.push(needs);
    }
    syncs_needed.into_iter().map(|needs| needs == 0).collect()
}
