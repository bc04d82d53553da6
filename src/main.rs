//! The `store` command: parse, run, turn the result into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    stix_store::cli::run(std::env::args_os())
}
