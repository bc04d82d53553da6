//! Floor 1: what is inside a backup file. Parses a bundle, finds where its objects and their
//! references lie, and writes those positions down, so that a restore never parses JSON again.

pub mod attachment;
pub mod bundle;
pub mod codec;
pub mod difference;
mod json;
mod msgpack;
pub mod run;
mod walk;

pub use bundle::{Bundle, Object, RefClass, Reject};
pub use codec::Meta;
