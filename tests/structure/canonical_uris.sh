#!/bin/sh
# Every URI that keyvault prints, and every example, has the canonical form: OpenSSL takes
# a text without `//` for the name of a file first. Only the pages that explain the short
# form show it, and no command uses it there either.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
explains='^(docs/uri\.md|docs/man/keyvault-uri\.7|docs/adr/0006-uri-grammar\.md|docs/known-risks\.md|docs/provider\.md|store/core/uri\.h):'
short='\bkeyvault:([A-Za-z0-9%]|/([^/]|$))'
command='(openssl|nginx|curl|ssl_certificate|ssl_certificate_key|-in|-key|-cert|-noout) .*\bkeyvault:([^/ ]|/[^/]|$)'

shown() { git grep -nE "$1" -- '*.md' 'docs/man/*' examples lifecycle provider plugins store; }
offends() { # offends SENTENCE: the lines in $tmp
  [ -s "$tmp" ] || return 0
  echo "$1:"
  sed 's/^/  /' "$tmp"
  bad=1
}
shown "$short" | grep -vE "$explains" >"$tmp"
offends 'a short URI where the canonical form belongs'
shown "$command" >"$tmp"
offends 'a command with a short URI'
n=$(shown 'keyvault://' | wc -l)
echo "$n lines with canonical URIs"
[ "$n" -ge 20 ] || bad=1
exit $bad
