#!/bin/sh
# Every name in backquotes on the map (docs/architecture.md) exists: a path, a program of
# the build, a struct, function or macro of the source, or a route of the API. Every
# link leads somewhere, and every folder of code is on the map.
set -u
cd "$(dirname "$0")/../.." || exit 1
map=docs/architecture.md
names=$(mktemp)
trap 'rm -f "$names"' EXIT
# shellcheck disable=SC2016 # backquotes of Markdown
grep -o '`[^`]*`' $map | tr -d '`' | sort -u >"$names"
bad=0
say() {
  echo "$map $*"
  bad=1
}

while read -r name; do
  case "$name" in
    'struct '*)
      git grep -qE "^$name \{" -- '*.h' || say "names $name, which no header defines"
      ;;
    'GET /'* | 'PUT /'* | 'POST /'* | 'PATCH /'* | 'DELETE /'*)
      route="\"${name%% *}\", \"$(echo "${name#* }" | sed 's/NAME/{name}/; s/VERSION/{version}/')\""
      git grep -qF "$route" -- 'lifecycle/api/*.c' || say "names the route $name, which is not served"
      ;;
    kv_* | KV_* | keyvault_* | KEYVAULT_*)
      git grep -qw "${name%()}" -- '*.c' '*.h' || say "names $name, which no source file knows"
      ;;
    keyvault*)
      program=${name%.so}
      grep -A 1 -E 'executable\(|shared_module\(' meson.build | grep -q "'$program'" ||
        say "names the program $name, which is not built"
      case "$name" in
        *.so) grep -A 1 'shared_module(' meson.build | grep -q "'$program'" || say "names $name: no module" ;;
      esac
      ;;
    *)
      [ -n "$(git ls-files -- "$name" | head -n 1)" ] || say "names $name, which is not in the tree"
      ;;
  esac
done <"$names"

links() { grep -o '](.[^)]*)' $map | sed 's/^](//; s/)$//; /^https:/d'; }
for link in $(links); do
  [ -e "docs/${link%%#*}" ] || say "links to $link, which does not exist"
done
for folder in $(git ls-files '*.c' '*.h' | grep -v '^tests/' | sed 's|/[^/]*$||' | sort -u); do
  grep -qx "$folder" "$names" || say "does not name the folder $folder"
done

echo "$(wc -l <"$names") names"
[ "$(wc -l <"$names")" -ge 40 ] || say "names too little"
exit $bad
