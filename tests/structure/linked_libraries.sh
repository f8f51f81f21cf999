#!/bin/sh
# What a program links is what it can do: the libraries named and libc, nothing else.
# usage: linked_libraries.sh PROGRAM LIBRARY...
set -eu
program=$1
shift
bad=0
for library in $(readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p'); do
  case "$library" in
    libc.so.* | ld-linux*) continue ;;
    libasan.so.* | libubsan.so.* | libclang_rt*) continue ;; # sanitizer builds
    libm.so.* | libpthread.so.* | libdl.so.* | libgcc_s.so.* | libresolv.so.* | librt.so.*)
      # clang's sanitizers ask for these; a plain build must not need them.
      readelf -s "$program" | grep -q '__asan_init' && continue
      ;;
  esac
  found=no
  for name in "$@"; do
    case "$library" in "$name".so.*) found=yes ;; esac
  done
  [ $found = yes ] || {
    echo "$program links $library"
    bad=1
  }
done
exit $bad
