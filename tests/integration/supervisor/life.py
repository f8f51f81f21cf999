"""keyvaultd --dev through its life.

    python3 tests/integration/supervisor/life.py BUILD

1. the files that design promises, their modes, and `keyvaultd: ready` as last line;
2. each role killed with -9 comes back, port and data stay, env stays true;
3. a second supervisor of the same directory is refused and names the first;
4. SIGTERM ends everything and leaves no process; the second start keeps the data;
5. kill -9 of the supervisor takes its roles along;
6. bad directories, options and configurations: an id, a hint, an exit code;
7. it starts under an OPENSSL_CONF that activates the keyvault provider.
"""
import os
import pathlib
import signal
import stat
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from dev import Dev, children, wait_for  # noqa: E402

ROLES = ("keyvault-keyring", "keyvault-service")


def expect(condition, what):
    if not condition:
        raise AssertionError(what)
    print(f"ok  {what}", flush=True)


def is_alive(pid):
    """Running and no zombie that nobody has collected yet."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def files(dev):
    expected = {"api.sock": 0o600, "keys.sock": 0o666, "ca.pem": 0o644,
                "openssl.cnf": 0o644, "env": 0o600, "recovery.key": 0o600,
                "token": 0o600}
    expect(mode(dev.dir) == 0o711, "DIR has mode 0711")
    for name, bits in expected.items():
        expect(mode(dev.dir / name) == bits, f"{name} has mode {bits:04o}")
    lines = [line for line in dev.log_text().splitlines() if line.startswith("keyvaultd:")]
    expect(lines[-1] == "keyvaultd: ready", "the last line is keyvaultd: ready")
    expect(any("warning" in line and "sign" in line for line in lines),
           "a warning says that every local user may sign")
    for name in ("KEYVAULT_API", "KEYVAULT_KEYS_SOCKET", "OPENSSL_CONF", "KEYVAULT_TOKEN",
                 "KEYVAULT_URL", "KEYVAULT_AUTHORITY", "KEYVAULT_TENANT", "KEYVAULT_CA"):
        expect(dev.env.get(name), f"env sets {name}")
    expect(dev.env["KEYVAULT_URL"].startswith("https://default.vault.localhost:"),
           "KEYVAULT_URL names the default vault")
    expect(dev.env["PATH"].startswith(str(dev.build)), "env puts the programs in PATH")


def killed_roles(dev):
    dev.cli("key", "create", "kept", "--type", "EC")
    port = dev.env["KEYVAULT_URL"]
    for role in ROLES:
        pid = dev.role_pid(role)
        os.kill(pid, signal.SIGKILL)
        wait_for(f"{role} does not come back",
                 lambda: dev.role_pid(role) not in (None, pid))
        wait_for(f"no answer after {role} was killed", lambda: dev.run(
            dev.build / "keyvault", "key", "show", "kept", check=False).returncode == 0)
        expect(True, f"{role} comes back after kill -9")
    answer = dev.run("curl", "-sS", "--fail", "--cacert", dev.env["KEYVAULT_CA"],
                     "--connect-to", "::127.0.0.1:",
                     "-H", "Authorization: Bearer " + dev.env["KEYVAULT_TOKEN"],
                     port + "/keys?api-version=2025-07-01", check=False)
    expect(answer.returncode == 0 and b"kept" in answer.stdout,
           f"env is still true: same port, same token, same CA {answer.stderr}")


def second_supervisor(dev):
    second = dev.run(dev.build / "keyvaultd", "--dev", dev.dir, check=False, timeout=20)
    text = second.stderr.decode()
    expect(second.returncode == 1 and "supervisor.already-running" in text
           and str(dev.process.pid) in text and "hint:" in text,
           "a second supervisor is refused and names the first")


def orderly_end(dev):
    pids = children(dev.process.pid)
    expect(len(pids) == 2, "two roles run")
    expect(dev.stop() == 0, "SIGTERM ends with exit code 0")
    expect(not any(is_alive(pid) for pid in pids), "no role is left")
    recovery = (dev.dir / "recovery.key").read_bytes()
    dev.start()
    expect(b"kept" in dev.cli("key", "list"), "a second start keeps the data")
    expect((dev.dir / "recovery.key").read_bytes() == recovery,
           "a second start leaves the recovery key alone")


def sudden_end(dev):
    pids = children(dev.process.pid)
    dev.process.kill()
    dev.process.wait()
    wait_for("roles outlive a killed supervisor",
             lambda: not any(is_alive(pid) for pid in pids))
    expect(True, "roles end with a supervisor that was killed")
    dev.log.close()
    dev.process = None


def refused(dev, why, code, error_id, *args):
    done = subprocess.run([str(a) for a in (dev.build / "keyvaultd", *args)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
    text = done.stderr.decode()
    expect(done.returncode == code and error_id in text,
           f"{why}: {error_id}" if error_id in text else f"{why}: got {text}")


def bad_starts(dev):
    work = dev.work
    config = work / "bad.conf"
    refused(dev, "unknown option", 2, "supervisor.usage", "--frobnicate")
    refused(dev, "extra argument", 2, "supervisor.usage", "--dev", work / "x", "y")
    refused(dev, "bad address", 2, "supervisor.usage", "--dev", work / "x", "--listen", "80")
    (work / "file").write_text("")
    refused(dev, "a file", 1, "supervisor.bad-directory", "--dev", work / "file")
    refused(dev, "no parent", 1, "supervisor.bad-directory", "--dev", work / "no/such")
    open_dir = work / "open"
    open_dir.mkdir()
    open_dir.chmod(0o777)
    refused(dev, "writable by others", 1, "supervisor.unsafe-directory", "--dev", open_dir)
    refused(dev, "too long", 1, "supervisor.path-too-long", "--dev", work / ("x" * 100))
    for text, error_id in (("api {\n lisen = 1 }", "config.syntax"),
                           ("api { listen = 1 }", "config.bad-value"),
                           ("api {", "config.unfinished"),
                           ("#" * 300000, "config.too-big")):
        config.write_text(text)
        refused(dev, "configuration", 1, error_id, "-t", "--config", config)
        refused(dev, "configuration", 1, error_id, "--dev", work / "c", "--config", config)
    refused(dev, "no configuration", 1, "config.missing", "-t", "--config", work / "none")
    config.write_text("api { listen = \"127.0.0.1:0\" }")
    done = subprocess.run([dev.build / "keyvaultd", "-t", "--config", config])
    expect(done.returncode == 0, "-t accepts a good configuration")
    if os.geteuid() != 0:
        refused(dev, "not root", 1, "supervisor.not-root", "--config", config)


def own_provider(dev):
    """The configuration of clients must not make the roles clients of themselves."""
    env = dict(dev.env)
    with open(dev.work / "again.log", "wb") as log:
        process = subprocess.Popen(
            [dev.build / "keyvaultd", "--dev", dev.work / "again", "--listen",
             "127.0.0.1:0"], env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for("not ready under an activated provider", lambda: b"keyvaultd: ready" in
                     (dev.work / "again.log").read_bytes(), 60)
            expect(True, "starts under an OPENSSL_CONF that activates keyvault")
        finally:
            process.send_signal(signal.SIGTERM)
            expect(process.wait(15) == 0, "and stops")


def main():
    with Dev(sys.argv[1]) as dev:
        files(dev)
        killed_roles(dev)
        second_supervisor(dev)
        orderly_end(dev)
        own_provider(dev)
        began = time.monotonic()
        sudden_end(dev)
        expect(time.monotonic() - began < 15, "within 15 s")
        bad_starts(dev)


if __name__ == "__main__":
    main()
