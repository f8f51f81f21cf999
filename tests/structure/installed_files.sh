#!/bin/sh
# `meson install` puts each program where the others look for it: the places that are
# compiled into keyvaultd hold the roles, the module and the command line.
# usage: installed_files.sh BUILD
set -eu
build=$1
tmp=$(mktemp -d "${TMPDIR:-/tmp}/keyvault-install.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
meson install -C "$build" --no-rebuild --quiet --destdir "$tmp"
bad=0
# file NAME: where it was installed, without the staging directory
file() {
  found=$(cd "$tmp" && find . -name "$1" ! -type d | sed 's/^\.//')
  [ -n "$found" ] || {
    echo "$1 is not installed" >&2
    bad=1
  }
}
file keyvaultd
keyvaultd=$tmp$found
for name in keyvault keyvault-keyring keyvault-service keyvault-restore keyvault.so; do
  file "$name"
  [ -z "$found" ] || strings "$keyvaultd" | grep -qxF "${found%/*}" || {
    echo "$name is installed as $found, where keyvaultd does not look"
    bad=1
  }
done
exit $bad
