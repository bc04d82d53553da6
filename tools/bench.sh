#!/usr/bin/env bash
# Runs the benchmarks (lookup, scan, open, import, compress, or those named) and prints a table: each median, and its ratio to
# the floor that was measured beside it.
# usage: tools/bench.sh [NAME...]
# Takes some minutes and 2 GB below $TMPDIR. STORE_BENCH_SIZES=10000,1000000 gives `open` other stores, STORE_BENCH_TREE=DIR
# gives `compress` a tree of your own.
set -euo pipefail
cd "$(dirname "$0")/.."
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(lookup scan open import compress)
for name in "${names[@]}"; do
    since=$(date +%s)
    # Criterion's own report goes away: what it measured is read from its files.
    cargo bench --quiet --locked --bench "$name" | grep -vE '^(lookup|scan|open|import)/|^ +|^Found|^Gnuplot|^Benchmarking|^$' || true
    tools/bench.py "$since"
done
