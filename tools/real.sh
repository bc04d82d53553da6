#!/usr/bin/env bash
# Imports real backup trees and holds every answer against expected ones.
# usage: tools/real.sh [DIRECTORY]     DIRECTORY holds attack-ics-mobile.tar.gz and the answers (default: ../shared/data of the checkout)
set -euo pipefail
data=${1:+$(cd "$1" && pwd)}
cd "$(dirname "$0")/.."
data=${data:-$(dirname "$PWD")/shared/data}

skip() { echo "real.sh: SKIPPED: $1"; exit 0; }
[ -f "$data/attack-ics-mobile.tar.gz" ] || skip "no attack-ics-mobile.tar.gz in $data"
command -v python3 > /dev/null || skip "python3 is not there to compare answers"

cargo build --release --quiet --bin store --example answers
target=$(realpath "${CARGO_TARGET_DIR:-target}")/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$data/attack-ics-mobile.tar.gz" -C "$work"
unset "${!STORE_@}" BACKUP_PATH
export STORE_ID=000102030405060708090a0b0c0d0e0f STORE_QUIET=true

# Runs `store`; a tree with rejected files ends an import with 3.
import() { "$target/store" -s "$1" --json import "$2" --jobs "$3" > "$4" 2> /dev/null || [ $? = 3 ]; }

for answers in "$data"/attack-ics-mobile.*.answers.ndjson.gz; do
    name=${answers##*/attack-ics-mobile.}; name=${name%%.*}
    tree=$work/attack-ics-mobile/$name at=$work/$name
    mkdir "$at"
    echo "== $name: import with 1, 2 and 8 jobs"
    for jobs in 1 2 8; do import "$at/$jobs" "$tree" $jobs "$at/import"; done
    for jobs in 1 8; do diff -r "$at/$jobs/data" "$at/2/data"; done
    echo "    the segments of all three are the same: $(cat "$at/2/data"/* | wc -c) bytes"
    "$target/store" -s "$at/2" check --level content
    import "$at/2" "$tree" 2 "$at/again"
    diff -r "$at/1/data" "$at/2/data" && echo "    a second import changed no segment"
    "$target/store" -s "$at/2" --json restore --plan --resolve closure > "$at/plan"
    python3 tools/real.py questions "$answers" > "$at/questions"
    "$target/examples/answers" "$at/2" < "$at/questions" > "$at/actual"
    python3 tools/real.py compare "$at/questions" "$tree" "$at/import" "$at/plan" "$at/actual"
    "$target/store" -s "$at/2" restore --tree "$at/out"
    # What import listed is taken from the source; nothing else may differ.
    (cd "$tree/opencti_data" && python3 "$OLDPWD/tools/real.py" listed "$at/import" | xargs -0r rm -r --)
    diff -r "$tree/opencti_data" "$at/out/opencti_data"
    times() { (cd "$1" && find . -type f -printf '%P %T@\n' | sort); }
    diff <(times "$tree/opencti_data") <(times "$at/out/opencti_data")
    echo "    the restored tree is the source, byte for byte, times too: $(find "$at/out" -type f | wc -l) files"
    rm -rf "$at" "$tree"
done
echo "real.sh: all answers are right"
