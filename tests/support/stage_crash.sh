#!/bin/sh
# Crash tests: 20 cycles of each, or 1,000 with KEYVAULT_TEST_FULL=1.
cd "$(dirname "$0")/../.." || exit 1
cycles=20
[ "${KEYVAULT_TEST_FULL:-0}" = 0 ] || cycles=1000
if python3 tests/crash/daemon_writes.py build $cycles; then
  echo "ok daemon_writes"
else
  echo "not ok daemon_writes"
fi
if python3 tests/crash/purge.py build $((cycles / 2)); then
  echo "ok purge"
else
  echo "not ok purge"
fi
for mode in kill power lying; do
  if build/tests/crash/store_crash $mode $cycles; then
    echo "ok store_crash $mode"
  else
    echo "not ok store_crash $mode"
  fi
done
