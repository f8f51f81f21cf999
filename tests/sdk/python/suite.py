"""Debian's azure.keyvault packages for Python, unmodified, against keyvaultd --dev over HTTPS.

    /usr/bin/python3 tests/sdk/python/suite.py BUILD [NAME...]

One "ok" or "not ok" line for each test. The packages' check that a challenge comes from the
vault's own domain stays on; they speak older versions of the API, each its own default.
"""
import inspect
import pathlib
import sys
import traceback

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2] / "support"))
import certificates  # noqa: E402
import identity  # noqa: E402
import keys  # noqa: E402
import secrets_  # noqa: E402
from dev import Dev  # noqa: E402
from vault import Vault  # noqa: E402


def tests():
    """(name, function) of every test, in the order in which they are written."""
    for module in (keys, secrets_, certificates, identity):
        found = [(f.__code__.co_firstlineno, n, f) for n, f in vars(module).items()
                 if n.startswith("test_") and inspect.isfunction(f)]
        for _, name, function in sorted(found, key=lambda one: one[0]):
            yield f"{module.__name__.strip('_')}: {name[5:].replace('_', ' ')}", function


def main():
    wanted = sys.argv[2:]
    failed = 0
    with Dev(sys.argv[1]) as dev:
        vault = Vault(dev)
        for name, function in tests():
            if wanted and not any(word in name for word in wanted):
                continue
            try:
                function(vault)
                print("ok python", name, flush=True)
            except Exception:  # whatever it is, the others go on
                failed += 1
                traceback.print_exc(file=sys.stdout)
                print("not ok python", name, flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
