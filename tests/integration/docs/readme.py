"""Run the command blocks of README.md in order, as a newcomer would, in an empty
directory with nothing assumed.

    python3 tests/integration/docs/readme.py BUILD

Only what would disturb the machine is replaced: the build directory is the one under
test, /tmp/vault is a temporary directory, keyvaultd listens on a free port, and the
nginx block is put into a frame of its own. The two commands of "Try it" are not run
here: they are tests/run.sh and its quickstart stage themselves.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/support"))
from dev import Dev, Nginx  # noqa: E402

SKIP = ("examples/quickstart.sh", ".ci/setup", "build/keyvaultd --dev")


def blocks(language):
    text = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def run(dev, directory, block):
    lines = [line for line in block.splitlines()
             if not line.startswith(SKIP) and not line.startswith(". /tmp/vault/env")
             and not line.startswith("tests/run.sh")]
    script = "\n".join(lines).strip().replace("/tmp/vault/", f"{dev.dir}/")
    if not script:
        return None
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=directory,
                          env=dev.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(f"$ {script}\n{done.stdout.decode(errors='replace')}", flush=True)
    if done.returncode != 0:
        raise AssertionError(f"exit {done.returncode}")
    return done.stdout.decode(errors="replace")


def nginx_block(dev, directory):
    """The server block of the README names the files that the commands above made."""
    (block,) = blocks("nginx")
    cert = re.search(r"ssl_certificate\s+(\S+);", block).group(1)
    key = re.search(r"ssl_certificate_key\s+(\S+);", block).group(1)
    with Nginx(dev, [("web", directory / cert, directory / key)]) as nginx:
        got = subprocess.run(
            ["curl", "-sS", "--fail", "--cacert", directory / cert, "--resolve",
             f"web.localhost:{nginx.port['web']}:127.0.0.1",
             f"https://web.localhost:{nginx.port['web']}/"],
            stdout=subprocess.PIPE, check=True).stdout
        assert got == b"web\n", got
    print("ok nginx serves the README's certificate", flush=True)


def main():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="keyvault-readme."))
    directory.chmod(0o755)
    shutil.copy(ROOT / "README.md", directory)
    n = 0
    try:
        with Dev(sys.argv[1]) as dev:
            outputs = [run(dev, directory, block) for block in blocks("sh")]
            n = sum(o is not None for o in outputs)
            text = "\n".join(o or "" for o in outputs)
            assert "correct horse" in text, "the secret did not come back"
            assert '"value":"correct horse"' in text.replace(" ", "").replace(
                "correcthorse", "correct horse"), "curl did not get the secret"
            nginx_block(dev, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    assert n >= 4, f"only {n} blocks of README.md were run"
    print(f"ok {n} blocks of README.md", flush=True)


if __name__ == "__main__":
    os.umask(0o022)
    main()
