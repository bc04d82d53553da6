//! The one integration test binary; each file beside it is a module.

mod format;
