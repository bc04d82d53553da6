#!/usr/bin/env bash
# Runs the benchmarks: the store beside its peers (peers), its parts (lookup, scan, open, import, restore, compress), the bytes of real
# trees on disk (sizes), or those named. Ends with one table: medians, smallest, largest, ratios to peers and floors, goals; also as
# JSON, target/bench/NAME.json, and as a page with plots that needs nothing else, target/bench/index.html.
# usage: tools/bench.sh [NAME...]
# Takes two hours and 20 GB below $TMPDIR for all; RocksDB's build alone takes 20 minutes and needs libclang (PEERS_FEATURES= leaves
# it out). BENCH_QUICK=1 only shows that all of it runs: its figures say nothing. PEERS_SIZES=200000 and PEERS_ROUNDS=5 make it
# shorter; PEERS_IMPORT is the size of the tree that the store and its peers take in. STORE_BENCH_SIZES=10000,200000 gives `open`
# other stores, STORE_BENCH_TREE=DIR gives `compress` a tree of your own, SIZES_TREES=DIR gives `sizes` the folder of its trees.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v python3 > /dev/null || { echo "bench.sh: needs python3 for its table; install it with: apt-get install python3" >&2; exit 1; }
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(peers lookup scan open import restore compress sizes)
criterion=()
if [ "${BENCH_QUICK:-0}" != 0 ]; then
    export PEERS_SIZES=${PEERS_SIZES:-2000,10000} PEERS_ROUNDS=${PEERS_ROUNDS:-2} PEERS_IMPORT=${PEERS_IMPORT:-2000}
    export STORE_BENCH_SIZES=${STORE_BENCH_SIZES:-2000,10000} STORE_BENCH_FILES=${STORE_BENCH_FILES:-2000}
    criterion=(-- --quick)
fi
export STORE_BENCH_SIZES=${STORE_BENCH_SIZES:-10000,1000000}
out=$PWD/target/bench
mkdir -p "$out"
figures=()

peers() {
    local sizes=${PEERS_SIZES:-10000,100000,200000,1000000} rounds=${PEERS_ROUNDS:-5} program=target/peers/release/stix-store-peers
    (cd benches/peers && cargo build --quiet --locked --release --no-default-features --features "${PEERS_FEATURES-rocksdb}")
    "$program" --sizes "$sizes" --rounds "$rounds" --json "$out/peers.json"
    "$program" --import "${PEERS_IMPORT:-200000}" --rounds "$rounds" --json "$out/peers-import.json"
    figures+=("$out/peers.json" "$out/peers-import.json")
    # Growth alone: small files, so that ten times as many snapshots fit.
    [ -z "${PEERS_SIZES:-}" ] || return 0
    "$program" --sizes 10000,10000000 --payload 64 --only "store,store unverified" --rounds "$rounds" --json "$out/peers-small.json"
    figures+=("$out/peers-small.json")
}

sizes() {
    local trees=${SIZES_TREES:-} packed=../shared/data/attack-ics-mobile.tar.gz
    if [ -z "$trees" ]; then
        [ -f "$packed" ] || { echo "bench.sh: SKIPPED: sizes, there are no real trees; SIZES_TREES=DIR names some"; return 0; }
        trees=$(mktemp -d)
        tar -xzf "$packed" -C "$trees" --strip-components 1
    fi
    cargo build --release --quiet --locked --bin store
    tools/sizes.py target/release/store "$trees" "$out/sizes.json"
    [ -n "${SIZES_TREES:-}" ] || rm -rf "$trees"
    figures+=("$out/sizes.json")
}

for name in "${names[@]}"; do
    echo "== $name"
    case $name in
    peers | sizes) "$name"; continue ;;
    esac
    since=$(date +%s)
    # Criterion's own report goes away: what it measured is read from its files.
    cargo bench --quiet --locked --bench "$name" "${criterion[@]}" > "$out/$name.log"
    grep -vE '^(lookup|scan|open|import|restore)/|^ +(time|thrpt|change):|^ +[[:digit:]]+ \([[:digit:].]+%\)|^ +(Performance|No change|Change within)|^Found|^Gnuplot|^Benchmarking|^$' \
        "$out/$name.log" || true
    tools/bench.py "$since" "$out/$name.log" "$out/$name.json"
    figures+=("$out/$name.json")
done
[ ${#figures[@]} -eq 0 ] || tools/peers.py "$out/index.html" "${figures[@]}"
