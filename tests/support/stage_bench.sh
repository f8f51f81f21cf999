#!/bin/sh
# A short run of the benchmarks: that they work, not what they show.
cd "$(dirname "$0")/../.." || exit 1
rounds=1 seconds=0.3 sustained=0.5
[ "${KEYVAULT_TEST_FULL:-0}" = 0 ] || rounds=9 seconds=2 sustained=60
if python3 tests/bench/bench.py build --rounds $rounds --seconds $seconds \
  --sustained $sustained; then
  echo "ok bench"
else
  echo "not ok bench"
fi
