#!/bin/sh
# usage: run.sh FUZZER WORK_DIR CORPUS [libFuzzer options]
# Fuzz for a bounded count. The seeds in CORPUS are only read; new inputs and any
# input that fails are kept in WORK_DIR.
set -eu
fuzzer=$1
work=$2
corpus=$3
shift 3
mkdir -p "$work/found"
exec "$fuzzer" -runs=20000 -max_total_time=20 -timeout=5 -rss_limit_mb=1024 \
  -print_final_stats=1 -artifact_prefix="$work/failed-" "$@" "$work/found" "$corpus"
