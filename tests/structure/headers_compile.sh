#!/bin/sh
# Each header compiles alone, as C11 with the strict warnings.
set -u
cd "$(dirname "$0")/../.." || exit 1
cc=${CC:-cc}
bad=0
n=0
for header in $(git ls-files '*.h'); do
  n=$((n + 1))
  $cc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -I. -I/usr/share/include/llhttp \
    -fsyntax-only -x c "$header" || {
    echo "$header does not compile alone"
    bad=1
  }
  guard=KV_$(echo "$header" | tr '/.a-z-' '__A-Z_')
  case "$header" in
    plugins/keyvault_issuer.h) guard=KEYVAULT_ISSUER_H ;;
  esac
  grep -q "^#ifndef $guard\$" "$header" || {
    echo "$header: its guard should be $guard"
    bad=1
  }
done
echo "$n headers"
[ "$n" -gt 0 ] || bad=1
exit $bad
