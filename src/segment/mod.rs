//! Floor 2: segment files: records appended, records read, dictionaries.

pub mod codec;
pub mod dictionary;
pub mod reader;
pub mod record;
pub mod set;
pub mod walk;
pub mod writer;

pub use codec::{Codec, Encoded, Encoder};
pub use dictionary::Dictionary;
pub use reader::{Bindings, Segment};
pub use record::{Opened, Record};
pub use set::{SegmentRef, Segments};
pub use walk::{Step, Walk};
pub use writer::SegmentWriter;
