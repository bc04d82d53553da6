#!/usr/bin/env bash
# Counts the instructions of the hot paths under callgrind and compares them with their budgets: time is noisy, this is not.
# usage: tools/count.sh    (needs valgrind: `apt-get install valgrind`; STORE_REQUIRE_TOOLS=1 makes its absence a failure)
# A path that needs more than its budget fails; one that needs a tenth less says so, for the budget to follow it down.
set -euo pipefail
cd "$(dirname "$0")/.."

# Instructions of one pass: what was measured when the budget was last set, x86-64 with AVX2, and 5 % more.
budgets="lookup 2143
absent 665
batch 2444
encode 3811
decode 1591
check 3688"

if ! command -v valgrind > /dev/null; then
    echo "count.sh: SKIPPED, there is no valgrind; install it with: apt-get install valgrind"
    [ "${STORE_REQUIRE_TOOLS:-0}" = 0 ]
    exit
fi
program=$(cargo bench --locked --bench count --no-run --message-format=json |
    grep -o '"executable":"[^"]*/count-[^"]*"' | tail -1 | cut -d'"' -f4)

# Two runs that differ in nothing but the number of passes: what is around them goes away.
count() { valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 | awk '/Collected/ {print $4}'; }

failed=0
while read -r path budget; do
    few=$(count "$path" 1000)
    many=$(count "$path" 3000)
    now=$(((many - few) / 2000))
    echo "$path: $now instructions, $((now * 100 / budget)) % of the budget of $budget ($((now - budget)))"
    if [ "$now" -gt "$budget" ]; then
        echo "count.sh: $path needs $((now - budget)) instructions more than its budget"
        failed=1
    elif [ $((now * 10)) -lt $((budget * 9)) ]; then
        echo "count.sh: $path has become cheaper: lower its budget in tools/count.sh to $((now * 105 / 100))"
    fi
done <<< "$budgets"
exit "$failed"
