//! `store bench`: what is measured, and that it is told. No figure is judged: time is noisy.

use std::fs;

use crate::common::{Dir, of_type, read_stream, sample, text};

#[test]
fn bench_measures_a_store_and_writes_a_page() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let report = dir.path("bench.html");
    let output = dir
        .command(&[
            "--json",
            "bench",
            "--lookups",
            "50",
            "--threads",
            "2",
            "--batch",
            "7",
            "--report",
            text(&report),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let units = read_stream(&output.stdout);
    let measured: Vec<_> = of_type(&units, "bench");
    let names: Vec<_> = measured.iter().map(|unit| unit["name"].as_str().unwrap()).collect();
    let expect = [
        "open and first answer",
        "newest",
        "by run",
        "closest later",
        "absent",
        "newest, 7 at a time",
        "newest",
        "scan, by run",
    ];
    assert_eq!(names, expect);
    for unit in &measured {
        assert!(
            unit["count"].as_u64().unwrap() > 0 && unit["p50_ns"].as_u64() <= unit["max_ns"].as_u64(),
            "{unit}"
        );
        assert_eq!(unit["bytes"].as_u64() == Some(0), unit["name"] == "absent", "{unit}");
    }
    let page = fs::read_to_string(report).unwrap();
    assert!(page.contains("<svg") && page.contains("newest, 7 at a time"), "{page}");
}
