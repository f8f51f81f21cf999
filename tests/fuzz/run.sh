#!/bin/sh
# usage: run.sh FUZZER WORK_DIR CORPUS [libFuzzer options]
# Fuzz for a bounded count, more of it with KEYVAULT_TEST_FULL=1. The seeds in CORPUS
# are only read; new inputs and any input that fails are kept in WORK_DIR.
set -eu
fuzzer=$1
work=$2
corpus=$3
shift 3
runs=20000 seconds=20
[ "${KEYVAULT_TEST_FULL:-0}" = 0 ] || runs=5000000 seconds=120
mkdir -p "$work/found"
exec "$fuzzer" -runs=$runs -max_total_time=$seconds -timeout=5 -rss_limit_mb=1024 \
  -print_final_stats=1 -artifact_prefix="$work/failed-" "$@" "$work/found" "$corpus"
