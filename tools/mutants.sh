#!/usr/bin/env bash
# Puts known bugs into the store, one at a time, and shows that a test finds each (src/seeded.rs). A run stops at the
# first image, call or bit that gives the bug away.
# usage: tools/mutants.sh [BUG]...     default: all
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0

# Each bug, and the tests that are to find it.
table='
commit-before-data          crash::a_crash_between_two_commits_of_one_segment
commit-unsynced             crash::a_crash_in_the_first_commit
segment-unnamed             crash::a_crash_in_the_first_commit
found-unsynced              crash::a_crash_after_an_unchanged_put
published-before-data       crash::a_crash_while_a_store_is_created
index-before-data           crash::a_crash_in_checkpoints
unlink-before-index         crash::a_crash_in_a_compaction_changes
unlink-before-index-synced  crash::a_crash_in_a_compaction_changes
delete-dropped              crash::a_crash_in_a_compaction_changes
rollback-appends            crash::a_crash_of_a_handle_that_rolls
not-poisoned                fault::every_failing_call
head-unchecked              damage::bits::any_flipped_bit_of_the_log
data-unchecked              damage::bits::any_flipped_bit_of_the_log
page-unchecked              damage::bits::any_flipped_bit_of_an_index
'
named=$(sed -n 's/^    [A-Za-z]* "\(.*\)",$/\1/p' src/seeded.rs | sort)
listed=$(awk 'NF { print $1 }' <<< "$table" | sort)
[ "$named" = "$listed" ] || { echo "mutants.sh: the table is not that of src/seeded.rs" >&2; exit 1; }

out=$(mktemp)
trap 'rm -f "$out"' EXIT
cargo test --locked --quiet --features seeded-bugs --test integration --no-run 2> "$out" || { cat "$out" >&2; exit 1; }
run() { timeout 300 cargo test --locked --quiet --features seeded-bugs --test integration -- "$1" > "$out" 2>&1; }

# The control: without a bug they pass, or finding one would mean nothing.
for test in crash::a_crash_in_the_first_commit crash::a_crash_between_two damage::bits::any_flipped_bit_of_an_index; do
    run "$test" || { cat "$out"; echo "mutants.sh: $test fails without a bug" >&2; exit 1; }
done
failed=0
printf '%-28s %-6s %-9s %s\n' bug found seconds 'first complaint'
while read -r bug test; do
    [ -n "$bug" ] || continue
    [ $# = 0 ] || [[ " $* " == *" $bug "* ]] || continue
    SECONDS=0 code=0
    STORE_SEEDED_BUG=$bug run "$test" || code=$?
    said=$(grep -m 1 -A 1 'panicked at' "$out" | tail -n 1 | cut -c 1-90 || true)
    # 101: a test failed. Anything else is no finding: a time-out, or no test of that name.
    if [ $code = 101 ] && [ -n "$said" ] && ! grep -q STORE_SEEDED_BUG "$out"; then found=yes; else found=NO failed=1; fi
    printf '%-28s %-6s %-9s %s\n' "$bug" "$found" "$SECONDS" "$said"
done <<< "$table"
[ $failed = 0 ] || { echo "mutants.sh: a bug was not found" >&2; exit 1; }
