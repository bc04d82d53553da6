//! `store init`: a new, empty store.

use crate::error::Result;
use crate::limits;
use crate::store::{Compression, CreateOptions, Store};

use super::args::{CompressionArg, CreateArgs, InitArgs};
use super::context::Context;
use super::text::show;

/// Runs the command.
///
/// # Errors
/// `Exists` if there is something at the path; failures of the file system.
pub(crate) fn run(context: &Context, args: &InitArgs) -> Result<()> {
    let store = Store::create(&context.store, &options(&args.create))?;
    context.out.begin(Some(store.id()), &serde_json::json!({}))?;
    let path = show(context.store.as_os_str().as_encoded_bytes());
    context.say(&format!("created store {} at {path}", store.id()))
}

/// Returns what a new store is to be like.
pub(crate) fn options(args: &CreateArgs) -> CreateOptions {
    CreateOptions {
        segment_size: args.segment_size.unwrap_or(limits::SEGMENT_SIZE_DEFAULT_BYTES),
        compression: match args.compression {
            Some(CompressionArg::None) => Compression::None,
            Some(CompressionArg::Zstd) => Compression::Zstd,
            None => Compression::default(),
        },
        store_id: args.store_id,
        dictionary: None,
    }
}

/// Tells whether anything was said about a new store.
pub(crate) fn is_given(args: &CreateArgs) -> bool {
    args.segment_size.is_some() || args.compression.is_some() || args.store_id.is_some()
}
