//! What the figures were measured on, printed in front of them.

/// Prints the workload of a benchmark and the facts of the machine.
pub(crate) fn say(bench: &str, workload: &str) {
    println!("## {bench}");
    println!("workload: {workload}");
    println!("machine: {}; page cache warm; store and tree in {}", facts(), std::env::temp_dir().display());
}

/// The machine, in one line.
pub(crate) fn facts() -> String {
    let first = |path: &str, key: &str, end: char| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(end).map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{cores} cores, {}, {} of memory, Linux {}, load before {}",
        first("/proc/cpuinfo", "model name", ':'),
        first("/proc/meminfo", "MemTotal", ':'),
        first("/proc/version", "Linux", ' ')
            .trim_start_matches("version ")
            .split(' ')
            .next()
            .unwrap_or_default(),
        load.split(' ').next().unwrap_or("?"),
    )
}

/// Prints one figure that is no time.
pub(crate) fn fact(what: &str, value: &str) {
    println!("fact: {what} = {value}");
}
