"""A machine whose openssl.cnf activates keyvault for every program, while the daemon is
down, and again while it is up.

    python3 tests/integration/provider/everywhere.py BUILD

Programs that use no vault key must not notice: they do what they always do, connect to no
socket of ours and wait for nothing. Our own programs do not even load the module.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2] / "support"))
from checks import expect, finish  # noqa: E402
from dev import Dev, Nginx, children  # noqa: E402

BYSTANDERS = {
    "openssl": ["openssl", "dgst", "-sha256", "/etc/hostname"],
    "openssl-key": ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-out", "/dev/null"],
    "python": ["/usr/bin/python3", "-c", "import ssl; ssl.create_default_context()"],
    "curl": ["/usr/bin/curl", "-s", "--max-time", "10", "file:///etc/hostname"],
    "git": ["git", "hash-object", "/etc/hostname"],
    "ssh": ["ssh", "-V"],
}


def calm(dev, env, name, command):
    """The program succeeds, says nothing of us, and never connects to a local socket."""
    trace = dev.work / "trace"
    done = subprocess.run(["strace", "-f", "-e", "trace=connect", "-o", trace, *command],
                          env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=30)
    said = done.stdout.decode(errors="replace")
    touched = [line for line in trace.read_text().splitlines() if "keys.sock" in line
               or "@\"keyvault" in line]
    expect(done.returncode == 0 and "keyvault" not in said and not touched, name,
           f"exit {done.returncode}: {said} {touched}")


def bystanders(dev, env, state):
    for name, command in BYSTANDERS.items():
        if shutil.which(command[0]) is not None:
            calm(dev, env, f"{state}: {name} is not disturbed", command)
    crt, key = dev.work / "own.crt", dev.work / "own.key"
    nginx = Nginx(dev, [("own", crt, key)], env=env)
    calm(dev, env, f"{state}: nginx -t with a key of its own is not disturbed",
         ["nginx", "-t", "-q", "-p", nginx.dir, "-c", nginx.dir / "nginx.conf", "-e",
          nginx.dir / "error.log"])


def maps(pid):
    return pathlib.Path(f"/proc/{pid}/maps").read_text()


def own_programs(dev):
    for pid in [dev.process.pid] + children(dev.process.pid):
        name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        expect("keyvault.so" not in maps(pid), f"{name} does not load the module", name)
    done = subprocess.run(["strace", "-f", "-e", "trace=openat", dev.build / "keyvault",
                           "key", "list"], env=dev.env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=30)
    opened = done.stderr.decode(errors="replace")
    expect(done.returncode == 0 and not re.search(r'keyvault\.so"', opened),
           "keyvault does not load the module", opened[-400:])


def main():
    with Dev(sys.argv[1]) as dev:
        if dev.is_sanitized:
            print("most of these programs do not load a sanitized module")
            sys.exit(77)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=own", "-days", "2",
                        "-keyout", dev.work / "own.key", "-out", dev.work / "own.crt"],
                       check=True, stderr=subprocess.DEVNULL)
        env = dict(dev.env)
        bystanders(dev, env, "daemon up")
        own_programs(dev)
        dev.stop()
        bystanders(dev, env, "daemon down")
        missing = dict(env, OPENSSL_CONF=str(dev.work / "missing.cnf"))
        (dev.work / "missing.cnf").write_text(pathlib.Path(env["OPENSSL_CONF"]).read_text()
                                              .replace("keyvault.so", "no-such-module.so"))
        calm(dev, missing, "a module that is missing disturbs nobody", BYSTANDERS["openssl"])
    finish(__file__)


if __name__ == "__main__":
    main()
