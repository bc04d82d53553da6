//! Floor 0: every limit and default, with its unit and its reason.

/// Default size at which a segment is sealed, in bytes. Soft: a transaction is never split.
pub const SEGMENT_SIZE_DEFAULT_BYTES: u64 = 64 << 20;
/// Smallest segment size that `init` takes, in bytes. Tests use it to reach every border cheaply.
pub const SEGMENT_SIZE_MIN_BYTES: u64 = 512;
/// Largest segment size that `init` takes, in bytes.
pub const SEGMENT_SIZE_MAX_BYTES: u64 = 1 << 30;
/// Largest transaction, in bytes. It lies within one segment, and offsets are 32 bits wide.
pub const TRANSACTION_MAX_BYTES: u64 = 1 << 30;
/// Largest file that a record can hold, in bytes: it must fit a transaction with its record header.
pub const FILE_MAX_BYTES: u64 = TRANSACTION_MAX_BYTES - (1 << 20);
/// Largest name, in bytes. File names are at most 255; ids inside files may be longer.
pub const NAME_MAX_BYTES: usize = 1024;
/// Deepest nesting of JSON arrays and objects that import takes.
pub const JSON_DEPTH_MAX: usize = 128;
/// Most segments mapped at a time; the least recently used one is dropped first.
pub const MAPPED_SEGMENTS_MAX: usize = 1024;
/// Records after which the tail is written to a delta index.
pub const TAIL_MAX_RECORDS: u64 = 16_384;
/// Bytes after which the tail is written to a delta index.
pub const TAIL_MAX_BYTES: u64 = 16 << 20;
/// Most delta indexes beside a base index.
pub const DELTAS_MAX: usize = 8;
/// Records after which import commits.
pub const GROUP_MAX_RECORDS: u64 = 65_536;
/// Bytes of source files after which import commits.
pub const GROUP_MAX_BYTES: u64 = 16 << 20;
/// Bytes of source files that an import holds in memory at a time.
pub const IMPORT_MEMORY_DEFAULT_BYTES: u64 = 256 << 20;
/// Most segments in a store: the index numbers them with 19 bits.
pub const SEGMENT_COUNT_MAX: u64 = 1 << 19;
/// Records of which a replay of the log keeps track in memory before it sets them aside as a file. Under test so few that
/// every replay does.
pub const REPLAY_MAX_RECORDS: usize = if cfg!(test) { 3 } else { 32_768 };
/// Entries of an index that are sorted in memory at a time, when it is written.
pub const INDEX_PART_ENTRIES: u32 = 65_536;
/// Most entries in an index: they are numbered with 32 bits.
pub const INDEX_ENTRIES_MAX: u64 = 0xffff_ffff;
/// Records that the first import must bring for a dictionary to be trained.
pub const DICTIONARY_MIN_RECORDS: usize = 1000;
/// Largest dictionary, in bytes.
pub const DICTIONARY_MAX_BYTES: usize = 1 << 20;
