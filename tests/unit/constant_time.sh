#!/bin/sh
# usage: constant_time.sh VALGRIND PROGRAM
# PROGRAM treats uninitialised memory as a secret; memcheck reports each branch or
# access that depends on it. The one allowed is the verdict of kv_b64_decode.
set -u
out=$("$1" --error-limit=no "$2" 2>&1) || {
  echo "$out"
  exit 1
}
n=$(echo "$out" | grep -cE 'depends on uninitialised|Use of uninitialised|uninitialised byte')
where=$(echo "$out" | grep -c 'at 0x[0-9A-F]*: kv_b64_decode ')
[ "$n" -eq 1 ] && [ "$where" -eq 1 ] && exit 0
echo "$out"
echo "expected 1 report, in kv_b64_decode; got $n"
exit 1
