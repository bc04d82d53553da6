//! The one integration test binary; each file beside it is a module.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may fail; what they share is no test function, which the lints' own exception asks for"
)]

mod acceptance;
mod aliases;
mod archives;
mod bench;
mod changes;
mod cli;
mod common;
mod crash;
mod damage;
mod dry_run;
mod expected;
mod fault;
mod floors;
mod format;
mod fuzz;
mod incremental;
mod messages;
mod model;
mod process;
mod readme;
mod repair;
mod resources;
mod restore;
mod runs;
mod sample;
mod session;
mod stream;
mod transactions;
