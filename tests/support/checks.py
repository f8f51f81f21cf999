"""Named checks of a test in Python: printed as they pass, and at the end compared with
those that docs/provider.md names.

    expect(condition, "NAME", detail)
    ...
    finish(__file__)
"""
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
passed = set()


def expect(condition, name, detail=""):
    """One check; `detail` says more when it fails."""
    if not condition:
        raise AssertionError(f"{name}: {detail}")
    passed.add(name)
    print("ok", name, flush=True)


def finish(file):
    """All that docs/provider.md says of this file has passed."""
    path = pathlib.Path(file).resolve().relative_to(ROOT / "tests" / "integration")
    named = subprocess.run([ROOT / "tests/structure/provider_table.sh", "--names", path],
                           check=True, stdout=subprocess.PIPE).stdout.decode().splitlines()
    missing = sorted(set(named) - passed)
    if missing:
        raise AssertionError(f"in docs/provider.md, not passed: {missing}")
