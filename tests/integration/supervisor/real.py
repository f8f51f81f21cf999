"""keyvaultd as root, outside --dev: each role on its own user.

    python3 tests/integration/supervisor/real.py BUILD

Runs in a mount namespace of its own, so that /var/lib and /run of the machine are not
touched; skipped (77) where that is not allowed.

1. nothing is initialised by accident: without an installation it says so and ends;
2. the roles run as their users, the service keeps one capability, the keyring none;
3. the service's user cannot read the keyfile and cannot take the keyring's socket away;
4. root administers over api.sock, another user may not even open it;
5. SIGTERM ends it.
"""
import os
import pathlib
import pwd
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from dev import children, free_port, wait_for  # noqa: E402

KEYRING, SERVICE, OTHER = "games", "www-data", "nobody"
STATE, RUN = pathlib.Path("/var/lib/keyvault"), pathlib.Path("/run/keyvault")
CAP_NET_BIND_SERVICE = 1 << 10


def expect(condition, what):
    if not condition:
        raise AssertionError(what)
    print(f"ok  {what}", flush=True)


def own_mounts():
    """Run again with private /var/lib and /run, or skip."""
    if os.environ.get("KEYVAULT_TEST_MOUNTS") == "1":
        return
    probe = ["unshare", "--mount", "sh", "-ec",
             "mount -t tmpfs none /var/lib; mount -t tmpfs none /run"]
    if os.geteuid() != 0 or subprocess.run(probe, stderr=subprocess.DEVNULL).returncode != 0:
        print("needs root and a mount namespace")
        sys.exit(77)
    script = ("mount -t tmpfs -o mode=755 none /var/lib;"
              "mount -t tmpfs -o mode=755 none /run; exec \"$@\"")
    os.environ["KEYVAULT_TEST_MOUNTS"] = "1"
    os.execvp("unshare", ["unshare", "--mount", "sh", "-ec", script, "sh", sys.executable,
                          *sys.argv])


def run(*args, user=None):
    words = [str(a) for a in args]
    if user is not None:
        words = ["runuser", "-u", user, "--", *words]
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def roles(process):
    for name, user, capabilities in (("keyvault-keyring", KEYRING, 0),
                                     ("keyvault-service", SERVICE, CAP_NET_BIND_SERVICE)):
        pid = next(p for p in children(process.pid)
                   if os.path.basename(os.readlink(f"/proc/{p}/exe")) == name)
        status = status_of(pid)
        uid = str(pwd.getpwnam(user).pw_uid)
        expect(status["Uid"].split() == [uid] * 4, f"{name} runs as {user}")
        for kind in ("CapEff", "CapPrm", "CapAmb"):
            expect(int(status[kind], 16) == capabilities, f"{name}: {kind}")


def walls():
    keyfile = STATE / "keyring/keyfile"
    expect(keyfile.exists() and keyfile.stat().st_mode & 0o777 == 0o400, "the keyfile is 0400")
    for path in (keyfile, STATE / "keyring/slots"):
        expect(run("cat", path, user=SERVICE).returncode != 0, f"the service cannot read {path}")
    expect(run("mv", RUN / "keys.sock", RUN / "x", user=SERVICE).returncode != 0,
           "the service cannot take the keyring's socket away")
    private = RUN / "private"
    expect(private.stat().st_mode & 0o7777 == 0o710
           and private.stat().st_gid == pwd.getpwnam(SERVICE).pw_gid,
           "only the service's group may pass to the private socket")
    expect(run("ls", private / "keyring.sock", user=SERVICE).returncode == 0,
           "the service does")
    expect(run("ls", private / "keyring.sock", user=OTHER).returncode != 0,
           "a stranger does not, and cannot fill its queue")
    expect(run("cat", STATE / "db/keyvault.db", user=KEYRING).returncode != 0,
           "the keyring cannot read the database")


def main():
    own_mounts()
    build = pathlib.Path(sys.argv[1]).resolve()
    config = pathlib.Path("/run/keyvault-test.conf")
    config.write_text(f"api {{ listen = \"127.0.0.1:{free_port()}\" }}\n"
                      f"keyring {{ user = {KEYRING} allow-swap = on }}\n"
                      f"service {{ user = {SERVICE} }}\n")
    for name in ("KEYVAULT_API", "KEYVAULT_TOKEN", "KEYVAULT_VAULT"):
        os.environ.pop(name, None)
    start = [build / "keyvaultd", "--config", config]
    done = run(*start)
    expect(done.returncode == 1 and b"supervisor.role-failed" in done.stderr
           and b"--init" in done.stderr, "without an installation it says so and ends")
    expect(not (STATE / "keyring/slots").exists(), "and makes none")
    done = run(build / "keyvault-keyring", "--dir", STATE, "--init-only", "--allow-swap",
               "--recovery-out", STATE / "keyring/recovery.key", user=KEYRING)
    expect(done.returncode == 0, "the keyring's user makes the installation")

    log = open("/run/keyvaultd.log", "wb")
    process = subprocess.Popen(start, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for("not ready: " + pathlib.Path("/run/keyvaultd.log").read_text(),
                 lambda: b"keyvaultd: ready" in pathlib.Path("/run/keyvaultd.log").read_bytes(),
                 30)
        roles(process)
        walls()
        cli = build / "keyvault"
        expect(run(cli, "key", "create", "k", "--type", "EC").returncode == 0,
               "root administers")
        expect(run(cli, "key", "list", user=OTHER).returncode == 4, "another user does not")
    finally:
        process.send_signal(signal.SIGTERM)
        expect(process.wait(20) == 0, "SIGTERM ends it")


if __name__ == "__main__":
    main()
