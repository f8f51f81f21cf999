#!/bin/sh
# keyvault.so exports its one entry, links libcrypto and libc only and stays mapped
# (nodelete); its own objects use no threads, signals, streams, assertions or plain
# environment, and the error queue only through the core.
# usage: exported_symbols.sh MODULE ARCHIVE-OF-ITS-OBJECTS
set -u
module=$1
archive=$2
bad=0
exports=$(nm -D --defined-only "$module" | awk '$2 ~ /[TDBRVWu]/ {print $3}' | grep -v '^__\(asan\|odr_asan\|ubsan\)' | sort | tr '\n' ' ')
[ "$exports" = "OSSL_provider_init " ] || {
  echo "exports: $exports"
  bad=1
}
needed=$(readelf -d "$module" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^lib(asan|ubsan)\.|^ld-linux' | sort | tr '\n' ' ')
[ "$needed" = "libc.so.6 libcrypto.so.3 " ] || {
  echo "links: $needed"
  bad=1
}
readelf -d "$module" | grep -q NODELETE || {
  echo "is not linked with -z nodelete"
  bad=1
}
for symbol in $(nm --undefined-only "$archive" | awk '$1 == "U" {print $2}' | sort -u); do
  case "$symbol" in
    fopen | fopen64 | fwrite | fread | fputs | fputc | puts | putchar | printf | fprintf | \
      vprintf | vfprintf | __printf_chk | __fprintf_chk | stdin | stdout | stderr | syslog | \
      pthread_create | fork | vfork | execve | system | popen | signal | sigaction | raise | kill | \
      kv_assert_failed | abort | getenv | setenv | putenv | exit | getpwuid | getpwnam | BIO_new_file | \
      ERR_put_error | ERR_set_error | ERR_clear_error | EVP_set_default_properties | \
      OPENSSL_init_crypto)
      echo "provider/ uses $symbol"
      bad=1
      ;;
  esac
done
exit $bad
