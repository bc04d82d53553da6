//! The one integration test binary; the files beside it are its modules.
