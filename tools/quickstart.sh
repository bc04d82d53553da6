#!/usr/bin/env bash
# Builds `store` and shows what it is for on the sample of the repository: import, look up, restore, verify.
# usage: tools/quickstart.sh [BACKUP]     BACKUP: a backup tree of your own
set -euo pipefail
backup=${1:+$(cd "$1" && pwd)}
cd "$(dirname "$0")/.."
backup=${backup:-tests/data/sample}
tree=$backup
[ ! -d "$backup/opencti_data" ] || tree=$backup/opencti_data

cargo build --release --locked
store=$(realpath "${CARGO_TARGET_DIR:-target}")/release/store
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset "${!STORE_@}"
export STORE_PATH=$work/opencti.store
say() { echo; echo "\$ $*"; }

say "store import $backup"
# 3: some files of the tree are no good and were named; all others are in.
"$store" import "$backup" || [ $? = 3 ]
say "store runs | tail -3"
"$store" runs | tail -3
run=$("$store" runs | head -1 | cut -f1)
id=$("$store" ls "$run" | head -1 | cut -f1)
say "store history $id"
"$store" history "$id"
say "store get $id | head -5"
"$store" get "$id" | head -5
say "store restore --tree out"
"$store" restore --tree "$work/out"
say "diff -r $tree out/opencti_data     (what only the source has is what import listed)"
diff -r "$tree" "$work/out/opencti_data" || [ $? = 1 ]
say "store check --level content"
"$store" check --level content
size() { echo "$1: $(find "$2" -type f | wc -l) files, $(find "$2" -type f -exec cat {} + | wc -c) bytes"; }
echo
size "the backup tree" "$tree"
size "the store" "$STORE_PATH"
