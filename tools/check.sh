#!/usr/bin/env bash
# All checks: format, lints, tests, documentation, benches; then real data, where it is there (tools/real.sh).
# usage: tools/check.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}

step() { echo "== $*"; "$@"; }
# A minimal toolchain has neither; the tests count all the same.
if cargo fmt --version > /dev/null 2>&1; then step cargo fmt --check; else echo "== SKIPPED: no rustfmt"; fi
if cargo clippy --version > /dev/null 2>&1; then
    step cargo clippy --locked --all-targets -- -D warnings
else
    echo "== SKIPPED: no clippy"
fi
# The workspaces that are not built here: their lock files go stale when a dependency of the store changes.
for workspace in benches/peers fuzz; do
    (cd "$workspace" && step cargo update --quiet --workspace --locked)
done
step cargo test --locked
step tools/mutants.sh
RUSTDOCFLAGS="-D warnings" step cargo doc --locked --no-deps
step cargo bench --locked --no-run
step tools/count.sh
step tools/real.sh
echo "check.sh: all is well"
