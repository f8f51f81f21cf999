"""Run a script of this folder against a real keyvaultd --dev instead of the fake keyring.

    real.py BUILD-DIRECTORY SCRIPT

The script is called as `SCRIPT BUILD-DIRECTORY real`, with the daemon's openssl.cnf in
KEYVAULT_TEST_CONF and what keyvault(1) needs in its environment.
"""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from dev import Dev  # noqa: E402


def main():
    build, script = sys.argv[1:3]
    with Dev(build) as dev:
        env = dict(dev.env, PATH=os.environ["PATH"])
        env["KEYVAULT_TEST_CONF"] = env.pop("OPENSSL_CONF")
        env.pop("KEYVAULT_KEYS_SOCKET")  # openssl.cnf has it
        path = pathlib.Path(__file__).with_name(script)
        return subprocess.run([path, build, "real"], env=env).returncode


if __name__ == "__main__":
    sys.exit(main())
