"""nginx with vault keys through everything that happens to the daemon.

    python3 tests/integration/nginx/life.py BUILD

1. handshakes with imported RSA and EC keys, TLS 1.2 and 1.3, chain verified;
2. the memory of nginx and of the service holds nothing of the keys, that of the
   keyring does (so the scan can fail), also right after requests that import and
   export those very keys;
3. kill -9 of the service: not one handshake fails;
4. kill -9 of the keyring: handshakes fail, then go on without touching nginx;
5. nginx logged no alert.
"""
import pathlib
import os
import signal
import ssl
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from api import Api  # noqa: E402
from dev import Dev, Nginx, wait_for  # noqa: E402


def handshake(port, cert, version=None):
    """One full handshake against a pinned certificate; raises when it fails."""
    context = ssl.create_default_context(cafile=str(cert))
    context.check_hostname = False
    if version is not None:
        context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        with context.wrap_socket(raw) as tls:
            return tls.version()


def scan(dev, patterns, pids):
    """Whether a pattern is in the memory of the processes, and the report. Not of
    sanitized ones: they keep freed memory on purpose, and map terabytes."""
    done = subprocess.run(
        [dev.build / "tests/memscan", "--patterns", patterns, *map(str, pids)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout.decode())
    return done.returncode == 1, done.stdout.decode()


def expect(condition, what):
    if not condition:
        raise AssertionError(what)
    print("ok", what, flush=True)


def handshakes(dev, nginx):
    for name in ("rsa", "ec"):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            got = handshake(nginx.port[name], dev.work / f"{name}.crt", version)
            expect(got.replace("v", "") == version.name.replace("v", "").replace("_", "."),
                   f"handshake with {name}, {version.name}")


def memory(dev, nginx, patterns):
    if dev.is_sanitized:
        return
    service = dev.role_pid("keyvault-service")
    keyring = dev.role_pid("keyvault-keyring")
    found, text = scan(dev, patterns, nginx.pids() + [service])
    expect(not found, "no private key in nginx or service\n" * (not found) + text)
    found, text = scan(dev, patterns, [keyring])
    expect(found, "the scan finds the keys in the keyring")


def memory_after_requests(dev, patterns):
    """Import and export, as a client of the REST API and of the CLI does."""
    service = dev.role_pid("keyvault-service")
    for name in ("rsa", "ec"):
        dev.cli("cert", "import", f"{name}-again", "--file", dev.work / f"{name}.pem")
        api = Api(dev.dir / "api.sock")
        status, body = api.call("GET", f"/secrets/{name}-again")
        expect(status == 200 and len(body["value"]) > 100,
               f"the secret of {name}-again holds key and certificate")
        api.close()
    if dev.is_sanitized:
        return
    found, text = scan(dev, patterns, [service])
    expect(not found, "no private key in the service after import and export" + text)


def kill_service(dev, nginx):
    before = dev.role_pid("keyvault-service")
    os.kill(before, signal.SIGKILL)
    end = time.monotonic() + 3
    n = 0
    while time.monotonic() < end:
        for name in ("rsa", "ec"):
            handshake(nginx.port[name], dev.work / f"{name}.crt")
            n += 1
    wait_for("the service comes back", lambda: dev.role_pid("keyvault-service")
             not in (None, before), 30)
    expect(n > 20, f"kill -9 of the service: {n} handshakes, none failed")


def kill_keyring(dev, nginx):
    before = dev.role_pid("keyvault-keyring")
    os.kill(before, signal.SIGKILL)
    start = time.monotonic()

    def works():
        try:
            for name in ("rsa", "ec"):
                handshake(nginx.port[name], dev.work / f"{name}.crt")
            return True
        except OSError:
            return False

    wait_for("the keyring comes back", lambda: dev.role_pid("keyvault-keyring")
             not in (None, before), 30)
    wait_for("handshakes go on", works, 30)
    expect(True, "kill -9 of the keyring: handshakes go on after "
                 f"{time.monotonic() - start:.1f} s, nginx untouched")


def main():
    with Dev(sys.argv[1]) as dev:
        dev.make_key("rsa", ["-newkey", "rsa:2048"])
        dev.make_key("ec", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        patterns = dev.work / "patterns"
        subprocess.run([dev.build / "tests/memscan", "--save", patterns,
                        dev.work / "rsa.key", dev.work / "ec.key"], check=True)
        servers = [(n, dev.work / f"{n}.crt", dev.work / f"{n}.uri.pem")
                   for n in ("rsa", "ec")]
        with Nginx(dev, servers, workers=2) as nginx:
            handshakes(dev, nginx)
            memory(dev, nginx, patterns)
            memory_after_requests(dev, patterns)
            kill_service(dev, nginx)
            kill_keyring(dev, nginx)
            memory(dev, nginx, patterns)
            alerts = [line for line in nginx.errors().splitlines()
                      if "[alert]" in line or "[emerg]" in line]
            expect(not alerts, "nginx logged no alert" + "\n".join(alerts))


if __name__ == "__main__":
    main()
