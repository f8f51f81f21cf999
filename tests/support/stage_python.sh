#!/usr/bin/env bash
# Debian's azure.keyvault packages for Python against keyvaultd --dev. The packages are in
# Debian's Python, whatever python3 is in front of the path. "ok" or "not ok" lines.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
/usr/bin/python3 tests/sdk/python/suite.py "${KEYVAULT_BUILD:-$PWD/build}"
