#!/bin/sh
# docs/api.md and the routing tables name the same operations of the data plane, 64 of
# them; each handler is in the file that the page gives, and each test exists.
set -u
cd "$(dirname "$0")/../.." || exit 1
page=docs/api.md
cc=${CC:-cc}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0

# METHOD PATH HANDLER FILE of each route; {version}, which may be missing, is left out.
for file in $(git grep -l '^const struct kv_route kv_routes_' -- 'lifecycle/api/*.c'); do
  $cc -E -P -D_GNU_SOURCE -I. -I/usr/share/include/llhttp -DKV_VERSION='""' "$file" |
    tr -s '\n\t ' '   ' | sed 's/" "//g' |
    grep -oE '\{ ?"(GET|POST|PUT|PATCH|DELETE)", ?"[^"]*", ?"[^"]*",[^{}]*\}' |
    sed -E 's/^\{ ?"([A-Z]+)", ?"([^"]*)".*[ ,](\w+) ?\}$/\1 \2 \3/; s|/\{version\}||' |
    sed "s|\$| $file|"
done | grep -E '^[A-Z]+ /((deleted)?(keys|secrets|certificates)(/|$| )|rng )' |
  sort -u >"$tmp/routes"

# The same of the page, and the test; fields are separated by tabs.
# shellcheck disable=SC2016 # backquotes of Markdown
sed -nE 's/^\| ([0-9]+) \| ([^|]*) \| `([A-Z]+) ([^`]*)` \| [a-z]+\/[A-Za-z]+ \| `([^`]*)` \| `([^|]*)` \|$/\1\t\2\t\3\t\4\t\5\t\6/p' \
  $page | sed 's|/{version}||' >"$tmp/rows"
n=$(cut -f 1 "$tmp/rows" | sort -un | wc -l)
[ "$n" = 64 ] || {
  echo "$page has $n operations, not 64"
  bad=1
}

cut -d ' ' -f 1,2 "$tmp/routes" | sort -u >"$tmp/served"
cut -f 3,4 "$tmp/rows" | tr '\t' ' ' | sort -u >"$tmp/named"
comm -23 "$tmp/served" "$tmp/named" | sed "s|^|$page does not name: |" >"$tmp/out"
comm -13 "$tmp/served" "$tmp/named" | sed "s|^|$page names what no table serves: |" >>"$tmp/out"

tab=$(printf '\t')
while IFS="$tab" read -r _ operation method path file test; do
  run=$(awk -v m="$method" -v p="$path" '$1 == m && $2 == p { print $3; exit }' "$tmp/routes")
  [ -z "$run" ] || grep -qE "^(static )?void $run\\(struct kv_call \\*[a-z]+\\)\$" "lifecycle/api/$file" ||
    echo "$page: the handler of $operation, $run, is not in $file"
  case "$operation" in
    *'(refused)') [ "$file" = later.c ] || echo "$page: $operation is not refused in later.c" ;;
    *) [ "$file" != later.c ] || echo "$page: $operation is refused, and the page does not say so" ;;
  esac
  case "$test" in
    tests/*) [ -f "$test" ] || echo "$page names $test, which is not in the tree" ;;
    *) git grep -qF -e "test(\"$test\"" -e "test(\`$test\`" -- 'tests/sdk/*.mjs' ||
      echo "$page names a test that tests/sdk does not have: $test" ;;
  esac
done <"$tmp/rows" >>"$tmp/out"
[ ! -s "$tmp/out" ] || {
  cat "$tmp/out"
  bad=1
}
echo "$n operations"
exit $bad
