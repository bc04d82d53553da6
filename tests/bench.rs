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
        "newest, 7 at a time, mean",
        "newest",
        "scan, by run",
    ];
    assert_eq!(names, expect);
    for unit in &measured {
        let times =
            ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"].map(|name| unit[name].as_u64().unwrap());
        // A histogram that did not grow once told 2 ns for everything.
        assert!(unit["count"].as_u64().unwrap() > 0 && times[0] > 10 && times.is_sorted(), "{unit}");
        assert_eq!(unit["damaged"], 0);
        assert_eq!(unit["bytes"].as_u64() == Some(0), unit["name"] == "absent", "{unit}");
    }
    let page = fs::read_to_string(report).unwrap();
    assert!(page.contains("<svg") && page.contains("newest, 7 at a time, mean"), "{page}");
}

/// A report once replaced the file of the store that it was named after.
#[test]
fn a_report_in_the_store_is_refused() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let segment = dir.path("store/data/0000000001.seg");
    let before = fs::read(&segment).unwrap();
    for path in [segment.clone(), dir.path("store/config"), dir.path("store/new.html")] {
        let output = dir.run(&["bench", "--lookups", "5", "--report", text(&path)]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    assert_eq!(fs::read(&segment).unwrap(), before);
    assert!(!dir.path("store/new.html").exists());
}

/// One damaged record once ended the measurement without a figure.
#[test]
fn damaged_records_are_counted_and_the_rest_is_measured() {
    let dir = Dir::new();
    dir.import(3, &sample());
    let segment = dir.path("store/data/0000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3].iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(&segment, bytes).unwrap();
    let output = dir.run(&["--json", "bench"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let units = read_stream(&output.stdout);
    let scan =
        of_type(&units, "bench").into_iter().find(|unit| unit["name"] == "scan, by run").unwrap().clone();
    assert!(
        scan["damaged"].as_u64() >= Some(1) && scan["count"].as_u64() > scan["damaged"].as_u64(),
        "{scan}"
    );
    assert!(of_type(&units, "error").iter().any(|unit| unit["code"] == "damaged"));
}
