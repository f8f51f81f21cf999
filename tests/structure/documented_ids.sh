#!/bin/sh
# Code and manual agree: every error id in the code is in docs/errors.md, every log
# event id in docs/operations.md, and neither page names an id that no code uses.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
src=$(git ls-files 'store/*.[ch]' 'provider/*.[ch]' 'plugins/*.[ch]' 'lifecycle/*.[ch]')

# Ids are literals "noun.what-happened".
# shellcheck disable=SC2086 # a list of files
grep -ohE '"[a-z][a-z0-9]*\.[a-z0-9][a-z0-9-]+"' $src | tr -d '"' |
  grep -vE '\.(h|c|sock|pem|json|conf|so|cnf|db|lock|key|d|env|tmp|crt|localhost|service|example|com|org|windows|azure|net|microsoft|keyfile)$' | sort -u >"$tmp/code"
# shellcheck disable=SC2016 # backquotes of Markdown
sed -n 's/^| *`\{0,1\}\([a-z][a-z0-9]*\.[a-z0-9-]*\)`\{0,1\} *|.*/\1/p' docs/errors.md docs/operations.md | sort -u >"$tmp/docs"

comm -23 "$tmp/code" "$tmp/docs" >"$tmp/undocumented"
comm -13 "$tmp/code" "$tmp/docs" >"$tmp/unused"
if [ -s "$tmp/undocumented" ]; then
  echo "ids in the code that neither docs/errors.md nor docs/operations.md has:"
  sed 's/^/  /' "$tmp/undocumented"
  bad=1
fi
if [ -s "$tmp/unused" ]; then
  echo "ids in the documents that no code has:"
  sed 's/^/  /' "$tmp/unused"
  bad=1
fi
echo "$(wc -l <"$tmp/code") ids"
[ "$(wc -l <"$tmp/code")" -gt 0 ] || bad=1
exit $bad
