#!/usr/bin/env bash
# Usage: tools/resources.sh [SNAPSHOTS [FILES]]
#
# Measures the optimized program as tests/resources.rs does, on a store of 1,000,000 snapshots and an import of 200,000
# files unless told otherwise: page faults, reads and time of a lookup, peak memory of an import. Takes 3 GB below
# $TMPDIR. Where strace is installed, it also counts all system calls of a lookup that touch files.
set -euo pipefail
cd "$(dirname "$0")/.."
export RESOURCES_SNAPSHOTS="${1:-1000000}" RESOURCES_FILES="${2:-200000}"
cargo test --release --test integration resources -- --nocapture --test-threads 1

command -v strace > /dev/null || exit 0
cargo build --release --bin store --example gen_store
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# The loader's own calls are the same without a store.
count() {
    strace -qc -e trace=read,pread64,getdents64,openat,statx,newfstatat,mmap -o "$dir/calls" "$@" > "$dir/out" 2>&1 || true
    awk '$NF == "total" { print $4 }' "$dir/calls"
}
for kind in none zstd; do
    target/release/examples/gen_store "$dir/$kind" "$RESOURCES_SNAPSHOTS" "$kind"
    id=$(target/release/store -q -s "$dir/$kind" ls 20240115T140000Z | head -1 | cut -f1)
    idle=$(count target/release/store -s "$dir/missing" get "$id")
    busy=$(count target/release/store -s "$dir/$kind" get "$id")
    echo "$kind: $RESOURCES_SNAPSHOTS snapshots: get: $((busy - idle)) calls that open, stat, list, map or read files"
done
