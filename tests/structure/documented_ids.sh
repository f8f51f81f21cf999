#!/bin/sh
# Code and manual agree: every error id in the code is in docs/errors.md, every log
# event id in docs/operations.md, and neither page names an id that no code uses.
#
# An id is a string literal "noun.what-happened". The first literal of kv_err_set and
# its like is an error, that of kv_log an event; one that travels through a helper or a
# table may be either.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
id='[a-z][a-z0-9]+\.[a-z0-9][a-z0-9-]+'
# Names of files and hosts and paths to members of JSON look like ids.
no_id='^issuer\.(name|cty)$|\.(h|c|sock|pem|json|conf|so|cnf|db|lock|key|d|env|tmp|crt|localhost|service|example|com|org|windows|azure|net|microsoft|keyfile)$'

# The code without comments, on one line.
# shellcheck disable=SC2046 # a list of files
awk '
  function strip(text,   out) {
    while (match(text, /"(\\.|[^"\\])*"|\/\*([^*]|\*+[^*\/])*\*+\/|\047(\\.|[^\047\\])\047/)) {
      out = out substr(text, 1, RSTART - 1)
      if (substr(text, RSTART, 2) != "/*") out = out substr(text, RSTART, RLENGTH)
      text = substr(text, RSTART + RLENGTH)
    }
    return out text
  }
  FNR == 1 && NR > 1 { printf "%s", strip(all); all = "" }
  { all = all $0 " " }
  END { print strip(all) }
' $(git ls-files 'store/*.[ch]' 'provider/*.[ch]' 'plugins/*.[ch]' 'lifecycle/*.[ch]') >"$tmp/text"

ids() { tr -d '"' | grep -vE "$no_id" | sort -u; }
first_literal_of() { # first_literal_of FUNCTIONS: literals of calls, where they are ids
  grep -oE "\b($1)\([^\";]*\"$id\"" "$tmp/text" | grep -oE '"[^"]*"$' | ids
}
documented() { # documented PAGE: the ids in the first column of its tables
  # shellcheck disable=SC2016 # backquotes of Markdown
  sed -n 's/^| *`\([a-z][a-z0-9]*\.[a-z0-9-]*\)` *|.*/\1/p' "$1" | sort -u
}
missing() { # missing FILE FILE SENTENCE: lines of the first that the second lacks
  comm -23 "$1" "$2" >"$tmp/missing"
  [ -s "$tmp/missing" ] || return 0
  echo "$3:"
  sed 's/^/  /' "$tmp/missing"
  bad=1
}

grep -oE "\"$id\"" "$tmp/text" | ids >"$tmp/code"
first_literal_of 'kv_err_set|kv_err_errno|kv_err_cause_add' >"$tmp/code_errors"
first_literal_of 'kv_log|kv_log_err|kv_log_write' >"$tmp/code_events"
documented docs/errors.md >"$tmp/errors"
documented docs/operations.md >"$tmp/events"
sort -u "$tmp/errors" "$tmp/events" >"$tmp/docs"

missing "$tmp/code_errors" "$tmp/errors" 'errors that docs/errors.md does not have'
missing "$tmp/code_events" "$tmp/events" 'events that docs/operations.md does not have'
missing "$tmp/code" "$tmp/docs" 'ids in the code that neither page has'
missing "$tmp/docs" "$tmp/code" 'ids in the documents that no code has'
echo "$(wc -l <"$tmp/code_errors") errors, $(wc -l <"$tmp/code_events") events, $(wc -l <"$tmp/code") ids in all"
[ -s "$tmp/code_errors" ] && [ -s "$tmp/code_events" ] || bad=1
exit $bad
