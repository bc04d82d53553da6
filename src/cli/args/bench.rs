//! Arguments of `bench`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Lookups of each kind; at most one for each snapshot, and 200,000
    #[arg(long, value_name = "COUNT", default_value = "100000", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) lookups: u32,
    /// Threads that look up at the same time, at most: 2, 4, 8 and so on are measured, and these [default: one for each processor]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Ids looked up together; their times are the mean of a batch
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: u32,
    /// Choose other ids: those of this number, the same each time
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    pub(crate) seed: u64,
    /// Leave out the scan, which reads all of the store
    #[arg(long)]
    pub(crate) no_scan: bool,
    /// Write a page with a plot of the latencies
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
}
