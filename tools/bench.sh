#!/usr/bin/env bash
# Runs the benchmarks: the store beside its peers (peers), then its parts (lookup, scan, open, import, restore, compress), or those named.
# Prints for each part its median and the ratio to a floor measured beside it; for the peers one table of ratios with the
# smallest and largest of at least five runs, also as target/bench/peers.json and as a page with plots, target/bench/peers.html.
# usage: tools/bench.sh [NAME...]
# Takes an hour and 20 GB below $TMPDIR for all; RocksDB's build alone takes 20 minutes and needs libclang (PEERS_FEATURES= leaves
# it out). PEERS_SIZES=200000 and PEERS_ROUNDS=5 make it shorter; PEERS_IMPORT is the size of the tree that the store and its peers
# take in. STORE_BENCH_SIZES=10000,1000000 gives `open` other stores, STORE_BENCH_TREE=DIR gives `compress` a tree of your own.
set -euo pipefail
cd "$(dirname "$0")/.."
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(peers lookup scan open import restore compress)

mkdir -p target/bench
peers() {
    local out=$PWD/target/bench sizes=${PEERS_SIZES:-10000,100000,200000,1000000} rounds=${PEERS_ROUNDS:-5}
    (cd benches/peers && cargo build --quiet --locked --release --no-default-features --features "${PEERS_FEATURES-rocksdb}")
    target/peers/release/stix-store-peers --sizes "$sizes" --rounds "$rounds" --json "$out/peers.json"
    # Growth alone: small files, so that ten times as many snapshots fit.
    [ -n "${PEERS_SIZES:-}" ] || target/peers/release/stix-store-peers --sizes 10000000 --payload 64 \
        --only "store,store unverified" --rounds "$rounds" --json "$out/small.json"
    target/peers/release/stix-store-peers --import "${PEERS_IMPORT:-200000}" --rounds "$rounds" --json "$out/import.json"
    tools/peers.py "$out"/peers.html "$out"/peers.json "$out"/import.json $([ -n "${PEERS_SIZES:-}" ] || echo "$out"/small.json)
}

for name in "${names[@]}"; do
    if [ "$name" = peers ]; then
        peers
        continue
    fi
    since=$(date +%s)
    # Criterion's own report goes away: what it measured is read from its files.
    cargo bench --quiet --locked --bench "$name" > target/bench/"$name".log
    grep -vE '^(lookup|scan|open|import|restore)/|^ +|^Found|^Gnuplot|^Benchmarking|^$' target/bench/"$name".log || true
    tools/bench.py "$since"
done
