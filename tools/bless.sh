#!/bin/sh
# Writes anew what the tests of the format compare with: tests/golden/v1 and its expectations, the golden
# dumps in tests/scripts, and the blocks of src/format/FORMAT.md. Look at the difference before you commit it.
# Refuses from version 0.1.0 on: format 1 is frozen then.
set -eu

case "${1:-}" in
'') ;;
*)
	echo "usage: tools/bless.sh    (no arguments)" >&2
	[ "$1" = --help ] && exit 0
	exit 2
	;;
esac

cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
case "$version" in
0.0.*) ;;
*)
	echo "bless.sh: version $version: format 1 is frozen; a change of it needs a version of its own" >&2
	exit 1
	;;
esac

BLESS=1 cargo test --quiet --test integration format::
# Once more without: what was written must hold.
cargo test --quiet --test integration format::
git status --short src/format/FORMAT.md tests/golden tests/scripts
