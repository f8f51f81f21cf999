#!/bin/sh
# Every folder of the tree says in a README.md what belongs in it. The folders of a
# corpus hold inputs only; the README above them speaks for them.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
n=0
# Folders of tracked files, and the folders above them.
folders() {
  git ls-files | while read -r file; do
    while [ "${file%/*}" != "$file" ]; do
      file=${file%/*}
      echo "$file"
    done
  done | sort -u
}
for dir in $(folders); do
  case "$dir" in
    tests/fuzz/corpus/*) continue ;;
  esac
  n=$((n + 1))
  [ -s "$dir/README.md" ] || {
    echo "$dir has no README.md"
    bad=1
  }
done
echo "$n folders"
[ "$n" -gt 0 ] || bad=1
exit $bad
