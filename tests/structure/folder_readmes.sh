#!/bin/sh
# Every folder that holds tracked files says in a README.md what belongs in it.
# Corpora and their like are described by the folder above.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
for dir in $(git ls-files | sed -n 's|/[^/]*$||p' | sort -u); do
  case "$dir" in
    tests/fuzz/corpus | tests/fuzz/corpus/* | tests/fixtures/* | .ci | */node_modules*) continue ;;
  esac
  [ -s "$dir/README.md" ] || {
    echo "$dir has no README.md"
    bad=1
  }
done
exit $bad
