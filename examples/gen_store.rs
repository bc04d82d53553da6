//! `gen_store DIR COUNT zstd|none`: writes a store of synthetic snapshots, for measurements; and
//! `gen_store DIR COUNT tree`: a backup tree of them.

use std::path::Path;
use std::process::ExitCode;

use stix_store::Compression;

#[path = "../tests/resources/generate.rs"]
mod generate;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, count, kind] = args.as_slice() else { return ExitCode::from(2) };
    let Ok(count) = count.parse() else { return ExitCode::from(2) };
    let path = Path::new(path);
    let done = match kind.as_str() {
        "zstd" => generate::store(path, count, Compression::Zstd).map_err(|error| error.to_string()),
        "none" => generate::store(path, count, Compression::None).map_err(|error| error.to_string()),
        "tree" => generate::tree(path, count).map_err(|error| error.to_string()),
        _ => return ExitCode::from(2),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
