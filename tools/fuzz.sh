#!/usr/bin/env bash
# Runs the fuzz targets: with cargo-fuzz and a nightly toolchain where these are there, else with the small mutator of
# tests/fuzz.rs, which sees no coverage. What is found is named, and the run fails.
# usage: tools/fuzz.sh [SECONDS] [TARGET]...     default: 60 seconds for each target
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(ls fuzz/corpus)

if cargo +nightly fuzz --version > /dev/null 2>&1; then
    for target in "${targets[@]}"; do
        echo "== $target: libFuzzer, $seconds s"
        # What is found on the way is kept apart; the committed corpus only seeds it.
        mkdir -p "fuzz/grown/$target"
        cargo +nightly fuzz run --sanitizer none "$target" "fuzz/grown/$target" "fuzz/corpus/$target" -- \
            -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 2>&1 |
            grep -E 'DONE|stat::|panicked|ERROR|Test unit' || { echo "fuzz.sh: $target failed" >&2; exit 1; }
        [ -z "$(ls "fuzz/artifacts/$target" 2> /dev/null)" ] || { ls "fuzz/artifacts/$target"; exit 1; }
    done
else
    for target in "${targets[@]}"; do
        echo "== $target: no cargo-fuzz or no nightly, so the small mutator, $seconds s"
    done
    FUZZ_SECONDS=$seconds cargo test --locked --test integration fuzz:: -- --nocapture --test-threads 2
fi
echo "fuzz.sh: nothing found"
