#!/usr/bin/env bash
# Restores real trees through the connector, with the real client library, into a stand-in of the platform.
# usage: tools/opencti/test.sh [DIRECTORY [TREE...]]     DIRECTORY holds attack-ics-mobile.tar.gz and the answers
#        (default: ../shared/data of the checkout, and without it the sample in tests/data); TREE: default reports
# PYCTI_VENV names a Python environment that has pycti; else one is made with pip.
set -euo pipefail
data=${1:+$(cd "$1" && pwd)}
cd "$(dirname "$0")/../.."
data=${data:-$(dirname "$PWD")/shared/data}
[ $# -gt 1 ] && trees=("${@:2}") || trees=(reports)

skip() { echo "tools/opencti/test.sh: SKIPPED: $1"; exit 0; }
command -v python3 > /dev/null || skip "python3 is not there"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${PYCTI_VENV:-$work/venv}
if [ -z "${PYCTI_VENV:-}" ]; then
    python3 -m venv "$venv" || skip "python3 cannot make an environment (the package python3-venv?)"
    "$venv/bin/pip" --quiet install -r tools/opencti/requirements.txt 2> "$work/pip" || {
        tail -2 "$work/pip" >&2
        skip "pip does not reach pycti; install tools/opencti/requirements.txt where it does, and name it: PYCTI_VENV=DIR $0"
    }
fi
cargo build --release --quiet --bin store
store=$(realpath "${CARGO_TARGET_DIR:-target}")/release/store
if [ -f "$data/attack-ics-mobile.tar.gz" ]; then
    tar -xzf "$data/attack-ics-mobile.tar.gz" -C "$work"
    for tree in "${trees[@]}"; do
        echo "== $tree"
        "$venv/bin/python" tools/opencti/test_restore.py "$store" "$work/attack-ics-mobile/$tree" "$data/attack-ics-mobile.$tree.answers.ndjson.gz"
    done
else
    echo "== the sample"
    "$venv/bin/python" tools/opencti/test_restore.py "$store" tests/data/sample tests/data/sample.answers.ndjson
fi
echo "tools/opencti/test.sh: the connector sends what is expected"
