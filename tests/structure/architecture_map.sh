#!/bin/sh
# Every name in backquotes on the map (docs/architecture.md) exists: a path in the
# tree, or a function or macro that some source file defines or declares.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
n=0
# shellcheck disable=SC2016 # backquotes of Markdown
for name in $(grep -o '`[^` ]*`' docs/architecture.md | tr -d '`' | sort -u); do
  case "$name" in
    */*.[ch] | */*.sh | */*.md | *.map)
      [ -e "$name" ] || {
        echo "docs/architecture.md names $name, which is not in the tree"
        bad=1
      }
      n=$((n + 1))
      ;;
    kv_*\(\) | kv_* | KV_*)
      symbol=${name%\(\)}
      git grep -qw "$symbol" -- '*.c' '*.h' || {
        echo "docs/architecture.md names $symbol, which no source file knows"
        bad=1
      }
      n=$((n + 1))
      ;;
  esac
done
echo "$n names"
[ "$n" -ge 20 ] || {
  echo "the map names too little"
  bad=1
}
exit $bad
