#!/bin/sh
# Every test that docs/provider.md names exists: its file, and in the file a text that
# can be the name (variables and formats stand for anything).
#
#   provider_table.sh              check all
#   provider_table.sh --names FILE print the names that the page gives for one file, as
#                                  the test itself must have seen them pass
set -u
cd "$(dirname "$0")/../.." || exit 1
page=docs/provider.md
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# FILE, what stands in the row, the heading that completes it. A name is `FILE: NAME`;
# below a heading in backquotes a cell "yes" or "no ..." is the name in the column
# "test" with that heading behind it.
awk '
  function name_of(cell) {
    if (match(cell, /`[a-z0-9_\/]+\.(sh|py|c): [^`]+`/) == 0) return ""
    return substr(cell, RSTART + 1, RLENGTH - 2)
  }
  function put(name, heading) {
    split_at = index(name, ": ")
    print substr(name, 1, split_at - 1) "\t" substr(name, split_at + 2) "\t" heading
  }
  /^\|/ {
    n = split($0, cell, / *\| */)
    if (!in_table) {
      test_column = 0
      for (i = 2; i < n; i++) {
        heading[i] = ""
        if (cell[i] == "test") test_column = i
        if (cell[i] ~ /^`[a-z0-9]+`$/) heading[i] = substr(cell[i], 2, length(cell[i]) - 2)
      }
      in_table = 1
      next
    }
    row = test_column ? name_of(cell[test_column]) : ""
    n_cells = 0
    for (i = 2; i < n; i++)
      if (row != "" && heading[i] != "" && cell[i] ~ /^(yes|no)/) { put(row, heading[i]); n_cells++ }
    for (i = 2; i < n; i++) {
      if (i == test_column && n_cells > 0) continue
      rest = cell[i]
      while ((found = name_of(rest)) != "") { put(found, ""); rest = substr(rest, RSTART + RLENGTH) }
    }
    next
  }
  {
    in_table = 0
    rest = $0
    while ((found = name_of(rest)) != "") { put(found, ""); rest = substr(rest, RSTART + RLENGTH) }
  }' $page | sort -u >"$tmp/names"

if [ "${1-}" = --names ]; then
  awk -F '\t' -v file="$2" '$1 == file { print $2 ($3 == "" ? "" : " " $3) }' "$tmp/names"
  exit
fi

# Names that no text of a file can be.
unknown() { # unknown PATH... <NAMES
  awk -F '\t' '
    function template(text,   out, fixed) {
      gsub(/\\"/, "\"", text)
      gsub(/\$\{[^}]*\}|\$\([^)]*\)|\$[A-Za-z_0-9]+|\{[^}]*\}|%[-+ 0-9.*]*[a-z]+/, "\001", text)
      fixed = text
      gsub(/\001/, "", fixed)
      if (fixed != text && length(fixed) < 5) return ""
      gsub(/[][\\.^$*+?(){}|\/]/, "[&]", text)
      gsub(/\[\\\]/, "\\\\\\\\", text)
      gsub(/\[\^\]/, "\\^", text)
      gsub(/\001/, ".+", text)
      return "^" text "$"
    }
    function add(text) {
      text = template(text)
      if (text != "" && !(text in seen)) { seen[text] = 1; known[n_known++] = text }
    }
    function is_known(name,   i) {
      for (i = 0; i < n_known; i++) if (name ~ known[i]) return 1
      return 0
    }
    FILENAME != "-" {
      while (match($0, /"(\\.|[^"\\])*"|'"'"'[^'"'"']*'"'"'/)) {
        add(substr($0, RSTART + 1, RLENGTH - 2))
        $0 = substr($0, RSTART + RLENGTH)
      }
      if (match($0, /^(Test|ParameterizedTestParameters)\([a-z0-9_]+, *[a-z0-9_]+/)) { sub(/^(Test|ParameterizedTestParameters)\([a-z0-9_]+, */, ""); sub(/[^a-z0-9_].*/, ""); add($0) }
      next
    }
    {
      full = $2 ($3 == "" ? "" : " " $3)
      row = full # tables of tests put the key behind the name of the row
      sub(/ [a-z0-9]+$/, "", row)
      one = full # the lives of one server have their name in front
      sub(/^[a-z0-9]+ /, "", one)
      if (!is_known(full) && !is_known(row) && !is_known(one)) print full
    }' "$@" -
}

bad=0
cut -f 1 "$tmp/names" | sort -u >"$tmp/files"
while read -r file; do
  path=tests/integration/$file
  [ -f "$path" ] || path=tests/$file
  [ -f "$path" ] || {
    echo "$page names $file, which is not in the tree"
    bad=1
    continue
  }
  set -- "$path"
  case "$file" in
    servers/*) set -- "$path" "${path%/*}/server.py" ;; # what all of them live through
  esac
  grep "^$file	" "$tmp/names" | unknown "$@" >"$tmp/unknown"
  [ -s "$tmp/unknown" ] || continue
  bad=1
  sed "s|^|$page names a test that $file does not have: |" "$tmp/unknown"
done <"$tmp/files"
n=$(wc -l <"$tmp/names")
echo "$n names"
[ "$n" -ge 40 ] || {
  echo "$page names too little"
  bad=1
}
exit $bad
